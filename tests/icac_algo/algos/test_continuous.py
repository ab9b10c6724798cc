"""Shapes over a continuous bid: exact at every real one, in ours and in d3rlpy's own."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import d3rlpy
import gymnasium as gym
import numpy as np
import pytest
from d3rlpy.algos import CQLConfig, TD3PlusBCConfig
from d3rlpy.constants import ActionSpace
from d3rlpy.preprocessing import MinMaxActionScaler, StandardRewardScaler

import bidclick_gym  # noqa: F401  (registers the environments)
from icac_algo import (
    Afterstates,
    Bounded,
    Canonical,
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    Convex,
    Euclidean,
    KnownCost,
    Monotone,
    MonotoneConcave,
    ShapedIQLConfig,
    ShapedQFunctionFactory,
    SlopeBounds,
)
from icac_algo.shapes import Constraint

SHAPES: list[Constraint] = [
    Monotone(increasing=False),
    SlopeBounds(-1.0, 1.0),
    Bounded(-0.5, 0.5),
    Concave(),
    Convex(),
    MonotoneConcave(),
]
SCALER = MinMaxActionScaler(minimum=[0.0], maximum=[1.0])


def dataset(rows: int = 400, width: int = 1, reach: float = 1.0) -> ColumnarReplayBuffer:
    rng = np.random.default_rng(0)
    bids = reach * rng.random((rows, width))
    rewards = np.cos(9.0 * bids[:, :1]) + rng.normal(size=(rows, 1))
    return ColumnarReplayBuffer.from_arrays(
        rng.random((rows, 2)).astype(np.float32),
        bids.astype(np.float32),
        rewards.astype(np.float32),
    )


def fit(config: Any, data: Any = None, steps: int = 25) -> Any:
    d3rlpy.seed(0)
    algo = config.create(device="cpu:0")
    algo.fit(
        data or dataset(),
        n_steps=steps,
        n_steps_per_epoch=steps,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    return algo


def ours(constraint: Constraint, **options: Any) -> Any:
    return ConstraintAwareQConfig(
        constraint=constraint, critic_learning_rate=0.05, batch_size=64, **options
    )


def plugged(make: Callable[..., Any]) -> Callable[[Constraint], Any]:
    def config(constraint: Constraint) -> Any:
        shape = ShapedQFunctionFactory(constraint=constraint, action_scaler=SCALER)
        return make(
            q_func_factory=shape,
            action_scaler=SCALER,
            critic_learning_rate=0.05,
            batch_size=64,
            n_critics=2,
        )

    return config


MAKERS: dict[str, Callable[[Constraint], Any]] = {
    "ours": ours,
    "CQL": plugged(CQLConfig),
    "TD3+BC": plugged(TD3PlusBCConfig),
    "IQL": plugged(ShapedIQLConfig),
}


def values_at(algo: Any, x: np.ndarray, bids: np.ndarray) -> np.ndarray:
    repeated = np.repeat(x, len(bids), axis=0)
    actions = np.tile(bids, len(x))[:, None].astype(np.float32)
    values = algo.predict_value(repeated, actions)
    return np.asarray(values, dtype=np.float64).reshape(len(x), len(bids))


@pytest.mark.covering(1)
@pytest.mark.parametrize("constraint", SHAPES, ids=repr)
@pytest.mark.parametrize("name", MAKERS)
def test_exact_at_every_real_bid(name: str, constraint: Constraint) -> None:
    algo = fit(MAKERS[name](constraint))
    rng = np.random.default_rng(1)
    # Exactly what float32 holds, and no two too near for their slope to be known.
    bids = np.sort(rng.choice(np.arange(-512, 1024), 60, replace=False)) / 512.0
    for x in (rng.random((20, 2)), 50.0 * rng.normal(size=(20, 2))):
        q = values_at(algo, x.astype(np.float32), bids)
        assert np.isfinite(q).all()
        shape = constraint.shape_set()
        matrix, bounds = shape.inequalities(bids)
        slack = q @ matrix.T - bounds
        noise = 2e-6 * np.abs(matrix).max(axis=1) * np.abs(q).max(axis=1, keepdims=True)
        assert (slack >= -noise - 1e-30).all()


@pytest.mark.parametrize(
    "constraint",
    [*SHAPES, Monotone(known_cost=KnownCost(feature=1)), Concave(actions=[0.0, 2.0])],
    ids=repr,
)
def test_greedy_bids_are_the_best_of_a_fine_grid(constraint: Constraint) -> None:
    algo = fit(ours(constraint, support="any"))
    x = np.random.default_rng(2).random((30, 2)).astype(np.float32)
    top = (constraint.actions or [0.0, 1.0])[-1]
    grid = np.linspace(0.0, top, 2001)
    best = values_at(algo, x, grid).max(axis=1)
    greedy = algo.predict(x)
    assert greedy.shape == (30, 1)
    assert ((greedy >= 0.0) & (greedy <= top)).all()
    reached = np.diag(values_at(algo, x, greedy[:, 0]))
    assert (reached >= best - 1e-5 * np.abs(best).max()).all()


def test_an_action_scaler_changes_nothing() -> None:
    x = np.random.default_rng(2).random((30, 2)).astype(np.float32)
    plain, scaled = (
        fit(ours(Concave(), action_scaler=scaler, support="any"))
        for scaler in (None, SCALER)
    )
    np.testing.assert_allclose(plain.predict(x), scaled.predict(x), atol=1e-4)
    for algo in (plain, scaled):
        sampled = algo.sample_action(x)
        assert ((sampled >= 0.0) & (sampled <= 1.0)).all()
        assert len(np.unique(sampled)) == 30


@pytest.mark.parametrize("greedy", ["critic", "actor"])
def test_saved_and_exported(greedy: str, tmp_path: pathlib.Path) -> None:
    import torch

    algo = fit(
        ours(Concave(), greedy=greedy, reward_scaler=StandardRewardScaler()), steps=10
    )
    x = np.random.default_rng(2).random((7, 2)).astype(np.float32)
    expected = algo.predict(x)
    algo.save(str(tmp_path / "model.d3"))
    again = d3rlpy.load_learnable(str(tmp_path / "model.d3"), device="cpu:0")
    np.testing.assert_array_equal(again.predict(x), expected)
    algo.save_policy(str(tmp_path / "policy.pt"))
    policy = torch.jit.load(str(tmp_path / "policy.pt"))
    with torch.no_grad():
        exported = policy(torch.as_tensor(x)).numpy()
    np.testing.assert_allclose(exported, expected, atol=1e-6)


def test_learns_online() -> None:
    env = gym.make("BidClick-v0", continuous=True, horizon=5)
    algo = ours(Concave()).create(device="cpu:0")
    algo.fit_online(
        env,
        d3rlpy.dataset.create_fifo_replay_buffer(500, env=env),
        n_steps=60,
        n_steps_per_epoch=30,
        update_start_step=20,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    assert algo.predict(env.observation_space.sample()[None]).shape == (1, 1)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="actions must be from 0 to 1, the ends of"):
        fit(ours(Concave()), dataset(reach=2.0))
    with pytest.raises(ValueError, match="a shape is over one action"):
        fit(ours(Concave()), dataset(width=2))
    for critic in (Canonical(), Euclidean(), Afterstates()):
        with pytest.raises(ValueError, match=r"need critic=Functional\(\), got"):
            fit(ours(Concave(), critic=critic))
        factory = ShapedQFunctionFactory(Concave(), critic)
        with pytest.raises(ValueError, match=r"need critic=Functional\(\), got"):
            fit(TD3PlusBCConfig(q_func_factory=factory))
    with pytest.raises(ValueError, match="need actor='network'"):
        fit(ours(Concave(), actor="network-sampled"))
    discrete = ours(Concave(), action_scaler=SCALER).create(device="cpu:0")
    with pytest.raises(ValueError, match="action_scaler is for continuous actions"):
        discrete.build_with_env(gym.make("BidClick-v0"))


class OlderSpace(gym.ActionWrapper):  # type: ignore[type-arg]
    """Says its actions in the spaces of the older gym, as d3rlpy takes them too."""

    def __init__(self, env: Any):
        super().__init__(env)
        import gym as older

        self.action_space = older.spaces.Box(0.0, 1.0, (1,), np.float32)

    def action(self, action: Any) -> Any:
        return action


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("way", ["build_with_env", "collect", "fit_online"])
def test_every_way_in_asks_the_environment_alike(way: str, older: bool) -> None:
    env: Any = gym.make("BidClick-v0", continuous=True, horizon=5)
    buffer = d3rlpy.dataset.create_fifo_replay_buffer(50, env=env)
    if older:
        env = OlderSpace(env)
    algo = ours(Concave()).create(device="cpu:0")
    if way == "build_with_env":
        algo.build_with_env(env)
    elif way == "collect":
        algo.collect(env, buffer, n_steps=7, show_progress=False)
    else:
        algo.fit_online(
            env,
            buffer,
            n_steps=7,
            n_steps_per_epoch=7,
            show_progress=False,
            logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        )
    assert algo.get_action_type() == ActionSpace.CONTINUOUS
    assert algo.predict(np.zeros((3, 2), np.float32)).shape == (3, 1)


def test_other_actions_are_refused() -> None:
    env: Any = gym.make("BidClick-v0")
    env.unwrapped.action_space = gym.spaces.MultiDiscrete([2, 3])
    with pytest.raises(ValueError, match="env must have Discrete or Box actions"):
        ours(Concave()).create(device="cpu:0").build_with_env(env)
