"""The promise itself: ``predict_value`` violates nothing, whatever was learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import d3rlpy
import numpy as np
import pytest
from d3rlpy.preprocessing import MinMaxObservationScaler, StandardRewardScaler
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Factory = Callable[..., Any]

EXACT = [
    "functional",
    "functional-cost",
    "functional-falling",
    "canonical",
    "canonical-uneven",
    "functional-curvature",
    "canonical-curvature",
    "euclidean",
    "euclidean-concave",
    "euclidean-literal",
    "spectral-norm",
    "ensemble",
    "shared-encoder",
    "shaped-dqn",
    "shaped-cql",
]


def constraint_of(config: Any) -> Any:
    return getattr(config, "constraint", None) or config.q_func_factory.constraint


def worst_violation(algo: Any, x: np.ndarray, n_actions: int) -> float:
    """Largest shortfall; relative to the row where arithmetic comes in between."""
    columns = [algo.predict_value(x, np.full((len(x), 1), a)) for a in range(n_actions)]
    q = np.stack(columns, axis=1)
    assert q.dtype == np.float32
    assert np.isfinite(q).all()
    constraint = constraint_of(algo.config)
    positions = constraint.positions(n_actions)
    gross = q.astype(np.float64)
    slope = 1.0
    if algo.reward_scaler is not None:
        slope = np.diff(algo.reward_scaler.transform_numpy(np.array([0.0, 1.0])))[0]
    if constraint.known_cost is not None:
        feature = x[:, constraint.known_cost.feature : constraint.known_cost.feature + 1]
        cost = constraint.known_cost.coefficient * feature.astype(np.float64) * positions
        gross = gross + slope * cost
    bounds = slope * constraint.bounds(positions)
    shortfall = bounds - gross @ constraint.inequalities(positions).T
    if constraint.get_type() == "monotone" and constraint.known_cost is None:
        return float(shortfall.max())
    # Q itself is a float32: where a cost dwarfs the rest, its rounding is the limit.
    scale = np.maximum(np.abs(gross), np.abs(q)).max(axis=1, keepdims=True)
    return float((shortfall - 1e-6 * np.maximum(scale, 1e-30)).max())


@pytest.mark.parametrize("name", EXACT)
@settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    seed=st.integers(0, 10_000),
    updates=st.integers(0, 12),
    reward_size=st.sampled_from([1e-3, 1.0, 1e4]),
    learning_rate=st.sampled_from([1e-3, 0.3]),
    scaled=st.booleans(),
)
def test_no_violation_after_any_updates(
    name: str,
    seed: int,
    updates: int,
    reward_size: float,
    learning_rate: float,
    scaled: bool,
    make_config: Factory,
    make_dataset: Factory,
    n_actions: int,
) -> None:
    """Adversarial rewards, wild learning rates, random and extreme observations."""
    config = make_config(name)
    name_of_rate = "learning_rate"
    if not hasattr(config, name_of_rate):
        name_of_rate = "critic_learning_rate"
    setattr(config, name_of_rate, learning_rate)
    if scaled and not name.startswith("shaped-"):
        config.observation_scaler = MinMaxObservationScaler()
        config.reward_scaler = StandardRewardScaler()
    d3rlpy.seed(seed)
    dataset = make_dataset(seed=seed, reward_size=reward_size)
    algo = config.create(device="cpu:0")
    steps = max(1, updates)
    algo.fit(
        dataset,
        n_steps=updates,
        n_steps_per_epoch=steps,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    rng = np.random.default_rng(seed)
    near = rng.random((40, 3)).astype(np.float32)
    for x in (near, 1e3 * (near - 0.5), 1e6 * (near - 0.5)):
        assert worst_violation(algo, x, n_actions) <= 0.0


def test_an_unconstrained_critic_does_violate(
    trained: Factory, batch_of: Factory, n_actions: int
) -> None:
    """The data leave every shape: what keeps the others inside is the critic."""
    algo, x = trained("unconstrained"), batch_of("vector", 40)
    columns = [algo.predict_value(x, np.full((40, 1), a)) for a in range(n_actions)]
    q = np.stack(columns, axis=1)
    assert (np.diff(q) < 0).any()
    assert (np.diff(q, 2) > 1e-6 * np.abs(q).max()).any()
