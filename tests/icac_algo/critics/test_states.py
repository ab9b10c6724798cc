"""Shapes over state features: refusals, and the property after hostile training."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from d3rlpy.models import PixelEncoderFactory, VectorEncoderFactory
from monotonicnetworks import MonotonicWrapper
from torch import nn

from icac_algo import (
    Bounded,
    Canonical,
    Concave,
    ConstraintAwareQConfig,
    Convex,
    Euclidean,
    Functional,
    KnownCost,
    Monotone,
    MonotoneConcave,
    ShapedQFunctionFactory,
    SlopeBounds,
    StateLipschitz,
    StateMonotone,
)
from icac_algo.critics import (
    Critic,
    Prior,
    ShapedQFunction,
    StateNetwork,
)
from icac_algo.shapes import Constraint, StateConstraint, check_state_constraints

UP_DOWN: list[StateConstraint] = [
    StateMonotone(features=[0]),
    StateMonotone(features=[1], increasing=False),
]
SIGNS = np.array([1.0, -1.0, 0.0])


# -- what can be asked -------------------------------------------------------


@pytest.mark.parametrize("features", [[], None, [0, 0], [-1], [1.0], [True], 0, ["x"]])
def test_features_are_refused(features: Any) -> None:
    with pytest.raises(ValueError, match=r"features(\[0\])? must be"):
        StateMonotone(features=features)


@pytest.mark.parametrize("constant", [0.0, -1.0, np.inf, np.nan, "1", None, True])
def test_constants_are_refused(constant: Any) -> None:
    with pytest.raises(ValueError, match=r"constant must be .*> 0, got"):
        StateLipschitz(constant=constant)


def test_observations_that_do_not_fit_are_refused() -> None:
    check_state_constraints(UP_DOWN, (3,))
    with pytest.raises(ValueError, match=r"features must be below .* size 1, got 1"):
        check_state_constraints(UP_DOWN, (1,))
    for shape in ((3, 8, 8), ((3,), (2,))):
        with pytest.raises(ValueError, match="need vector observations"):
            check_state_constraints(UP_DOWN, shape)
        check_state_constraints([], shape)
    both = [StateMonotone(features=[0]), StateMonotone(features=[0], increasing=False)]
    with pytest.raises(ValueError, match="both to rise and to fall in feature 0"):
        check_state_constraints(both, (3,))
    with pytest.raises(ValueError, match="must be a list of StateMonotone and"):
        check_state_constraints([Concave()], (3,))  # type: ignore[list-item]


def test_files_keep_them() -> None:
    constraints: list[StateConstraint] = [*UP_DOWN, StateLipschitz(constant=2.0)]
    config = ConstraintAwareQConfig(state_constraints=constraints)
    again = ConstraintAwareQConfig.deserialize(config.serialize())
    assert again.state_constraints == constraints
    factory = ShapedQFunctionFactory(state_constraints=constraints)
    assert ShapedQFunctionFactory.deserialize(factory.serialize()) == factory


@pytest.mark.parametrize("kind", [Canonical(), Euclidean()], ids=repr)
@pytest.mark.parametrize("made", [ConstraintAwareQConfig, ShapedQFunctionFactory])
def test_other_critics_are_refused(kind: Critic, made: Any) -> None:
    with pytest.raises(ValueError, match=r"state_constraints need critic=Functional\(\)"):
        made(state_constraints=UP_DOWN, critic=kind)


def critic(
    constraint: Constraint,
    state_constraints: list[StateConstraint],
    **scalers: Any,
) -> ShapedQFunction:
    torch.manual_seed(0)
    encoder = VectorEncoderFactory([16, 16]).create((3,))
    prior = Prior(constraint, state_constraints, **scalers)
    return Functional().create_discrete(encoder, 16, 5, prior)


def test_what_no_critic_could_satisfy_is_refused() -> None:
    with pytest.raises(ValueError, match="asks Q to rise in feature 0, but the known"):
        critic(Monotone(known_cost=KnownCost(feature=0)), UP_DOWN)
    critic(Monotone(known_cost=KnownCost(feature=1)), UP_DOWN)
    lipschitz: list[StateConstraint] = [StateLipschitz(constant=1.0)]
    with pytest.raises(ValueError, match="must exceed the known cost's own, 1"):
        critic(Monotone(known_cost=KnownCost(feature=1)), lipschitz)
    with pytest.raises(ValueError, match="does not go with bounds on values"):
        critic(Bounded(0.0, 1.0), lipschitz)
    with pytest.raises(ValueError, match=r"state_constraints need .*spectral_norm=False"):
        ConstraintAwareQConfig(
            state_constraints=UP_DOWN, critic=Functional(spectral_norm=True)
        )


def test_other_encoders_are_refused() -> None:
    encoder = PixelEncoderFactory().create((1, 84, 84))
    with pytest.raises(ValueError, match="VectorEncoderFactory, whose hidden layers"):
        Functional().create_discrete(encoder, 512, 5, Prior(Concave(), UP_DOWN))


# -- the constant that the wrapper is told --------------------------------------


def test_the_trap_of_a_constant_that_is_believed() -> None:
    """The package's wrapper is not monotone if the caller's constant is too small."""
    steep = nn.Linear(1, 1, bias=False)
    nn.init.constant_(steep.weight, -3.0)
    believed = MonotonicWrapper(steep, lipschitz_const=1.0)
    low, high = believed(torch.tensor([[0.0], [1.0]])).flatten().tolist()
    assert high < low


# -- the property itself -------------------------------------------------------


def hostile(module: nn.Module, steps: int = 30) -> None:
    """Trains towards the opposite of what was asked, with a huge learning rate."""
    optimizer = torch.optim.Adam(module.parameters(), lr=0.5)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.rand(64, 3, generator=generator)
        output = module(x)
        values = output if isinstance(output, torch.Tensor) else output.q_value
        target = -100.0 * x[:, :1] + 100.0 * x[:, 1:2] + 50.0 * torch.sin(9.0 * x[:, 2:])
        optimizer.zero_grad()
        (values - target).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_network_is_monotone_after_hostile_training(scale: float) -> None:
    torch.manual_seed(0)
    network = StateNetwork(3, [16, 15], 6, SIGNS)
    hostile(network)
    x = scale * (torch.rand(500, 3) - 0.5)
    step = scale * torch.rand(500, 2)
    for feature, sign in ((0, 1.0), (1, -1.0)):
        moved = x.clone()
        moved[:, feature] += step[:, feature]
        with torch.no_grad():
            change = sign * (network(moved) - network(x))
            size = network(x).abs().max()
        assert float(change.min()) >= -1e-6 * float(size)


@pytest.mark.parametrize("signs", [SIGNS, np.zeros(3)])
def test_network_is_lipschitz_after_hostile_training(signs: Any) -> None:
    torch.manual_seed(0)
    network = StateNetwork(3, [16, 16], 6, signs, lipschitz=True)
    body = nn.Sequential(network)
    optimizer = torch.optim.Adam(body.parameters(), lr=0.5)
    for _ in range(30):
        x = torch.rand(64, 3)
        optimizer.zero_grad()
        (network(x, 2.0) - 1e3 * x.sum(dim=1, keepdim=True)).square().mean().backward()
        optimizer.step()
    x, other = torch.randn(500, 3), torch.randn(500, 3)
    with torch.no_grad():
        change = (network(x, 2.0) - network(other, 2.0)).abs().amax(dim=1)
    allowed = 2.0 * (x - other).norm(dim=1)
    assert bool((change <= allowed * (1.0 + 1e-5)).all())
    assert float((change / allowed).max()) > 0.2


def test_network_survives_copies_and_files() -> None:
    torch.manual_seed(0)
    network = StateNetwork(3, [16], 4, SIGNS)
    x = torch.rand(5, 3)
    expected = network(x)
    fresh = StateNetwork(3, [16], 4, SIGNS)
    fresh.load_state_dict(network.state_dict())
    for again in (copy.deepcopy(network), fresh):
        assert torch.equal(again(x), expected)


@pytest.mark.parametrize(
    "constraint",
    [
        Concave(),
        Convex(),
        Monotone(increasing=False),
        MonotoneConcave(known_cost=KnownCost(feature=1)),
        SlopeBounds(-1.0, 1.0),
        SlopeBounds(lower=0.5),
        Bounded(-1.0, 1.0),
    ],
    ids=repr,
)
def test_critic_is_monotone_at_every_action(constraint: Constraint) -> None:
    q_func = critic(constraint, UP_DOWN)
    hostile(q_func)
    q_func.eval()
    x = 2.0 * torch.rand(400, 3) - 0.5
    for feature, sign in ((0, 1.0), (1, -1.0)):
        moved = x.clone()
        moved[:, feature] += torch.rand(400)
        with torch.no_grad():
            before, after = q_func(x).q_value, q_func(moved).q_value
        size = torch.maximum(before.abs(), after.abs()).max()
        assert float((sign * (after - before)).min()) >= -2e-6 * float(size)


@pytest.mark.parametrize(
    "constraint", [Concave(), Monotone(), SlopeBounds(-1.0, 1.0)], ids=repr
)
@pytest.mark.parametrize("monotone", [True, False])
def test_critic_is_lipschitz_at_every_action(
    constraint: Constraint, monotone: bool
) -> None:
    constraints: list[StateConstraint] = [StateLipschitz(constant=3.0)]
    q_func = critic(constraint, [*constraints, *(UP_DOWN if monotone else [])])
    q_func.standardise(5.0, 0.5)
    hostile(q_func)
    q_func.eval()
    x, other = torch.randn(400, 3), torch.randn(400, 3)
    with torch.no_grad():
        change = (q_func(x).q_value - q_func(other).q_value).abs().amax(dim=1)
    assert bool((change <= 3.0 * (x - other).norm(dim=1) * (1.0 + 1e-5)).all())
