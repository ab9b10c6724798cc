"""``gym.make_vec("BidClickBudget-v0")``: one batch, many campaigns in distribution."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from bidclick_gym import BidClickBudgetEnv, BidClickBudgetVectorEnv
from bidclick_gym.auction import click_probability

MODES = getattr(gym.vector, "AutoresetMode", None)
NAMES = (
    "bid",
    "asked_bid",
    "refused",
    "click",
    "click_probability",
    "payment",
    "expected_reward",
    "budget_left",
    "impressions_left",
)


@pytest.mark.parametrize("impressions", [1, 3])
def test_same_step_autoreset_keeps_what_ended(impressions: int) -> None:
    env = BidClickBudgetVectorEnv(5, 4.0, impressions, autoreset_mode="same_step")
    observations, _ = env.reset(seed=0)
    for step in range(1, 8):
        shown = observations
        observations, rewards, terminations, _, info = env.step(np.full(5, 4))
        ends = step % impressions == 0
        assert terminations.tolist() == [ends] * 5
        assert ("final_info" in info) == ("final_obs" in info) == ends
        assert info["_click"].tolist() == [not ends] * 5
        told = info["final_info"] if ends else info
        np.testing.assert_array_equal(told["payment"], shown[:, 1].astype(float))
        np.testing.assert_array_equal(told["click"] - told["payment"], rewards)
        assert (told["impressions_left"] == (-step) % impressions).all()
        last = np.stack(info["final_obs"]) if ends else observations
        assert last.shape == (5, 4)
        seen = env.campaign.observe(
            *last.T[:2], told["budget_left"], told["impressions_left"]
        )
        np.testing.assert_array_equal(last, seen)
        if ends:
            assert info["_final_obs"].all()
            assert (observations[:, 2:] == 1.0).all()
            assert (last != observations).all()


@settings(max_examples=60, deadline=None)
@given(
    mode=st.sampled_from(["next_step", "same_step", "disabled"]),
    budget=st.floats(0.05, 3.0),
    impressions=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
    steps=st.lists(
        st.tuples(st.tuples(*[st.integers(0, 4)] * 3), st.tuples(*[st.booleans()] * 3)),
        max_size=14,
    ),
)
def test_campaigns_out_of_step_keep_their_own_budget_and_clock(
    mode: str, budget: float, impressions: int, seed: int, steps: list[Any]
) -> None:
    """Masked resets put sub-environments out of step; each is accounted by hand."""
    env = BidClickBudgetVectorEnv(3, budget, impressions, autoreset_mode=mode)
    shown, _ = env.reset(seed=seed)
    left, clock = np.full(3, budget), np.full(3, impressions)
    over = np.zeros(3, bool)
    for actions, chosen in steps:
        mask = np.array(chosen) & (np.array(actions) == 4)
        mask |= over if mode == "disabled" else False
        if mask.any():
            fresh, _ = env.reset(options={"reset_mask": mask})
            np.testing.assert_array_equal(fresh[~mask], shown[~mask])
            shown, over = fresh, over & ~mask
            left[mask], clock[mask] = budget, impressions
        asked = np.where(over, 0.0, env.auction.bid_array[list(actions)])
        price = shown[:, 1].astype(float) * asked
        refused = price > left
        paid = np.where(refused, 0.0, price)
        left, clock, resets = left - paid, clock - 1, over
        shown, rewards, terminations, _, info = env.step(actions)
        assert env.observation_space.contains(shown)
        over = clock == 0
        expected = {"payment": paid, "refused": refused, "budget_left": left}
        expected |= {"impressions_left": clock, "asked_bid": asked}
        told = over & ~resets if mode == "same_step" else ~resets
        told_info = info
        if mode == "same_step":
            told_info = info.get("final_info", dict.fromkeys(expected, 0 * paid))
            for name, values in expected.items():
                np.testing.assert_array_equal(info[name], np.where(over, 0, values))
        for name, values in expected.items():
            np.testing.assert_array_equal(told_info[name], np.where(told, values, 0))
        np.testing.assert_array_equal(rewards[resets], 0.0)
        left, clock = left.copy(), clock.copy()
        renewed = over if mode == "same_step" else resets
        left[renewed], clock[renewed] = budget, impressions
        np.testing.assert_array_equal(terminations, over & ~resets)
        over = np.zeros(3, bool) if mode == "same_step" else over & ~resets
        assert (left >= 0.0).all()
        np.testing.assert_array_equal(
            shown, env.campaign.observe(*shown.T[:2], left, clock)
        )


def test_information_and_rewards_tell_one_story() -> None:
    """Each is recomputed from the contexts that were shown before the bids."""
    env = BidClickBudgetVectorEnv(50, 2.0, 40)
    observations, _ = env.reset(seed=3)
    left, refusals = np.full(50, 2.0), 0
    rng = np.random.default_rng(0)
    for i in range(40):
        x, c = observations.astype(np.float64).T[:2]
        actions = rng.integers(0, 5, 50)
        asked = env.auction.bid_array[actions]
        affordable = env.campaign.is_affordable(c, left)[np.arange(50), actions]
        bids = np.where(affordable, asked, 0.0)
        observations, rewards, _, _, info = env.step(actions)
        left = left - c * bids
        p = click_probability(x, bids)
        assert list(info) == [n for name in NAMES for n in (name, f"_{name}")]
        assert set(info["click"].tolist()) <= {0, 1}
        np.testing.assert_array_equal(info["asked_bid"], asked)
        np.testing.assert_array_equal(info["refused"], ~affordable)
        np.testing.assert_array_equal(info["bid"], bids)
        np.testing.assert_array_equal(info["payment"], c * bids)
        np.testing.assert_array_equal(info["budget_left"], left)
        np.testing.assert_array_equal(info["impressions_left"], 39 - i)
        np.testing.assert_array_equal(rewards, info["click"] - info["payment"])
        np.testing.assert_array_equal(info["click_probability"], p)
        np.testing.assert_array_equal(info["expected_reward"], p - c * bids)
        refusals += int(info["refused"].sum())
    assert 500 < refusals < 2000
    assert left.min() >= 0.0


def returns_and_payments(
    env: BidClickBudgetVectorEnv, action: int
) -> tuple[np.ndarray[Any, Any], ...]:
    """Sums over one campaign of every sub-environment, and bids refused."""
    env.reset(seed=11)
    totals = np.zeros((3, env.num_envs))
    for _ in range(env.campaign.impressions):
        _, rewards, terminations, _, info = env.step(np.full(env.num_envs, action))
        totals += rewards, info["payment"], info["refused"]
    assert terminations.all()
    return tuple(totals)


@pytest.mark.parametrize("action", range(5))
def test_constant_bids_earn_their_closed_form_value(action: int) -> None:
    """A bid that the budget always pays earns ``T`` times its value in the auction."""
    env = BidClickBudgetVectorEnv(4000, budget=100.0)
    returns, _, refusals = returns_and_payments(env, action)
    bid = env.auction.bids[action]
    error = returns.mean() - 50 * env.auction.value_of_constant_bid(bid)
    assert abs(error) < 4.5 * returns.std() / math.sqrt(returns.size)
    assert refusals.max() == 0.0


@pytest.mark.parametrize("budget", [4.0, 0.01])
def test_never_bidding_earns_what_the_integral_says_whatever_the_budget(
    budget: float,
) -> None:
    """50 times the mean of ``sigmoid(x / 2)``, 28.093, and pays nothing."""
    env = BidClickBudgetVectorEnv(4000, budget)
    returns, paid, _ = returns_and_payments(env, 0)
    x = (np.arange(100_000) + 0.5) / 100_000
    value = float(50 * (1.0 / (1.0 + np.exp(-x / 2.0))).mean())
    assert value == pytest.approx(28.093, abs=5e-4)
    assert abs(returns.mean() - value) < 4.5 * returns.std() / math.sqrt(returns.size)
    assert paid.max() == 0.0


@pytest.mark.parametrize("action", [1, 4])
def test_a_batch_and_single_environments_have_one_distribution(action: int) -> None:
    """Mean and mean square of a campaign's return, spending and refusals."""
    env = BidClickBudgetVectorEnv(4000, 3.0, 40)
    batch = np.array(returns_and_payments(env, action))
    single = np.zeros((3, 400))
    alone = BidClickBudgetEnv(3.0, 40)
    alone.reset(seed=12)
    for i in range(400):
        terminated = False
        while not terminated:
            _, reward, terminated, _, info = alone.step(action)
            single[:, i] += reward, info["payment"], info["refused"]
        alone.reset()
    assert batch[1].max() <= 3.0
    # Where every bid is 1, some are refused in every campaign; at a quarter hardly one.
    assert (batch[2].min() > 10.0) == (action == 4)
    for power in (1, 2):
        ours, theirs = batch**power, single**power
        error = ours.mean(axis=1) - theirs.mean(axis=1)
        noise = np.sqrt(ours.var(axis=1) / 4000 + theirs.var(axis=1) / 400)
        assert (np.abs(error) <= 4.5 * noise).all()


def test_the_border_is_exact_in_every_sub_environment() -> None:
    env = BidClickBudgetVectorEnv(3)
    price = float(np.float32(0.3)) * 0.75
    rest = np.array([np.nextafter(price, 0.0), price, np.nextafter(price, 1.0)])
    env.reset(seed=0, options={"c": 0.3, "budget_left": rest})
    observations, _, _, _, info = env.step([3, 3, 3])
    assert info["refused"].tolist() == [True, False, False]
    assert info["bid"].tolist() == [0.0, 0.75, 0.75]
    np.testing.assert_array_equal(info["budget_left"], rest - info["payment"])
    assert observations[1, 2] == 0.0


def play(env: BidClickBudgetVectorEnv, steps: int) -> list[Any]:
    played = []
    for i in range(steps):
        actions = np.arange(i, i + env.num_envs) % 5
        *arrays, info = env.step(actions)
        played.append([a.tobytes() for a in arrays] + [info[n].tolist() for n in NAMES])
    return played


def test_chosen_starts_are_shown_and_played() -> None:
    env = BidClickBudgetVectorEnv(4)
    rest = np.array([0.0, 1.0, 2.0, 4.0], dtype=np.float32)
    untouched, _ = env.reset(seed=2)
    observations, _ = env.reset(
        seed=2, options={"x": 1, "budget_left": rest, "impressions_left": [1, 2, 3, 50]}
    )
    np.testing.assert_array_equal(observations[:, 1], untouched[:, 1])
    assert observations[:, 0].tolist() == [1.0] * 4
    np.testing.assert_array_equal(observations[:, 2], rest / 4)
    assert observations[0, 3] == np.float32(1 / 50)
    ends = [env.step([4, 0, 0, 0]) for _ in range(3)]
    assert [step[2].tolist() for step in ends] == [
        [True, False, False, False],
        [False, True, False, False],
        [False, False, True, False],
    ]
    assert ends[0][4]["refused"].tolist() == [True, False, False, False]
    first = np.float32(1.0 - ends[2][4]["payment"][0] / 4)
    assert ends[2][0][:, 2].tolist() == [first, 1.0, 0.5, 1.0]
    for three in (np.uint64(3), np.full(4, 3, np.uint8)):
        env.reset(seed=0, options={"impressions_left": three})
        assert env.step([0] * 4)[4]["impressions_left"].dtype == np.int64


def test_values_outside_the_mask_are_not_looked_at() -> None:
    env = BidClickBudgetVectorEnv(2)
    before, _ = env.reset(seed=0)
    options = {
        "reset_mask": np.array([False, True]),
        "budget_left": [math.nan, 1.0],
        "impressions_left": [-3, 2],
    }
    after, _ = env.reset(options=options)
    np.testing.assert_array_equal(after[0], before[0])
    assert after[1, 2:].tolist() == np.float32([1 / 4, 2 / 50]).tolist()


def test_make_vec_makes_the_batch_and_names_its_autoreset_mode() -> None:
    default = gym.make_vec("BidClickBudget-v0", num_envs=4)
    assert isinstance(default, BidClickBudgetVectorEnv)
    assert (default.num_envs, default.campaign.impressions) == (4, 50)
    assert default.campaign.budget == 4.0
    assert default.metadata["autoreset_mode"].name == "NEXT_STEP"
    other: Any = gym.make_vec(
        "BidClickBudget-v0",
        num_envs=2,
        budget=1,
        impressions=9,
        bids=(0.0, 1.0),
        cost_range=(0.1, 0.2),
        autoreset_mode="same_step",
    )
    assert (other.campaign.budget, other.campaign.impressions) == (1.0, 9)
    assert other.auction == other.campaign.auction
    assert other.auction.bids == (0.0, 1.0)
    assert other.auction.cost_range == (0.1, 0.2)
    assert other.metadata["autoreset_mode"].value == "SameStep"
    loop = gym.make_vec("BidClickBudget-v0", num_envs=2, vectorization_mode="sync")
    assert isinstance(loop, SyncVectorEnv)
    assert loop.single_observation_space == default.single_observation_space


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "num_envs must be an integer >= 1, got 0"),
        ({"num_envs": 2.0}, r"num_envs must be an integer >= 1, got 2\.0"),
        ({"budget": 0}, "budget must be a finite number > 0, got 0"),
        ({"impressions": 0}, "impressions must be an integer >= 1, got 0"),
        ({"bids": (0.5, 1.0)}, r"bids must begin with 0, .* got \(0\.5, 1\.0\)"),
        ({"cost_range": (0.4, 0.2)}, r"cost_range must be .* got \(0\.4, 0\.2\)"),
        ({"render_mode": "ansi"}, "render_mode must be None .* got 'ansi'"),
        ({"autoreset_mode": "later"}, "autoreset_mode must be .*same_step.* got 'later'"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        BidClickBudgetVectorEnv(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed must be None, an integer >= 0 .* got -1"),
        ({"options": {"y": 1}}, "among .*'budget_left'.*reset_mask.* got .'y'."),
        ({"options": {"x": 1.5}}, r"'x' must be .*in \[0, 1\].* got 1\.5"),
        (
            {"options": {"budget_left": 4.1}},
            r"'budget_left' .* a number in \[0, 4\]",
        ),
        ({"options": {"budget_left": [1, -1]}}, r"'budget_left' .* got \[1, -1\]"),
        ({"options": {"budget_left": [1.0] * 3}}, "'budget_left' .* one for each of 2"),
        ({"options": {"budget_left": [[1], [2, 3]]}}, "'budget_left' must be"),
        ({"options": {"budget_left": math.nan}}, "'budget_left' .* got nan"),
        ({"options": {"budget_left": "1"}}, "'budget_left' .* got '1'"),
        ({"options": {"budget_left": True}}, "'budget_left' .* got True"),
        ({"options": {"budget_left": None}}, "'budget_left' .* got None"),
        (
            {"options": {"impressions_left": 0}},
            r"an integer in \[1, 50\].* got 0",
        ),
        ({"options": {"impressions_left": [1, 51]}}, "'impressions_left' must be"),
        ({"options": {"impressions_left": 2.0}}, r"'impressions_left' .* got 2\.0"),
        ({"options": {"reset_mask": [1, 0]}}, r"'reset_mask' must be a bool array .*\[1"),
        ({"options": {"reset_mask": [False, False]}}, "at least one True"),
    ],
)
def test_bad_resets_are_refused_and_change_nothing(
    arguments: dict[str, Any], message: str
) -> None:
    env, twin = (BidClickBudgetVectorEnv(2) for _ in range(2))
    for each in (env, twin):
        each.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.reset(**arguments)
    assert play(env, 60) == play(twin, 60)


def test_a_budget_is_compared_in_full_precision() -> None:
    above = np.float32(0.1)
    assert float(above) > 0.1
    with pytest.raises(ValueError, match="'budget_left' must be"):
        BidClickBudgetVectorEnv(2, 0.1).reset(options={"budget_left": above})
