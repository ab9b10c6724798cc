"""Exact distributions of profit and the best worst share, against closed forms."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidclick_gym.auction import Auction, click_probability
from bidclick_gym.campaigns import (
    BudgetedCampaign,
    PacedPolicy,
    Policy,
    ProfitDistribution,
    RiskSolution,
    UnpacedPolicy,
    evaluate,
    profit_distribution,
    simulate,
    simulate_capped,
    solve,
    solve_risk,
)

SMALL = BudgetedCampaign(budget=1.2, impressions=12)
GRID = {"nodes": 6, "budget_points": 61}
LEVELS = (0.1, 0.25, 0.5)
NEVER = Auction().value_of_constant_bid(0.0)


def always(bid: int) -> Policy:
    return lambda observations: np.full(len(observations), bid)


def hashed(seed: int) -> Policy:
    """Decides by a rough function of all that is observed."""
    weights = np.random.default_rng(seed).normal(size=(4, 5)) * 20.0

    def policy(observations: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        scores = np.sin(observations.astype(np.float64) @ weights)
        return np.asarray(scores.argmax(axis=1))

    return policy


POLICIES: dict[str, Callable[[], Policy]] = {
    "never": lambda: always(0),
    "most": lambda: always(4),
    "hashed": lambda: hashed(0),
    "unpaced": lambda: UnpacedPolicy(SMALL).probabilities_of,
    "paced": lambda: PacedPolicy(SMALL).probabilities_of,
    "optimum": lambda: solve(SMALL, nodes=8, budget_points=101).greedy,
}


def of(profits: Any, probabilities: Any) -> ProfitDistribution:
    profits, probabilities = np.asarray(profits, float), np.asarray(probabilities, float)
    return ProfitDistribution(SMALL, profits, probabilities)


def same_cvar(sample: Any, found: ProfitDistribution, level: float) -> bool:
    """Whether a sample's CVaR is within 4 standard errors of the exact one."""
    eta = np.quantile(sample, level)
    parts = eta - np.maximum(eta - sample, 0.0) / level
    error = parts.std() / np.sqrt(len(sample))
    return bool(abs(parts.mean() - found.cvar(level)) < 4.0 * error)


# -- the mean of the worst share ------------------------------------------------------


def test_an_atom_at_the_end_of_the_share_counts_in_part() -> None:
    found = of([-1.0, 0.0, 2.0], [0.25, 0.5, 0.25])
    assert found.cvar(0.1) == -1.0
    assert found.cvar(0.5) == pytest.approx(-0.5)
    assert found.cvar(0.8) == pytest.approx((-0.25 + 0.05 * 2.0) / 0.8)
    assert found.cvar(1.0) == pytest.approx(found.mean)
    assert found.std == pytest.approx(math.sqrt(1.25 - 0.25**2))


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 9)), min_size=1, max_size=9),
    st.floats(0.01, 1.0),
)
def test_it_is_the_maximum_of_rockafellar_and_uryasev(
    atoms: list[tuple[int, int]], level: float
) -> None:
    profits = np.array(sorted({profit for profit, _ in atoms}), float)
    weights = np.array([sum(w for z, w in atoms if z == profit) for profit in profits])
    found = of(profits, weights / weights.sum())
    # The maximum is at an atom.
    losses = np.maximum(profits[:, None] - profits, 0.0) @ found.probabilities
    assert found.cvar(level) == pytest.approx((profits - losses / level).max(), abs=1e-9)
    assert found.cvar(level) <= found.mean + 1e-9


@pytest.mark.parametrize("level", [0.0, -0.1, 1.1, float("nan"), True, "all", None])
def test_levels_are_shares(level: Any) -> None:
    for ask in (of([1.0], [1.0]).cvar, functools.partial(solve_risk, campaign=SMALL)):
        with pytest.raises(ValueError, match=r"level must be a number in \(0, 1\]"):
            ask(level)


# -- distributions of policies --------------------------------------------------------


def test_one_impression_without_a_bid_is_a_coin() -> None:
    campaign = BudgetedCampaign(budget=0.3, impressions=1)
    found = profit_distribution(always(0), campaign, nodes=12, budget_points=4)
    assert found.profits.tolist() == [0.0, 1.0]
    assert found.probabilities == pytest.approx([1.0 - NEVER, NEVER], abs=1e-7)
    for level in (0.2, 0.6, 1.0):
        expected = max(level - (1.0 - NEVER), 0.0) / level
        assert found.cvar(level) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("bid", "budget"), [(0, 1.2), (4, 0.19), (2, 0.09)])
def test_campaigns_that_pay_nothing_are_binomial(bid: int, budget: float) -> None:
    # A bid of 1 costs .2 at least: with less it is refused and counts as a bid of 0.
    campaign = BudgetedCampaign(budget=budget, impressions=7)
    found = profit_distribution(always(bid), campaign, **GRID)
    expected = [math.comb(7, n) * NEVER**n * (1.0 - NEVER) ** (7 - n) for n in range(8)]
    assert found.profits == pytest.approx(np.arange(8.0), abs=1e-9)
    assert found.probabilities == pytest.approx(expected, abs=1e-6)


def test_one_impression_with_a_bid_spreads_by_click_and_cost() -> None:
    campaign = BudgetedCampaign(budget=1.0, impressions=1)
    found = profit_distribution(always(2), campaign, nodes=16, budget_points=2001)
    x = (np.arange(4000) + 0.5) / 4000
    p = click_probability(x, 0.5).mean()
    assert found.mean == pytest.approx(p - 0.15, abs=1e-6)
    variance = p * (1.0 - p) + 0.25 * 0.2**2 / 12.0
    assert found.std**2 == pytest.approx(variance, abs=1e-6)
    # Without a click the worst cost the most: the worst tenth pays half of .2 and more.
    share = 0.1 / (1.0 - p)
    worst = -0.5 * (0.4 - 0.2 * share / 2.0)
    assert found.cvar(0.1) == pytest.approx(worst, abs=2e-3)


@pytest.mark.parametrize("name", POLICIES)
def test_its_mean_is_that_of_evaluate(name: str) -> None:
    policy = POLICIES[name]()
    found = profit_distribution(policy, SMALL, **GRID)
    assert found.mean == pytest.approx(evaluate(policy, SMALL, **GRID), abs=1e-10)
    assert found.probabilities.sum() == pytest.approx(1.0, abs=1e-12)
    assert (np.diff(found.profits) > 0.0).all()
    assert found.profits[0] >= -SMALL.budget
    assert found.profits[-1] <= SMALL.impressions


@pytest.mark.parametrize("name", POLICIES)
def test_simulated_campaigns_have_its_worst_shares(name: str) -> None:
    policy = POLICIES[name]()
    found = profit_distribution(policy, SMALL, nodes=16, budget_points=241)
    profit = simulate(policy, SMALL, 40_000, seed=3)["profit"]
    for level in LEVELS:
        assert same_cvar(profit, found, level)
    assert found.std == pytest.approx(profit.std(), rel=0.02)


def test_finer_grids_change_little() -> None:
    policy = POLICIES["optimum"]()
    coarse, fine = (
        profit_distribution(policy, SMALL, nodes=n, budget_points=g)
        for n, g in ((12, 121), (24, 481))
    )
    for level in LEVELS:
        assert coarse.cvar(level) == pytest.approx(fine.cvar(level), abs=3e-3)
    assert coarse.std == pytest.approx(fine.std, abs=1e-3)


def test_batches_change_nothing_and_arguments_are_copies() -> None:
    def vandal(observations: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        answer = hashed(1)(observations)
        observations[:] = 0.0
        return answer

    whole = profit_distribution(hashed(1), SMALL, **GRID)
    parts = profit_distribution(vandal, SMALL, **GRID, batch=7)
    assert np.array_equal(whole.profits, parts.profits)
    assert np.array_equal(whole.probabilities, parts.probabilities)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="policy must be a function"):
        profit_distribution(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="campaign must be"):
        profit_distribution(always(0), 4)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nodes"):
        profit_distribution(always(0), nodes=0)
    with pytest.raises(ValueError, match="budget_points"):
        profit_distribution(always(0), budget_points=1)
    with pytest.raises(ValueError, match=r"indices of bids in 0, \.\.\., 4, got 5"):
        profit_distribution(always(5), SMALL, **GRID)
    with pytest.raises(ValueError, match="read-only"):
        profit_distribution(always(0), SMALL, **GRID).profits[0] = 1.0


# -- the best policy for a mean and a worst share -------------------------------------


@functools.cache
def best(level: float, weight: float = 1.0) -> RiskSolution:
    return solve_risk(level, weight, SMALL, **GRID)


def objective(found: ProfitDistribution, level: float, weight: float) -> float:
    return (1.0 - weight) * found.mean + weight * found.cvar(level)


@pytest.mark.parametrize(("level", "weight"), [(1.0, 1.0), (1.0, 0.3), (0.1, 0.0)])
def test_who_fears_nothing_has_the_optimum(level: float, weight: float) -> None:
    free = solve(SMALL, **GRID).optimal_value
    mine = best(level, weight)
    assert mine.value == pytest.approx(free, abs=1e-9)
    assert mine.mean == pytest.approx(free, abs=1e-9)
    assert mine.values[-1, -1, 0] == pytest.approx(free, abs=1e-9)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_no_policy_is_better(level: float, weight: float) -> None:
    mine = best(level, weight)
    for make in POLICIES.values():
        other = profit_distribution(make(), SMALL, **GRID)
        assert mine.value >= objective(other, level, weight) - 1e-3
    assert mine.value == pytest.approx(objective(mine.distribution, level, weight))
    # Of the policy's own distribution the best eta is no other, up to the search.
    gap = mine.value - mine.values[-1, -1, 0]
    assert -1e-9 <= gap < 2e-3


def test_fear_raises_the_worst_share_by_more_than_the_grid_is_off() -> None:
    free, mine = best(1.0).distribution, best(0.1)
    assert mine.cvar > free.cvar(0.1) + 0.02
    assert mine.mean < free.mean
    frontier = [best(0.1, weight) for weight in (0.0, 0.5, 0.9, 1.0)]
    assert (np.diff([each.cvar for each in frontier]) > -1e-3).all()
    assert (np.diff([each.mean for each in frontier]) < 1e-3).all()


@pytest.mark.parametrize("level", [0.25, 0.6])
def test_one_impression_is_solved_by_hand(level: float) -> None:
    # All bids can be paid: for each eta the best bid of every context, no budget at all.
    campaign = BudgetedCampaign(budget=1.0, impressions=1)
    mine = solve_risk(level, 1.0, campaign, nodes=8, budget_points=401)
    z, w = np.polynomial.legendre.leggauss(8)
    x, c = (z[:, None] + 1.0) / 2.0, 0.3 + 0.1 * z[None, :]
    bids = Auction().bid_array
    p, paid = click_probability(x[..., None], bids), c[..., None] * bids
    values = []
    for eta in np.linspace(-0.4, 1.0, 561):
        loss = p * np.maximum(eta - 1.0 + paid, 0.0)
        loss = loss + (1.0 - p) * np.maximum(eta + paid, 0.0)
        values.append(eta - (w / 2.0) @ loss.min(axis=2) @ (w / 2.0) / level)
    assert mine.value == pytest.approx(max(values), abs=2e-3)


def test_simulated_campaigns_of_it_have_its_worst_share() -> None:
    mine = solve_risk(0.1, 0.9, SMALL, nodes=12, budget_points=121)
    played = simulate_capped(mine.greedy, [], SMALL, episodes=40_000, seed=2)
    assert not played["refused"].any()
    assert same_cvar(played["profit"], mine.distribution, 0.1)
    error = played["profit"].std() / np.sqrt(40_000)
    assert abs(played["profit"].mean() - mine.mean) < 4.0 * error


def test_bids_depend_on_the_clicks_so_far() -> None:
    mine = best(0.1, 0.9)
    chosen = mine.q_at(0.5, 0.3, 0.6, np.arange(7), 6).argmax(axis=1)
    assert len(set(chosen.tolist())) > 1
    # Where campaigns are safe already, only the mean counts.
    free = solve(SMALL, **GRID).q_at(0.5, 0.3, 0.6, 6)
    safe = mine.q_at(0.5, 0.3, 0.6, 6, 6)
    assert np.diff(safe) == pytest.approx(0.1 * np.diff(free), abs=2e-3)


def test_refused_bids_are_no_bids_of_it() -> None:
    q = best(0.1).q_at(0.5, 0.3, np.array([0.0, 0.1, 1.0]), 0, 5)
    assert np.isinf(q).sum(axis=1).tolist() == [4, 3, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": 1.5}, r"weight must be a number in \[0, 1\], got 1.5"),
        ({"weight": None}, "weight must be a number"),
        ({"nodes": 3}, "nodes"),
        ({"budget_points": 4}, "budget_points"),
    ],
)
def test_bad_risks_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solve_risk(**{"level": 0.1, "campaign": SMALL, **changes})


def test_bad_states_are_refused() -> None:
    mine = best(0.1)
    with pytest.raises(ValueError, match=r"impressions_left must be .*\[1, 12\]"):
        mine.q_at(0.5, 0.3, 1.0, 0, 13)
    with pytest.raises(ValueError, match="clicks must be from 0 to"):
        mine.q_at(0.5, 0.3, 1.0, 3, 10)
    with pytest.raises(ValueError, match="observations must have shape"):
        mine.greedy(np.zeros(4), None, np.zeros((1, 0)))
    with pytest.raises(ValueError, match=r"clicks must have shape \(2, t\)"):
        mine.greedy(np.zeros((2, 4)), None, np.zeros((1, 0)))
    with pytest.raises(TypeError, match="campaign must be"):
        solve_risk(0.1, campaign=3)  # type: ignore[arg-type]
