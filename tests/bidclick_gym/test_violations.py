"""Counting broken shapes: what is an error, how large, and what is only rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from bidclick_gym import Auction
from bidclick_gym.evaluators import (
    STATISTICS,
    ViolationEvaluator,
    fixed_contexts,
    shape_shortfalls,
)

AUCTION = Auction()
BIDS = AUCTION.bid_array
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
tables = nps.arrays(np.float64, (3, 5), elements=st.floats(-100.0, 100.0, width=32))


def every_context(row: Any) -> Any:
    return np.tile(np.asarray(row, dtype=np.float64), (1000, 1))


def test_count_mean_and_largest_shortfall_differ_as_they_should() -> None:
    values = every_context([0.0, -1.0, 1.0, 0.5, 0.5])
    values[0, 1] = -3.0
    count, mean, largest = (
        ViolationEvaluator(AUCTION, "monotone", statistic=statistic).of_values(values)
        for statistic in STATISTICS
    )
    assert STATISTICS == ("count", "mean", "max")
    assert count == 2000.0
    assert mean == pytest.approx((999 * 1.5 + 3.5) / 4000.0)
    assert largest == 3.0


def test_the_known_cost_is_that_of_each_context() -> None:
    """Values that are minus the cost are flat once the cost is added back."""
    cost = fixed_contexts(AUCTION)[:, 1:].astype(np.float64) * BIDS
    flat = (0.7 - cost).astype(np.float32)
    plain = ViolationEvaluator(AUCTION, "monotone")
    gross = ViolationEvaluator(AUCTION, "monotone", known_cost=True)
    assert plain.of_values(flat) == 4000.0
    assert gross.of_values(flat) == 0.0
    assert gross.of_values(flat - 1e-3 * BIDS) == 4000.0
    largest = ViolationEvaluator(AUCTION, "monotone", True, "max")
    assert largest.of_values(-2.0 * cost) == pytest.approx(0.1, abs=1e-3)


def test_monotone_comparisons_without_a_cost_have_no_tolerance() -> None:
    q = np.array([[1.0, np.nextafter(1.0, 0.0), np.nextafter(1.0, 0.0)]])
    assert np.count_nonzero(shape_shortfalls(q, BIDS[:3], "monotone")) == 1


@pytest.mark.parametrize("scale", [1.0, 1000.0, 1e-3])
def test_a_known_cost_is_compared_to_a_millionth_of_the_row(scale: float) -> None:
    cost = np.zeros((1, 3))
    within = np.array([[scale, scale * (1.0 - 0.9e-6), scale]])
    beyond = np.array([[scale, scale * (1.0 - 1.1e-6), scale]])
    assert not shape_shortfalls(within, BIDS[:3], "monotone", cost).any()
    counted = shape_shortfalls(beyond, BIDS[:3], "monotone", cost)
    assert counted[0] == pytest.approx([scale * 1.1e-6, 0.0])


@pytest.mark.parametrize(("scale", "tolerance"), [(1.0, 1e-6), (1e3, 1e-3), (1e-3, 1e-6)])
def test_curvature_is_compared_to_a_millionth_of_the_row_or_of_one(
    scale: float, tolerance: float
) -> None:
    for excess, counted in ((0.9, 0), (1.1, 1)):
        q = np.array([[scale, scale, scale + excess * tolerance]])
        assert np.count_nonzero(shape_shortfalls(q, BIDS[:3], "concave")) == counted


def test_the_tolerance_is_each_rows_own() -> None:
    q = np.array([[0.0, 0.0, 1e-4], [1e3, 1e3, 1e3 + 1e-4]])
    assert (shape_shortfalls(q, BIDS[:3], "concave") > 0.0).tolist() == [[True], [False]]


@unhurried
@given(q=tables)
def test_shortfalls_at_even_bids_are_plain_differences(q: Any) -> None:
    rises = shape_shortfalls(q, BIDS, "monotone")
    np.testing.assert_array_equal(rises, np.maximum(-np.diff(q), 0.0))
    bends = shape_shortfalls(q, BIDS, "concave")
    tolerance = np.maximum(1e-6 * np.abs(q).max(axis=1, keepdims=True), 1e-6)
    plain = np.maximum(np.diff(q, n=2), 0.0)
    assert (np.abs(bends - plain) <= 1.001 * tolerance).all()
    both = shape_shortfalls(q, BIDS, "monotone_concave")
    np.testing.assert_array_equal(both, np.concatenate([rises, bends], axis=1))


@unhurried
@given(
    slope=st.floats(-5.0, 5.0),
    bend=st.floats(0.0, 5.0),
    bids=st.lists(st.integers(0, 20), min_size=3, max_size=8, unique=True),
)
def test_concave_functions_pass_at_any_spacing(
    slope: float, bend: float, bids: list[int]
) -> None:
    positions = np.array(sorted(bids)) / 20.0
    q = (slope * positions - bend * positions**2)[None]
    assert not shape_shortfalls(q, positions, "concave").any()
    curved = shape_shortfalls(q + 7.0 * positions**2, positions, "concave")
    assert (curved > 0.0).all()


def test_an_uneven_kink_is_seen_where_index_differences_would_not() -> None:
    positions = np.array([0.0, 0.9, 1.0])
    convex = np.array([[0.0, 0.5, 0.7]])
    assert np.diff(convex, n=2)[0, 0] < 0.0
    assert shape_shortfalls(convex, positions, "concave")[0, 0] > 0.0


@pytest.mark.parametrize("shape", ["concave", "monotone_concave"])
@pytest.mark.parametrize("statistic", STATISTICS)
def test_two_bids_have_no_curvature_to_miss(shape: str, statistic: str) -> None:
    evaluator = ViolationEvaluator(Auction((0.0, 1.0)), shape, statistic=statistic)
    assert evaluator.of_values(np.zeros((1000, 2))) == 0.0


@pytest.mark.parametrize("shape", ["monotone", "concave"])
def test_a_diverged_critic_is_not_reported_as_flawless(shape: str) -> None:
    values = every_context([np.nan] * 5)
    try:
        count = ViolationEvaluator(AUCTION, shape).of_values(values)
    except ValueError:
        return
    assert count != 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": "convex"}, r"shape must be one of .*'monotone'.*, got 'convex'"),
        ({"statistic": "sum"}, r"statistic must be one of .*'count'.*, got 'sum'"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ViolationEvaluator(AUCTION, **arguments)
