"""What a shape proves of a policy: against linear programs, the truth and itself."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from icac_algo import (
    Bounded,
    Concave,
    Intersection,
    Monotone,
    MonotoneConcave,
    SlopeBounds,
)
from icac_algo.data import LoggedSteps
from icac_algo.evidence import Bounds, estimate
from icac_algo.evidence import bounds as all_bounds
from icac_algo.shapes import Constraint

from .shape_worlds import CURVE, EVEN, GAPS, action_log, number_log, smooth

bounds = functools.partial(all_bounds, show_progress=False)
CAPPED = Intersection([MonotoneConcave(), Bounded(-0.5, 1.6)])


def mixture(observations: Any) -> Any:
    """A policy that draws, more boldly where x1 is high."""
    bold = observations[:, 1:2].astype(np.float64)
    timid, top = np.array([0.2, 0.4, 0.4, 0.0, 0.0]), np.array([0.0, 0.1, 0.2, 0.3, 0.4])
    return (1.0 - bold) * timid + bold * top


def program(shape: Constraint, chances: Any, action: int, sign: float) -> float:
    """The lowest, or with sign -1 the highest, value of an action."""
    seen = np.flatnonzero(chances > 0.0)
    matrix, bound = shape.shape_set().inequalities(shape.positions(len(CURVE)))
    found = linprog(
        sign * np.eye(len(CURVE))[action],
        A_ub=-matrix,
        b_ub=1e-10 - bound,
        A_eq=np.eye(len(CURVE))[seen],
        b_eq=CURVE[seen],
        bounds=(None, None),
    )
    return sign * float(found.fun) if found.status == 0 else -sign * math.inf


@pytest.mark.parametrize("chances", [EVEN, GAPS], ids=["even", "gaps"])
@pytest.mark.parametrize(
    "shape",
    [
        Monotone(),
        MonotoneConcave(),
        CAPPED,
        SlopeBounds(-1.0, 3.0),
        Intersection([Concave(), SlopeBounds(-1.0, 3.0)]),
    ],
    ids=repr,
)
def test_without_noise_they_are_those_of_linear_programs(
    shape: Constraint, chances: Any
) -> None:
    log = action_log(2000, chances, noise=0.0, slope=0.0)
    for action in range(5):
        found = bounds(log, action, shape).total
        lowest, highest = (program(shape, chances, action, sign) for sign in (1.0, -1.0))
        assert found.least == pytest.approx(lowest, abs=2e-3)
        assert found.greatest == pytest.approx(highest, abs=2e-3)


@pytest.mark.parametrize("chances", [EVEN, GAPS], ids=["even", "gaps"])
def test_the_truth_is_inside(chances: Any) -> None:
    inside = 0
    for seed in range(12):
        log = action_log(1000, chances, seed=seed)
        found = bounds(log, 4, CAPPED).total
        inside += found.lower <= CURVE[4] <= found.upper
    # Of 12 intervals of 95 %, one in 500 worlds has fewer.
    assert inside >= 9


def test_the_truth_of_a_policy_that_draws_is_inside() -> None:
    # x1 is uniform, and rewards do not depend on it.
    truth = float((mixture(np.full((1, 2), 0.5)) @ CURVE)[0])
    inside = 0
    for seed in range(5):
        found = bounds(action_log(1500, GAPS, seed=seed), mixture, CAPPED).total
        inside += found.lower <= truth <= found.upper
        assert found.lower < found.least < found.greatest < found.upper
    assert inside >= 4


def test_with_overlap_they_are_the_doubly_robust_interval() -> None:
    log = action_log(4000)
    for policy in (2, mixture):
        found = bounds(log, policy, CAPPED)
        dr = estimate(log, policy, estimators=("dr",), show_progress=False)["dr"]
        assert found.total.upper - found.total.lower < 1.3 * (dr.upper - dr.lower)
        assert found.total.least == pytest.approx(dr.value, abs=0.02)
        assert found.own > 0.5


def test_without_overlap_the_shape_decides() -> None:
    log = action_log(3000, GAPS)
    capped = bounds(log, 4, CAPPED)
    assert capped.own == 0.0
    assert capped.total.problem == ""
    assert 0.9 < capped.total.lower < capped.total.least
    assert capped.total.greatest < capped.total.upper < 1.5
    alone = bounds(log, 4, Monotone())
    assert alone.total.upper == alone.total.greatest == math.inf
    assert alone.lift.upper == math.inf
    assert 0.9 < alone.total.lower < 1.0
    assert "nothing bounds 100.0% of its decisions from above" in alone.total.problem
    assert "Bounded values would" in str(alone)
    half = bounds(log, lambda x: np.where(x[:, 0] < 0.5, 0, 4), Monotone())
    share = (log.observations[:, 0] >= 0.5).mean()
    assert f"nothing bounds {share:.1%} of its decisions" in half.total.problem


def test_the_lift_is_the_value_less_the_loggers() -> None:
    log = action_log(3000, GAPS)
    found = bounds(log, 4, CAPPED)
    assert found.safe
    for one in ("least", "greatest"):
        gap = getattr(found.total, one) - getattr(found.lift, one)
        assert gap == pytest.approx(log.rewards.mean())
    worse = bounds(log, 0, CAPPED)
    assert worse.lift.upper < 0.0
    assert not worse.safe


def test_regions_are_named_and_hold_at_once() -> None:
    log = action_log(3000, GAPS)
    halves = {"low": lambda x: x[:, 0] < 0.5, "high": lambda x: x[:, 0] >= 0.5}
    found = bounds(log, 4, CAPPED, regions=halves)
    alone = bounds(log, 4, CAPPED, regions={"low": halves["low"]})
    assert list(found.regions) == ["low", "high"]
    low, single = found.regions["low"], alone.regions["low"]
    assert (low.least, low.greatest) == (single.least, single.greatest)
    assert low.lower < single.lower < single.upper < low.upper
    # The level alone: 97.5 % for 95 %.
    assert (low.least - low.lower) / (single.least - single.lower) == pytest.approx(
        2.2414 / 1.96, rel=0.01
    )
    # Where x0 is low rewards are lower by a quarter.
    high = found.regions["high"]
    assert high.least - low.least == pytest.approx(0.25, abs=0.05)
    shares = low.share * low.least + high.share * high.least
    assert shares == pytest.approx(found.total.least)
    assert "low (50% of the log): [" in str(found).replace("49%", "50%")


def test_a_false_shape_is_said() -> None:
    log = action_log(4000, curve=CURVE[::-1])
    found = bounds(log, 2, Intersection([Monotone(), Bounded(0.0, 2.0)]))
    assert found.contradiction is not None
    assert found.contradiction > 0.1
    assert not found.safe
    assert "no response of this shape agrees with the log" in str(found)
    # Not even where the lower end is above the logger's value.
    assert found.lift.lower > 0.0
    true = bounds(log, 2, Monotone(increasing=False))
    assert true.contradiction is None


def test_estimated_propensities_do_too() -> None:
    log = action_log(4000, propensities=None)
    known = action_log(4000)
    assert known.propensities is not None
    assert log.source == "estimated"
    found, exact = bounds(log, mixture, CAPPED), bounds(known, mixture, CAPPED)
    assert found.total.least == pytest.approx(exact.total.least, abs=0.02)
    given = bounds(log, mixture, CAPPED, propensities=known.propensities)
    assert given == exact


def test_episodes_are_one_piece_of_evidence() -> None:
    log = action_log(2000, GAPS, slope=0.0)
    # Ten copies of every row prove no more than one.
    copied = LoggedSteps(
        *(np.repeat(getattr(log, name), 10, axis=0) for name in COLUMNS), action_size=5
    )
    with pytest.raises(ValueError, match="as_bandit=True"):
        bounds(copied, 4, CAPPED)
    one, ten = (
        bounds(log, 4, CAPPED).total,
        bounds(copied, 4, CAPPED, as_bandit=True).total,
    )
    assert ten.upper - ten.greatest == pytest.approx(one.upper - one.greatest, rel=0.2)
    apart = dataclasses.replace(copied, episodes=np.arange(len(copied)))
    sure = bounds(apart, 4, CAPPED).total
    assert sure.upper - sure.greatest < 0.5 * (one.upper - one.greatest)


COLUMNS = ("observations", "actions", "rewards", "propensities", "episodes")


def test_the_same_seed_gives_the_same() -> None:
    log = action_log(1000, GAPS)
    assert bounds(log, mixture, CAPPED, seed=3) == bounds(log, mixture, CAPPED, seed=3)
    assert bounds(log, mixture, CAPPED, seed=3) != bounds(log, mixture, CAPPED, seed=4)


def test_the_order_of_episodes_does_not_matter() -> None:
    # Each of ten episodes is a fold of its own, whatever the order.
    log = action_log(2000, GAPS, episodes=np.repeat(np.arange(10), 200))
    turned = LoggedSteps(
        *(getattr(log, name)[::-1] for name in COLUMNS[:-1]), log.episodes, 5
    )
    found, again = (bounds(one, 4, CAPPED, as_bandit=True) for one in (log, turned))
    for one in ("lower", "upper", "least", "greatest"):
        same = getattr(found.total, one)
        assert getattr(again.total, one) == pytest.approx(same, abs=1e-3)


@pytest.mark.parametrize("unit", [10.0, 1e-6, 1e9])
def test_bounds_have_the_unit_of_rewards(unit: float) -> None:
    def in_units(unit: float, of_actions: float) -> Bounds:
        log = action_log(2000, GAPS)
        log = log.with_rewards(unit * log.rewards)
        shape = Intersection(
            [
                Concave(curvature=(-9.0 * unit / of_actions**2, 0.0)),
                SlopeBounds(-unit / of_actions, 4.0 * unit / of_actions),
                Bounded(-0.5 * unit, 1.6 * unit),
            ],
            actions=list(of_actions * np.linspace(0.0, 1.0, 5)),
        )
        return bounds(log, mixture, shape)

    usual, found = in_units(1.0, 1.0).total, in_units(unit, 100.0).total
    for one in ("lower", "upper", "least", "greatest"):
        assert getattr(found, one) == pytest.approx(unit * getattr(usual, one), rel=1e-6)


def test_of_numbers_the_truth_is_inside() -> None:
    shape = Intersection([Concave(curvature=(-2.5, 0.0)), Bounded(-1.0, 1.5)])

    def bold(x: Any) -> Any:
        return 0.6 + 0.6 * x[:, 0]

    inside = 0
    for seed in range(3):
        log = number_log(1000, seed=seed)
        truth = smooth(log.observations[:, 0], bold(log.observations)).mean()
        found = bounds(log, bold, shape).total
        inside += found.lower <= truth <= found.upper
        assert found.upper - found.lower < 0.5
    assert inside >= 2


def test_no_end_is_beyond_what_is_certain() -> None:
    # So few rows that the interval alone would be wider than the values can be.
    rng = np.random.default_rng(0)
    contexts = rng.random((25, 1)).astype(np.float32)
    rewards = rng.normal(0.0, 1.0, 25)
    log = LoggedSteps(contexts, np.arange(25) % 5, rewards, None, np.arange(25), 5)
    shape = Intersection([Concave(), Bounded(-0.1, 0.1)])
    halves = {"low": lambda x: x[:, 0] < 0.5, "high": lambda x: x[:, 0] >= 0.5}
    found = bounds(log, 3, shape, regions=halves)
    for one in (found.total, *found.regions.values()):
        assert one.lower >= -0.1
        assert one.upper <= 0.1


def test_propensities_that_are_not_the_loggers_are_said() -> None:
    rng = np.random.default_rng(0)
    actions = rng.integers(0, 5, 1000)
    rewards = 0.1 * actions + rng.normal(0.0, 0.1, 1000)
    rows, contexts = np.arange(1000), rng.random((1000, 1)).astype(np.float32)
    for propensity, is_said in ((0.2, False), (0.1, True)):
        given = np.full(1000, propensity)
        log = LoggedSteps(contexts, actions, rewards, given, rows, 5)
        found = bounds(log, 4, SlopeBounds(0.0, 1.0))
        assert bool(found.flaw) == is_said
        assert ("propensities are not the logger's" in str(found)) == is_said
        # The highest action is better than what was done, beyond all doubt.
        assert found.safe != is_said
