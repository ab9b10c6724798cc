"""Campaigns, where actions change what comes later: d3rlpy's fitted Q evaluation."""

from __future__ import annotations

import dataclasses
from typing import Any

import d3rlpy
import numpy as np
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import ReplayBufferBase
from d3rlpy.ope import DiscreteFQE, FQEConfig

from .._util.checks import check_built, check_count, check_flag, check_number, check_type
from ..data import ColumnarReplayBuffer, check_dataset
from .estimates import Estimate, check_interval, interval


def fitted_q_estimate(
    dataset: ReplayBufferBase,
    algo: Any,
    *,
    gamma: float,
    n_steps: int = 10_000,
    config: FQEConfig | None = None,
    level: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
    show_progress: bool = True,
) -> Estimate:
    """Discounted return of an episode under an algorithm's greedy policy.

    Fits d3rlpy's ``DiscreteFQE`` (Le, Voloshin and Yue, "Batch policy learning under
    constraints", 2019) and averages its values of first observations.  The interval
    resamples episodes; it does not know of the fit's own error.

    Args:
        dataset: a replay buffer of discrete actions.
        algo: a built or fitted discrete d3rlpy algorithm.
        gamma: discount, in [0, 1]; 1 where every episode terminates.
        n_steps: gradient steps of the evaluation.
        config: of the evaluation; its ``gamma`` is replaced.
        level: confidence of the interval.
        resamples: of the bootstrap.
        seed: of torch, numpy and the bootstrap.

    Raises:
        TypeError: the dataset or the config is of another kind.
        ValueError: an argument is out of bounds, the algorithm is not built, or it and
            the dataset do not fit each other.
    """
    check_number("gamma", gamma, at_least=0.0, at_most=1.0)
    check_interval(level, resamples, seed)
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
    first = np.concatenate([[0], ends[:-1]])
    observations = np.asarray(dataset.columns.observations[0].take(first))
    values = np.asarray(
        evaluation.predict_value(observations, algo.predict(observations)), np.float64
    )
    rng = np.random.default_rng(seed)
    count = len(values)
    drawn = np.array(
        [values[rng.integers(0, count, count)].mean() for _ in range(resamples)]
    )
    return Estimate("fqe", float(values.mean()), *interval(drawn, level), level, None)


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
