"""``BidClick-v0`` under Gymnasium's own checks and against the auction it plays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from bidclick_gym import BidClickEnv
from bidclick_gym.auction import DEFAULT_BIDS, click_probability, expected_reward

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("BidClick-v0", {}),
    ("BidClick-v0", {"horizon": 5}),
    ("BidClick-v0", {"continuous": True}),
    ("BidClick-v0", {"continuous": True, "horizon": 5, "cost_range": (0.0, 1.0)}),
    ("BidClick-v0", {"bids": (0.0, 0.1, 1.0), "cost_range": (0.5, 0.9)}),
    ("BidClickMonotone-v0", {}),
    ("BidClickMonotone-v0", {"horizon": 5, "bids": (0.2, 0.4)}),
]
INFO_KEYS = {"bid", "click", "click_probability", "payment", "expected_reward"}


def play(env: gym.Env[Any, Any], actions: list[Any]) -> list[Any]:
    """Everything that steps return, in a form that ``==`` compares to the last bit."""
    played: list[Any] = []
    for action in actions:
        observation, *rest = env.step(action)
        played.append([observation.dtype.str, observation.tobytes(), *rest])
    return played


def test_importing_the_package_by_id_registers_it_and_loads_nothing_heavy(
    fresh_python: Callable[..., str],
) -> None:
    code = (
        "import sys, gymnasium\n"
        "env = gymnasium.make('bidclick_gym:BidClick-v0')\n"
        "heavy = {'torch', 'd3rlpy', 'minari', 'matplotlib', 'gym'} & set(sys.modules)\n"
        "print(env.spec.id, sorted(heavy), 'BidClickMonotone-v0' in gymnasium.registry)"
    )
    assert fresh_python(code) == "BidClick-v0 [] True"


def test_the_ids_stand_for_their_auctions() -> None:
    default = gym.make("BidClick-v0").unwrapped
    monotone = gym.make("BidClickMonotone-v0").unwrapped
    assert isinstance(default, BidClickEnv)
    assert isinstance(monotone, BidClickEnv)
    assert default.auction.cost_range == (0.2, 0.4)
    assert monotone.auction.cost_range == (0.05, 0.10)
    assert default.auction.bids == monotone.auction.bids == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert (default.horizon, default.continuous, default.render_mode) == (1, False, None)


def test_spaces_follow_the_arguments() -> None:
    env = BidClickEnv(bids=(0.0, 0.5, 1.0), cost_range=(0.1, 0.3))
    bounds = np.array([[0.0, 0.1], [1.0, 0.3]], dtype=np.float32)
    assert env.observation_space == gym.spaces.Box(*bounds)
    assert env.action_space == gym.spaces.Discrete(3)
    bid_itself = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
    assert BidClickEnv(continuous=True).action_space == bid_itself


def test_one_environment_does_not_move_another() -> None:
    quiet, busy = (gym.make("BidClick-v0", horizon=10) for _ in range(2))
    quiet.reset(seed=2)
    expected = play(quiet, [2] * 10)
    quiet.reset(seed=2)
    busy.reset(seed=3)
    play(busy, [4] * 10)
    assert play(quiet, [2] * 10) == expected


def test_one_impression_terminates_and_a_campaign_truncates() -> None:
    single = gym.make("BidClick-v0")
    for seed in range(3):
        single.reset(seed=seed)
        assert single.step(2)[2:4] == (True, False)
    campaign = gym.make("BidClick-v0", horizon=4)
    for _ in range(2):
        campaign.reset(seed=0)
        flags = [campaign.step(2)[2:4] for _ in range(4)]
        assert flags == [(False, False)] * 3 + [(False, True)]


@pytest.mark.parametrize("continuous", [False, True])
def test_info_and_reward_tell_one_story(continuous: bool) -> None:
    """Each is recomputed from the context that was shown before the bid."""
    env = BidClickEnv(horizon=200, continuous=continuous)
    env.action_space.seed(0)
    (x, c), info = env.reset(seed=0)
    assert {name: (type(value), value) for name, value in info.items()} == {
        "bid": (float, 0.0),
        "click": (int, 0),
        "click_probability": (float, 0.0),
        "payment": (float, 0.0),
        "expected_reward": (float, 0.0),
    }
    for _ in range(200):
        action = env.action_space.sample()
        bid = float(action[0]) if continuous else DEFAULT_BIDS[action]
        observation, reward, _, _, info = env.step(action)
        assert set(info) == INFO_KEYS
        assert info["bid"] == bid
        assert info["click"] in (0, 1)
        assert type(reward) is float
        assert reward == info["click"] - info["payment"]
        assert info["payment"] == pytest.approx(float(c) * bid)
        probability = 1.0 / (1.0 + math.exp(-2.0 * bid - float(x) / 2.0))
        assert info["click_probability"] == pytest.approx(probability)
        assert info["expected_reward"] == pytest.approx(probability - info["payment"])
        x, c = observation


def test_information_is_the_auctions_to_the_last_bit() -> None:
    env = BidClickEnv(horizon=2000)
    (x, c), _ = env.reset(seed=1)
    for i in range(2000):
        observation, _, _, _, info = env.step(i % 5)
        x, c = float(x), float(c)
        assert info["click_probability"] == float(click_probability(x, info["bid"]))
        assert info["expected_reward"] == float(expected_reward(x, c, info["bid"]))
        x, c = observation


def test_clicks_come_at_the_stated_rate() -> None:
    env = BidClickEnv(horizon=20_000)
    env.reset(seed=6)
    rng = np.random.default_rng(0)
    surprise, variance = np.zeros(5), np.zeros(5)
    for action in rng.integers(0, 5, 20_000):
        info = env.step(int(action))[4]
        p = info["click_probability"]
        surprise[action] += info["click"] - p
        variance[action] += p * (1.0 - p)
    assert (np.abs(surprise) < 4.5 * np.sqrt(variance)).all()


def test_contexts_are_uniform_and_independent_of_bids_and_clicks() -> None:
    contexts = []
    for action in (4, 0):
        env = BidClickEnv(horizon=5000)
        env.reset(seed=8)
        steps = [env.step(action) for _ in range(5000)]
        contexts.append(np.array([step[0] for step in steps]))
    clicks = np.array([step[4]["click"] for step in steps])
    np.testing.assert_array_equal(contexts[0], contexts[1])
    uniform = (contexts[0] - [0.0, 0.2]) / [1.0, 0.2]
    for column in uniform.T:
        assert abs(np.corrcoef(column, clicks)[0, 1]) < 0.065
        quantiles = np.quantile(column, [0.0, 0.25, 0.5, 0.75, 1.0])
        np.testing.assert_allclose(quantiles, [0.0, 0.25, 0.5, 0.75, 1.0], atol=0.035)
    assert abs(np.corrcoef(uniform.T)[0, 1]) < 0.065
    assert abs(np.corrcoef(uniform[:-1, 0], uniform[1:, 0])[0, 1]) < 0.065
