"""Candidates of a selection: checked, made, and asked for their values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import ReplayBufferBase

from .._util.checks import check_type
from ..critics import reward_slope
from ..data import ColumnarReplayBuffer, check_dataset
from ..decisions import MaskedGreedy
from ..shapes import Constraint, Unconstrained

FloatArray = npt.NDArray[np.float64]
ROWS_AT_ONCE = 1 << 15
_NAMES = {ActionSpace.DISCRETE: "discrete", ActionSpace.CONTINUOUS: "continuous"}


def check_candidates(candidates: Any) -> None:
    requirement = "map names to functions that make an algorithm"
    check_type("candidates", candidates, Mapping, requirement)
    if len(candidates) < 2:
        raise ValueError(f"candidates must be at least two, got {list(candidates)}")
    for name, make in candidates.items():
        if not isinstance(name, str):
            raise TypeError(f"candidates must have names that are texts, got {name!r}")
        if not callable(make):
            raise TypeError(
                f"candidates[{name!r}] must be a function without arguments, got {make!r}"
            )


def make_candidate(name: str, make: Callable[[], Any], space: ActionSpace) -> Any:
    algo = make()
    if not hasattr(algo, "impl") or not hasattr(algo, "fit"):
        raise TypeError(
            f"candidates[{name!r}] must make a d3rlpy algorithm, got "
            f"{type(algo).__name__}"
        )
    if algo.impl is not None:
        raise ValueError(
            f"candidates[{name!r}] must make a new algorithm each time, got one that is "
            "built already"
        )
    if algo.get_action_type() != space:
        raise ValueError(
            f"candidates[{name!r}] must have {_NAMES[space]} actions, as the dataset, "
            f"got {_NAMES[algo.get_action_type()]} ones"
        )
    return algo


def shape_of(algo: Any) -> Constraint | None:
    """The shape of Q over actions that an algorithm imposes, if it does."""
    config = getattr(algo, "config", None)
    if getattr(config, "outcomes", None):
        # A sum of outcomes has no shape of its own.
        return None
    for holder in (config, getattr(config, "q_func_factory", None)):
        shape = getattr(holder, "constraint", None)
        if isinstance(shape, Constraint) and not isinstance(shape, Unconstrained):
            return shape
    return None


@dataclasses.dataclass(frozen=True)
class Transitions:
    """All N transitions of a fold of F episodes; actions are indices, or numbers."""

    observations: npt.NDArray[Any]
    actions: npt.NDArray[Any]
    rewards: FloatArray
    successors: npt.NDArray[Any]
    terminal: npt.NDArray[np.bool_]
    episode: npt.NDArray[np.int64]
    episodes: int

    @classmethod
    def of(cls, log: ColumnarReplayBuffer) -> Transitions:
        columns, index = log.columns, log.columns.index
        rows = index.rows_of(np.arange(index.transitions))
        after = index.successors(rows)
        observations = columns.observations[0]
        actions = columns.actions.take(rows)
        if log.dataset_info.action_space == ActionSpace.DISCRETE:
            actions = np.asarray(actions, np.int64).reshape(-1)
        return cls(
            _floats(observations.take(rows)),
            actions,
            np.asarray(columns.rewards.take(rows), np.float64).reshape(-1),
            _floats(observations.take(after.rows)),
            np.asarray(after.terminal),
            np.asarray(index.episode_of(rows), np.int64),
            index.episodes,
        )

    def per_episode(self, values: FloatArray) -> FloatArray:
        """Sums over each episode's transitions, ``(N,)`` to ``(F,)``."""
        sums = np.bincount(self.episode, values, minlength=self.episodes)
        return np.asarray(sums, np.float64)


def _floats(observations: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # Pictures stay as they are: their scalers expect bytes.
    if observations.dtype == np.uint8:
        return observations
    return observations.astype(np.float32)


def as_columns(dataset: Any) -> ColumnarReplayBuffer:
    check_type("dataset", dataset, ReplayBufferBase, "be a d3rlpy replay buffer")
    check_dataset("select_by_bellman_error", dataset, of_any_actions=True)
    if not isinstance(dataset, ColumnarReplayBuffer):
        dataset = ColumnarReplayBuffer.from_replay_buffer(dataset)
    if dataset.columns.is_tuple:
        raise ValueError("dataset must have one array of observations, got tuples")
    return dataset


@dataclasses.dataclass(frozen=True)
class Answers:
    """Values of N transitions by one trained candidate, of rewards less a shift."""

    values: FloatArray
    next_values: FloatArray
    shift: float

    @classmethod
    def of(cls, name: str, algo: Any, log: Transitions, is_one_step: bool) -> Answers:
        try:
            slope = reward_slope(algo.reward_scaler)
        except ValueError:
            raise ValueError(
                f"candidates[{name!r}] must have a reward_scaler that can be undone, "
                f"affine and rising, got {type(algo.reward_scaler).__name__}"
            ) from None
        shift = 0.0
        if algo.reward_scaler is not None:
            origin = algo.reward_scaler.transform_numpy(np.zeros(1, np.float64))
            # Adding zero turns -0.0 into 0.0.
            shift = -float(origin[0]) / slope + 0.0
        discrete = algo.get_action_type() == ActionSpace.DISCRETE
        if discrete:
            values = _values(algo, log.observations) / slope
            values = values[np.arange(len(values)), log.actions]
        else:
            values = _values_of_numbers(algo, log.observations, log.actions) / slope
        next_values = np.zeros(len(values))
        # What follows a terminal step is worth nothing.
        goes_on = ~log.terminal & (not is_one_step)
        if goes_on.any() and discrete:
            following = _values(algo, log.successors[goes_on]) / slope
            next_values[goes_on] = following.max(axis=1)
        elif goes_on.any():
            following = _values_of_numbers(algo, log.successors[goes_on], None)
            next_values[goes_on] = following / slope
        if not (np.isfinite(values).all() and np.isfinite(next_values).all()):
            raise ValueError(
                f"candidates[{name!r}] must have finite values after training, got some "
                "that are not"
            )
        return cls(values, next_values, shift)


def _values(algo: Any, observations: npt.NDArray[Any]) -> FloatArray:
    greedy = MaskedGreedy(algo, lambda x: np.ones((len(x), algo.impl.action_size), bool))
    parts = [np.zeros((0, algo.impl.action_size))]
    for start in range(0, len(observations), ROWS_AT_ONCE):
        parts.append(greedy.values(observations[start : start + ROWS_AT_ONCE]))
    return np.concatenate(parts)


def _values_of_numbers(
    algo: Any, observations: npt.NDArray[Any], actions: npt.NDArray[Any] | None
) -> FloatArray:
    """Of actions, or of those that the algorithm would choose, ``(N,)``."""
    found = [np.zeros(0)]
    for start in range(0, len(observations), ROWS_AT_ONCE):
        x = observations[start : start + ROWS_AT_ONCE]
        a = algo.predict(x) if actions is None else actions[start : start + len(x)]
        found.append(algo.predict_value(x, np.asarray(a, np.float32)))
    return np.concatenate(found).astype(np.float64)
