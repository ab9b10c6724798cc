"""Critics of quantiles: sorted, with a mean that has the shape; and acting under risk."""

from __future__ import annotations

import json
import math
import pathlib
import statistics
import subprocess
import sys
import warnings
from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch
from d3rlpy.algos import (
    BCConfig,
    DiscreteBCQConfig,
    DiscreteCQLConfig,
    DiscreteSACConfig,
    DoubleDQNConfig,
    DQNConfig,
)
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import Episode, InfiniteBuffer, ReplayBuffer, Signature
from d3rlpy.models import VectorEncoderFactory
from d3rlpy.models.q_functions import (
    IQNQFunctionFactory,
    MeanQFunctionFactory,
    QRQFunctionFactory,
)
from d3rlpy.models.torch import DiscreteQRQFunctionForwarder, QFunctionOutput
from d3rlpy.preprocessing import MinMaxObservationScaler, StandardRewardScaler

from icac_algo.critics import (
    Canonical,
    Euclidean,
    Functional,
    QuantileQFunction,
    ShapedQFunctionFactory,
)
from icac_algo.decisions import CVaR, greedy_actions
from icac_algo.shapes import (
    Bounded,
    Concave,
    Convex,
    Intersection,
    KnownCost,
    Monotone,
    MonotoneConcave,
    SlopeBounds,
    StateMonotone,
)

ACTIONS = 5
CRITICS = {
    "functional": Functional(),
    "canonical": Canonical(),
    "euclidean": Euclidean(),
}
NORMAL = statistics.NormalDist()
ALGORITHMS = {
    "dqn": DQNConfig,
    "double-dqn": DoubleDQNConfig,
    "cql": DiscreteCQLConfig,
    "bcq": DiscreteBCQConfig,
}
CONSTRAINTS: dict[str, Any] = {
    "monotone": Monotone,
    "concave": Concave,
    "cost": lambda: MonotoneConcave(
        known_cost=KnownCost(1, 0.5), actions=[0.0, 0.1, 0.5, 0.6, 2.0]
    ),
    "intersection": lambda: Intersection([Concave(), SlopeBounds(-2.0, 2.0)]),
}


def dataset(seed: int = 0, reward_size: float = 1.0) -> ReplayBuffer:
    """Rewards that no shape fits: falling and convex in the action, and noisy."""
    rng = np.random.default_rng(seed)
    buffer = ReplayBuffer(
        InfiniteBuffer(),
        observation_signature=Signature([np.dtype(np.float32)], [(3,)]),
        action_signature=Signature([np.dtype(np.int64)], [(1,)]),
        reward_signature=Signature([np.dtype(np.float32)], [(1,)]),
        action_space=ActionSpace.DISCRETE,
        action_size=ACTIONS,
    )
    for i in range(10):
        actions = rng.integers(0, ACTIONS, (10, 1))
        rewards = reward_size * (
            rng.normal(size=(10, 1)) + (actions - 2.0) ** 2 - actions
        )
        observations = rng.random((10, 3)).astype(np.float32)
        buffer.append_episode(
            Episode(observations, actions, rewards.astype(np.float32), bool(i % 2))
        )
    return buffer


def states(n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).random((n, 3)).astype(np.float32)


def make(config: Any = DQNConfig, q_func_factory: Any = None, **fields: Any) -> Any:
    factory = q_func_factory or ShapedQFunctionFactory(n_quantiles=8)
    names = {"batch_size": 16, "learning_rate": 0.01, "target_update_interval": 5}
    if config is DiscreteSACConfig:
        names = {"batch_size": 16}
        names["actor_encoder_factory"] = VectorEncoderFactory([8])
        names["critic_encoder_factory"] = VectorEncoderFactory([8])
    else:
        names["encoder_factory"] = VectorEncoderFactory([8])
    return config(q_func_factory=factory, **{**names, **fields})


def fit(config: Any, data: ReplayBuffer | None = None, steps: int = 15) -> Any:
    d3rlpy.seed(0)
    data = data or dataset()
    for scaler in (config.observation_scaler, config.reward_scaler):
        if scaler is not None:
            scaler.fit_with_transition_picker(data.episodes, data.transition_picker)
    algo = config.create(device="cpu:0")
    algo.build_with_dataset(data)
    for _ in range(steps):
        algo.update(data.sample_transition_batch(config.batch_size))
    return algo


def outputs(algo: Any, x: np.ndarray) -> list[QFunctionOutput]:
    """What each critic says in evaluation mode."""
    algo.impl.modules.set_eval()
    scaled = torch.as_tensor(x)
    if algo.observation_scaler is not None:
        scaled = algo.observation_scaler.transform(scaled)
    with torch.no_grad():
        return [q_func(scaled) for q_func in algo.impl.q_function]


def means(algo: Any, x: np.ndarray) -> np.ndarray:
    columns = [algo.predict_value(x, np.full((len(x), 1), a)) for a in range(ACTIONS)]
    return np.stack(columns, axis=1)


def assert_obeys(
    values: np.ndarray, constraint: Any, x: np.ndarray, slope: float = 1.0,
    rounded: np.ndarray | None = None,
) -> None:  # fmt: skip
    """No shortfall beyond the float32 rounding of ``rounded``, by default ``values``."""
    positions = constraint.positions(ACTIONS)
    gross = values.astype(np.float64)
    if constraint.known_cost is not None:
        feature = x[:, constraint.known_cost.feature, None].astype(np.float64)
        gross = gross + slope * constraint.known_cost.coefficient * feature * positions
    shape_set = constraint.shape_set().scaled(slope)
    matrix, bounds = shape_set.inequalities(positions)
    # Q itself is a float32: where a cost dwarfs the rest, its rounding is the limit.
    parts = [gross, values, values if rounded is None else rounded.reshape(len(x), -1)]
    largest = np.abs(np.concatenate(parts, axis=1)).max(axis=1, keepdims=True)
    allowed = 1e-6 * np.maximum(largest, 1e-30)
    if constraint.get_type() == "monotone" and rounded is None:
        allowed = 0.0
    assert np.isfinite(gross).all()
    assert (gross @ matrix.T - bounds >= -allowed).all()


def assert_exact(algo: Any, x: np.ndarray, slope: float = 1.0) -> None:
    constraint = algo.config.q_func_factory.constraint
    assert_obeys(means(algo, x), constraint, x, slope)
    for output in outputs(algo, x):
        q, quantiles = output.q_value.numpy(), output.quantiles.numpy()
        assert quantiles.dtype == np.float32
        assert np.isfinite(quantiles).all()
        assert (np.diff(quantiles, axis=2) >= 0.0).all()
        assert_obeys(q, constraint, x, slope)
        of_quantiles = quantiles.astype(np.float64).mean(axis=2)
        error = np.abs(of_quantiles - q)
        assert (error <= 2.0**-23 * np.abs(quantiles).max(axis=2)).all()
        assert_obeys(of_quantiles, constraint, x, slope, rounded=quantiles)


# -- the contract of d3rlpy's algorithms ---------------------------------------------


@pytest.mark.covering(2)
@pytest.mark.parametrize("kind", CRITICS)
@pytest.mark.parametrize("shape", CONSTRAINTS)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_trains_saves_exports_and_stays_exact(name: str, shape: str, kind: str) -> None:
    factory = ShapedQFunctionFactory(CONSTRAINTS[shape](), CRITICS[kind], n_quantiles=8)
    algo = fit(make(ALGORITHMS[name], factory))
    x = states(40)
    for far in (x, 1e3 * (x - 0.5), 1e6 * (x - 0.5)):
        assert_exact(algo, far)
    again = fit(make(ALGORITHMS[name], factory))
    assert np.array_equal(means(algo, x), means(again, x))
    before = outputs(algo, x)[0].quantiles
    assert torch.equal(before, outputs(again, x)[0].quantiles)

    algo.save("model.d3")
    loaded = d3rlpy.load_learnable("model.d3", device="cpu:0")
    assert loaded.config.q_func_factory == factory
    assert torch.equal(before, outputs(loaded, x)[0].quantiles)
    assert np.array_equal(algo.predict(x), loaded.predict(x))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        algo.save_policy("policy.pt")
    policy = torch.jit.load("policy.pt")
    for n in (1, 40):
        answer = policy(torch.as_tensor(x[:n])).numpy()
        assert np.array_equal(answer, algo.predict(x[:n]))


@pytest.mark.slow
def test_opens_in_a_fresh_process(tmp_path: pathlib.Path) -> None:
    algo, x = fit(make()), states(20)
    algo.save(str(tmp_path / "model.d3"))
    np.save(tmp_path / "x.npy", x)
    script = (
        "import json, d3rlpy, numpy as np\n"
        "import icac_algo.critics.quantiles\n"
        "from icac_algo.decisions.risk import CVaR, greedy_actions\n"
        "algo = d3rlpy.load_learnable('model.d3', device='cpu:0')\n"
        "x = np.load('x.npy')\n"
        "chosen = greedy_actions(algo, x, CVaR(0.2))\n"
        "print(json.dumps([algo.predict(x).tolist(), chosen.tolist()]))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    expected = [algo.predict(x).tolist(), greedy_actions(algo, x, CVaR(0.2)).tolist()]
    assert json.loads(result.stdout.splitlines()[-1]) == expected


@pytest.mark.covering(2)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("reward_size", [1e-3, 1e4])
@pytest.mark.parametrize("kind", CRITICS)
def test_sorted_and_shaped_after_adversarial_training(
    kind: str, reward_size: float, seed: int
) -> None:
    factory = ShapedQFunctionFactory(MonotoneConcave(), CRITICS[kind], n_quantiles=16)
    config = make(DiscreteCQLConfig, factory, learning_rate=0.3)
    algo = fit(config, dataset(seed, reward_size), steps=3 * seed)
    x = states(40, seed)
    for far in (x, 1e6 * (x - 0.5)):
        assert_exact(algo, far)


def test_scalers_are_accounted_for() -> None:
    observation_scaler, reward_scaler = MinMaxObservationScaler(), StandardRewardScaler()
    factory = ShapedQFunctionFactory(
        constraint=CONSTRAINTS["cost"](),
        n_quantiles=32,
        observation_scaler=observation_scaler,
        reward_scaler=reward_scaler,
    )
    scalers = {"observation_scaler": observation_scaler, "reward_scaler": reward_scaler}
    algo = fit(make(DQNConfig, factory, **scalers))
    slope = np.diff(reward_scaler.transform_numpy(np.array([0.0, 1.0])))[0]
    assert_exact(algo, states(40), slope)


@pytest.mark.parametrize("share_encoder", [False, True])
@pytest.mark.parametrize(
    "constraint", [Concave(), Monotone(), Bounded(-1.0, 1.0)], ids=lambda c: c.get_type()
)
def test_ensembles_keep_the_shape(constraint: Any, share_encoder: bool) -> None:
    """d3rlpy takes, per action, the quantiles of the critic with the smallest mean."""
    factory = ShapedQFunctionFactory(
        constraint=constraint, n_quantiles=8, share_encoder=share_encoder
    )
    algo, x = fit(make(DoubleDQNConfig, factory, n_critics=3)), states(40)
    assert_exact(algo, x)
    assert len({tuple(o.q_value[0].tolist()) for o in outputs(algo, x)}) == 3
    forwarder = algo.impl._q_func_forwarder
    with torch.no_grad():
        reduced = forwarder.compute_target(torch.as_tensor(x), reduction="min")
    of_critics = torch.stack([o.q_value for o in outputs(algo, x)])
    smallest = of_critics.min(dim=0).values
    assert torch.allclose(reduced.mean(dim=2), smallest, rtol=1e-5, atol=1e-5)
    assert_obeys(
        reduced.double().mean(dim=2).numpy(), constraint, x, 1.0, reduced.numpy()
    )


def test_the_mean_of_convex_critics_is_convex() -> None:
    """Targets take the smallest, which is not; what is shown is the mean."""
    factory = ShapedQFunctionFactory(constraint=Convex(), n_quantiles=4)
    assert_exact(fit(make(DQNConfig, factory, n_critics=3), steps=3), states(20))


def test_shapes_over_state_features_hold() -> None:
    factory = ShapedQFunctionFactory(
        constraint=Concave(), state_constraints=[StateMonotone([0])], n_quantiles=8
    )
    algo, x = fit(make(DQNConfig, factory)), states(40)
    assert_exact(algo, x)
    further = x + np.array([0.3, 0.0, 0.0], dtype=np.float32)
    assert (means(algo, further) >= means(algo, x)).all()
    # The spread is free of it, and follows the plain encoder.
    assert "_spread._fc.weight" in dict(algo.impl.q_function[0].named_parameters())


def test_discrete_sac_trains() -> None:
    assert_exact(fit(make(DiscreteSACConfig)), states(20))


# -- what a critic is ------------------------------------------------------------------


def critic(**fields: Any) -> QuantileQFunction:
    torch.manual_seed(0)
    encoder = VectorEncoderFactory([8]).create((3,))
    made, forwarder = ShapedQFunctionFactory(
        **{"n_quantiles": 32, **fields}
    ).create_discrete(encoder, 8, ACTIONS)
    assert isinstance(forwarder, DiscreteQRQFunctionForwarder)
    assert made.encoder is encoder
    return made


def test_taus_are_d3rlpys() -> None:
    encoder = VectorEncoderFactory([8]).create((3,))
    stock, _ = QRQFunctionFactory(n_quantiles=7).create_discrete(encoder, 8, ACTIONS)
    x = torch.rand(4, 3)
    ours, theirs = critic(n_quantiles=7)(x), stock(x)
    assert ours.quantiles.shape == theirs.quantiles.shape == (4, ACTIONS, 7)
    assert ours.q_value.shape == theirs.q_value.shape
    assert ours.taus.shape == theirs.taus.shape
    assert torch.allclose(ours.taus, theirs.taus)


def test_a_fresh_critic_expects_normal_returns() -> None:
    made = critic(n_quantiles=64, level=100.0, scale=10.0).eval()
    torch.nn.init.zeros_(made._spread._fc.weight)
    torch.nn.init.zeros_(made._spread._fc.bias)
    output = made(torch.rand(2, 3))
    expected = [10.0 * NORMAL.inv_cdf((i + 0.5) / 64) for i in range(64)]
    offsets = output.quantiles - output.q_value.unsqueeze(2)
    assert torch.allclose(offsets[0, 0], torch.tensor(expected), atol=1e-4)
    assert output.q_value.mean().item() == pytest.approx(100.0, abs=20.0)


def test_training_mode_is_the_differentiable_twin_of_evaluation_mode() -> None:
    for kind in CRITICS.values():
        made, x = critic(critic=kind, n_quantiles=8), torch.rand(6, 3)
        trained = made.train()(x)
        trained.quantiles.square().mean().backward()
        for name, parameter in made.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().sum() > 0.0, name
        exact = made.exact_values(x)
        evaluated = made.eval()(x)
        assert torch.equal(exact, evaluated.q_value)
        for a, b in zip(trained[:2], evaluated[:2], strict=True):
            assert torch.allclose(a, b, atol=1e-5)


def test_the_encoder_is_asked_once() -> None:
    made, calls = critic(), []
    made.encoder.register_forward_hook(lambda *_: calls.append(1))
    made(torch.rand(2, 3))
    made.eval()(torch.rand(2, 3))
    assert len(calls) == 2


def test_quantile_regression_recovers_the_noise_of_each_action() -> None:
    """Terminal rewards of a rising mean, with a spread that the shape says nothing on."""
    torch.manual_seed(0)
    made, forwarder = ShapedQFunctionFactory(
        constraint=Monotone(), n_quantiles=16
    ).create_discrete(VectorEncoderFactory([16]).create((3,)), 16, 2)
    spread = torch.tensor([0.5, 2.0])
    optimizer = torch.optim.Adam(made.parameters(), lr=0.02)
    x = torch.zeros(256, 3)
    for _ in range(400):
        actions = torch.randint(0, 2, (256, 1))
        rewards = actions + spread[actions] * torch.randn(256, 1)
        optimizer.zero_grad()
        loss = forwarder.compute_error(
            x, actions, rewards, torch.zeros(256, 16), torch.ones(256, 1)
        )
        loss.backward()
        optimizer.step()
    output = made.eval()(x[:1])
    assert torch.allclose(output.q_value[0], torch.tensor([0.0, 1.0]), atol=0.25)
    widths = (output.quantiles[0, :, 12] - output.quantiles[0, :, 3]).tolist()
    # Between .22 and .78 a normal is 1.55 wide; Huber's loss draws quantiles together.
    assert 0.2 < widths[0] < 1.2
    assert 1.8 < widths[1] < 4.0
    safe, bold = CVaR(0.25)(output.quantiles)[0].tolist()
    assert safe > bold


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_quantiles": 1}, r"n_quantiles must be an integer >= 2.* got 1"),
        ({"n_quantiles": 2.0}, r"n_quantiles must be an integer, got 2\.0"),
        ({"n_quantiles": True}, r"n_quantiles must be an integer, got True"),
        ({"critic": "nearest"}, "critic must be"),
        ({"scale": 0.0}, "scale must be a number > 0"),
        ({"level": math.nan}, "level must be"),
        ({"constraint": "wavy"}, "constraint must be"),
    ],
)
def test_bad_arguments_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ShapedQFunctionFactory(**fields)


def test_continuous_actions_are_refused() -> None:
    encoder = VectorEncoderFactory([8]).create_with_action((3,), 1)
    with pytest.raises(ValueError, match="n_quantiles must be None for continuous"):
        ShapedQFunctionFactory(n_quantiles=8).create_continuous(encoder, 8)


# -- conditional value at risk ---------------------------------------------------------


@pytest.mark.parametrize("level", [0.05, 0.1, 0.25, 0.5, 0.9])
def test_cvar_of_a_normal_distribution(level: float) -> None:
    n, mu, sigma = 2000, 3.0, 2.0
    quantiles = [mu + sigma * NORMAL.inv_cdf((i + 0.5) / n) for i in range(n)]
    expected = mu - sigma * NORMAL.pdf(NORMAL.inv_cdf(level)) / level
    value = CVaR(level)(torch.tensor(quantiles, dtype=torch.float64).view(1, 1, n))
    assert value.shape == (1, 1)
    assert value.item() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (1.0, 4.0),
        (0.5, 1.5),
        (0.25, 1.0),
        (0.1, 1.0),
        # One and a half of four quantiles count.
        (0.375, (1.0 + 0.5 * 2.0) / 1.5),
        (0.75, 7.0 / 3.0),
    ],
)
def test_cvar_weighs_the_last_quantile_in_part(level: float, expected: float) -> None:
    unsorted = torch.tensor([[[9.0, 1.0, 4.0, 2.0]]])
    assert CVaR(level)(unsorted).item() == pytest.approx(expected)


def test_cvar_rises_with_its_level_to_the_mean() -> None:
    quantiles = torch.randn(20, ACTIONS, 13, generator=torch.Generator().manual_seed(0))
    values = torch.stack(
        [CVaR(level)(quantiles) for level in (1e-9, 0.01, 0.3, 0.7, 1.0)]
    )
    assert (values.diff(dim=0) >= -1e-6).all()
    assert torch.equal(values[0], quantiles.amin(dim=2))
    assert torch.allclose(values[-1], quantiles.mean(dim=2), atol=1e-6)
    assert values.dtype == quantiles.dtype


def test_cvar_is_differentiable() -> None:
    quantiles = torch.randn(2, 3, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(CVaR(0.3), (quantiles,))


def test_cvar_is_serialisable() -> None:
    assert CVaR.deserialize(CVaR(0.3).serialize()) == CVaR(0.3)


@pytest.mark.parametrize("level", [0.0, -0.1, 1.1, math.nan, math.inf, True, "0.1", None])
def test_bad_levels_are_refused(level: Any) -> None:
    with pytest.raises(ValueError, match=r"level must be in \(0, 1\]"):
        CVaR(level)


def test_bad_quantiles_are_refused() -> None:
    with pytest.raises(ValueError, match="quantiles must have shape"):
        CVaR(0.5)(torch.zeros(2, 3, 0))
    with pytest.raises(ValueError, match="floating point"):
        CVaR(0.5)(torch.zeros(2, 3, 4, dtype=torch.int64))


# -- acting under risk -----------------------------------------------------------------


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("stock", [False, True])
def test_level_one_decides_as_the_algorithm_does(name: str, stock: bool) -> None:
    made = QRQFunctionFactory(n_quantiles=8) if stock else None
    scaler = MinMaxObservationScaler()
    config = make(ALGORITHMS[name], made, n_critics=2, observation_scaler=scaler)
    algo, x = fit(config), states(60)
    expected = algo.predict(x)
    for batch in (7, 4096):
        chosen = greedy_actions(algo, x, CVaR(1.0), batch)
        assert chosen.dtype == np.int64
        assert np.array_equal(chosen, expected)
    if name != "bcq":
        quantiles = [CVaR(0.2)(o.quantiles) for o in outputs(algo, x)]
        expected = torch.stack(quantiles).mean(dim=0).argmax(dim=1).numpy()
        assert np.array_equal(greedy_actions(algo, x, CVaR(0.2)), expected)


def set_distribution(algo: Any, spreads: list[float]) -> None:
    """Makes the spread of each action independent of the state."""
    (q_func,) = algo.impl.q_function
    n = len(q_func.gaps)
    torch.nn.init.zeros_(q_func._spread._fc.weight)
    bias = torch.tensor(spreads).log().repeat_interleave(n)
    with torch.no_grad():
        q_func._spread._fc.bias.copy_(bias)


def test_a_small_level_prefers_the_safer_action() -> None:
    """Means rise with the action, and so does the spread, far faster."""
    factory = ShapedQFunctionFactory(constraint=Monotone(), n_quantiles=16)
    algo, x = fit(make(DQNConfig, factory), steps=0), states(30)
    set_distribution(algo, [0.1, 1.0, 10.0, 100.0, 1000.0])
    assert (greedy_actions(algo, x, CVaR(1.0)) == ACTIONS - 1).all()
    assert (greedy_actions(algo, x, CVaR(0.05)) == 0).all()
    # Any risk measure will do: here the best case.
    assert (greedy_actions(algo, x, lambda q: q.amax(dim=2)) == ACTIONS - 1).all()


def test_level_one_keeps_the_ties_of_the_mean() -> None:
    """The mean of rounded quantiles, whose spreads differ, would break them at random."""
    factory = ShapedQFunctionFactory(
        constraint=Monotone(), critic=Euclidean(), n_quantiles=16
    )
    algo, x = fit(make(DQNConfig, factory), steps=0), states(30)
    (q_func,) = algo.impl.q_function
    with torch.no_grad():
        q_func._mean._fc.bias.copy_(torch.arange(ACTIONS, 0.0, -1.0))
        q_func._spread._fc.bias.uniform_(0.0, 1e4)
    # Falling values are pooled into one plateau, here and there up to a last digit.
    assert (np.ptp(means(algo, x), axis=1) < 1e-6).all()
    rounded = CVaR(1.0)(outputs(algo, x)[0].quantiles).argmax(dim=1).numpy()
    assert (rounded != algo.predict(x)).any()
    assert np.array_equal(greedy_actions(algo, x, CVaR(1.0)), algo.predict(x))


def test_ties_go_to_the_lowest_action() -> None:
    algo = fit(make(), steps=0)
    level_off = lambda quantiles: torch.zeros_like(quantiles[:, :, 0])  # noqa: E731
    assert (greedy_actions(algo, states(9), level_off) == 0).all()


def test_bcq_stays_with_what_its_imitator_allows() -> None:
    algo, x = fit(make(DiscreteBCQConfig, action_flexibility=0.9)), states(30)
    probs = algo.impl.modules.imitator(torch.as_tensor(x)).probs.detach().numpy()
    allowed = probs / probs.max(axis=1, keepdims=True) > 0.9
    chosen = greedy_actions(algo, x, lambda q: q.amax(dim=2))
    best = outputs(algo, x)[0].quantiles.amax(dim=2).numpy()
    assert not allowed[np.arange(30), best.argmax(axis=1)].all()
    assert np.array_equal(chosen, np.where(allowed, best, -np.inf).argmax(axis=1))


def test_no_observations_give_no_actions() -> None:
    assert greedy_actions(fit(make(), steps=0), states(0), CVaR(0.1)).shape == (0,)


def test_what_cannot_be_acted_on_is_refused() -> None:
    algo, x = fit(make(), steps=0), states(4)
    for batch in (0, 2.5, True):
        with pytest.raises(ValueError, match="batch must be an integer >= 1"):
            greedy_actions(algo, x, CVaR(0.1), batch)  # type: ignore[arg-type]
    for bad in (x[0], x[:, :2], [x], x.tolist()):
        with pytest.raises(ValueError, match="observations must be an array"):
            greedy_actions(algo, bad, CVaR(0.1))
    with pytest.raises(ValueError, match="not finite"):
        greedy_actions(algo, np.full_like(x, np.nan), CVaR(0.1))
    with pytest.raises(ValueError, match="DQN is not built yet"):
        greedy_actions(make().create(), x, CVaR(0.1))
    for factory in (MeanQFunctionFactory(), IQNQFunctionFactory()):
        other = fit(make(DQNConfig, factory), steps=0)
        with pytest.raises(ValueError, match=f"got {type(factory).__name__}"):
            greedy_actions(other, x, CVaR(0.1))
    continuous = BCConfig().create()
    continuous.create_impl((3,), 1)
    with pytest.raises(ValueError, match="BC has no discrete actions"):
        greedy_actions(continuous, x, CVaR(0.1))
