"""A log as one row for each decision: what off-policy statistics look at.

:mod:`icac_algo.evidence` reads every kind of dataset through :func:`logged_steps`.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import ReplayBufferBase

from .._util.checks import check_count, check_rows
from .buffer import ColumnarReplayBuffer
from .door import VALUE, as_numbers
from .extras import find_extra
from .files.minari import is_minari

FloatArray = npt.NDArray[np.float64]
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
        falls = np.diff(self.episodes, prepend=self.episodes[0]) < 0
        check_rows("episodes must rise", self.episodes, falls)
        if self.propensities is None:
            object.__setattr__(self, "source", "estimated")
        else:
            chosen = self._of_logged_actions(self.propensities)
            object.__setattr__(self, "propensities", chosen)

    def _of_logged_actions(self, propensities: npt.ArrayLike) -> FloatArray:
        values = as_numbers("propensities", propensities, "fiu").astype(np.float64)
        count, size = len(self), self.action_size
        if values.shape not in ((count,), (count, 1), (count, size)):
            raise ValueError(
                f"propensities must have one value for each of {count} logged steps, or "
                f"one for each of its {size} actions, got shape {values.shape}"
            )
        if values.shape == (count, size) and size > 1:
            off = ~(np.abs(values.sum(axis=1) - 1.0) < 1e-3) | (values < 0.0).any(axis=1)
            check_rows("propensities must be at least 0 and sum to 1", values, off)
            values = values[np.arange(count), self.actions]
        values = values.reshape(-1)
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

    def with_rewards(self, rewards: FloatArray) -> LoggedSteps:
        """The same decisions with other rewards, ``(N,)``."""
        return dataclasses.replace(self, rewards=rewards)


def logged_steps(dataset: Any, propensities: npt.ArrayLike | None = None) -> LoggedSteps:
    """Reads a log of discrete actions and vector observations.

    Args:
        dataset: any d3rlpy replay buffer, a Minari dataset or the id of a local one; or
            :class:`LoggedSteps`, which are returned as they are.
        propensities: the logger's probability of each logged action, ``(N,)``, or of
            every action, ``(N, K)``; by default those that the log kept under
            ``"propensity"``, as a column or as an info of each step.

    Raises:
        TypeError: ``dataset`` is something else.
        ValueError: it is empty, has continuous actions, observations that are no vectors
            or values that are not finite, or a propensity is not in (0, 1].
    """
    steps = dataset if isinstance(dataset, LoggedSteps) else _read(logged_buffer(dataset))
    if propensities is None:
        return steps
    given = as_numbers("propensities", propensities, "fiu")
    return dataclasses.replace(steps, propensities=given, source="given", unread=())


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


def _read(buffer: ColumnarReplayBuffer) -> LoggedSteps:
    info = buffer.dataset_info
    if info.action_space != ActionSpace.DISCRETE:
        raise ValueError(
            "dataset must have discrete actions (indices), got continuous ones; "
            "if they are a few repeated numbers, log their index instead"
        )
    shapes = info.observation_signature.shape
    if len(shapes) != 1 or len(shapes[0]) != 1:
        raise ValueError(
            f"dataset must have vector observations, got observations of shape {shapes}"
        )
    columns = buffer.columns
    rows = columns.index.decisions()
    logged = find_extra(columns, "propensity")
    propensities = None if logged is None else logged[1].take(rows)
    unread = [n for n in columns.extras if any(part in n.lower() for part in _LIKE_ONES)]
    return LoggedSteps(
        observations=np.asarray(columns.observations[0].take(rows)),
        actions=np.asarray(columns.actions.take(rows)).reshape(-1),
        rewards=np.asarray(columns.rewards.take(rows)).reshape(-1),
        propensities=propensities,
        episodes=np.asarray(columns.index.episode_of(rows)),
        action_size=info.action_size,
        unread=tuple(unread) if logged is None else (),
    )
