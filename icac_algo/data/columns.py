"""Columns of a log: one row for each step, in memory or mapped from files."""

from __future__ import annotations

import abc
import dataclasses
import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .episodes import EpisodeIndex

Array = npt.NDArray[Any]

BLOCK = 1 << 18


class Column(abc.ABC):
    """R rows of values of one type and shape, wherever they lie."""

    def __init__(self, dtype: np.dtype[Any], row_shape: tuple[int, ...], rows: int):
        self.dtype, self.row_shape, self._rows = dtype, row_shape, rows
        self._digests: dict[str, str] = {}

    def __len__(self) -> int:
        return self._rows

    @abc.abstractmethod
    def take(self, rows: npt.NDArray[np.int64]) -> Array:
        """Rows in any order, a new array ``(B, *row_shape)``."""

    @abc.abstractmethod
    def read(self, start: int, stop: int) -> Array:
        """Consecutive rows, ``(stop - start, *row_shape)``; possibly a view."""

    def whole(self) -> Array:
        """All rows."""
        return self.read(0, len(self))

    def blocks(self) -> Iterator[tuple[int, Array]]:
        """All rows piece by piece: first row and values, never all in memory."""
        for start in range(0, len(self), BLOCK):
            yield start, self.read(start, min(start + BLOCK, len(self)))

    def digest(self, kind: str) -> str:
        """A checksum of all values, as numbers of this kind; kept from then on."""
        if kind not in self._digests:
            digest = hashlib.sha256(f"{self._rows} {self.row_shape}".encode())
            for _, block in self.blocks():
                digest.update(np.ascontiguousarray(block, dtype=kind).data)
            self._digests[kind] = digest.hexdigest()
        return self._digests[kind]


class ArrayColumn(Column):
    """A numpy array ``(R, *row_shape)``, in memory or mapped; it is not copied.

    Nobody can write to it through the column: it was checked when it came in.
    """

    def __init__(self, array: Array):
        super().__init__(array.dtype, array.shape[1:], len(array))
        self._array = array.view()
        self._array.flags.writeable = False

    def take(self, rows: npt.NDArray[np.int64]) -> Array:
        return self._array.take(rows, axis=0)

    def read(self, start: int, stop: int) -> Array:
        return self._array[start:stop]


class StackedColumn(Column):
    """Scalar columns of equal length side by side, as one column of vectors."""

    def __init__(self, columns: Sequence[Column]):
        dtype = np.result_type(*(column.dtype for column in columns))
        super().__init__(dtype, (len(columns),), len(columns[0]))
        self._columns = columns

    def take(self, rows: npt.NDArray[np.int64]) -> Array:
        return self._stack([column.take(rows) for column in self._columns])

    def read(self, start: int, stop: int) -> Array:
        return self._stack([column.read(start, stop) for column in self._columns])

    def _stack(self, parts: Sequence[Array]) -> Array:
        if len(parts) == 1:
            return parts[0][:, None]
        stacked = np.empty((len(parts[0]), len(parts)), dtype=self.dtype)
        for i, part in enumerate(parts):
            stacked[:, i] = part
        return stacked


@dataclasses.dataclass(frozen=True)
class Columns:
    """A log: R rows that an index divides into episodes."""

    observations: Sequence[Column]  # its parts; one unless it is a tuple
    actions: Column  # ``(R, 1)`` indices, or ``(R, A)`` continuous actions
    rewards: Column  # ``(R, 1)``
    index: EpisodeIndex
    is_tuple: bool = False
    # Further columns, such as "propensity", each of R rows.
    extras: Mapping[str, Column] = dataclasses.field(default_factory=dict)
    in_memory: bool = True  # may be copied freely; false if mapped from files

    def named(self) -> dict[str, Column]:
        """Every column, by what an error calls it."""
        names = [f"observations[{i}]" for i in range(len(self.observations))]
        names = names if self.is_tuple else ["observations"]
        named = dict(zip(names, self.observations, strict=True))
        named |= {"actions": self.actions, "rewards": self.rewards}
        return named | {f"extras: {name}": c for name, c in self.extras.items()}

    @functools.cached_property
    def digest(self) -> str:
        """A checksum of everything, however it is kept."""
        steps = [*self.observations, self.actions, self.rewards]
        found = [str(self.is_tuple), *(column.digest("<f4") for column in steps)]
        found += [
            f"{name} {self.extras[name].digest('<f8')}" for name in sorted(self.extras)
        ]
        digest = hashlib.sha256("\n".join(found).encode())
        if not self.index.is_bandit:
            for array, kind in zip(self.index.arrays(), ("<i8", "?", "?"), strict=True):
                digest.update(np.ascontiguousarray(array, dtype=kind).data)
        return digest.hexdigest()

    def of_episodes(self, numbers: npt.NDArray[np.int64]) -> Columns:
        """A copy of these episodes in this order, in memory."""
        ends, terminated, has_final = self.index.arrays()
        starts = np.where(numbers > 0, ends[numbers - 1], 0)
        lengths = ends[numbers] - starts
        new_ends = np.cumsum(lengths)
        # Each episode's first row, and how far each row is into its episode.
        shifts = np.repeat(starts - (new_ends - lengths), lengths)
        rows = np.arange(int(new_ends[-1])) + shifts
        return Columns(
            [ArrayColumn(part.take(rows)) for part in self.observations],
            ArrayColumn(self.actions.take(rows)),
            ArrayColumn(self.rewards.take(rows)),
            EpisodeIndex(new_ends, terminated[numbers], has_final[numbers]),
            self.is_tuple,
            {name: ArrayColumn(c.take(rows)) for name, c in self.extras.items()},
        )

    def followed_by(self, other: Columns) -> Columns:
        """One log after another, in memory.

        Extras that one of both lacks are NaN there.
        """
        ends, terminated, has_final = (
            np.concatenate(pair)
            for pair in zip(self.index.arrays(), other.index.arrays(), strict=True)
        )
        ends[self.index.episodes :] += self.index.rows
        extras = {}
        for name in [*self.extras, *(n for n in other.extras if n not in self.extras)]:
            like = self.extras.get(name) or other.extras[name]
            unknown = np.full((1, *like.row_shape), np.nan)
            pair = [
                log.extras.get(name)
                or ArrayColumn(unknown.repeat(log.index.rows, axis=0))
                for log in (self, other)
            ]
            extras[name] = _end_to_end(*pair)
        return Columns(
            list(map(_end_to_end, self.observations, other.observations)),
            _end_to_end(self.actions, other.actions),
            _end_to_end(self.rewards, other.rewards),
            EpisodeIndex(ends, terminated, has_final),
            self.is_tuple,
            extras,
        )


def _end_to_end(first: Column, second: Column) -> ArrayColumn:
    """Two columns as one, of the first one's type if no value changes by that."""
    old, new = first.whole(), second.whole()
    with np.errstate(invalid="ignore"):
        as_old = new.astype(old.dtype)
    # Whatever training sees it sees in float32.
    is_float = old.dtype.kind == "f" and old.dtype.itemsize >= 4
    keeps = is_float or np.array_equal(as_old, new)
    return ArrayColumn(np.concatenate([old, as_old if keeps else new]))
