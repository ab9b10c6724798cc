"""One contract over algorithms, shapes and projections, however a shape is handed in.

Not the whole product: every algorithm meets every projection, and every shape meets every
projection that offers it (``test_every_pair_is_met``).
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import d3rlpy
import numpy as np
import onnxruntime
import pytest
import torch
from d3rlpy.algos import (
    DiscreteBCQConfig,
    DiscreteCQLConfig,
    DiscreteSACConfig,
    DoubleDQNConfig,
    DQNConfig,
)
from d3rlpy.base import LearnableConfigWithShape
from d3rlpy.models import VectorEncoderFactory
from d3rlpy.models.q_functions import MeanQFunctionFactory, QRQFunctionFactory
from d3rlpy.preprocessing import (
    MinMaxObservationScaler,
    MultiplyRewardScaler,
    StandardRewardScaler,
)

from icac_algo import (
    Bounded,
    Canonical,
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
    ShapedQFunctionFactory,
    SlopeBounds,
    StateLipschitz,
    StateMonotone,
)

Factory = Callable[..., Any]
COST = KnownCost(feature=1, coefficient=0.5)
STEPS = 8


class Shape(NamedTuple):
    """A shape over actions and, perhaps, over states."""

    constraint: Any
    state: tuple[Any, ...] = ()


ALGORITHMS: dict[str, Any] = {
    "DQN": DQNConfig,
    "DoubleDQN": DoubleDQNConfig,
    "DiscreteCQL": DiscreteCQLConfig,
    "DiscreteBCQ": DiscreteBCQConfig,
    "DiscreteSAC": DiscreteSACConfig,
    "DiscreteIQL": DiscreteIQLConfig,
    "ConstraintAwareQ": ConstraintAwareQConfig,
}
OURS = ("DiscreteIQL", "ConstraintAwareQ")
SHAPES = {
    "monotone": Shape(Monotone()),
    "slope-bounds": Shape(SlopeBounds(-1.0, 1.0)),
    "bounded": Shape(Bounded(0.0, 1.0)),
    "concave": Shape(Concave()),
    "convex": Shape(Convex()),
    "monotone-concave-cost": Shape(MonotoneConcave(known_cost=COST)),
    "concave-slope-bounds": Shape(Intersection([Concave(), SlopeBounds(-2.0, 2.0)])),
    "falling-bounded": Shape(
        Intersection([Monotone(increasing=False), Bounded(-1.0, None)])
    ),
    "state-monotone": Shape(
        Concave(), (StateMonotone([0]), StateMonotone([2], increasing=False))
    ),
    "state-lipschitz": Shape(
        MonotoneConcave(), (StateMonotone([0]), StateLipschitz(3.0))
    ),
}


CRITICS = {
    "functional": Functional(),
    "canonical": Canonical(),
    "euclidean": Euclidean(),
}


class Case(NamedTuple):
    """One cell of the product."""

    algorithm: str
    shape: str
    critic: str

    def __str__(self) -> str:
        return "-".join(self)


def offered(shape: Shape, critic: str) -> bool:
    """Whether the documentation promises the combination."""
    return critic == "functional" or not shape.state


CASES = [
    Case(list(ALGORITHMS)[(i + 2 * j) % len(ALGORITHMS)], shape, critic)
    for j, critic in enumerate(CRITICS)
    for i, shape in enumerate(SHAPES)
    if offered(SHAPES[shape], critic)
]
each_case = pytest.mark.parametrize("case", CASES, ids=str)


def config_of(case: Case, **fields: Any) -> Any:
    """A config with small networks and a learning rate that leaves nothing in place."""
    make, (constraint, state) = ALGORITHMS[case.algorithm], SHAPES[case.shape]
    names = make.__dataclass_fields__
    for name in names:
        if name.endswith("encoder_factory"):
            fields[name] = VectorEncoderFactory([16, 16])
        if name in ("learning_rate", "critic_learning_rate"):
            fields[name] = 0.03
    if case.algorithm == "ConstraintAwareQ":
        fields |= {"constraint": constraint, "state_constraints": list(state)}
        fields["critic"] = CRITICS[case.critic]
    else:
        fields["q_func_factory"] = ShapedQFunctionFactory(
            constraint=constraint,
            state_constraints=list(state),
            critic=CRITICS[case.critic],
            observation_scaler=fields.get("observation_scaler"),
            reward_scaler=fields.get("reward_scaler"),
        )
    return make(batch_size=16, **fields)


@pytest.fixture(scope="module")
def learned(fit_quietly: Factory, make_dataset: Factory) -> Factory:
    """Case to its algorithm after a few updates; made once each."""
    made: dict[Case, Any] = {}

    def get(case: Case) -> Any:
        if case not in made:
            made[case] = fit_quietly(config_of(case), make_dataset(), steps=STEPS)
        return made[case]

    return get


def values_of(algo: Any, x: np.ndarray, n_actions: int) -> np.ndarray:
    columns = [algo.predict_value(x, np.full((len(x), 1), a)) for a in range(n_actions)]
    return np.stack(columns, axis=1)


def worst(algo: Any, x: np.ndarray, n_actions: int, constraint: Any) -> float:
    """Largest shortfall beyond what float32 can tell apart; above 0 is a violation."""
    q = values_of(algo, x, n_actions)
    assert q.dtype == np.float32
    assert np.isfinite(q).all()
    positions, slope = constraint.positions(n_actions), slope_of(algo)
    gross = q.astype(np.float64)
    if constraint.known_cost is not None:
        cost = constraint.known_cost.coefficient * x[:, [constraint.known_cost.feature]]
        gross = gross + slope * cost.astype(np.float64) * positions
    matrix = constraint.inequalities(positions)
    size = np.abs(matrix).max(axis=1, keepdims=True)
    bounds = slope * constraint.bounds(positions) / size[:, 0]
    shortfall = bounds - gross @ (matrix / size).T
    scale = np.maximum(np.abs(gross), np.abs(q)).max(axis=1, keepdims=True)
    if len(algo.impl.q_function) > 1:
        # Critics may cancel, and d3rlpy takes their mean in float32.
        scale = scale.max(keepdims=True)
    return float((shortfall - 1e-6 * scale).max())


def slope_of(algo: Any) -> float:
    """Scaled reward per unit of reward."""
    if algo.reward_scaler is None:
        return 1.0
    return float(np.diff(algo.reward_scaler.transform_numpy(np.array([0.0, 1.0])))[0])


def observations() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    near = rng.random((40, 3)).astype(np.float32)
    return [near, 1e3 * (near - 0.5), 1e6 * (near - 0.5), np.zeros((2, 3), np.float32)]


def test_every_pair_is_met() -> None:
    assert len(set(CASES)) == len(CASES)
    assert {(c.algorithm, c.critic) for c in CASES} == {
        (algorithm, critic) for algorithm in ALGORITHMS for critic in CRITICS
    }
    assert {(c.shape, c.critic) for c in CASES} == {
        (name, critic)
        for name, shape in SHAPES.items()
        for critic in CRITICS
        if offered(shape, critic)
    }


@each_case
def test_trained_values_are_exact(case: Case, learned: Factory, n_actions: int) -> None:
    algo, (constraint, state) = learned(case), SHAPES[case.shape]
    for x in observations():
        assert worst(algo, x, n_actions, constraint) <= 0.0
    for shape in state:
        check_state_shape(shape, algo, n_actions)


def check_state_shape(shape: Any, algo: Any, n_actions: int) -> None:
    rng = np.random.default_rng(1)
    for size in (1e-2, 1.0, 1e4):
        one = (size * rng.normal(size=(50, 3))).astype(np.float32)
        other = one.copy()
        if isinstance(shape, StateMonotone):
            steps = size * rng.random((50, len(shape.features)))
            other[:, shape.features] += steps.astype(np.float32)
        else:
            other += (size * rng.normal(size=(50, 3))).astype(np.float32)
        before, after = (values_of(algo, x, n_actions) for x in (one, other))
        rounding = 2e-6 * np.maximum(np.abs(before), np.abs(after)).max()
        if isinstance(shape, StateMonotone):
            rise = after - before if shape.increasing else before - after
            assert rise.min() >= -rounding
        else:
            distance = np.linalg.norm(one.astype(float) - other, axis=1)[:, None]
            assert (np.abs(after - before) <= shape.constant * distance + rounding).all()


def test_training_moves_the_values(fit_quietly: Factory, make_dataset: Factory) -> None:
    """What is exact is not a constant."""
    for case in (Case(name, "concave", "functional") for name in ALGORITHMS):
        algo = fit_quietly(config_of(case), make_dataset(), steps=STEPS)
        x = observations()[0]
        assert values_of(algo, x, 5).std(axis=0).max() > 1e-3, case
        assert values_of(algo, x, 5).std(axis=1).max() > 1e-3, case


@each_case
def test_same_seed_same_result(
    case: Case,
    learned: Factory,
    fit_quietly: Factory,
    make_dataset: Factory,
    n_actions: int,
) -> None:
    again = fit_quietly(config_of(case), make_dataset(), steps=STEPS)
    x = observations()[0]
    first, second = (values_of(algo, x, n_actions) for algo in (learned(case), again))
    assert np.array_equal(first, second)
    assert np.array_equal(learned(case).predict(x), again.predict(x))


@each_case
def test_saves_and_loads(
    case: Case, learned: Factory, n_actions: int, working_folder: pathlib.Path
) -> None:
    algo, x = learned(case), observations()[0]
    algo.save("model.d3")
    loaded = d3rlpy.load_learnable("model.d3", device="cpu:0")
    assert loaded.config == algo.config
    assert type(loaded) is type(algo)
    assert np.array_equal(values_of(loaded, x, n_actions), values_of(algo, x, n_actions))
    assert np.array_equal(loaded.predict(x), algo.predict(x))
    algo.save_model("model.pt")
    shaped = LearnableConfigWithShape((3,), n_actions, algo.config)
    pathlib.Path("params.json").write_text(shaped.serialize())
    again = type(algo).from_json("params.json", device="cpu:0")
    assert again.config == algo.config
    again.load_model("model.pt")
    assert np.array_equal(values_of(again, x, n_actions), values_of(algo, x, n_actions))


@pytest.mark.slow
def test_saved_plug_ins_load_in_a_fresh_process(
    learned: Factory, n_actions: int, working_folder: pathlib.Path
) -> None:
    """One case of each algorithm; a new process that imports only icac_algo."""
    cases = {case.algorithm: case for case in CASES}
    x = observations()[0]
    np.save("x.npy", x)
    for name, case in cases.items():
        learned(case).save(f"{name}.d3")
        np.save(f"{name}.npy", values_of(learned(case), x, n_actions))
    script = (
        "import sys, icac_algo, d3rlpy, numpy as np\n"
        "x = np.load('x.npy')\n"
        "for name in sys.argv[1:]:\n"
        "    algo = d3rlpy.load_learnable(name + '.d3', device='cpu:0')\n"
        "    q = [algo.predict_value(x, np.full((len(x), 1), a))"
        f"         for a in range({n_actions})]\n"
        "    assert np.array_equal(np.stack(q, 1), np.load(name + '.npy')), name\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, *cases],
        cwd=working_folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


# -- export --------------------------------------------------------------------


def is_an_iteration(case: Case) -> bool:
    """Whether the deployed critic is a solver, which no fixed graph can hold."""
    constraint = SHAPES[case.shape].constraint
    return case.critic == "euclidean" and not constraint.has_closed_form(5)


# d3rlpy's exporter lets torch warn of every constant; the answers are what counts.
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@each_case
def test_exported_torchscript(case: Case, learned: Factory) -> None:
    algo = learned(case)
    # DiscreteIQL and DiscreteSAC export their policies, which are no critics.
    if is_an_iteration(case) and case.algorithm not in ("DiscreteIQL", "DiscreteSAC"):
        with pytest.raises(ValueError, match="no closed form"):
            algo.save_policy("policy.pt")
        assert not pathlib.Path("policy.pt").exists()
        assert algo.predict(observations()[0]).shape == (40,)
        return
    algo.save_policy("policy.pt")
    policy = torch.jit.load("policy.pt")
    for x in observations():
        for n in (1, 7, len(x)):
            answer = policy(torch.as_tensor(x[:n])).numpy()
            assert np.array_equal(answer, algo.predict(x[:n]))


OUR_CASES = [case for case in CASES if case.algorithm in OURS]


@pytest.mark.parametrize(
    "case",
    [OUR_CASES[0], *(pytest.param(c, marks=pytest.mark.slow) for c in OUR_CASES[1:])],
    ids=str,
)
def test_exported_onnx(case: Case, learned: Factory) -> None:
    """Ours only: d3rlpy's own ONNX export does not work with current torch."""
    algo = learned(case)
    if is_an_iteration(case) and case.algorithm != "DiscreteIQL":
        with pytest.raises(ValueError, match="no closed form"):
            algo.save_policy("policy.onnx")
        return
    algo.save_policy("policy.onnx")
    session = onnxruntime.InferenceSession("policy.onnx")
    for x in observations()[:2]:
        for n in (1, 7, len(x)):
            (answer,) = session.run(None, {"input_0": x[:n]})
            assert np.array_equal(answer, algo.predict(x[:n]))


# -- scalers -------------------------------------------------------------------


@pytest.mark.parametrize(
    "case",
    [
        Case("DQN", "monotone-concave-cost", "canonical"),
        Case("DiscreteCQL", "slope-bounds", "functional"),
        Case("DiscreteSAC", "bounded", "euclidean"),
        Case("DiscreteIQL", "concave-slope-bounds", "functional"),
        Case("ConstraintAwareQ", "bounded", "canonical"),
        Case("ConstraintAwareQ", "concave-slope-bounds", "euclidean"),
        Case("DoubleDQN", "state-monotone", "functional"),
    ],
    ids=str,
)
def test_shapes_are_stated_in_unscaled_units(
    case: Case, fit_quietly: Factory, make_dataset: Factory, n_actions: int
) -> None:
    constraint = SHAPES[case.shape].constraint
    bounded = constraint.shape_set().has_value_bounds
    config = config_of(
        case,
        observation_scaler=MinMaxObservationScaler(),
        # A shift of rewards goes with every shape but bounds on values.
        reward_scaler=MultiplyRewardScaler(4.0) if bounded else StandardRewardScaler(),
    )
    algo = fit_quietly(config, make_dataset(), steps=STEPS)
    assert slope_of(algo) != 1.0
    for x in observations()[:2]:
        assert worst(algo, x, n_actions, constraint) <= 0.0
    if case.shape == "state-monotone":
        for shape in SHAPES[case.shape].state:
            check_state_shape(shape, algo, n_actions)


# -- refusals ------------------------------------------------------------------


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_mean_of_convex_critics_is_convex(
    name: str, fit_quietly: Factory, make_dataset: Factory, n_actions: int
) -> None:
    """The minimum, which targets use, is not; what is shown is the mean."""
    case = Case(name, "convex", "functional")
    algo = fit_quietly(config_of(case, n_critics=3), make_dataset(), steps=STEPS)
    for x in observations():
        assert worst(algo, x, n_actions, Convex()) <= 0.0


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("critic", ["canonical", "euclidean"])
def test_state_shapes_are_functional(name: str, critic: str) -> None:
    with pytest.raises(ValueError, match=r"state_constraints need critic=Functional\(\)"):
        config_of(Case(name, "state-monotone", critic))


# -- DiscreteIQL's own way in --------------------------------------------------


def test_discrete_iql_without_a_plug_in_is_what_it_was(
    fit_quietly: Factory, make_dataset: Factory
) -> None:
    made = (
        DiscreteIQLConfig(batch_size=16),
        DiscreteIQLConfig(batch_size=16, q_func_factory=MeanQFunctionFactory()),
    )
    one, two = (fit_quietly(config, make_dataset(), steps=5) for config in made)
    assert one.config == two.config
    x = observations()[0]
    assert np.array_equal(values_of(one, x, 5), values_of(two, x, 5))


@pytest.mark.parametrize(
    "factory", [QRQFunctionFactory(), ShapedQFunctionFactory(n_quantiles=8)]
)
def test_discrete_iql_has_no_loss_for_quantiles(factory: Any) -> None:
    with pytest.raises(ValueError, match=r"q_func_factory must be .* got \w*QFunction"):
        DiscreteIQLConfig(q_func_factory=factory)
