"""ConstraintAwareDQN as an SB3 algorithm, and the adapters between SB3 and d3rlpy."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

stable_baselines3 = pytest.importorskip("stable_baselines3")

import d3rlpy  # noqa: E402
import torch  # noqa: E402
from d3rlpy.algos import DQNConfig, IQLConfig  # noqa: E402
from stable_baselines3 import DQN, PPO  # noqa: E402
from stable_baselines3.common.callbacks import BaseCallback  # noqa: E402
from stable_baselines3.common.env_util import make_vec_env  # noqa: E402
from stable_baselines3.common.envs import (  # noqa: E402
    FakeImageEnv,
    IdentityEnv,
    IdentityEnvBox,
)
from stable_baselines3.common.evaluation import evaluate_policy  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv  # noqa: E402

import bidclick_gym  # noqa: E402
from icac_algo import (  # noqa: E402
    ColumnarReplayBuffer,
    Concave,
    Convex,
    Euclidean,
    Intersection,
    KnownCost,
    Monotone,
    Unconstrained,
)
from icac_algo.data import logged_steps  # noqa: E402
from icac_algo.evidence import estimate  # noqa: E402
from icac_algo.sb3 import (  # noqa: E402
    ConstraintAwareDQN,
    PolicyAdapter,
    record_log,
    sb3_action_probabilities,
)

SHAPES = {
    "concave": Concave(),
    "rising": Monotone(),
    "falling": Monotone(increasing=False),
    "convex": Convex(),
    "cost": Monotone(known_cost=KnownCost(feature=1, coefficient=0.5)),
}


def auction(**arguments: Any) -> gym.Env[Any, Any]:
    return gym.make("bidclick_gym:BidClick-v0", **arguments)


def model_of(shape: Any = None, env: Any = None, **arguments: Any) -> ConstraintAwareDQN:
    policy_kwargs = {"constraint": shape or Concave(), "net_arch": [16]}
    policy_kwargs.update(arguments.pop("policy_kwargs", {}))
    return ConstraintAwareDQN(
        "MlpPolicy",
        env or auction(),
        policy_kwargs=policy_kwargs,
        **{"seed": 0, "learning_starts": 20, "device": "cpu", "gamma": 0.0, **arguments},
    )


def q_of(model: ConstraintAwareDQN, observations: Any) -> Any:
    model.policy.set_training_mode(False)
    with torch.no_grad():
        return model.q_net(torch.as_tensor(observations)).double()


def violations(model: ConstraintAwareDQN, shape: Any, observations: Any) -> int:
    values = q_of(model, observations)
    positions = shape.positions(values.shape[1])
    if shape.known_cost is not None:
        values = values + shape.known_cost(torch.as_tensor(observations), positions)
    slack = values.numpy() @ shape.inequalities(positions).T
    return int((slack < -2e-6).sum())


class ShapeWatcher(BaseCallback):
    """Counts violations after every step."""

    def __init__(self, shape: Any):
        super().__init__()
        self.shape = shape
        self.found: list[int] = []

    def _on_step(self) -> bool:
        contexts = np.random.default_rng(len(self.found)).random((64, 2))
        contexts = (20.0 * contexts - 10.0).astype(np.float32)
        assert isinstance(self.model, ConstraintAwareDQN)
        self.found.append(violations(self.model, self.shape, contexts))
        return True


@pytest.mark.covering(1)
@pytest.mark.parametrize("name", sorted(SHAPES))
@pytest.mark.parametrize("critic", ["functional", "canonical", Euclidean()], ids=str)
def test_exact_at_every_step_online(name: str, critic: Any) -> None:
    watcher = ShapeWatcher(SHAPES[name])
    model = model_of(
        SHAPES[name],
        learning_rate=0.05,
        train_freq=1,
        policy_kwargs={"critic": critic},
    )
    model.learn(120, callback=watcher)
    assert len(watcher.found) == 120
    assert sum(watcher.found) == 0


def test_a_plain_dqn_would_be_caught() -> None:
    model = model_of(Unconstrained(), learning_rate=0.05, train_freq=1)
    watcher = ShapeWatcher(Concave())
    model.learn(120, callback=watcher)
    assert sum(watcher.found) > 0


def test_exact_at_every_step_offline_and_nothing_is_stepped() -> None:
    dataset, env = bidclick_gym.get_dataset(fraction=0.05, show_progress=False)
    watcher = ShapeWatcher(Concave())
    model = model_of(env=env)
    model.fit(dataset, gradient_steps=150, callback=watcher)
    assert len(watcher.found) == 150
    assert sum(watcher.found) == 0
    assert model.num_timesteps == 0
    assert model._n_updates == 150


@pytest.mark.slow
def test_it_learns_the_auction_from_a_log() -> None:
    dataset, env = bidclick_gym.get_dataset(show_progress=False)
    true = env.unwrapped.auction  # type: ignore[attr-defined]
    model = model_of(
        env=env, learning_rate=1e-3, batch_size=256, policy_kwargs={"net_arch": [64, 64]}
    )
    model.fit(dataset.to_sb3(), gradient_steps=1500)
    contexts = true.contexts(60)
    actions, _ = model.predict(contexts.astype(np.float32), deterministic=True)
    regret = true.optimal_value(60) - true.value_of_actions(np.asarray(actions), 60)
    assert regret < 0.003


@pytest.mark.parametrize(
    "vectorized", [pytest.param(False, marks=pytest.mark.slow), True]
)
def test_identity_is_learned(vectorized: bool) -> None:
    # Two actions: a shape over them is no restriction.
    env: Any = IdentityEnv(2)
    if vectorized:
        env = DummyVecEnv([lambda: IdentityEnv(2) for _ in range(2)])
    model = model_of(
        env=env, gamma=0.4, learning_rate=1e-3, exploration_fraction=0.3,
        target_update_interval=100,
    )  # fmt: skip
    model.learn(3000)
    mean, _ = evaluate_policy(model, IdentityEnvWithMonitor(), n_eval_episodes=10)
    assert mean > 90.0


def IdentityEnvWithMonitor() -> Any:
    from stable_baselines3.common.monitor import Monitor

    return Monitor(IdentityEnv(2))


def test_images() -> None:
    env = FakeImageEnv(screen_height=40, screen_width=40, n_channels=1, discrete=True)
    model = ConstraintAwareDQN(
        "CnnPolicy",
        env,
        policy_kwargs={
            "constraint": Concave(),
            "features_extractor_kwargs": {"features_dim": 16},
        },
        buffer_size=200,
        learning_starts=20,
        device="cpu",
    )
    model.learn(60)
    action, _ = model.predict(env.observation_space.sample(), deterministic=True)
    assert env.action_space.contains(int(action))


def test_two_runs_of_one_seed_are_one() -> None:
    observations = np.random.default_rng(0).random((20, 2)).astype(np.float32)
    found = [
        q_of(model_of(train_freq=1).learn(100), observations).numpy() for _ in range(2)
    ]
    assert np.array_equal(*found)


@pytest.mark.slow
def test_save_and_load_in_a_fresh_process(tmp_path: pathlib.Path) -> None:
    model = model_of(SHAPES["cost"]).learn(100)
    observations = np.random.default_rng(0).random((20, 2)).astype(np.float32)
    np.save(tmp_path / "observations.npy", observations)
    np.save(tmp_path / "values.npy", q_of(model, observations))
    model.save(tmp_path / "model.zip")
    script = (
        "import numpy as np, torch\n"
        "from icac_algo.sb3 import ConstraintAwareDQN\n"
        "model = ConstraintAwareDQN.load('model.zip', device='cpu')\n"
        "model.policy.set_training_mode(False)\n"
        "x = torch.as_tensor(np.load('observations.npy'))\n"
        "with torch.no_grad():\n"
        "    found = model.q_net(x).double().numpy()\n"
        "assert np.array_equal(found, np.load('values.npy'))\n"
        "assert model._standardised\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    loaded = ConstraintAwareDQN.load(tmp_path / "model.zip", env=auction(), device="cpu")
    before = q_of(loaded, observations)
    loaded.learn(60, reset_num_timesteps=False)
    assert not np.array_equal(before, q_of(loaded, observations))
    policy = type(model.policy)
    model.policy.save(str(tmp_path / "policy.zip"))
    alone = policy.load(str(tmp_path / "policy.zip"), device="cpu")
    actions = [p.predict(observations, deterministic=True)[0] for p in (alone, model)]
    assert np.array_equal(*actions)


def test_set_env_and_vector_environments() -> None:
    model = model_of(env=make_vec_env("bidclick_gym:BidClick-v0", n_envs=3, seed=0))
    model.learn(90)
    model.set_env(make_vec_env("bidclick_gym:BidClick-v0", n_envs=3, seed=1))
    model.learn(90, reset_num_timesteps=False)
    assert model.num_timesteps >= 180
    with pytest.raises(ValueError, match="Action spaces do not match"):
        model.set_env(
            make_vec_env(
                "bidclick_gym:BidClick-v0", 3, env_kwargs={"bids": (0.0, 0.5, 1.0)}
            )
        )


def test_logs_for_tensorboard_and_callbacks_that_stop(tmp_path: pathlib.Path) -> None:
    from stable_baselines3.common.logger import configure

    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.n_calls < 30

    dataset, env = bidclick_gym.get_dataset(fraction=0.01, show_progress=False)
    model = model_of(env=env)
    model.set_logger(configure(str(tmp_path), ["csv"]))
    model.fit(dataset, gradient_steps=100, callback=Stop(), log_interval=10)
    model.logger.close()
    assert model._n_updates == 30
    assert "train/loss" in (tmp_path / "progress.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"constraint": 3}, "constraint must be a shape"),
        ({"constraint": Concave(actions=[0.0, 0.5, 1.0])}, "names 3 actions"),
        (
            {"constraint": Monotone(known_cost=KnownCost(2))},
            "known_cost feature must be below",
        ),
        ({"critic": "fuctional"}, "critic must be one of"),
        ({"critic": 3}, r"critic must be Functional\(\), Canonical\(\) or"),
    ],
)
def test_shapes_that_do_not_fit(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model_of(policy_kwargs=arguments)


def test_buffers_that_do_not_fit() -> None:
    model = model_of()
    with pytest.raises(TypeError, match="replay_buffer must be an SB3 ReplayBuffer"):
        model.fit([1, 2], gradient_steps=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got an empty one"):
        model.fit(model.replay_buffer, gradient_steps=1)  # type: ignore[arg-type]
    other = ColumnarReplayBuffer.from_arrays(
        np.zeros((4, 3), np.float32), [0] * 4, [0.0] * 4
    )
    with pytest.raises(ValueError, match=r"observations of shape \(2,\), got \(3,\)"):
        model.fit(other, gradient_steps=1)
    other = ColumnarReplayBuffer.from_arrays(
        np.zeros((4, 2), np.float32), [0, 0, 0, 9], [0.0] * 4
    )
    with pytest.raises(ValueError, match=r"actions Discrete\(5\), got Discrete\(10\)"):
        model.fit(other, gradient_steps=1)


# -- adapters ------------------------------------------------------------------


def fitted(config: Any, continuous: bool = False) -> Any:
    dataset, _ = bidclick_gym.get_dataset(
        fraction=0.01, continuous=continuous, show_progress=False
    )
    algo = config.create(device="cpu:0")
    algo.fit(
        dataset,
        n_steps=5,
        n_steps_per_epoch=5,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    return algo


def test_d3rlpy_policies_under_evaluate_policy() -> None:
    algo = fitted(DQNConfig())
    adapter = PolicyAdapter(algo)
    env = make_vec_env("bidclick_gym:BidClick-v0", n_envs=2, seed=0)
    mean, _ = evaluate_policy(adapter, env, n_eval_episodes=100)
    assert 0.3 < mean < 0.9
    one = np.array([0.5, 0.3], np.float32)
    action, state = adapter.predict(one, state=None)
    assert action.shape == ()
    assert state is None
    batch, _ = adapter.predict(np.stack([one, one]))
    assert (
        batch.tolist() == [int(action)] * 2 == algo.predict(np.stack([one] * 2)).tolist()
    )
    drawn, _ = adapter.predict(np.stack([one] * 50), deterministic=False)
    assert drawn.shape == (50,)
    with pytest.raises(ValueError, match=r"observation must have shape \(2,\)"):
        adapter.predict(np.zeros(3, np.float32))


def test_what_cannot_be_adapted() -> None:
    with pytest.raises(ValueError, match="algo must be built"):
        PolicyAdapter(DQNConfig().create(device="cpu:0"))
    with pytest.raises(ValueError, match="algo must have discrete actions"):
        PolicyAdapter(fitted(IQLConfig(), continuous=True))


@pytest.mark.filterwarnings("ignore::UserWarning:minari.*")
@pytest.mark.parametrize("kind", [DQN, PPO])
def test_an_sb3_model_writes_a_log_with_propensities(kind: Any) -> None:
    env = auction(horizon=7)
    arguments = (
        {"n_steps": 32, "batch_size": 32} if kind is PPO else {"learning_starts": 5}
    )
    model = kind("MlpPolicy", env, seed=0, device="cpu", **arguments)
    model.learn(64)
    epsilon = 0.4 if kind is DQN else None
    buffer = record_log(model, env, 300, epsilon=epsilon, seed=1)
    steps = logged_steps(buffer)
    assert len(steps) == 300
    assert steps.propensities is not None
    every = sb3_action_probabilities(model, steps.observations, epsilon)
    assert every.sum(axis=1) == pytest.approx(1.0)
    assert steps.propensities == pytest.approx(
        every[np.arange(300), steps.actions], rel=1e-5
    )
    again = logged_steps(record_log(model, env, 300, epsilon=epsilon, seed=1))
    assert np.array_equal(again.actions, steps.actions)
    minari = buffer.to_minari(f"test/{kind.__name__.lower()}-v0")
    back = logged_steps(minari)
    assert np.array_equal(back.actions, steps.actions)
    assert back.propensities == pytest.approx(steps.propensities)
    assert len(np.unique(back.episodes)) == -(-300 // 7)
    uniform = np.full((300, 5), 0.2)
    found = estimate(back, lambda observations: uniform, as_bandit=True)
    assert found["dr"].value == pytest.approx(0.6, abs=0.25)


def test_models_that_cannot_log() -> None:
    with pytest.raises(ValueError, match="model of discrete actions"):
        record_log(PPO("MlpPolicy", IdentityEnvBox(), device="cpu"), auction(), 3)
    model = DQN("MlpPolicy", auction(), device="cpu")
    with pytest.raises(ValueError, match=r"epsilon must be a number >= 0 and <= 1"):
        record_log(model, auction(), 3, epsilon=1.5)
    with pytest.raises(ValueError, match="n_steps must be an integer >= 1"):
        record_log(model, auction(), 0)


def test_a_shape_may_be_given_in_words(tmp_path: pathlib.Path) -> None:
    model = model_of(policy_kwargs={"constraint": "monotone:increasing=false+concave"})
    model.learn(60)
    assert model.q_net.constraint.shape_set() == (
        Intersection([Monotone(increasing=False), Concave()]).shape_set()
    )
    model.save(tmp_path / "model")
    again = ConstraintAwareDQN.load(tmp_path / "model")
    assert again.q_net.constraint == model.q_net.constraint
    with pytest.raises(ValueError, match="constraint"):
        model_of(policy_kwargs={"constraint": "rising"})
