"""What decays in a critic of outcomes, how fast, and what passes its layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from d3rlpy.models import VectorEncoderFactory

from icac_algo import (
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    Monotone,
    Outcome,
)

BIDS = [0.05, 0.1, 0.4, 6.0]


def log(rows: int = 400) -> ColumnarReplayBuffer:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1.0, 1.0, (rows, 2)).astype(np.float32)
    action = rng.integers(4, size=rows)
    y = 3.0 * x[:, 0] + 0.5 * action + rng.normal(0.0, 0.1, rows)
    return ColumnarReplayBuffer.from_arrays(x, action, y, extras={"y": y}, seed=0)


def trained(steps: int, rows: int = 400, link: str = "identity", **options: Any) -> Any:
    torch.manual_seed(0)
    dataset = log(rows)
    if link == "log":
        y = np.exp(dataset.to_arrays()["extras"]["y"] / 3.0)
        dataset = ColumnarReplayBuffer.from_arrays(
            dataset.to_arrays()["observations"],
            dataset.to_arrays()["actions"],
            y,
            extras={"y": y},
            seed=0,
        )
    algo = ConstraintAwareQConfig(
        outcomes=[Outcome("y", Monotone(actions=BIDS), link=link)],
        critic_encoder_factory=VectorEncoderFactory([16]),
        critic_learning_rate=1e-2,
        **options,
    ).create(device="cpu:0")
    algo.build_with_dataset(dataset)
    for _ in range(steps):
        algo.update(dataset.sample_transition_batch(64))
    return algo


@pytest.mark.parametrize(
    ("rows", "given", "expected"),
    [(400, None, 10.0), (8000, None, 3.0 * 0.5**0.7), (400, 0.25, 0.25), (400, 0.0, 0.0)],
)
def test_it_follows_the_size_of_the_log(
    rows: int, given: float | None, expected: float
) -> None:
    algo = trained(0, rows, weight_decay=given)
    assert float(algo.impl.modules.state.decay) == pytest.approx(expected)


def test_without_outcomes_nothing_decays_unless_asked() -> None:
    for given, expected in ((None, 0.0), (0.5, 0.5)):
        algo = ConstraintAwareQConfig(constraint=Concave(), weight_decay=given).create()
        algo.build_with_dataset(log())
        assert float(algo.impl.modules.state.decay) == expected


@pytest.mark.parametrize(("link", "share"), [("identity", 1.0), ("log", 0.1)])
def test_one_step_takes_its_share_of_each_weight_and_none_of_biases(
    link: str, share: float
) -> None:
    algo = trained(3, link=link, weight_decay=4.0)
    (critic,) = algo.impl.modules.q_funcs
    before = {n: p.detach().clone() for n, p in critic.named_parameters()}
    algo.impl._decay_weights()
    for name, after in critic.named_parameters():
        # What follows has no link, and nothing of it here.
        rate = share if name == "_past.0" else 1.0
        kept = 1.0 if name.endswith("bias") else 1.0 - rate * 4.0 * 1e-2
        np.testing.assert_allclose(
            after.detach(), kept * before[name], rtol=1e-5, err_msg=name
        )


def test_what_is_linear_passes_layers_that_have_vanished() -> None:
    algo = trained(400, link="log", weight_decay=50.0)
    (critic,) = algo.impl.modules.q_funcs
    layers = [p for n, p in critic.named_parameters() if n.endswith("weight")]
    assert max(float(p.detach().abs().max()) for p in layers) < 0.05
    x = np.array([[-0.8, 0.0], [0.8, 0.0]], np.float32)
    low, high = algo.predict_outcome(x, np.array([1, 1]), "y")
    assert high > 2.0 * low


def test_order_is_asked_on_ranks_and_curvature_on_positions() -> None:
    algo = ConstraintAwareQConfig(
        outcomes=[
            Outcome("y", Monotone(actions=BIDS)),
            Outcome("z", Concave(actions=BIDS), weight=0.0),
        ]
    ).create()
    dataset = log()
    columns = dataset.to_arrays()
    extras = {"y": columns["extras"]["y"], "z": columns["extras"]["y"]}
    algo.build_with_dataset(
        ColumnarReplayBuffer.from_arrays(
            columns["observations"],
            columns["actions"],
            columns["rewards"],
            extras=extras,
        )
    )
    (critic,) = algo.impl.modules.q_funcs
    np.testing.assert_allclose(critic.axes[0], np.linspace(BIDS[0], BIDS[-1], 4))
    np.testing.assert_allclose(critic.axes[1], BIDS)


# -- without outcomes ----------------------------------------------------------


def shaped(weight_decay: float, steps: int = 0) -> Any:
    torch.manual_seed(0)
    algo = ConstraintAwareQConfig(
        constraint=Monotone(actions=BIDS),
        critic_encoder_factory=VectorEncoderFactory([16]),
        critic_learning_rate=1e-2,
        weight_decay=weight_decay,
        gamma=0.0,
    ).create(device="cpu:0")
    dataset = log()
    algo.build_with_dataset(dataset)
    for _ in range(steps):
        algo.update(dataset.sample_transition_batch(64))
    return algo


def test_what_is_linear_passes_layers_that_decay_and_no_others() -> None:
    (plain,) = shaped(0.0).impl.modules.q_funcs
    assert "_past" not in dict(plain.named_parameters())
    algo = shaped(50.0, steps=400)
    (critic,) = algo.impl.modules.q_funcs
    layers = [p for n, p in critic.named_parameters() if n.endswith("weight")]
    assert max(float(p.detach().abs().max()) for p in layers) < 0.05
    x = np.array([[-0.8, 0.0], [0.8, 0.0]], np.float32)
    low, high = algo.predict_value(x, np.array([1, 1]))
    assert high > low + 0.1
    with torch.no_grad():
        for copy in algo.impl.modules.average_q_funcs:
            copy._past.zero_()
    low, high = algo.predict_value(x, np.array([1, 1]))
    assert abs(high - low) < 0.05


def test_it_decays_as_the_layers_do() -> None:
    algo = shaped(4.0, steps=3)
    (critic,) = algo.impl.modules.q_funcs
    before = critic._past.detach().clone()
    assert float(before.abs().max()) > 0.0
    algo.impl._decay_weights()
    np.testing.assert_allclose(critic._past.detach(), (1.0 - 4.0e-2) * before, rtol=1e-5)


def test_its_features_are_measured_by_their_spread() -> None:
    (critic,) = shaped(1.0).impl.modules.q_funcs
    x = log().to_arrays()["observations"]
    units = critic.standardised_features
    np.testing.assert_allclose(units.middle, x.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(units.spread, x.std(axis=0), rtol=1e-5)
