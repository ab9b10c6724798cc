"""The hunt for broken shapes finds what is planted, and nothing where nothing is."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.engine import Origin, Results, Settings
from benchmarks.rivals.hunt import FloatArray, hunt
from benchmarks.rivals.models import BOTH, CLICKS, OURS, RISING, learners, log_of
from benchmarks.rivals.violations import EXTREME, LOGGED, ROUNDING, broken, measure
from benchmarks.rivals.violations import _compute as compute
from benchmarks.rivals.violations import _sections as sections

LOW, HIGH = np.array([-1.0, 0.0, 2.0]), np.array([1.0, 1.0, 5.0])
CENTRE = np.array([0.31, 0.77, 4.1])


def _hole(radius: float):
    """A shape broken in a box of share ``radius ** 3``, the worst in its middle."""

    def violation(points: FloatArray) -> FloatArray:
        distance = np.abs((points - CENTRE) / (HIGH - LOW)).max(axis=1) / (radius / 2.0)
        return np.maximum(1.0 - distance, 0.0)

    return violation


def test_finds_a_hole_of_a_ten_thousandth_and_its_middle():
    found = hunt(_hole(1e-4 ** (1 / 3)), LOW, HIGH, 200_000, seed=0)
    assert found.checks == 200_000
    assert found.violations > 10_000  # refining returns to it; chance alone gives 20
    assert found.largest == pytest.approx(1.0, abs=1e-3)
    assert found.worst == pytest.approx(CENTRE, abs=1e-3)


def test_descends_a_distance_to_a_hole_that_chance_would_not_meet():
    def violation(points: FloatArray) -> FloatArray:
        return 1e-4 - np.abs((points - CENTRE) / (HIGH - LOW)).max(axis=1)

    assert hunt(violation, LOW, HIGH, 100_000, seed=0).violations > 0


def test_finds_what_breaks_at_a_corner_only():
    found = hunt(lambda x: (x == LOW).all(axis=1) * 2.0, LOW, HIGH, 20_000, seed=0)
    assert found.violations > 0
    assert found.largest == 2.0


def test_finds_what_breaks_at_tiny_magnitudes_of_a_wide_box():
    def violation(points: FloatArray) -> FloatArray:
        return (np.abs(points[:, 0]) < 1e-20) * 1.0

    ends = np.full(2, 1e30)
    assert hunt(violation, -ends, ends, 20_000, seed=0).violations > 0


def test_gives_nothing_where_the_shape_holds():
    found = hunt(lambda x: np.zeros(len(x)), LOW, HIGH, 30_001, seed=0)
    assert (found.checks, found.violations, found.largest) == (30_001, 0, 0.0)
    assert found.worst is None


def test_not_a_number_is_broken():
    found = hunt(lambda x: np.full(len(x), np.nan), LOW, HIGH, 10, seed=0)
    assert (found.violations, found.largest) == (10, np.inf)


def test_is_deterministic_and_stays_in_the_box():
    seen: list[FloatArray] = []

    def violation(points: FloatArray) -> FloatArray:
        seen.append(points)
        return _hole(0.2)(points)

    assert repr(hunt(violation, LOW, HIGH, 20_000, 3)) == repr(
        hunt(violation, LOW, HIGH, 20_000, 3)
    )
    points = np.concatenate(seen)
    assert np.all((points >= LOW) & (points <= HIGH))
    assert np.array_equal(points[:20_000], points[20_000:])


@pytest.mark.parametrize(
    ("low", "high", "checks"),
    [([0.0], [1.0], 0), ([1.0], [0.0], 5), ([0.0, 0.0], [1.0], 5), ([0.0], [np.inf], 5)],
)
def test_refuses_an_empty_or_endless_box(low, high, checks):
    with pytest.raises(ValueError, match=r"low|same shape"):
        hunt(lambda x: x[:, 0], np.array(low), np.array(high), checks, seed=0)


def test_a_fall_and_a_bend_are_broken_by_what_they_are():
    bids = np.array([[0.0, 1.0, 4.0]] * 3)
    values = np.array([[0.0, 2.0, 1.5], [0.0, 0.5, 4.0], [0.0, 3.0, 4.0]])
    assert broken(bids, values, BOTH) == pytest.approx([0.5, 0.5, -1.0 / 3.0])
    assert broken(bids, values, RISING)[0] == 0.5
    assert np.all(broken(bids, values, RISING)[1:] < 0.0)


def test_equal_bids_and_infinite_values_break_nothing_and_nan_does():
    bids = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 2.0]])
    values = np.array([[0.0, 0.0], [np.inf, np.inf], [np.nan, 0.0]])
    found = broken(bids, values, RISING)
    assert np.all(found[:2] <= 0.0)
    assert np.isnan(found[2])


OUR_LEARNERS = [one for one in learners() if one.name == OURS]


@pytest.mark.parametrize("where", [LOGGED, EXTREME])
@pytest.mark.parametrize(
    "learner",
    [one for one in OUR_LEARNERS if one.log == CLICKS or one.shape == RISING],
    ids=lambda one: f"{one.settings}, {one.log}, {one.shape}",
)
def test_ours_hold_and_order_holds_to_the_last_bit(learner, where):
    row = measure(learner, learner.fit(log_of(learner.log), 2), where, 5_000)
    assert row["checks"] == 5_000
    assert row["beyond_rounding"] == 0
    assert row["largest"] <= (ROUNDING if learner.shape == BOTH else 0.0)


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    settings = Settings(tmp_path_factory.mktemp("violations"), quick=True)
    return list(compute(False, settings))


def test_trees_without_a_shape_are_caught_and_those_with_one_hold(others):
    trees = [row for row in others if row["name"] == "scikit-learn"]
    rows = {(row["settings"], row["log"]): row for row in trees}
    assert rows["monotonic_cst=None", "payments"]["beyond_rounding"] > 0
    assert rows["", "payments"]["violations"] == 0


def test_what_is_not_installed_is_named_as_not_measured(others, tmp_path):
    assert {row["name"] for row in others} >= {"lightgbm", "xgboost", "catboost"}
    missing = {**others[0], "name": "lightgbm", "version": None, "checks": 0.0}
    missing |= dict.fromkeys(("violations", "beyond_rounding", "largest"))
    rows = {"ours": [], "others": [missing, *others[:1]]}
    report = "\n".join(sections(Results(rows, Origin("", "", ""), tmp_path)))
    assert "| lightgbm (not installed) |" in report
    assert "400 checks" in report
