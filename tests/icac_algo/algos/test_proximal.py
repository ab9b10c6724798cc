"""The penalty, the proximal layer and its implicit gradient, all in float64."""

from __future__ import annotations

import pytest
import torch

from icac_algo import Concave, Monotone, MonotoneConcave
from icac_algo.algos import (
    conjugate_gradient,
    implicit_proximal,
    inner_step_size,
    penalty,
    penalty_gradient,
    penalty_lipschitz,
    proximal_iterations,
)
from icac_algo.shapes import Constraint

SHAPES = [
    Monotone(),
    Monotone(increasing=False),
    Concave(),
    Concave(actions=[0.0, 0.2, 0.5, 0.6, 1.0]),
    MonotoneConcave(),
    MonotoneConcave(increasing=False),
]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=repr)
every_weight = pytest.mark.parametrize("lam", [0.01, 0.5, 1.0, 30.0, 1000.0])


def normal(size: int, rows: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size)
    return torch.randn(rows, size, generator=generator, dtype=torch.float64)


def matrix_of(constraint: Constraint, size: int) -> torch.Tensor:
    return torch.as_tensor(constraint.inequalities(constraint.positions(size)))


# -- penalty -----------------------------------------------------------------


def test_penalty_by_hand() -> None:
    values = torch.tensor([[1.0, 0.0, 2.0, -1.0], [0.0, 1.0, 1.0, 2.0]])
    steps = matrix_of(Monotone(), 4).float()
    assert penalty(values, steps).tolist() == [1.0 + 9.0, 0.0]


@every_shape
def test_penalty_gradient_is_that_of_the_penalty(shape: Constraint) -> None:
    matrix, values = matrix_of(shape, 5), normal(5).requires_grad_()
    (expected,) = torch.autograd.grad(penalty(values, matrix).sum(), values)
    assert float(expected.abs().min(dim=0).values.max()) > 0.0
    torch.testing.assert_close(penalty_gradient(values.detach(), matrix), expected)


@pytest.mark.parametrize(("constraint", "bound"), [(Monotone(), 8.0), (Concave(), 32.0)])
def test_step_size_comes_from_the_lipschitz_constant(
    constraint: Constraint, bound: float
) -> None:
    for size in (3, 5, 101):
        matrix = matrix_of(constraint, size)
        lipschitz = 1.0 / inner_step_size(penalty_lipschitz(matrix), 1.0) - 1.0
        assert lipschitz < bound
        x, y = normal(size, 200), normal(size, 400)[200:]
        moved = penalty_gradient(x, matrix) - penalty_gradient(y, matrix)
        assert bool((moved.norm(dim=1) <= lipschitz * (x - y).norm(dim=1)).all())
    assert lipschitz > 0.99 * bound
    assert inner_step_size(penalty_lipschitz(matrix), 0.0) == 1.0
    assert inner_step_size(penalty_lipschitz(matrix), 3.0) == pytest.approx(
        1.0 / (1.0 + 3.0 * lipschitz)
    )
    assert inner_step_size(penalty_lipschitz(torch.zeros(0, 5)), 7.0) == 1.0


# -- proximal layer ----------------------------------------------------------


def active_hessian(u: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    active = (u @ matrix.T < 0.0).double()
    return 2.0 * torch.einsum("mi,bm,mj->bij", matrix, active, matrix)


def minimise(values: torch.Tensor, matrix: torch.Tensor, lam: float) -> torch.Tensor:
    """Newton's method, which ends at the minimiser of a piecewise quadratic."""
    u, identity = values, torch.eye(values.shape[1], dtype=torch.float64)
    for _ in range(50):
        system = identity + lam * active_hessian(u, matrix)
        u = torch.linalg.solve(system, values)
    return u


@every_weight
@every_shape
def test_proximal_iterations_reach_the_minimiser(shape: Constraint, lam: float) -> None:
    matrix, values = matrix_of(shape, 5), normal(5)
    best = minimise(values, matrix, lam)
    u = best.clone().requires_grad_()
    objective = 0.5 * (u - values).square().sum() + lam * penalty(u, matrix).sum()
    (slope,) = torch.autograd.grad(objective, u)
    assert float(slope.abs().max()) < 1e-8

    step, away = (
        inner_step_size(penalty_lipschitz(matrix), lam),
        (values - best).norm(dim=1),
    )
    for count in (1, 20, 2000):
        u = proximal_iterations(values, values, matrix, lam, count, step)
        # Gradient descent on an objective whose curvature is at least one.
        bound = (1.0 - step) ** count * away + 1e-10
        assert bool(((u - best).norm(dim=1) <= bound).all())


@pytest.mark.parametrize("lam", [0.5, 1.0, 10.0])
@pytest.mark.parametrize("constraint", [Monotone(), Concave()])
def test_unit_steps_diverge(constraint: Constraint, lam: float) -> None:
    """The paper's literal step: why the step size comes from the Lipschitz constant."""
    matrix, values = matrix_of(constraint, 5), normal(5, rows=32)
    u = proximal_iterations(values, values, matrix, lam, 100, 1.0)
    assert float(u.abs().max()) > 1e6


@every_weight
@every_shape
def test_implicit_gradient(shape: Constraint, lam: float) -> None:
    matrix, values = matrix_of(shape, 5), normal(5)
    solution = minimise(values, matrix, lam)
    leaf, weights = values.clone().requires_grad_(), normal(5).flip(0, 1)
    layer = implicit_proximal(leaf, solution, matrix, lam)
    assert torch.equal(layer, solution)
    layer.backward(weights)
    assert leaf.grad is not None

    system = torch.eye(5) + lam * active_hessian(solution, matrix)
    closed_form = torch.linalg.solve(system, weights)
    torch.testing.assert_close(leaf.grad, closed_form, rtol=1e-8, atol=1e-8)

    step = 1e-5
    steps = step * torch.eye(5, dtype=torch.float64)[:, None]
    shifted = torch.cat([values + steps, values - steps]).flatten(0, 1)
    ends = minimise(shifted, matrix, lam).reshape(2, 5, *values.shape)
    differences = ((ends[0] - ends[1]) / (2 * step) * weights).sum(dim=2).T
    torch.testing.assert_close(leaf.grad, differences, rtol=0.0, atol=1e-6)


def test_conjugate_gradient_solves_every_row() -> None:
    """Rows of any size, one of them zero, stop on their own terms."""
    root = normal(9, rows=9)
    system = root @ root.T + torch.eye(9)
    rhs = normal(9) * torch.tensor([1e-12, 0.0, 1.0, 1e3, 1e6, 1e12])[:, None]
    expected = torch.linalg.solve(system, rhs.T).T
    solved = conjugate_gradient(lambda z: z @ system, rhs, max_iterations=30)
    error = (solved - expected).norm(dim=1)
    assert bool((error <= 1e-8 * expected.norm(dim=1)).all())
