"""Evaluators against closed form, asked of small algorithms whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bidclick_gym import Auction, ClippedGaussianPolicy, simulate_log
from bidclick_gym.auction import MONOTONE_COST_RANGE, expected_reward, optimal_bid
from bidclick_gym.evaluators import (
    RegretEvaluator,
    ResidualEvaluator,
    ReturnEvaluator,
    ViolationEvaluator,
    action_values,
    fixed_contexts,
    greedy_bids,
)
from bidclick_gym.logs import to_replay_buffer

d3rlpy = pytest.importorskip("d3rlpy")
scalers = d3rlpy.preprocessing

Array = npt.NDArray[Any]
AUCTION = Auction()
BIDS = AUCTION.bid_array
N = 50
SCALERS = [
    None,
    scalers.MultiplyRewardScaler(100.0),
    scalers.ConstantShiftRewardScaler(-3.0),
    scalers.StandardRewardScaler(mean=0.6, std=0.4),
    scalers.StandardRewardScaler(mean=0.6, std=0.4, multiplier=5.0),
    scalers.MinMaxRewardScaler(minimum=-0.4, maximum=1.0),
]


class Critic:
    """Answers like a d3rlpy algorithm, from a known value of context and bid.

    Values are in scaled reward units where there is a scaler, as d3rlpy's are.
    """

    def __init__(
        self,
        value: Callable[[Array, Array, Array], Array],
        reward_scaler: Any = None,
        gamma: float = 0.0,
        policy: Callable[[Array, Array], Array] | None = None,
    ):
        self._value = value
        self._gamma = gamma
        self._policy = policy
        self.reward_scaler = reward_scaler

    def get_action_type(self) -> Any:
        kinds = d3rlpy.constants.ActionSpace
        return kinds.DISCRETE if self._policy is None else kinds.CONTINUOUS

    def predict(self, contexts: Array) -> Array:
        assert contexts.dtype == np.float32
        if self._policy is not None:
            return self._policy(contexts[:, 0], contexts[:, 1])[:, None]
        return self._value(contexts[:, :1], contexts[:, 1:], BIDS).argmax(axis=1)

    def predict_value(self, contexts: Array, actions: Array) -> Array:
        assert actions.shape == (len(contexts), 1)
        flat = actions.reshape(-1)
        bids = BIDS[flat] if self._policy is None else flat
        values = self._value(contexts[:, 0], contexts[:, 1], bids)
        if self.reward_scaler is not None:
            origin, unit = self.reward_scaler.transform_numpy(np.array([0.0, 1.0]))
            values = values * (unit - origin) + origin / (1.0 - self._gamma)
        return values.astype(np.float32)


def perfect(reward_scaler: Any = None, gamma: float = 0.0) -> Critic:
    """The fixed point of ``T*``: the reward, and the best future that any bid has."""
    future = gamma * AUCTION.optimal_value(N) / (1.0 - gamma)
    return Critic(lambda x, c, a: expected_reward(x, c, a) + future, reward_scaler, gamma)


def preferring(index: int) -> Critic:
    """Always bids the same."""
    return Critic(lambda x, c, a: 0.0 * (x + c) - np.abs(a - BIDS[index]))


@pytest.mark.parametrize("index", range(5))
def test_constant_bids_earn_their_closed_form_return(index: int) -> None:
    value = AUCTION.value_of_constant_bid(BIDS[index])
    best = AUCTION.optimal_value(200)
    algo = preferring(index)
    assert ReturnEvaluator(AUCTION)(algo, None) == pytest.approx(value, abs=1e-6)
    assert RegretEvaluator(AUCTION)(algo, None) == pytest.approx(best - value, abs=1e-6)


@pytest.mark.parametrize("scaler", SCALERS)
def test_a_perfect_critic_is_perfect_under_every_scaler(scaler: Any) -> None:
    algo = perfect(scaler)
    assert RegretEvaluator(AUCTION, N)(algo) == pytest.approx(0.0, abs=1e-12)
    assert ReturnEvaluator(AUCTION, N)(algo) == pytest.approx(AUCTION.optimal_value(N))
    assert ResidualEvaluator(AUCTION, n=N)(algo) < 1e-6


def test_a_perfect_critic_breaks_the_papers_shape_and_keeps_the_right_ones() -> None:
    algo = perfect()
    rises = ViolationEvaluator(AUCTION, "monotone")(algo)
    both = ViolationEvaluator(AUCTION, "monotone_concave")(algo)
    assert rises == both == pytest.approx(1501, abs=50)
    assert ViolationEvaluator(AUCTION, "concave")(algo) == 0.0
    assert ViolationEvaluator(AUCTION, "monotone", known_cost=True)(algo) == 0.0
    assert ViolationEvaluator(AUCTION, "monotone_concave", known_cost=True)(algo) == 0.0
    cheap = Auction(cost_range=MONOTONE_COST_RANGE)
    assert ViolationEvaluator(cheap, "monotone")(algo) == 0.0


@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.parametrize("gamma", [0.0, 0.9])
def test_values_are_put_back_into_reward_units(scaler: Any, gamma: float) -> None:
    contexts = fixed_contexts(AUCTION, 20)
    future = gamma * AUCTION.optimal_value(N) / (1.0 - gamma)
    values = action_values(perfect(scaler, gamma), AUCTION, contexts, gamma)
    truth = AUCTION.reward_table(contexts) + future
    assert values.shape == (20, 5)
    np.testing.assert_allclose(values, truth, atol=3e-6)


@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.parametrize("gamma", [0.0, 0.9])
def test_the_residual_is_the_distance_from_the_bellman_equation(
    scaler: Any, gamma: float
) -> None:
    """Adding a constant to a perfect critic leaves ``(1 - gamma)`` of it as residual."""
    evaluate = ResidualEvaluator(AUCTION, gamma, N)
    assert evaluate(perfect(scaler, gamma)) < 3e-6
    future = gamma * AUCTION.optimal_value(N) / (1.0 - gamma)
    high = Critic(lambda x, c, a: expected_reward(x, c, a) + future + 0.5, scaler, gamma)
    assert evaluate(high) == pytest.approx(0.5 * (1.0 - gamma), abs=3e-6)
    tilted = Critic(lambda x, c, a: expected_reward(x, c, a) + 0.0 * x + a)
    rms = np.sqrt(np.mean(BIDS**2))
    assert ResidualEvaluator(AUCTION, 0.0, N)(tilted) == pytest.approx(rms, abs=1e-6)


def test_the_stated_discount_matters_for_scalers_that_shift() -> None:
    scaler = scalers.StandardRewardScaler(mean=0.6, std=0.4)
    wrong = action_values(perfect(scaler, 0.9), AUCTION, fixed_contexts(AUCTION, 20))
    right = AUCTION.reward_table(fixed_contexts(AUCTION, 20))
    future = 0.9 * AUCTION.optimal_value(N) / 0.1
    np.testing.assert_allclose(wrong, right + future - 0.6 * 9.0, atol=1e-5)


def test_continuous_policies_are_snapped_to_the_nearest_bid() -> None:
    contexts = AUCTION.contexts(N)
    bids = np.linspace(0.0, 1.0, len(contexts))
    algo = Critic(expected_reward, policy=lambda x, c: bids)
    snapped = greedy_bids(algo, AUCTION, contexts)
    assert (np.abs(BIDS[snapped] - bids) <= 0.125 + 1e-12).all()
    best = Critic(expected_reward, policy=optimal_bid)
    regret = RegretEvaluator(AUCTION, N)(best)
    assert 0.0 <= regret < 2e-4
    off_grid = Critic(expected_reward, policy=lambda x, c: np.full(len(x), 0.6))
    value = AUCTION.value_of_constant_bid(0.5)
    assert ReturnEvaluator(AUCTION, N)(off_grid) == pytest.approx(value, abs=1e-5)


def test_continuous_critics_are_read_at_the_allowed_bids() -> None:
    algo = Critic(expected_reward, scalers.MultiplyRewardScaler(10.0), policy=optimal_bid)
    assert ResidualEvaluator(AUCTION, n=N)(algo) < 1e-6
    assert ViolationEvaluator(AUCTION, "concave")(algo) == 0.0


def test_fixed_contexts_never_change_and_fit_the_auction() -> None:
    contexts = fixed_contexts(AUCTION)
    np.testing.assert_array_equal(contexts, fixed_contexts(AUCTION))
    np.testing.assert_array_equal(contexts[:10], fixed_contexts(AUCTION, 10))
    assert contexts.shape == (1000, 2)
    assert contexts.dtype == np.float32
    assert contexts[0] == pytest.approx([0.6369617, 0.2539574])


@pytest.mark.parametrize("action_type", ["discrete", "continuous"])
def test_evaluators_work_inside_fit(action_type: str) -> None:
    """A reward scaler is on: d3rlpy fits it, and the evaluators undo what it did."""
    log = simulate_log(AUCTION, ClippedGaussianPolicy(), campaigns=2, horizon=50)
    continuous = action_type == "continuous"
    dataset = to_replay_buffer(log, continuous=continuous)
    algos = d3rlpy.algos
    config = algos.IQLConfig if continuous else algos.DQNConfig
    scaler = scalers.StandardRewardScaler()
    algo = config(batch_size=16, reward_scaler=scaler).create(device="cpu")
    history = algo.fit(
        dataset,
        n_steps=4,
        n_steps_per_epoch=2,
        evaluators={
            "return": ReturnEvaluator(AUCTION, 20),
            "regret": RegretEvaluator(AUCTION, 20),
            "residual": ResidualEvaluator(AUCTION, n=20),
            "errors": ViolationEvaluator(AUCTION),
            "curvature": ViolationEvaluator(AUCTION, "concave", statistic="mean"),
        },
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        show_progress=False,
    )
    assert [epoch for epoch, _ in history] == [1, 2]
    last = history[-1][1]
    best = AUCTION.optimal_value(20)
    assert AUCTION.worst_value(20) <= last["return"] <= best
    assert last["regret"] == pytest.approx(best - last["return"])
    assert 0.0 <= last["errors"] <= 4000.0
    contexts = AUCTION.contexts(20)
    index = np.full(len(contexts), 2)
    asked = np.full((len(contexts), 1), 0.5, np.float32) if continuous else index
    raw = algo.predict_value(contexts.astype(np.float32), asked)
    values = action_values(algo, AUCTION, contexts)
    unscaled = scaler.reverse_transform_numpy(raw)
    np.testing.assert_allclose(values[:, 2], unscaled, atol=1e-5)
    table = AUCTION.reward_table(contexts)
    distance = np.sqrt(np.mean((values - table) ** 2))
    assert last["residual"] == pytest.approx(distance, rel=1e-4)
