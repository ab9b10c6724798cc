"""A true bound that is loose costs no more than no bound: it only caps what data say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch
from d3rlpy.algos import DQNConfig
from d3rlpy.logging import NoopAdapterFactory
from d3rlpy.models import VectorEncoderFactory

from icac_algo import (
    Afterstates,
    Bounded,
    Canonical,
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
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
)
from icac_algo.critics import Units, make_coordinates, make_function
from icac_algo.critics.parametrization import within
from icac_algo.shapes import Constraint

TRUTH = np.array([0.1, 0.3, 0.9, 0.4, 0.2])
N = 1500
#: True of the rewards at every width from 1 on, except for slopes, which reach 2.4.
SHAPES: dict[str, Callable[[float], Constraint]] = {
    "slopes": lambda width: SlopeBounds(-3.0 * width, 3.0 * width),
    "slopes from below": lambda width: SlopeBounds(lower=-3.0 * width),
    "slopes, one side loose": lambda width: SlopeBounds(-3.0, 3.0 * width),
    "values": lambda width: Bounded(-1.0 * width, 1.0 * width),
    "values, one side loose": lambda width: Bounded(0.0, 1.0 * width),
    "values from above": lambda width: Bounded(upper=1.0 * width),
    "concave": lambda width: Intersection(
        [Concave(), SlopeBounds(-3.0 * width, 3.0 * width)]
    ),
    "concave from below": lambda width: Intersection(
        [Concave(), SlopeBounds(lower=-3.0 * width)]
    ),
}
CRITICS = {
    "functional": Functional(),
    "canonical": Canonical(),
    "euclidean": Euclidean(),
    "afterstates": Afterstates(
        known_cost=KnownCost(1, 1e-6), context=[0], budget_feature=0, clock_feature=1
    ),
}
WIDTHS = (1.0, 1e1, 1e2, 1e3, 1e6, 1e9)
LEARNS: dict[str, Any] = {
    "critic_learning_rate": 1e-2,
    "batch_size": 128,
    "critic_encoder_factory": VectorEncoderFactory([16]),
}


def logged(truth: np.ndarray[Any, Any] = TRUTH) -> ColumnarReplayBuffer:
    rng = np.random.default_rng(0)
    actions = rng.integers(0, len(truth), N)
    rewards = truth[actions] + 0.3 * rng.normal(size=N)
    x = rng.uniform(0.1, 0.9, (N, 2))
    return ColumnarReplayBuffer.from_arrays(
        x.astype(np.float32),
        actions,
        rewards.astype(np.float32),
        terminals=np.ones(N),
        action_size=len(truth),
    )


def learned(config: Any, log: ColumnarReplayBuffer, n_steps: int = 150) -> Any:
    d3rlpy.seed(0)
    algo = config.create(device="cpu:0")
    algo.fit(
        log,
        n_steps=n_steps,
        n_steps_per_epoch=n_steps,
        logger_adapter=NoopAdapterFactory(),
        show_progress=False,
    )
    return algo


def regret(algo: Any, log: ColumnarReplayBuffer) -> float:
    chosen = algo.predict(log.to_arrays()["observations"][:200])
    return float((TRUTH.max() - TRUTH[chosen]).mean())


@pytest.mark.covering(1, 2)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("critic", CRITICS.values(), ids=CRITICS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_critic_finds_the_best_action(
    shape: Callable[[float], Constraint], critic: Any, width: float
) -> None:
    log = logged()
    config = ConstraintAwareQConfig(constraint=shape(width), critic=critic, **LEARNS)
    assert regret(learned(config, log), log) == 0.0


@pytest.mark.covering(1, 2)
@pytest.mark.parametrize("width", WIDTHS[1:])
@pytest.mark.parametrize(
    "over_states",
    [(StateLipschitz,), (StateMonotone,), (StateLipschitz, StateMonotone)],
    ids=["lipschitz", "rising", "both"],
)
@pytest.mark.parametrize(
    "shape", [None, SHAPES["slopes"], SHAPES["values"]], ids=["free", "slopes", "values"]
)
def test_shapes_over_states_may_be_loose(
    shape: Any, over_states: Sequence[Any], width: float
) -> None:
    if StateLipschitz in over_states and shape is SHAPES["values"]:
        pytest.skip("refused: StateLipschitz does not go with bounds on values")
    log = logged()
    config = ConstraintAwareQConfig(
        constraint=Unconstrained() if shape is None else shape(width),
        state_constraints=[
            StateLipschitz(3.0 * width) if kind is StateLipschitz else StateMonotone([0])
            for kind in over_states
        ],
        **LEARNS,
    )
    assert regret(learned(config, log), log) == 0.0


@pytest.mark.parametrize(
    "width", [1e2, *(pytest.param(w, marks=pytest.mark.slow) for w in (1e4, 1e9))]
)
def test_quantiles_of_other_algorithms_may_have_loose_bounds(width: float) -> None:
    log = logged()
    shape = SlopeBounds(-width, width)
    config = DQNConfig(
        q_func_factory=ShapedQFunctionFactory(shape, n_quantiles=5),
        encoder_factory=LEARNS["critic_encoder_factory"],
        learning_rate=1e-2,
        batch_size=128,
    )
    assert regret(learned(config, log), log) == 0.0


@pytest.mark.parametrize(
    "width", [1e3, *(pytest.param(w, marks=pytest.mark.slow) for w in (1e1, 1e9))]
)
@pytest.mark.parametrize("kind", ["slopes", "values", "concave"])
def test_continuous_actions_may_have_loose_bounds(kind: str, width: float) -> None:
    rng = np.random.default_rng(0)
    x, actions = rng.random((N, 2)), rng.random((N, 1))
    rewards = 0.9 - 3.0 * np.abs(actions - 0.6) + 0.3 * rng.normal(size=(N, 1))
    log = ColumnarReplayBuffer.from_arrays(
        x.astype(np.float32),
        actions.astype(np.float32),
        rewards[:, 0].astype(np.float32),
        terminals=np.ones(N),
    )
    config = ConstraintAwareQConfig(constraint=SHAPES[kind](width), **LEARNS)
    chosen = learned(config, log).predict(x[:200].astype(np.float32))
    assert np.abs(chosen - 0.6).mean() < 0.1


@pytest.mark.parametrize("size", [5, 21])
def test_loose_slopes_rule_no_jumps_out(size: int) -> None:
    """Values without any order between neighbours, by coordinates alone."""
    truth = torch.as_tensor(np.random.default_rng(0).permutation(size) / size).float()
    ends = torch.linspace(0.0, 1.0, size, dtype=torch.float64)
    loose = SlopeBounds(-1e6, 1e6)
    # A smooth function of many actions learns such jumps too, but in many more steps.
    functions = [make_function(loose, ends)] if size == 5 else []
    for made in (make_coordinates(loose, size), *functions):
        coordinates = torch.zeros(1, made.n_coordinates, requires_grad=True)
        optimiser = torch.optim.Adam([coordinates], lr=0.03)
        for _ in range(500):
            optimiser.zero_grad()
            (made(coordinates, Units(0.5, 0.3)) - truth / 0.3).square().sum().backward()
            optimiser.step()
        best = made(coordinates, Units(0.5, 0.3)).argmax(dim=1)
        assert int(best) == int(truth.argmax())


@pytest.mark.parametrize("size", [2, 5, 101])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_distant_bound_changes_nothing(
    shape: Callable[[float], Constraint], size: int
) -> None:
    near, far = (make_coordinates(shape(width), size) for width in (1e7, 1e9))
    generator = torch.Generator().manual_seed(0)
    coordinates = torch.randn(8, near.n_coordinates, generator=generator)
    units = Units(0.4, 0.3)
    assert torch.allclose(near(coordinates, units), far(coordinates, units), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        (-1.0, 1.0),
        (0.0, 1e-6),
        (-1e9, 1e9),
        (-np.inf, 2.0),
        (3.0, np.inf),
        (5.0, 1e9),
        (-1e300, 1e300),
        (2.0, 2.0),
    ],
)
def test_capped_numbers_stay_within_and_rise(
    lower: float, upper: float, dtype: torch.dtype
) -> None:
    free = torch.linspace(-1e6, 1e6, 2001, dtype=dtype)
    free = torch.cat([free, torch.linspace(-3.0, 3.0, 61, dtype=dtype)]).sort().values
    free.requires_grad_()
    capped = within(free, lower, upper)
    assert torch.isfinite(capped).all()
    least, most = (torch.tensor(bound, dtype=dtype) for bound in (lower, upper))
    assert (capped >= least).all()
    assert (capped <= most).all()
    assert (capped.diff() >= -1e-6 * capped[:-1].abs().clamp(min=1.0)).all()
    (gradient,) = torch.autograd.grad(capped.sum(), free)
    assert torch.isfinite(gradient).all()
    if lower < upper:
        assert (gradient[free.detach().abs() < 1.0] > 0.0).all()


def test_at_zero_capped_numbers_are_as_near_to_zero_as_leaves_a_gradient() -> None:
    at_zero = torch.zeros(1, dtype=torch.float64)
    for lower, upper, expected in (
        (-1.0, 3.0, 0.0),
        (-1e9, 1e9, 0.0),
        (1.0, 5.0, 1.25),
        (-5.0, -1.0, -1.25),
        (0.0, np.inf, 0.25),
    ):
        assert float(within(at_zero, lower, upper)) == pytest.approx(expected)


def test_afterstates_bound_what_is_earned_in_units_of_the_reward() -> None:
    critic = dataclasses.replace(CRITICS["afterstates"], known_cost=KnownCost(1, 0.25))
    shape = SlopeBounds(0.0, 0.5)
    algo = learned(
        ConstraintAwareQConfig(constraint=shape, critic=critic, **LEARNS), logged(), 20
    )
    q_func = algo.impl.modules.q_funcs[0]
    q_func.standardise(3.0, 50.0)
    x = torch.rand(64, 2, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.1
    # The last step: nothing comes later.
    x[:, 1] = 1.0
    with torch.no_grad():
        earned = q_func.values(x) + critic.known_cost(x, q_func.positions)
    paid = q_func.left(x) >= 0.0
    slopes = earned.diff(dim=1)[paid[:, 1:]] / 0.25
    assert len(slopes) > 20
    assert float(slopes.min()) >= -1e-4
    assert float(slopes.max()) <= 0.5 + 1e-4


def test_a_monotone_shape_with_a_loose_bound_still_rises() -> None:
    shape = Intersection([Monotone(), SlopeBounds(-1e9, 1e9)])
    algo = learned(ConstraintAwareQConfig(constraint=shape, **LEARNS), logged())
    x = torch.rand(50, 2, generator=torch.Generator().manual_seed(0))
    assert (algo.impl.action_values(x).diff(dim=1) >= 0.0).all()
