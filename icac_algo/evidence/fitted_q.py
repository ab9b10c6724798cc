"""Campaigns, where actions change what comes later: d3rlpy's fitted Q evaluation."""

from __future__ import annotations

import dataclasses
from typing import Any

import d3rlpy
import numpy as np
import numpy.typing as npt
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import ReplayBufferBase
from d3rlpy.ope import DiscreteFQE, FQEConfig

from .._util.checks import (
    check_built,
    check_count,
    check_flag,
    check_number,
    check_seed,
    check_type,
)
from ..data import ColumnarReplayBuffer, check_dataset
from .candidates import ROWS_AT_ONCE, Transitions
from .estimates import Estimate
from .jackknife import Ratio, jackknife
from .nuisance import folds_of, polynomials
from .support import policy_answers

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_MOST_FEATURES = 1000


def fitted_q_estimate(
    dataset: ReplayBufferBase,
    algo: Any,
    *,
    gamma: float,
    n_steps: int = 10_000,
    config: FQEConfig | None = None,
    level: float = 0.95,
    seed: int = 0,
    show_progress: bool = True,
) -> Estimate:
    """Discounted return of an episode under an algorithm's greedy policy.

    Fits d3rlpy's ``DiscreteFQE`` (Le, Voloshin and Yue, "Batch policy learning under
    constraints", 2019) and averages its values of first observations.  Its Huber loss
    underrates skewed rewards, so linear fitted Q evaluation of what its temporal
    differences leave is added.  The interval
    leaves out one episode at a time, both among the first observations and in the fit.
    How an episode moves the fit is read from linear fitted Q evaluation on the features
    of the reward model (Duan, Jia and Wang, "Minimax-optimal off-policy evaluation with
    linear function approximation", 2020).  It knows of the fit's noise, not of its bias.

    Args:
        dataset: a replay buffer of discrete actions.
        algo: a built or fitted discrete d3rlpy algorithm.
        gamma: discount, in [0, 1]; 1 where every episode terminates.
        n_steps: gradient steps of the evaluation.
        config: of the evaluation; its ``gamma`` is replaced.
        level: confidence of the interval.
        seed: of torch, numpy and folds.

    Raises:
        TypeError: the dataset or the config is of another kind.
        ValueError: an argument is out of bounds, the algorithm is not built, or it and
            the dataset do not fit each other.
    """
    check_number("gamma", gamma, at_least=0.0, at_most=1.0)
    check_number("level", level, above=0.0, below=1.0)
    check_seed(seed)
    check_count("n_steps", n_steps)
    check_built(algo)
    check_flag("show_progress", show_progress)
    config = FQEConfig(learning_rate=1e-3, batch_size=256) if config is None else config
    check_type("config", config, FQEConfig, "be an FQEConfig")
    _check_fit(dataset, algo)
    config = dataclasses.replace(config, gamma=gamma)
    d3rlpy.seed(seed)
    evaluation = DiscreteFQE(algo=algo, config=config, device=algo._device)
    evaluation.fit(
        dataset,
        n_steps=n_steps,
        n_steps_per_epoch=n_steps,
        show_progress=show_progress,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    if not isinstance(dataset, ColumnarReplayBuffer):
        dataset = ColumnarReplayBuffer.from_replay_buffer(dataset)
    ends, _, _ = dataset.columns.index.arrays()
    first = np.asarray(
        dataset.columns.observations[0].take(np.concatenate([[0], ends[:-1]]))
    )
    chosen = policy_answers(first, algo, "algo").reshape(-1)
    values = _values(evaluation, first, chosen)
    left, noise = _linear_fit(
        Transitions.of(dataset), algo, evaluation, first, chosen, gamma, seed
    )
    ones = np.ones(len(values))
    ratio = Ratio(values + left + noise - noise.mean(), ones, ones)
    found = jackknife(np.arange(len(values)), ratio, level)
    return Estimate(
        "fqe",
        float(values.mean()) + left,
        found.lower,
        found.upper,
        level,
        None,
        len(values),
        no_interval=found.problem,
    )


def _linear_fit(
    log: Transitions,
    algo: Any,
    evaluation: DiscreteFQE,
    first: npt.NDArray[Any],
    chosen: IntArray,
    gamma: float,
    seed: int,
) -> tuple[float, FloatArray]:
    r"""What the mean value lacks, and how each episode's noise moves it, ``(G,)``.

    The linear fit to rewards solves :math:`\sum_t \phi_t (\phi_t - \gamma
    \phi'_t)^\top \theta = \sum_t \phi_t r_t`.  So a step's temporal difference moves the
    mean value by its :math:`\phi_t` times the solution of the transposed system for the
    mean features of first observations.
    """
    size = algo.impl.action_size
    following = policy_answers(log.successors, algo, "algo").reshape(-1)
    now = _features(log.observations, log.actions, size, log.observations)
    after = _features(log.successors, following, size, log.observations)
    after[log.terminal] = 0.0
    start = _features(first, chosen, size, log.observations)
    changes = now - gamma * after
    # The ridge of the reward model.
    whole = now.T @ changes + np.eye(now.shape[1])
    pulls = now @ np.linalg.solve(whole.T, start.mean(axis=0))
    later = np.where(log.terminal, 0.0, _values(evaluation, log.successors, following))
    differences = log.rewards + gamma * later
    differences -= _values(evaluation, log.observations, log.actions)
    # Noise is judged by fits that have not seen it.
    fold = folds_of(log.episodes, seed)[log.episode]
    surprise = log.rewards.copy()
    for number in np.unique(fold):
        out = fold == number
        rest = whole - now[out].T @ changes[out]
        solution = np.linalg.solve(rest, now[~out].T @ log.rewards[~out])
        surprise[out] -= changes[out] @ solution
    return float(pulls @ differences), log.per_episode(pulls * surprise) * log.episodes


def _values(
    evaluation: DiscreteFQE, observations: npt.NDArray[Any], actions: IntArray
) -> FloatArray:
    parts = [
        evaluation.predict_value(
            observations[start : start + ROWS_AT_ONCE],
            actions[start : start + ROWS_AT_ONCE],
        )
        for start in range(0, len(observations), ROWS_AT_ONCE)
    ]
    return np.concatenate(parts).astype(np.float64)


def _features(
    observations: npt.NDArray[Any], actions: IntArray, size: int, fitted_to: Any
) -> FloatArray:
    """Features of an observation in the block of its action, ``(N, K p)``."""
    x = np.ones((len(observations), 1))
    # Of pictures and of very many features only which action it was.
    if observations.ndim == 2 and observations.shape[1] * size <= _MOST_FEATURES:
        x = np.column_stack([x, polynomials(observations, fitted_to)])
    return (np.eye(size)[actions][:, :, None] * x[:, None]).reshape(len(x), -1)


def _check_fit(dataset: Any, algo: Any) -> None:
    check_type("dataset", dataset, ReplayBufferBase, "be a d3rlpy replay buffer")
    check_dataset("fitted Q evaluation", dataset)
    if algo.get_action_type() != ActionSpace.DISCRETE:
        raise ValueError("algo must have discrete actions, got continuous ones")
    info = dataset.dataset_info
    found = (algo.impl.observation_shape, algo.impl.action_size)
    shapes = info.observation_signature.shape
    expected = (shapes[0] if len(shapes) == 1 else shapes, info.action_size)
    if tuple(map(_plain, found)) != tuple(map(_plain, expected)):
        raise ValueError(
            "algo must be for the dataset's observation shape and number of actions, "
            f"{expected}, got one for {found}"
        )


def _plain(shape: Any) -> Any:
    return tuple(map(_plain, shape)) if isinstance(shape, (list, tuple)) else shape
