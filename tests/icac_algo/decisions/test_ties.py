"""One rule for ties: what ``predict`` says, targets, masks and risk measures say too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import d3rlpy
import gymnasium
import numpy as np
import pytest
import torch
from d3rlpy.algos import DQNConfig

import bidclick_gym  # noqa: F401  registers the environment
from icac_algo import (
    Bounded,
    Concave,
    ConstraintAwareQConfig,
    Euclidean,
    KnownCost,
    Monotone,
    MonotoneConcave,
    ShapedQFunctionFactory,
    SlopeBounds,
    Unconstrained,
)
from icac_algo.decisions import (
    CVaR,
    MaskedGreedy,
    best_continuous_actions,
    greedy_actions,
)

K = 5
X = np.random.default_rng(1).random((30, 2)).astype(np.float32)


FALLS = [4.0, 3.0, 2.0, 1.0, 0.0]


def on_a_plateau(config: Any, free: Sequence[float] = FALLS) -> Any:
    """An algorithm whose critics all fall, so that a rising shape pools the actions."""
    d3rlpy.seed(0)
    algo = config.create(device="cpu:0")
    algo.create_impl((2,), K)
    for module in algo.impl.modules.get_torch_modules().values():
        set_values(module, free)
    return algo


def set_values(module: Any, free: Sequence[float]) -> None:
    """Free values of a network before they are projected, the same in every state."""
    for name, parameter in module.named_parameters():
        with torch.no_grad():
            if name.endswith("_fc.bias") and len(parameter) == K:
                parameter.copy_(torch.tensor(free))
            elif name.endswith("_fc.weight") and len(parameter) == K:
                parameter.zero_()


def everything(observations: Any) -> Any:
    return np.ones((len(observations), K), bool)


def ours(increasing: bool, **fields: Any) -> Any:
    shape = Monotone(increasing=increasing)
    return ConstraintAwareQConfig(constraint=shape, critic=Euclidean(), **fields)


def stock(increasing: bool, n_quantiles: int | None = None) -> Any:
    factory = ShapedQFunctionFactory(
        Monotone(increasing=increasing), Euclidean(), n_quantiles=n_quantiles
    )
    return DQNConfig(q_func_factory=factory)


#: Shapes, free values that they pool, and the action that a tie goes to.
TIES: dict[str, tuple[Any, list[float], int]] = {
    "rising": (Monotone(), FALLS, 4),
    "rising by bounds": (SlopeBounds(lower=0.0), FALLS, 4),
    "falling": (Monotone(increasing=False), FALLS[::-1], 0),
    "flat": (SlopeBounds(0.0, 0.0), [0.0, 1.0, 5.0, 1.0, 0.0], 4),
    "concave": (Concave(), [0.0, 3.0, 3.0, 3.0, 1.0], 1),
    "values": (Bounded(upper=1.0), [0.0, 5.0, 2.0, 3.0, 1.0], 1),
}


@pytest.mark.parametrize(("shape", "free", "expected"), TIES.values(), ids=TIES)
def test_every_decision_gives_a_tie_to_the_same_action(
    shape: Any, free: list[float], expected: int
) -> None:
    config = ConstraintAwareQConfig(
        constraint=shape, critic=Euclidean(), entropy_temperature=0.0
    )
    algo = on_a_plateau(config, free)
    x = torch.as_tensor(X)
    values = algo.impl.action_values(x)
    assert (values == values.amax(dim=1, keepdim=True)).sum() > len(X)
    assert set(algo.predict(X)) == {expected}
    assert set(MaskedGreedy(algo, everything).predict(X)) == {expected}
    assert set(algo.sample_action(X)) == {expected}
    target = algo.impl.best_target_value(x)[:, 0]
    assert torch.equal(target, values[:, expected])
    # d3rlpy's own algorithms give a tie to the lowest; their masks and risks do too.
    factory = ShapedQFunctionFactory(shape, Euclidean(), n_quantiles=4)
    plugged = on_a_plateau(DQNConfig(q_func_factory=factory), free)
    lowest = set(values.argmax(dim=1).tolist())
    assert set(plugged.predict(X)) == lowest
    assert set(MaskedGreedy(plugged, everything).predict(X)) == lowest
    assert set(greedy_actions(plugged, X, CVaR(1.0))) == lowest


@pytest.mark.parametrize(("shape", "free", "expected"), TIES.values(), ids=TIES)
def test_stable_baselines_decides_likewise(
    shape: Any, free: list[float], expected: int
) -> None:
    sb3 = pytest.importorskip("icac_algo.sb3")
    model = sb3.ConstraintAwareDQN(
        "MlpPolicy",
        gymnasium.make("BidClick-v0"),
        policy_kwargs={"constraint": shape, "critic": "euclidean", "net_arch": [8]},
    )
    set_values(model.q_net, free)
    assert set(model.predict(X)[0]) == {expected}


def plateau(actions: torch.Tensor) -> torch.Tensor:
    """Largest from 0.3 to 0.7, where it is flat."""
    return -((actions - 0.5).abs() - 0.2).clamp(min=0.0)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (Concave(), 0.3),
        (Unconstrained(), 0.3),
        (MonotoneConcave(known_cost=KnownCost(0)), 0.7),
        (Monotone(known_cost=KnownCost(0)), 0.7),
        (MonotoneConcave(increasing=False, known_cost=KnownCost(0)), 0.3),
    ],
    ids=repr,
)
def test_of_a_flat_top_the_end_that_the_shape_favours(
    shape: Any, expected: float
) -> None:
    ends = torch.tensor([[0.0, 1.0]], dtype=torch.float64).expand(3, 2)
    best = best_continuous_actions(plateau, shape, ends)
    assert best[:, 0].tolist() == pytest.approx([expected] * 3, abs=1e-3)


def test_a_rising_shape_favours_the_highest_action() -> None:
    assert (on_a_plateau(ours(True)).predict(X) == K - 1).all()


@pytest.mark.parametrize("config", [ours(True), stock(True)], ids=["ours", "d3rlpy's"])
def test_a_mask_that_forbids_nothing_changes_nothing(config: Any) -> None:
    algo = on_a_plateau(config)
    values = MaskedGreedy(algo, everything).values(X)
    assert (np.ptp(values, axis=1) == 0.0).all()
    assert np.array_equal(MaskedGreedy(algo, everything).predict(X), algo.predict(X))


def test_a_mask_moves_a_tie_to_the_highest_allowed_action() -> None:
    algo = on_a_plateau(ours(True))
    lower = MaskedGreedy(algo, lambda x: everything(x) & (np.arange(K) < 3))
    assert (lower.predict(X) == 2).all()


def test_risk_that_fears_nothing_decides_as_predict() -> None:
    algo = on_a_plateau(stock(True, n_quantiles=8))
    assert np.array_equal(greedy_actions(algo, X, CVaR(1.0)), algo.predict(X))


def test_the_bellman_target_takes_the_action_that_predict_takes() -> None:
    """Of tied means the critics differ: the minimum depends on which action is taken."""
    algo = on_a_plateau(ours(True, n_critics=2))
    impl = algo.impl
    values = torch.tensor([[3.0, 3.0, 3.0, 3.0, 1.0], [3.0, 3.0, 3.0, 3.0, 5.0]])

    class Fixed(torch.nn.Module):
        def __init__(self, row: torch.Tensor):
            super().__init__()
            self.row = row

        def forward(self, x: torch.Tensor) -> Any:
            return type("Output", (), {"q_value": self.row.expand(len(x), K)})

    for i, row in enumerate(values):
        impl.modules.targ_q_funcs[i] = Fixed(row)
        impl.modules.targ_q_funcs[i].scale = torch.ones(())
    # The means are 3 everywhere; of the highest action the minimum is 1, of others 3.
    x = torch.as_tensor(X)
    assert impl.best_target_value(x)[:, 0].tolist() == [1.0] * len(X)
    middle = torch.tensor([[0.0, 0.0, 9.0, 0.0, 0.0]]) + values
    for i, row in enumerate(middle):
        impl.modules.targ_q_funcs[i] = Fixed(row)
    assert impl.best_target_value(x)[:, 0].tolist() == [12.0] * len(X)
