"""Comparisons that also say what a shape proves, and that choose by what is proven."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from icac_algo import Bounded, Intersection, Monotone, MonotoneConcave
from icac_algo.evidence import SupportWarning
from icac_algo.evidence import bounds as all_bounds
from icac_algo.evidence import compare as all_compare

from .shape_worlds import CURVE, GAPS, action_log, number_log

bounds = functools.partial(all_bounds, show_progress=False)
compare = functools.partial(all_compare, show_progress=False)
CAPPED = Intersection([MonotoneConcave(), Bounded(-0.5, 1.6)])
POLICIES: dict[str, Any] = {"none": 0, "middle": 2, "high": 3, "top": 4}
never_logged = pytest.mark.filterwarnings("ignore::icac_algo.evidence.SupportWarning")


@never_logged
def test_the_best_is_the_one_that_is_proven_to_be_best() -> None:
    log = action_log(2000, GAPS)
    found = compare(log, POLICIES, prior=CAPPED, safe=True)
    proven = {name: bounds(log, policy, CAPPED) for name, policy in POLICIES.items()}
    for name, one in proven.items():
        assert found[name].bounds == one
        assert found[name].safe == one.safe
    lowest = {name: one.lift.lower for name, one in proven.items()}
    assert found.best == max(lowest, key=lambda name: lowest[name])
    # The top was never tried; its value is at least that of what is below.
    assert found.best in ("high", "top")
    assert f"{found.best} is at least as good as the logger" in found.explanation
    assert f"{lowest[found.best]:.4g} or more" in found.explanation
    assert not proven["none"].safe


@pytest.mark.parametrize("prior", [None, Bounded(-5.0, 5.0)], ids=["none", "bounded"])
def test_the_best_is_not_the_highest_estimate_of_a_few_rows(prior: Any) -> None:
    rare = np.array([0.3, 0.2, 0.2, 0.24, 0.06])
    log = action_log(2500, rare, curve=[0.0, 0.5, 0.8, 1.0, 1.01], seed=1)
    policies = {"often tried": 3, "rarely tried": 4}
    usual = compare(log, policies, prior=prior)
    assert usual.best == "rarely tried"
    assert compare(log, policies, prior=prior, safe=True).best == "often tried"


@never_logged
def test_a_lone_policy_that_was_never_tried_can_be_safe_by_its_shape() -> None:
    log = action_log(2000, GAPS)
    assert compare(log, {"top": 4}, safe=True).best is None
    found = compare(log, {"top": 4}, prior="monotone", safe=True)
    assert found.best == "top"
    assert "at least as good as the logger" in str(found)
    # A shape that proves nothing of it leaves the logger.
    nothing = compare(log, {"top": 4}, prior=Monotone(increasing=False), safe=True)
    assert nothing.best is None
    assert "stay with it" in str(nothing)


def test_without_a_prior_safe_goes_by_estimates() -> None:
    log = action_log(2000)
    found = compare(log, POLICIES, safe=True)
    assert all(policy.bounds is None for policy in found.policies)
    lower = {p.name: p.lift_lower for p in found.policies if p.lift_lower >= 0.0}
    assert found.best == max(lower, key=lambda name: lower[name]) == "top"
    assert "by the shape" not in found.table()
    assert compare(log, {"none": 0}, safe=True).best is None
    assert compare(log, {"none": 0}).best == "none"


@never_logged
def test_a_prior_changes_no_estimate_and_adds_a_column() -> None:
    log = action_log(2000, GAPS)
    usual = compare(log, POLICIES)
    found = compare(log, POLICIES, prior=CAPPED)
    assert [p.name for p in found.policies] == [p.name for p in usual.policies]
    assert [p.estimate.figures for p in found.policies] == [
        p.estimate.figures for p in usual.policies
    ]
    # Without safe=True the best is the best estimate still.
    assert found.best == usual.best
    table = found.table().splitlines()
    assert "| by the shape [95%] |" in table[0]
    assert len({line.count("|") for line in table}) == 1
    for policy in found.policies:
        assert policy.bounds is not None
        row = next(line for line in table if line.startswith(f"| {policy.name} |"))
        assert f"| {policy.bounds.total.figures} |" in row


@never_logged
def test_a_contradicted_shape_is_said_and_proves_nothing() -> None:
    log = action_log(3000, curve=CURVE[::-1])
    shape = Intersection([Monotone(), Bounded(0.0, 2.0)])
    found = compare(log, {"middle": 2}, prior=shape, safe=True)
    assert found.best is None
    assert "no response of this shape agrees with the log" in found.table()


@never_logged
@pytest.mark.parametrize("prior", [CAPPED, Monotone()], ids=["finite", "infinite"])
def test_the_picture_has_what_is_proven(prior: Any) -> None:
    found = compare(action_log(1000, GAPS), {"top": 4, "middle": 2}, prior=prior)
    axes = found.plot().axes[0]
    orange = [line for line in axes.lines if line.get_color() == "#e08e0b"]
    drawn = {tuple(np.round(np.asarray(line.get_xdata()), 9)) for line in orange}
    ends = [p.bounds.total for p in found.policies if p.bounds is not None]
    assert drawn == {
        (round(one.lower, 9), round(one.upper, 9))
        for one in ends
        if np.isfinite([one.lower, one.upper]).all()
    }
    assert "orange: what the shape proves" in axes.get_xlabel()


def test_of_numbers() -> None:
    log = number_log(1500)
    found = compare(
        log,
        {"half": 0.5, "rule": lambda x: 0.3 + 0.4 * x[:, 0]},
        prior="concave",
        safe=True,
    )
    assert found.best == "rule"
    for policy in found.policies:
        assert policy.bounds is not None
        total, value = policy.bounds.total, policy.estimate.value
        assert total.lower < value < total.upper
    with pytest.warns(SupportWarning, match="actions that the log never has"):
        compare(log, {"beyond": 1.5}, prior="concave")


@pytest.mark.parametrize("safe", [1, "yes", None])
def test_safe_is_a_flag(safe: Any) -> None:
    with pytest.raises(ValueError, match=f"safe must be True or False, got {safe!r}"):
        compare(action_log(50), {"a": 0}, safe=safe)
