"""Theorems hold on every campaign; the checks notice when something does not."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bidclick_gym.auction import Auction
from bidclick_gym.campaigns import BudgetedCampaign, Solution, solve

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from shape_report import ShapeCheck, shape_report, shape_table

DOCS = pathlib.Path(__file__).parents[3] / "docs"
BORDER = "Q rises with b and falls with c where refusal ends"


def by_name(solution: Solution, **arguments: Any) -> dict[str, ShapeCheck]:
    return {row.shape: row for row in shape_report(solution, **arguments)}


def small(**changes: Any) -> Solution:
    campaign = BudgetedCampaign(**{"budget": 0.8, "impressions": 8, **changes})
    return solve(campaign, nodes=8, budget_points=201)


# Here a single impression can lose money.
@example(budget=1.0, bids=[1, 2, 19], low=0.5, width=0.5)
@settings(deadline=None, max_examples=10)
@given(
    budget=st.floats(0.02, 3.0),
    bids=st.lists(st.integers(1, 20), min_size=1, max_size=4, unique=True),
    low=st.floats(0.0, 0.6),
    width=st.floats(0.01, 0.5),
)
def test_theorems_hold_on_every_campaign(
    budget: float, bids: list[int], low: float, width: float
) -> None:
    allowed = (0.0, *(bid / 20 for bid in sorted(bids)))
    solution = small(budget=budget, bids=allowed, cost_range=(low, low + width))
    theorems = [row for row in shape_report(solution, contexts=6) if row.is_theorem]
    assert len(theorems) == 8
    assert {row.largest for row in theorems if row.largest > 1e-12} == set()
    assert {row.share for row in theorems} == {0.0}


@pytest.mark.parametrize(
    ("shape", "change"),
    [
        ("V rises with b", lambda v: v[:, ::-1]),
        ("Q rises with b, bid paid or refused at both", lambda v: v[:, ::-1]),
        ("Q falls with c, bid paid or refused at both", lambda v: v[:, ::-1]),
        ("max Q rises with b", lambda v: v[:, ::-1]),
        # With money that only burdens, a rising cost sheds it.
        ("max Q falls with c", lambda v: 9.0 * v[:, ::-1]),
        ("V rises with k", lambda v: v[::-1]),
        ("Q rises with k", lambda v: v[::-1]),
    ],
)
def test_a_false_solution_breaks_its_theorem(shape: str, change: Any) -> None:
    solution = small()
    false = dataclasses.replace(solution, values=change(solution.values))
    row = by_name(false)[shape]
    assert row.largest > 1e-3
    assert row.share > 0.0
    assert row.where != ""
    assert f"{shape} | BROKEN THEOREM" in shape_table([row])


def test_concavity_in_the_budget_is_the_distance_to_the_concave_majorant() -> None:
    solution = small(impressions=1)
    bent = np.array([0.0, 0.1, 0.5, 0.6, 0.7])
    false = dataclasses.replace(
        solution,
        budgets=np.linspace(0.0, 0.8, 5),
        values=np.stack([np.zeros(5), bent]),
    )
    row = by_name(false)["V concave in b"]
    assert row.largest == pytest.approx(0.15)
    assert row.mean == pytest.approx(0.15 / 5)
    assert row.share == pytest.approx(1 / 5)
    assert row.where == "k = 1, b = 0.200"


def test_where_refusal_ends_the_last_impression_jumps_by_its_reward() -> None:
    rewards = Auction().reward_table(Auction().contexts(20))
    fall = np.maximum(rewards[:, :1] - rewards[:, 1:], 0.0)
    row = by_name(small(), contexts=20, impressions=[1])[BORDER]
    assert row.largest == pytest.approx(fall.max(), abs=1e-12)
    assert row.mean == pytest.approx(fall.mean(), abs=1e-12)
    assert row.share == pytest.approx((fall > 0.0).mean())


def test_without_a_later_impression_the_shapes_in_the_bid_are_theorems() -> None:
    rows = by_name(small(), impressions=[1])
    assert rows["Q concave in the bid"].largest == 0.0
    assert rows["Q + c a rises with the bid"].largest == 0.0


def test_more_impressions_may_each_be_worth_more() -> None:
    """So concavity in the impressions, which the default campaign has, is no theorem."""
    solution = small(
        budget=0.256,
        impressions=12,
        bids=(0.0, 0.24, 0.69, 0.95),
        cost_range=(0.219, 0.229),
    )
    assert by_name(solution)["V concave in k"].largest > 0.01


def test_the_page_on_shapes_has_the_table_of_today() -> None:
    report = shape_report(solve())
    assert shape_table(report) in (DOCS / "campaigns" / "shapes.md").read_text("utf-8")
