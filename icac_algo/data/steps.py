"""A log as one row for each decision: what off-policy statistics look at.

:mod:`icac_algo.evidence` reads every kind of dataset through :func:`logged_steps`.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import ReplayBufferBase

from .._util.checks import check_count, check_rows
from .buffer import ColumnarReplayBuffer
from .door import VALUE, as_numbers
from .extras import extra_values, find_extra
from .files.minari import is_minari

FloatArray = npt.NDArray[np.float64]
#: Of actions that are any number: fewer different ones than these are levels, and a log
#: has so many ranges of so many rows.
FEWEST_NUMBERS = 20
FEWEST_RANGES, MOST_RANGES, ROWS_OF_RANGE = 3, 12, 100
#: Of a longer log of indices no more are held at once.
ROWS_AT_ONCE = 1 << 20
# Columns with such a name may be propensities too.
_LIKE_ONES = ("prop", "prob", "pscore")


@dataclasses.dataclass(frozen=True)
class LoggedSteps:
    """N logged decisions.

    Args:
        observations: float32, ``(N, d)``.
        actions: indices, int64, ``(N,)``.
        rewards: float64, ``(N,)``.
        propensities: the logger's probability of the logged action, in (0, 1], float64
            ``(N,)``; ``None`` if it was not logged.
        episodes: number of the episode that each row belongs to, rising, int64 ``(N,)``.
        action_size: number of actions K.
        source: of the propensities: ``"logged"``, ``"given"`` or ``"estimated"``; whoever
            reads the log estimates those that are ``None``.
        unread: names of columns that look like propensities and were not read.
        numbers: what was done, where any number could be, float64 ``(N,)``; ``actions``
            are then the ranges that they are in, and ``propensities`` their density
            times the width of that range: what makes ``1 / propensities`` weights of a
            uniform choice from it.
        edges: of the K ranges, rising, ``(K + 1,)``; with ``numbers``.
        columns: further ones by name, such as outcomes, float64 ``(N,)`` each.

    Raises:
        ValueError: a column has another shape, or values that are not finite or out of
            bounds; the first row is named.
    """

    observations: npt.NDArray[np.float32]
    actions: npt.NDArray[np.int64]
    rewards: FloatArray
    propensities: FloatArray | None
    episodes: npt.NDArray[np.int64]
    action_size: int
    source: str = "logged"
    unread: tuple[str, ...] = ()
    numbers: FloatArray | None = None
    edges: FloatArray | None = None
    columns: Mapping[str, FloatArray] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_count("action_size", self.action_size)
        count = len(self.actions)
        if not count:
            raise ValueError("a log must have at least one step, got none")
        columns = {
            "observations": ("f4", (count, *np.shape(self.observations)[1:2])),
            "actions": ("i8", (count,)),
            "rewards": ("f8", (count,)),
            "episodes": ("i8", (count,)),
        }
        for name, (kind, shape) in columns.items():
            values = as_numbers(name, getattr(self, name), "iub" + kind[0])
            if values.shape != shape or (name == "observations" and len(shape) < 2):
                raise ValueError(f"{name} must have shape {shape}, got {values.shape}")
            if values.dtype.kind == "f":
                wrong = ~(np.abs(values) <= VALUE.high)
                check_rows(f"{name} must be {VALUE.allowed}", values, wrong)
            object.__setattr__(self, name, values.astype(kind, copy=False))
        wrong = (self.actions < 0) | (self.actions >= self.action_size)
        requirement = f"actions must be from 0 to {self.action_size - 1}"
        check_rows(requirement, self.actions, wrong)
        self._check_numbers()
        self._check_columns()
        falls = np.diff(self.episodes, prepend=self.episodes[0]) < 0
        check_rows("episodes must rise", self.episodes, falls)
        if self.propensities is None:
            object.__setattr__(self, "source", "estimated")
        else:
            chosen = self._of_logged_actions(self.propensities)
            object.__setattr__(self, "propensities", chosen)

    def _check_numbers(self) -> None:
        if self.numbers is None and self.edges is None:
            return
        if self.numbers is None or self.edges is None:
            raise ValueError("numbers and edges must both be given, or none of them")
        numbers = _finite("numbers", self.numbers, len(self))
        edges = _finite("edges", self.edges, self.action_size + 1)
        object.__setattr__(self, "numbers", numbers)
        object.__setattr__(self, "edges", edges)
        check_rows("edges must rise", edges, np.diff(edges, prepend=-np.inf) <= 0.0)
        wrong = self.ranges_of(numbers) != self.actions
        check_rows("actions must be the ranges of numbers", self.actions, wrong)

    def _check_columns(self) -> None:
        if not isinstance(self.columns, Mapping):
            raise ValueError(f"columns must map names to values, got {self.columns!r}")
        found = {}
        for name, values in self.columns.items():
            array = as_numbers(f"columns[{name!r}]", values).astype(np.float64)
            if array.shape != (len(self),):
                raise ValueError(
                    f"columns[{name!r}] must have shape ({len(self)},), got {array.shape}"
                )
            found[name] = array
        object.__setattr__(self, "columns", found)

    def _of_logged_actions(self, propensities: npt.ArrayLike) -> FloatArray:
        values = as_numbers("propensities", propensities, "fiu").astype(np.float64)
        count, size = len(self), self.action_size
        if values.shape not in ((count,), (count, 1), (count, size)):
            raise ValueError(
                f"propensities must have one value for each of {count} logged steps, or "
                f"one for each of its {size} actions, got shape {values.shape}"
            )
        if values.shape == (count, size) and size > 1 and self.numbers is None:
            off = ~(np.abs(values.sum(axis=1) - 1.0) < 1e-3) | (values < 0.0).any(axis=1)
            check_rows("propensities must be at least 0 and sum to 1", values, off)
            values = values[np.arange(count), self.actions]
        values = values.reshape(-1)
        if self.numbers is not None:
            bad = ~((values > 0.0) & np.isfinite(values))
            check_rows("densities must be above 0 and finite", values, bad)
            return values
        bad = ~((values > 0.0) & (values <= 1.0))
        check_rows("propensities must be in (0, 1]", values, bad)
        return values

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def is_bandit(self) -> bool:
        """Whether every decision is an episode of its own."""
        return len(self) == len(self.starts)

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """First row of each of G episodes, ``(G,)``."""
        return np.flatnonzero(np.diff(self.episodes, prepend=self.episodes[0] - 1))

    def ranges_of(self, numbers: FloatArray) -> npt.NDArray[np.int64]:
        """The range that each number is in, ``(M,)``; the next one, if in none."""
        assert self.edges is not None
        return np.searchsorted(self.edges[1:-1], numbers, side="right").astype(np.int64)

    def with_rewards(self, rewards: FloatArray) -> LoggedSteps:
        """The same decisions with other rewards, ``(N,)``."""
        return dataclasses.replace(self, rewards=rewards)


def logged_steps(
    dataset: Any,
    propensities: npt.ArrayLike | None = None,
    columns: Sequence[str] = (),
) -> LoggedSteps:
    """Reads a log of discrete actions, or of one number, and vector observations.

    Args:
        dataset: any d3rlpy replay buffer, a Minari dataset or the id of a local one; or
            :class:`LoggedSteps`, which are returned as they are.
        propensities: the logger's probability of each logged action, ``(N,)``, or of
            every action, ``(N, K)``; of numbers their densities, ``(N,)``, per unit of
            action; by default those that the log kept under ``"propensity"``, as a
            column or as an info of each step.
        columns: names of further ones to read.

    Raises:
        TypeError: ``dataset`` is something else.
        ValueError: it is empty, lacks a column, has several numbers in an action or fewer
            than ``FEWEST_NUMBERS`` different ones, observations that are no vectors or
            values that are not finite, a propensity is not in (0, 1] or a density not
            above 0.
    """
    if isinstance(dataset, LoggedSteps):
        steps = dataset
        for name in columns:
            if name not in steps.columns:
                raise ValueError(
                    f"dataset must have the column {name!r}, has {sorted(steps.columns)}"
                )
    else:
        steps = _read(logged_buffer(dataset), columns, None)
    if propensities is None:
        return steps
    given = as_numbers("propensities", propensities, "fiu")
    if steps.edges is not None:
        given = _of_ranges(steps.edges, steps.actions, given)
    return dataclasses.replace(steps, propensities=given, source="given", unread=())


def logged_blocks(dataset: Any, propensities: Any = None) -> Iterator[LoggedSteps]:
    """As :func:`logged_steps`, a long log in blocks of whole episodes."""
    if _is_long(dataset, propensities):
        for rows in dataset.columns.index.blocks(ROWS_AT_ONCE):
            yield _read(dataset, (), rows)
    else:
        yield logged_steps(dataset, propensities)


def sampled(dataset: Any, propensities: npt.ArrayLike | None, seed: int) -> Any:
    """The dataset; of a long log whole episodes by chance, about ``ROWS_AT_ONCE``."""
    if not _is_long(dataset, propensities):
        return dataset
    index = dataset.columns.index
    count = max(1, ROWS_AT_ONCE * index.episodes // index.rows)
    chosen = np.random.default_rng(seed).choice(index.episodes, count, replace=False)
    return dataset.replace(episodes=np.sort(chosen))


def _is_long(dataset: Any, propensities: npt.ArrayLike | None) -> bool:
    if propensities is not None or not isinstance(dataset, ColumnarReplayBuffer):
        return False
    discrete = dataset.dataset_info.action_space == ActionSpace.DISCRETE
    return discrete and dataset.columns.index.rows > ROWS_AT_ONCE


def number_steps(
    observations: npt.NDArray[np.float32],
    numbers: FloatArray,
    rewards: FloatArray,
    densities: npt.ArrayLike | None,
    episodes: npt.NDArray[np.int64],
    unread: tuple[str, ...] = (),
    columns: Mapping[str, FloatArray] | None = None,
) -> LoggedSteps:
    """Decisions that are any number: ranges of about equally many rows.

    Args:
        numbers: what was done, ``(N,)``.
        densities: the logger's, of each, ``(N,)``.

    Others are those of :class:`LoggedSteps`.

    Raises:
        ValueError: there are fewer than ``FEWEST_NUMBERS`` different ones.
    """
    numbers = _finite("numbers", numbers, len(observations))
    distinct = len(np.unique(numbers))
    if distinct < FEWEST_NUMBERS:
        raise ValueError(
            "dataset must have discrete actions (indices), or at least "
            f"{FEWEST_NUMBERS} different numbers, got {distinct}; if they are a few "
            "repeated numbers, log their index instead"
        )
    count = min(max(len(numbers) // ROWS_OF_RANGE, FEWEST_RANGES), MOST_RANGES)
    edges = np.unique(np.quantile(numbers, np.linspace(0.0, 1.0, count + 1)))
    actions = np.searchsorted(edges[1:-1], numbers, side="right")
    given = None
    if densities is not None:
        given = _of_ranges(edges, actions, as_numbers("propensities", densities, "fiu"))
    return LoggedSteps(
        observations,
        actions,
        rewards,
        given,
        episodes,
        len(edges) - 1,
        unread=unread,
        numbers=numbers,
        edges=edges,
        columns=columns or {},
    )


def _finite(name: str, values: Any, count: int) -> FloatArray:
    array = as_numbers(name, values, "fiu").astype(np.float64)
    if array.shape != (count,):
        raise ValueError(f"{name} must have shape ({count},), got {array.shape}")
    check_rows(f"{name} must be {VALUE.allowed}", array, ~(np.abs(array) <= VALUE.high))
    return array


def _of_ranges(
    edges: FloatArray, actions: npt.NDArray[np.int64], densities: npt.NDArray[Any]
) -> FloatArray:
    count = len(actions)
    if densities.shape not in ((count,), (count, 1)):
        raise ValueError(
            f"propensities must have one density for each of {count} logged steps, got "
            f"shape {densities.shape}"
        )
    values = densities.reshape(-1).astype(np.float64)
    bad = ~((values > 0.0) & (np.abs(values) <= VALUE.high))
    check_rows("propensities must be densities above 0", values, bad)
    return np.asarray(values * np.diff(edges)[actions])


def logged_buffer(dataset: Any) -> ColumnarReplayBuffer:
    """What :func:`logged_steps` takes, as columns.

    Raises:
        TypeError: ``dataset`` is something else.
        ValueError: it is empty or cannot be read.
    """
    if isinstance(dataset, str) and pathlib.Path(dataset).exists():
        raise ValueError(
            "dataset must be the id of a Minari dataset or a buffer, got the path "
            f"{dataset!r}; open it with ColumnarReplayBuffer.from_parquet"
        )
    if isinstance(dataset, str) or is_minari(dataset):
        return ColumnarReplayBuffer.from_minari(dataset)
    if isinstance(dataset, ColumnarReplayBuffer):
        return dataset
    if isinstance(dataset, ReplayBufferBase):
        return ColumnarReplayBuffer.from_replay_buffer(dataset)
    raise TypeError(
        "dataset must be a d3rlpy replay buffer, a Minari dataset or the id of one, "
        f"got {type(dataset).__name__}"
    )


def _read(buffer: ColumnarReplayBuffer, names: Sequence[str], rows: Any) -> LoggedSteps:
    info = buffer.dataset_info
    discrete = info.action_space == ActionSpace.DISCRETE
    if not discrete and info.action_size != 1:
        raise ValueError(
            "dataset must have discrete actions (indices) or one number, got "
            f"{info.action_size} numbers"
        )
    shapes = info.observation_signature.shape
    if len(shapes) != 1 or len(shapes[0]) != 1:
        raise ValueError(
            f"dataset must have vector observations, got observations of shape {shapes}"
        )
    columns = buffer.columns
    rows = columns.index.decisions(rows)
    logged = find_extra(columns, "propensity")
    propensities = None if logged is None else logged[1].take(rows)
    unread = [n for n in columns.extras if any(part in n.lower() for part in _LIKE_ONES)]
    observations = np.asarray(columns.observations[0].take(rows))
    actions = np.asarray(columns.actions.take(rows)).reshape(-1)
    rewards = np.asarray(columns.rewards.take(rows)).reshape(-1)
    episodes = np.asarray(columns.index.episode_of(rows))
    unread = unread if logged is None else []
    further = {}
    for name in names:
        if find_extra(columns, name) is None:
            raise ValueError(
                f"dataset must have the column {name!r}, has {sorted(columns.extras)}"
            )
        further[name] = np.asarray(extra_values(columns, name, rows), np.float64)
    if not discrete:
        return number_steps(
            observations,
            actions,
            rewards,
            propensities,
            episodes,
            tuple(unread),
            further,
        )
    return LoggedSteps(
        observations,
        actions,
        rewards,
        propensities,
        episodes,
        info.action_size,
        unread=tuple(unread),
        columns=further,
    )
