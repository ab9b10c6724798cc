"""Quantiles of what a budget is worth: their mean is the critic of afterstates."""

from __future__ import annotations

import pathlib
from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch
from d3rlpy.models.encoders import DefaultEncoderFactory, VectorEncoderFactory
from d3rlpy.preprocessing import StandardRewardScaler
from hypothesis import given, settings
from hypothesis import strategies as st

from icac_algo import (
    Afterstates,
    ColumnarReplayBuffer,
    KnownCost,
    MonotoneConcave,
    ShapedQFunctionFactory,
)
from icac_algo.critics import QuantileQFunction
from icac_algo.decisions import CVaR, greedy_actions

K, N = 5, 8
BIDS = np.linspace(0.0, 1.0, K)


def factory(**changes: Any) -> ShapedQFunctionFactory:
    critic = Afterstates(known_cost=KnownCost(feature=1), spend=0.25, tick=0.02)
    return ShapedQFunctionFactory(MonotoneConcave(), critic, n_quantiles=N, **changes)


def critic(seed: int = 0, spread: float = 1.0, **changes: Any) -> QuantileQFunction:
    torch.manual_seed(seed)
    encoder = DefaultEncoderFactory().create((4,))
    made, _ = factory(**changes).create_discrete(encoder, 256, K)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(spread)
    return made.eval()


def answers(made: QuantileQFunction, observations: Any) -> tuple[Any, Any]:
    """Means ``(B, K)`` and quantiles ``(B, K, N)``."""
    with torch.no_grad():
        output = made(torch.as_tensor(np.asarray(observations, dtype=np.float32)))
    assert output.quantiles is not None
    return output.q_value.double().numpy(), output.quantiles.numpy()


def states(seed: int, n: int = 200) -> Any:
    low, high = [0.0, 0.2, 0.0, 0.02], [1.0, 0.4, 1.0, 1.0]
    return np.random.default_rng(seed).uniform(low, high, (n, 4)).astype(np.float32)


def is_paid(observations: Any) -> Any:
    return observations[:, 2:3] >= 0.25 * observations[:, 1:2] * BIDS - 1e-6


def campaigns(rewards: Any = None) -> ColumnarReplayBuffer:
    rng = np.random.default_rng(0)
    return ColumnarReplayBuffer.from_arrays(
        states(4, 100),
        rng.integers(0, K, 100),
        rng.normal(size=100) if rewards is None else rewards,
        terminals=np.arange(100) % 10 == 9,
        action_size=K,
    )


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.floats(0.2, 3.0))
def test_quantiles_are_sorted_and_their_mean_keeps_every_shape(
    seed: int, spread: float
) -> None:
    made, x = critic(seed, spread), states(seed)
    q, quantiles = answers(made, x)
    assert (np.diff(quantiles, axis=2) >= 0.0).all()
    rounding = 2.0**-22 * np.abs(quantiles).max()
    assert np.abs(quantiles.astype(np.float64).mean(axis=2) - q).max() <= rounding
    paid, tolerance = is_paid(x), 2e-6 * np.abs(q).max()
    assert (np.diff(q, n=2, axis=1)[paid[:, 2:]] <= tolerance).all()
    richer, dearer = x.copy(), x.copy()
    richer[:, 2] += 0.1
    dearer[:, 1] += 0.05
    assert (answers(made, richer)[0][paid] >= q[paid] - tolerance).all()
    both = paid & is_paid(dearer)
    assert (answers(made, dearer)[0][both] <= q[both] + tolerance).all()


def test_the_mean_is_the_critic_of_afterstates_itself() -> None:
    made, x = critic(), states(1)
    with torch.no_grad():
        alone = made._mean(torch.as_tensor(x)).q_value.double().numpy()
    assert np.array_equal(answers(made, x)[0], alone)


def test_a_bid_that_cannot_be_paid_has_the_distribution_of_no_bid() -> None:
    x = states(1)
    x[:, 2] *= 0.08
    (_, quantiles), paid = answers(critic(), x), is_paid(x)
    assert 0.1 < paid.mean() < 0.9
    free = np.broadcast_to(quantiles[:, :1], quantiles.shape)
    assert np.array_equal(quantiles[~paid], free[~paid])
    differs = (quantiles != free).any(axis=2)
    assert differs[:, 1:][paid[:, 1:]].all()


def test_after_the_last_step_money_spreads_nothing() -> None:
    made, x = critic(), states(2)
    x[:, 2], x[:, 3] = 0.9, 0.02
    poorer = x.copy()
    poorer[:, 2] = 0.5
    assert np.array_equal(answers(made, x)[1], answers(made, poorer)[1])
    x[:, 3] = poorer[:, 3] = 0.04
    spread = [each[1] - each[0][:, :, None] for each in map_answers(made, x, poorer)]
    assert (np.abs(spread[0] - spread[1]).max(axis=2) > 1e-4).any()


def map_answers(made: QuantileQFunction, *observations: Any) -> list[Any]:
    return [answers(made, each) for each in observations]


def test_squares_of_gaps_add_up() -> None:
    """Of the same afterstate, actions differ by what this step spreads, and no more."""
    made, x = critic(), states(6)
    x[:, 2], x[:, 3] = 0.9, 0.5
    last = x.copy()
    last[:, 3] = 0.02

    def squares(observations: Any) -> Any:
        return np.diff(answers(made, observations)[1].astype(np.float64), axis=2) ** 2

    # A bid of 1 in x and no bid in a state that has paid for it already.
    poorer = x.copy()
    poorer[:, 2] -= 0.25 * x[:, 1]
    later = squares(x)[:, -1] - squares(last)[:, -1]
    free = squares(poorer)[:, 0] - squares(last)[:, 0]
    assert later == pytest.approx(free, abs=1e-5)
    assert (later > 0.0).all()


def test_the_spread_knows_of_a_payment_only_by_what_it_leaves() -> None:
    made, x = critic(), states(3)
    x[:, 2] = 0.5
    other = x.copy()
    # Half the cost and so much less budget that a bid of 1 leaves the same.
    other[:, 1] *= 0.5
    other[:, 2] -= 0.25 * other[:, 1]
    (q, quantiles), (p, others) = map_answers(made, x, other)
    spread = quantiles - q[:, :, None], others - p[:, :, None]
    assert np.allclose(spread[0][:, -1], spread[1][:, -1], atol=1e-5)
    assert np.abs(spread[0][:, 0] - spread[1][:, 0]).max() > 1e-4


@pytest.mark.parametrize(
    "config",
    [
        d3rlpy.algos.DQNConfig,
        d3rlpy.algos.DoubleDQNConfig,
        d3rlpy.algos.DiscreteCQLConfig,
    ],
)
@pytest.mark.parametrize("n_critics", [1, 2])
def test_algorithms_train_save_and_load_it(
    config: Any, n_critics: int, tmp_path: pathlib.Path
) -> None:
    x, buffer = states(4, 100), campaigns()
    scaler = StandardRewardScaler(multiplier=0.5)
    made = factory(scale=0.5, reward_scaler=scaler)

    def train() -> Any:
        d3rlpy.seed(0)
        algo = config(
            q_func_factory=made,
            reward_scaler=scaler,
            batch_size=16,
            n_critics=n_critics,
            encoder_factory=VectorEncoderFactory([8]),
        ).create()
        algo.fit(buffer, n_steps=20, n_steps_per_epoch=20, show_progress=False)
        return algo

    algo = train()
    for level in (0.1, 1.0):
        chosen = greedy_actions(algo, x, CVaR(level))
        assert np.array_equal(chosen, greedy_actions(train(), x, CVaR(level)))
    assert np.array_equal(greedy_actions(algo, x, CVaR(1.0)), algo.predict(x))
    algo.save(str(tmp_path / "model.d3"))
    again = d3rlpy.load_learnable(str(tmp_path / "model.d3"))
    assert again.config.q_func_factory == made
    for level in (0.1, 1.0):
        loaded = greedy_actions(again, x, CVaR(level))
        assert np.array_equal(loaded, greedy_actions(algo, x, CVaR(level)))


def test_every_network_of_it_learns() -> None:
    algo: Any = d3rlpy.algos.DQNConfig(q_func_factory=factory(), batch_size=16).create()
    algo.build_with_dataset(campaigns())
    q_func = algo.impl.q_function[0]
    before = {name: p.clone() for name, p in q_func.named_parameters()}
    algo.fit(campaigns(), n_steps=10, n_steps_per_epoch=10, show_progress=False)
    moved = {n for n, p in q_func.named_parameters() if not torch.equal(p, before[n])}
    parts = ("_mean._now", "_mean._later", "_spread._now", "_spread._later")
    for part in parts:
        assert any(part in name for name in moved)


def test_it_learns_quantiles_of_what_is_left_to_luck() -> None:
    """One step from the end a reward of 0 or 1, each as often as the other."""
    rng = np.random.default_rng(1)
    n = 2000
    x = states(5, n)
    x[:, 3] = 0.02
    actions = rng.integers(0, K, n)
    luck = rng.random(n) < 0.5
    paid = x[:, 1] * BIDS[actions]
    # Wide enough for the Huber loss to be that of quantiles.
    rewards = 40.0 * luck - paid
    buffer = ColumnarReplayBuffer.from_arrays(
        x, actions, rewards, terminals=np.ones(n, bool), action_size=K
    )
    made = factory(level=20.0, scale=20.0)
    d3rlpy.seed(0)
    algo: Any = d3rlpy.algos.DQNConfig(
        q_func_factory=made,
        batch_size=128,
        learning_rate=0.01,
        encoder_factory=VectorEncoderFactory([16]),
    ).create()
    algo.fit(buffer, n_steps=300, n_steps_per_epoch=300, show_progress=False)
    q_func = algo.impl.q_function[0].eval()
    seen = x[:50].copy()
    seen[:, 2] = 0.9
    _, quantiles = answers(q_func, seen)
    gross = quantiles + (seen[:, 1:2] * BIDS)[:, :, None]
    # Half of the quantiles at each end.
    assert np.abs(gross[:, :, : N // 2 - 1].mean()) < 4.0
    assert np.abs(gross[:, :, N // 2 + 1 :].mean() - 40.0) < 4.0


def test_only_discrete_actions() -> None:
    encoder: Any = DefaultEncoderFactory().create((4,))
    with pytest.raises(ValueError, match="n_quantiles must be None for continuous"):
        factory().create_continuous(encoder, 256)
