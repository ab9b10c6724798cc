"""Intervals from few episodes: against leaving out by hand, and how often they hold."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import stdtrit

from benchmarks.auction import campaign_coverage
from icac_algo.evidence import ESTIMATORS, SupportWarning, compare, estimate
from icac_algo.evidence.jackknife import Ratio, jackknife

SIZES = st.lists(st.integers(1, 6), min_size=3, max_size=7)


def drawn(sizes: list[int], seed: int) -> tuple[Any, Ratio]:
    rng = np.random.default_rng(seed)
    count = sum(sizes)
    starts = np.cumsum([0, *sizes[:-1]])
    weights = rng.random(count) + 0.1
    return starts, Ratio(weights * rng.normal(size=count), weights, weights)


@settings(deadline=None, max_examples=30)
@given(sizes=SIZES, seed=st.integers(0, 1000))
def test_it_leaves_out_one_episode_at_a_time(sizes: list[int], seed: int) -> None:
    starts, ratio = drawn(sizes, seed)
    ones = np.ones(sum(sizes))
    other = Ratio(np.cos(np.arange(sum(sizes))), ones, ones)
    of_row = np.repeat(np.arange(len(sizes)), sizes)
    value = ratio.value - other.value
    left = []
    for episode in range(len(sizes)):
        kept = of_row != episode
        part = ratio.numerators[kept].sum() / ratio.denominators[kept].sum()
        left.append(part - other.numerators[kept].mean())
    count = len(sizes)
    error = np.sqrt((count - 1) / count * np.square(np.array(left) - value).sum())
    found = jackknife(starts, ratio, 0.95, minus=other)
    assert found.standard_error == pytest.approx(error)
    assert found.lower + found.upper == pytest.approx(2.0 * value)


@settings(deadline=None, max_examples=30)
@given(sizes=SIZES, seed=st.integers(0, 1000))
def test_degrees_of_freedom_are_those_of_the_quadratic_form(
    sizes: list[int], seed: int
) -> None:
    starts, ratio = drawn(sizes, seed)
    shares = np.add.reduceat(ratio.denominators, starts) / ratio.denominators.sum()
    spread = np.sqrt(np.add.reduceat(ratio.weights**2, starts))
    count = len(sizes)
    left = np.eye(count) - np.outer(shares, np.ones(count))
    form = left.T @ np.diag(1.0 / (1.0 - shares) ** 2) @ left
    form = spread[:, None] * form * spread
    # The variance of a quadratic form of independent noise with a kurtosis of 3 + 3.
    square = (form**2).sum() + 1.5 * (np.diag(form) ** 2).sum()
    freedom = np.trace(form) ** 2 / square
    found = jackknife(starts, ratio, 0.9)
    half = (found.upper - found.lower) / 2.0
    assert half == pytest.approx(stdtrit(freedom, 0.95) * found.standard_error)


def test_of_many_rows_it_is_the_usual_interval() -> None:
    rng = np.random.default_rng(0)
    values, ones = rng.normal(size=5000), np.ones(5000)
    found = jackknife(np.arange(5000), Ratio(values, ones, ones), 0.95)
    assert found.standard_error == pytest.approx(values.std(ddof=1) / 5000**0.5)
    half = (found.upper - found.lower) / 2.0
    assert half == pytest.approx(1.96 * found.standard_error, rel=2e-3)


@pytest.mark.parametrize("episodes", [1, 2])
def test_of_too_few_episodes_there_is_none(episodes: int) -> None:
    steps = campaign_coverage.draw(np.random.default_rng(0), episodes)
    policies: dict[str, Any] = {"optimal": campaign_coverage.optimal, "lowest": 0}
    for estimator in ESTIMATORS:
        with pytest.warns(
            SupportWarning, match=r"too few for an interval, which needs 3"
        ):
            found = compare(steps, policies, as_bandit=True, estimator=estimator)
        assert "too few for an interval" in found.explanation
        assert "too few for an interval" in str(found.policies[0].estimate)
        assert found.table().count("too few") == 2
        for policy in found.policies:
            ends = (policy.estimate.lower, policy.lift_lower, policy.lift_upper)
            assert np.isnan(ends).all()
            assert np.isfinite(policy.estimate.value)
            assert not policy.better
        found.plot()


def test_the_direct_method_of_one_campaign_predicts_what_it_did_not_see() -> None:
    rng, n = np.random.default_rng(0), 5000
    steps = campaign_coverage.draw(rng, 25)
    x, actions = steps.observations, steps.actions
    rewards = 1.0 + rng.normal(size=n)
    log = type(steps)(x, actions, rewards, steps.propensities, np.zeros(n, int), 5)
    with pytest.warns(SupportWarning, match="1 episode is too few"):
        found = estimate(log, 1, as_bandit=True)
    assert found["dm"].value == pytest.approx(1.0, abs=0.1)
    assert found["dr"].value == pytest.approx(1.0, abs=0.1)


def test_an_estimate_that_cannot_vary_has_no_interval() -> None:
    steps = campaign_coverage.draw(np.random.default_rng(0), 10)
    rewards = np.where(steps.actions == 1, 0.0, steps.rewards)
    with pytest.warns(SupportWarning, match="does not vary between episodes"):
        found = estimate(steps.with_rewards(rewards), 1, as_bandit=True)
    assert found["ips"].value == 0.0
    assert np.isnan(found["ips"].upper)


@pytest.mark.slow
@pytest.mark.parametrize("campaigns", [3, 5, 10, 50])
@pytest.mark.parametrize(
    ("sizes", "propensities"), [("equal", "logged"), ("unequal", "estimated")]
)
def test_intervals_over_campaigns_hold_the_truth(
    campaigns: int, sizes: str, propensities: str
) -> None:
    truth = campaign_coverage.value_of(campaign_coverage.optimal)
    held = dict.fromkeys(ESTIMATORS, 0)
    logs = 60 if campaigns < 50 else 20
    for seed in range(logs):
        rng = np.random.default_rng([seed, campaigns])
        steps = campaign_coverage.draw(rng, campaigns, sizes, propensities)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SupportWarning)
            found = estimate(steps, campaign_coverage.optimal, as_bandit=True)
        for name, value in found.items():
            held[name] += value.lower <= truth <= value.upper
    # Of 60 logs a right interval misses more than 7 once in a hundred times.
    assert all(count >= 0.88 * logs for count in held.values()), held
