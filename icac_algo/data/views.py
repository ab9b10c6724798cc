"""Columns as d3rlpy sees them: episodes, transitions and batches, made when asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from d3rlpy.dataset import (
    BasicTransitionPicker,
    BufferProtocol,
    Episode,
    EpisodeBase,
    MultiStepTransitionPicker,
    SparseRewardTransitionPicker,
    Transition,
    TransitionMiniBatch,
)

from .columns import Array, Column, Columns
from .extras import extra_values
from .pickers import BudgetRelabellingTransitionPicker

T = TypeVar("T")


_EXTRAS = "extras: "


@dataclasses.dataclass(frozen=True)
class LoggedEpisode(Episode):
    """An episode of d3rlpy that takes along what d3rlpy has no place for.

    ``extras`` have as many rows as there are actions; ``has_final`` says whether the last
    row holds only what was observed after the last step.
    """

    extras: Mapping[str, Array] = dataclasses.field(default_factory=dict)
    has_final: bool = False

    def serialize(self) -> dict[str, Any]:
        more = {_EXTRAS + name: values for name, values in self.extras.items()}
        return {**super().serialize(), **more, "has_final": self.has_final}

    @classmethod
    def deserialize(cls, serializedData: dict[str, Any]) -> LoggedEpisode:
        plain = Episode.deserialize(serializedData)
        extras = {
            name.removeprefix(_EXTRAS): values
            for name, values in serializedData.items()
            if name.startswith(_EXTRAS)
        }
        has_final = bool(serializedData.get("has_final", False))
        return cls(**vars(plain), extras=extras, has_final=has_final)


def read_episode(columns: Columns, number: int) -> LoggedEpisode:
    """One episode as d3rlpy's, its arrays views where the columns are in memory.

    A cut-off episode whose last observation is known ends with that observation beside
    a zero action and a zero reward, so that d3rlpy's own pickers find its successor.
    """
    start, stop, terminated, has_final = columns.index.episode(number)
    if terminated and has_final:
        stop -= 1
    parts = [part.read(start, stop) for part in columns.observations]
    return LoggedEpisode(
        parts if columns.is_tuple else parts[0],
        columns.actions.read(start, stop),
        columns.rewards.read(start, stop),
        terminated=terminated,
        extras={name: c.read(start, stop) for name, c in columns.extras.items()},
        has_final=has_final and not terminated,
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


@dataclasses.dataclass(frozen=True)
class LoggedMiniBatch(TransitionMiniBatch):
    """A batch of d3rlpy that knows what was logged beside it.

    Args:
        extra: from the name of a column to its values at the first step of each
            transition, ``(B,)``; see :func:`~icac_algo.data.extra_values`.
    """

    extra: Callable[[str], Array]


class Reach(NamedTuple):
    """How far a transition reaches: at most ``n_steps``, their rewards discounted."""

    n_steps: int = 1
    gamma: float = 1.0

    @classmethod
    def of_picker(cls, picker: Any) -> Reach | None:
        """That of a known picker; ``None`` for one that only itself can apply."""
        # Of a sparse-reward picker only the returns-to-go differ, which are always
        # computed by the picker itself; budgets are relabelled once a batch is picked.
        if type(picker) in (
            BasicTransitionPicker,
            SparseRewardTransitionPicker,
            BudgetRelabellingTransitionPicker,
        ):
            return cls()
        if type(picker) is MultiStepTransitionPicker:
            return cls(picker._n_steps, picker._gamma)
        return None


def pick_batch(
    columns: Columns,
    rows: npt.NDArray[np.int64],
    reach: Reach,
    transitions: Sequence[Transition],
) -> LoggedMiniBatch:
    """The transitions that begin at ``rows``, ``(B,)``, and again each by itself."""
    after = columns.index.successors(rows, reach.n_steps)
    terminal = after.terminal
    actions = _take(columns.actions, rows)
    observations = [_take(part, rows) for part in columns.observations]
    if terminal.all():
        # A terminal transition has no successor; d3rlpy fills in zeros.
        next_observations = [np.zeros_like(part) for part in observations]
        next_actions = np.zeros_like(actions)
    else:
        next_observations = [_take(part, after.rows) for part in columns.observations]
        next_actions = _take(columns.actions, after.rows)
        if terminal.any():
            for part in (*next_observations, next_actions):
                part[terminal] = 0.0
    return LoggedMiniBatch(
        observations=observations if columns.is_tuple else observations[0],
        actions=actions,
        rewards=_rewards(columns.rewards, rows, after.interval, reach),
        next_observations=next_observations if columns.is_tuple else next_observations[0],
        next_actions=next_actions,
        terminals=terminal.astype(np.float32)[:, None],
        intervals=after.interval.astype(np.float32)[:, None],
        transitions=transitions,
        extra=lambda name: extra_values(columns, name, rows),
    )


def interleave(
    first: TransitionMiniBatch,
    second: TransitionMiniBatch,
    is_first: npt.NDArray[np.bool_],
    transitions: Sequence[Transition],
) -> TransitionMiniBatch:
    """Two batches as one: rows of ``first`` where ``is_first``, ``(B,)``, in order."""

    def merge(a: Any, b: Any) -> Any:
        if isinstance(a, list):
            return [merge(x, y) for x, y in zip(a, b, strict=True)]
        merged = np.empty((len(is_first), *a.shape[1:]), dtype=a.dtype)
        merged[is_first], merged[~is_first] = a, b
        return merged

    fields = {
        field.name: merge(getattr(first, field.name), getattr(second, field.name))
        for field in dataclasses.fields(TransitionMiniBatch)
        if field.name != "transitions"
    }
    return TransitionMiniBatch(**fields, transitions=transitions)


def _rewards(
    column: Column,
    rows: npt.NDArray[np.int64],
    interval: npt.NDArray[np.int64],
    reach: Reach,
) -> npt.NDArray[np.float32]:
    """Discounted sums of the rewards of ``interval`` steps, float32 ``(B, 1)``."""
    if reach.n_steps == 1:
        return _take(column, rows)
    total = np.empty((len(rows), 1), dtype=np.float32)
    for steps in np.unique(interval).tolist():
        # Added up as d3rlpy's picker does, in the same order.
        some = np.flatnonzero(interval == steps)
        gammas = reach.gamma ** np.arange(steps)
        rewards = column.take((rows[some, None] + np.arange(steps)).reshape(-1))
        total[some, 0] = np.sum(rewards.reshape(-1, steps) * gammas, axis=1)
    return total


def _take(column: Column, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    return column.take(rows).astype(np.float32, copy=False)
