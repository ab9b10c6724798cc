"""Logs of replayed auctions as replay buffers."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from bidclick_gym import Auctions, BidReplayEnv, simulate_replay_log

ActionSpace = pytest.importorskip("d3rlpy").constants.ActionSpace
import torch  # noqa: E402

from icac_algo import (  # noqa: E402
    Afterstates,
    BudgetRelabellingTransitionPicker,
    ConstraintAwareQConfig,
    KnownCost,
    Monotone,
    MonotoneConcave,
    Outcome,
)

RNG = np.random.default_rng(0)
TABLE = Auctions(
    RNG.uniform(0, 10, 500), RNG.uniform(size=500), click=RNG.integers(0, 2, 500)
)
BIDS = (0.0, 2.0, 4.0, 6.0, 8.0)


def make(**more: Any) -> BidReplayEnv:
    settings = {"auctions": TABLE, "budget": 20.0, "impressions": 10, "bids": BIDS}
    return BidReplayEnv(**(settings | more))


def columns(buffer: Any) -> dict[str, Any]:
    arrays = buffer.to_arrays()
    return {**arrays, **arrays["extras"]}


@pytest.mark.parametrize("more", [{}, {"bids": None}, {"pricing": "first"}])
def test_each_campaign_is_an_episode_of_the_environment(more: dict[str, Any]) -> None:
    log = columns(simulate_replay_log(make(order="file", **more), campaigns=7, seed=1))
    env = make(order="file", **more)
    env.reset(seed=0)
    for row in range(70):
        if row % 10 == 0 and row:
            env.reset()
        assert log["terminals"][row] == (row % 10 == 9)
        action = log["actions"][row]
        seen, reward, *_, info = env.step(action)
        np.testing.assert_allclose(reward, log["rewards"][row, 0], rtol=1e-6)
        for name in ("won", "click", "payment"):
            np.testing.assert_allclose(info[name], log[name][row], rtol=1e-6)
        if row % 10 != 9:
            np.testing.assert_allclose(seen, log["observations"][row + 1], rtol=1e-6)


def test_no_price_of_a_lost_auction_is_in_a_log() -> None:
    for more in ({}, {"bids": None}, {"pricing": "first"}):
        arrays = simulate_replay_log(make(**more), campaigns=40).to_arrays()
        chance = "density" if "bids" in more else "propensity"
        names = {"won", "click", "payment", "asked_bid", chance}
        assert set(arrays["extras"]) == names
        lost = arrays["extras"]["won"] == 0
        assert (arrays["extras"]["payment"][lost] == 0.0).all()
        prices = TABLE.market_price.astype(np.float32)
        assert not np.isin(arrays["observations"], prices[prices > 1.0]).any()


def test_without_clicks_there_are_none() -> None:
    env = make(auctions=Auctions(TABLE.market_price, TABLE.value))
    assert "click" not in simulate_replay_log(env).to_arrays()["extras"]


def test_propensities_are_those_of_the_bids_that_counted() -> None:
    """Of many campaigns that begin alike, the share in which each bid counted."""
    table = Auctions([3.0] * 2, [1.0] * 2)
    chance = np.array([0.1, 0.2, 0.3, 0.15, 0.25])

    def policy(observations: Any) -> Any:
        return np.tile(chance, (len(observations), 1))

    env = make(auctions=table, budget=5.0, impressions=2)
    log = columns(simulate_replay_log(env, policy, campaigns=20_000, seed=3))
    actions, propensity = log["actions"][:, 0], log["propensity"]
    budget = np.rint(log["observations"][:, 0] * 5.0)
    # 5 pays for 4, what 6 and 8 are capped at; 2 pays for 2.
    capped = {5.0: [0.1, 0.2, 0.7], 2.0: [0.1, 0.9]}
    assert set(budget) == set(capped)
    for left, chances in capped.items():
        rows = budget == left
        assert set(actions[rows]) == set(range(len(chances)))
        for action, expected in enumerate(chances):
            of = rows & (actions == action)
            np.testing.assert_allclose(propensity[of], expected)
            assert abs(of.sum() / rows.sum() - expected) < 0.015
    asked = np.searchsorted(BIDS, log["asked_bid"])
    assert np.abs(np.bincount(asked) / len(asked) - chance).max() < 0.01


def test_a_policy_of_indices_and_one_of_bids() -> None:
    def pace(observations: Any) -> Any:
        return np.where(observations[:, 0] > observations[:, 1], 4, 1)

    log = columns(simulate_replay_log(make(), pace))
    assert set(np.unique(log["asked_bid"])) == {2.0, 8.0}
    assert (log["propensity"] == 1.0).all()

    def linear(rng: np.random.Generator, observations: Any) -> Any:
        bids = 4.0 * observations[:, 2] * rng.uniform(0.5, 1.0, len(observations))
        return bids, 1.0 / (2.0 * observations[:, 2])

    buffer = simulate_replay_log(make(bids=None), linear)
    assert buffer.dataset_info.action_space == ActionSpace.CONTINUOUS
    log = columns(buffer)
    np.testing.assert_allclose(log["density"], 0.5 / log["observations"][:, 2])
    assert (log["actions"][:, 0] <= 4.0 * log["observations"][:, 2]).all()


def test_seeds_repeat_and_the_environment_is_left_as_it_is() -> None:
    env, twin = (gym.make("BidReplay-v0", **make()._arguments) for _ in range(2))
    for each in (env, twin):
        each.reset(seed=0)
    first, again, other = (
        columns(simulate_replay_log(env, seed=seed)) for seed in (1, 1, 2)
    )
    for name in ("observations", "actions", "won"):
        np.testing.assert_array_equal(first[name], again[name])
        assert (first[name] != other[name]).any()
    assert env.step(3)[0].tobytes() == twin.step(3)[0].tobytes()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"env": "BidReplay-v0"}, TypeError, "env must be .*got 'BidReplay-v0'"),
        ({"env": gym.make("BidClick-v0")}, TypeError, "env must be .*BidClickEnv"),
        ({"campaigns": 0}, ValueError, "campaigns must be .* got 0"),
        ({"seed": -1}, ValueError, "seed must be .* got -1"),
        ({"policy": lambda o: np.full(len(o), 5)}, ValueError, "policy"),
        ({"policy": lambda o: np.full((len(o), 5), 0.5)}, ValueError, "policy"),
        (
            {"env": make(bids=None), "policy": lambda r, o: (o[:, 0] - 2, o[:, 0])},
            ValueError,
            "actions must be bids in",
        ),
        (
            {"env": make(bids=None), "policy": lambda r, o: (o[:, :1], o[:, 0])},
            ValueError,
            r"policy must return .*\(3, 1\)",
        ),
    ],
)
def test_what_cannot_be_logged(
    arguments: dict[str, Any], error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        simulate_replay_log(**({"env": make(), "campaigns": 3} | arguments))


def test_the_same_comes_of_a_logged_bid_under_other_budgets() -> None:
    """What the relabelling of budgets needs, of random budgets that it drew."""
    log = simulate_replay_log(make(order="file"), campaigns=50, seed=2)
    arrays = columns(log)
    steps = {"before": arrays["observations"][:-1], "after": arrays["observations"][1:]}
    end = arrays["terminals"][:-1] == 1
    picker = BudgetRelabellingTransitionPicker(
        budget_feature=0, clock_feature=1, tick=1 / 10, share=1.0, ends=0.0
    )
    before, after = picker.relabelled(
        steps["before"], steps["after"], end, np.random.default_rng(0)
    )
    env, moved, odd = make(), 0, 0
    for row in np.flatnonzero(~end):
        left = float(before[row, 0]) * 20.0
        if left < BIDS[arrays["actions"][row, 0]]:
            continue  # this budget would have capped the bid
        env.reset(
            options={
                "start": int(row),
                "budget_left": min(left, 20.0),
                "impressions_left": int(10 - row % 10),
            }
        )
        seen, reward, *_ = env.step(arrays["actions"][row])
        np.testing.assert_allclose(seen, after[row], atol=1e-5)
        np.testing.assert_allclose(reward, arrays["rewards"][row, 0], rtol=1e-6)
        moved += abs(before[row, 0] - steps["before"][row, 0]) > 1e-3
        odd += arrays["asked_bid"][row] > BIDS[arrays["actions"][row, 0]]
    assert moved > 300
    assert odd > 20  # bids that were capped when they were logged


def test_outcomes_are_learned_from_a_log() -> None:
    log = simulate_replay_log(make(), campaigns=20).replace(
        transition_picker=BudgetRelabellingTransitionPicker(
            budget_feature=0, clock_feature=1, tick=1 / 10
        )
    )
    rising = Monotone(actions=list(BIDS))
    algo = ConstraintAwareQConfig(
        outcomes=[
            Outcome("won", rising, link="logit", weight="x2"),
            Outcome("payment", rising, weight=0.0),
        ],
        gamma=1.0,
    ).create(device="cpu")
    algo.fit(log, n_steps=20, n_steps_per_epoch=20, show_progress=False)
    seen = log.to_arrays()["observations"][:4]
    assert algo.predict_outcome(seen, np.full(4, 2), "won").shape == (4,)


def test_an_afterstate_is_what_a_payment_leaves() -> None:
    """In a first-price auction that nobody else bids in, a bid is its payment."""
    table = Auctions(np.zeros(50), RNG.uniform(size=50), np.ones((50, 1)))
    log = simulate_replay_log(
        make(auctions=table, pricing="first", order="file"), campaigns=5
    )
    critic = Afterstates(
        known_cost=KnownCost(feature=3),
        context=[2],
        budget_feature=0,
        clock_feature=1,
        spend=1 / 20,
        tick=1 / 10,
    )
    arrays = columns(log)
    x = torch.tensor(arrays["observations"][:-1])
    bids = torch.tensor(BIDS)[torch.tensor(arrays["actions"][:-1])]
    same = torch.tensor(arrays["terminals"][:-1] == 0)
    left, clock = critic.left(x, bids), critic.clock_after(x)
    following = torch.tensor(arrays["observations"][1:, :2])
    found = torch.cat([left, clock], dim=1)[same]
    torch.testing.assert_close(found, following[same], atol=1e-6, rtol=0)
    algo = ConstraintAwareQConfig(
        constraint=MonotoneConcave(actions=list(BIDS)), critic=critic, gamma=1.0
    ).create(device="cpu")
    algo.fit(log, n_steps=5, n_steps_per_epoch=5, show_progress=False)
