"""Columns as d3rlpy sees a dataset: episodes and transitions, made when asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from d3rlpy.dataset import BufferProtocol, Episode, EpisodeBase

from .columns import Columns

T = TypeVar("T")


def read_episode(columns: Columns, number: int) -> Episode:
    """One episode as d3rlpy's, its arrays views where the columns are in memory.

    A cut-off episode whose last observation is known ends with that observation beside
    a zero action and a zero reward, so that d3rlpy's own pickers find its successor.
    """
    start, stop, terminated, has_final = columns.index.episode(number)
    if terminated and has_final:
        stop -= 1
    parts = [part.read(start, stop) for part in columns.observations]
    rewards = columns.rewards.read(start, stop)
    return Episode(
        parts if columns.is_tuple else parts[0],
        columns.actions.read(start, stop),
        rewards.astype(np.float32, copy=False),
        terminated=terminated,
    )


class LazySequence(Sequence[T]):
    """``count`` things, each made from its place when someone looks at it."""

    def __init__(self, count: int, make: Callable[[int], T]):
        self._count = count
        self._make = make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, i: Any) -> Any:
        places = range(self._count)[i]
        if isinstance(places, range):
            return [self._make(place) for place in places]
        return self._make(places)


class ColumnBuffer(LazySequence[tuple[EpisodeBase, int]], BufferProtocol):
    """Transitions by number, each an episode and a place in it, as d3rlpy's buffers."""

    def __init__(
        self,
        episodes: Sequence[EpisodeBase],
        count: int,
        locate: Callable[[int], tuple[EpisodeBase, int]],
    ):
        super().__init__(count, locate)
        self._episodes = episodes

    def append(self, episode: EpisodeBase, index: int) -> None:
        raise TypeError("append to the replay buffer, not to its view of transitions")

    @property
    def episodes(self) -> Sequence[EpisodeBase]:
        return self._episodes

    @property
    def transition_count(self) -> int:
        return len(self)
