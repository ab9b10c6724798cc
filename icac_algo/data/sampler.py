"""Sampling from columns, and appending to them, as d3rlpy's replay buffers do."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import (
    BasicTrajectorySlicer,
    BasicTransitionPicker,
    BufferProtocol,
    DatasetInfo,
    Episode,
    EpisodeBase,
    InfiniteBuffer,
    PartialTrajectory,
    ReplayBuffer,
    ReplayBufferBase,
    Signature,
    TrajectoryMiniBatch,
    TrajectorySlicerProtocol,
    Transition,
    TransitionMiniBatch,
    TransitionPickerProtocol,
)
from d3rlpy.dataset.io import dump, load
from typing_extensions import Self

from .._util.checks import check_seed, check_type
from . import arrays
from .columns import Columns
from .door import (
    VALUE,
    admitted,
    as_numbers,
    check_values,
    indices,
    row_of_episode,
    vectors,
)
from .pickers import BudgetRelabellingTransitionPicker
from .views import (
    ColumnBuffer,
    LazySequence,
    LoggedEpisode,
    LoggedMiniBatch,
    Reach,
    interleave,
    pick_batch,
    read_episode,
)

# Appended transitions are picked one by one until they are this many, or this share of
# all: a copy of everything for each tenth keeps appending linear.
_MERGE_AT = 1000
_MERGE_SHARE = 0.1


class ColumnSampler(ReplayBufferBase):
    """The part of :class:`ColumnarReplayBuffer` that d3rlpy calls while it trains."""

    def __init__(
        self,
        columns: Columns,
        action_space: ActionSpace,
        action_size: int,
        transition_picker: TransitionPickerProtocol | None = None,
        trajectory_slicer: TrajectorySlicerProtocol | None = None,
        seed: int | None = None,
    ):
        for name, value in (
            ("transition_picker", transition_picker),
            ("trajectory_slicer", trajectory_slicer),
        ):
            if value is not None and not callable(value):
                raise TypeError(f"{name} must be one of d3rlpy's, got {value!r}")
        if seed is not None:
            check_seed(seed)
        self._columns = columns
        self._picker = transition_picker or BasicTransitionPicker()
        self._slicer = trajectory_slicer or BasicTrajectorySlicer()
        self._reach = Reach.of_picker(self._picker)
        self._rng = None if seed is None else np.random.default_rng(seed)
        self._info = DatasetInfo(
            observation_signature=Signature(
                [part.dtype for part in columns.observations],
                [part.row_shape for part in columns.observations],
            ),
            action_signature=Signature(
                [columns.actions.dtype], [columns.actions.row_shape]
            ),
            reward_signature=Signature([np.dtype(np.float32)], [(1,)]),
            action_space=action_space,
            action_size=action_size,
        )
        # What was appended since: the stock buffer knows how episodes grow.
        self._recent: ReplayBuffer | None = None
        self._open_steps = 0
        # An episode's first step: d3rlpy adds one that ends there to the next episode.
        self._waiting: list[Any] = []

    @classmethod
    def from_episode_generator(
        cls,
        episode_generator: Any,
        buffer: BufferProtocol | None = None,
        transition_picker: TransitionPickerProtocol | None = None,
        trajectory_slicer: TrajectorySlicerProtocol | None = None,
        writer_preprocessor: Any = None,
    ) -> Self:
        """As d3rlpy's; ``buffer`` may only be an ``InfiniteBuffer``."""
        if buffer is not None and not isinstance(buffer, InfiniteBuffer):
            raise ValueError(
                "buffer must be an InfiniteBuffer, for nothing is ever dropped from "
                f"columns, got {type(buffer).__name__}"
            )
        if writer_preprocessor is not None:
            raise ValueError("writer_preprocessor is not supported by columns")
        stock = ReplayBuffer(
            InfiniteBuffer(),
            episodes=episode_generator(),
            transition_picker=transition_picker,
            trajectory_slicer=trajectory_slicer,
        )
        return cls.from_replay_buffer(stock)

    @classmethod
    def load(
        cls,
        f: BinaryIO,
        buffer: BufferProtocol | None = None,
        episode_cls: type[EpisodeBase] = LoggedEpisode,
        transition_picker: TransitionPickerProtocol | None = None,
        trajectory_slicer: TrajectorySlicerProtocol | None = None,
        writer_preprocessor: Any = None,
    ) -> Self:
        """Reads what ``dump`` wrote, here or by d3rlpy's own buffer."""
        return cls.from_episode_generator(
            lambda: load(episode_cls, f),
            buffer,
            transition_picker,
            trajectory_slicer,
            writer_preprocessor,
        )

    @classmethod
    def from_replay_buffer(cls, source: ReplayBufferBase, **options: Any) -> Self:
        """A copy of a d3rlpy buffer, with its picker and slicer.

        Raises ``ValueError``, as ``from_arrays``, if it holds what no log may hold.
        """
        check_type("source", source, ReplayBufferBase, "be a d3rlpy replay buffer")
        space, size = source.dataset_info.action_space, source.dataset_info.action_size
        options.setdefault("transition_picker", source.transition_picker)
        options.setdefault("trajectory_slicer", source.trajectory_slicer)
        if isinstance(source, ColumnSampler):
            return cls(source.all_columns(), space, size, **options)
        columns = arrays.columns_of_episodes(source.episodes)
        # A stock buffer counts actions as we do, if nobody says how many.
        where = row_of_episode(columns.index)
        return cls(*admitted(columns, space, size, where, is_counted=True), **options)

    def dump(self, f: BinaryIO) -> None:
        dump(self.episodes, f)

    def append(self, observation: Any, action: Any, reward: Any) -> None:
        """One step.

        Raises ``ValueError`` if it is not as the steps before it, or as in
        ``from_arrays``.
        """
        listed = isinstance(observation, (list, tuple)) and self._columns.is_tuple
        given = [*(observation if listed else [observation]), action, reward]
        known, info = self._columns.named(), self._info
        number = len(self.episodes) - (self._open_steps > 1)
        place = f"episode {number}, row {self._open_steps}"
        parts, count = len(given) - 2, len(self._columns.observations)
        if parts != count:
            raise ValueError(f"observations must be {count} arrays, {place} has {parts}")
        step: list[Any] = []
        for (name, column), value in zip(known.items(), given, strict=False):
            row = vectors(np.atleast_1d(as_numbers(name, value))[None])
            if row.shape[1:] != column.row_shape:
                raise ValueError(
                    f"{name} must have shape {column.row_shape} as in the steps before, "
                    f"{place} has {row.shape[1:]}"
                )
            is_index = name == "actions" and info.action_space == ActionSpace.DISCRETE
            rule = indices(info.action_size) if is_index else VALUE
            check_values(name, row, rule, where=lambda _: place)
            step.append(row)
        self._open_steps += 1
        self._waiting.append(step)
        if self._open_steps > 1:
            for *seen, acted, rewarded in self._waiting:
                seen = [p[0] for p in seen] if self._columns.is_tuple else seen[0][0]
                self._growing().append(seen, acted[0], rewarded[0])
            self._waiting = []

    def append_episode(self, episode: EpisodeBase) -> None:
        """A whole episode.

        What our own episodes hold beside d3rlpy's arrays comes along.  Raises
        ``ValueError`` as :meth:`append`.
        """
        self._growing().append_episode(self._fitting(episode))
        self._merge_if_many()

    def clip_episode(self, terminated: bool) -> None:
        recent = self._growing()
        if not self._waiting:
            recent.clip_episode(terminated)
        elif terminated:
            *parts, acted, rewarded = self._waiting[0]
            seen = parts if self._columns.is_tuple else parts[0]
            recent.append_episode(Episode(seen, acted, rewarded, True))
        self._waiting, self._open_steps = [], 0
        self._merge_if_many()

    def _fitting(self, episode: EpisodeBase) -> LoggedEpisode:
        """An appended episode, once it was checked."""
        info, number = self._info, len(self.episodes)
        columns = arrays.columns_of_episodes([episode], number)
        known, found = self._columns.named(), columns.named()
        for name in known.keys() | found.keys():
            if name.startswith("extras: ") and not (name in known and name in found):
                continue
            shapes = [c[name].row_shape if name in c else None for c in (known, found)]
            if shapes[0] != shapes[1]:
                raise ValueError(
                    f"{name} of episode {number} must have rows of shape {shapes[0]} as "
                    f"those before, got {shapes[1]}"
                )
        where = row_of_episode(columns.index, number)
        columns, *_ = admitted(columns, info.action_space, info.action_size, where)
        return read_episode(columns, 0)

    def _growing(self) -> ReplayBuffer:
        if self._recent is None:
            # Later steps may be fractions where those so far were whole numbers.
            info = self._info
            observed, acted = info.observation_signature, info.action_signature
            is_discrete = info.action_space == ActionSpace.DISCRETE
            kind = np.dtype(np.int64) if is_discrete else _wide(acted.dtype[0])
            self._recent = self._stock(
                observation_signature=Signature(
                    [_wide(kind) for kind in observed.dtype], observed.shape
                ),
                action_signature=Signature([kind], acted.shape),
                reward_signature=Signature([_wide(self._columns.rewards.dtype)], [(1,)]),
            )
        return self._recent

    def _stock(self, **options: Any) -> ReplayBuffer:
        """A stock buffer of the same kind of data."""
        return ReplayBuffer(InfiniteBuffer(), **{**vars(self._info), **options})

    def _merge_if_many(self) -> None:
        assert self._recent is not None
        share = _MERGE_SHARE * self._columns.index.transitions
        # What lies in files is never copied into memory.
        is_many = self._recent.transition_count >= max(_MERGE_AT, share)
        if is_many and self._columns.in_memory:
            self._merge()

    def _merge(self) -> None:
        """Moves appended episodes into the columns, unless one is still open."""
        recent = self._recent
        if recent is None or recent.transition_count == 0 or self._open_steps:
            return
        newer = arrays.columns_of_episodes(recent.episodes)
        self._columns = self._columns.followed_by(newer)
        self._recent = None

    def sample_transition(self) -> Transition:
        return self._transition(int(self._draw(1)[0]))

    def sample_transition_batch(self, batch_size: int) -> TransitionMiniBatch:
        numbers = self._draw(batch_size)
        transitions = LazySequence(
            batch_size,
            functools.cache(lambda place: self._transition(int(numbers[place]))),
        )
        index = self._columns.index
        older = numbers < index.transitions
        relabels = isinstance(self._picker, BudgetRelabellingTransitionPicker)
        in_columns = older.all() or (older.any() and not relabels)
        if self._reach is None or not in_columns:
            return TransitionMiniBatch.from_transitions(list(transitions))
        rows = index.rows_of(numbers[older])
        batch = pick_batch(self._columns, rows, self._reach, transitions)
        if relabels:
            return self._relabelled(batch, numbers)
        if older.all():
            return batch
        newer = [transitions[place] for place in np.flatnonzero(~older).tolist()]
        others = TransitionMiniBatch.from_transitions(newer)
        return interleave(batch, others, older, transitions)

    def _relabelled(
        self, batch: TransitionMiniBatch, numbers: npt.NDArray[np.int64]
    ) -> TransitionMiniBatch:
        assert isinstance(self._picker, BudgetRelabellingTransitionPicker)
        drawn = self._picker.relabelled_batch(batch, self._rng or np.random)

        def transition(place: int) -> Transition:
            return dataclasses.replace(
                BasicTransitionPicker()(*self._locate(int(numbers[place]))),
                observation=drawn.observations[place],
                next_observation=drawn.next_observations[place],
            )

        lazy = LazySequence(len(numbers), functools.cache(transition))
        return dataclasses.replace(drawn, transitions=lazy)

    def sample_trajectory(self, length: int) -> PartialTrajectory:
        episode, place = self._locate(int(self._draw(1)[0]))
        return self._slicer(episode, place, length)

    def sample_trajectory_batch(
        self, batch_size: int, length: int
    ) -> TrajectoryMiniBatch:
        return TrajectoryMiniBatch.from_partial_trajectories(
            [self.sample_trajectory(length) for _ in range(batch_size)]
        )

    def _draw(self, count: int) -> npt.NDArray[np.int64]:
        if self._rng is not None:
            return self._rng.integers(self.transition_count, size=count)
        return np.random.randint(self.transition_count, size=count)  # noqa: NPY002

    def _locate(self, number: int) -> tuple[EpisodeBase, int]:
        index = self._columns.index
        if number >= index.transitions:
            assert self._recent is not None
            return self._recent.buffer[number - index.transitions]
        row = int(index.rows_of(np.array([number]))[0])
        episode = int(index.episode_of(row))
        return read_episode(self._columns, episode), row - index.episode(episode)[0]

    def _transition(self, number: int) -> Transition:
        if isinstance(self._picker, BudgetRelabellingTransitionPicker):
            return self._picker.pick(*self._locate(number), self._rng or np.random)
        return self._picker(*self._locate(number))

    def logged_batch(self, rows: npt.NDArray[np.int64]) -> LoggedMiniBatch:
        """The logged transitions that begin at ``rows``, ``(B,)``, a step each."""
        return pick_batch(self._columns, rows, Reach(), [])

    @property
    def picks_logged_batches(self) -> bool:
        """Whether batches know the further columns of the log, if no episode is open."""
        return self._reach is not None

    @property
    def draws_ahead(self) -> bool:
        """Whether one large batch holds what several small ones would, one by one."""
        relabels = isinstance(self._picker, BudgetRelabellingTransitionPicker)
        return self._reach is not None and not relabels

    @property
    def random_state(self) -> dict[str, Any] | None:
        """Where the buffer's own random stream stands; ``None`` without a ``seed``."""
        return None if self._rng is None else dict(self._rng.bit_generator.state)

    @random_state.setter
    def random_state(self, state: dict[str, Any] | None) -> None:
        if (state is None) != (self._rng is None):
            raise ValueError(
                "random_state must be None exactly if the buffer was made without a seed"
            )
        if self._rng is not None and state is not None:
            self._rng.bit_generator.state = state

    @property
    def episodes(self) -> Sequence[EpisodeBase]:
        columns, count = self._columns, self._columns.index.episodes
        more = () if self._recent is None else self._recent.episodes

        def episode(number: int) -> EpisodeBase:
            if number >= count:
                return more[number - count]
            return read_episode(columns, number)

        return LazySequence(count + len(more), episode)

    def size(self) -> int:
        return len(self.episodes)

    @property
    def buffer(self) -> BufferProtocol:
        return ColumnBuffer(self.episodes, self.transition_count, self._locate)

    @property
    def transition_count(self) -> int:
        more = 0 if self._recent is None else self._recent.transition_count
        return self._columns.index.transitions + more

    @property
    def transition_picker(self) -> TransitionPickerProtocol:
        return self._picker

    @property
    def trajectory_slicer(self) -> TrajectorySlicerProtocol:
        return self._slicer

    @property
    def dataset_info(self) -> DatasetInfo:
        return self._info

    @property
    def columns(self) -> Columns:
        """The log as columns, with everything appended so far in closed episodes."""
        self._merge()
        return self._columns

    def all_columns(self) -> Columns:
        """As :attr:`columns`, and with the episode that is still open."""
        columns, recent = self.columns, self._recent
        if recent is None or recent.transition_count == 0:
            return columns
        return columns.followed_by(arrays.columns_of_episodes(recent.episodes))


def _wide(kind: np.dtype[Any]) -> np.dtype[Any]:
    """A type that holds fractions, and all numbers of this one."""
    return np.result_type(kind, np.float32)
