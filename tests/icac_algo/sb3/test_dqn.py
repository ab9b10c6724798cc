"""ConstraintAwareDQN as an SB3 algorithm, and the adapters between SB3 and d3rlpy."""

from __future__ import annotations

import json
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
from stable_baselines3.common.buffers import ReplayBuffer  # noqa: E402
from stable_baselines3.common.callbacks import BaseCallback  # noqa: E402
from stable_baselines3.common.env_util import make_vec_env  # noqa: E402
from stable_baselines3.common.envs import (  # noqa: E402
    FakeImageEnv,
    IdentityEnv,
    IdentityEnvBox,
)
from stable_baselines3.common.evaluation import evaluate_policy  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize  # noqa: E402

import bidclick_gym  # noqa: E402
from icac_algo import (  # noqa: E402
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    Convex,
    Euclidean,
    Intersection,
    KnownCost,
    Monotone,
    Outcome,
    Unconstrained,
)
from icac_algo.critics import DivergenceError  # noqa: E402
from icac_algo.data import logged_steps  # noqa: E402
from icac_algo.evidence import estimate  # noqa: E402
from icac_algo.export import load, save, save_graph  # noqa: E402
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


# -- VecNormalize ----------------------------------------------------------------

CENTS = Monotone(known_cost=KnownCost(1, 1000.0))


def in_cents() -> gym.Env[Any, Any]:
    return gym.wrappers.TransformReward(auction(), lambda reward: 1000.0 * float(reward))


def normalised(**arguments: Any) -> VecNormalize:
    return VecNormalize(DummyVecEnv([in_cents, in_cents]), **arguments)


def real_values(model: ConstraintAwareDQN, env: VecNormalize, contexts: Any) -> Any:
    """Q plus the known cost in the environment's own units, ``(N, K)``."""
    q = q_of(model, env.normalize_obs(contexts)).numpy()
    cost = 1000.0 * contexts[:, 1:].astype(np.float64) * np.linspace(0.0, 1.0, 5)
    return env.unnormalize_reward(q) + cost


CONTEXTS = np.random.default_rng(0).random((2000, 2)).astype(np.float32)


class FallingPairs(BaseCallback):
    """Counts them after every step, when the running numbers have just moved."""

    def __init__(self) -> None:
        super().__init__()
        self.found = 0

    def _on_step(self) -> bool:
        assert isinstance(self.model, ConstraintAwareDQN)
        env = self.model.get_vec_normalize_env()
        assert env is not None
        values = real_values(self.model, env, CONTEXTS[:50])
        # Of thousands, what float32 can tell apart.
        self.found += int((np.diff(values, axis=1) < -1e-3).sum())
        return True


@pytest.mark.covering(1)
@pytest.mark.parametrize("norm_obs", [True, False])
@pytest.mark.parametrize("norm_reward", [True, False])
@pytest.mark.parametrize("critic", ["functional", "canonical", "euclidean"])
def test_a_known_cost_is_in_real_units_under_vec_normalize(
    critic: str, norm_reward: bool, norm_obs: bool
) -> None:
    env = normalised(norm_obs=norm_obs, norm_reward=norm_reward)
    model = model_of(CENTS, env, learning_rate=0.01, policy_kwargs={"critic": critic})
    watcher = FallingPairs()
    model.learn(120, callback=watcher)
    assert watcher.found == 0
    pairs = np.diff(real_values(model, env, CONTEXTS), axis=1)
    assert pairs.size == 8000
    assert (pairs < -1e-3).sum() == 0
    log, _ = bidclick_gym.get_dataset(fraction=0.01, show_progress=False)
    model.fit(log, gradient_steps=30)
    pairs = np.diff(real_values(model, env, CONTEXTS), axis=1)
    assert (pairs < -1e-3).sum() == 0


def test_the_level_is_of_what_training_sees() -> None:
    env = normalised(norm_obs=False)
    model = model_of(Concave(), env, learning_starts=400)
    env.reset()
    # Numbers that do not move any more.
    for _ in range(300):
        env.step(np.array([3, 2]))
    env.training = False
    model.learn(420)
    seen = model.replay_buffer.sample(500, env=env).rewards.mean().item()  # type: ignore[union-attr]
    assert float(model.q_net.q_net.level) == pytest.approx(seen, rel=0.3)  # type: ignore[arg-type]
    assert seen < 10.0


def test_units_travel_with_every_file(tmp_path: pathlib.Path) -> None:
    env = normalised()
    model = model_of(CENTS, env).learn(100)
    scaled = env.normalize_obs(CONTEXTS)
    expected = q_of(model, scaled).numpy()
    model.save(tmp_path / "model")
    model.policy.save(str(tmp_path / "policy"))
    model.q_net.save(str(tmp_path / "network"))
    again = ConstraintAwareDQN.load(tmp_path / "model", device="cpu")
    assert np.array_equal(q_of(again, scaled).numpy(), expected)
    policy = type(model.policy).load(str(tmp_path / "policy"), device="cpu")
    network = type(model.q_net).load(str(tmp_path / "network"), device="cpu")
    for found in (policy.q_net, network):
        found.set_training_mode(False)
        with torch.no_grad():
            values = found(torch.as_tensor(scaled)).double().numpy()
        assert np.array_equal(values, expected)
    assert network.constraint == CENTS
    # A new environment's wrapper is the one that counts.
    other = normalised()
    other.seed(0)
    other.reset()
    # Of a few contexts the spread may be so small that most are clipped.
    for _ in range(100):
        other.step(np.array([1, 2]))
    again.set_env(other)
    assert (np.diff(real_values(again, other, CONTEXTS), axis=1) > -1e-3).all()


@pytest.mark.parametrize(
    "kind", [gym.wrappers.NormalizeObservation, gym.wrappers.NormalizeReward]
)
def test_normalisers_that_cannot_be_read(kind: Any) -> None:
    assert model_of(Concave(), kind(auction())) is not None
    for shape in (SHAPES["cost"], Intersection([Monotone(), Concave()])):
        if shape.known_cost is None:
            assert model_of(shape, kind(auction())) is not None
            continue
        with pytest.raises(ValueError, match=f"must not be wrapped in {kind.__name__}"):
            model_of(shape, kind(auction()))


# -- logs that are broken, training that diverges ----------------------------------


@pytest.mark.parametrize("name", ["observations", "next_observations", "rewards"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logs_are_finite(name: str, bad: float) -> None:
    env = auction()
    log = ReplayBuffer(50, env.observation_space, env.action_space, device="cpu")
    rng = np.random.default_rng(0)
    for t in range(50):
        x, after = rng.random((2, 1, 2))
        log.add(x, after, np.array([[t % 5]]), rng.random(1), np.array([False]), [{}])
    getattr(log, name)[7] = bad
    said = f"{name} must be finite,"
    if name == "next_observations":
        said = "observations must be finite, what follows"
    with pytest.raises(ValueError, match=f"{said} row 7 of environment 0"):
        model_of(env=env).fit(log, gradient_steps=1)


def test_divergence_is_raised() -> None:
    class Spoilt(gym.RewardWrapper[Any, Any]):
        def reward(self, reward: Any) -> float:
            return float("nan")

    with pytest.raises(DivergenceError, match=r"a weight of q_net\..* is nan at step"):
        model_of(env=Spoilt(auction())).learn(60)


# -- other observations ------------------------------------------------------------


class InParts(gym.ObservationWrapper[Any, Any, Any]):
    """The auction's features, each by its name."""

    def __init__(self, env: Any):
        super().__init__(env)
        one = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
        self.observation_space = gym.spaces.Dict({"x": one, "c": one})

    def observation(self, observation: Any) -> Any:
        return {"x": observation[:1], "c": observation[1:]}


def test_dictionaries_of_observations(tmp_path: pathlib.Path) -> None:
    env = InParts(auction())
    model = ConstraintAwareDQN(
        "MultiInputPolicy",
        env,
        policy_kwargs={"constraint": Concave(), "net_arch": [8]},
        buffer_size=100,
        learning_starts=20,
        device="cpu",
    )
    model.learn(60)
    observation = env.observation_space.sample()
    action, _ = model.predict(observation, deterministic=True)
    assert env.action_space.contains(int(action))
    model.save(tmp_path / "model")
    again = ConstraintAwareDQN.load(tmp_path / "model", device="cpu")
    assert int(again.predict(observation, deterministic=True)[0]) == int(action)
    model.fit(model.replay_buffer, gradient_steps=2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="model must have an MlpPolicy over vector"):
        save(model, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="known_cost needs vector observations"):
        ConstraintAwareDQN(
            "MultiInputPolicy", env, policy_kwargs={"constraint": SHAPES["cost"]}
        )


# -- export ------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.covering(1, 2)
@pytest.mark.parametrize("state", ["fresh", "loaded", "used"])
@pytest.mark.parametrize("size", [2, 3, 21, 101])
@pytest.mark.parametrize("name", ["rising", "concave", "cost"])
@pytest.mark.parametrize("critic", ["functional", "canonical", "euclidean"])
@pytest.mark.parametrize("under", ["raw", "normalised"])
def test_exports_like_the_others(
    under: str, critic: str, name: str, size: int, state: str, tmp_path: pathlib.Path
) -> None:
    import onnxruntime

    bids = tuple(np.linspace(0.0, 1.0, size))
    env: Any = DummyVecEnv([lambda: auction(bids=bids)])
    if under == "normalised":
        env = VecNormalize(env)
    model = model_of(SHAPES[name], env, policy_kwargs={"critic": critic})
    scale = getattr(env, "normalize_obs", lambda x: x)
    if state != "fresh":
        model.learn(60)
    if state == "loaded":
        model.save(tmp_path / "model")
        model = ConstraintAwareDQN.load(tmp_path / "model", env=env, device="cpu")
    kept = load(save(model, tmp_path / "model.safetensors"), device="cpu")
    closed = critic != "euclidean" or SHAPES[name].has_closed_form(size)
    for count in (1, 2, 1025):
        x = 1.5 * CONTEXTS[:count] if count < 1025 else np.tile(CONTEXTS, (2, 1))[:1025]
        expected, _ = model.predict(scale(x), deterministic=True)
        assert np.array_equal(kept.predict(x), expected)
        for file in ("graph.onnx", "graph.pt"):
            if not closed:
                with pytest.raises(ValueError, match="no closed form"):
                    save_graph(model, tmp_path / file)
                continue
            save_graph(model, tmp_path / file, features=["x", "c"], units="EUR")
            if file == "graph.pt":
                graph = torch.jit.load(str(tmp_path / file))
                actions, bid = (part.numpy() for part in graph(torch.as_tensor(x))[:2])
            else:
                session = onnxruntime.InferenceSession(str(tmp_path / file))
                actions, bid = session.run(["action", "action_value"], {"input_0": x})
                said = session.get_modelmeta().custom_metadata_map["icac_algo"]
                assert json.loads(said)["features"] == ["x", "c"]
            assert (actions == expected).mean() > 0.995
            assert np.array_equal(bid, np.asarray(bids)[actions])


def test_what_d3rlpy_has_no_name_for_is_not_exported(tmp_path: pathlib.Path) -> None:
    for changed in ({"activation_fn": torch.nn.ELU}, {"net_arch": []}):
        model = model_of(policy_kwargs=changed)
        with pytest.raises(ValueError, match="to be exported"):
            save_graph(model, tmp_path / "graph.pt")


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


def test_recorded_infos_are_what_outcomes_are_learned_from() -> None:
    model = DQN("MlpPolicy", auction(), seed=0, device="cpu")
    log = record_log(model, auction(horizon=7), 60, epsilon=1.0)
    extras = log.to_arrays()["extras"]
    assert {"info/click/steps", "info/payment/steps"} <= set(extras)
    config = ConstraintAwareQConfig(
        outcomes=[
            Outcome("click", "monotone", link="logit"),
            Outcome(weight="-x1 * action"),
        ],
        batch_size=8,
    )
    algo = config.create(device="cpu:0")
    algo.fit(
        log,
        n_steps=2,
        n_steps_per_epoch=2,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    x = np.full((3, 2), 0.3, np.float32)
    assert (algo.predict_outcome(x, np.arange(3), "click") > 0.0).all()


def test_outcomes_are_refused() -> None:
    kwargs = {"outcomes": ["click: monotone; link=logit"]}
    with pytest.raises(ValueError, match=r"outcomes are learned by ConstraintAwareQ"):
        ConstraintAwareDQN("MlpPolicy", auction(), policy_kwargs=kwargs, device="cpu")


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


def test_a_log_says_how_many_gradient_steps() -> None:
    env = gym.make("BidClick-v0")
    dataset = ColumnarReplayBuffer.from_arrays(
        np.random.default_rng(0).uniform(0.0, 1.0, (60, 2)).astype(np.float32),
        np.arange(60) % 5,
        np.arange(60) % 5 * 0.1,
        action_size=5,
    )
    trained = []
    for _ in range(2):
        model = ConstraintAwareDQN(
            "MlpPolicy", env, seed=0, batch_size=8, policy_kwargs={"net_arch": [8]}
        )
        assert model.fit(dataset, 150, validation=0.3)._n_updates in (143, 150)
        trained.append(model.policy.state_dict())
    for name, value in trained[0].items():
        np.testing.assert_array_equal(value, trained[1][name])
    with pytest.raises(ValueError, match="gradient_steps"):
        model.fit(dataset, "many")
