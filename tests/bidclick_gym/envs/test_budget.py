"""``BidClickBudget-v0`` under others' checks and against the campaign it plays."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidclick_gym import BidClickBudgetEnv, BidClickEnv
from bidclick_gym.auction import click_probability

VARIANTS: list[dict[str, Any]] = [
    {},
    {"impressions": 1},
    {"budget": 0.3, "impressions": 7},
    {"bids": (0.0, 0.1, 1.0), "cost_range": (0.5, 0.9)},
]
INFO_KEYS = {
    "bid",
    "asked_bid",
    "refused",
    "click",
    "click_probability",
    "payment",
    "expected_reward",
    "budget_left",
    "impressions_left",
}
CHOSEN = {"x": 0.25, "c": 0.375, "budget_left": 0.5, "impressions_left": 2}


def play(env: gym.Env[Any, Any], actions: list[Any]) -> list[Any]:
    """Everything that steps return, in a form that ``==`` compares to the last bit."""
    played: list[Any] = []
    for action in actions:
        observation, *rest = env.step(action)
        played.append([observation.dtype.str, observation.tobytes(), *rest])
    return played


@pytest.mark.parametrize("kwargs", VARIANTS)
def test_stable_baselines3_check_env_has_no_complaint(kwargs: dict[str, Any]) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checker.check_env(gym.make("BidClickBudget-v0", **kwargs))


def test_importing_the_package_by_id_registers_it_and_loads_nothing_heavy(
    fresh_python: Callable[..., str],
) -> None:
    code = (
        "import sys, gymnasium\n"
        "env = gymnasium.make('bidclick_gym:BidClickBudget-v0')\n"
        "heavy = {'torch', 'd3rlpy', 'minari', 'matplotlib', 'gym'} & set(sys.modules)\n"
        "print(env.spec.id, sorted(heavy), type(env.unwrapped).__name__)"
    )
    assert fresh_python(code) == "BidClickBudget-v0 [] BidClickBudgetEnv"


def test_the_id_stands_for_the_default_campaign() -> None:
    env = gym.make("BidClickBudget-v0").unwrapped
    assert isinstance(env, BidClickBudgetEnv)
    assert (env.campaign.budget, env.campaign.impressions) == (4.0, 50)
    assert env.campaign.bids == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert env.campaign.cost_range == (0.2, 0.4)
    assert env.auction == env.campaign.auction


def test_spaces_follow_the_arguments() -> None:
    env = BidClickBudgetEnv(bids=(0.0, 0.5, 1.0), cost_range=(0.1, 0.3))
    bounds = np.array([[0.0, 0.1, 0.0, 0.0], [1.0, 0.3, 1.0, 1.0]], dtype=np.float32)
    assert env.observation_space == gym.spaces.Box(*bounds)
    assert env.action_space == gym.spaces.Discrete(3)


def test_without_a_binding_budget_it_is_the_plain_auction_draw_by_draw() -> None:
    rich = BidClickBudgetEnv(budget=1e6, impressions=300)
    plain = BidClickEnv(horizon=300)
    observation, _ = rich.reset(seed=3)
    np.testing.assert_array_equal(observation[:2], plain.reset(seed=3)[0])
    for i in range(300):
        observation, reward, _, _, info = rich.step(i % 5)
        context, same_reward, _, _, same_info = plain.step(i % 5)
        np.testing.assert_array_equal(observation[:2], context)
        assert reward == same_reward
        assert not info["refused"]
        assert same_info == {name: info[name] for name in same_info}


def test_bids_move_the_budget_and_nothing_else_of_what_is_shown() -> None:
    shown = []
    for action in (0, 4):
        env = BidClickBudgetEnv()
        env.reset(seed=8)
        shown.append(np.array([env.step(action)[0] for _ in range(50)]))
    np.testing.assert_array_equal(shown[0][:, [0, 1, 3]], shown[1][:, [0, 1, 3]])
    assert (shown[0][:, 2] == 1.0).all()
    assert (shown[1][:, 2] < 1.0).all()


@pytest.mark.parametrize("impressions", [1, 2, 7])
def test_the_last_impression_terminates_and_the_clock_shows_it(impressions: int) -> None:
    env = gym.make("BidClickBudget-v0", impressions=impressions)
    for seed in range(2):
        observation, _ = env.reset(seed=seed)
        assert observation[3] == 1.0
        for left in range(impressions - 1, -1, -1):
            observation, _, terminated, truncated, info = env.step(1)
            assert (terminated, truncated) == (left == 0, False)
            assert observation[3] == np.float32(left / impressions)
            assert info["impressions_left"] == left
        with pytest.raises(gym.error.ResetNeeded, match="impressions are over; call"):
            env.unwrapped.step(1)


def test_information_reward_and_observation_tell_one_story() -> None:
    """Each is recomputed from what was shown before the bid and the budget so far."""
    env = BidClickBudgetEnv(budget=3.0, impressions=200)
    env.action_space.seed(0)
    (x, c, *_), info = env.reset(seed=0)
    assert set(info) == INFO_KEYS
    assert (info["budget_left"], info["impressions_left"]) == (3.0, 200)
    assert not any(info[name] for name in INFO_KEYS - {"budget_left", "impressions_left"})
    left, refusals = 3.0, 0
    for i in range(200):
        action = env.action_space.sample()
        asked = env.campaign.bids[action]
        affordable = env.campaign.is_affordable(c, left)[action]
        observation, reward, _, _, info = env.step(action)
        assert set(info) == INFO_KEYS
        assert type(info["refused"]) is bool
        assert type(reward) is float
        assert info["asked_bid"] == asked
        assert info["refused"] == (not affordable)
        assert info["bid"] == (asked if affordable else 0.0)
        assert info["payment"] == float(c) * info["bid"]
        p = float(click_probability(float(x), info["bid"]))
        assert info["click_probability"] == p
        assert info["expected_reward"] == p - info["payment"]
        assert info["click"] in (0, 1)
        assert reward == info["click"] - info["payment"]
        left -= float(c) * info["bid"]
        assert info["budget_left"] == left
        seen = env.campaign.observe(*observation[:2], left, 199 - i)
        assert observation.tobytes() == seen.tobytes()
        assert env.campaign.read(observation)[3] == 199 - i
        x, c = observation[:2]
        refusals += info["refused"]
    assert 50 < refusals < 200
    assert left < 0.1


def test_clicks_come_at_the_rate_of_the_bid_that_counts() -> None:
    env = BidClickBudgetEnv(budget=500.0, impressions=20_000)
    env.reset(seed=6)
    surprise, variance = np.zeros(2), np.zeros(2)
    for _ in range(20_000):
        info = env.step(4)[4]
        p = info["click_probability"]
        surprise[int(info["refused"])] += info["click"] - p
        variance[int(info["refused"])] += p * (1.0 - p)
    assert (variance > 100.0).all()
    assert (np.abs(surprise) < 4.5 * np.sqrt(variance)).all()


@pytest.mark.parametrize("action", [1, 2, 3, 4])
def test_a_bid_that_takes_the_whole_rest_is_paid_and_a_dearer_one_is_refused(
    action: int,
) -> None:
    env = BidClickBudgetEnv()
    price = float(np.float32(0.3)) * env.campaign.bids[action]
    for rest, refused in [
        (price, False),
        (np.nextafter(price, 1.0), False),
        (np.nextafter(price, 0.0), True),
        (0.0, True),
    ]:
        env.reset(seed=0, options={"c": 0.3, "budget_left": rest})
        observation, reward, terminated, _, info = env.step(action)
        assert info["refused"] == refused
        assert info["bid"] == (0.0 if refused else info["asked_bid"])
        assert info["payment"] == (0.0 if refused else price)
        assert info["budget_left"] == rest - info["payment"]
        assert observation[2] == np.float32(info["budget_left"] / 4.0)
        assert reward == info["click"] - info["payment"]
        assert not terminated


def test_a_refused_bid_is_a_bid_of_zero_in_all_but_name() -> None:
    steps = []
    for action in (0, 4):
        env = BidClickBudgetEnv()
        env.reset(seed=1, options={"budget_left": 0.0})
        steps.append([env.step(action) for _ in range(50)])
    for zero, one in zip(*steps, strict=True):
        np.testing.assert_array_equal(zero[0], one[0])
        assert zero[1:4] == one[1:4]
        assert not zero[4]["refused"]
        assert zero[4] == {**one[4], "asked_bid": 0.0, "refused": False}
    assert sum(step[1] for step in steps[1]) > 0.0


@settings(max_examples=60, deadline=None)
@given(
    budget=st.floats(1e-6, 10.0),
    low=st.floats(0.0, 1.0),
    width=st.floats(1e-3, 2.0),
    rest=st.floats(0.0, 1.0),
    seed=st.integers(0, 2**32 - 1),
    actions=st.lists(st.integers(0, 3), min_size=1, max_size=40),
)
def test_no_campaign_is_ever_overdrawn(
    budget: float,
    low: float,
    width: float,
    rest: float,
    seed: int,
    actions: list[int],
) -> None:
    env = BidClickBudgetEnv(
        budget, len(actions), (0.0, 0.1, 0.7, 1.0), (low, low + width)
    )
    start = min(rest * budget, budget)
    observation, _ = env.reset(seed=seed, options={"budget_left": start})
    assert env.observation_space.contains(observation)
    paid, left = [], start
    for action in actions:
        price = float(observation[1]) * env.campaign.bids[action]
        observation, _, _, _, info = env.step(action)
        assert env.observation_space.contains(observation)
        assert info["refused"] == (price > left)
        assert info["payment"] in (0.0, price)
        assert 0.0 <= info["budget_left"] == left - info["payment"]
        left = info["budget_left"]
        paid.append(info["payment"])
    # Each subtraction rounds once, by at most half a unit in the last place of budget.
    assert math.fsum(paid) <= start + len(paid) * math.ulp(budget)


def test_reset_options_choose_the_start() -> None:
    env = BidClickBudgetEnv()
    drawn, _ = env.reset(seed=3)
    contexts = [env.step(1)[0][:2] for _ in range(2)]
    for names in (("x",), ("c", "budget_left"), ("impressions_left",), tuple(CHOSEN)):
        options = {name: CHOSEN[name] for name in names}
        observation, _ = env.reset(seed=3, options=options)
        shares = {"x": drawn[0], "c": drawn[1], "budget_left": 4, "impressions_left": 50}
        shares.update(options)
        expected = [shares["x"], shares["c"]]
        expected += [shares["budget_left"] / 4, shares["impressions_left"] / 50]
        assert observation.tolist() == np.float32(expected).tolist()
        assert options == {name: CHOSEN[name] for name in names}
        for context in contexts:
            after, _, terminated, _, _ = env.step(1)
            np.testing.assert_array_equal(after[:2], context)
        assert terminated == ("impressions_left" in names)
    assert env.reset()[0][2:].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("budget_left", "impressions_left"),
    [(0, 1), (4, 50), (4.0, np.int64(50)), (np.float32(0.5), np.uint8(1))],
)
def test_reset_options_may_lie_on_the_bounds(
    budget_left: Any, impressions_left: Any
) -> None:
    env = BidClickBudgetEnv()
    options = {"budget_left": budget_left, "impressions_left": impressions_left}
    observation, _ = env.reset(seed=0, options=options)
    assert env.observation_space.contains(observation)
    info = env.step(0)[4]
    assert info["budget_left"] == budget_left
    assert type(info["budget_left"]) is float
    assert info["impressions_left"] == int(impressions_left) - 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": 1.5}, r"'x' must be .* \[0, 1\], got 1\.5"),
        ({"c": "cheap"}, r"'c' must be .* \[0\.2, 0\.4\], got 'cheap'"),
        ({"c": math.nan}, r"'c' must be .* \[0\.2, 0\.4\], got nan"),
        ({"budget_left": -0.1}, r"'budget_left' must be a number in \[0, 4\], got -0\.1"),
        ({"budget_left": 4.1}, r"'budget_left' must be a number in \[0, 4\], got 4\.1"),
        ({"budget_left": math.nan}, "'budget_left' must be .* got nan"),
        ({"budget_left": "1"}, "'budget_left' must be .* got '1'"),
        ({"budget_left": None}, "'budget_left' must be .* got None"),
        ({"budget_left": True}, "'budget_left' must be .* got True"),
        ({"budget_left": [1.0]}, r"'budget_left' must be .* got \[1\.0\]"),
        ({"impressions_left": 0}, r"'impressions_left' must be .* \[1, 50\], got 0"),
        ({"impressions_left": 51}, r"'impressions_left' must be .* \[1, 50\], got 51"),
        ({"impressions_left": 2.0}, r"'impressions_left' must be .* got 2\.0"),
        ({"impressions_left": True}, "'impressions_left' must be .* got True"),
        ({"impressions_left": None}, "'impressions_left' must be .* got None"),
        ({"budget": 1.0}, r"among \('x', 'c', 'budget_left', .*\), got \['budget'\]"),
    ],
)
def test_bad_reset_options_are_refused_by_name_and_change_nothing(
    options: dict[str, Any], message: str
) -> None:
    env, twin = BidClickBudgetEnv(), BidClickBudgetEnv()
    for each in (env, twin):
        each.reset(seed=0)
    good = {"budget_left": 1.0, "impressions_left": 3}
    with pytest.raises(ValueError, match=message):
        env.reset(seed=7, options={**good, **options})
    assert play(env, [2] * 50) == play(twin, [2] * 50)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"budget": 0.0}, r"budget must be a finite number > 0, got 0\.0"),
        ({"budget": -1}, "budget must be a finite number > 0, got -1"),
        ({"budget": math.inf}, "budget must be a finite number > 0, got inf"),
        ({"budget": math.nan}, "budget must be a finite number > 0, got nan"),
        ({"budget": "4"}, "budget must be a finite number > 0, got '4'"),
        ({"budget": True}, "budget must be a finite number > 0, got True"),
        ({"impressions": 0}, "impressions must be an integer >= 1, got 0"),
        ({"impressions": 5.0}, r"impressions must be an integer >= 1, got 5\.0"),
        ({"bids": (0.25, 0.5)}, r"bids must begin with 0, .* got \(0\.25, 0\.5\)"),
        ({"bids": (0.0,)}, r"bids must be at least two .* got \(0\.0,\)"),
        ({"bids": 3}, r"bids must be .* \[0, 1\], got 3"),
        ({"cost_range": (1, 0)}, r"cost_range must be \(lowest, .*, got \(1, 0\)"),
        ({"render_mode": "human"}, r"render_mode must be None or .*ansi.*, got 'human'"),
    ],
)
def test_bad_arguments_are_refused_by_name(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BidClickBudgetEnv(**kwargs)


def test_ansi_shows_what_is_left_and_what_was_refused() -> None:
    env = BidClickBudgetEnv(render_mode="ansi")
    env.reset(seed=0, options=CHOSEN)
    shown = env.render()
    assert shown.startswith("context x=0.250 c=0.375")
    assert shown.endswith("no bid yet; budget 0.500, 2 impressions left")
    env.step(4)
    paid = env.render()
    assert "bid 1: " in paid
    assert paid.startswith("context x=0.250 c=0.375")
    assert paid.endswith("; budget 0.125, 1 impressions left")
    env.step(4)
    refused = env.render()
    assert "bid 0 (1 refused): " in refused
    assert "paid 0.000" in refused
    assert refused.endswith("; budget 0.125, 0 impressions left")


def test_rgb_array_shows_what_is_left_and_draws_no_random_number() -> None:
    pytest.importorskip("matplotlib")
    env = BidClickBudgetEnv(render_mode="rgb_array")
    pictures = []
    for budget_left in (0.5, 1.5):
        env.reset(seed=0, options={**CHOSEN, "budget_left": budget_left})
        state = env.np_random.bit_generator.state
        pictures.append(env.render())
        assert env.np_random.bit_generator.state == state
    for picture in pictures:
        assert picture.shape == (400, 600, 3)
        assert picture.dtype == np.uint8
    assert (pictures[0] != pictures[1]).any()
