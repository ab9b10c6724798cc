"""Logs whose actions are any number: kernels, bandwidths, estimates, tests of shapes."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import pytest

from icac_algo import Concave, Convex, Monotone
from icac_algo.data import LoggedSteps
from icac_algo.data.steps import number_steps
from icac_algo.evidence import (
    SupportWarning,
    check_prior,
    reward_distribution,
)
from icac_algo.evidence import compare as all_compare
from icac_algo.evidence import estimate as all_estimate
from icac_algo.evidence.kernel import bandwidths, kernel_weights

from .shape_worlds import number_log, smooth

estimate = functools.partial(all_estimate, show_progress=False)
compare = functools.partial(all_compare, show_progress=False)


def grid_log(count: int, reward: Any) -> LoggedSteps:
    """Numbers on an even grid, of a known uniform density, without noise."""
    low, high = -1.0, 3.0
    numbers = low + (high - low) * (np.arange(count) + 0.5) / count
    return number_steps(
        np.zeros((count, 1), np.float32),
        numbers,
        reward(numbers),
        np.full(count, 1.0 / (high - low)),
        np.arange(count),
    )


def weights(log: LoggedSteps, target: Any, width: float, plain: bool = False) -> Any:
    assert log.propensities is not None
    targets = np.broadcast_to(np.asarray(target, np.float64), (len(log),)).copy()
    return kernel_weights(log, log.propensities, targets, width, plain)


@pytest.mark.parametrize("width", [0.1, 0.5, 1.5])
@pytest.mark.parametrize("target", [-1.0, -0.95, 0.3, 2.9, 3.0])
def test_kernels_reproduce_cubics_up_to_the_ends(target: float, width: float) -> None:
    def cubic(a: Any) -> Any:
        return 2.0 + a - 0.7 * a**2 + 0.4 * a**3

    log = grid_log(40_000, cubic)
    target = float(np.clip(target, *log.edges[[0, -1]]))
    found = weights(log, target, width)
    # The grid's cells are 0.0001 wide.
    assert found.mean() == pytest.approx(1.0, abs=1e-3 / width)
    gap = (found * (log.rewards - cubic(target))).mean()
    assert gap == pytest.approx(0.0, abs=2e-3)
    plain = weights(log, target, width, plain=True)
    assert plain.min() >= 0.0
    assert plain.mean() == pytest.approx(1.0, abs=1e-3 / width)
    outside = np.abs(log.numbers - target) > width
    assert not found[outside].any()
    assert not plain[outside].any()


def test_a_quartic_is_not_reproduced() -> None:
    log = grid_log(40_000, lambda a: a**4)
    found = weights(log, 0.5, 1.0)
    assert abs((found * (log.rewards - 0.5**4)).mean()) > 0.01


def test_with_the_true_density_weights_have_mean_one() -> None:
    log = number_log(20_000)
    x = log.observations[:, 0].astype(np.float64)
    for width in (0.1, 0.25):
        for plain in (False, True):
            found = weights(log, 0.1 + 0.8 * x, width, plain)
            error = found.std() / np.sqrt(len(log))
            assert abs(found.mean() - 1.0) < 4.0 * error
            assert error < 0.03


def test_targets_outside_have_no_weight_and_are_named() -> None:
    log = number_log(2000)
    assert log.edges is not None
    length = log.edges[-1] - log.edges[0]
    assert not weights(log, log.edges[-1] + 0.02 * length, 0.5).any()
    assert not weights(log, log.edges[0] - 0.02 * length, 0.5).any()
    # Nobody draws the very ends.
    for end in (0.0, 1.0):
        assert weights(log, end, 0.5).mean() == pytest.approx(1.0, abs=0.1)

    def half(x: Any) -> Any:
        return np.where(x[:, 0] < 0.5, 0.4, 2.0)

    share = (log.observations[:, 0] >= 0.5).mean()
    with pytest.warns(SupportWarning, match=f"{share:.1%} of its decisions are actions"):
        found = estimate(log, half, estimators=("snips", "dr"))
    assert found["dr"].support is not None
    assert found["dr"].support.unseen == pytest.approx(share)


def test_lepskis_bandwidth_is_narrow_at_a_step_and_wide_on_a_smooth_curve() -> None:
    def step(x: Any, a: Any) -> Any:
        return np.tanh((a - 0.5) / 0.02)

    widths = {}
    for name, reward in (("smooth", smooth), ("step", step)):
        log = number_log(8000, reward, noise=0.1)
        widths[name] = estimate(log, 0.53, estimators=("dr",))["dr"].bandwidth
    widest = next(iter(bandwidths(number_log(8000))))
    assert widths["smooth"] > 0.7 * widest
    assert widths["step"] < 0.4 * widest


def test_estimates_are_near_the_truth() -> None:
    def rule(x: Any) -> Any:
        return 0.1 + 0.7 * x[:, 0]

    inside = dict.fromkeys(("dm", "ips", "snips", "dr"), 0)
    for seed in range(8):
        log = number_log(1500, seed=seed)
        truth = smooth(log.observations[:, 0], rule(log.observations)).mean()
        for name, found in estimate(log, rule).items():
            assert found.value == pytest.approx(truth, abs=0.12), name
            inside[name] += found.lower <= truth <= found.upper
            assert (found.bandwidth is None) == (name == "dm")
    # Fewer than 6 of 8 intervals of 95 % happen once in 170.
    assert all(count >= 6 for count in inside.values()), inside


def test_given_densities_are_those_of_the_log() -> None:
    log, bare = number_log(800), number_log(800, logged=False)
    assert log.propensities is not None
    assert log.edges is not None
    assert bare.propensities is None
    density = log.propensities / np.diff(log.edges)[log.actions]
    found, known = estimate(bare, 0.5, propensities=density), estimate(log, 0.5)
    for name, one in found.items():
        assert one.value == pytest.approx(known[name].value)
        assert "given propensities" in str(one)


@pytest.mark.parametrize("unit", [1e-3, 1e4])
def test_units_of_actions_do_not_matter(unit: float) -> None:
    def scaled(x: Any, a: Any) -> Any:
        return smooth(x, a / unit)

    usual = estimate(number_log(1000), lambda x: 0.2 + 0.5 * x[:, 0])
    log = number_log(1000, scaled, ends=(0.0, unit))
    for name, found in estimate(log, lambda x: unit * (0.2 + 0.5 * x[:, 0])).items():
        assert found.value == pytest.approx(usual[name].value, rel=1e-4)
        assert found.lower == pytest.approx(usual[name].lower, rel=1e-3)


def rising(x: Any, a: Any) -> Any:
    return np.sqrt(a + 0.1) + x


@pytest.mark.parametrize("logged", [True, False])
@pytest.mark.parametrize(
    ("reward", "shape", "is_true"),
    [
        (smooth, Concave(), True),
        (smooth, Concave(curvature=(-2.05, -1.95)), True),
        (smooth, Convex(), False),
        (smooth, Monotone(), False),
        (rising, Monotone(), True),
        (rising, Concave(), True),
        (rising, Monotone(increasing=False), False),
    ],
    ids=lambda one: getattr(one, "__name__", str(one)),
)
def test_shapes_are_rejected_if_false(
    reward: Any, shape: Any, is_true: bool, logged: bool
) -> None:
    found = check_prior(number_log(2000, reward, seed=1, logged=logged), shape, draws=500)
    assert found.verdict == ("not rejected" if is_true else "rejected")
    assert found.propensities == ("logged" if logged else "estimated")


@pytest.mark.parametrize("logged", [True, False])
def test_bounds_of_curvature_are_exact_over_ranges(logged: bool) -> None:
    curvature = 3.0
    # Few high numbers: ranges of one width would need no correction.
    shares = (np.arange(4000) + 0.5) / 4000
    numbers = 2.0 * shares**3
    log = number_steps(
        np.zeros((4000, 1), np.float32),
        numbers,
        1.0 + numbers - curvature / 2.0 * numbers**2,
        1.0 / (6.0 * shares**2) if logged else None,
        np.arange(4000),
    )

    def slack(lowest: float) -> Any:
        found = check_prior(log, Concave(curvature=(lowest, 0.0)), draws=200)
        kinds = [one for one in found.contrasts if one.kind == "curvature >="]
        return np.array([one.estimate for one in kinds])

    assert len(slack(-curvature)) > 10
    assert np.abs(slack(-curvature)).max() < 1e-4
    assert slack(-0.9 * curvature).max() < 0.0
    assert slack(-1.1 * curvature).min() > 0.0


def test_the_same_log_with_other_rewards_keeps_its_numbers() -> None:
    log = number_log(800)
    other = log.with_rewards(2.0 * log.rewards)
    bare = dataclasses.replace(log, propensities=None)
    for one in (other, bare):
        np.testing.assert_array_equal(one.numbers, log.numbers)
        np.testing.assert_array_equal(one.edges, log.edges)
        np.testing.assert_array_equal(one.actions, log.actions)
    assert other.propensities is not None
    np.testing.assert_array_equal(other.propensities, log.propensities)
    assert estimate(other, 0.5)["dr"].value == pytest.approx(
        2.0 * estimate(log, 0.5)["dr"].value, rel=1e-3
    )


def test_ranges_hold_about_equally_many_rows() -> None:
    log = number_log(800)
    assert log.action_size == 8
    assert np.ptp(np.bincount(log.actions)) <= 1
    assert log.edges is not None
    assert (log.numbers >= log.edges[log.actions]).all()
    assert (log.numbers <= log.edges[log.actions + 1]).all()
    few = number_log(30)
    assert few.action_size == 3


def test_many_equal_numbers_are_one_range_less() -> None:
    log = number_log(2000)
    assert log.numbers is not None
    numbers = np.where(log.numbers < 0.4, 0.4, log.numbers)
    log = number_steps(log.observations, numbers, log.rewards, None, log.episodes)
    assert (np.diff(log.edges) > 0.0).all()
    for found in estimate(log, 0.7).values():
        assert np.isfinite([found.value, found.lower, found.upper]).all()


def test_the_distribution_of_rewards() -> None:
    log = number_log(3000, lambda x, a: a + 0.0 * x, noise=0.1)
    found = reward_distribution(log, 0.6, show_progress=False)
    assert found.mean.value == pytest.approx(0.6, abs=0.05)


def test_one_far_number_does_not_widen_kernels() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.random(2000)
    far = np.append(numbers[1:], 20.0)
    rows, contexts = np.arange(2000), rng.random((2000, 1)).astype(np.float32)
    for of in (numbers, far):
        log = number_steps(contexts, of, 2.0 * of, np.ones(2000), rows)
        found = estimate(log, 0.5, estimators=("dr",))["dr"]
        assert found.bandwidth is not None
        assert 0.5 * of.std() < found.bandwidth <= 0.75 * of.std() < 0.5
