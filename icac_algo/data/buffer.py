"""A d3rlpy replay buffer over columns: where it comes from and what it can become."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import (
    ReplayBuffer,
    TrajectorySlicerProtocol,
    TransitionPickerProtocol,
)

from .._util.checks import check_count, check_number, check_path, check_seed
from . import arrays
from .door import action_space_of, admitted
from .sampler import ColumnSampler

if TYPE_CHECKING:
    from minari import MinariDataset


class ColumnarReplayBuffer(ColumnSampler):
    """A drop-in for d3rlpy's ``ReplayBuffer`` that keeps a log as columns.

    Batches are picked by index arrays, and episodes exist only while someone looks at
    them, so memory is that of the columns; columns mapped from files take none.  Given
    the same numpy random state it returns the very batches of the stock buffer.

    .. code-block:: python

        buffer = ColumnarReplayBuffer.from_replay_buffer(dataset)
        buffer = ColumnarReplayBuffer.from_minari("mujoco/hopper/medium-v0")
        buffer = ColumnarReplayBuffer.from_parquet(
            "logs/", observation=["x", "c"], action="action", reward="reward"
        )
        algo.fit(buffer, n_steps=10_000)

    Args:
        columns: the log.
        action_space: discrete (indices) or continuous.
        action_size: number of actions, or the dimension of a continuous one.
        transition_picker: d3rlpy's ``BasicTransitionPicker`` (default) and
            ``MultiStepTransitionPicker``, and ``BudgetRelabellingTransitionPicker``,
            work on whole batches; any other picker is asked one transition at a time,
            as in the stock buffer.
        trajectory_slicer: as in the stock buffer.
        seed: a random stream of its own; by default batches are drawn from numpy's
            global one, as the stock buffer's, which ``d3rlpy.seed`` sets.
    """

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
        return cls(*admitted(columns, action_space, action_size), **options)

    @classmethod
    def from_minari(
        cls, dataset: str | MinariDataset, tuple_observation: bool = False, **options: Any
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
        from .files.minari import read_minari

        return cls(*read_minari(dataset, tuple_observation), **options)

    @classmethod
    def from_sb3(cls, source: Any, **options: Any) -> ColumnarReplayBuffer:
        """A copy of a Stable-Baselines3 ``ReplayBuffer`` or ``DictReplayBuffer``.

        SB3 keeps no infos there, so the copy has no extras;
        :func:`icac_algo.sb3.record_log` makes a log that has.

        Args:
            source: the buffer; dictionaries of observations become tuples, in the order
                of their keys.
            options: ``transition_picker``, ``trajectory_slicer``, ``seed``.

        Raises:
            ValueError: it is empty.
        """
        from .files.sb3 import read_sb3

        return cls(*read_sb3(source), **options)

    @classmethod
    def from_parquet(
        cls,
        files: str | pathlib.Path | Sequence[str | pathlib.Path],
        *,
        observation: str | Sequence[str],
        action: str | Sequence[str],
        reward: str,
        propensity: str | None = None,
        extras: str | Sequence[str] = (),
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
        """From Parquet, Arrow, Feather or CSV files: one row for each impression.

        Uncompressed Arrow (Feather) files are memory-mapped where they lie.  Others are
        converted once into a cache folder and mapped from there; a changed file is
        converted again.  Nothing is ever written beside the files.

        A column has the type that holds what it holds in every file: integers in one and
        floats in another are floats.  Text files (``.csv``, ``.tsv``, ``.csv.gz``,
        ``.tsv.gz``) have a header; an empty cell is a missing value, and refused.

        Args:
            files: a file, a list of files, or a folder of shards, read in natural order
                (``part-2`` before ``part-10``).  Subfolders ``KEY=VALUE`` are read as
                well, and ``KEY`` is a column of their rows; others must hold no tables.
                What is hidden (``.`` or ``_``) is passed over.
            observation: columns that make up the observation, numbers or booleans.
            action: column of integer action indices; a float column, or several
                columns, hold a continuous action.
            reward: column of rewards.
            propensity: column of the logger's probability of the action, in (0, 1], or of
                its density where actions are numbers.
            extras: further columns of numbers, such as what outcomes are learned from.
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
            options: ``transition_picker``, ``trajectory_slicer``, ``seed``.

        Raises:
            DamagedFileError: a file cannot be read, or says what is not so; it is a
                ``ValueError``.
            ValueError: a file, column or value is not as it must be; the message names
                file, column and row, counted from 0 without the header.
            FileNotFoundError: no such file, or a folder without any.
            ImportError: pyarrow is missing.
        """
        from .files.mapping import Mapping
        from .files.tables import open_tables

        marks = {"terminal": terminal, "timeout": timeout, "final": final}
        names = {"reward": reward, "propensity": propensity, "episode": episode, **marks}
        mapping = Mapping.of(observation, action, extras, **names)
        if cache_folder is not None:
            check_path("cache_folder", cache_folder)
            if pathlib.Path(cache_folder).is_file():
                raise NotADirectoryError(
                    f"cache_folder must be a folder, got the file {cache_folder}"
                )
        if action_size is not None:
            check_count("action_size", action_size)
        columns, seen = open_tables(files, mapping, part, cache_folder, show_progress)
        return cls(columns, *action_space_of(columns, None, action_size, seen), **options)

    def split(
        self, share: float = 0.8, seed: int = 0
    ) -> tuple[ColumnarReplayBuffer, ColumnarReplayBuffer]:
        """Two buffers, such as one to train on and one to judge by.

        Episodes stay whole; what is kept is copied into memory.  Smaller shares of one
        seed are part of larger ones.

        Args:
            share: of the episodes that go into the first one, in (0, 1).
            seed: which episodes.

        Raises:
            ValueError: an argument is out of bounds, or there is one episode only.
        """
        check_number("share", share, above=0.0, below=1.0)
        check_seed(seed)
        count = self.columns.index.episodes
        if count < 2:
            raise ValueError(f"a buffer must have two episodes to split, has {count}")
        order = np.random.default_rng(seed).permutation(count)
        cut = min(max(round(share * count), 1), count - 1)
        first, second = (
            self.replace(episodes=np.sort(half)) for half in (order[:cut], order[cut:])
        )
        return first, second

    def replace(
        self,
        *,
        rewards: npt.ArrayLike | None = None,
        episodes: npt.ArrayLike | None = None,
        transition_picker: TransitionPickerProtocol | None = None,
        trajectory_slicer: TrajectorySlicerProtocol | None = None,
        seed: int | None = None,
    ) -> ColumnarReplayBuffer:
        """The same log, but with other rewards, fewer episodes or another picker.

        Whatever is not given stays as it is: columns (which are not copied, unless
        episodes are chosen), extras, action size, picker and slicer.  Only the random
        stream is new.  What is appended to one of both later is not in the other.

        .. code-block:: python

            safe = buffer.replace(rewards=buffer.to_arrays()["rewards"] - cost)
            first_ten = buffer.replace(episodes=range(10))
            relabelled = buffer.replace(transition_picker=picker)

        Args:
            rewards: one for each row of :meth:`to_arrays`, ``(R,)`` or ``(R, 1)``.
            episodes: numbers of the episodes to keep, in that order, ``(E,)``.  Rewards,
                if given too, are of the whole log.
            transition_picker: as in the constructor.
            trajectory_slicer: as in the constructor.
            seed: as in the constructor, also where this buffer has a stream of its own.

        Raises:
            TypeError: a picker or slicer cannot be called.
            ValueError: ``rewards`` have another length or values that are not finite, or
                an episode does not exist.
        """
        columns = self.columns
        if rewards is not None:
            columns = arrays.with_rewards(columns, rewards)
        if episodes is not None:
            count = columns.index.episodes
            columns = columns.of_episodes(arrays.numbers_of_episodes(episodes, count))
        return type(self)(
            columns,
            self._info.action_space,
            self._info.action_size,
            transition_picker=transition_picker or self._picker,
            trajectory_slicer=trajectory_slicer or self._slicer,
            seed=seed,
        )

    def to_arrays(self) -> dict[str, Any]:
        """Flat arrays under the argument names of :meth:`from_arrays`."""
        columns = self.columns
        marks = columns.index.marks()
        parts = [part.whole() for part in columns.observations]
        return {
            "observations": parts if columns.is_tuple else parts[0],
            "actions": columns.actions.whole(),
            "rewards": columns.rewards.whole(),
            "terminals": marks["terminal"],
            "timeouts": marks["timeout"],
            "final": marks["final"],
            "extras": {name: column.whole() for name, column in columns.extras.items()},
        }

    def to_replay_buffer(self) -> ReplayBuffer:
        """A stock d3rlpy buffer with the same episodes, picker and slicer."""
        return self._stock(
            transition_picker=self._picker,
            trajectory_slicer=self._slicer,
            episodes=list(self.episodes),
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
        from .files.minari import write_minari

        return write_minari(self.columns, self._info, dataset_id, metadata)

    def to_sb3(self, device: str = "cpu") -> Any:
        """A full Stable-Baselines3 replay buffer with the same transitions.

        SB3 puts its batches on ``device``.  Raises ``ImportError`` if it is missing.
        """
        from .files.sb3 import write_sb3

        return write_sb3(self.columns, self._info, device)

    def to_parquet(self, file: str | pathlib.Path) -> dict[str, Any]:
        """Writes one ``.parquet``, ``.arrow``, ``.feather`` or ``.csv`` file, as a whole
        or not at all.

        Extras of one finite number a row are written too.

        Returns:
            the arguments with which :meth:`from_parquet` reads it back.

        Raises:
            ValueError: the extension is another one, observations are no vectors, or an
                extra has the name of another column of the table.
        """
        from .files.tables import write_table

        check_path("file", file)
        return write_table(self.columns, self._info, pathlib.Path(file))
