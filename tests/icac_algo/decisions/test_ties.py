"""One rule for ties: what ``predict`` says, targets, masks and risk measures say too."""

from __future__ import annotations

from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch
from d3rlpy.algos import DQNConfig

from icac_algo import (
    ConstraintAwareQConfig,
    Euclidean,
    Monotone,
    ShapedQFunctionFactory,
)
from icac_algo.decisions import CVaR, MaskedGreedy, greedy_actions

K = 5
X = np.random.default_rng(1).random((30, 2)).astype(np.float32)


def on_a_plateau(config: Any) -> Any:
    """An algorithm whose critics all fall, so that a rising shape pools the actions."""
    d3rlpy.seed(0)
    algo = config.create(device="cpu:0")
    algo.create_impl((2,), K)
    for module in algo.impl.modules.get_torch_modules().values():
        for name, parameter in module.named_parameters():
            with torch.no_grad():
                if name.endswith("_fc.bias") and len(parameter) == K:
                    parameter.copy_(torch.arange(K - 1.0, -1.0, -1.0))
                elif name.endswith("_fc.weight") and len(parameter) == K:
                    parameter.zero_()
    return algo


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
