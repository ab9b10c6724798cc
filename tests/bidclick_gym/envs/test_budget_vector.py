"""``gym.make_vec("BidClickBudget-v0")``: one batch, many campaigns in distribution."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics
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


def keys_of_slots(info: dict[str, Any], slots: int) -> list[set[str]]:
    """What the masks say each sub-environment was told."""
    return [
        {k for k, v in info.items() if not k.startswith("_") and info[f"_{k}"][i]}
        for i in range(slots)
    ]


@pytest.mark.parametrize(
    "kwargs",
    [{}, {"impressions": 1}, {"budget": 0.5, "impressions": 3, "bids": (0.0, 0.1, 1.0)}],
)
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_steps_look_as_those_of_gymnasiums_own_loop(
    mode: str, kwargs: dict[str, Any]
) -> None:
    if mode != "NextStep" and not MODES:
        pytest.skip("Gymnasium's own environments know next-step autoreset only")
    of_mode = {"autoreset_mode": MODES(mode)} if MODES else {}
    batch = BidClickBudgetVectorEnv(3, **kwargs, autoreset_mode=mode)
    loop = SyncVectorEnv([lambda: BidClickBudgetEnv(**kwargs)] * 3, **of_mode)
    for name in ("observation_space", "action_space"):
        assert getattr(batch, name) == getattr(loop, name)
        assert getattr(batch, f"single_{name}") == getattr(loop, f"single_{name}")
    starts = [env.reset(seed=0) for env in (batch, loop)]
    np.testing.assert_array_equal(starts[0][0][:, 2:], starts[1][0][:, 2:])
    assert starts[0][1] == starts[1][1] == {}
    batch.action_space.seed(0)
    for _ in range(9):
        actions = batch.action_space.sample()
        ours, theirs = batch.step(actions), loop.step(actions)
        for mine, same in zip(ours[:4], theirs[:4], strict=True):
            assert (mine.shape, mine.dtype) == (same.shape, same.dtype)
        for flags in (2, 3):
            np.testing.assert_array_equal(ours[flags], theirs[flags])
        np.testing.assert_array_equal(ours[0][:, 3], theirs[0][:, 3])
        assert batch.observation_space.contains(ours[0])
        infos = ours[4], theirs[4]
        assert keys_of_slots(infos[0], 3) == keys_of_slots(infos[1], 3)
        for key, value in infos[1].items():
            if not isinstance(value, dict):
                assert infos[0][key].dtype == value.dtype
                assert infos[0][key].shape == value.shape
        if "final_info" in infos[1]:
            finals = [info["final_info"] for info in infos]
            assert keys_of_slots(finals[0], 3) == keys_of_slots(finals[1], 3)


@pytest.mark.parametrize("impressions", [1, 3])
def test_next_step_autoreset_spends_a_step_on_each_reset(impressions: int) -> None:
    env = BidClickBudgetVectorEnv(2, 4.0, impressions)
    env.reset(seed=0)
    for step in range(1, 13):
        period = step % (impressions + 1)
        resets, ends = period == 0, period == impressions
        # On a slot that only resets, not even the action is looked at.
        actions = np.full(2, -9) if resets else np.full(2, 4)
        observations, rewards, terminations, truncations, info = env.step(actions)
        assert terminations.tolist() == [ends] * 2
        assert not truncations.any()
        assert info["_click"].tolist() == [not resets] * 2
        assert (rewards == 0.0).all() == resets
        assert env.observation_space.contains(observations)
        left = np.float32(1.0 - period / impressions)
        np.testing.assert_allclose(observations[:, 3], left, rtol=1e-6)
        if resets:
            assert all((info[name] == 0).all() for name in NAMES)
            assert info["refused"].dtype == np.bool_
            assert (observations[:, 2] == 1.0).all()


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


def test_without_autoreset_an_end_waits_for_a_reset() -> None:
    env = BidClickBudgetVectorEnv(3, impressions=1, autoreset_mode="disabled")
    env.reset(seed=0)
    first = env.step([0, 1, 2])
    assert first[2].all()
    with pytest.raises(gym.error.ResetNeeded, match=r"episodes \[0, 1, 2\] have ended"):
        env.step([0, 1, 2])
    mask = np.array([True, False, True])
    options = {"reset_mask": mask, "x": 0.5, "budget_left": 1.0}
    observations, info = env.reset(options=options)
    assert set(options) == {"reset_mask", "x", "budget_left"}
    assert info == {}
    np.testing.assert_array_equal(observations[1], first[0][1])
    assert observations[[0, 2]][:, [0, 2, 3]].tolist() == [[0.5, 0.25, 1.0]] * 2
    with pytest.raises(gym.error.ResetNeeded, match=r"episodes \[1\] have ended"):
        env.step([0, 1, 2])
    env.reset(options={"reset_mask": ~mask})
    assert env.step([0, 1, 2])[2].all()


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


@pytest.mark.parametrize("seed", [7, [1, 2, 3], np.arange(3)])
def test_two_batches_of_one_seed_agree_exactly(seed: Any) -> None:
    first, second = (BidClickBudgetVectorEnv(3, 0.9, 5) for _ in range(2))
    starts = [env.reset(seed=seed)[0].tobytes() for env in (first, second)]
    assert starts[0] == starts[1]
    played = play(first, 300)
    assert play(second, 300) == played
    # Reseeding restarts the stream, whatever of it was drawn ahead, and every budget.
    first.reset(seed=seed)
    assert play(first, 300) == played


def test_other_seeds_and_no_seed_are_other_streams() -> None:
    env = BidClickBudgetVectorEnv(3)
    starts = [env.reset(seed=s)[0] for s in (0, 1, [0, 1, 2], [0, 1, 3], None, None)]
    assert len({start.tobytes() for start in starts}) == 6


@pytest.mark.parametrize(
    "clone", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))]
)
@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_copies_made_within_a_campaign_replay_exactly(
    clone: Callable[[Any], Any], mode: str
) -> None:
    env = BidClickBudgetVectorEnv(3, 1.0, 7, autoreset_mode=mode)
    env.reset(seed=9)
    play(env, 10)
    twin = clone(env)
    assert play(twin, 400) == play(env, 400)


@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_nothing_returned_is_overwritten_or_read_again(mode: str) -> None:
    """More steps than are drawn at once, information read late, arrays scribbled on."""
    early, late, busy = (
        BidClickBudgetVectorEnv(200, 1.0, 7, autoreset_mode=mode) for _ in range(3)
    )
    for env in (early, late, busy):
        env.reset(seed=1)[0][:] = 0.5
    kept = []
    for _ in range(400):
        actions = np.full(200, 3)
        now, then, scribbled = (env.step(actions.copy()) for env in (early, late, busy))
        arrays = [array.copy() for array in now[:4]]
        kept.append((arrays, dict(now[4]), then))
        for array, same in zip(scribbled[:4], arrays, strict=True):
            np.testing.assert_array_equal(array, same)
            array[:] = 0
        for info in (scribbled[4], scribbled[4].get("final_info", {})):
            for name in ("bid", "asked_bid", "refused", "payment", "_click"):
                info.get(name, np.zeros(1))[:] = 0
            for name in ("budget_left", "impressions_left"):
                info.get(name, np.zeros(1))[:] = 9
    for arrays, info, then in kept:
        for array, same in zip(then[:4], arrays, strict=True):
            np.testing.assert_array_equal(array, same)
        assert list(then[4]) == list(info)
        for name in NAMES:
            np.testing.assert_array_equal(then[4][name], info[name])


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


def test_gymnasiums_wrappers_take_the_batch() -> None:
    counted: Any = RecordEpisodeStatistics(BidClickBudgetVectorEnv(2, 0.4, 3))
    listed: Any = DictInfoToList(BidClickBudgetVectorEnv(2, 0.4, 3))
    for env in (counted, listed):
        env.reset(seed=0)
    returns = np.zeros(2)
    for _ in range(3):
        _, rewards, terminations, _, info = counted.step(np.array([0, 4]))
        told = listed.step(np.array([0, 4]))[4]
        returns += rewards
        assert told == [{name: info[name][i] for name in NAMES} for i in range(2)]
    assert terminations.all()
    np.testing.assert_allclose(info["episode"]["r"], returns, rtol=1e-6)
    assert info["episode"]["l"].tolist() == [3, 3]
    assert listed.step(np.array([0, 4]))[4] == [{}, {}]


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


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0, 5], "integers from 0 to 4 .* got 5 for sub-environment 1"),
        ([-1, 0], "integers from 0 to 4 .* got -1 for sub-environment 0"),
        ([0.0, 1.0], r"integers of shape \(2,\), got float64"),
        ([0], r"of shape \(2,\), got int64 of shape \(1,\)"),
    ],
)
def test_bad_actions_are_refused_and_change_nothing(actions: Any, message: str) -> None:
    env, twin = (BidClickBudgetVectorEnv(2) for _ in range(2))
    for each in (env, twin):
        each.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(actions)
    assert play(env, 60) == play(twin, 60)


def test_the_first_reset_is_of_all() -> None:
    env = BidClickBudgetVectorEnv(2)
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) before step"):
        env.step([0, 0])
    with pytest.raises(gym.error.ResetNeeded, match="before resetting with a mask"):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset(options={"reset_mask": np.array([True, True])})
    env.step([0, 0])
