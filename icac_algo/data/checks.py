"""What every dataset must be before anything is learned from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import ReplayBufferBase

from .arrays import columns_of_episodes
from .buffer import ColumnarReplayBuffer
from .columns import Array

_EPISODES_AT_ONCE = 10_000


def blocks(
    dataset: ReplayBufferBase, name: str
) -> Iterator[tuple[str, npt.NDArray[np.int64], Array]]:
    """All values of one kind, a piece at a time, whatever keeps them.

    ``name`` is ``"observations"``, ``"actions"`` or ``"rewards"``.

    Yields:
        what is counted (``"row"`` or ``"episode"``), its number for each row of the
        piece, ``(B,)``, and the values, ``(B, ...)``; the parts of a tuple observation
        come one after another.
    """
    if isinstance(dataset, ColumnarReplayBuffer):
        for column in dataset.columns.parts_of(name):
            for start, block in column.blocks():
                yield "row", np.arange(start, start + len(block)), block
        return
    episodes = dataset.episodes
    for start in range(0, len(episodes), _EPISODES_AT_ONCE):
        log = columns_of_episodes(episodes[start : start + _EPISODES_AT_ONCE])
        numbers = start + log.index.episode_of(np.arange(log.index.rows))
        for column in log.parts_of(name):
            yield "episode", numbers, column.whole()


def check_dataset(algorithm: str, dataset: ReplayBufferBase) -> None:
    """Checks that ``algorithm``, of discrete actions, can learn from the dataset.

    Raises:
        ValueError: the dataset is empty, its actions are continuous or out of range, or
            an observation or reward is NaN or infinite.
    """
    info = dataset.dataset_info
    if info.action_space != ActionSpace.DISCRETE:
        raise ValueError(
            f"{algorithm} needs discrete actions (indices), got continuous ones; "
            "if they are a few repeated numbers, log their index instead"
        )
    _check_values(algorithm, dataset)
    size = info.action_size
    requirement = f"actions must be from 0 to {size - 1}"
    _check(requirement, dataset, "actions", lambda v: (v >= 0) & (v < size))


def check_continuous_dataset(
    algorithm: str, dataset: ReplayBufferBase, lower: float, upper: float
) -> None:
    """Checks that ``algorithm``, of one bounded action, can learn from the dataset.

    Raises:
        ValueError: the dataset is empty, an action is not from ``lower`` to ``upper``
            (the shape's range), or an observation or reward is NaN or infinite.
    """
    _check_values(algorithm, dataset)
    requirement = (
        f"actions must be from {lower:g} to {upper:g}, the ends of the constraint's "
        "actions (None: 0 and 1)"
    )
    # Logs are float32: an end of the range may come back a rounding error outside.
    slack = 1e-6 * max(abs(lower), abs(upper))
    low, high = lower - slack, upper + slack
    _check(requirement, dataset, "actions", lambda v: (v >= low) & (v <= high))


def _check_values(algorithm: str, dataset: ReplayBufferBase) -> None:
    if dataset.transition_count == 0:
        raise ValueError(
            f"{algorithm} needs a dataset with transitions, got an empty one"
        )
    for name in ("rewards", "observations"):
        _check(f"{name} must be finite", dataset, name, np.isfinite)


def _check(
    requirement: str,
    dataset: ReplayBufferBase,
    name: str,
    is_good: Callable[[Array], Any],
) -> None:
    for unit, numbers, values in blocks(dataset, name):
        bad = ~is_good(values)
        if bad.any():
            row = np.argwhere(bad)[0][0]
            raise ValueError(f"{requirement}, {unit} {numbers[row]} has {values[bad][0]}")
