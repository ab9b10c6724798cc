"""Logging policies of campaigns: propensities are exact and sampled from."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidclick_gym import ClippedGaussianPolicy
from bidclick_gym.campaigns import (
    BudgetedCampaign,
    CampaignPolicy,
    PacedPolicy,
    UnpacedPolicy,
)

CAMPAIGN = BudgetedCampaign()
STATES = CAMPAIGN.observe(
    [0.5, 0.5, 0.1, 0.9, 0.5, 0.5],
    [0.30, 0.39, 0.25, 0.21, 0.30, 0.20],
    [4.0, 4.0, 0.1, 0.9, 0.0, 4.0],
    [50, 50, 1, 3, 50, 0],
)
# The largest bid whose payment is within .08, .08, .1, .3, 0 and 4.
AIMS = [1, 0, 1, 4, 0, 4]


def test_the_unpaced_policy_is_the_papers_logger_in_every_state() -> None:
    policy = UnpacedPolicy(CAMPAIGN)
    logger = ClippedGaussianPolicy()
    expected = np.tile(logger.probabilities, (6, 1))
    np.testing.assert_array_equal(policy.probabilities_of(STATES), expected)
    drawn = policy.sample(np.random.default_rng(3), STATES)
    np.testing.assert_array_equal(drawn, logger.sample(np.random.default_rng(3), 6))
    few = BudgetedCampaign(bids=(0.0, 1.0))
    assert UnpacedPolicy(few, 0.9, 0.2).bidder == ClippedGaussianPolicy(
        0.9, 0.2, (0.0, 1.0)
    )


def test_the_paced_policy_explores_around_what_the_pace_can_pay() -> None:
    found = PacedPolicy(CAMPAIGN, temperature=0.2, floor=0.05).probabilities_of(STATES)
    for row, aim in zip(found, AIMS, strict=True):
        weights = [math.exp(-abs(a - CAMPAIGN.bids[aim]) / 0.2) for a in CAMPAIGN.bids]
        expected = [0.05 + 0.75 * weight / sum(weights) for weight in weights]
        assert row.tolist() == pytest.approx(expected, rel=1e-12)


@settings(deadline=None, max_examples=50)
@given(
    c=st.floats(0.2, 0.4),
    share=st.floats(0.0, 1.0),
    k=st.integers(1, 50),
    temperature=st.floats(1e-3, 1e3),
    floor=st.floats(0.0, 0.2),
)
def test_paced_probabilities_are_a_distribution_with_a_floor(
    c: float, share: float, k: int, temperature: float, floor: float
) -> None:
    state = CAMPAIGN.observe(0.5, c, share * CAMPAIGN.budget, k)[None]
    p = PacedPolicy(CAMPAIGN, temperature, floor).probabilities_of(state)[0]
    assert p.sum() == pytest.approx(1.0, abs=1e-12)
    assert p.min() >= floor - 1e-15
    aim = int(PacedPolicy(CAMPAIGN, 1e-2, 0.0).probabilities_of(state)[0].argmax())
    _, seen_c, seen_b, _ = CAMPAIGN.read(state)
    payments = seen_c * CAMPAIGN.auction.bid_array
    assert payments[aim] <= seen_b / k
    assert (payments[aim + 1 :] > seen_b / k).all()
    assert p[aim] == p.max()


@pytest.mark.parametrize("policy", [UnpacedPolicy(CAMPAIGN), PacedPolicy(CAMPAIGN)])
def test_bids_are_drawn_with_the_stated_probabilities(policy: CampaignPolicy) -> None:
    n = 20_000
    rng = np.random.default_rng(0)
    for state, expected in zip(STATES, policy.probabilities_of(STATES), strict=True):
        drawn = policy.sample(rng, np.tile(state, (n, 1)))
        assert (drawn.dtype, drawn.shape) == (np.int64, (n,))
        shares = np.bincount(drawn, minlength=5) / n
        spread = np.sqrt(expected * (1.0 - expected) / n)
        assert (np.abs(shares - expected) < 4.5 * spread).all()


@pytest.mark.parametrize(
    ("policy", "arguments", "message"),
    [
        (UnpacedPolicy, {"mean": math.nan}, "mean must be .*finite.*, got nan"),
        (UnpacedPolicy, {"std": 0.0}, r"std must be .* > 0, got 0\.0"),
        (PacedPolicy, {"temperature": 0.0}, r"temperature must be .* > 0, got 0\.0"),
        (PacedPolicy, {"temperature": True}, "temperature must be .* > 0, got True"),
        (PacedPolicy, {"temperature": math.inf}, "temperature must be .* got inf"),
        (PacedPolicy, {"floor": -0.1}, r"floor must be .*\[0, 0\.2\], got -0\.1"),
        (PacedPolicy, {"floor": 0.21}, r"floor must be .*\[0, 0\.2\], got 0\.21"),
        (PacedPolicy, {"floor": "0"}, r"floor must be .*\[0, 0\.2\], got '0'"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    policy: Any, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        policy(CAMPAIGN, **arguments)
