"""Graphs of policies: equal to ``predict`` at any batch, or refused with the reason."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import d3rlpy
import numpy as np
import onnxruntime
import pytest
import torch
from d3rlpy.algos import (
    BCQConfig,
    CRRConfig,
    DiscreteCQLConfig,
    DiscreteSACConfig,
    DQNConfig,
    TD3PlusBCConfig,
)
from d3rlpy.models import VectorEncoderFactory
from d3rlpy.preprocessing import (
    MinMaxActionScaler,
    MinMaxObservationScaler,
    StandardObservationScaler,
    StandardRewardScaler,
)

from icac_algo import (
    Bounded,
    Canonical,
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    Convex,
    DiscreteIQLConfig,
    Euclidean,
    Functional,
    Intersection,
    KnownCost,
    Monotone,
    MonotoneConcave,
    ShapedIQLConfig,
    ShapedQFunctionFactory,
    SlopeBounds,
    Unconstrained,
)
from icac_algo.export import load, save, save_graph
from icac_algo.shapes.projection import methods

BATCHES = (1, 2, 1025)
SIZES = {"K2": 2, "K3": 3, "K21": 21, "K101": 101}
SHAPES: dict[str, Any] = {
    "rising": Monotone,
    "concave": Concave,
    "rising concave cost": lambda: MonotoneConcave(known_cost=KnownCost(1, 0.5)),
}
CRITICS = {"functional": Functional, "canonical": Canonical, "euclidean": Euclidean}
SCALERS: dict[str, Any] = {
    "raw": lambda: None,
    "standard": StandardObservationScaler,
    "min-max": MinMaxObservationScaler,
}
HOSTS: dict[str, Any] = {
    "ours": ConstraintAwareQConfig,
    "dqn": DQNConfig,
    "cql": DiscreteCQLConfig,
    "iql": DiscreteIQLConfig,
    "sac": DiscreteSACConfig,
}
STATES = ("fresh", "loaded", "used")


def contexts(count: int) -> Any:
    drawn = np.random.default_rng(count).normal(size=(count, 3))
    return (np.array([1.0, 1.0, 5.0]) * drawn + [0.0, 1.0, -3.0]).astype(np.float32)


def log_of(size: int | None) -> ColumnarReplayBuffer:
    """A small log; actions are continuous where there is no number of them."""
    rng = np.random.default_rng(0)
    x = contexts(400)
    rewards = rng.normal(size=400) + x[:, 0]
    if size is None:
        actions = rng.random((400, 1)).astype(np.float32)
        return ColumnarReplayBuffer.from_arrays(
            x, actions, rewards, terminals=np.ones(400, bool)
        )
    actions = rng.integers(0, size, 400)
    return ColumnarReplayBuffer.from_arrays(
        x, actions, rewards, terminals=np.ones(400, bool), action_size=size
    )


def config_of(host: Any, shape: Any, critic: Any, scaler: Any, **more: Any) -> Any:
    fields: dict[str, Any] = {"batch_size": 16, "observation_scaler": scaler, **more}
    for name in host.__dataclass_fields__:
        if name.endswith("encoder_factory"):
            fields[name] = VectorEncoderFactory([8])
    if host is ConstraintAwareQConfig:
        return host(constraint=shape, critic=critic, **fields)
    factory = ShapedQFunctionFactory(
        shape,
        critic,
        observation_scaler=scaler,
        action_scaler=more.get("action_scaler"),
    )
    return host(q_func_factory=factory, **fields)


def prepared(config: Any, state: str, size: int | None) -> Any:
    """An algorithm whose critic nobody has asked yet, or that has been asked."""
    d3rlpy.seed(1)
    algo = config.create(device="cpu:0")
    algo.fit(
        log_of(size),
        n_steps=0 if state == "fresh" else 4,
        n_steps_per_epoch=4,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    if algo.observation_scaler is not None and not algo.observation_scaler.built:
        algo.observation_scaler.fit_with_transition_picker(
            log_of(size).episodes, log_of(size).transition_picker
        )
    if state == "loaded":
        save(algo, "model", overwrite=True)
        algo = load("model", device="cpu:0")
    # As in a process that has not projected anything.
    methods._choose.cache_clear()
    if state == "used":
        algo.predict(contexts(5))
    return algo


def answers(file: str, x: Any) -> dict[str, Any]:
    """What a graph says, by the names in its own description."""
    if file.endswith(".onnx"):
        session = onnxruntime.InferenceSession(file)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, {"input_0": x}), strict=True))
    extra = {"icac_algo": ""}
    graph = torch.jit.load(file, _extra_files=extra)
    found = graph(torch.as_tensor(x))
    parts = [part.numpy() for part in (found if isinstance(found, tuple) else [found])]
    return dict(zip(json.loads(extra["icac_algo"])["outputs"], parts, strict=True))


def description_of(file: str) -> Any:
    if file.endswith(".onnx"):
        meta = onnxruntime.InferenceSession(file).get_modelmeta()
        return json.loads(meta.custom_metadata_map["icac_algo"])
    extra = {"icac_algo": ""}
    torch.jit.load(file, _extra_files=extra)
    return json.loads(extra["icac_algo"])


def all_values(algo: Any, x: Any, size: int) -> Any:
    actions = np.tile(np.arange(size), len(x))
    values = algo.predict_value(np.repeat(x, size, axis=0), actions)
    return np.asarray(values).reshape(-1, size)


def check_discrete(algo: Any, file: str, size: int, positions: Any) -> None:
    for count in BATCHES:
        x = contexts(count)
        found, expected = answers(file, x), algo.predict(x)
        same = found["action"] == expected
        assert same.mean() > 0.99
        # Sums of float32 products differ by rounding: only a tie may go the other way.
        rows = np.append(np.arange(min(count, 20)), np.flatnonzero(~same))
        values = all_values(algo, x[rows], size)
        assert found["q_values"][rows] == pytest.approx(values, rel=1e-5, abs=1e-5)
        picked = found["action"][rows], expected[rows]
        one, other = (values[np.arange(len(rows)), action] for action in picked)
        assert one == pytest.approx(other, rel=1e-5, abs=1e-5)
        assert np.array_equal(found["action_value"], positions[found["action"]])
        assert found["probabilities"].sum(axis=1) == pytest.approx(1.0, abs=1e-5)


def export_or_reason(algo: Any, file: str) -> str | None:
    before = algo.predict(contexts(5))
    methods._choose.cache_clear()
    reason = None
    try:
        save_graph(algo, file)
    except ValueError as error:
        reason = str(error)
        assert not pathlib.Path(file).exists()
    # What was traced stays in the graph.
    assert np.array_equal(algo.predict(contexts(5)), before)
    return reason


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.covering(1, 2)
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("scaler", SCALERS.values(), ids=SCALERS)
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("critic", CRITICS.values(), ids=CRITICS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
def test_discrete_policies(
    host: Any, shape: Any, critic: Any, size: int, scaler: Any, state: str
) -> None:
    stated = shape()
    algo = prepared(config_of(host, stated, critic(), scaler()), state, size)
    for file in ("graph.pt", "graph.onnx"):
        reason = export_or_reason(algo, file)
        if critic is Euclidean and not stated.has_closed_form(size):
            assert reason is not None
            assert "no closed form" in reason
        else:
            assert reason is None
            check_discrete(algo, file, size, stated.positions(size))


CONTINUOUS: dict[str, Callable[[Any, Any], Any]] = {
    **{
        name: lambda scaler, actions, shape=shape: config_of(
            ConstraintAwareQConfig,
            shape,
            Functional(),
            scaler,
            action_scaler=actions,
            reward_scaler=None if shape == Bounded(-2.0, 3.0) else StandardRewardScaler(),
        )
        for name, shape in {
            "ours concave": Concave(actions=[0.0, 2.0]),
            "ours free": Unconstrained(),
            "ours rising cost": Monotone(known_cost=KnownCost(1, 0.5)),
            "ours convex": Convex(),
            "ours bounded": Bounded(-2.0, 3.0),
            "ours between": Intersection([Concave(), SlopeBounds(-9.0, 9.0)]),
        }.items()
    },
    **{
        name: lambda scaler, actions, host=host: config_of(
            host, Concave(), Functional(), scaler, action_scaler=actions
        )
        for name, host in {
            "iql": ShapedIQLConfig,
            "td3+bc": TD3PlusBCConfig,
            "crr": CRRConfig,
            "bcq": BCQConfig,
        }.items()
    },
}


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.covering(1)
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("scaler", SCALERS.values(), ids=SCALERS)
@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_policies(name: str, scaler: Any, state: str) -> None:
    actions = MinMaxActionScaler() if scaler() is not None else None
    algo = prepared(CONTINUOUS[name](scaler(), actions), state, None)
    for file in ("graph.pt", "graph.onnx"):
        if name in ("crr", "bcq"):
            # Their predict draws.
            with pytest.raises(ValueError, match="predict without chance"):
                save_graph(algo, file)
            continue
        save_graph(algo, file)
        for count in BATCHES:
            x = contexts(count)
            found, expected = answers(file, x), algo.predict(x)
            assert found["action"].shape == (count, 1)
            assert np.abs(found["action"] - expected).max() < 1e-5
            assert np.array_equal(found["action_value"], found["action"][:, 0])
            values = algo.predict_value(x, expected)
            assert found["q_values"][:, 0] == pytest.approx(values, rel=1e-5, abs=1e-5)
    if name == "iql" or name.startswith("ours"):
        algo.save_policy("policy.onnx")
        assert list(answers("policy.onnx", contexts(3))) == ["output_0"]


@pytest.mark.parametrize("file", ["graph.pt", "graph.onnx"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_gets_no_action(bad: float, file: str) -> None:
    x = contexts(3)
    for size in (5, None):
        shape = Monotone(actions=np.linspace(1.0, 3.0, 5) if size else [0.0, 1.0])
        algo = prepared(
            config_of(ConstraintAwareQConfig, shape, Functional(), None), "used", size
        )
        save_graph(algo, file)
        spoilt = x.copy()
        spoilt[1, 2] = bad
        whole, found = answers(file, x), answers(file, spoilt)
        for name, answer in found.items():
            assert np.array_equal(answer[[0, 2]], whole[name][[0, 2]])
            if answer.dtype == np.int64:
                # No list has it; -1 would be the highest.
                assert answer[1] == -(2**63)
            else:
                assert np.isnan(answer[1]).all()


@pytest.mark.parametrize("file", ["graph.pt", "graph.onnx"])
def test_graphs_describe_themselves(file: str) -> None:
    bids = [0.1, 0.25, 2.0]
    algo = prepared(
        config_of(
            ConstraintAwareQConfig, Concave(actions=bids), Functional(),
            MinMaxObservationScaler(),
        ),
        "used",
        3,
    )  # fmt: skip
    save_graph(algo, file, features=["hour", "cost", "rank"], units="EUR a click")
    found = description_of(file)
    assert found["features"] == ["hour", "cost", "rank"]
    assert found["inputs"] == [
        {"name": "input_0", "dtype": "float32", "shape": ["batch", 3]}
    ]
    assert found["actions"] == {
        "kind": "discrete", "positions": bids, "units": "EUR a click"
    }  # fmt: skip
    assert "min_max" in found["preparation"]
    assert list(found["outputs"]) == [
        "action",
        "action_value",
        "q_values",
        "probabilities",
    ]
    assert found["versions"]["torch"] == importlib.metadata.version("torch")
    save_graph(algo, file)
    assert description_of(file)["features"] == ["x0", "x1", "x2"]
    algo = prepared(
        config_of(DQNConfig, Concave(actions=bids), Functional(), None), "used", 3
    )
    save_graph(algo, file)
    assert description_of(file)["actions"]["positions"] == bids
    algo = prepared(CONTINUOUS["ours concave"](None, None), "used", None)
    save_graph(algo, file)
    found = description_of(file)["actions"]
    assert (found["kind"], found["low"], found["high"]) == ("continuous", 0.0, 2.0)
    assert str(pathlib.Path.cwd()).encode() not in pathlib.Path(file).read_bytes()


@pytest.mark.parametrize(
    ("features", "kind"),
    [
        (["a", "b"], ValueError),
        (["a", "b", "b"], ValueError),
        (["a", "b", ""], ValueError),
        (["a", "b", 3], ValueError),
        ("abc", TypeError),
        (3, TypeError),
    ],
)
def test_features_are_names(features: Any, kind: type[Exception]) -> None:
    algo = prepared(
        config_of(ConstraintAwareQConfig, Concave(), Functional(), None), "fresh", 3
    )
    with pytest.raises(kind, match="features must be 3 different names"):
        save_graph(algo, "graph.pt", features=features)
    with pytest.raises(TypeError, match="units must be words"):
        save_graph(algo, "graph.pt", units=3)  # type: ignore[arg-type]
    assert os.listdir() == []


def test_exporting_draws_no_random_numbers() -> None:
    algo = prepared(
        config_of(ConstraintAwareQConfig, Concave(), Functional(), None), "used", 3
    )
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    save_graph(algo, "graph.pt")
    assert torch.equal(before, torch.random.get_rng_state())


def test_another_model_of_the_same_shape_can_predict_after_an_export() -> None:
    made = [
        prepared(config_of(host, Monotone(), Euclidean(), None), "fresh", 5)
        for host in (ConstraintAwareQConfig, DQNConfig)
    ]
    methods._choose.cache_clear()
    save_graph(made[0], "graph.onnx")
    assert made[1].predict(contexts(7)).shape == (7,)
    assert made[1].update is not None
    x = torch.zeros((4, 5), requires_grad=True)
    Monotone().project(x).sum().backward()
    assert x.grad is not None


def test_d3rlpys_own_way_out_asks_the_critic_too() -> None:
    algo = prepared(config_of(DQNConfig, Concave(), Euclidean(), None), "used", 21)
    with pytest.raises(ValueError, match="no closed form"):
        algo.save_policy("policy.pt")
    assert algo.predict(contexts(3)).shape == (3,)


def test_probabilities_are_what_is_sampled() -> None:
    algo = prepared(
        config_of(ConstraintAwareQConfig, Concave(), Functional(), None), "used", 5
    )
    save_graph(algo, "graph.onnx")
    one = np.repeat(contexts(1), 4000, axis=0)
    chances = answers("graph.onnx", one[:1])["probabilities"][0]
    drawn = np.bincount(algo.sample_action(one), minlength=5) / 4000
    # Five standard errors of a share.
    assert drawn == pytest.approx(chances, abs=5 * 0.5 / np.sqrt(4000))


def test_graphs_that_cannot_be() -> None:
    algo = prepared(
        config_of(ConstraintAwareQConfig, Concave(), Functional(), None), "fresh", 5
    )
    for write in (save_graph, type(algo).save_policy):
        with pytest.raises(ValueError, match=r"fname must end with \.pt or \.onnx"):
            write(algo, "graph.h5")
    with pytest.raises(ValueError, match="algo must be built"):
        save_graph(ConstraintAwareQConfig().create(device="cpu:0"), "graph.pt")
    with pytest.raises(TypeError, match="algo must be an algorithm"):
        save_graph(3, "graph.pt")
    assert os.listdir() == []


# -- serving ---------------------------------------------------------------------


EXAMPLE = pathlib.Path(__file__).parents[3] / "examples" / "serve_bids.py"


@pytest.fixture(scope="module")
def serve() -> Any:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("serve_bids", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NAMES = ["hour", "cost", "rank"]
RECORD = {"rank": 2.5, "hour": 1, "cost": 0.3}


@pytest.mark.parametrize("size", [3, None])
def test_the_serving_example_answers_in_the_actions_units(
    size: int | None, serve: Any
) -> None:
    shape = Concave(actions=[0.1, 0.25, 2.0] if size else [0.0, 2.0])
    algo = prepared(
        config_of(ConstraintAwareQConfig, shape, Functional(), None), "used", size
    )
    save_graph(algo, "policy.onnx", features=NAMES)
    policy = serve.Policy("policy.onnx")
    for x in contexts(20):
        record = dict(zip(NAMES, map(float, x), strict=True))
        expected = algo.predict(x[None])[0]
        if size:
            assert policy.choose(record) == shape.positions(3)[expected]
        else:
            assert policy.choose(record) == pytest.approx(float(expected[0]), abs=1e-5)
    # Their order is that of the file.
    assert policy.choose(RECORD) == policy.choose(dict(sorted(RECORD.items())))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"cost": float("nan")}, "cost must be a finite number"),
        ({"cost": float("inf")}, "cost must be a finite number"),
        ({"cost": 1e39}, "cost must be a finite number"),
        ({"rank": 10**400}, "rank must be a finite number"),
        ({"hour": True}, "hour must be a finite number"),
        ({"hour": "3"}, "hour must be a finite number"),
        ({"hour": None}, "hour must be a finite number"),
        ({"hour": [1.0]}, "hour must be a finite number"),
        ({"extra": 1.0}, r"unknown: \['extra'\]"),
        ({"cost": ...}, r"missing: \['cost'\]"),
    ],
)
def test_the_serving_example_refuses_by_name(change: Any, word: str, serve: Any) -> None:
    algo = prepared(
        config_of(ConstraintAwareQConfig, Monotone(), Functional(), None), "fresh", 3
    )
    save_graph(algo, "policy.onnx", features=NAMES)
    policy = serve.Policy("policy.onnx")
    record = {k: v for k, v in {**RECORD, **change}.items() if v is not ...}
    with pytest.raises(ValueError, match=word):
        policy.choose(record)
    for other in ([1.0, 2.0, 3.0], 3, "hour"):
        with pytest.raises(ValueError, match="record must be an object"):
            policy.choose(other)


@pytest.mark.slow
def test_the_serving_example_needs_nothing_of_ours() -> None:
    algo = prepared(
        config_of(
            ConstraintAwareQConfig, Concave(actions=[0.1, 0.25, 2.0]), Functional(), None
        ),
        "used",
        3,
    )
    save_graph(algo, "policy.onnx", features=NAMES)
    imported = {"icac_algo", "torch", "d3rlpy", "gymnasium"}
    assert not any(f"import {name}" in EXAMPLE.read_text() for name in imported)

    def run(*words: str, lines: str = "") -> Any:
        command = [sys.executable, str(EXAMPLE), "policy.onnx", *words]
        return subprocess.run(
            command, input=lines, capture_output=True, text=True, check=False
        )

    x = np.array([[1.0, 0.3, 2.5]], np.float32)
    expected = [0.1, 0.25, 2.0][int(algo.predict(x)[0])]
    record = json.dumps(RECORD)
    found = run(record)
    assert found.stdout.strip() == str(expected), found.stderr
    assert run(lines=f"{record}\n{record}\n").stdout.split() == [str(expected)] * 2
    assert json.loads(run("--features").stdout) == NAMES
    assert "ms a decision" in run("--latency").stdout
    assert "missing: ['cost', 'rank']" in run('{"hour": 1}').stderr
    twice = run('{"hour": 1, "hour": 2, "cost": 1, "rank": 1}')
    assert "each feature once" in twice.stderr
    assert run("{").returncode == 2
