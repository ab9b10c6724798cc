"""Replayed auctions: who wins, what is paid, where episodes start."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidclick_gym import Auctions, BidReplayEnv, BidReplayVectorEnv

PRICES = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0]
TABLE = Auctions(
    PRICES,
    np.arange(8) / 10,
    np.stack([np.arange(8), -np.arange(8)], axis=1),
    [1, 0, 1, 0, 0, 1, 1, 0],
)


def played(env: BidReplayEnv, bids: list[Any]) -> list[dict[str, Any]]:
    steps = []
    for bid in bids:
        action = bid if env.bids is not None else np.array([bid], np.float32)
        observation, reward, terminated, _, info = env.step(action)
        steps.append(
            {"seen": observation.tolist(), "reward": reward, "end": terminated} | info
        )
    return steps


# -- one auction --------------------------------------------------------------


@pytest.mark.parametrize(
    ("pricing", "bid", "won", "payment"),
    [
        ("second", 3.5, 1, 3.0),
        ("second", 3.0, 1, 3.0),  # a tie wins
        ("second", 2.5, 0, 0.0),
        ("first", 3.5, 1, 3.5),
        ("first", 3.0, 1, 3.0),
        ("first", 2.5, 0, 0.0),
    ],
)
def test_a_bid_of_at_least_the_price_wins(
    pricing: str, bid: float, won: int, payment: float
) -> None:
    env = BidReplayEnv(TABLE, 10.0, 2, pricing=pricing)
    env.reset(options={"start": 0})
    (step,) = played(env, [bid])
    assert (step["won"], step["payment"], step["click"]) == (won, payment, won)
    assert step["budget_left"] == 10.0 - payment
    assert step["reward"] == 0.0  # the first value


def test_a_bid_of_nothing_wins_what_is_free() -> None:
    env = BidReplayEnv(Auctions([0.0, 1.0], [2.0, 2.0]), 1.0, 2, order="file")
    env.reset(seed=0)
    first, second = played(env, [0.0, 0.0])
    assert (first["won"], first["reward"], first["payment"]) == (1, 2.0, 0.0)
    assert (second["won"], second["reward"]) == (0, 0.0)


@pytest.mark.parametrize(
    ("bids", "asked", "counted", "won"),
    [
        (None, 9.0, 4.0, 1),  # the price is 4 as well
        ([0.0, 3.0, 4.0, 9.0], 3, 4.0, 1),
        ([0.0, 3.0, 9.0], 2, 3.0, 0),  # the highest of the list that can be paid
        ([0.0, 5.0, 9.0], 2, 0.0, 0),
    ],
)
def test_a_bid_is_capped_at_what_is_left(
    bids: Any, asked: Any, counted: float, won: int
) -> None:
    env = BidReplayEnv(TABLE, 10.0, 2, bids=bids)
    env.reset(options={"start": 2, "budget_left": 4.0})
    (step,) = played(env, [asked])
    assert (step["asked_bid"], step["bid"], step["won"]) == (9.0, counted, won)
    assert step["budget_left"] == (0.0 if won else 4.0)


def test_clicks_can_be_the_reward_and_are_only_told_where_they_are_known() -> None:
    env = BidReplayEnv(TABLE, 99.0, 8, reward="click", order="file")
    env.reset(seed=0)
    steps = played(env, [4.0] * 8)
    assert [step["reward"] for step in steps] == [1, 0, 1, 0, 0, 0, 1, 0]
    without = BidReplayEnv(Auctions(PRICES, PRICES), 99.0, 8, order="file")
    _, info = without.reset(seed=0)
    assert "click" not in info
    assert "click" not in played(without, [9.0])[0]
    batch = without.many(2)
    batch.reset(seed=0)
    assert batch.step(np.full((2, 1), 4.0))[-1]["_click"].tolist() == [True, True]


def test_what_is_seen() -> None:
    env = BidReplayEnv(TABLE, 10.0, 4, order="file")
    observation, info = env.reset(seed=0)
    assert observation.tolist() == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert (info["budget_left"], info["impressions_left"]) == (10.0, 4)
    steps = played(env, [9.0, 0.0, 9.0, 9.0])
    expected = [
        [0.7, 0.75, 0.1, 1.0, -1.0],
        [0.7, 0.5, 0.2, 2.0, -2.0],
        [0.3, 0.25, 0.3, 3.0, -3.0],
        [0.2, 0.0, 0.4, 4.0, -4.0],  # what follows
    ]
    np.testing.assert_allclose([step["seen"] for step in steps], expected, rtol=1e-6)
    assert [step["end"] for step in steps] == [False, False, False, True]
    told = set().union(*steps)
    assert told.isdisjoint({"market_price", "price"})


@given(
    data=st.data(),
    rows=st.integers(1, 12),
    pricing=st.sampled_from(["first", "second"]),
    reward=st.sampled_from(["value", "click"]),
    budget=st.floats(0.1, 20.0),
    grid=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_an_episode_is_what_a_plain_loop_makes_of_it(
    data: st.DataObject, rows: int, pricing: str, reward: str, budget: float, grid: bool
) -> None:
    numbers = st.floats(0.0, 10.0, width=32)
    prices = data.draw(st.lists(numbers, min_size=rows, max_size=rows))
    values = data.draw(st.lists(numbers, min_size=rows, max_size=rows))
    clicks = data.draw(st.lists(st.integers(0, 1), min_size=rows, max_size=rows))
    table = Auctions(prices, values, click=clicks)
    bids = [0.0, 0.5, 2.0, 7.0] if grid else None
    env = BidReplayEnv(
        table, budget, rows, pricing=pricing, reward=reward, bids=bids, highest_bid=None
    )
    high = 3 if bids else float(env.action_space.high[0])  # type: ignore[attr-defined]
    actions = st.integers(0, 3) if bids else st.floats(0.0, high, width=32)
    asked = data.draw(st.lists(actions, min_size=rows, max_size=rows))
    env.reset(options={"start": 0})
    left = budget
    for row, step in enumerate(played(env, asked)):
        bid = min(bids[asked[row]] if bids else asked[row], left)
        bid = max(b for b in bids if b <= bid) if bids else bid
        won = bid >= prices[row]
        payment = 0.0 if not won else prices[row] if pricing == "second" else bid
        left -= payment
        worth = values[row] if reward == "value" else clicks[row]
        assert step["bid"] == bid
        assert step["won"] == won
        assert step["payment"] == payment
        assert step["budget_left"] == left >= 0.0
        assert step["reward"] == worth * won
        assert step["click"] == clicks[row] * won
        assert env.observation_space.contains(np.array(step["seen"], np.float32))


@given(st.data())
@settings(deadline=None, max_examples=30)
def test_many_are_as_many_single_ones(data: st.DataObject) -> None:
    size = 5
    env = BidReplayEnv(
        TABLE, 12.0, 6, pricing=data.draw(st.sampled_from(["first", "second"]))
    )
    batch = env.many(size, autoreset_mode="disabled")
    options = {
        "start": np.array(data.draw(st.lists(st.integers(0, 7), min_size=5, max_size=5))),
        "impressions_left": np.array(
            data.draw(st.lists(st.integers(3, 6), min_size=5, max_size=5))
        ),
        "budget_left": np.linspace(0.0, 12.0, size),
    }
    seen, _ = batch.reset(options=options)
    singles = [BidReplayEnv(**env._arguments) for _ in range(size)]
    for i, single in enumerate(singles):
        alone, _ = single.reset(options={n: v[i].item() for n, v in options.items()})
        assert alone.tobytes() == seen[i].tobytes()
    for _ in range(3):
        bids = data.draw(st.lists(st.floats(0, 9, width=32), min_size=5, max_size=5))
        actions = np.array(bids, np.float32)[:, None]
        seen, rewards, ends, _, info = batch.step(actions)
        for i, single in enumerate(singles):
            alone, reward, end, _, told = single.step(actions[i])
            assert alone.tobytes() == seen[i].tobytes()
            assert (reward, end) == (rewards[i], ends[i])
            assert told == {name: info[name][i] for name in told}


# -- where episodes start -----------------------------------------------------


def firsts(env: gym.Env[Any, Any], episodes: int, **seed: Any) -> list[list[float]]:
    """The rows of whole episodes, which the first further feature tells."""
    found = []
    for episode in range(episodes):
        observation, _ = env.reset(**(seed if episode == 0 else {}))
        rows, end = [], False
        while not end:
            rows.append(observation[3].item())
            observation, _, end, _, _ = env.step(np.zeros(1, np.float32))
        found.append(rows)
    return found


def test_in_the_order_of_the_file_episodes_follow_each_other() -> None:
    env = BidReplayEnv(TABLE, 1.0, 3, order="file")
    expected = [[0, 1, 2], [3, 4, 5], [0, 1, 2]]
    assert firsts(env, 3, seed=5) == expected
    assert firsts(env, 3, seed=6) == expected
    assert firsts(env, 1) == [[3, 4, 5]]


def test_sub_environments_share_the_order_of_the_file() -> None:
    batch = BidReplayVectorEnv(
        4,
        auctions=TABLE,
        budget=1.0,
        impressions=2,
        order="file",
        autoreset_mode="same_step",
    )
    assert batch.reset(seed=0)[0][:, 3].tolist() == [0, 2, 4, 6]
    batch.step(np.zeros((4, 1)))
    assert batch.step(np.zeros((4, 1)))[0][:, 3].tolist() == [0, 2, 4, 6]


def test_random_starts_are_consecutive_and_cover_the_file() -> None:
    env = BidReplayEnv(TABLE, 1.0, 3)
    episodes = firsts(env, 100, seed=0)
    assert {tuple(rows) for rows in episodes} == {(i, i + 1, i + 2) for i in range(6)}
    assert firsts(env, 100, seed=0) == episodes
    assert firsts(env, 100, seed=1) != episodes


def test_shuffled_auctions_occur_at_most_once_in_an_episode() -> None:
    env = BidReplayEnv(TABLE, 1.0, 8, order="shuffled")
    episodes = firsts(env, 20, seed=0)
    assert all(sorted(rows) == list(range(8)) for rows in episodes)
    assert len({tuple(rows) for rows in episodes}) == 20


def test_a_chosen_start_goes_on_at_the_beginning() -> None:
    env = BidReplayEnv(TABLE, 1.0, 4)
    observation, info = env.reset(
        options={"start": 7, "impressions_left": 3, "budget_left": 0.5}
    )
    assert observation.tolist() == [0.5, 0.75, np.float32(0.7), 7.0, -7.0]
    assert (info["impressions_left"], info["budget_left"]) == (3, 0.5)
    steps = played(env, [0.0] * 3)
    assert [step["seen"][3] for step in steps] == [0.0, 1.0, 2.0]
    assert steps[-1]["end"]


def test_a_chosen_start_does_not_shift_what_is_drawn() -> None:
    first, second = (BidReplayEnv(TABLE, 1.0, 3) for _ in range(2))
    first.reset(seed=3)
    second.reset(seed=3, options={"start": 2, "budget_left": 0.5})
    for _ in range(5):
        assert first.reset()[0].tolist() == second.reset()[0].tolist()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"start": 8}, r"'start' must be an integer in \[0, 7\], got 8"),
        ({"start": 0.5}, r"'start' must be an integer .* got 0\.5"),
        ({"budget_left": 10.5}, r"'budget_left' must be .*\[0, 10\], got 10\.5"),
        ({"budget_left": float("nan")}, "'budget_left' must be .* got nan"),
        ({"impressions_left": 0}, r"'impressions_left' must be .*\[1, 4\], got 0"),
        ({"x": 0.5}, r"must be among \('start', .*\), got \['x'\]"),
        ({"reset_mask": [True]}, r"got \['reset_mask'\]"),
    ],
)
def test_bad_starts_are_refused_and_change_nothing(
    options: dict[str, Any], field: str
) -> None:
    env, twin = (BidReplayEnv(TABLE, 10.0, 4) for _ in range(2))
    for each in (env, twin):
        each.reset(seed=0)
    with pytest.raises(ValueError, match=field):
        env.reset(seed=7, options=options)
    assert played(env, [4.0] * 4) == played(twin, [4.0] * 4)
    assert env.reset()[0].tolist() == twin.reset()[0].tolist()


def test_shuffled_auctions_have_no_start() -> None:
    with pytest.raises(ValueError, match="'start'"):
        BidReplayEnv(TABLE, 1.0, 3, order="shuffled").reset(options={"start": 0})


# -- arguments ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": 0.0}, "budget must be .* got 0"),
        ({"budget": float("inf")}, "budget must be .* got inf"),
        ({"impressions": 0}, "impressions must be .* got 0"),
        ({"impressions": 9}, "impressions must be at most 8, .* got 9"),
        ({"pricing": "third"}, "pricing must be one of .*'second'.* got 'third'"),
        ({"reward": "profit"}, "reward must be one of .* got 'profit'"),
        ({"order": "sorted"}, "order must be one of .* got 'sorted'"),
        ({"bids": [1.0, 2.0]}, r"bids must begin with 0, .*got \[1\.0, 2\.0\]"),
        ({"bids": [0.0, float("nan"), 2.0]}, "bids must be .* got .*nan"),
        ({"bids": [0.0, 2.0, 2.0]}, "bids must be .* strictly increasing"),
        ({"bids": [0.0]}, "bids must be at least two"),
        ({"bids": "low"}, "bids must be .* got 'low'"),
        ({"bids": [0.0, float("inf")]}, "bids must be .* got .*inf"),
        ({"highest_bid": -1.0}, "highest_bid must be .* got -1"),
        ({"bids": [0.0, 1.0], "highest_bid": 1.0}, "highest_bid must be None"),
        ({"render_mode": "human"}, "render_mode must be .* got 'human'"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        BidReplayEnv(**({"auctions": TABLE, "budget": 1.0, "impressions": 3} | arguments))


def test_auctions_are_no_path_and_clicks_must_be_there_to_be_won() -> None:
    with pytest.raises(TypeError, match="auctions must be Auctions, got str"):
        BidReplayEnv("auctions.csv", 1.0)  # type: ignore[arg-type]
    without = Auctions([1.0], [1.0])
    with pytest.raises(ValueError, match="reward must be 'value'"):
        BidReplayEnv(without, 1.0, 1, reward="click")


@pytest.mark.filterwarnings("error")
def test_stable_baselines3_check_env_has_no_complaint() -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    checker.check_env(BidReplayEnv(TABLE, 10.0, 4, bids=[0.0, 4.0]))


def test_the_box_holds_the_highest_price() -> None:
    """0.7 is above the nearest float32."""
    env = BidReplayEnv(Auctions([0.7], [1.0]), 1.0, 1)
    env.reset()
    assert env.step(env.action_space.high)[4]["won"] == 1  # type: ignore[attr-defined]
    env.reset()
    with pytest.raises(ValueError, match="action must be one bid in"):
        env.step(np.array([0.8]))


def test_the_market_price_can_be_free_and_features_constant() -> None:
    env = gym.make(
        "BidReplay-v0", auctions=Auctions([0.0], [0.0]), budget=1.0, impressions=1
    )
    observation, _ = env.reset()
    assert env.observation_space.contains(observation)
    assert env.step(np.array([0.0], np.float32))[4]["won"] == 1


@pytest.mark.parametrize(("bid", "told"), [(9.0, "clicked"), (1.0, "lost")])
def test_pictures_and_text_of_an_episode(bid: float, told: str) -> None:
    pytest.importorskip("matplotlib")
    text, picture = (
        BidReplayEnv(TABLE, 10.0, 3, order="file", render_mode=mode)
        for mode in ("ansi", "rgb_array")
    )
    for env in (text, picture):
        env.reset(seed=0)
    assert text.render() == "no bid yet; budget 10, 3 impressions left"
    before = picture.render()
    played(text, [bid])
    played(picture, [bid])
    paid = 3 if told == "clicked" else 0
    expected = f"bid {bid:g}: {told}, paid {paid}; budget {10 - paid}, 2 impressions left"
    assert text.render() == expected
    after = picture.render()
    assert after.shape == (400, 600, 3)
    assert after.dtype == np.uint8
    assert (after != before).any()


def test_a_pickled_replay_goes_on_in_the_file() -> None:
    env = BidReplayEnv(TABLE, 1.0, 3, order="file")
    env.reset(seed=0)
    twin = pickle.loads(pickle.dumps(env))
    assert env.reset()[0].tolist() == twin.reset()[0].tolist()


def test_what_was_returned_is_nobodys_to_change() -> None:
    env, twin = (BidReplayEnv(TABLE, 10.0, 4, order="file") for _ in range(2))
    for each in (env, twin):
        each.reset(seed=0)[1].update(budget_left=0.0, impressions_left=0)
    observation, _, _, _, info = env.step(np.array([4.0]))
    twin.step(np.array([4.0]))
    observation[:] = 0.0
    info.update(budget_left=0.0, impressions_left=0)
    assert played(env, [4.0] * 3) == played(twin, [4.0] * 3)
