"""Odd logs and policies: ends that are numbers, or the reason why there are none."""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
from typing import Any

import numpy as np
import pytest

from icac_algo import Bounded, Concave, Intersection, Monotone, SlopeBounds
from icac_algo.data import LoggedSteps
from icac_algo.data.steps import number_steps
from icac_algo.evidence import SupportWarning, check_prior
from icac_algo.evidence import bounds as all_bounds
from icac_algo.evidence import compare as all_compare
from icac_algo.evidence import estimate as all_estimate

from .shape_worlds import GAPS, action_log, number_log

bounds = functools.partial(all_bounds, show_progress=False, as_bandit=True)
compare = functools.partial(all_compare, show_progress=False, as_bandit=True)
estimate = functools.partial(all_estimate, show_progress=False, as_bandit=True)
SHAPE = Intersection([Concave(), Bounded(-10.0, 10.0)])
ACTIONS, NUMBERS = action_log(400, GAPS), number_log(400)


def with_propensity(log: LoggedSteps, value: float) -> LoggedSteps:
    assert log.propensities is not None
    changed = log.propensities.copy()
    changed[3] = value
    return dataclasses.replace(log, propensities=changed)


def with_equal_numbers(share: float) -> LoggedSteps:
    assert NUMBERS.numbers is not None
    numbers = NUMBERS.numbers.copy()
    numbers[int(400 * (1.0 - share)) :] = 0.3
    return number_steps(
        NUMBERS.observations, numbers, NUMBERS.rewards, None, NUMBERS.episodes
    )


def moved(log: LoggedSteps, by: float) -> LoggedSteps:
    assert log.numbers is not None
    assert log.edges is not None
    return dataclasses.replace(log, numbers=log.numbers + by, edges=log.edges + by)


ONE = np.zeros(400, np.int64)
ODD: dict[str, tuple[LoggedSteps, Any]] = {
    "constant observations": (
        dataclasses.replace(NUMBERS, observations=np.ones((400, 1), np.float32)),
        0.5,
    ),
    "constant rewards, numbers": (NUMBERS.with_rewards(np.full(400, 3.0)), 0.5),
    "constant rewards, actions": (ACTIONS.with_rewards(np.full(400, 3.0)), 2),
    "no rewards, numbers": (NUMBERS.with_rewards(np.zeros(400)), 0.5),
    "no rewards, actions": (ACTIONS.with_rewards(np.zeros(400)), 4),
    "an action never logged": (ACTIONS, 4),
    "one action": (action_log(300, [0.0, 0.0, 1.0, 0.0, 0.0]), 2),
    "one action, another chosen": (action_log(300, [0.0, 0.0, 1.0, 0.0, 0.0]), 4),
    "2 rows": (action_log(2), 2),
    "25 rows": (action_log(25), 2),
    "25 rows, estimated": (action_log(25, propensities=None), 2),
    "25 numbers": (number_log(25), 0.5),
    "25 numbers, estimated": (number_log(25, logged=False), 0.5),
    "one episode": (dataclasses.replace(NUMBERS, episodes=ONE), 0.5),
    "one episode, actions": (
        dataclasses.replace(ACTIONS, episodes=ONE),
        2,
    ),
    "a tiny density": (with_propensity(NUMBERS, 1e-12), lambda x: 0.3 + 0.4 * x[:, 0]),
    "a tiny propensity": (with_propensity(ACTIONS, 1e-12), lambda x: ACTIONS.actions),
    "half of all numbers equal": (with_equal_numbers(0.5), 0.3),
    "nearly all numbers equal": (with_equal_numbers(0.93), 0.3),
    "numbers far from 0": (moved(NUMBERS, 1e8), 1e8 + 0.5),
    "the lowest action": (NUMBERS, 0.0),
    "the highest action": (NUMBERS, 1.0),
    "far beyond": (NUMBERS, -50.0),
    "great rewards": (NUMBERS.with_rewards(1e12 * NUMBERS.rewards), 0.5),
}


@pytest.mark.parametrize(("log", "policy"), ODD.values(), ids=ODD)
def test_ends_are_numbers_or_their_lack_has_a_reason(
    log: LoggedSteps, policy: Any
) -> None:
    # No warning but that of support.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SupportWarning)
        found = estimate(log, policy)
        compared = compare(log, {"it": policy}, prior=SHAPE, safe=True)
    for one in found.values():
        assert np.isnan(one.lower) == bool(one.no_interval)
        assert one.no_interval or one.lower <= one.value <= one.upper
    proven = bounds(log, policy, SHAPE)
    # Not a number is no other number.
    assert repr(compared["it"].bounds) == repr(proven)
    for each in (proven.total, proven.lift):
        assert not np.isnan([each.least, each.greatest]).any()
        missing = np.isnan([each.lower, each.upper])
        assert not missing.any() or each.problem
        assert missing.any() or each.lower <= each.upper
    if compared.best is not None:
        assert proven.lift.lower >= 0.0
    check = check_prior(log, SHAPE, draws=100)
    assert check.verdict in ("not rejected", "cannot tell", "rejected")


def test_constant_rewards_are_known_exactly() -> None:
    for log, policy in ((NUMBERS, 0.5), (ACTIONS, 2)):
        found = bounds(log.with_rewards(np.full(400, 3.0)), policy, Monotone())
        if policy == 2:
            assert found.total.lower == pytest.approx(3.0)
        assert found.total.least == pytest.approx(3.0)


@pytest.mark.parametrize("unit", [1e-13, 1e-7, 1e9])
def test_units_of_actions_do_not_matter(unit: float) -> None:
    log = action_log(400, GAPS)
    for scale, shape in ((1.0, Monotone()), (unit, SlopeBounds(-1.0, 3.0))):
        slopes = [None if s is None else s / unit for s in (-1.0, 3.0)]
        named = list(unit * np.linspace(0.0, 1.0, 5))
        other = SlopeBounds(*slopes) if scale == unit else shape
        for action in (1, 4):
            usual = bounds(log, action, shape).total
            found = bounds(log, action, dataclasses.replace(other, actions=named)).total
            for end in ("lower", "upper", "least", "greatest"):
                assert getattr(found, end) == pytest.approx(getattr(usual, end), rel=1e-9)


@pytest.mark.parametrize("by", [1e3, 1e7])
def test_where_numbers_begin_does_not_matter(by: float) -> None:
    shape = Intersection([Concave(), SlopeBounds(-4.0, 4.0)])
    for log in (NUMBERS, dataclasses.replace(NUMBERS, propensities=None)):
        usual, found = bounds(log, 0.9, shape), bounds(moved(log, by), by + 0.9, shape)
        for end in ("lower", "upper", "least", "greatest"):
            same = getattr(usual.total, end)
            assert getattr(found.total, end) == pytest.approx(same, abs=1e-5)


def test_a_slope_at_one_action_needs_no_gap() -> None:
    # Rounding makes no infinite slope times a gap of 1e-17 of it.
    positions = list(np.array([0.1, 0.2, 0.30000000000000004, 0.4, 0.7]) * 3.0)
    found = bounds(action_log(1000), 2, Monotone(actions=positions)).total
    assert math.isfinite(found.lower)
    assert math.isfinite(found.upper)
