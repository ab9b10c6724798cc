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

from .._util.checks import check_rows
from .arrays import as_numbers
from .buffer import ColumnarReplayBuffer
from .checks import check_dataset
from .files.minari import is_minari

FloatArray = npt.NDArray[np.float64]
# Where a log keeps propensities, and in how many rows after the decision.  Minari's infos
# of T + 1 rows begin with those of the reset; an info of T rows has one for each step.
_PROPENSITIES = {"propensity": 0, "info/propensity/steps": 0, "info/propensity": 1}


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
    """

    observations: npt.NDArray[np.float32]
    actions: npt.NDArray[np.int64]
    rewards: FloatArray
    propensities: FloatArray | None
    episodes: npt.NDArray[np.int64]
    action_size: int

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def is_bandit(self) -> bool:
        """Whether every decision is an episode of its own."""
        return len(self) == len(np.unique(self.episodes))

    def with_rewards(self, rewards: FloatArray) -> LoggedSteps:
        """The same decisions with other rewards, ``(N,)``."""
        return dataclasses.replace(self, rewards=rewards)


def logged_steps(dataset: Any, propensities: npt.ArrayLike | None = None) -> LoggedSteps:
    """Reads a log of discrete actions and vector observations.

    Args:
        dataset: any d3rlpy replay buffer, a Minari dataset or the id of a local one; or
            :class:`LoggedSteps`, which are returned as they are.
        propensities: the logger's probability of each logged action, ``(N,)``; by default
            those that the log kept under ``"propensity"``, as a column or as an info of
            each step.

    Raises:
        TypeError: ``dataset`` is something else.
        ValueError: it is empty, has continuous actions, observations that are no vectors
            or values that are not finite, or a propensity is not in (0, 1].
    """
    steps = dataset if isinstance(dataset, LoggedSteps) else _read(_as_buffer(dataset))
    if propensities is None:
        return steps
    given = as_numbers("propensities", propensities, "fiu")
    if given.shape not in ((len(steps),), (len(steps), 1)):
        raise ValueError(
            f"propensities must have one value for each of {len(steps)} logged steps, "
            f"got shape {given.shape}"
        )
    given = given.astype(np.float64).reshape(-1)
    _check_propensities(given)
    return dataclasses.replace(steps, propensities=given)


def _as_buffer(dataset: Any) -> ReplayBufferBase:
    if isinstance(dataset, str) and pathlib.Path(dataset).exists():
        raise ValueError(
            "dataset must be the id of a Minari dataset or a buffer, got the path "
            f"{dataset!r}; open it with ColumnarReplayBuffer.from_parquet"
        )
    if isinstance(dataset, str) or is_minari(dataset):
        return ColumnarReplayBuffer.from_minari(dataset)
    if isinstance(dataset, ReplayBufferBase):
        return dataset
    raise TypeError(
        "dataset must be a d3rlpy replay buffer, a Minari dataset or the id of one, "
        f"got {type(dataset).__name__}"
    )


def _read(buffer: ReplayBufferBase) -> LoggedSteps:
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
    if not isinstance(buffer, ColumnarReplayBuffer):
        buffer = ColumnarReplayBuffer.from_replay_buffer(buffer)
    check_dataset("an off-policy estimate", buffer)
    columns = buffer.columns
    _, _, has_final = columns.index.arrays()
    rows = np.flatnonzero(~columns.index.marks()["final"])
    logged = next((n for n in _PROPENSITIES if n in columns.extras), None)
    propensities = None
    if logged is not None:
        later = _PROPENSITIES[logged] if has_final.all() else 0
        propensities = np.asarray(columns.extras[logged].take(rows + later), np.float64)
        propensities = propensities.reshape(-1)
        _check_propensities(propensities)
    return LoggedSteps(
        observations=np.asarray(columns.observations[0].take(rows), np.float32),
        actions=np.asarray(columns.actions.take(rows), np.int64).reshape(-1),
        rewards=np.asarray(columns.rewards.take(rows), np.float64).reshape(-1),
        propensities=propensities,
        episodes=np.asarray(columns.index.episode_of(rows), np.int64),
        action_size=info.action_size,
    )


def _check_propensities(values: FloatArray) -> None:
    bad = ~((values > 0.0) & (values <= 1.0))
    check_rows("propensities must be in (0, 1]", values, bad)
