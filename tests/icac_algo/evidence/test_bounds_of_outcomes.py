"""Outcomes and known costs: the same bounds as those of a shape that says as much."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import pytest

from icac_algo import Bounded, Intersection, KnownCost, Monotone, Outcome
from icac_algo.data import LoggedSteps
from icac_algo.evidence import Bounds
from icac_algo.evidence import bounds as all_bounds

from .shape_worlds import EVEN, GAPS, action_log

bounds = functools.partial(all_bounds, show_progress=False)
BIDS = [0.0, 0.5, 1.0, 1.5, 2.0]
CHANCES = np.array([0.1, 0.3, 0.5, 0.6, 0.65])
MONEY = [
    Outcome("click", Monotone(actions=BIDS), link="logit", weight="2.0"),
    Outcome(weight="-x1 * action"),
]
WINS = [
    Outcome("value", given="won", depends_on_action=False),
    Outcome("won", Monotone(actions=BIDS), link="logit", weight="-action"),
]


def click_log(count: int, chances: Any = GAPS, seed: int = 0) -> LoggedSteps:
    """A click is worth 2; each action costs x1 times its bid."""
    log = action_log(count, chances, seed=seed)
    click = np.random.default_rng(seed + 100).random(count) < CHANCES[log.actions]
    cost = log.observations[:, 1].astype(np.float64) * np.array(BIDS)[log.actions]
    columns = {"click": click.astype(np.float64), "won": click.astype(np.float64)}
    return dataclasses.replace(log, rewards=2.0 * click - cost, columns=columns)


def win_log(count: int, chances: Any = GAPS) -> LoggedSteps:
    """A win is worth 1 to 2, and costs the bid."""
    log = click_log(count, chances)
    won = log.columns["won"]
    value = won * (1.0 + log.observations[:, 0])
    rewards = value - won * np.array(BIDS)[log.actions]
    return dataclasses.replace(log, rewards=rewards, columns={"won": won, "value": value})


def same(found: Bounds, other: Bounds, **error: float) -> None:
    for name in ("lower", "upper", "least", "greatest"):
        for one, two in ((found.total, other.total), (found.lift, other.lift)):
            assert getattr(one, name) == pytest.approx(getattr(two, name), **error), name


@pytest.mark.parametrize("action", [2, 4])
def test_a_weighted_click_and_a_cost_are_a_bounded_shape_with_known_cost(
    action: int,
) -> None:
    log = click_log(3000)
    shape = Intersection(
        [Monotone(), Bounded(0.0, 2.0)], actions=BIDS, known_cost=KnownCost(1)
    )
    found = bounds(log, action, MONEY)
    same(found, bounds(log, action, shape), abs=5e-3)
    assert found.total.lower <= 2.0 * CHANCES[action] - BIDS[action] / 2.0
    assert found.total.upper >= 2.0 * CHANCES[action] - BIDS[action] / 2.0
    # Unseen, its chance is at least that of the next bid and at most 1.
    if action == 4:
        assert found.total.greatest == pytest.approx(2.0 - 1.0, abs=0.05)


def test_words_are_the_same_outcomes() -> None:
    words = ["click: monotone; link=logit; weight=2.0", "weight=-0.5 * x1 * action"]
    ends = [Outcome("click", Monotone(), link="logit", weight="2.0"), words[1]]
    log = click_log(800)
    log = log.with_rewards(
        2.0 * log.columns["click"] - 0.5 * log.observations[:, 1] * log.actions / 4.0
    )
    assert bounds(log, 4, words) == bounds(log, 4, ends)


def test_a_known_cost_alone_shifts_the_bounds() -> None:
    log = action_log(2000, GAPS)
    cost = 3.0 * log.observations[:, 0].astype(np.float64) * np.array(BIDS)[log.actions]
    net = log.with_rewards(log.rewards - cost)
    shape = Intersection([Monotone(), Bounded(-1.0, 2.0)], actions=BIDS)
    charged = dataclasses.replace(shape, known_cost=KnownCost(0, 3.0))
    found, gross = bounds(net, 4, charged).total, bounds(log, 4, shape).total
    paid = 3.0 * log.observations[:, 0].astype(np.float64).mean() * BIDS[4]
    assert found.least == pytest.approx(gross.least - paid, abs=1e-9)
    assert found.greatest == pytest.approx(gross.greatest - paid, abs=1e-9)
    # What is known of an action that was never tried is used.
    assert math.isfinite(found.upper)


def test_a_value_given_a_win_rises_as_wins_do() -> None:
    log = win_log(4000)
    found = bounds(log, 4, WINS).total
    # At bid 2: at least value and chance of bid 1.5, less a bid that is paid at most 1.
    seen = 1.5 * CHANCES[3]
    assert found.least == pytest.approx(seen - 2.0 * 1.0, abs=0.1)
    assert found.greatest == math.inf
    assert "Bounded values would" in found.problem
    value = Outcome("value", Bounded(0.0, 2.0, actions=BIDS), given="won")
    capped = [value, WINS[1]]
    above = bounds(log, 4, capped).total
    assert above.greatest == pytest.approx(2.0 - 2.0 * CHANCES[3], abs=0.1)
    logged = bounds(log, 2, WINS)
    truth = CHANCES[2] * (1.5 - BIDS[2])
    assert logged.total.lower <= truth <= logged.total.upper
    assert logged.total.upper - logged.total.lower < 0.2


@pytest.mark.parametrize("unit", [1e6, 1e-6])
def test_a_weights_unit_does_not_matter(unit: float) -> None:
    log = click_log(2000)

    def in_units(unit: float) -> Bounds:
        click = Outcome("click", Monotone(), link="logit", weight=f"{unit:g}")
        return bounds(log.with_rewards(unit * log.columns["click"]), 4, [click])

    usual, found = in_units(1.0), in_units(unit)
    for name in ("lower", "upper", "least", "greatest"):
        scaled = unit * getattr(usual.total, name)
        assert getattr(found.total, name) == pytest.approx(scaled, rel=1e-6)


def test_a_chain_of_products_has_every_ones_shape() -> None:
    # A sale needs a click: both chances rise, so does that of a sale, which is below 1.
    log = click_log(3000, EVEN)
    sold = log.columns["click"] * (np.random.default_rng(9).random(3000) < 0.4)
    columns = {"click": log.columns["click"], "sold": sold}
    log = dataclasses.replace(log, rewards=5.0 * sold, columns=columns)
    rising = Monotone(actions=BIDS)
    chain = [
        Outcome("click", rising, link="logit", weight="0"),
        Outcome("sold", rising, link="logit", weight="5", given="click"),
    ]
    whole = Intersection([Monotone(), Bounded(0.0, 5.0)], actions=BIDS)
    for policy in (1, 4):
        same(bounds(log, policy, chain), bounds(log, policy, whole), abs=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": {}}, r"must have the column 'click', has \[\]"),
        ({"columns": {"click": np.full(50, 2.0)}}, "click"),
        ({"columns": {"click": np.full(50, np.nan)}}, "click"),
        ({"columns": {"click": np.zeros(49)}}, "click"),
        ({"rewards": np.full(50, 7.0)}, "reward"),
    ],
)
def test_columns_that_do_not_fit(changes: Any, message: str) -> None:
    log = click_log(50)
    with pytest.raises(ValueError, match=message):
        bounds(dataclasses.replace(log, **changes), 0, MONEY)
