"""``simulate_log``, the vectorised twin of stepping the environment; no Minari here."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import numpy as np
import pytest

from bidclick_gym import (
    Auction,
    BidClickEnv,
    ClippedGaussianPolicy,
    get_log,
    simulate_log,
)
from bidclick_gym.logs import minari_id, simulate_campaign


@pytest.mark.parametrize(
    "auction",
    [Auction(), Auction((0.1, 0.9), (0.0, 1.0)), Auction(cost_range=(0.05, 0.1))],
)
def test_a_simulated_campaign_equals_stepping_the_environment(auction: Auction) -> None:
    env = BidClickEnv(50, auction.bids, auction.cost_range)
    actions = np.random.default_rng(0).integers(0, len(auction.bids), 50)
    observations, rewards, clicks = simulate_campaign(auction, actions, seed=11)
    observation, _ = env.reset(seed=11)
    assert observations.dtype == np.float32
    for i, action in enumerate(actions):
        assert observation.tobytes() == observations[i].tobytes()
        observation, reward, _, _, info = env.step(int(action))
        assert (reward, info["click"]) == (rewards[i], clicks[i])
    assert observation.tobytes() == observations[-1].tobytes()


def test_a_log_has_the_stated_columns() -> None:
    log = simulate_log(Auction(), campaigns=3, horizon=7, seed=2)
    assert log.observations.shape == (3, 8, 2)
    assert log.observations.dtype == np.float32
    for column in (log.actions, log.rewards, log.propensities, log.clicks):
        assert column.shape == (3, 7)
    assert log.impressions == 21
    assert log.bids == Auction().bids
    assert len(set(log.seeds.tolist())) == 3
    bids = np.array(log.bids)[log.actions]
    expected = log.clicks - log.observations[:, :-1, 1].astype(np.float64) * bids
    np.testing.assert_array_equal(log.rewards, expected)


def test_campaigns_and_seeds_differ_and_repeat() -> None:
    logs = [simulate_log(Auction(), campaigns=2, horizon=20, seed=s) for s in (0, 0, 1)]
    np.testing.assert_array_equal(logs[0].rewards, logs[1].rewards)
    np.testing.assert_array_equal(logs[0].observations, logs[1].observations)
    rows = [row.tolist() for log in (logs[0], logs[2]) for row in log.observations]
    assert all(a != b for a, b in itertools.combinations(rows, 2))
    rows = [row.tolist() for log in (logs[0], logs[2]) for row in log.actions]
    assert all(a != b for a, b in itertools.combinations(rows, 2))


def test_another_policy_is_logged_with_its_own_propensities() -> None:
    policy = ClippedGaussianPolicy(mean=0.9, std=0.2)
    log = simulate_log(Auction(), policy, campaigns=1, horizon=200)
    np.testing.assert_array_equal(log.propensities, policy.probabilities[log.actions])
    assert log.actions.mean() > 3.0


def test_bids_do_not_depend_on_the_contexts() -> None:
    """The logger ignores the context: its bids come from a stream of their own."""
    log = simulate_log(Auction(), campaigns=10, horizon=1000)
    for column in log.observations[:, :-1].reshape(-1, 2).T:
        assert abs(np.corrcoef(column, log.actions.reshape(-1))[0, 1]) < 0.045


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"campaigns": 0}, "campaigns must be an integer >= 1, got 0"),
        ({"campaigns": 1.0}, r"campaigns must be an integer >= 1, got 1\.0"),
        ({"horizon": 0}, "horizon must be an integer >= 1, got 0"),
        ({"horizon": True}, "horizon must be an integer >= 1, got True"),
        ({"seed": -1}, "seed must be an integer >= 0, got -1"),
        ({"seed": "a"}, "seed must be an integer >= 0, got 'a'"),
        (
            {"policy": ClippedGaussianPolicy(bids=(0.0, 1.0))},
            r"policy must bid on the auction's bids .*0\.25.*, got \(0\.0, 1\.0\)",
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        simulate_log(Auction(), **{"campaigns": 1, "horizon": 1, **arguments})


def test_dataset_ids_carry_their_seed() -> None:
    assert minari_id("bidclick/logged-v0") == "bidclick/logged-v0"
    assert minari_id("bidclick/logged-v0", 12) == "bidclick/logged-seed12-v0"
    with pytest.raises(ValueError, match="log_seed must be an integer >= 0, got -1"):
        minari_id("bidclick/logged-v0", -1)
    with pytest.raises(ValueError, match=r"dataset must be one of .*logged-v0.*got 'no'"):
        minari_id("no")


def test_without_minari_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(ImportError, match=r"needs minari: .*bidclick-icac\[icac\]"):
        get_log("bidclick/logged-v0")
