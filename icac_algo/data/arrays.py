"""Columns in memory: from flat arrays or d3rlpy's episodes, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import EpisodeBase

from .._util.checks import check_count, check_rows, check_type
from .columns import Array, ArrayColumn, Columns
from .episodes import EpisodeIndex


def columns_of_arrays(
    observations: Any,
    actions: npt.ArrayLike,
    rewards: npt.ArrayLike,
    terminals: npt.ArrayLike | None = None,
    timeouts: npt.ArrayLike | None = None,
    final: npt.ArrayLike | None = None,
    extras: Mapping[str, Any] | None = None,
) -> Columns:
    """Flat arrays in episodes; arguments and errors as in ``from_arrays``."""
    extras = {} if extras is None else extras
    check_type("extras", extras, Mapping, "map names to columns")
    is_tuple = isinstance(observations, (list, tuple)) and all(
        isinstance(part, np.ndarray) for part in observations
    )
    parts = {"observations": observations}
    if is_tuple:
        parts = {f"observations[{i}]": part for i, part in enumerate(observations)}
    parts = {name: as_numbers(name, part) for name, part in parts.items()}
    first = next(iter(parts.values()), np.zeros(0))
    count = len(first) if first.ndim else 0
    if count == 0:
        raise ValueError("observations must have at least one row, got none")
    others = {"actions": _as_matrix("actions", actions), "rewards": _as_rewards(rewards)}
    more = {name: as_numbers(f"extras: {name}", v) for name, v in extras.items()}
    named = {f"extras: {name}": column for name, column in more.items()}
    for name, column in {**parts, **others, **named}.items():
        _check_column(name, column, count)
    for name, part in parts.items():
        if part.ndim < 2:
            raise ValueError(
                f"{name} must have shape (R, ...) with a vector or more in each row, "
                f"got {part.shape}"
            )
        if part[0].size == 0:
            raise ValueError(f"{name} must have a number in each row, got {part.shape}")
    return Columns(
        observations=[ArrayColumn(part) for part in parts.values()],
        actions=ArrayColumn(others["actions"]),
        rewards=ArrayColumn(others["rewards"]),
        index=_index_of_flags(count, terminals, timeouts, final),
        is_tuple=is_tuple,
        extras={name: ArrayColumn(column) for name, column in more.items()},
    )


def as_numbers(name: str, values: Any, kinds: str = "fiub") -> Array:
    """An array of one of these kinds of numbers."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} must be one array of numbers: {error}") from None
    if array.dtype.kind not in kinds:
        raise ValueError(f"{name} must be numbers, got an array of {array.dtype}")
    return array


def _as_matrix(name: str, values: Any) -> Array:
    array = as_numbers(name, values)
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} must have shape (R,) or (R, n), got {array.shape}")
    return array[:, None] if array.ndim == 1 else array


def _as_rewards(values: Any) -> Array:
    array = _as_matrix("rewards", values)
    if array.shape[1] != 1:
        raise ValueError(f"rewards must have shape (R,) or (R, 1), got {array.shape}")
    return array


def _check_column(name: str, array: Array, count: int) -> None:
    if len(array) != count:
        raise ValueError(
            f"{name} must have as many rows as observations, {count}, got {len(array)}"
        )
    if array.dtype.kind == "f":
        check_rows(f"{name} must be finite", array, ~np.isfinite(array))
    if array.dtype == np.float64 and name.startswith(("observations", "rewards")):
        # Networks take float32, in which a larger number is infinite.
        huge = np.abs(array) > np.finfo(np.float32).max
        check_rows(f"{name} must be finite in float32", array, huge)


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
    flags = {"terminals": terminals, "timeouts": timeouts, "final": final}
    terminal, timeout, last = (
        _marked_rows(name, values, count) for name, values in flags.items()
    )
    return EpisodeIndex.from_marks(count, terminal, timeout, last, None)


def _marked_rows(
    name: str, values: npt.ArrayLike | None, count: int
) -> npt.NDArray[np.int64]:
    array = np.zeros(count) if values is None else np.asarray(values).reshape(-1)
    if len(array) != count:
        raise ValueError(f"{name} must have {count} rows, got {len(array)}")
    check_rows(f"{name} must be 0 or 1", array, (array != 0) & (array != 1))
    return np.flatnonzero(array)


def with_rewards(columns: Columns, rewards: npt.ArrayLike) -> Columns:
    """The same log with other rewards, ``(R,)`` or ``(R, 1)``."""
    array = _as_rewards(rewards)
    _check_column("rewards", array, columns.index.rows)
    return dataclasses.replace(columns, rewards=ArrayColumn(array))


def numbers_of_episodes(episodes: npt.ArrayLike, count: int) -> npt.NDArray[np.int64]:
    """Checks that every number is from 0 to ``count - 1``, ``(E,)``."""
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


def action_space_of(
    columns: Columns,
    space: ActionSpace | None,
    size: int | None,
    largest: int | None = None,
) -> tuple[ActionSpace, int]:
    """The action space and size of a log, as stated or, if that fits, as they show.

    ``largest`` is the largest index, if it is known already.
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
    for start, block in columns.actions.blocks():
        odd = block != np.floor(block)
        check_rows("discrete actions must be whole numbers", block, odd, start)
        smallest = min(smallest, int(block.min()))
        largest = max(largest, int(block.max()))
    return smallest, largest


def columns_of_episodes(episodes: Sequence[EpisodeBase]) -> Columns:
    """A copy of d3rlpy episodes; raises ``ValueError`` if there are none."""
    if len(episodes) == 0:
        raise ValueError("a replay buffer must hold at least one episode, got none")
    first = episodes[0].observations
    is_tuple = isinstance(first, (list, tuple))

    def joined(get: Callable[[EpisodeBase], Array]) -> ArrayColumn:
        return ArrayColumn(np.concatenate([get(episode) for episode in episodes]))

    parts = (
        [joined(lambda e, i=i: e.observations[i]) for i in range(len(first))]  # type: ignore[misc]
        if is_tuple
        else [joined(lambda e: e.observations)]
    )
    return Columns(
        observations=parts,
        actions=joined(lambda e: e.actions),
        rewards=joined(lambda e: e.rewards),
        index=EpisodeIndex(
            np.cumsum([e.size() for e in episodes]),
            np.array([bool(e.terminated) for e in episodes]),
        ),
        is_tuple=is_tuple,
    )
