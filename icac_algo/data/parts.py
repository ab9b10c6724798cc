"""Some episodes of a log as a log of their own."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from .columns import ArrayColumn, Column, Columns
from .index import EpisodeIndex

__all__ = ["episodes_of", "random_halves"]

Numbers = npt.NDArray[np.int64]


def random_halves(episodes: int, share: float, seed: int) -> tuple[Numbers, Numbers]:
    """Numbers of about ``share`` of the episodes, and of the others; at least one each.

    Smaller shares of one seed are part of larger ones.
    """
    order = np.random.default_rng(seed).permutation(episodes)
    first = min(max(round(share * episodes), 1), episodes - 1)
    return np.sort(order[:first]), np.sort(order[first:])


def episodes_of(columns: Columns, numbers: Numbers) -> Columns:
    """A copy of these episodes, in memory.

    Args:
        columns: the log.
        numbers: of the episodes, rising, ``(E,)``.
    """
    ends, terminated, has_final = columns.index.arrays()
    starts = np.concatenate([[0], ends[:-1]])
    lengths = (ends - starts)[numbers]
    new_ends = np.cumsum(lengths)
    # Each episode's first row, and how far each row is into its episode.
    shifts = np.repeat(starts[numbers] - (new_ends - lengths), lengths)
    rows = np.arange(int(new_ends[-1])) + shifts

    def part(column: Column) -> ArrayColumn:
        return ArrayColumn(column.take(rows))

    return dataclasses.replace(
        columns,
        observations=[part(column) for column in columns.observations],
        actions=part(columns.actions),
        rewards=part(columns.rewards),
        index=EpisodeIndex(new_ends, terminated[numbers], has_final[numbers]),
        extras={name: part(column) for name, column in columns.extras.items()},
    )
