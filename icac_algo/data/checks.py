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
        columns = dataset.columns
        for label, column in columns.named():
            if label.startswith(name):
                for start, block in columns.blocks(column):
                    yield "row", start, block
        return
    episodes = dataset.episodes
    for start in range(0, len(episodes), _EPISODES_AT_ONCE):
        some = episodes[start : start + _EPISODES_AT_ONCE]
        for part in _parts([getattr(episode, name) for episode in some]):
            yield "episode", start, np.concatenate(part)


def check_dataset(algorithm: str, dataset: ReplayBufferBase) -> None:
    """Refuses data that an algorithm for discrete actions cannot learn from.

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

    def is_no_action(values: npt.NDArray[Any]) -> Any:
        return (values < 0) | (values >= size)

    _refuse(f"actions must be from 0 to {size - 1}", dataset, "actions", is_no_action)


def check_continuous_dataset(
    algorithm: str, dataset: ReplayBufferBase, lower: float, upper: float
) -> None:
    """Refuses data that an algorithm for one bounded action cannot learn from.

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
    # Logs are float32: an end of the range may come back a rounding error outside.
    slack = 1e-6 * max(abs(lower), abs(upper))

    def is_outside(values: npt.NDArray[Any]) -> Any:
        return ~((values >= lower - slack) & (values <= upper + slack))

    _refuse(
        f"actions must be from {lower:g} to {upper:g}, the ends of the constraint's "
        "actions (None: 0 and 1)",
        dataset,
        "actions",
        is_outside,
    )


def _check_values(algorithm: str, dataset: ReplayBufferBase) -> None:
    if dataset.transition_count == 0:
        raise ValueError(
            f"{algorithm} needs a dataset with transitions, got an empty one"
        )

    def is_not_finite(values: npt.NDArray[Any]) -> Any:
        return ~np.isfinite(values)

    _refuse("rewards must be finite", dataset, "rewards", is_not_finite)
    _refuse("observations must be finite", dataset, "observations", is_not_finite)


def _refuse(
    requirement: str,
    dataset: ReplayBufferBase,
    name: str,
    is_bad: Callable[[npt.NDArray[Any]], Any],
) -> None:
    for unit, start, values in blocks(dataset, name):
        bad = is_bad(values)
        if not bad.any():
            continue
        place = int(np.argwhere(bad)[0][0])
        if unit == "episode":
            place = _episode_with(dataset.episodes, start, name, is_bad)
        else:
            place += start
        raise ValueError(f"{requirement}, {unit} {place} has {values[bad][0]}")


def _episode_with(
    episodes: Any, start: int, name: str, is_bad: Callable[[npt.NDArray[Any]], Any]
) -> int:
    for number in range(start, len(episodes)):
        parts = _parts([getattr(episodes[number], name)])
        if any(is_bad(np.asarray(part[0])).any() for part in parts):
            return number
    raise AssertionError("the bad value has gone")


def _parts(values: list[Any]) -> list[list[npt.NDArray[Any]]]:
    if not isinstance(values[0], (list, tuple)):
        return [values]
    return [list(part) for part in zip(*values, strict=True)]
