"""Columns of a log: one row for each step, in memory or mapped from files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .index import EpisodeIndex

__all__ = ["ArrayColumn", "Column", "Columns", "StackedColumn"]

Array = npt.NDArray[Any]

BLOCK = 1 << 18


class Column(Protocol):
    """What a replay buffer needs of one column of R rows."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values."""

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row."""

    def __len__(self) -> int: ...

    def take(self, rows: npt.NDArray[np.int64]) -> Array:
        """Rows in any order, a new array ``(B, *row_shape)``."""

    def read(self, start: int, stop: int) -> Array:
        """Consecutive rows, ``(stop - start, *row_shape)``; possibly a view."""


class ArrayColumn:
    """A numpy array, in memory or mapped from a ``.npy`` file.

    Args:
        array: values, ``(R, *row_shape)``; it is not copied, and not written to.
    """

    def __init__(self, array: Array):
        self._array = array

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._array.dtype

    @property
    def row_shape(self) -> tuple[int, ...]:
        return self._array.shape[1:]

    def __len__(self) -> int:
        return len(self._array)

    def take(self, rows: npt.NDArray[np.int64]) -> Array:
        return self._array.take(rows, axis=0)

    def read(self, start: int, stop: int) -> Array:
        return self._array[start:stop]


class StackedColumn:
    """Several scalar columns side by side, as one column of vectors.

    Args:
        columns: columns of equal length whose rows are scalars.
    """

    def __init__(self, columns: Sequence[Column]):
        self._columns = columns
        self._dtype = np.result_type(*(column.dtype for column in columns))

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype

    @property
    def row_shape(self) -> tuple[int, ...]:
        return (len(self._columns),)

    def __len__(self) -> int:
        return len(self._columns[0])

    def take(self, rows: npt.NDArray[np.int64]) -> Array:
        return self._stack([column.take(rows) for column in self._columns], len(rows))

    def read(self, start: int, stop: int) -> Array:
        parts = [column.read(start, stop) for column in self._columns]
        return self._stack(parts, stop - start)

    def _stack(self, parts: Sequence[Array], count: int) -> Array:
        stacked = np.empty((count, len(parts)), dtype=self._dtype)
        for i, part in enumerate(parts):
            stacked[:, i] = part
        return stacked


@dataclasses.dataclass(frozen=True)
class Columns:
    """A log: R rows that an index divides into episodes.

    Args:
        observations: the parts of the observation; one unless it is a tuple.
        actions: ``(R, 1)`` indices, or ``(R, A)`` continuous actions.
        rewards: ``(R, 1)``.
        index: the episodes.
        is_tuple: whether observations are tuples of parts.
        extras: further columns, such as ``"propensity"``, each of R rows.
        source: what the data were read from, for messages.
    """

    observations: Sequence[Column]
    actions: Column
    rewards: Column
    index: EpisodeIndex
    is_tuple: bool = False
    extras: Mapping[str, Column] = dataclasses.field(default_factory=dict)
    source: str = "arrays"

    def named(self) -> Iterator[tuple[str, Column]]:
        """Every column with the name that messages use."""
        for i, part in enumerate(self.observations):
            yield (f"observations[{i}]" if self.is_tuple else "observations"), part
        yield "actions", self.actions
        yield "rewards", self.rewards

    def blocks(self, column: Column) -> Iterator[tuple[int, Array]]:
        """A column piece by piece: first row and values, never all in memory."""
        for start in range(0, len(column), BLOCK):
            yield start, column.read(start, min(start + BLOCK, len(column)))

    def of_episodes(self, numbers: npt.NDArray[np.int64]) -> Columns:
        """A copy of these episodes in this order, in memory."""
        ends, terminated, has_final = self.index.arrays()
        starts = np.concatenate([[0], ends[:-1]])
        lengths = (ends - starts)[numbers]
        new_ends = np.cumsum(lengths)
        # Each episode's first row, and how far each row is into its episode.
        shifts = np.repeat(starts[numbers] - (new_ends - lengths), lengths)
        rows = np.arange(int(new_ends[-1])) + shifts

        def part(column: Column) -> ArrayColumn:
            return ArrayColumn(column.take(rows))

        return dataclasses.replace(
            self,
            observations=[part(column) for column in self.observations],
            actions=part(self.actions),
            rewards=part(self.rewards),
            index=EpisodeIndex(new_ends, terminated[numbers], has_final[numbers]),
            extras={name: part(column) for name, column in self.extras.items()},
        )
