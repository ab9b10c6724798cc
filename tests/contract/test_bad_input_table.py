"""Bad input across the public surface: a typed error that names the argument and the
value, before any work is done or file touched."""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any

import d3rlpy
import gymnasium as gym
import numpy as np
import pytest
from d3rlpy.algos import DQNConfig
from d3rlpy.ope import FQEConfig
from stable_baselines3.common.buffers import ReplayBuffer

import bidclick_gym
from benchmarks.__main__ import main as benchmarks_main
from bidclick_gym.auction import Auction
from bidclick_gym.behavior import ClippedGaussianPolicy
from bidclick_gym.logs import simulate_log, write_shards
from icac_algo import (
    Bounded,
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    DiscreteIQLConfig,
    Euclidean,
    Functional,
    Intersection,
    KnownCost,
    Monotone,
    ShapedQFunctionFactory,
    SlopeBounds,
    StateLipschitz,
    StateMonotone,
    Unconstrained,
    check_prior,
)
from icac_algo.algos import load_checkpoint, save_checkpoint
from icac_algo.data import logged_steps
from icac_algo.evidence import OffPolicyEvaluator, compare, estimate, fitted_q_estimate
from icac_algo.export import load, save, save_graph
from icac_algo.sb3 import ConstraintAwareDQN, PolicyAdapter, record_log
from icac_algo.shapes import parse_shape

OBSERVATIONS = np.zeros((6, 2), np.float32)
ACTIONS = np.array([0, 1, 2, 0, 1, 2])
REWARDS = np.zeros(6, np.float32)


def buffer(**changes: Any) -> ColumnarReplayBuffer:
    columns = {"observations": OBSERVATIONS, "actions": ACTIONS, "rewards": REWARDS}
    return ColumnarReplayBuffer.from_arrays(**{**columns, "action_size": 3, **changes})


def unbuilt() -> Any:
    return ConstraintAwareQConfig().create(device="cpu:0")


def built() -> Any:
    algo = DQNConfig().create(device="cpu:0")
    algo.build_with_dataset(buffer())
    return algo


def fit(**options: Any) -> Any:
    return unbuilt().fit(
        buffer(),
        **{
            "n_steps": 1,
            "n_steps_per_epoch": 1,
            "logger_adapter": d3rlpy.logging.NoopAdapterFactory(),
            **options,
        },
    )


def config(**fields: Any) -> Callable[[], Any]:
    return lambda: ConstraintAwareQConfig(**fields)


def q(value: float) -> Any:
    import torch

    return torch.full((2, 3), value)


def dqn() -> Any:
    env = gym.make("BidClick-v0")
    return ConstraintAwareDQN("MlpPolicy", env, buffer_size=10, device="cpu")


def sb3_fit(x: float = 0.5, action: int = 0, reward: float = 0.0) -> Any:
    model = dqn()
    filled = ReplayBuffer(10, model.observation_space, model.action_space, "cpu")
    seen = np.array([x, 0.3], np.float32)
    filled.add(seen, seen, np.array([action]), np.array([reward]), np.ones(1), [{}])
    return model.fit(filled, 1)


SEED = r"seed must be an integer from 0 to 2\*\*32 - 1, got"
SEEDED: dict[str, Callable[..., Any]] = {
    "prior": lambda seed: check_prior(buffer(), Concave(), seed=seed),
    "estimate": lambda seed: estimate(buffer(), 0, seed=seed),
    "compare": lambda seed: compare(buffer(), {"a": 0}, seed=seed),
    "fqe": lambda seed: fitted_q_estimate(buffer(), built(), gamma=0.5, seed=seed),
    "record": lambda seed: record_log(dqn(), gym.make("BidClick-v0"), 3, seed=seed),
}
V, T, F = ValueError, TypeError, FileNotFoundError
TABLE: list[tuple[str, Callable[[], Any], type[Exception], str]] = [
    # constructors of the auction
    ("bids one", lambda: Auction(bids=(0.5,)), V, r"bids must be .*got \(0\.5,\)"),
    ("bids order", lambda: Auction(bids=(0.5, 0.1)), V, "bids must be"),
    ("bids range", lambda: Auction(bids=(0.0, 1.5)), V, "bids must be"),
    ("costs order", lambda: Auction(cost_range=(0.4, 0.2)), V, "cost_range must be"),
    ("costs nan", lambda: Auction(cost_range=(0.1, np.nan)), V, "cost_range must be"),
    ("costs one", lambda: Auction(cost_range=(0.1,)), V, "cost_range must be"),  # type: ignore[arg-type]
    ("std", lambda: ClippedGaussianPolicy(std=0.0), V, r"std must be .*> 0, got 0\.0"),
    ("mean", lambda: ClippedGaussianPolicy(mean=np.inf), V, "mean must be .*finite"),
    ("horizon", lambda: gym.make("bidclick_gym:BidClick-v0", horizon=0), V, "horizon"),
    ("campaigns", lambda: simulate_log(Auction(), campaigns=0), V, "campaigns must be"),
    ("log seed", lambda: simulate_log(Auction(), seed=-1), V, "seed must be .*got -1"),
    # get_dataset
    ("name", lambda: bidclick_gym.get_dataset("bids"), V, "dataset must be one of"),
    ("fraction 0", lambda: bidclick_gym.get_dataset(fraction=0.0), V, "fraction must be"),
    ("fraction 2", lambda: bidclick_gym.get_dataset(fraction=2), V, "fraction .*got 2"),
    ("seed", lambda: bidclick_gym.get_dataset(seed=-1), V, "seed must be"),
    ("log", lambda: bidclick_gym.get_dataset(log_seed="0"), V, "log_seed must be"),  # type: ignore[arg-type]
    # shards
    ("impressions", lambda: write_shards("out", 0), V, "impressions must be"),
    ("format", lambda: write_shards("out", 1000, format="csv"), V, "format must be"),
    # configs
    ("rate", config(critic_learning_rate=0.0), V, r"learning_rate must be .*got 0\.0"),
    ("rate nan", config(critic_learning_rate=np.nan), V, "learning_rate must be"),
    ("gamma", config(gamma=1.5), V, r"gamma must be a number >= 0 and <= 1, got 1\.5"),
    ("tau", config(tau=0.0), V, "tau must be"),
    ("batch", config(batch_size=0), V, "batch_size must be an integer >= 1, got 0"),
    ("critics", config(n_critics=1.5), V, "n_critics must be"),
    ("critic", config(critic="exact"), V, "critic must be"),
    ("greedy", config(greedy="both"), V, "greedy must be one of .*got 'both'"),
    ("actor", config(actor="x"), V, "actor must be one of"),
    ("constraint", config(constraint="wavy"), V, "constraint must be .*'wavy'"),
    ("multiplier", lambda: Euclidean(multiplier=2e3), V, "multiplier must be"),
    ("window", config(average_window=1.1), V, "average_window must be"),
    ("prior", config(check_prior="yes"), V, "check_prior must be one of .*got 'yes'"),
    ("graph", config(compile_graph=True), V, "compile_graph=True is not supported"),
    ("expectile", lambda: DiscreteIQLConfig(expectile=1.0), V, "expectile must be"),
    # shapes
    ("actions", lambda: Concave(actions=[0, 0]), V, r"actions must be .*got \[0"),
    ("actions nan", lambda: Concave(actions=[0, np.nan]), V, "actions must be"),
    ("slopes", lambda: SlopeBounds(lower=1, upper=0), V, "slopes of at least 1"),
    ("no slopes", lambda: SlopeBounds(), V, "needs a finite lower or upper bound"),
    ("bounds", lambda: Bounded(lower="a"), V, "lower must be a finite number"),  # type: ignore[arg-type]
    ("members", lambda: Intersection([]), V, "members must be a list of at least one"),
    ("known_cost", lambda: Unconstrained(known_cost=KnownCost(0)), V,
        "takes no known_cost"),
    ("feature", lambda: KnownCost(-1), V, "feature must be an integer >= 0, got -1"),
    ("coefficient", lambda: KnownCost(0, np.inf), V, "coefficient must be finite"),
    ("project nan", lambda: Monotone().project(q(np.nan)), V, "q must be finite"),
    ("project shape", lambda: Monotone().project(q(0)[0]), V, r"q must have shape"),
    ("state feature", lambda: StateMonotone(-1), V, "feature"),
    ("state lipschitz", lambda: StateLipschitz(-1.0), V, "must be"),
    ("factory", lambda: ShapedQFunctionFactory(constraint=1), V, "constraint"),  # type: ignore[arg-type]
    # the shape parser
    ("parse", lambda: parse_shape("wavy"), V, "constraint must be made of .*'wavy'"),
    ("parse field", lambda: parse_shape("concave:a=1"), V, "takes curvature=..., each"),
    ("parse value", lambda: parse_shape("bounded:lower=x"), V, "lower must be a number"),
    ("parse bool", lambda: parse_shape("monotone:increasing=1"), V, "true or false"),
    ("parse none", lambda: parse_shape(""), V, "constraint must be made of"),
    # fit
    ("steps", lambda: fit(n_steps=-1), V, "n_steps must be an integer >= 0, got -1"),
    ("epoch", lambda: fit(n_steps_per_epoch=0), V, "n_steps_per_epoch must be"),
    ("checkpoint", lambda: fit(checkpoint="."), V, "checkpoint must be a file"),
    ("save", lambda: fit(save_interval=0), V, "save_interval must be"),
    # buffers
    ("lengths", lambda: buffer(rewards=REWARDS[:3]), V, "rewards"),
    ("reward nan", lambda: buffer(rewards=REWARDS + np.nan), V, "rewards"),
    ("action size", lambda: buffer(action_size=2), V, "action"),
    ("flags", lambda: buffer(terminals=np.ones(6), timeouts=np.ones(6)), V, "terminal"),
    ("no file", lambda: ColumnarReplayBuffer.from_parquet(
        "none.parquet", observation="x", action="a", reward="r"), F, "none.parquet"),
    ("mapping", lambda: ColumnarReplayBuffer.from_parquet(
        ".", observation=[], action="a", reward="r"), V, "observation"),
    ("no checkpoint", lambda: load_checkpoint("none.pt"), F, "no saved checkpoint"),
    # priors
    ("prior log", lambda: check_prior([1], Concave()), T, "dataset must be .*got list"),
    ("prior shape", lambda: check_prior(buffer(), "x"), V, "constraint must be"),  # type: ignore[arg-type]
    ("level", lambda: check_prior(buffer(), Concave(), level=0), V, "level must be"),
    ("support", lambda: check_prior(buffer(), Concave(), min_support=0), V, "min_supp"),
    ("draws", lambda: check_prior(buffer(), Concave(), draws=0), V, "draws must be"),
    ("names", lambda: check_prior(
        buffer(), Concave(), feature_names=["x"]), V, "feature_names must have one"),
    ("regions", lambda: check_prior(
        buffer(), Concave(), regions={"a": lambda o: o}), V, r"regions\['a'\] must"),
    ("grid", lambda: check_prior(buffer(), Concave(actions=[0, 1])), V, "names 2 act"),
    ("cost", lambda: check_prior(
        buffer(), Monotone(known_cost=KnownCost(2))), V,
        "known_cost feature must be below"),
    # off-policy estimates
    ("propensity", lambda: logged_steps(buffer(), [0.0] * 6), V, r"in \(0, 1\], row 0"),
    ("propensities", lambda: logged_steps(buffer(), [0.5]), V, "one value for each"),
    ("estimator", lambda: estimate(buffer(), 0, estimators=("x",)), V, "estimators must"),
    ("confidence", lambda: estimate(buffer(), 0, level=1.0), V, "level must be"),
    ("policy", lambda: estimate(buffer(), "best"), T, "policy must be .*got str"),
    ("policy index", lambda: estimate(buffer(), 3), V, "indices from 0 to 2"),
    ("no policy", lambda: compare(buffer(), {}), V, "policies must name"),
    ("evaluator", lambda: OffPolicyEvaluator(estimator="x"), V, "estimator must be"),
    ("fqe", lambda: fitted_q_estimate(buffer(), built(), gamma=1.1), V, "gamma must be"),
    ("fqe algo", lambda: fitted_q_estimate(
        buffer(), unbuilt(), gamma=0.5), V, "algo must be built"),
    # export
    ("save unbuilt", lambda: save(unbuilt(), "model"), V, "algo must be built"),
    ("save nowhere", lambda: save(built(), "no/model"), F, "path must be in a folder"),
    ("save over", lambda: save(built(), "."), FileExistsError, "path must not exist"),
    ("load", lambda: load("none"), F, "no saved model at none"),
    ("graph name", lambda: save_graph(built(), "g.h5"), V, "fname must end with"),
    ("graph folder", lambda: save_graph(built(), "no/g.pt"), F, r"no/g\.pt"),
    ("graph path", lambda: save_graph(built(), None), T, "fname must be a path, got N"),  # type: ignore[arg-type]
    ("save path", lambda: save(built(), 3), T, "path must be a path, got 3"),  # type: ignore[arg-type]
    ("save null", lambda: save(built(), "a\0b"), V, "path must be a path without null"),
    ("save data", lambda: save(built(), "m", [1]), T, "dataset must be .*got list"),
    ("save flag", lambda: save(built(), "m", overwrite="no"), V, "overwrite .*'no'"),  # type: ignore[arg-type]
    ("load path", lambda: load(None), T, "path must be a path, got None"),  # type: ignore[arg-type]
    ("keep unbuilt", lambda: save_checkpoint(unbuilt(), "c.pt"), V, "algo must be built"),
    ("keep nothing", lambda: save_checkpoint(3, "c.pt"), T, "algo must be .*got int"),
    ("d3 unbuilt", lambda: unbuilt().save("a.d3"), V, "algo must be built"),
    # seeds, everywhere the same words
    *(
        (f"seed {name} {seed!r}", functools.partial(call, seed=seed), V, SEED)
        for seed in ("x", 1.5, -1, True, None, 2**32)
        for name, call in SEEDED.items()
    ),
    # priors, names
    ("region list", lambda: check_prior(buffer(), Concave(), regions=[1]), V, "regions"),  # type: ignore[arg-type]
    ("region value", lambda: check_prior(
        buffer(), Concave(), regions={"a": 1}), V, "regions must map names to functions"),  # type: ignore[dict-item]
    ("region all", lambda: check_prior(
        buffer(), Concave(), regions={"all": bool}), V, "must not name one 'all'"),
    ("name text", lambda: check_prior(
        buffer(), Concave(), feature_names="xc"), V, "feature_names must be .*'xc'"),
    ("name twice", lambda: check_prior(
        buffer(), Concave(), feature_names=["x", "x"]), V, "different names"),
    # off-policy estimates, kinds
    ("propensity text", lambda: logged_steps(buffer(), ["x"] * 6), V, "propens.*numbers"),
    ("propensity ragged", lambda: logged_steps(
        buffer(), [[0.5], [0.5, 0.5]]), V, "propensities must be one array"),
    ("propensity square", lambda: logged_steps(
        buffer(), np.full((3, 2), 0.5)), V, r"each of 6 .*got shape \(3, 2\)"),
    ("no estimators", lambda: estimate(buffer(), 0, estimators=()), V, "estimators must"),
    ("estimator text", lambda: estimate(
        buffer(), 0, estimators="dr"), V, "estimators must be some of .*'dr'"),  # type: ignore[arg-type]
    ("bandit", lambda: estimate(buffer(), 0, as_bandit="no"), V, "as_bandit .*'no'"),  # type: ignore[arg-type]
    ("policy unbuilt", lambda: estimate(buffer(), unbuilt()), V, "policy must be built"),
    ("policy shape", lambda: estimate(
        buffer(observations=np.zeros((6, 5))), built()), V, r"shape \(5,\).*for \(2,\)"),
    ("policies list", lambda: compare(buffer(), [0]), V, r"policies must map.*\[0\]"),  # type: ignore[arg-type]
    ("fqe data", lambda: fitted_q_estimate(
        [1], built(), gamma=0.5), T, "dataset must be .*got list"),  # type: ignore[arg-type]
    ("fqe config", lambda: fitted_q_estimate(
        buffer(), built(), gamma=0.5, config=DQNConfig()), T, "config must be an FQE"),  # type: ignore[arg-type]
    ("fqe shape", lambda: fitted_q_estimate(
        buffer(observations=np.zeros((6, 5))), built(), gamma=0.5), V, "algo must be f"),
    # configs, kinds
    ("encoder", config(
        critic_encoder_factory="mlp"), V, "critic_encoder_factory must be .*'mlp'"),
    ("optimizer", config(
        critic_optim_factory=None), V, "critic_optim_factory must be .*got None"),
    ("scaler", config(reward_scaler="standard"), V, "reward_scaler must be .*'standard'"),
    ("flag", lambda: Functional(
        spectral_norm="no"), V, "spectral_norm must be True or False"),  # type: ignore[arg-type]
    ("state list", config(state_constraints=3), V, "state_constraints must be a list"),
    ("choice array", config(greedy=np.array(["critic"])), V, "greedy must be"),
    ("iql encoder", lambda: DiscreteIQLConfig(
        value_encoder_factory=1), V, "value_encoder_factory must be"),  # type: ignore[arg-type]
    # fit, kinds
    ("fit data", lambda: unbuilt().fit([1], n_steps=1), T, "dataset must be .*got list"),
    ("callback", lambda: fit(callback=3), V, "callback must be a function, got 3"),
    ("evaluators", lambda: fit(evaluators=[1]), V, r"evaluators must map.*got \[1\]"),
    ("checkpoint kind", lambda: fit(checkpoint=3), T, "checkpoint must be a path"),
    ("checkpoint below", lambda: fit(
        checkpoint=pathlib.Path(__file__) / "c.pt"), V, "checkpoint must be a file in"),
    # buffers, kinds
    ("one number", lambda: buffer(observations=1.0), V, "observations must have at l"),
    ("no parts", lambda: buffer(observations=[]), V, "observations must have at least"),
    ("no width", lambda: buffer(observations=OBSERVATIONS[:, :0]), V, "a number in each"),
    ("ragged", lambda: buffer(observations=[[1], [1, 2]]), V, "observations must be one"),
    ("float32", lambda: buffer(rewards=[1e300] * 6), V, "rewards must be finite in"),
    ("no actions", lambda: buffer(actions=[]), V, "actions must"),
    ("extras", lambda: buffer(extras=[1]), T, "extras must map .*got list"),
    ("extra name", lambda: buffer(extras={1: [1]}), T, "extras must map .*got int"),
    ("extra", lambda: buffer(extras={"e": [1]}), V, "extras: e must have 6 rows, got 1"),
    ("size text", lambda: buffer(action_size="3"), V, "action_size must be .*got '3'"),
    ("size float", lambda: buffer(action_size=2.5), V, r"action_size must be .*got 2\.5"),
    ("space", lambda: buffer(action_space="discrete"), T, "action_space must be"),
    ("picker", lambda: buffer(transition_picker=1), T, "transition_picker must be"),
    ("source", lambda: ColumnarReplayBuffer.from_replay_buffer([1]), T, "source must be"),  # type: ignore[arg-type]
    ("sb3 source", lambda: ColumnarReplayBuffer.from_sb3(None), T, "source must be"),
    ("minari", lambda: ColumnarReplayBuffer.from_minari(3), T, "dataset must be"),  # type: ignore[arg-type]
    ("minari id", lambda: buffer().to_minari(3), T, "dataset_id must be a text, got 3"),  # type: ignore[arg-type]
    ("table path", lambda: buffer().to_parquet(None), T, "file must be a path"),  # type: ignore[arg-type]
    ("files", lambda: ColumnarReplayBuffer.from_parquet(
        None, observation="x", action="a", reward="r"), T, "files must be a path or"),  # type: ignore[arg-type]
    ("cache", lambda: ColumnarReplayBuffer.from_parquet(
        ".", observation="x", action="a", reward="r", cache_folder=__file__),
        NotADirectoryError, "cache_folder must be a folder"),
    # shards
    ("out file", lambda: write_shards(__file__, 1000), FileExistsError, "out must be a"),
    ("out null", lambda: write_shards("a\0b", 1000), V, "out must be a folder without"),
    # Stable-Baselines3
    ("adapter nan", lambda: PolicyAdapter(built()).predict(
        np.array([np.nan, 0.0])), V, "observation must be finite"),
    ("sb3 reward", lambda: sb3_fit(reward=np.nan), V, "rewards must be finite"),
    ("sb3 observation", lambda: sb3_fit(x=np.inf), V, "observations must be f"),
    ("sb3 action", lambda: sb3_fit(action=-1), V, "actions must be .*-1"),
    ("sb3 buffer", lambda: dqn().fit([1], 1), T, "replay_buffer must be .*got list"),
    ("sb3 continuous", lambda: dqn().fit(buffer(
        actions=np.zeros((6, 1), np.float32), action_size=None), 1), V, "discrete act"),
    ("record env", lambda: record_log(dqn(), "BidClick-v0", 3), T, "env must .*got str"),  # type: ignore[arg-type]
    ("record actions", lambda: record_log(
        dqn(), gym.make("BidClick-v0", bids=(0.0, 1.0)), 3), V, "model's action_space"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "call", "error", "message"), TABLE)
def test_bad_input(
    name: str, call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        call()
    assert str(caught.value)
    assert os.listdir() == [], "a file was touched"


def test_the_table_is_long_enough() -> None:
    names = [name for name, *_ in TABLE]
    assert len(names) == len(set(names)) >= 60


RESULTS: list[tuple[list[str], str]] = [
    (["table1", "--out", __file__], "--out must be a folder that can be written"),
    (["shapes", "--out", f"{__file__}/x"], "--out must be a folder that can be written"),
    (["paper", "--ledger", "."], "--ledger must be a file, got the folder"),
    (["paper", "--ledger", f"{__file__}/x.md"], "--ledger must be a folder that can"),
    (["gallery", "--out", "a\0b"], "--out must be a path, got"),
    (["table1", "--algorithms", "DQN,DQN"], "--algorithms: must name each once"),
]


@pytest.mark.parametrize(("words", "message"), RESULTS)
def test_results_that_could_not_be_written_are_not_begun(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        benchmarks_main(words)
    assert message in capsys.readouterr().err
    assert list(pathlib.Path().iterdir()) == []


def test_the_config_of_an_evaluation_stays_as_it_was() -> None:
    given = FQEConfig(gamma=0.9, batch_size=4)
    fitted_q_estimate(
        buffer(), built(), gamma=0.5, n_steps=1, config=given, show_progress=False
    )
    assert given.gamma == 0.9
