"""Exported policies answer as ``predict`` does, at any batch size, without our code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from d3rlpy.preprocessing import MinMaxObservationScaler

Factory = Callable[..., Any]

ONNX_CASES = [
    ("functional-cost", "vector"),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in (
            ("functional", "vector"),
            ("functional", "pixel"),
            ("functional", "tuple"),
            ("canonical", "vector"),
            ("euclidean", "vector"),
            ("euclidean-concave", "vector"),
            ("discrete-iql", "vector"),
        )
    ),
]


def parts_of(x: Any) -> list[np.ndarray]:
    parts = x if isinstance(x, list) else [x]
    return [part.astype(np.float32) for part in parts]


@pytest.mark.parametrize("kind", ["vector", "pixel", "tuple"])
def test_torchscript(
    name: str, kind: str, trained: Factory, batch_of: Factory, needs_vectors: set[str]
) -> None:
    if name.startswith("shaped-") or (kind != "vector" and name in needs_vectors):
        return
    algo = trained(name, kind)
    algo.save_policy("policy.pt")
    policy = torch.jit.load("policy.pt")
    for n in (1, 7, 300):
        x = batch_of(kind, n, seed=n)
        answer = policy(*map(torch.as_tensor, parts_of(x))).numpy()
        assert np.array_equal(answer, algo.predict(x))


@pytest.mark.parametrize(("name", "kind"), ONNX_CASES)
def test_onnx(name: str, kind: str, trained: Factory, batch_of: Factory) -> None:
    algo = trained(name, kind)
    algo.save_policy("policy.onnx")
    session = onnxruntime.InferenceSession("policy.onnx")
    for n in (1, 7, 300):
        x = batch_of(kind, n, seed=n)
        feed = {f"input_{i}": part for i, part in enumerate(parts_of(x))}
        assert np.array_equal(session.run(None, feed)[0], algo.predict(x))


def test_exported_policy_scales_observations_itself(
    fit_quietly: Factory, make_config: Factory, make_dataset: Factory, batch_of: Factory
) -> None:
    config = make_config("functional-cost")
    config.observation_scaler = MinMaxObservationScaler()
    config.critic_learning_rate = 0.03
    dataset = make_dataset()
    # Far from [0, 1], where a scaler that is lost would change the answers.
    size, shift = np.float32([50.0, 1.0, 50.0]), np.float32([-100.0, 0.0, 200.0])
    for episode in dataset.episodes:
        sign = np.where(episode.observations[:, :1] > 0.5, 10.0, -10.0)
        episode.rewards[:] = sign * episode.actions
        episode.observations[:] = size * episode.observations + shift
    algo = fit_quietly(config, dataset, 200)
    algo.save_policy("policy.pt")
    x = size * batch_of("vector", 300) + shift
    answer = torch.jit.load("policy.pt")(torch.as_tensor(x)).numpy()
    assert np.array_equal(answer, algo.predict(x))
    assert len(np.unique(answer)) > 1


def test_bad_extension_is_refused(trained: Factory) -> None:
    with pytest.raises(ValueError, match=r"\.pt or \.onnx, got 'policy\.h5'"):
        trained("functional").save_policy("policy.h5")
