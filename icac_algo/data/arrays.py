"""Columns in memory: from flat arrays or d3rlpy episodes, joined, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import EpisodeBase

from .._util.checks import check_count
from .columns import ArrayColumn, Column, Columns
from .index import EpisodeIndex

__all__ = [
    "IN_MEMORY",
    "action_space_of",
    "arrays_of_columns",
    "checked_numbers",
    "columns_of_arrays",
    "columns_of_episodes",
    "joined",
    "with_rewards",
]

Array = npt.NDArray[Any]

#: ``Columns.source`` of what may be copied freely.
IN_MEMORY = "arrays"


# -- from arrays -------------------------------------------------------------


def columns_of_arrays(
    observations: Any,
    actions: npt.ArrayLike,
    rewards: npt.ArrayLike,
    terminals: npt.ArrayLike | None = None,
    timeouts: npt.ArrayLike | None = None,
    final: npt.ArrayLike | None = None,
    extras: Mapping[str, Any] | None = None,
) -> Columns:
    """Checks flat arrays and divides them into episodes.

    Arguments and errors as in :meth:`ColumnarReplayBuffer.from_arrays`.
    """
    if extras is not None and not isinstance(extras, Mapping):
        raise TypeError(f"extras must map names to columns, got {type(extras).__name__}")
    is_tuple = isinstance(observations, (list, tuple)) and all(
        isinstance(part, np.ndarray) for part in observations
    )
    names = (
        [f"observations[{i}]" for i in range(len(observations))]
        if is_tuple
        else ["observations"]
    )
    parts = [
        _numbers(name, part)
        for name, part in zip(
            names, observations if is_tuple else [observations], strict=True
        )
    ]
    count = len(parts[0]) if parts and parts[0].ndim else 0
    if count == 0:
        raise ValueError("observations must have at least one row, got none")
    columns = {
        "actions": _as_matrix("actions", actions),
        "rewards": _as_matrix("rewards", rewards),
        **{
            f"extras: {name}": _numbers(f"extras: {name}", value)
            for name, value in (extras or {}).items()
        },
    }
    _check_width(columns["rewards"])
    for name, column in [*zip(names, parts, strict=True), *columns.items()]:
        _check_column(name, column, count)
    for name, part in zip(names, parts, strict=True):
        if part.ndim < 2:
            raise ValueError(
                f"{name} must have shape (R, ...) with a vector or more in each row, "
                f"got {part.shape}"
            )
        if part[0].size == 0:
            raise ValueError(f"{name} must have a number in each row, got {part.shape}")
    return Columns(
        observations=[ArrayColumn(part) for part in parts],
        actions=ArrayColumn(columns.pop("actions")),
        rewards=ArrayColumn(columns.pop("rewards")),
        index=_index_of_flags(count, terminals, timeouts, final),
        is_tuple=is_tuple,
        extras={name: ArrayColumn(columns[f"extras: {name}"]) for name in extras or {}},
        source=IN_MEMORY,
    )


def _numbers(name: str, values: Any) -> Array:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be one array of numbers: {error}") from None
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be numbers, got an array of {array.dtype}")
    return array


def _as_matrix(name: str, values: Any) -> Array:
    array = _numbers(name, values)
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} must have shape (R,) or (R, n), got {array.shape}")
    return array[:, None] if array.ndim == 1 else array


def _check_width(rewards: Array) -> None:
    if rewards.shape[1] != 1:
        raise ValueError(f"rewards must have shape (R,) or (R, 1), got {rewards.shape}")


def _check_column(name: str, array: Array, count: int) -> None:
    if len(array) != count:
        raise ValueError(
            f"{name} must have as many rows as observations, {count}, got {len(array)}"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))[0]
        raise ValueError(f"{name} must be finite, row {bad[0]} has {array[tuple(bad)]}")
    if array.dtype == np.float64 and name.startswith(("observations", "rewards")):
        # Networks take float32, in which a larger number is infinite.
        huge = np.argwhere(np.abs(array) > np.finfo(np.float32).max)
        if huge.size:
            worst = array[tuple(huge[0])]
            raise ValueError(
                f"{name} must be finite in float32, row {huge[0][0]} has {worst}"
            )


def _index_of_flags(
    count: int,
    terminals: npt.ArrayLike | None,
    timeouts: npt.ArrayLike | None,
    final: npt.ArrayLike | None,
) -> EpisodeIndex:
    if terminals is None and timeouts is None:
        if final is not None:
            raise ValueError("final needs terminals or timeouts beside it")
        return EpisodeIndex(None, rows=count)
    return EpisodeIndex.from_marks(
        count,
        _marked_rows("terminals", terminals, count),
        _marked_rows("timeouts", timeouts, count),
        _marked_rows("final", final, count),
        None,
    )


def _marked_rows(
    name: str, values: npt.ArrayLike | None, count: int
) -> npt.NDArray[np.int64]:
    if values is None:
        return np.zeros(0, dtype=np.int64)
    array = np.asarray(values).reshape(-1)
    if len(array) != count:
        raise ValueError(f"{name} must have {count} rows, got {len(array)}")
    bad = np.flatnonzero((array != 0) & (array != 1))
    if bad.size:
        raise ValueError(f"{name} must be 0 or 1, row {bad[0]} has {array[bad[0]]}")
    return np.flatnonzero(array)


def action_space_of(
    columns: Columns,
    space: ActionSpace | None,
    size: int | None,
    largest: int | None = None,
) -> tuple[ActionSpace, int]:
    """The action space and size of a log, stated or told from its actions.

    Args:
        columns: the log.
        space: as stated, if it is.
        size: as stated, if it is.
        largest: the largest index, if it is known already.

    Raises:
        ValueError: the actions do not fit what is stated.
    """
    if space is not None and not isinstance(space, ActionSpace):
        raise TypeError(f"action_space must be an ActionSpace of d3rlpy, got {space!r}")
    if size is not None:
        check_count("action_size", size)
    whole = columns.actions.dtype.kind in "iub" and columns.actions.row_shape == (1,)
    if space is None:
        space = ActionSpace.DISCRETE if whole else ActionSpace.CONTINUOUS
    if space == ActionSpace.CONTINUOUS:
        width = columns.actions.row_shape[0]
        if size not in (None, width):
            raise ValueError(
                f"action_size must be {width}, the width of actions, got {size!r}"
            )
        return space, width
    if columns.actions.row_shape != (1,):
        raise ValueError(
            "discrete actions must be one index a row, got rows of shape "
            f"{columns.actions.row_shape}"
        )
    smallest = 0
    if largest is None:
        smallest, largest = _range_of_indices(columns)
    if smallest < 0 or (size is not None and largest >= size):
        allowed = "at least 0" if size is None else f"from 0 to {size - 1}"
        found = smallest if smallest < 0 else largest
        raise ValueError(f"actions must be {allowed}, got {found}")
    return space, largest + 1 if size is None else size


def _range_of_indices(columns: Columns) -> tuple[int, int]:
    smallest, largest = 0, 0
    for start, block in columns.blocks(columns.actions):
        odd = np.flatnonzero((block != np.floor(block)).reshape(-1))
        if odd.size:
            raise ValueError(
                "discrete actions must be whole numbers, row "
                f"{start + odd[0]} has {block.reshape(-1)[odd[0]]}"
            )
        smallest = min(smallest, int(block.min()))
        largest = max(largest, int(block.max()))
    return smallest, largest


# -- the same columns, but ... -----------------------------------------------


def with_rewards(columns: Columns, rewards: npt.ArrayLike) -> Columns:
    """The same log with other rewards, ``(R,)`` or ``(R, 1)``."""
    array = _as_matrix("rewards", rewards)
    _check_width(array)
    _check_column("rewards", array, columns.index.rows)
    return dataclasses.replace(columns, rewards=ArrayColumn(array))


def checked_numbers(episodes: npt.ArrayLike, count: int) -> npt.NDArray[np.int64]:
    """Numbers of episodes, ``(E,)``, each from 0 to ``count - 1``."""
    numbers = np.asarray(episodes)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or not len(numbers):
        raise ValueError(
            "episodes must be the numbers of at least one episode, got an array of "
            f"{numbers.dtype} of shape {numbers.shape}"
        )
    bad = numbers[(numbers < 0) | (numbers >= count)]
    if bad.size:
        raise ValueError(f"episodes must be from 0 to {count - 1}, got {bad[0]}")
    return numbers.astype(np.int64)


# -- from episodes -----------------------------------------------------------


def columns_of_episodes(episodes: Sequence[EpisodeBase]) -> Columns:
    """A copy of d3rlpy episodes.

    Raises:
        ValueError: there are none.
    """
    if len(episodes) == 0:
        raise ValueError("a replay buffer must hold at least one episode, got none")
    first = episodes[0].observations
    is_tuple = isinstance(first, (list, tuple))

    def joined_from(get: Callable[[EpisodeBase], Array]) -> ArrayColumn:
        return ArrayColumn(np.concatenate([get(episode) for episode in episodes]))

    parts = (
        [joined_from(lambda e, i=i: e.observations[i]) for i in range(len(first))]  # type: ignore[misc]
        if is_tuple
        else [joined_from(lambda e: e.observations)]
    )
    return Columns(
        observations=parts,
        actions=joined_from(lambda e: e.actions),
        rewards=joined_from(lambda e: e.rewards),
        index=EpisodeIndex(
            np.cumsum([e.size() for e in episodes]),
            np.array([bool(e.terminated) for e in episodes]),
        ),
        is_tuple=is_tuple,
        source=IN_MEMORY,
    )


def joined(first: Columns, second: Columns) -> Columns:
    """One log after another, in memory; extras that both have are kept."""

    def both(a: Column, b: Column) -> ArrayColumn:
        values = [a.read(0, len(a)), b.read(0, len(b)).astype(a.dtype, copy=False)]
        return ArrayColumn(np.concatenate(values))

    ends, terminated, has_final = (
        np.concatenate(pair)
        for pair in zip(first.index.arrays(), second.index.arrays(), strict=True)
    )
    ends[first.index.episodes :] += first.index.rows
    return Columns(
        observations=[
            both(a, b)
            for a, b in zip(first.observations, second.observations, strict=True)
        ],
        actions=both(first.actions, second.actions),
        rewards=both(first.rewards, second.rewards),
        index=EpisodeIndex(ends, terminated, has_final),
        is_tuple=first.is_tuple,
        extras={
            name: both(column, second.extras[name])
            for name, column in first.extras.items()
            if name in second.extras
        },
        source=IN_MEMORY,
    )


# -- back to arrays ----------------------------------------------------------


def arrays_of_columns(columns: Columns) -> dict[str, Any]:
    """The arguments of :func:`columns_of_arrays` that give these columns."""
    ends, terminated, has_final = columns.index.arrays()
    terminals = np.zeros(columns.index.rows, dtype=bool)
    timeouts, final = terminals.copy(), terminals.copy()
    last_step = ends - 1 - has_final
    terminals[last_step[terminated]] = True
    timeouts[last_step[~terminated]] = True
    final[ends[has_final] - 1] = True

    def whole(column: Column) -> Array:
        return column.read(0, len(column))

    parts = [whole(part) for part in columns.observations]
    return {
        "observations": parts if columns.is_tuple else parts[0],
        "actions": whole(columns.actions),
        "rewards": whole(columns.rewards),
        "terminals": terminals,
        "timeouts": timeouts,
        "final": final,
        "extras": {name: whole(column) for name, column in columns.extras.items()},
    }
