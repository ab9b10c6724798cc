"""Constrained optima, against the free one, simulation and duality."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from bidclick_gym.auction import Auction
from bidclick_gym.campaigns import (
    BudgetedCampaign,
    CostPerClickCap,
    CostPerClickSolution,
    SafePolicy,
    SpendCap,
    SpendCapSolution,
    evaluate,
    simulate_capped,
    solve,
    solve_cost_per_click,
    solve_spend_cap,
)

SMALL = BudgetedCampaign(budget=1.2, impressions=12)
GRID = {"nodes": 8, "budget_points": 101}


@functools.cache
def spend_capped(window: int, cap: float) -> SpendCapSolution:
    return solve_spend_cap(SpendCap(window, cap), SMALL, **GRID, spend_points=61)


@functools.cache
def cost_capped(cap: float) -> CostPerClickSolution:
    return solve_cost_per_click(CostPerClickCap(cap), SMALL, **GRID)


def within_errors(sample: Any, mean: float, slack: float = 0.0) -> bool:
    error = sample.std() / np.sqrt(len(sample))
    return bool(abs(sample.mean() - mean) < 4.0 * error + slack)


# -- spending per window ------------------------------------------------------


@pytest.mark.parametrize("window", [1, 5, 12, 40])
def test_a_cap_that_never_binds_leaves_the_free_optimum(window: int) -> None:
    free = solve(SMALL, **GRID)
    mine = spend_capped(window, 100.0)
    np.testing.assert_allclose(mine.values[:, :, 0], free.values, rtol=0.0, atol=1e-10)


def test_a_cap_of_zero_leaves_the_bid_of_zero() -> None:
    never = 12 * Auction().value_of_constant_bid(0.0)
    mine = spend_capped(5, 0.0)
    assert mine.optimal_value == pytest.approx(never, abs=1e-8)
    played = simulate_capped(mine.greedy, [mine.cap], SMALL, episodes=50)
    assert not played["spend"].any()


@pytest.mark.parametrize("cap", [0.12, 0.25])
def test_windows_of_one_impression_cap_the_payment(cap: float) -> None:
    # Without a budget that matters, impressions part: the best bid with c a <= cap.
    rich = BudgetedCampaign(budget=6.0, impressions=12)
    x, c = Auction().contexts(400).T
    bids = Auction().bid_array
    table = Auction().reward_table(np.stack([x, c], axis=1))
    best = np.where(c[:, None] * bids <= cap, table, -np.inf).max(axis=1).mean()
    mine = solve_spend_cap(
        SpendCap(1, cap), rich, nodes=32, budget_points=31, spend_points=5
    )
    assert mine.optimal_value == pytest.approx(12 * best, abs=0.02)


def test_a_window_as_long_as_the_campaign_is_a_smaller_budget() -> None:
    budget = BudgetedCampaign(budget=0.6, impressions=12)
    less = solve(budget, nodes=8, budget_points=601).optimal_value
    mine = solve_spend_cap(
        SpendCap(12, 0.6), SMALL, nodes=8, budget_points=41, spend_points=601
    )
    assert mine.optimal_value == pytest.approx(less, abs=2e-3)


def test_values_rise_with_the_cap_and_stay_below_the_free_ones() -> None:
    values = [spend_capped(4, cap).optimal_value for cap in (0.0, 0.1, 0.2, 0.3, 0.5)]
    free = solve(SMALL, **GRID).optimal_value
    assert (np.diff(values) > 0.0).all()
    assert values[-1] <= free + 1e-9
    assert spend_capped(4, 0.2).error < 0.02


def test_simulation_of_the_capped_optimum_earns_its_value_and_keeps_the_cap() -> None:
    mine = solve_spend_cap(
        SpendCap(4, 0.3), SMALL, nodes=16, budget_points=121, spend_points=81
    )
    caps = [mine.cap]
    played = simulate_capped(mine.greedy, caps, SMALL, episodes=40_000, seed=1)
    assert not played["violations"].any()
    assert within_errors(played["profit"], mine.optimal_value)
    masked = SafePolicy(solve(SMALL, **GRID).q_values, caps, SMALL)
    luck = simulate_capped(masked.decide, caps, SMALL, episodes=40_000, seed=1)
    gain = played["profit"] - luck["profit"]
    assert gain.mean() > 3.0 * gain.std() / np.sqrt(len(gain))


def test_action_values_of_the_next_block_do_not_know_of_this_one() -> None:
    mine = spend_capped(4, 0.3)
    # 9 to come: the fourth of a block, the next opens one.
    q = mine.q_at(0.5, 0.3, 1.0, np.array([0.0, 0.1, 0.2]), 9)
    assert (q[:, 0] == q[0, 0]).all()
    assert q[:, 1].tolist() == [q[0, 1]] * 3
    assert np.isinf(q).sum(axis=1).tolist() == [0, 2, 3]
    inside = mine.q_at(0.5, 0.3, 1.0, np.array([0.0, 0.1, 0.2]), 10)
    assert (np.diff(inside[:, 0]) < 0.0).all()
    mean = np.mean(
        [mine.q_at(x, c, 1.0, 0.1, 10).max() for x, c in Auction().contexts(40)]
    )
    interpolated = np.interp(0.1, np.linspace(0.0, 0.3, 61), mine.values[10, -1])
    assert mean == pytest.approx(interpolated, abs=0.05)


# -- cost per click -----------------------------------------------------------


def test_a_loose_cap_leaves_the_free_optimum() -> None:
    mine = cost_capped(0.9)
    free = solve(SMALL, **GRID)
    assert mine.multiplier == 0.0
    assert mine.unconstrained_value == pytest.approx(mine.optimal_value, abs=1e-12)
    assert mine.optimal_value == pytest.approx(free.optimal_value, abs=1e-12)
    assert mine.duality_gap == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("cap", [0.02, 0.06, 0.1])
def test_the_mixture_meets_the_cap_without_a_duality_gap(cap: float) -> None:
    mine = cost_capped(cap)
    assert mine.multiplier > 0.0
    assert mine.spend == pytest.approx(cap * mine.clicks, abs=1e-12)
    assert mine.duality_gap == pytest.approx(0.0, abs=1e-7)
    assert sum(mine.shares) == pytest.approx(1.0, abs=1e-12)
    assert min(mine.shares) >= 0.0
    over, under = mine.policies
    assert over.spend - cap * over.clicks > 0.0
    assert under.spend - cap * under.clicks <= 0.0
    assert under.price - over.price < 1e-6


def test_the_dual_is_least_at_the_multiplier() -> None:
    cap, mine = 0.06, cost_capped(0.06)

    def dual(mu: float) -> float:
        price = (1.0 + mu) / (1.0 + mu * cap)
        low, high = SMALL.cost_range
        priced = BudgetedCampaign(
            price * SMALL.budget, 12, cost_range=(price * low, price * high)
        )
        return (1.0 + mu * cap) * solve(priced, **GRID).optimal_value

    least = dual(mine.multiplier)
    assert least == pytest.approx(mine.optimal_value, abs=1e-7)
    for mu in (0.0, 0.5 * mine.multiplier, 1.5 * mine.multiplier, 20.0):
        assert dual(mu) > least - 1e-9


def test_prices_of_safety_fall_with_the_cap() -> None:
    capped = [cost_capped(cap) for cap in (0.01, 0.02, 0.06, 0.1, 0.9)]
    prices = [mine.unconstrained_value - mine.optimal_value for mine in capped]
    assert (np.diff(prices) < 0.0).all()
    assert prices[-1] >= -1e-12
    never = 12 * Auction().value_of_constant_bid(0.0)
    assert cost_capped(0.01).optimal_value > never


def test_simulation_of_the_mixture_earns_its_value_and_meets_the_cap() -> None:
    mine = solve_cost_per_click(CostPerClickCap(0.06), SMALL, nodes=16, budget_points=201)
    for policy in mine.policies:
        played = simulate_capped(
            lambda o, payments, clicks, policy=policy: policy(o),
            [mine.cap],
            SMALL,
            episodes=40_000,
            seed=3,
        )
        assert within_errors(played["profit"], policy.clicks - policy.spend)
        # What is spent is not stationary at an optimum: quadrature errs more there.
        assert within_errors(played["spend"], policy.spend, slack=3e-3)
        assert within_errors(played["clicks"], policy.clicks, slack=3e-3)
        assert (played["violations"] > 0).any()
    exact = evaluate(mine.policies[1], SMALL, nodes=16, budget_points=201)
    under = mine.policies[1]
    assert exact == pytest.approx(under.clicks - under.spend, abs=2e-3)


def test_certainty_costs_more_than_expectation() -> None:
    mine = cost_capped(0.1)
    safe = SafePolicy(mine.policies[0].q_values, [mine.cap], SMALL)
    played = simulate_capped(safe.decide, [mine.cap], SMALL, episodes=20_000)
    assert not played["violations"].any()
    error = played["profit"].std() / np.sqrt(20_000)
    assert played["profit"].mean() < mine.optimal_value - 4.0 * error


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: solve_spend_cap(0.4), TypeError, "cap must be a SpendCap"),  # type: ignore[arg-type]
        (
            lambda: solve_spend_cap(SpendCap(4, 0.3, sliding=True)),
            ValueError,
            "cap must have tumbling windows",
        ),
        (lambda: solve_spend_cap(SpendCap(4, 0.3), 3), TypeError, "campaign"),  # type: ignore[arg-type]
        (lambda: solve_spend_cap(SpendCap(4, 0.3), nodes=3), ValueError, "nodes"),
        (
            lambda: solve_spend_cap(SpendCap(4, 0.3), budget_points=4),
            ValueError,
            "budget_points",
        ),
        (
            lambda: solve_spend_cap(SpendCap(4, 0.3), spend_points=4),
            ValueError,
            "spend_points",
        ),
        (lambda: solve_cost_per_click(0.1), TypeError, "cap must be a CostPerClickCap"),  # type: ignore[arg-type]
        (lambda: solve_cost_per_click(CostPerClickCap(1.0), 3), TypeError, "campaign"),  # type: ignore[arg-type]
        (
            lambda: solve_cost_per_click(CostPerClickCap(1.0), nodes=2.0),  # type: ignore[arg-type]
            ValueError,
            "nodes",
        ),
        (
            lambda: spend_capped(4, 0.3).greedy(np.zeros((2, 2)), np.zeros((2, 0))),
            ValueError,
            "observations must have shape",
        ),
        (
            lambda: spend_capped(4, 0.3).greedy(np.zeros((2, 4)), np.zeros((3, 0))),
            ValueError,
            "payments must have shape",
        ),
        (
            lambda: spend_capped(4, 0.3).q_at(0.5, 0.3, 1.0, 0.0, 0),
            ValueError,
            r"impressions_left must be .*\[1, 12\], got 0",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(
    make: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()
