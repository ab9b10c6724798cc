"""Columns in memory: from flat arrays or d3rlpy's episodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from d3rlpy.dataset import EpisodeBase

from .._util.checks import check_type
from .columns import ArrayColumn, Column, Columns
from .door import FLAG, VALUE, as_numbers, check_values, joined, vectors
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
    for name in extras:
        check_type("extras", name, str, "map names to columns")
    is_tuple = isinstance(observations, (list, tuple)) and all(
        isinstance(part, np.ndarray) for part in observations
    )
    given = {"observations": observations}
    if is_tuple:
        given = {f"observations[{i}]": part for i, part in enumerate(observations)}
    parts = {name: as_numbers(name, part) for name, part in given.items()}
    first = next(iter(parts.values()), np.zeros(0))
    count = len(first) if first.ndim else 0
    if count == 0:
        raise ValueError("observations must have at least one row, got none")
    for name, part in parts.items():
        if part.ndim < 2:
            raise ValueError(
                f"{name} must have shape (R, ...) with a vector or more in each row, "
                f"got {part.shape}"
            )

    def column(name: str, values: Any) -> ArrayColumn:
        return ArrayColumn(vectors(joined(name, [values], [count])))

    return Columns(
        observations=[column(name, part) for name, part in parts.items()],
        actions=column("actions", actions),
        rewards=column("rewards", rewards),
        index=_index_of_flags(count, terminals, timeouts, final),
        is_tuple=is_tuple,
        extras={
            name: ArrayColumn(joined(f"extras: {name}", [values], [count]))
            for name, values in extras.items()
        },
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
    flags = {"terminals": terminals, "timeouts": timeouts, "final": final}
    terminal, timeout, last = (
        _marked_rows(name, values, count) for name, values in flags.items()
    )
    return EpisodeIndex.from_marks(count, terminal, timeout, last, None)


def _marked_rows(name: str, values: Any, count: int) -> npt.NDArray[np.int64]:
    if values is None:
        return np.zeros(0, dtype=np.int64)
    column = vectors(joined(name, [values], [count]))
    if column.shape != (count, 1):
        raise ValueError(f"{name} must have shape (R,) or (R, 1), got {column.shape}")
    check_values(name, column, FLAG)
    return np.flatnonzero(column)


def with_rewards(columns: Columns, rewards: npt.ArrayLike) -> Columns:
    """The same log with other rewards, ``(R,)`` or ``(R, 1)``."""
    array = vectors(joined("rewards", [rewards], [columns.index.rows]))
    if array.shape[1:] != (1,):
        raise ValueError(f"rewards must have shape (R,) or (R, 1), got {array.shape}")
    check_values("rewards", array, VALUE)
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


def columns_of_episodes(episodes: Sequence[EpisodeBase], before: int = 0) -> Columns:
    """A copy of d3rlpy episodes, the first of which errors call number ``before``.

    Raises ``ValueError`` if there are none, or if their arrays do not fit each other.
    """
    if len(episodes) == 0:
        raise ValueError("a replay buffer must hold at least one episode, got none")
    is_tuple = isinstance(episodes[0].observations, (list, tuple))
    rows = [episode.size() for episode in episodes]
    parts: list[Any] = [_parts(episode) for episode in episodes]
    for number, (own, count) in enumerate(zip(parts, rows, strict=True), before):
        if len(own) != len(parts[0]):
            raise ValueError(
                f"observations of episode {number} must be {len(parts[0])} arrays as in "
                f"episode {before}, got {len(own)}"
            )
        if count == 0:
            raise ValueError(f"episode {number} must have at least one step, got none")

    def column(name: str, pieces: list[Any]) -> ArrayColumn:
        return ArrayColumn(vectors(joined(name, pieces, rows, before=before)))

    count = len(parts[0])
    names = [f"observations[{i}]" if is_tuple else "observations" for i in range(count)]
    last = [bool(getattr(episode, "has_final", False)) for episode in episodes]
    return Columns(
        observations=[column(n, [p[i] for p in parts]) for i, n in enumerate(names)],
        actions=column("actions", [episode.actions for episode in episodes]),
        rewards=column("rewards", [episode.rewards for episode in episodes]),
        index=EpisodeIndex(
            np.cumsum(rows),
            np.array([bool(e.terminated) for e in episodes]),
            np.array(last),
        ),
        is_tuple=is_tuple,
        extras=_extras_of_episodes(episodes, rows, before),
    )


def _parts(episode: EpisodeBase) -> Sequence[Any]:
    found = episode.observations
    return found if isinstance(found, (list, tuple)) else [found]


def _extras_of_episodes(
    episodes: Sequence[EpisodeBase], rows: Sequence[int], before: int
) -> dict[str, Column]:
    """What our own episodes carry along; NaN where one of them lacks it."""
    found: list[Mapping[str, Any]] = [getattr(e, "extras", None) or {} for e in episodes]
    extras: dict[str, Column] = {}
    for name in dict.fromkeys(name for own in found for name in own):
        like = next(np.asarray(own[name]) for own in found if name in own)
        pieces = [
            own[name] if name in own else np.full((count, *like.shape[1:]), np.nan)
            for own, count in zip(found, rows, strict=True)
        ]
        extras[name] = ArrayColumn(joined(f"extras: {name}", pieces, rows, before=before))
    return extras
