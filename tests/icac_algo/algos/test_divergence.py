"""Training that diverges stops, says where, and leaves the last good checkpoint."""

from __future__ import annotations

from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch

import bidclick_gym
from icac_algo import (
    Canonical,
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    DiscreteIQLConfig,
    Euclidean,
    Monotone,
)
from icac_algo.algos import DivergenceError, load_checkpoint

MAKERS: dict[str, Any] = {
    "functional": lambda **f: ConstraintAwareQConfig(constraint=Concave(), **f),
    "canonical": lambda **f: ConstraintAwareQConfig(critic=Canonical(), **f),
    "euclidean": lambda **f: ConstraintAwareQConfig(
        constraint=Monotone(), critic=Euclidean(), **f
    ),
    "discrete iql": DiscreteIQLConfig,
}


@pytest.fixture(scope="module")
def dataset() -> Any:
    return bidclick_gym.get_dataset(fraction=0.01, show_progress=False)[0]


def fit(algo: Any, dataset: Any, **options: Any) -> None:
    algo.fit(
        dataset,
        **{
            "n_steps": 60,
            "n_steps_per_epoch": 20,
            "show_progress": False,
            "logger_adapter": d3rlpy.logging.NoopAdapterFactory(),
            **options,
        },
    )


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_a_learning_rate_of_a_million(name: str, dataset: Any) -> None:
    d3rlpy.seed(0)
    algo = MAKERS[name](critic_learning_rate=1e6).create(device="cpu:0")
    with pytest.raises(DivergenceError, match=r"_loss is .* at step \d+") as caught:
        fit(algo, dataset)
    assert caught.value.step < 20
    assert caught.value.quantity in str(caught.value)


def test_the_last_good_checkpoint_stays(dataset: Any) -> None:
    d3rlpy.seed(0)
    algo = ConstraintAwareQConfig(constraint=Concave()).create(device="cpu:0")

    def sabotage(algo: Any, epoch: int, step: int) -> None:
        if step == 30:
            for group in algo.impl.modules.critic_optim.optim.param_groups:
                group["lr"] = 1e6

    with pytest.raises(
        DivergenceError, match=r"the last checkpoint, run\.pt, is of step 20"
    ):
        fit(algo, dataset, checkpoint="run.pt", callback=sabotage)
    good = load_checkpoint("run.pt", device="cpu:0")
    assert good.grad_step == 20
    contexts = np.random.default_rng(0).random((50, 2)).astype(np.float32)
    assert np.isfinite(good.predict_value(contexts, np.zeros(50, int))).all()
    # And training goes on from it.
    again = ConstraintAwareQConfig(constraint=Concave()).create(device="cpu:0")
    fit(again, dataset, checkpoint="run.pt")
    assert again.grad_step == 60


def test_weights_that_a_finite_loss_has_spoilt(dataset: Any) -> None:
    d3rlpy.seed(0)
    algo = ConstraintAwareQConfig(constraint=Concave()).create(device="cpu:0")

    def spoil(algo: Any, epoch: int, step: int) -> None:
        if step == 40:
            weights = next(algo.impl.modules.q_funcs.parameters())
            with torch.no_grad():
                weights[0] = float("inf")

    with pytest.raises(
        DivergenceError, match=r"a weight of q_funcs\..* is inf at step 40"
    ):
        fit(algo, dataset, checkpoint="run.pt", callback=spoil)
    assert load_checkpoint("run.pt", device="cpu:0").grad_step == 20


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_an_infinite_reward_is_refused_at_the_door(bad: float, dataset: Any) -> None:
    arrays = dataset.to_arrays()
    rewards = np.array(arrays["rewards"], np.float32).reshape(-1)
    rewards[7] = bad
    with pytest.raises(ValueError, match="rewards"):
        ColumnarReplayBuffer.from_arrays(
            arrays["observations"], arrays["actions"], rewards, action_size=5
        )


def test_rewards_of_any_size_are_no_divergence(dataset: Any) -> None:
    arrays = dataset.to_arrays()
    for factor in (1e-6, 1e6):
        rewards = factor * np.asarray(arrays["rewards"], np.float32)
        scaled = ColumnarReplayBuffer.from_arrays(
            arrays["observations"], arrays["actions"], rewards, action_size=5
        )
        fit(ConstraintAwareQConfig().create(device="cpu:0"), scaled)
