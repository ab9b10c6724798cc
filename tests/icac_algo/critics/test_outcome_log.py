"""How the weights of outcomes enter their loss, against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from icac_algo import ColumnarReplayBuffer, ConstraintAwareQConfig, Outcome
from icac_algo.critics import (
    Block,
    OutcomeStandardisation,
    Standardisation,
    mean_of,
    negative_log_likelihood,
)
from icac_algo.shapes import as_outcomes

ROWS = 200_000


def units(outcomes: Any, columns: dict[str, Any], rewards: Any, **more: Any) -> Any:
    block = Block(
        as_outcomes(outcomes),
        lambda: None,
        more.get("actions", np.zeros(len(rewards))),
        rewards,
        columns.__getitem__,
        np.arange(len(rewards)),
    )
    total = Standardisation(0.0, float(np.std(rewards)), float(np.mean(rewards)))
    return OutcomeStandardisation.of_log(
        total, False, outcomes, lambda: iter([block]), None, None
    )


def test_an_outcome_counts_by_what_its_error_costs() -> None:
    rng = np.random.default_rng(0)
    won = (rng.random(ROWS) < 0.25).astype(float)
    value = won * rng.normal(2.0, 0.5, ROWS)
    bid = rng.choice([0.5, 1.0], ROWS)
    rewards = (3.0 * value - bid) * won
    found = units(
        [
            Outcome("value", given="won", weight=3.0),
            Outcome("won", link="logit", weight="-action"),
        ],
        {"value": value, "won": won},
        rewards,
        actions=bid,
    )
    spread = rewards.var()
    assert found.balance[0] == pytest.approx(0.25 * 9.0 * 0.25 / spread, rel=0.02)
    # A win is worth 3 values of 2, less the bid.
    squared = np.mean((3.0 * 2.0 - np.array([0.5, 1.0])) ** 2)
    assert found.balance[1] == pytest.approx(squared * 0.25 * 0.75 / spread, rel=0.02)
    assert found.levels == pytest.approx((2.0, np.log(0.25 / 0.75)), abs=0.02)
    assert found.scales == pytest.approx((0.5, 1.0), rel=0.02)


@pytest.mark.parametrize(
    ("link", "eta", "weight"), [("identity", 0.3, 2.0), ("logit", -1.0, -3.0)]
)
def test_the_loss_is_half_the_squared_error_of_q(
    link: str, eta: float, weight: float
) -> None:
    rng = np.random.default_rng(1)
    mean = float(mean_of(link, torch.tensor(eta)))
    draw = {
        "identity": lambda: rng.normal(mean, 0.7, ROWS),
        "logit": lambda: (rng.random(ROWS) < mean).astype(float),
    }[link]
    y = draw()
    found = units([Outcome("y", link=link, weight=weight)], {"y": y}, weight * y)

    def loss(at: float) -> float:
        terms = negative_log_likelihood(
            link,
            torch.full((ROWS,), at, dtype=torch.float64),
            torch.as_tensor(y),
            torch.tensor(found.scales[0], dtype=torch.float64),
        )
        return found.balance[0] * float(terms.mean())

    # About the best constant, so that the first order is nothing.
    best = found.levels[0]
    near = best + 0.05
    wrong = weight * (
        float(mean_of(link, torch.tensor(near, dtype=torch.float64))) - y.mean()
    )
    expected = 0.5 * wrong**2 / np.var(weight * y)
    assert loss(near) - loss(best) == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_the_unit_of_the_reward_changes_nothing(unit: float) -> None:
    rng = np.random.default_rng(2)
    x = rng.random((400, 1)).astype(np.float32)
    action = rng.integers(3, size=400)
    click = (rng.random(400) < 0.2 + 0.3 * action).astype(float)
    rewards = unit * (click - 0.4 * action / 2.0)

    def policy(scale: float) -> Any:
        log = ColumnarReplayBuffer.from_arrays(
            x, action, rewards * scale, extras={"click": click}, seed=0
        )
        outcomes = [
            Outcome("click", "monotone", link="logit", weight=scale * unit),
            Outcome(weight=f"{-0.4 * scale * unit!r} * action"),
        ]
        torch.manual_seed(0)
        algo = ConstraintAwareQConfig(outcomes=outcomes, batch_size=32).create()
        algo.build_with_dataset(log)
        for _ in range(20):
            algo.update(log.sample_transition_batch(32))
        return algo.predict_outcome(x, action, "click")

    np.testing.assert_allclose(policy(1.0), policy(8.0), rtol=1e-6)
