"""``simulate_budget_log``, the vectorised twin of stepping the environment."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from bidclick_gym import fingerprint
from bidclick_gym.campaigns import BudgetedCampaign, PacedPolicy, UnpacedPolicy, evaluate
from bidclick_gym.envs import BidClickBudgetEnv
from bidclick_gym.logs import BudgetLog, simulate_budget_log

SMALL = BudgetedCampaign(budget=0.7, impressions=9)
CAMPAIGNS = [
    BudgetedCampaign(),
    SMALL,
    BudgetedCampaign(0.3, 20, (0.0, 0.1, 0.7, 0.9), (0.0, 1.0)),
    BudgetedCampaign(impressions=1),
]


@pytest.mark.parametrize("policy", [UnpacedPolicy, PacedPolicy])
@pytest.mark.parametrize("campaign", CAMPAIGNS)
def test_every_campaign_equals_stepping_the_environment(
    campaign: BudgetedCampaign, policy: Any
) -> None:
    log = simulate_budget_log(campaign, policy(campaign), campaigns=12, seed=5)
    env = BidClickBudgetEnv(
        campaign.budget, campaign.impressions, campaign.bids, campaign.cost_range
    )
    for i, seed in enumerate(log.seeds.tolist()):
        observation, _ = env.reset(seed=seed)
        for t in range(campaign.impressions):
            assert observation.tobytes() == log.observations[i, t].tobytes()
            observation, reward, terminated, truncated, info = env.step(log.actions[i, t])
            assert reward == log.rewards[i, t]
            assert info["click"] == log.clicks[i, t]
            assert info["refused"] == log.refused[i, t]
            assert terminated == (t == campaign.impressions - 1)
            assert not truncated
        assert observation.tobytes() == log.observations[i, -1].tobytes()


def test_a_log_has_the_stated_columns() -> None:
    log = simulate_budget_log(SMALL, campaigns=4, seed=2)
    assert log.observations.shape == (4, 10, 4)
    assert log.observations.dtype == np.float32
    columns = (log.actions, log.rewards, log.propensities, log.clicks, log.refused)
    assert [column.shape for column in columns] == [(4, 9)] * 5
    assert log.refused.dtype == bool
    assert log.impressions == 36
    assert log.bids == SMALL.bids
    assert len(set(log.seeds.tolist())) == 4
    np.testing.assert_array_equal(log.observations[:, 0, 2:], 1.0)
    clock = np.arange(9, -1, -1).astype(np.float32) / np.float32(9)
    np.testing.assert_allclose(log.observations[0, :, 3], clock, rtol=1e-6)


def test_refused_bids_keep_their_action_and_count_as_nothing() -> None:
    log = simulate_budget_log(SMALL, campaigns=400)
    bids = np.array(log.bids)[log.actions]
    c = log.observations[:, :-1, 1].astype(np.float64)
    paid = np.where(log.refused, 0.0, c * bids)
    left = SMALL.budget - np.cumsum(paid, axis=1)
    before = left + paid
    assert 0.2 < log.refused.mean() < 0.8
    assert left.min() >= -1e-12
    assert (bids[log.refused] > 0.0).all()
    assert ((c * bids)[log.refused] > before[log.refused] - 1e-12).all()
    np.testing.assert_allclose(log.rewards, log.clicks - paid, atol=1e-12)
    shown = log.observations[:, 1:, 2].astype(np.float64) * SMALL.budget
    np.testing.assert_allclose(shown, left, atol=1e-7)
    # The action that was asked for, in the logger's frequencies, refused or not.
    shares = np.bincount(log.actions.reshape(-1), minlength=5) / log.actions.size
    expected = UnpacedPolicy(SMALL).bidder.probabilities
    assert np.abs(shares - expected).max() < 0.03


@pytest.mark.parametrize("policy", [UnpacedPolicy(SMALL), PacedPolicy(SMALL, 0.3, 0.01)])
def test_propensities_are_the_policys_in_the_logged_state(policy: Any) -> None:
    log = simulate_budget_log(SMALL, policy, campaigns=30)
    states = log.observations[:, :-1].reshape(-1, 4)
    expected = policy.probabilities_of(states)[np.arange(270), log.actions.reshape(-1)]
    np.testing.assert_array_equal(log.propensities.reshape(-1), expected)


def test_logs_repeat_for_one_seed_and_differ_between_seeds() -> None:
    root = np.random.SeedSequence(3, spawn_key=(1,))
    seeds = [0, 0, 1, 2, root, root]
    first, again, *others = (
        simulate_budget_log(SMALL, campaigns=20, seed=seed) for seed in seeds
    )
    assert fingerprint(first) == fingerprint(again)
    digests = [fingerprint(log) for log in (first, *others)]
    assert len(set(digests)) == 4
    assert digests[-1] == digests[-2]
    assert (root.n_children_spawned, others[-1].seeds.max() > 2**32) == (0, True)


def test_the_fingerprint_notices_every_column() -> None:
    log = simulate_budget_log(SMALL, campaigns=2)
    seen = {fingerprint(log)}
    for field in dataclasses.fields(BudgetLog):
        column = np.array(getattr(log, field.name))
        column.flat[-1] = not column.flat[-1] if column.dtype == bool else 7
        seen.add(fingerprint(dataclasses.replace(log, **{field.name: column})))
    assert len(seen) == len(dataclasses.fields(BudgetLog)) + 1


@pytest.mark.parametrize("policy", [UnpacedPolicy(SMALL), PacedPolicy(SMALL)])
def test_logged_profits_average_to_the_exact_value(policy: Any) -> None:
    profits = simulate_budget_log(SMALL, policy, campaigns=20_000).rewards.sum(axis=1)
    value = evaluate(policy.probabilities_of, SMALL, nodes=8, budget_points=401)
    assert abs(profits.mean() - value) < 4.0 * profits.std() / np.sqrt(20_000)


def test_pacing_earns_more_than_not_looking_at_the_budget() -> None:
    campaign = BudgetedCampaign()
    grid = {"nodes": 8, "budget_points": 101}
    logged = evaluate(UnpacedPolicy(campaign).probabilities_of, campaign, **grid)
    paced = evaluate(PacedPolicy(campaign).probabilities_of, campaign, **grid)
    assert (logged, paced) == pytest.approx((29.417, 30.139), abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"campaigns": 0}, "campaigns must be an integer >= 1, got 0"),
        ({"campaigns": 2.0}, r"campaigns must be an integer >= 1, got 2\.0"),
        ({"seed": -1}, "seed must be an integer >= 0, got -1"),
        ({"seed": None}, "seed must be an integer >= 0, got None"),
        (
            {"policy": PacedPolicy(BudgetedCampaign())},
            r"policy must bid in the campaign .*budget=0\.7.*, got one for .*budget=4\.0",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        simulate_budget_log(SMALL, **{"campaigns": 1, **arguments})
