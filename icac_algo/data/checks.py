"""What every dataset must be before anything is learned from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import ReplayBufferBase

from .buffer import ColumnarReplayBuffer

__all__ = ["blocks", "check_continuous_dataset", "check_dataset"]

_EPISODES_AT_ONCE = 10_000


def blocks(
    dataset: ReplayBufferBase, name: str
) -> Iterator[tuple[str, int, npt.NDArray[Any]]]:
    """All values of one kind, a piece at a time, whatever keeps them.

    Args:
        dataset: a replay buffer.
        name: ``"observations"``, ``"actions"`` or ``"rewards"``.

    Yields:
        what is counted (``"row"`` or ``"episode"``), the first one of the piece, and the
        values; the parts of a tuple observation come one after another.
    """
    if isinstance(dataset, ColumnarReplayBuffer):
        for label, column in dataset.columns.named():
            if label.startswith(name):
                for start, block in column.blocks():
                    yield "row", start, block
        return
    episodes = dataset.episodes
    for start in range(0, len(episodes), _EPISODES_AT_ONCE):
        some = episodes[start : start + _EPISODES_AT_ONCE]
        for part in _parts([getattr(episode, name) for episode in some]):
            yield "episode", start, np.concatenate(part)


def check_dataset(algorithm: str, dataset: ReplayBufferBase) -> None:
    """Checks that an algorithm for discrete actions can learn from the dataset.

    Args:
        algorithm: who asks, for the message.
        dataset: a replay buffer.

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
    """Checks that an algorithm for one bounded action can learn from the dataset.

    Args:
        algorithm: who asks, for the message.
        dataset: a replay buffer of continuous actions.
        lower: smallest action that the shape's range allows.
        upper: largest.

    Raises:
        ValueError: the dataset is empty, an action is outside the range, or an
            observation or reward is NaN or infinite.
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
    is_good: Callable[[npt.NDArray[Any]], Any],
) -> None:
    for unit, start, values in blocks(dataset, name):
        bad = ~is_good(values)
        if not bad.any():
            continue
        place = start + int(np.argwhere(bad)[0][0])
        if unit == "episode":
            # Which of them holds the value is known only by looking at each.
            place = next(
                number
                for number in range(start, len(dataset.episodes))
                for part in _parts([getattr(dataset.episodes[number], name)])
                if not np.all(is_good(np.asarray(part[0])))
            )
        raise ValueError(f"{requirement}, {unit} {place} has {values[bad][0]}")


def _parts(values: list[Any]) -> list[list[npt.NDArray[Any]]]:
    """Values of several episodes, for each part of a tuple observation."""
    if not isinstance(values[0], (list, tuple)):
        return [values]
    return [list(part) for part in zip(*values, strict=True)]
