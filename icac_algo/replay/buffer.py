"""A d3rlpy replay buffer over columns."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

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

from . import arrays
from .batches import StepRule, interleave, pick_batch
from .columns import Columns
from .episodes import ColumnBuffer, EpisodeViews, LazyTransitions, read_episode

if TYPE_CHECKING:
    from minari import MinariDataset

__all__ = ["ColumnarReplayBuffer"]

# Appended transitions are picked one by one until they are this many, or this share of
# all: a copy of everything for each tenth keeps appending linear.
_MERGE_AT = 1000
_MERGE_SHARE = 0.1


class ColumnarReplayBuffer(ReplayBufferBase):
    """A drop-in for d3rlpy's ``ReplayBuffer`` that keeps a log as columns.

    Batches are picked by index arrays, and episodes exist only while someone looks at
    them, so memory is that of the columns; columns mapped from files take none.  Given
    the same numpy random state it returns the very batches of the stock buffer.

    .. code-block:: python

        buffer = ColumnarReplayBuffer.from_replay_buffer(dataset)
        buffer = ColumnarReplayBuffer.from_minari("mujoco/hopper/medium-v0")
        buffer = ColumnarReplayBuffer.from_parquet(
            "logs/", observation=["x", "c"], action="bid", reward="profit"
        )
        algo.fit(buffer, n_steps=10_000)

    Args:
        columns: the log.
        action_space: discrete (indices) or continuous.
        action_size: number of actions, or the dimension of a continuous one.
        transition_picker: d3rlpy's ``BasicTransitionPicker`` (default) and
            ``MultiStepTransitionPicker`` work on whole batches; any other picker is
            asked one transition at a time, as in the stock buffer.
        trajectory_slicer: as in the stock buffer.
        seed: a random stream of its own; by default batches are drawn from numpy's
            global one, as the stock buffer's, which ``d3rlpy.seed`` sets.
    """

    def __init__(
        self,
        columns: Columns,
        action_space: ActionSpace,
        action_size: int,
        transition_picker: TransitionPickerProtocol | None = None,
        trajectory_slicer: TrajectorySlicerProtocol | None = None,
        seed: int | None = None,
    ):
        self._columns = columns
        self._picker = transition_picker or BasicTransitionPicker()
        self._slicer = trajectory_slicer or BasicTrajectorySlicer()
        self._rule = StepRule.of_picker(self._picker)
        self._rng = None if seed is None else np.random.default_rng(seed)
        self._info = DatasetInfo(
            observation_signature=Signature(
                [part.dtype for part in columns.observations],
                [part.row_shape for part in columns.observations],
            ),
            action_signature=Signature(
                [columns.actions.dtype], [columns.actions.row_shape]
            ),
            reward_signature=Signature(
                [np.dtype(np.float32)], [columns.rewards.row_shape]
            ),
            action_space=action_space,
            action_size=action_size,
        )
        # What was appended since: the stock buffer knows how episodes grow.
        self._recent: ReplayBuffer | None = None
        self._episode_is_open = False

    # -- making one --------------------------------------------------------------

    @classmethod
    def from_arrays(
        cls,
        observations: Any,
        actions: npt.ArrayLike,
        rewards: npt.ArrayLike,
        terminals: npt.ArrayLike | None = None,
        timeouts: npt.ArrayLike | None = None,
        final: npt.ArrayLike | None = None,
        extras: dict[str, Any] | None = None,
        action_space: ActionSpace | None = None,
        action_size: int | None = None,
        **options: Any,
    ) -> ColumnarReplayBuffer:
        """From flat arrays, one row for each step, as d3rlpy's ``MDPDataset``.

        Args:
            observations: ``(R, ...)``, or a list of such for tuple observations.
            actions: ``(R,)`` or ``(R, 1)`` integer indices, or ``(R, A)`` floats.
            rewards: ``(R,)`` or ``(R, 1)``.
            terminals: 1 where an episode ended in a terminal state, ``(R,)``.  If
                neither this nor ``timeouts`` is given, every row is an episode of its
                own, as in a bandit.
            timeouts: 1 where an episode was cut off, ``(R,)``.
            final: 1 on rows that hold only what was observed after an episode's last
                step, ``(R,)``; the flags of the end stand on the row before.
            extras: further columns by name, each ``(R, ...)``.
            action_space: told apart by the type of ``actions`` if not given.
            action_size: one more than the largest action if not given.
            options: ``transition_picker``, ``trajectory_slicer``, ``seed``.

        Raises:
            ValueError: lengths differ, a value is not finite, an action is out of range,
                or flags contradict each other; it names the argument and the row.
        """
        columns = arrays.columns_of_arrays(
            observations, actions, rewards, terminals, timeouts, final, extras
        )
        space, size = arrays.action_space_of(columns, action_space, action_size)
        return cls(columns, space, size, **options)

    @classmethod
    def from_replay_buffer(
        cls, source: ReplayBufferBase, **options: Any
    ) -> ColumnarReplayBuffer:
        """A copy of a d3rlpy buffer, with its picker and slicer.

        Args:
            source: any d3rlpy replay buffer that holds at least one episode.
            options: ``transition_picker``, ``trajectory_slicer``, ``seed``.

        Raises:
            ValueError: it is empty.
        """
        info = source.dataset_info
        options.setdefault("transition_picker", source.transition_picker)
        options.setdefault("trajectory_slicer", source.trajectory_slicer)
        return cls(
            arrays.columns_of_episodes(source.episodes),
            info.action_space,
            info.action_size,
            **options,
        )

    @classmethod
    def from_minari(
        cls,
        dataset: str | MinariDataset,
        tuple_observation: bool = False,
        **options: Any,
    ) -> ColumnarReplayBuffer:
        """From a Minari dataset with Box, Discrete or goal-dictionary observations.

        Unlike ``d3rlpy.datasets.get_minari`` every observation stays with its own
        action, and the observation after an episode's last step is kept.

        Args:
            dataset: a Minari dataset, or the id of a local one.
            tuple_observation: goal-dictionary observations become tuples (observation,
                desired goal) instead of one joined vector.
            options: ``transition_picker``, ``trajectory_slicer``, ``seed``.

        Raises:
            ValueError: its observations or actions are of another kind.
            ImportError: Minari is missing.
        """
        from .minari_datasets import read_minari

        columns, space, size = read_minari(dataset, tuple_observation)
        return cls(columns, space, size, **options)

    @classmethod
    def from_sb3(cls, source: Any, **options: Any) -> ColumnarReplayBuffer:
        """A copy of a Stable-Baselines3 ``ReplayBuffer`` or ``DictReplayBuffer``.

        Args:
            source: the buffer; dictionaries of observations become tuples, in the order
                of their keys.
            options: ``transition_picker``, ``trajectory_slicer``, ``seed``.

        Raises:
            ValueError: it is empty.
        """
        from .sb3_buffers import read_sb3

        columns, space, size = read_sb3(source)
        return cls(columns, space, size, **options)

    @classmethod
    def from_parquet(
        cls,
        files: str | pathlib.Path | Sequence[str | pathlib.Path],
        *,
        observation: str | Sequence[str],
        action: str | Sequence[str],
        reward: str,
        propensity: str | None = None,
        episode: str | None = None,
        terminal: str | None = None,
        timeout: str | None = None,
        final: str | None = None,
        action_size: int | None = None,
        part: tuple[int, int] = (0, 1),
        cache_folder: str | pathlib.Path | None = None,
        show_progress: bool = True,
        **options: Any,
    ) -> ColumnarReplayBuffer:
        """From Parquet, Arrow or Feather files: one row for each impression.

        Uncompressed Arrow (Feather) files are memory-mapped where they lie.  Others are
        converted once into a cache folder and mapped from there; a changed file is
        converted again.  Nothing is ever written beside the files.

        Args:
            files: a file, a folder of shards (read in the order of their names), or a
                list of files.
            observation: columns that make up the observation, numbers or booleans.
            action: column of integer action indices; a float column, or several
                columns, hold a continuous action.
            reward: column of rewards.
            propensity: column of the logger's probability of the action, in (0, 1].
            episode: column that is constant over an episode's rows, which follow each
                other.  If neither this nor ``terminal`` nor ``timeout`` is given, every
                row is an episode of its own that terminates.
            terminal: column that is true (1) on the row that ends an episode in a
                terminal state.
            timeout: column that is true (1) on the row after which an episode was cut
                off.  The last row of an episode without either mark was cut off.
            final: column that is true (1) on rows that hold only what was observed
                after an episode's last step.
            action_size: number of actions; one more than the largest logged one if not
                given.
            part: ``(i, n)`` takes every n-th file from the i-th on: the shards of
                process i of n.
            cache_folder: default ``$ICAC_CACHE``, else ``icac`` in the user's cache.
            show_progress: whether to show how far a conversion is.
            options: ``transition_picker``, ``trajectory_slicer``, ``seed``.

        Raises:
            ValueError: a file, column or value is not as it must be; the message names
                file, column and row.
            FileNotFoundError: no such file, or a folder without any.
            ImportError: pyarrow is missing.
        """
        from .tables import Mapping, open_tables

        mapping = Mapping.of(
            observation=observation,
            action=action,
            reward=reward,
            propensity=propensity,
            episode=episode,
            terminal=terminal,
            timeout=timeout,
            final=final,
        )
        columns, largest = open_tables(files, mapping, part, cache_folder, show_progress)
        space, size = arrays.action_space_of(columns, None, action_size, largest)
        return cls(columns, space, size, **options)

    @classmethod
    def from_episode_generator(
        cls,
        episode_generator: Any,
        buffer: BufferProtocol | None = None,
        transition_picker: TransitionPickerProtocol | None = None,
        trajectory_slicer: TrajectorySlicerProtocol | None = None,
        writer_preprocessor: Any = None,
    ) -> ColumnarReplayBuffer:
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
        episode_cls: type[EpisodeBase] = Episode,
        transition_picker: TransitionPickerProtocol | None = None,
        trajectory_slicer: TrajectorySlicerProtocol | None = None,
        writer_preprocessor: Any = None,
    ) -> ColumnarReplayBuffer:
        """Reads what ``dump`` wrote, here or by d3rlpy's own buffer."""
        return cls.from_episode_generator(
            lambda: load(episode_cls, f),
            buffer,
            transition_picker,
            trajectory_slicer,
            writer_preprocessor,
        )

    # -- handing it on -----------------------------------------------------------

    @property
    def columns(self) -> Columns:
        """The log as columns, with everything appended so far in closed episodes."""
        self._merge()
        return self._columns

    def to_arrays(self) -> dict[str, Any]:
        """Flat arrays under the argument names of :meth:`from_arrays`."""
        return arrays.arrays_of_columns(self.columns)

    def to_replay_buffer(self) -> ReplayBuffer:
        """A stock d3rlpy buffer with the same episodes, picker and slicer."""
        info = self._info
        return ReplayBuffer(
            InfiniteBuffer(),
            transition_picker=self._picker,
            trajectory_slicer=self._slicer,
            episodes=list(self.episodes),
            observation_signature=info.observation_signature,
            action_signature=info.action_signature,
            reward_signature=info.reward_signature,
            action_space=info.action_space,
            action_size=info.action_size,
        )

    def to_minari(self, dataset_id: str, **metadata: Any) -> MinariDataset:
        """Writes a local Minari dataset; what was read from one comes back whole.

        Args:
            dataset_id: such as ``"bids/mine-v0"``; must not exist yet.
            metadata: ``observation_space``, ``action_space`` (derived if not given),
                ``author``, ``description``, and the like, as in Minari.

        Raises:
            ValueError: the id is taken or malformed, or an episode's last observation,
                which Minari needs, is unknown.
        """
        from .minari_datasets import write_minari

        return write_minari(self.columns, self._info, dataset_id, metadata)

    def to_sb3(self, device: str = "cpu") -> Any:
        """A full Stable-Baselines3 replay buffer with the same transitions.

        Args:
            device: where SB3 puts its batches.

        Raises:
            ImportError: Stable-Baselines3 is missing.
        """
        from .sb3_buffers import write_sb3

        return write_sb3(self.columns, self._info, device)

    def to_parquet(self, file: str | pathlib.Path) -> dict[str, Any]:
        """Writes one ``.parquet``, ``.arrow`` or ``.feather`` file, as a whole or not
        at all.

        Returns:
            the arguments with which :meth:`from_parquet` reads it back.

        Raises:
            ValueError: the extension is another one, or observations are no vectors.
        """
        from .tables import write_table

        return write_table(self.columns, self._info, pathlib.Path(file))

    def dump(self, f: BinaryIO) -> None:
        dump(self.episodes, f)

    # -- appending ---------------------------------------------------------------

    def append(self, observation: Any, action: Any, reward: Any) -> None:
        self._growing().append(observation, action, reward)
        self._episode_is_open = True

    def append_episode(self, episode: EpisodeBase) -> None:
        self._growing().append_episode(episode)
        self._merge_if_many()

    def clip_episode(self, terminated: bool) -> None:
        self._growing().clip_episode(terminated)
        self._episode_is_open = False
        self._merge_if_many()

    def _growing(self) -> ReplayBuffer:
        if self._recent is None:
            info = self._info
            self._recent = ReplayBuffer(
                InfiniteBuffer(),
                observation_signature=info.observation_signature,
                action_signature=info.action_signature,
                reward_signature=info.reward_signature,
                action_space=info.action_space,
                action_size=info.action_size,
            )
        return self._recent

    def _merge_if_many(self) -> None:
        assert self._recent is not None
        share = _MERGE_SHARE * self._columns.index.transitions
        in_memory = self._columns.source == arrays.IN_MEMORY
        # What lies in files is never copied into memory.
        if in_memory and self._recent.transition_count >= max(_MERGE_AT, share):
            self._merge()

    def _merge(self) -> None:
        """Moves appended episodes into the columns, unless one is still open."""
        recent = self._recent
        if recent is None or recent.transition_count == 0 or self._episode_is_open:
            return
        self._columns = arrays.joined(
            self._columns, arrays.columns_of_episodes(recent.episodes)
        )
        self._recent = None

    # -- sampling ----------------------------------------------------------------

    def sample_transition(self) -> Transition:
        return self._transition(int(self._draw(1)[0]))

    def sample_transition_batch(self, batch_size: int) -> TransitionMiniBatch:
        numbers = self._draw(batch_size)
        transitions = LazyTransitions(
            batch_size, lambda place: self._transition(int(numbers[place]))
        )
        if self._rule is None:
            return TransitionMiniBatch.from_transitions(list(transitions))
        index = self._columns.index
        older = numbers < index.transitions
        if older.all():
            rows = index.rows_of(numbers)
            return pick_batch(self._columns, rows, self._rule, transitions)
        newer = [transitions[place] for place in np.flatnonzero(~older).tolist()]
        batch = TransitionMiniBatch.from_transitions(newer)
        if not older.any():
            return batch
        rows = index.rows_of(numbers[older])
        return interleave(
            pick_batch(self._columns, rows, self._rule, ()), batch, older, transitions
        )

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
        return self._picker(*self._locate(number))

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

    # -- what it holds -----------------------------------------------------------

    @property
    def episodes(self) -> Sequence[EpisodeBase]:
        more = () if self._recent is None else self._recent.episodes
        return EpisodeViews(self._columns, more)

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
