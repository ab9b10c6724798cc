"""The auction's closed form, against published digits and independent arithmetic."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bidclick_gym import Auction, ClippedGaussianPolicy
from bidclick_gym.auction import (
    DEFAULT_BIDS,
    MONOTONE_COST_RANGE,
    click_probability,
    expected_reward,
    optimal_bid,
)

LAST_DIGIT = 5.0e-6
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
queries = st.floats(0.0, 1.0)
costs = st.floats(0.0, 2.0)
bid_grids = st.lists(st.integers(0, 1000), min_size=3, max_size=12, unique=True).map(
    lambda numbers: np.array(sorted(numbers)) / 1000.0
)


def sigmoid_by_exponential(x: Any, bid: Any) -> npt.NDArray[np.float64]:
    """The paper's formula in another arithmetic form than the package's."""
    return 1.0 / (1.0 + np.exp(-(2.0 * np.asarray(bid) + np.asarray(x) / 2.0)))


def reward_table_by_hand(n: int, low: float, high: float) -> npt.NDArray[np.float64]:
    """Rewards of the default bids on an ``n * n`` midpoint grid, ``(n, n, 5)``."""
    middle = (np.arange(n) + 0.5) / n
    x, c = np.meshgrid(middle, low + (high - low) * middle, indexing="ij")
    bids = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    return sigmoid_by_exponential(x[..., None], bids) - c[..., None] * bids


@pytest.mark.parametrize(
    ("bid", "value"),
    [(0.0, 0.56186), (0.25, 0.60337), (0.5, 0.62630), (0.75, 0.62603), (1.0, 0.60392)],
)
def test_value_of_a_constant_bid_is_the_published_one(bid: float, value: float) -> None:
    assert Auction().value_of_constant_bid(bid) == pytest.approx(value, abs=LAST_DIGIT)


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("optimal_value", 0.63358),
        ("optimal_continuous_value", 0.63453),
        ("worst_value", 0.55215),
    ],
)
def test_best_and_worst_values_are_the_published_ones(method: str, value: float) -> None:
    assert getattr(Auction(), method)() == pytest.approx(value, abs=LAST_DIGIT)


def test_value_of_the_logging_policy_is_the_published_one() -> None:
    value = Auction().value_of_random_bid(list(ClippedGaussianPolicy().probabilities))
    assert value == pytest.approx(0.60252, abs=LAST_DIGIT)


def test_rewards_are_monotone_in_8_24_percent_of_contexts() -> None:
    """The paper's premise (``dr/da > 0``) fails in its own auction."""
    assert 100.0 * Auction().monotone_share() == pytest.approx(8.24, abs=0.005)


def test_rewards_fall_between_the_published_share_of_adjacent_bids() -> None:
    shares = Auction().falling_pairs()
    assert np.round(100.0 * shares, 1).tolist() == [0.0, 7.8, 50.5, 91.8]
    assert round(1000.0 * shares.sum()) == 1501


def test_rewards_are_concave_in_every_context() -> None:
    auction = Auction()
    slopes = np.diff(auction.reward_table(auction.contexts(200))) / np.diff(auction.bids)
    assert (np.diff(slopes) <= 1e-12).all()


def test_the_published_cost_below_which_rewards_rise_is_tight() -> None:
    """``dr/da = 2 p (1 - p) - c`` is smallest at ``a = x = 1``."""
    p = float(click_probability(1.0, 1.0))
    bound = 2.0 * p * (1.0 - p)
    assert bound == pytest.approx(0.1402, abs=5.0e-5)
    fine = tuple(np.linspace(0.0, 1.0, 101))
    below = Auction(fine, (bound - 0.01, bound))
    above = Auction(fine, (bound + 0.002, bound + 0.004))
    assert below.monotone_share(50) == 1.0
    assert 0.5 < above.monotone_share(50) < 1.0
    assert above.falling_pairs(50)[-1] > 0.0


def test_in_the_monotone_auction_the_highest_bid_is_best_everywhere() -> None:
    auction = Auction(cost_range=MONOTONE_COST_RANGE)
    assert auction.monotone_share(100) == 1.0
    assert not auction.falling_pairs(100).any()
    always_one = auction.value_of_constant_bid(1.0)
    assert auction.optimal_value(500) == pytest.approx(always_one, abs=1e-7)


@pytest.mark.parametrize("cost_range", [(0.2, 0.4), (0.05, 0.1), (0.0, 1.0)])
def test_closed_form_agrees_with_quadrature(cost_range: tuple[float, float]) -> None:
    auction = Auction(cost_range=cost_range)
    by_hand = reward_table_by_hand(200, *cost_range)
    for index, bid in enumerate(auction.bids):
        closed_form = auction.value_of_constant_bid(bid)
        assert closed_form == pytest.approx(by_hand[..., index].mean(), abs=1e-6)
        played = np.full(200 * 200, index)
        assert auction.value_of_actions(played) == pytest.approx(closed_form, abs=1e-6)
    assert auction.optimal_value(200) == pytest.approx(by_hand.max(axis=2).mean())
    assert auction.worst_value(200) == pytest.approx(by_hand.min(axis=2).mean())
    falls = (np.diff(by_hand) < 0.0).mean(axis=(0, 1))
    np.testing.assert_allclose(auction.falling_pairs(200), falls, atol=1e-12)


def test_values_of_the_best_and_of_the_continuous_bid_are_ordered() -> None:
    auction = Auction()
    table = auction.reward_table(auction.contexts(200))
    best = auction.value_of_actions(table.argmax(axis=1))
    assert best == pytest.approx(auction.optimal_value(200), abs=1e-12)
    assert best < auction.optimal_continuous_value(200) < best + 0.002


@unhurried
@given(x=queries, c=costs)
def test_optimal_bid_beats_every_bid_on_a_grid(x: float, c: float) -> None:
    grid = np.linspace(0.0, 1.0, 2001)
    bid = float(optimal_bid(x, c))
    best = (sigmoid_by_exponential(x, grid) - c * grid).max()
    assert 0.0 <= bid <= 1.0
    reward = float(sigmoid_by_exponential(x, bid) - c * bid)
    assert best - 1e-12 <= reward <= best + 1e-6


def test_optimal_bid_broadcasts_and_reaches_both_ends() -> None:
    bids = optimal_bid(np.linspace(0.0, 1.0, 3)[:, None], [0.0, 0.3, 0.5, 5.0])
    assert bids.shape == (3, 4)
    assert (bids[:, 0] == 1.0).all()
    assert ((bids[:, 1] > 0.0) & (bids[:, 1] < 1.0)).all()
    assert (bids[:, 2:] == 0.0).all()


@unhurried
@given(x=queries, c=costs, bids=bid_grids)
def test_clicks_rise_with_the_bid_and_rewards_are_concave(
    x: float, c: float, bids: npt.NDArray[np.float64]
) -> None:
    clicks = click_probability(x, bids)
    np.testing.assert_allclose(clicks, sigmoid_by_exponential(x, bids), rtol=1e-13)
    assert (np.diff(clicks) > 0.0).all()
    slopes = np.diff(expected_reward(x, c, bids)) / np.diff(bids)
    assert (np.diff(slopes) <= 1e-9).all()


def test_click_probability_survives_extreme_arguments() -> None:
    with np.errstate(all="raise"):
        assert click_probability([0.0, 0.0], [-1e6, 1e6]).tolist() == [0.0, 1.0]


def test_contexts_are_the_midpoints_of_the_stated_ranges() -> None:
    contexts = Auction(cost_range=(0.0, 0.8)).contexts(2)
    expected = [[0.25, 0.2], [0.25, 0.6], [0.75, 0.2], [0.75, 0.6]]
    np.testing.assert_allclose(contexts, expected)


def test_context_from_uniform_maps_onto_the_ranges_as_float32() -> None:
    corners = Auction().context_from_uniform([[0.0, 0.0], [1.0, 1.0], [0.5, 0.5]])
    assert corners.dtype == np.float32
    assert corners.tolist() == np.float32([[0, 0.2], [1, 0.4], [0.5, 0.3]]).tolist()


def test_an_auction_is_a_value() -> None:
    """Equality, hashing and immutability let it be a key and a default."""
    assert Auction([0, 1], [0.1, 0.2]) == Auction((0.0, 1.0), (0.1, 0.2))  # type: ignore[arg-type]
    assert hash(Auction()) == hash(Auction(DEFAULT_BIDS))
    with pytest.raises(dataclasses.FrozenInstanceError):
        Auction().bids = (0.0, 1.0)  # type: ignore[misc]


@pytest.mark.parametrize(
    "bids",
    [
        (),
        (0.5,),
        (0.5, 0.5),
        (1.0, 0.0),
        (-0.1, 1.0),
        (0.0, 1.1),
        (0.0, float("nan")),
        (0.0, "high"),
        3,
    ],
)
def test_bad_bids_are_refused_by_name(bids: Any) -> None:
    with pytest.raises(ValueError, match="strictly increasing") as caught:
        Auction(bids=bids)
    assert str(caught.value).startswith("bids must be")
    assert f"got {bids!r}" in str(caught.value)


@pytest.mark.parametrize(
    "cost_range",
    [
        (0.4, 0.2),
        (0.2, 0.2),
        (-0.1, 0.2),
        (0.2, float("inf")),
        (float("nan"), 0.2),
        (0.2,),
        (0.1, 0.2, 0.3),
        ("low", "high"),
        None,
    ],
)
def test_a_bad_cost_range_is_refused_by_name(cost_range: Any) -> None:
    with pytest.raises(ValueError, match="0 <= lowest < highest") as caught:
        Auction(cost_range=cost_range)
    assert str(caught.value).startswith("cost_range must be")
    assert f"got {cost_range!r}" in str(caught.value)


def test_probabilities_of_the_wrong_length_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"probabilities must have one .* 5 .*got 2"):
        Auction().value_of_random_bid([0.5, 0.5])
