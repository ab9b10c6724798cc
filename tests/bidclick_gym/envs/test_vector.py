"""``gym.make_vec("BidClick-v0")``: one batch, many ``BidClickEnv`` in distribution."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from bidclick_gym import BidClickVectorEnv

MODES = getattr(gym.vector, "AutoresetMode", None)
VARIANTS: list[dict[str, Any]] = [
    {},
    {"horizon": 3},
    {"continuous": True, "horizon": 3},
    {"bids": (0.0, 0.1, 1.0), "cost_range": (0.5, 0.9)},
]
NAMES = ("bid", "click", "click_probability", "payment", "expected_reward")


def act(env: Any, rng: np.random.Generator) -> Any:
    env.action_space.seed(int(rng.integers(1000)))
    return env.action_space.sample()


@pytest.mark.parametrize("horizon", [1, 3, 10])
def test_counting_by_the_mask_never_counts_a_slot_that_resets(horizon: int) -> None:
    env = BidClickVectorEnv(4, horizon)
    env.reset(seed=0)
    counted = 0
    for step in range(1, 45):
        _, rewards, _, _, info = env.step(np.full(4, 1))
        played = info["_click"]
        counted += int(played.sum())
        assert (rewards[~played] == 0.0).all()
        assert (rewards[played] != 0.0).all()
        full, rest = divmod(step, horizon + 1)
        assert counted == 4 * (full * horizon + min(rest, horizon))


@settings(max_examples=40, deadline=None)
@given(
    mode=st.sampled_from(["next_step", "same_step", "disabled"]),
    horizon=st.integers(1, 4),
    masks=st.lists(st.tuples(*[st.booleans()] * 3), max_size=12),
)
def test_episodes_out_of_step_keep_their_own_time(
    mode: str, horizon: int, masks: list[tuple[bool, ...]]
) -> None:
    """Masked resets put sub-environments out of step; each is counted by hand."""
    env = BidClickVectorEnv(3, horizon, autoreset_mode=mode)
    shown, _ = env.reset(seed=1)
    age, over = np.zeros(3, int), np.zeros(3, bool)
    for chosen in masks:
        mask = np.array(chosen) | (over if mode == "disabled" else False)
        if mask.any():
            fresh, _ = env.reset(options={"reset_mask": mask})
            np.testing.assert_array_equal(fresh[~mask], shown[~mask])
            assert (fresh[mask] != shown[mask]).all()
            shown, age, over = fresh, np.where(mask, 0, age), over & ~mask
        before, resets = shown, over
        shown, rewards, *flags, info = env.step([4, 4, 4])
        age = np.where(resets, 0, age + 1)
        over = age >= horizon
        np.testing.assert_array_equal(flags[0] | flags[1], over)
        np.testing.assert_array_equal(rewards == 0.0, resets)
        payments = before[:, 1].astype(float)
        told = ~resets
        if mode == "same_step":
            told, final = ~over, info.get("final_info", {"payment": 0 * age})
            np.testing.assert_array_equal(final["payment"][over], payments[over])
            age, over = np.where(over, 0, age), np.zeros(3, bool)
        np.testing.assert_array_equal(info["_payment"], told)
        np.testing.assert_array_equal(info["payment"], np.where(told, payments, 0.0))


@pytest.mark.parametrize("continuous", [False, True])
def test_information_and_rewards_tell_one_story(continuous: bool) -> None:
    """Each is recomputed from the contexts that were shown before the bids."""
    env = BidClickVectorEnv(50, 1000, continuous=continuous)
    observations, _ = env.reset(seed=3)
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, c = observations.astype(np.float64).T
        actions = act(env, rng)
        bids = actions[:, 0] if continuous else np.array(env.auction.bids)[actions]
        observations, rewards, _, _, info = env.step(actions)
        p = 1.0 / (1.0 + np.exp(-2.0 * bids - x / 2.0))
        assert set(info["click"].tolist()) <= {0, 1}
        np.testing.assert_array_equal(info["bid"], bids)
        np.testing.assert_array_equal(info["payment"], c * bids)
        np.testing.assert_array_equal(rewards, info["click"] - info["payment"])
        np.testing.assert_allclose(info["click_probability"], p, rtol=1e-12)
        np.testing.assert_allclose(info["expected_reward"], p - c * bids, rtol=1e-9)


@pytest.mark.parametrize("cost_range", [(0.2, 0.4), (0.05, 0.10)])
def test_every_bid_earns_its_closed_form_value(cost_range: tuple[float, float]) -> None:
    env = BidClickVectorEnv(4000, 1000, cost_range=cost_range)
    env.reset(seed=4)
    for action, bid in enumerate(env.auction.bids):
        rewards = np.concatenate([env.step(np.full(4000, action))[1] for _ in range(25)])
        error = rewards.mean() - env.auction.value_of_constant_bid(bid)
        assert abs(error) < 4.5 * rewards.std() / math.sqrt(rewards.size)


@pytest.mark.parametrize(
    ("mode", "horizon"), [("next_step", 1000), ("next_step", 1), ("same_step", 1)]
)
def test_clicks_come_at_the_stated_rate_in_every_part_of_the_contexts(
    mode: str, horizon: int
) -> None:
    env = BidClickVectorEnv(2000, horizon, continuous=True, autoreset_mode=mode)
    env.reset(seed=5)
    rng = np.random.default_rng(1)
    surprise, variance = np.zeros(12), np.zeros(12)
    for _ in range(60):
        bids = rng.random((2000, 1), dtype=np.float32)
        info = env.step(bids)[4]
        told = info.get("final_info", info)
        p = told["click_probability"][told["_click"]]
        part = np.minimum(((p - 0.5) / (0.924 - 0.5) * 12).astype(int), 11)
        surprise += np.bincount(part, told["click"][told["_click"]] - p, minlength=12)
        variance += np.bincount(part, p * (1.0 - p), minlength=12)
    assert (np.abs(surprise) < 4.5 * np.sqrt(variance)).all()


def test_contexts_are_uniform_and_independent_of_what_came_before() -> None:
    env = BidClickVectorEnv(2000, 1000)
    contexts = [env.reset(seed=6)[0]]
    clicks = []
    for _ in range(30):
        observations, _, _, _, info = env.step(np.full(2000, 2))
        contexts.append(observations)
        clicks.append(info["click"])
    uniform = (np.array(contexts, dtype=np.float64) - [0.0, 0.2]) / [1.0, 0.2]
    flat = uniform.reshape(-1, 2)
    grid = np.linspace(0.0, 1.0, 21)
    for column in flat.T:
        quantiles = np.quantile(column, grid)
        np.testing.assert_allclose(quantiles, grid, atol=0.01)
    series = [*uniform[:-1].reshape(-1, 2).T, *uniform[1:].reshape(-1, 2).T]
    series.append(np.array(clicks).reshape(-1))
    correlation = np.corrcoef(np.array(series))
    # A click goes with the query descriptor that it was made on, and nothing else does.
    assert correlation[0, 4] > 0.03
    correlation[0, 4] = correlation[4, 0] = 0.0
    assert np.abs(correlation - np.eye(5)).max() < 4.5 / math.sqrt(60_000)
    neighbours = np.corrcoef(uniform[:, :-1, 0].ravel(), uniform[:, 1:, 0].ravel())
    assert abs(neighbours[0, 1]) < 4.5 / math.sqrt(60_000)


def play(env: BidClickVectorEnv, steps: int) -> list[Any]:
    played = []
    for i in range(steps):
        actions = np.arange(i, i + env.num_envs) % 5
        *arrays, info = env.step(actions)
        played.append([a.tobytes() for a in arrays] + [info["click"].tolist()])
    return played


def test_a_generator_that_was_put_in_draws_at_once() -> None:
    env = BidClickVectorEnv(3, 50)
    env.reset(seed=0)
    played = []
    for _ in range(2):
        env.np_random = np.random.default_rng(3)
        env.reset()
        played.append(play(env, 20))
    assert played[0] == played[1]


class Constant(np.random.Generator):
    """Draws one number again and again."""

    value = 0.0

    def random(self, *, out: Any, **_: Any) -> Any:  # type: ignore[override]
        out[...] = self.value
        return out


@given(
    low=st.floats(0.0, 3.0, allow_subnormal=False),
    width=st.floats(1e-3, 3.0),
    value=st.sampled_from([0.0, 1.0 - 2.0**-24]),
)
def test_the_rarest_draws_stay_within_the_spaces(
    low: float, width: float, value: float
) -> None:
    env = BidClickVectorEnv(5, 3, cost_range=(low, low + width))
    rng = Constant(np.random.PCG64(0))
    rng.value = value
    env.np_random = rng
    assert env.observation_space.contains(env.reset()[0])
    observations, _, _, _, info = env.step(np.arange(5))
    assert env.observation_space.contains(observations)
    assert info["click"].tolist() == [int(value > 0.0)] * 5


def test_chosen_contexts_are_shown_charged_and_clicked() -> None:
    env = BidClickVectorEnv(20_000, 5)
    costs = np.linspace(0.2, 0.4, 20_000, dtype=np.float32)
    untouched, _ = env.reset(seed=2)
    observations, _ = env.reset(seed=2, options={"x": 1.0, "c": costs})
    assert (observations[:, 0] == 1.0).all()
    np.testing.assert_array_equal(observations[:, 1], costs)
    partly, _ = env.reset(seed=2, options={"c": 0.3})
    np.testing.assert_array_equal(partly[:, 0], untouched[:, 0])
    env.reset(seed=2, options={"x": 1.0, "c": costs})
    info = env.step(np.zeros(20_000, dtype=np.int8))[4]
    p = 1.0 / (1.0 + math.exp(-0.5))
    np.testing.assert_allclose(info["click_probability"], p)
    assert abs(info["click"].mean() - p) < 4.5 * math.sqrt(p * (1 - p) / 20_000)


def test_make_vec_makes_the_batch_and_names_its_autoreset_mode() -> None:
    default = gym.make_vec("BidClick-v0", num_envs=4)
    monotone = gym.make_vec("BidClickMonotone-v0", num_envs=2, horizon=9)
    assert isinstance(default, BidClickVectorEnv)
    assert isinstance(monotone, BidClickVectorEnv)
    assert monotone.auction.cost_range == (0.05, 0.10)
    assert (monotone.horizon, default.horizon, default.num_envs) == (9, 1, 4)
    loop = gym.make_vec("BidClick-v0", num_envs=2, vectorization_mode="sync")
    assert isinstance(loop, SyncVectorEnv)
    assert default.metadata["autoreset_mode"].name == "NEXT_STEP"
    same = gym.make_vec("BidClick-v0", num_envs=2, autoreset_mode="same_step")
    assert same.metadata["autoreset_mode"].value == "SameStep"
    assert default.metadata["autoreset_mode"].name == "NEXT_STEP"
    if MODES:
        assert isinstance(same.metadata["autoreset_mode"], MODES)
        given = BidClickVectorEnv(2, autoreset_mode=MODES.DISABLED)
        assert given.metadata["autoreset_mode"] is MODES.DISABLED


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "num_envs must be an integer >= 1, got 0"),
        ({"num_envs": 2.0}, r"num_envs must be an integer >= 1, got 2\.0"),
        ({"horizon": 0}, "horizon must be an integer >= 1, got 0"),
        ({"bids": (0.5,)}, r"bids must be at least two .* got \(0\.5,\)"),
        ({"cost_range": (0.4, 0.2)}, r"cost_range must be .* got \(0\.4, 0\.2\)"),
        ({"render_mode": "ansi"}, "render_mode must be None .* got 'ansi'"),
        ({"autoreset_mode": "later"}, "autoreset_mode must be .*same_step.* got 'later'"),
        ({"autoreset_mode": None}, "autoreset_mode must be .* got None"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        BidClickVectorEnv(**arguments)


@pytest.mark.parametrize(
    ("continuous", "actions", "message"),
    [
        (False, [0, 5], "integers from 0 to 4 .* got 5 for sub-environment 1"),
        (False, [-1, 0], "integers from 0 to 4 .* got -1 for sub-environment 0"),
        (False, np.array([0, 200], np.uint8), "got 200 for sub-environment 1"),
        (False, np.array([-1, 0], np.int16), "got -1 for sub-environment 0"),
        (False, [0.0, 1.0], r"integers of shape \(2,\), got float64"),
        (False, [True, False], r"integers of shape \(2,\), got bool"),
        (False, [0], r"of shape \(2,\), got int64 of shape \(1,\)"),
        (False, 2, r"of shape \(2,\), got int64 of shape \(\)"),
        (True, [[0.5], [1.5]], r"bids in \[0, 1\].* got 1\.5 for sub-environment 1"),
        (True, [[-0.1], [1.0]], r"got -0\.1 for sub-environment 0"),
        (True, [[math.nan], [1.0]], "action scaler, got nan for sub-environment 0"),
        (True, [0.5, 0.5], r"numbers of shape \(2, 1\), got float64 of shape \(2,\)"),
    ],
)
def test_bad_actions_are_refused_and_change_nothing(
    continuous: bool, actions: Any, message: str
) -> None:
    env, twin = (BidClickVectorEnv(2, 5, continuous=continuous) for _ in range(2))
    for each in (env, twin):
        each.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(actions)
    good = [[1.0], [0.0]] if continuous else [1, 0]
    assert env.step(good)[0].tobytes() == twin.step(good)[0].tobytes()
