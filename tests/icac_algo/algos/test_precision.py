"""Torch's default type makes no difference: networks are of float32."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch
from d3rlpy.models.encoders import VectorEncoderFactory
from d3rlpy.preprocessing import StandardObservationScaler, StandardRewardScaler

from icac_algo import (
    Canonical,
    ColumnarReplayBuffer,
    ConstraintAwareQConfig,
    DiscreteIQLConfig,
    Euclidean,
    KnownCost,
    Monotone,
    StateLipschitz,
    StateMonotone,
)
from icac_algo.algos import load_checkpoint
from icac_algo.export import load, save, save_graph

SMALL = VectorEncoderFactory([8])
CONFIGS: dict[str, Callable[[], Any]] = {
    "functional": lambda: ConstraintAwareQConfig(
        observation_scaler=StandardObservationScaler(), batch_size=8
    ),
    "canonical": lambda: ConstraintAwareQConfig(critic=Canonical(spectral_norm=True)),
    "euclidean": lambda: ConstraintAwareQConfig(
        critic=Euclidean(), constraint=Monotone(known_cost=KnownCost(1))
    ),
    "actor": lambda: ConstraintAwareQConfig(
        actor="network-sampled", reward_scaler=StandardRewardScaler()
    ),
    "states": lambda: ConstraintAwareQConfig(
        state_constraints=[StateMonotone([0]), StateLipschitz(3.0)],
        critic_encoder_factory=SMALL,
    ),
    "iql": DiscreteIQLConfig,
    "continuous": ConstraintAwareQConfig,
}


@pytest.fixture(autouse=True)
def _default_type() -> Iterator[None]:
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", CONFIGS)
def test_float64_is_float32(name: str, tmp_path: pathlib.Path) -> None:
    found = []
    contexts = np.random.default_rng(1).random((7, 2)).astype(np.float32)
    for default in (torch.float32, torch.float64):
        torch.set_default_dtype(default)
        d3rlpy.seed(0)
        rng = np.random.default_rng(0)
        actions = rng.random((60, 1)) if name == "continuous" else rng.integers(0, 5, 60)
        log = ColumnarReplayBuffer.from_arrays(
            rng.random((60, 2)), actions, rng.random(60)
        )
        checkpoint = tmp_path / f"{default}"
        for steps in (2, 4):
            algo: Any = CONFIGS[name]().create(device="cpu:0")
            algo.fit(
                log,
                n_steps=steps,
                n_steps_per_epoch=2,
                checkpoint=checkpoint,
                show_progress=False,
                logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
            )
        best = algo.predict(contexts)
        values = algo.predict_value(contexts, best)
        assert values.dtype == np.float32
        found.append((best, values, algo.sample_action(contexts)))
        for back in (
            load(save(algo, tmp_path / "model", overwrite=True)),
            load_checkpoint(checkpoint),
        ):
            assert np.array_equal(back.predict_value(contexts, best), values)
        if name in ("functional", "iql"):
            algo.save_policy(str(tmp_path / "policy.pt"))
            save_graph(algo, tmp_path / "graph.pt")
        assert torch.get_default_dtype() == default
    for a, b in zip(*found, strict=True):
        assert np.array_equal(a, b)
