"""Reward distributions and worst shares against closed forms."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from typing import Any

import numpy as np
import pytest
from scipy import stats

from icac_algo.data import LoggedSteps
from icac_algo.evidence import (
    Estimate,
    RewardDistribution,
    SupportWarning,
    estimate,
    reward_distribution,
)
from icac_algo.evidence.jackknife import Ratio, jackknife

SHARES = (0.05, 0.1, 0.25, 0.5)


def uniform_log(n: int = 20_000, seed: int = 0, **changes: Any) -> LoggedSteps:
    """Three actions, each as likely; the reward of ``a`` is normal around ``a``."""
    rng = np.random.default_rng(seed)
    actions = rng.integers(0, 3, n)
    columns: dict[str, Any] = {
        "observations": np.zeros((n, 1), np.float32),
        "actions": actions,
        "rewards": actions + rng.normal(size=n),
        "propensities": np.full(n, 1.0 / 3.0),
        "episodes": np.arange(n),
        "action_size": 3,
    }
    return LoggedSteps(**{**columns, **changes})


def uniform(observations: Any) -> Any:
    return np.full((len(observations), 3), 1.0 / 3.0)


def within_five_errors(found: Estimate, truth: float) -> bool:
    # A half-width of a 95 % interval is two standard errors.
    return abs(found.value - truth) < 1.25 * (found.upper - found.lower)


@pytest.fixture(scope="module")
def found() -> RewardDistribution:
    return reward_distribution(uniform_log(), 1)


def test_one_action_has_its_normal_distribution(found: RewardDistribution) -> None:
    truth = stats.norm(1.0, 1.0)
    for share in SHARES:
        cvar = found.cvar(share)
        worst = 1.0 - stats.norm.pdf(stats.norm.ppf(share)) / share
        assert within_five_errors(cvar, worst)
        assert cvar.lower < cvar.value < cvar.upper
        assert cvar.upper - cvar.lower < 0.2
        assert within_five_errors(found.quantile(share), truth.ppf(share))
        least, most = found.band.cvar(share, lowest=-5.0)
        assert least < cvar.lower < cvar.upper < most
        least, most = found.band.quantile(share)
        assert least < found.quantile(share).lower < found.quantile(share).upper < most
    points = np.linspace(-3.0, 5.0, 99).reshape(9, 11)
    lower, upper = found.band.at(points)
    assert lower.shape == found.cdf(points).shape == (9, 11)
    # The band's half-width is about three standard errors where it is narrowest.
    assert (np.abs(found.cdf(points) - truth.cdf(points)) < upper.max()).all()
    assert (lower <= truth.cdf(points)).all()
    assert (truth.cdf(points) <= upper).all()


def test_a_mixture_has_its_own(found: RewardDistribution) -> None:
    chances = np.array([0.7, 0.1, 0.2])
    mixed = reward_distribution(uniform_log(), lambda o: np.tile(chances, (len(o), 1)))
    points = np.array([-1.0, 0.0, 1.5])
    truth = (chances * stats.norm.cdf(points[:, None] - np.arange(3))).sum(axis=1)
    lower, upper = mixed.band.at(points)
    assert ((lower < truth) & (truth < upper)).all()
    assert mixed.mean.value == pytest.approx(0.5, abs=0.05)


def test_the_loggers_policy_has_the_empirical_distribution() -> None:
    log = uniform_log(1000)
    found = reward_distribution(log, uniform)
    ranked = np.sort(log.rewards)
    assert found.rewards.tolist() == ranked.tolist()
    assert found.shares == pytest.approx(np.arange(1, 1001) / 1000)
    for share in SHARES:
        count = round(1000 * share)
        assert found.cvar(share).value == pytest.approx(ranked[:count].mean(), rel=1e-9)
        assert found.quantile(share).value == ranked[count - 1]
    # As narrow as Kolmogorov's band, up to the noise of its draws and what t adds.
    half = float((found.band.upper - found.band.lower).max()) / 2.0
    assert half == pytest.approx(stats.kstwobign.ppf(0.95) / np.sqrt(1000), rel=0.05)


def test_the_worst_share_of_all_is_the_self_normalised_mean() -> None:
    log = uniform_log(500)
    found = reward_distribution(log, 2)
    snips = estimate(log, 2, estimators=("snips",))["snips"]
    assert found.cvar(1.0).value == snips.value
    assert dataclasses.replace(found.mean, estimator="snips") == snips


def test_worst_share_by_hand() -> None:
    log = uniform_log(
        4,
        actions=np.array([0, 0, 1, 1]),
        rewards=np.array([5.0, 3.0, 4.0, 8.0]),
        propensities=np.array([0.5, 0.25, 0.5, 0.25]),
    )
    with pytest.warns(SupportWarning, match="effective sample size is 1.8"):
        found = reward_distribution(log, 1)
    # Weights 2 and 4: a third of rewards are 4, two thirds 8.
    assert found.cdf([3.9, 4.0, 7.9, 8.0]) == pytest.approx([0.0, 1 / 3, 1 / 3, 1.0])
    assert found.cvar(0.25).value == pytest.approx(4.0)
    assert found.cvar(0.5).value == pytest.approx((4.0 / 3.0 + 8.0 / 6.0) / 0.5)
    assert found.quantile(0.3).value == 4.0
    assert found.quantile(0.4).value == 8.0


def test_order_of_rows_does_not_matter(found: RewardDistribution) -> None:
    log = uniform_log()
    order = np.random.default_rng(1).permutation(len(log))
    columns: dict[str, Any] = {
        name: value[order]
        for name, value in vars(log).items()
        if isinstance(value, np.ndarray)
    }
    columns["episodes"] = np.arange(len(log))
    again = reward_distribution(dataclasses.replace(log, **columns), 1)
    assert again.rewards.tolist() == found.rewards.tolist()
    assert again.shares == pytest.approx(found.shares)
    assert again.band.lower == pytest.approx(found.band.lower)
    for share in SHARES:
        first, second = found.cvar(share), again.cvar(share)
        assert second.value == pytest.approx(first.value)
        assert second.lower == pytest.approx(first.lower)


def test_the_unit_of_reward_scales_what_is_in_it(found: RewardDistribution) -> None:
    log = uniform_log()
    scaled = reward_distribution(log.with_rewards(1000.0 * log.rewards - 7.0), 1)
    assert scaled.band.upper == pytest.approx(found.band.upper)
    for name in ("cvar", "quantile"):
        for share in SHARES:
            first, second = getattr(found, name)(share), getattr(scaled, name)(share)
            for end in ("value", "lower", "upper"):
                wanted = 1000.0 * getattr(first, end) - 7.0
                assert getattr(second, end) == pytest.approx(wanted)


def test_same_seed_same_band(found: RewardDistribution) -> None:
    again = reward_distribution(uniform_log(), 1)
    assert (again.band.lower == found.band.lower).all()
    assert (again.band.upper == found.band.upper).all()
    other = reward_distribution(uniform_log(), 1, seed=1)
    assert (other.band.upper != found.band.upper).any()
    assert other.cvar(0.1) == found.cvar(0.1)


@pytest.mark.parametrize("level", [0.5, 0.99])
@pytest.mark.parametrize("rounded", [False, True])
def test_functions_rise_and_the_band_holds_the_estimate(
    level: float, rounded: bool
) -> None:
    log = uniform_log(400)
    if rounded:
        log = log.with_rewards(log.rewards.round())
    found = reward_distribution(log, 1, level=level)
    band = found.band
    assert (np.diff(found.rewards) > 0.0).all()
    for shares in (found.shares, band.lower, band.upper):
        assert (np.diff(shares) >= 0.0).all()
        assert shares.min() >= 0.0
        assert shares.max() <= 1.0
    assert found.shares[-1] == 1.0
    assert ((band.lower < found.shares) & (found.shares <= band.upper)).all()
    shares = np.linspace(0.01, 1.0, 34)
    cvars = [found.cvar(share).value for share in shares]
    assert (np.diff(cvars) >= -1e-12).all()
    for share in shares:
        quantile = found.quantile(share)
        assert quantile.lower <= quantile.value <= quantile.upper
        assert found.cvar(share).value <= quantile.value


def test_episodes_are_drawn_whole() -> None:
    rng = np.random.default_rng(0)
    rewards = np.repeat(rng.normal(size=200), 10)
    apart = uniform_log(2000, rewards=rewards)
    together = dataclasses.replace(apart, episodes=np.repeat(np.arange(200), 10))
    with pytest.raises(ValueError, match="episodes of several steps: as_bandit=True"):
        reward_distribution(together, uniform)
    wide = reward_distribution(together, uniform, as_bandit=True)
    narrow = reward_distribution(apart, uniform)
    assert wide.band.below > 2.0 * narrow.band.below
    # As the band of 200 rewards.
    half = float(wide.band.upper.max() - wide.band.lower.max())
    assert half == pytest.approx(stats.kstwobign.ppf(0.95) / np.sqrt(200), rel=0.1)
    widths = [f.cvar(0.1).upper - f.cvar(0.1).lower for f in (wide, narrow)]
    assert widths[0] > 2.0 * widths[1]


def test_of_two_rewards_the_band_is_the_interval_of_their_mean() -> None:
    rng = np.random.default_rng(0)
    # One of eight episodes has half of all rows.
    log = uniform_log(700, episodes=np.repeat(np.arange(8), [350, *[50] * 7]))
    chances = rng.random(8)[log.episodes]
    log = log.with_rewards((rng.random(700) < chances).astype(float))
    found = reward_distribution(log, uniform, as_bandit=True, level=0.8)
    half = found.mean.upper - found.mean.value
    # Up to the noise of a thousand draws.
    assert found.band.below == pytest.approx(half, rel=0.1)


def test_a_reward_that_is_rare_is_no_certainty() -> None:
    log = uniform_log(5000)
    rewards = np.where(np.arange(5000) % 1000 == 0, 0.0, 1.0)
    found = reward_distribution(log.with_rewards(rewards), uniform)
    half = found.mean.upper - found.mean.value
    assert found.band.below == pytest.approx(half, rel=0.1)


def test_few_rows_in_the_worst_share_are_few_degrees_of_freedom() -> None:
    log = uniform_log(600)
    found = reward_distribution(log, uniform)
    cvar, quantile = found.cvar(0.02), found.quantile(0.02).value
    part = quantile - np.maximum(quantile - log.rewards, 0.0) / 0.02
    ones = np.ones(600)
    many = jackknife(log.starts, Ratio(part, ones, ones), 0.95)
    # Twelve rows are in it: 4.8 degrees of freedom.  No skewness moves this end.
    ratio = stats.t.ppf(0.975, 12 / 2.5) / stats.norm.ppf(0.975)
    wider = (cvar.upper - cvar.value) / (many.upper - cvar.value)
    assert wider == pytest.approx(ratio, rel=0.05)


def test_a_policy_that_was_never_logged(tmp_path: pathlib.Path) -> None:
    log = uniform_log(500, action_size=4)
    with pytest.warns(SupportWarning, match="actions that the log never has"):
        found = reward_distribution(log, 3)
    assert len(found.rewards) == 0
    assert np.isnan(found.cdf([0.0, 1.0])).all()
    assert [end.tolist() for end in found.band.at([0.0])] == [[0.0], [1.0]]
    for each in (found.cvar(0.1), found.quantile(0.1), found.mean):
        assert np.isnan([each.value, each.lower, each.upper]).all()
        assert each.no_interval
    assert found.band.quantile(0.5) == found.band.cvar(0.5) == (-np.inf, np.inf)
    assert "never has" in str(found)
    found.plot().savefig(tmp_path / "never.png")


def test_too_few_episodes_say_nothing() -> None:
    log = uniform_log(20, episodes=np.repeat([0, 1], 10))
    with pytest.warns(SupportWarning, match="2 episodes are too few"):
        found = reward_distribution(log, uniform, as_bandit=True)
    assert found.band.below == 1.0
    assert np.isnan(found.quantile(0.5).lower)
    assert np.isfinite(found.cvar(0.5).value)


def test_a_share_of_hardly_a_row_has_no_interval() -> None:
    found = reward_distribution(uniform_log(600), 1)
    assert found.cvar(0.001).no_interval
    quantile = found.quantile(0.001)
    assert (quantile.lower, quantile.no_interval) == (-np.inf, "")
    assert found.quantile(0.999).upper == np.inf
    assert found.band.quantile(0.01)[0] == found.band.cvar(0.01)[0] == -np.inf


def test_clicks_are_rewards_too() -> None:
    log = uniform_log()
    clicks = log.with_rewards((log.rewards > 1.0).astype(float))
    found = reward_distribution(clicks, 2)
    assert found.rewards.tolist() == [0.0, 1.0]
    assert found.mean.value == pytest.approx(stats.norm.cdf(1.0), abs=0.02)
    assert (found.quantile(0.1).lower, found.quantile(0.1).upper) == (0.0, 0.0)
    assert (found.quantile(0.5).lower, found.quantile(0.5).upper) == (1.0, 1.0)
    assert found.cvar(0.1).value == 0.0


def test_skewness_moves_the_end_towards_the_long_tail() -> None:
    log = uniform_log()
    losses = log.with_rewards(-np.exp(1.5 * log.rewards))
    cvar = reward_distribution(losses, 1).cvar(0.1)
    assert cvar.value - cvar.lower > 1.05 * (cvar.upper - cvar.value)


def test_words_and_picture(found: RewardDistribution, tmp_path: pathlib.Path) -> None:
    said = str(found).splitlines()
    assert said[0].startswith("mean: 1.0")
    assert said[6].startswith("cvar 0.05: -1.")
    assert said[-1] == "95% intervals, 20,000 episodes, logged propensities"
    # No row of the log is in it.
    assert len(repr(found)) < 400
    figure = found.plot(share=0.25)
    assert "worst 0.25" in figure.axes[0].get_xlabel()
    figure.savefig(tmp_path / "distribution.png")


@pytest.mark.parametrize("share", [0, -0.1, 1.1, np.nan, True, "a", None])
def test_shares_are_checked(found: RewardDistribution, share: Any) -> None:
    for ask in (
        found.cvar,
        found.quantile,
        found.plot,
        found.band.cvar,
        found.band.quantile,
    ):
        with pytest.raises(ValueError, match="share must be a number > 0 and <= 1, got"):
            ask(share)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"level": 1.0}, "level must be a number > 0 and < 1, got 1.0"),
        ({"level": "high"}, "level must be a number .* got 'high'"),
        ({"seed": -1}, "seed must be an integer"),
        ({"as_bandit": 1}, "as_bandit must be True or False"),
        ({"show_progress": None}, "show_progress must be True or False"),
        ({"propensities": np.zeros(5)}, "propensities must have one value for each"),
    ],
)
def test_arguments_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reward_distribution(uniform_log(50), 1, **changes)


def test_points_are_checked(found: RewardDistribution) -> None:
    for ask in (found.cdf, found.band.at):
        with pytest.raises(ValueError, match="t must be numbers"):
            ask([0.0, np.nan])
        with pytest.raises(ValueError, match="t must be numbers"):
            ask(["a"])
    assert found.cdf([-np.inf, np.inf]).tolist() == [0.0, 1.0]
    with pytest.raises(ValueError, match="lowest must be at most the logged -"):
        found.band.cvar(0.1, lowest=2.0)
    with pytest.raises(ValueError, match="highest must be at least the logged"):
        found.band.cvar(0.1, highest=2.0)


def test_many_rows_take_seconds() -> None:
    log = uniform_log(300_000, episodes=np.arange(300_000) // 7)
    began = time.perf_counter()
    reward_distribution(log, 1, as_bandit=True).cvar(0.1)
    # A quarter of a second on an idle core.
    assert time.perf_counter() - began < 8.0
