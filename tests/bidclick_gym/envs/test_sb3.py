"""The batch behind Stable-Baselines3's interface, against its own ``DummyVecEnv``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")

from stable_baselines3 import DQN, PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

import bidclick_gym
from bidclick_gym import BidClickEnv, BidClickVecEnv

VARIANTS: list[dict[str, Any]] = [
    {},
    {"horizon": 3},
    {"horizon": 3, "continuous": True},
    {"bids": (0.1, 0.9), "cost_range": (0.0, 1.0)},
]


def described(step: Any) -> list[Any]:
    observations, rewards, dones, infos = step
    return [
        (observations.shape, observations.dtype, rewards.shape, rewards.dtype),
        (dones.dtype, dones.tolist()),
        [{name: type(value) for name, value in info.items()} for info in infos],
        [info["TimeLimit.truncated"] for info in infos],
        [getattr(info.get("terminal_observation"), "dtype", None) for info in infos],
    ]


@pytest.mark.parametrize("kwargs", VARIANTS)
def test_steps_look_as_those_of_dummy_vec_env(kwargs: dict[str, Any]) -> None:
    batch: Any = BidClickVecEnv(3, **kwargs)
    loop: Any = DummyVecEnv([lambda: BidClickEnv(**kwargs)] * 3)
    assert batch.observation_space == loop.observation_space
    assert batch.action_space == loop.action_space
    assert (batch.num_envs, batch.render_mode) == (3, None)
    starts = [env.reset() for env in (batch, loop)]
    assert starts[0].shape == starts[1].shape
    assert starts[0].dtype == starts[1].dtype
    batch.action_space.seed(0)
    for _ in range(7):
        actions = np.array([batch.action_space.sample() for _ in range(3)])
        assert described(batch.step(actions)) == described(loop.step(actions))
        assert batch.reset_infos == loop.reset_infos


@pytest.mark.parametrize("horizon", [1, 3])
def test_each_slot_tells_the_impression_it_was_rewarded_for(horizon: int) -> None:
    env: Any = BidClickVecEnv(4, horizon)
    env.seed(0)
    observations = env.reset()
    for step in range(1, 10):
        shown = observations
        actions = np.arange(4)
        observations, rewards, dones, infos = env.step(actions)
        assert dones.tolist() == [step % horizon == 0] * 4
        for i, info in enumerate(infos):
            assert info["bid"] == bidclick_gym.Auction().bids[i]
            assert info["payment"] == float(shown[i, 1]) * info["bid"]
            assert rewards[i] == np.float32(info["click"] - info["payment"])
            assert info["TimeLimit.truncated"] is bool(dones[i] and horizon > 1)
            assert ("terminal_observation" in info) == dones[i]
            if dones[i]:
                assert (info["terminal_observation"] != observations[i]).all()


def test_seeds_and_options_are_used_once() -> None:
    env: Any = BidClickVecEnv(3, 5)
    starts = []
    for seed in (4, 4, 5, None):
        if seed is not None:
            env.seed(seed)
        starts.append(env.reset().tobytes())
    assert starts[0] == starts[1]
    assert len(set(starts)) == 3
    env.set_options([{"x": 0.5}, {}, {"c": 0.25}])
    chosen = env.reset()
    assert (chosen[0, 0], chosen[2, 1]) == (0.5, 0.25)
    assert env.reset()[0, 0] != 0.5


def test_attributes_belong_to_the_batch() -> None:
    env: Any = BidClickVecEnv(3, 5)
    assert env.get_attr("horizon") == [5, 5, 5]
    assert env.get_attr("horizon", [0, 2]) == [5, 5]
    assert env.has_attr("auction")
    assert not env.has_attr("gravity")
    assert env.env_is_wrapped(VecMonitor) == [False] * 3
    with pytest.raises(AttributeError, match="cannot set 'horizon' of auctions that"):
        env.set_attr("horizon", 7)
    with pytest.raises(AttributeError, match="cannot call 'render' of auctions that"):
        env.env_method("render")
    env.reset()
    with pytest.raises(ValueError, match="integers from 0 to 4"):
        env.step(np.array([0, 0, 9]))
    env.close()


@pytest.mark.parametrize(
    ("algorithm", "arguments"),
    [
        (DQN, {"learning_starts": 100, "batch_size": 16, "buffer_size": 1000}),
        (PPO, {"n_steps": 32, "batch_size": 64, "n_epochs": 1}),
    ],
)
@pytest.mark.parametrize("horizon", [1, 10])
def test_stable_baselines3_trains_on_the_batch(
    algorithm: Any, arguments: dict[str, Any], horizon: int
) -> None:
    env: Any = VecMonitor(BidClickVecEnv(4, horizon))
    model = algorithm("MlpPolicy", env, seed=0, device="cpu", **arguments)
    model.learn(500)
    assert model.num_timesteps >= 500
    assert {episode["l"] for episode in model.ep_info_buffer} == {horizon}
    actions, _ = model.predict(env.reset())
    assert actions.shape == (4,)


def test_without_stable_baselines3_only_its_own_class_is_missing(
    fresh_python: Callable[..., str],
) -> None:
    code = (
        "import sys\n"
        "sys.modules['stable_baselines3'] = None\n"
        "import bidclick_gym\n"
        "try:\n"
        "    bidclick_gym.BidClickVecEnv\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    assert fresh_python(code) == (
        "this needs stable_baselines3: pip install 'bidclick-icac[sb3]'"
    )
    assert "stable_baselines3" in sys.modules
    with pytest.raises(AttributeError, match="no attribute 'BidClickVecEnvs'"):
        _ = bidclick_gym.BidClickVecEnvs
