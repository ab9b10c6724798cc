"""The optimum under a budget, against closed forms and arithmetic without a grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidclick_gym.auction import Auction, expected_reward
from bidclick_gym.campaigns import BudgetedCampaign, Solution, solve

LAST_DIGIT = 5.0e-4


def solved(**campaign: Any) -> Solution:
    return solve(BudgetedCampaign(**campaign), nodes=16, budget_points=1001)


def observed(
    campaign: BudgetedCampaign, n: int, seed: int = 0
) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    low, high = campaign.cost_range
    return campaign.observe(
        rng.random(n),
        rng.uniform(low, high, n),
        rng.uniform(0.0, campaign.budget, n),
        rng.integers(1, campaign.impressions + 1, n),
    )


@pytest.mark.parametrize(
    ("budget", "value"),
    [(4.0, 30.737), (2.0, 29.773), (6.0, 31.328), (8.0, 31.633), (12.0, 31.679)],
)
def test_optimum_is_the_published_one(budget: float, value: float) -> None:
    assert solved(budget=budget).optimal_value == pytest.approx(value, abs=LAST_DIGIT)


def test_refinement_of_the_default_campaign_settles() -> None:
    solution = solve()
    assert solution.optimal_value == pytest.approx(30.7365, abs=1e-4)
    assert 0.0 < solution.error < 1e-4
    assert solution.error < solution.grid_error < 0.02
    assert (solution.nodes, solution.budget_points) == (32, 2001)
    assert solve() is solution
    assert solve(BudgetedCampaign(), tolerance=1e-4) is solution


def test_error_is_the_change_from_half_the_resolution() -> None:
    campaign = BudgetedCampaign(impressions=5)
    fine = solve(campaign, nodes=8, budget_points=101)
    coarse = solve(campaign, nodes=4, budget_points=51)
    change = np.abs(fine.values[:, ::2] - coarse.values)
    assert fine.error == pytest.approx(change[-1, -1], rel=1e-9)
    assert fine.grid_error == pytest.approx(change.max(), rel=1e-9)


def test_what_is_given_is_not_refined() -> None:
    campaign = BudgetedCampaign(impressions=2)
    assert solve(campaign, nodes=8, tolerance=1e-3).nodes == 8
    assert solve(campaign, budget_points=300, tolerance=1e-3).budget_points == 300


def test_a_budget_that_pays_for_everything_leaves_the_auction_as_it_was() -> None:
    rich = solved(budget=8.0, impressions=20)
    assert rich.optimal_value == pytest.approx(20 * Auction().optimal_value(), abs=2e-3)


def test_a_budget_below_the_cheapest_bid_pays_for_nothing() -> None:
    poor = solved(budget=0.049, impressions=20)
    worth = 20 * Auction().value_of_constant_bid(0.0)
    assert poor.optimal_value == pytest.approx(worth, abs=1e-9)
    assert (poor.greedy(observed(poor.campaign, 100)) == 0).all()


def test_two_impressions_agree_with_sums_that_use_no_grid_of_budgets() -> None:
    contexts = Auction().contexts(60)
    bids = Auction().bid_array
    table = Auction().reward_table(contexts)

    def worth_of_last(b: float) -> float:
        is_paid = contexts[:, 1:] * bids <= b
        return float(np.where(is_paid, table, -np.inf).max(axis=1).mean())

    payment = contexts[:60, 1:] * bids  # the 60 costs of the first x
    later = np.vectorize(worth_of_last)(np.maximum(0.3 - payment, 0.0))
    later[payment > 0.3] = -np.inf
    best = (table + np.tile(later, (60, 1))).max(axis=1).mean()
    solution = solve(
        BudgetedCampaign(budget=0.3, impressions=2), nodes=64, budget_points=2001
    )
    assert solution.value() == pytest.approx(best, abs=5e-4)
    assert solution.value(0.3, 1) == pytest.approx(worth_of_last(0.3), abs=5e-4)


def test_values_are_means_of_the_best_action_value() -> None:
    solution = solved(impressions=10)
    x, c = Auction().contexts(200).T
    for b, k in ((4.0, 10), (0.7, 6), (0.31, 3)):
        mean = solution.q_at(x, c, b, k).max(axis=1).mean()
        assert solution.value(b, k) == pytest.approx(mean, abs=2e-3)


def test_action_values_of_the_last_impression_are_the_auction_s() -> None:
    solution = solved()
    x, c = Auction().contexts(20).T
    assert solution.q_at(x, c, 4.0, 1) == pytest.approx(
        expected_reward(x[:, None], c[:, None], Auction().bid_array), abs=1e-12
    )
    assert (solution.q_at(x, c, 4.0, 0) == 0.0).all()


def test_a_refused_bid_is_worth_a_bid_of_zero() -> None:
    solution = solved()
    q = solution.q_at(0.4, 0.3, 0.16, 30)
    assert q[3:].tolist() == [q[0], q[0]]
    assert q[1] != q[0]
    assert q[2] != q[0]


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_greedy_bids_are_the_lowest_best_ones_and_can_be_paid(seed: int) -> None:
    solution = solved()
    observations = observed(solution.campaign, 200, seed)
    observations[:100, 2] *= 0.1
    greedy, q = solution.greedy(observations), solution.q_values(observations)
    assert (q[np.arange(200), greedy] == q.max(axis=1)).all()
    assert (greedy == np.argmax(q, axis=1)).all()
    _, c, b, _ = solution.campaign.read(observations)
    assert solution.campaign.is_affordable(c, b)[np.arange(200), greedy].all()


def test_values_are_read_only_and_linear_between_budgets() -> None:
    solution = solved()
    with pytest.raises(ValueError, match="read-only"):
        solution.values[0, 0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        solution.budgets[0] = 1.0
    grid = solution.value_at(solution.budgets, np.arange(51)[:, None])
    np.testing.assert_allclose(grid, solution.values, rtol=0.0, atol=1e-12)
    middle = (solution.budgets[1:] + solution.budgets[:-1]) / 2.0
    between = (solution.values[50, 1:] + solution.values[50, :-1]) / 2.0
    np.testing.assert_allclose(solution.value_at(middle, 50), between, atol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"campaign": Auction()}, TypeError, "campaign must be a BudgetedCampaign"),
        ({"nodes": 1}, ValueError, "nodes"),
        ({"nodes": 2.5}, ValueError, "nodes"),
        ({"budget_points": 2}, ValueError, "budget_points"),
        ({"tolerance": 0.0}, ValueError, "tolerance must be .* got 0.0"),
        ({"tolerance": float("nan")}, ValueError, "tolerance"),
        ({"tolerance": True}, ValueError, "tolerance"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        solve(**arguments)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ((0.5, 0.3, 4.5, 10), r"budget_left must be .*\[0, 4\], got .*4.5"),
        ((0.5, 0.3, float("nan"), 10), "budget_left"),
        ((0.5, 0.3, 1.0, 51), r"impressions_left must be .*\[0, 50\], got .*51"),
        ((0.5, 0.3, 1.0, 1.5), "impressions_left must be integers"),
        ((1.5, 0.3, 1.0, 10), r"x must be .*\[0, 1\]"),
        ((0.5, -0.1, 1.0, 10), "c must be"),
    ],
)
def test_states_outside_the_campaign_are_refused_by_name(
    state: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        solved().q_at(*state)


@pytest.mark.parametrize(
    "observations", [np.zeros(4), np.zeros((3, 2)), np.full((1, 4), 2.0)]
)
def test_observations_of_something_else_are_refused(
    observations: npt.NDArray[Any],
) -> None:
    with pytest.raises(ValueError, match="observations must"):
        solved().greedy(observations)
