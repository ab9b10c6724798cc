"""A scaler that divides by nothing is named, with what is constant."""

from __future__ import annotations

from typing import Any

import d3rlpy
import numpy as np
import pytest
from d3rlpy.preprocessing import (
    MinMaxActionScaler,
    MinMaxObservationScaler,
    MinMaxRewardScaler,
    PixelObservationScaler,
    ReturnBasedRewardScaler,
    StandardObservationScaler,
    StandardRewardScaler,
)

from icac_algo import ColumnarReplayBuffer, ConstraintAwareQConfig, DiscreteIQLConfig
from icac_algo.data import check_scaler

RNG = np.random.default_rng(0)
OBSERVATIONS = RNG.random((60, 3)).astype(np.float32)
OBSERVATIONS[:, 1] = 0.3
ACTIONS = RNG.integers(0, 3, 60)


def fit(config: Any, log: Any) -> float:
    results = config.create().fit(
        log,
        n_steps=2,
        n_steps_per_epoch=2,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    return float(results[0][1]["critic_loss"])


@pytest.mark.parametrize("config", [ConstraintAwareQConfig, DiscreteIQLConfig])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"observation_scaler": MinMaxObservationScaler},
            r"observation_scaler=MinMaxObservationScaler.*feature 1.*constant",
        ),
        (
            {"observation_scaler": lambda: StandardObservationScaler(eps=0.0)},
            r"observation_scaler=StandardObservationScaler.*feature 1.*constant",
        ),
        ({"reward_scaler": MinMaxRewardScaler}, "reward_scaler=MinMax.*the rewards"),
        (
            {"reward_scaler": ReturnBasedRewardScaler},
            "reward_scaler=ReturnBased.*the rewards",
        ),
        (
            {"reward_scaler": lambda: StandardRewardScaler(eps=0.0)},
            "reward_scaler=Standard.*the rewards",
        ),
        (
            {"observation_scaler": lambda: MinMaxObservationScaler([0, 0], [1, 1])},
            r"must fit values of the shape \(3,\)",
        ),
    ],
)
def test_what_cannot_be_scaled_is_refused_by_name(
    config: Any, fields: dict[str, Any], message: str
) -> None:
    log = ColumnarReplayBuffer.from_arrays(OBSERVATIONS, ACTIONS, np.full(60, 2.0))
    with pytest.raises(ValueError, match=message):
        fit(config(batch_size=8, **{k: make() for k, make in fields.items()}), log)


def test_an_action_that_is_always_the_same() -> None:
    log = ColumnarReplayBuffer.from_arrays(
        OBSERVATIONS, np.full((60, 1), 0.5, np.float32), RNG.random(60)
    )
    with pytest.raises(ValueError, match=r"action_scaler=MinMaxActionScaler.*feature 0"):
        fit(ConstraintAwareQConfig(action_scaler=MinMaxActionScaler()), log)


def test_a_scaler_that_adds_to_the_spread_takes_constants() -> None:
    log = ColumnarReplayBuffer.from_arrays(OBSERVATIONS, ACTIONS, np.full(60, 2.0))
    config = ConstraintAwareQConfig(
        batch_size=8,
        observation_scaler=StandardObservationScaler(),
        reward_scaler=StandardRewardScaler(),
    )
    assert np.isfinite(fit(config, log))


def test_ordinary_values_pass() -> None:
    check_scaler("observation_scaler", PixelObservationScaler(), np.zeros((2, 3, 4, 4)))
    scaler = StandardObservationScaler([1e6, 0.0], [1.0, 1e-3])
    check_scaler("observation_scaler", scaler, np.array([[1e6, 0.5], [1e6 + 1, 0.0]]))
