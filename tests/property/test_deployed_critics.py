"""Critics in evaluation mode: exact, at any observation, level and scale."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from icac_algo import Canonical, Euclidean, Functional, KnownCost, Monotone
from icac_algo.critics import Critic, Prior, ProjectedQFunction, ShapedQFunction
from icac_algo.shapes import Constraint

from .strategies import (
    CURVATURE_SHAPES,
    MODEST,
    SHAPES,
    bound_scale,
    over,
    placed,
    seeds,
    shortfall,
)

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=repr)
every_bent_shape = pytest.mark.parametrize(
    "shape", [*SHAPES, *CURVATURE_SHAPES], ids=repr
)
either_critic = pytest.mark.parametrize("kind", [Canonical(), Functional()], ids=repr)
every_critic = pytest.mark.parametrize(
    "kind", [Canonical(), Functional(), Euclidean()], ids=repr
)

sizes = st.sampled_from([3, 5, 21, 101])


class _Same(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def deployed(
    constraint: Constraint, size: int, kind: Critic, seed: int
) -> ShapedQFunction:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        q_func: ShapedQFunction = kind.create_discrete(
            _Same(), 4, size, Prior(constraint)
        )
    return q_func.eval()


measured_in = st.sampled_from(
    [(0.0, 1.0), (55.0, 0.1), (1e6, 1e-3), (-1e20, 1e15), (0.0, 1e-25), (1.0, 1e6)]
)
observation_scales = st.sampled_from([0.0, 1e-3, 1.0, 1e6, 1e30])


@every_critic
@every_bent_shape
@MODEST
@given(data=st.data())
def test_deployed_values_are_exact(
    kind: Critic, shape: Constraint, data: st.DataObject
) -> None:
    size = data.draw(sizes)
    constraint = data.draw(placed(shape, size))
    q_func = deployed(constraint, size, kind, data.draw(seeds))
    q_func.standardise(*data.draw(measured_in))
    generator = torch.Generator().manual_seed(data.draw(seeds))
    x = torch.randn(8, 4, generator=generator) * data.draw(observation_scales)
    q = q_func(x).q_value.detach()
    assert q.shape == (8, size)
    assert q.dtype == torch.float32
    assert bool(torch.isfinite(q).all())
    if isinstance(constraint, Monotone):
        wrong = q.diff() < 0.0 if constraint.increasing else q.diff() > 0.0
        assert not bool(wrong.any())
    missed = shortfall(constraint, q)
    largest = q.double().abs().amax(dim=1).clamp(min=bound_scale(constraint, size))
    assert bool((missed <= 1e-6 * largest).all())


@every_critic
@every_shape
@MODEST
@given(data=st.data())
def test_deployed_values_plus_the_known_cost_are_exact(
    kind: Critic, shape: Constraint, data: st.DataObject
) -> None:
    """Up to the float32 that Q is stored in: a cost of 1e30 leaves few digits to Q."""
    size = data.draw(sizes)
    plain = data.draw(placed(shape, size))
    constraint = over(shape, plain.actions, KnownCost(feature=1, coefficient=-0.5))
    q_func = deployed(constraint, size, kind, data.draw(seeds))
    q_func.standardise(*data.draw(measured_in))
    generator = torch.Generator().manual_seed(data.draw(seeds))
    x = torch.randn(8, 4, generator=generator) * data.draw(observation_scales)
    cost = -0.5 * x[:, 1:2].double() * torch.as_tensor(plain.positions(size))
    q = q_func(x).q_value.detach()
    assert bool(torch.isfinite(q).all())
    largest = torch.maximum(cost.abs(), (q + cost).abs()).amax(dim=1)
    assert bool((shortfall(plain, q, cost) <= 1e-6 * largest).all())


@every_shape
@either_critic
def test_deployed_values_are_the_trained_ones(kind: Critic, shape: Constraint) -> None:
    """Removing rounding may not move a value by more than rounding."""
    q_func = deployed(over(shape, None, KnownCost(feature=1)), 5, kind, seed=0)
    q_func.standardise(55.0, 0.1)
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    exact = q_func(x).q_value
    torch.testing.assert_close(q_func.train()(x).q_value, exact, rtol=1e-6, atol=0.0)
    assert float(exact.detach().std(dim=1).min()) > 1e-3


@every_shape
@either_critic
def test_level_may_cancel(kind: Critic, shape: Constraint) -> None:
    """Network outputs near 1e6 are known to .06: only removed rounding has a shape."""
    q_func = deployed(shape, 21, kind, seed=0)
    _, bias = q_func.parameters()
    bias.data[0] = 1e6
    q_func.standardise(-1e6, 1.0)
    q = q_func(torch.randn(64, 4, generator=torch.Generator().manual_seed(0))).q_value
    assert 0.0 < float(q.detach().abs().max()) < 100.0
    assert bool((shortfall(shape, q.detach()) <= 1e-6 * q.abs().amax(dim=1)).all())


@every_shape
def test_deployed_euclidean_values_are_the_projection(shape: Constraint) -> None:
    constraint = over(shape, None, KnownCost(feature=1))
    q_func = deployed(constraint, 5, Euclidean(), seed=0)
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    exact = q_func(x).q_value
    assert isinstance(q_func, ProjectedQFunction)
    q_func.projects_in_training = False
    raw = q_func.train()(x).q_value
    torch.testing.assert_close(exact, constraint.project(raw, x), rtol=0.0, atol=1e-5)
    assert float((exact - raw).detach().abs().amax(dim=1).median()) > 0.1
