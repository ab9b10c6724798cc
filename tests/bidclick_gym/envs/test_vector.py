"""``gym.make_vec("BidClick-v0")``: one batch, many ``BidClickEnv`` in distribution."""

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

from bidclick_gym import BidClickEnv, BidClickVectorEnv

MODES = getattr(gym.vector, "AutoresetMode", None)
VARIANTS: list[dict[str, Any]] = [
    {},
    {"horizon": 3},
    {"continuous": True, "horizon": 3},
    {"bids": (0.0, 0.1, 1.0), "cost_range": (0.5, 0.9)},
]
NAMES = ("bid", "click", "click_probability", "payment", "expected_reward")


def twins(num_envs: int, mode: str = "NextStep", **kwargs: Any) -> list[Any]:
    """The batch and Gymnasium's own loop over as many single environments."""
    batch = BidClickVectorEnv(num_envs, **kwargs, autoreset_mode=mode)
    of_mode = {"autoreset_mode": MODES(mode)} if MODES else {}
    if mode != "NextStep" and not MODES:
        pytest.skip("Gymnasium's own environments know next-step autoreset only")
    loop = SyncVectorEnv([lambda: BidClickEnv(**kwargs)] * num_envs, **of_mode)
    return [batch, loop]


def act(env: Any, rng: np.random.Generator) -> Any:
    env.action_space.seed(int(rng.integers(1000)))
    return env.action_space.sample()


def described(step: Any) -> list[Any]:
    """Shapes, types and flags of a step: all that is not random."""
    observations, rewards, terminations, truncations, _ = step
    return [
        (observations.shape, observations.dtype, rewards.shape, rewards.dtype),
        (terminations.dtype, terminations.tolist(), truncations.tolist()),
    ]


def keys_of_slots(info: dict[str, Any], slots: int) -> list[set[str]]:
    """What the masks say each sub-environment was told."""
    return [
        {k for k, v in info.items() if not k.startswith("_") and info[f"_{k}"][i]}
        for i in range(slots)
    ]


@pytest.mark.parametrize("kwargs", VARIANTS)
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_steps_look_as_those_of_gymnasiums_own_loop(
    mode: str, kwargs: dict[str, Any]
) -> None:
    batch, loop = twins(3, mode, **kwargs)
    for name in ("observation_space", "action_space"):
        assert getattr(batch, name) == getattr(loop, name)
        assert getattr(batch, f"single_{name}") == getattr(loop, f"single_{name}")
    starts = [env.reset(seed=0) for env in (batch, loop)]
    assert starts[0][0].shape == starts[1][0].shape == (3, 2)
    assert starts[0][1] == starts[1][1] == {}
    rng = np.random.default_rng(0)
    for _ in range(9):
        actions = act(batch, rng)
        ours, theirs = batch.step(actions), loop.step(actions)
        assert described(ours) == described(theirs)
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
            assert [o.dtype for o in infos[0]["final_obs"]] == [np.float32] * 3


@pytest.mark.parametrize("horizon", [1, 3])
def test_next_step_autoreset_spends_a_step_on_each_reset(horizon: int) -> None:
    env = BidClickVectorEnv(2, horizon)
    env.reset(seed=0)
    for step in range(1, 13):
        resets, ends = step % (horizon + 1) == 0, step % (horizon + 1) == horizon
        # On a slot that only resets, not even the action is looked at.
        actions = np.full(2, -9) if resets else np.full(2, 4)
        observations, rewards, *flags, info = env.step(actions)
        assert [f.tolist() for f in flags] == [
            [ends and horizon == 1] * 2,
            [ends and horizon > 1] * 2,
        ]
        assert info["_click"].tolist() == [not resets] * 2
        assert (rewards == 0.0).all() == resets
        assert env.observation_space.contains(observations)
        if resets:
            assert all((info[name] == 0.0).all() for name in NAMES)


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


@pytest.mark.parametrize("horizon", [1, 3])
def test_same_step_autoreset_keeps_what_ended(horizon: int) -> None:
    env = BidClickVectorEnv(5, horizon, autoreset_mode="same_step")
    observations, _ = env.reset(seed=0)
    for step in range(1, 8):
        shown = observations
        observations, rewards, terminations, truncations, info = env.step(np.full(5, 4))
        ends = step % horizon == 0
        assert (terminations | truncations).tolist() == [ends] * 5
        assert ("final_info" in info) == ("final_obs" in info) == ends
        assert info["_click"].tolist() == [not ends] * 5
        told = info["final_info"] if ends else info
        np.testing.assert_array_equal(told["payment"], shown[:, 1].astype(float))
        np.testing.assert_array_equal(told["click"] - told["payment"], rewards)
        if ends:
            assert info["_final_obs"].all()
            final = np.stack(info["final_obs"])
            assert final.shape == (5, 2)
            assert (final != observations).all()
            assert len(np.unique(final)) == 10


def test_without_autoreset_an_end_waits_for_a_reset() -> None:
    env = BidClickVectorEnv(3, autoreset_mode="disabled")
    env.reset(seed=0)
    first = env.step([0, 1, 2])
    assert first[2].all()
    with pytest.raises(gym.error.ResetNeeded, match=r"episodes \[0, 1, 2\] have ended"):
        env.step([0, 1, 2])
    mask = np.array([True, False, True])
    options = {"reset_mask": mask, "x": 0.5}
    observations, info = env.reset(options=options)
    assert set(options) == {"reset_mask", "x"}
    assert info == {}
    np.testing.assert_array_equal(observations[1], first[0][1])
    assert observations[[0, 2], 0].tolist() == [0.5, 0.5]
    with pytest.raises(gym.error.ResetNeeded, match=r"episodes \[1\] have ended"):
        env.step([0, 1, 2])
    env.reset(options={"reset_mask": ~mask})
    assert env.step([0, 1, 2])[2].all()


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


@pytest.mark.parametrize("seed", [7, [1, 2, 3], np.arange(3)])
def test_two_batches_of_one_seed_agree_exactly(seed: Any) -> None:
    first, second = (BidClickVectorEnv(3, 5) for _ in range(2))
    starts = [env.reset(seed=seed)[0].tobytes() for env in (first, second)]
    assert starts[0] == starts[1]
    played = play(first, 300)
    assert play(second, 300) == played
    # Reseeding restarts the stream, whatever of it was drawn ahead.
    first.reset(seed=seed)
    assert play(first, 300) == played


def test_other_seeds_and_no_seed_are_other_streams() -> None:
    env = BidClickVectorEnv(3, 5)
    starts = [env.reset(seed=s)[0] for s in (0, 1, [0, 1, 2], [0, 1, 3], None, None)]
    assert len({start.tobytes() for start in starts}) == 6
    assert len(np.unique(starts)) == 36
    assert env.reset(seed=5)[0] is not None
    assert env.np_random_seed == 5


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


@pytest.mark.parametrize(
    "clone", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))]
)
@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_copies_made_within_an_episode_replay_exactly(
    clone: Callable[[Any], Any], mode: str
) -> None:
    env = BidClickVectorEnv(3, 4, autoreset_mode=mode)
    env.reset(seed=9)
    play(env, 6)
    twin = clone(env)
    assert play(twin, 600) == play(env, 600)


@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_nothing_returned_is_overwritten_or_read_again(mode: str) -> None:
    """More steps than are drawn at once, information read late, arrays scribbled on."""
    quiet, busy = (BidClickVectorEnv(200, 7, autoreset_mode=mode) for _ in range(2))
    kept: list[Any] = [[quiet.reset(seed=1)[0]]]
    busy.reset(seed=1)[0][:] = 0.5
    then = [[a.copy() for a in kept[0]]]
    for _ in range(400):
        *arrays, info = quiet.step(np.full(200, 3))
        then.append([a.copy() for a in arrays])
        kept.append([*arrays, info])
        *scribbled, scribbled_info = busy.step(np.full(200, 3))
        for name in ("bid", "payment", "_click"):
            scribbled_info[name][:] = 0
        scribbled_info.get("final_obs", np.zeros(1))[0] *= 0
        for name in ("click_probability", "expected_reward"):
            np.testing.assert_array_equal(scribbled_info[name], info[name])
        for array, same in zip(scribbled, arrays, strict=True):
            np.testing.assert_array_equal(array, same)
            array[:] = 0
    for (*arrays, info), before in zip(kept[1:], then[1:], strict=True):
        assert all((a == b).all() for a, b in zip(arrays, before, strict=True))
        told = info.get("final_info", info)
        rewards = told["click"] - told["payment"]
        np.testing.assert_array_equal(rewards, arrays[1])
        # Bids of .75: a probability computed from a scribbled bid would be lower.
        probability = told["click_probability"][told["_click"]]
        assert (probability >= 1.0 / (1.0 + math.exp(-1.5))).all()


@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_without_full_information_the_same_impressions_are_counted(mode: str) -> None:
    full, fast = (
        BidClickVectorEnv(5, 3, autoreset_mode=mode, full_info=full_info)
        for full_info in (True, False)
    )
    np.testing.assert_array_equal(full.reset(seed=1)[0], fast.reset(seed=1)[0])
    for _ in range(9):
        *arrays, info = full.step([0, 1, 2, 3, 4])
        *same, counts = fast.step([0, 1, 2, 3, 4])
        for array, other in zip(arrays, same, strict=True):
            np.testing.assert_array_equal(array, other)
        assert set(counts) <= {"_click", "final_info", "_final_info"}
        assert ("final_info" in counts) == ("final_info" in info)
        for told, both in [(counts, info)] + [
            (counts["final_info"], info["final_info"])
            for _ in "1"
            if "final_info" in info
        ]:
            np.testing.assert_array_equal(told["_click"], both["_click"])


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


def test_gymnasiums_wrappers_take_the_batch() -> None:
    counted: Any = RecordEpisodeStatistics(BidClickVectorEnv(2, 3))
    listed: Any = DictInfoToList(BidClickVectorEnv(2, 3))
    for env in (counted, listed):
        env.reset(seed=0)
    returns = np.zeros(2)
    for _ in range(3):
        _, rewards, _, truncations, info = counted.step(np.array([0, 4]))
        told = listed.step(np.array([0, 4]))[4]
        returns += rewards
        assert told == [{name: info[name][i] for name in NAMES} for i in range(2)]
    assert truncations.all()
    np.testing.assert_allclose(info["episode"]["r"], returns, rtol=1e-6)
    assert info["episode"]["l"].tolist() == [3, 3]
    assert listed.step(np.array([0, 4]))[4] == [{}, {}]


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
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed must be None, an integer >= 0 .* got -1"),
        ({"seed": "12"}, "seed must be None, .* got '12'"),
        ({"seed": 1.5}, r"seed must be None, .* got 1\.5"),
        ({"seed": [1]}, r"one for each of 2 sub-environments, got \[1\]"),
        ({"seed": [1, None]}, r"seed must be None, .* got \[1, None\]"),
        ({"options": {"y": 1}}, "must be among .*reset_mask.* got .'y'."),
        ({"options": {"x": 1.5}}, r"'x' must be .*in \[0, 1\].* got 1\.5"),
        ({"options": {"x": math.nan}}, "'x' must be .*in .* got nan"),
        ({"options": {"c": [0.3] * 3}}, r"'c' must be .*in .* one for each of 2"),
        ({"options": {"c": "low"}}, "'c' must be .*in .* got 'low'"),
        ({"options": {"reset_mask": [1, 0]}}, r"'reset_mask' must be a bool array .*\[1"),
        ({"options": {"reset_mask": [False, False]}}, "at least one True"),
        ({"options": {"reset_mask": np.ones(3, bool)}}, r"of shape \(2,\)"),
    ],
)
def test_bad_resets_are_refused_and_change_nothing(
    arguments: dict[str, Any], message: str
) -> None:
    env, twin = (BidClickVectorEnv(2, 5) for _ in range(2))
    for each in (env, twin):
        each.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.reset(**arguments)
    assert play(env, 10) == play(twin, 10)


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


def test_the_first_reset_is_of_all() -> None:
    env = BidClickVectorEnv(2)
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) before step"):
        env.step([0, 0])
    with pytest.raises(gym.error.ResetNeeded, match="before resetting with a mask"):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset(options={"reset_mask": np.array([True, True])})
    env.step([0, 0])
