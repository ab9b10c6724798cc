"""Columns as d3rlpy sees a dataset: episodes and transitions, made when asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np
from d3rlpy.dataset import BufferProtocol, Episode, EpisodeBase, Transition

from .columns import Columns

__all__ = ["ColumnBuffer", "EpisodeViews", "LazyTransitions", "read_episode"]


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


class EpisodeViews(Sequence[EpisodeBase]):
    """All episodes of some columns, then further ones; nothing is kept per episode.

    Args:
        columns: the columns.
        more: episodes that follow.
    """

    def __init__(self, columns: Columns, more: Sequence[EpisodeBase] = ()):
        self._columns = columns
        self._more = more

    def __len__(self) -> int:
        return self._columns.index.episodes + len(self._more)

    @overload
    def __getitem__(self, i: int) -> EpisodeBase: ...

    @overload
    def __getitem__(self, i: slice) -> Sequence[EpisodeBase]: ...

    def __getitem__(self, i: int | slice) -> EpisodeBase | Sequence[EpisodeBase]:
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        number = range(len(self))[i]
        count = self._columns.index.episodes
        if number >= count:
            return self._more[number - count]
        return read_episode(self._columns, number)


class ColumnBuffer(BufferProtocol):
    """Transitions by number, as ``ReplayBuffer.buffer`` hands them out.

    Args:
        episodes: the episodes.
        count: number of transitions.
        locate: transition number to its episode and its place in it.
    """

    def __init__(
        self,
        episodes: Sequence[EpisodeBase],
        count: int,
        locate: Callable[[int], tuple[EpisodeBase, int]],
    ):
        self._episodes = episodes
        self._count = count
        self._locate = locate

    def append(self, episode: EpisodeBase, index: int) -> None:
        raise TypeError("append to the replay buffer, not to its view of transitions")

    @property
    def episodes(self) -> Sequence[EpisodeBase]:
        return self._episodes

    @property
    def transition_count(self) -> int:
        return self._count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[EpisodeBase, int]:
        return self._locate(range(self._count)[index])


class LazyTransitions(Sequence[Transition]):
    """The transitions of a batch, made only if someone looks at them.

    Args:
        count: how many.
        make: place in the batch to transition.
    """

    def __init__(self, count: int, make: Callable[[int], Transition]):
        self._count = count
        self._make = functools.cache(make)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, i: int) -> Transition: ...

    @overload
    def __getitem__(self, i: slice) -> Sequence[Transition]: ...

    def __getitem__(self, i: int | slice) -> Any:
        places = range(self._count)[i]
        if isinstance(places, range):
            return [self._make(j) for j in places]
        return self._make(places)
