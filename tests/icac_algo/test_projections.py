"""The projections, the proximal layer and its gradient against independent solvers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import quadprog
import torch
from sklearn.isotonic import IsotonicRegression

from icac_algo import Concave, Constraint, Monotone, MonotoneConcave, Unconstrained
from icac_algo.projections import (
    conjugate_gradient,
    implicit_proximal,
    inner_step_size,
    penalty,
    penalty_gradient,
    project_onto_cone,
    project_onto_monotone,
    proximal_iterations,
    running_maximum,
    running_minimum,
)

FloatArray = npt.NDArray[np.float64]
Shape = Callable[[list[float] | None], Constraint]

SHAPES: dict[str, Shape] = {
    "rising": lambda actions: Monotone(actions),
    "falling": lambda actions: Monotone(actions, increasing=False),
    "concave": lambda actions: Concave(actions),
    "rising concave": lambda actions: MonotoneConcave(actions),
    "falling concave": lambda actions: MonotoneConcave(actions, increasing=False),
}
SIZES = (3, 5, 8, 9, 21, 101)
WEIGHTS = (0.01, 0.5, 1.0, 30.0, 1000.0)

every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
every_size = pytest.mark.parametrize("size", SIZES)
either_spacing = pytest.mark.parametrize("equal", [True, False], ids=["equal", "unequal"])


def make(shape: Shape, size: int, equal: bool) -> Constraint:
    if equal:
        return shape(None)
    gaps = np.random.default_rng(size).uniform(0.1, 1.0, size)
    return shape(list(np.cumsum(gaps)))


def noisy_rows(size: int) -> FloatArray:
    """Noise, and noise around curves that obey one shape or the other."""
    noise = np.random.default_rng(1).normal(size=(12, size))
    unit = np.linspace(0.0, 1.0, size)
    return np.concatenate([noise[:4], 0.1 * noise[4:8] + unit**0.5, unit - noise[8:]])


def smooth_rows(size: int) -> FloatArray:
    """Waves and random walks, whose projections lie on large faces."""
    unit = np.linspace(0.0, 1.0, size)
    waves = [np.sin(w * unit + p) for w in (3, 5, 8, 10) for p in (0, 1, 3)]
    walks = np.random.default_rng(2).normal(size=(8, size)).cumsum(axis=1)
    return np.concatenate([np.stack(waves), walks])


def nearest(values: FloatArray, matrix: FloatArray) -> FloatArray:
    rows = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    identity, zero = np.eye(values.shape[1]), np.zeros(len(rows))
    return np.stack([quadprog.solve_qp(identity, v, rows.T, zero)[0] for v in values])


def distance(got: FloatArray, expected: FloatArray, data: FloatArray) -> float:
    """Largest difference in any row, as a share of that row's data."""
    return float(np.max(np.abs(got - expected).max(axis=1) / np.abs(data).max(axis=1)))


def interior_normal(size: int, rows: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size)
    return torch.randn(rows, size, generator=generator, dtype=torch.float64)


def matrix_of(constraint: Constraint, size: int) -> torch.Tensor:
    return torch.as_tensor(constraint.inequalities(constraint.positions(size)))


# -- exact projections -------------------------------------------------------


@either_spacing
@every_size
@every_shape
@pytest.mark.parametrize("data", [noisy_rows, smooth_rows])
def test_projection_is_the_nearest_point(
    data: Callable[[int], FloatArray], shape: Shape, size: int, equal: bool
) -> None:
    constraint, values = make(shape, size, equal), data(size)
    expected = nearest(values, constraint.inequalities(constraint.positions(size)))
    projected = constraint.project(torch.as_tensor(values)).numpy()
    assert distance(projected, expected, values) < 1e-5


@every_size
@pytest.mark.parametrize("increasing", [True, False])
def test_monotone_is_isotonic_regression(size: int, increasing: bool) -> None:
    values = np.concatenate([noisy_rows(size), smooth_rows(size)])
    regression = IsotonicRegression(increasing=increasing)
    expected = np.stack([regression.fit_transform(np.arange(size), v) for v in values])
    projected = project_onto_monotone(torch.as_tensor(values), increasing).numpy()
    assert distance(projected, expected, values) < 1e-12


def test_no_shape_leaves_values_alone() -> None:
    values = interior_normal(5)
    assert torch.equal(Unconstrained().project(values), values)
    assert torch.equal(project_onto_cone(values, np.zeros((0, 5))), values)


def test_rows_do_not_depend_on_the_size_of_the_batch() -> None:
    """Large batches are cut into blocks: no row may be lost, moved or changed."""
    values, constraint = interior_normal(9, rows=2100), Concave()
    whole = constraint.project(values)
    picked = [0, 1023, 1024, 2047, 2048, 2099]
    alone = torch.cat([constraint.project(values[i : i + 1]) for i in picked])
    torch.testing.assert_close(whole[picked], alone, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("size", [5, 8, 9, 21], ids="K={}".format)
@every_shape
def test_jacobian_is_the_projection_onto_the_active_face(
    shape: Shape, size: int
) -> None:
    """K = 5 enumerates the faces, K = 21 takes the interior point method."""
    constraint, step = make(shape, size, True), 1e-6
    for point in interior_normal(size, rows=4):

        def project(values: torch.Tensor) -> torch.Tensor:
            return constraint.project(values[None])[0]

        jacobian = torch.autograd.functional.jacobian(project, point)
        steps = step * torch.eye(size, dtype=torch.float64)
        ends = constraint.project(point + steps) - constraint.project(point - steps)
        torch.testing.assert_close(jacobian, ends.T / (2 * step), rtol=0.0, atol=1e-6)
        torch.testing.assert_close(jacobian, jacobian.T, rtol=0.0, atol=1e-9)
        torch.testing.assert_close(jacobian @ jacobian, jacobian, rtol=0.0, atol=1e-9)
        assert 0.5 < float(jacobian.trace()) < size - 0.5


# -- penalty -----------------------------------------------------------------


def test_penalty_by_hand() -> None:
    values = torch.tensor([[1.0, 0.0, 2.0, -1.0], [0.0, 1.0, 1.0, 2.0]])
    steps = matrix_of(Monotone(), 4).float()
    assert penalty(values, steps).tolist() == [1.0 + 9.0, 0.0]


@every_shape
@either_spacing
def test_penalty_gradient_is_that_of_the_penalty(shape: Shape, equal: bool) -> None:
    matrix = matrix_of(make(shape, 9, equal), 9)
    values = interior_normal(9).requires_grad_()
    (expected,) = torch.autograd.grad(penalty(values, matrix).sum(), values)
    assert float(expected.abs().min(dim=0).values.max()) > 0.0
    torch.testing.assert_close(penalty_gradient(values.detach(), matrix), expected)


@pytest.mark.parametrize(("constraint", "bound"), [(Monotone(), 8.0), (Concave(), 32.0)])
def test_step_size_comes_from_the_lipschitz_constant(
    constraint: Constraint, bound: float
) -> None:
    for size in (3, 5, 101):
        matrix = matrix_of(constraint, size)
        lipschitz = 1.0 / inner_step_size(matrix, 1.0) - 1.0
        assert lipschitz < bound
        x, y = interior_normal(size, 200), interior_normal(size, 400)[200:]
        moved = penalty_gradient(x, matrix) - penalty_gradient(y, matrix)
        assert bool((moved.norm(dim=1) <= lipschitz * (x - y).norm(dim=1)).all())
    assert lipschitz > 0.99 * bound
    assert inner_step_size(matrix, 0.0) == 1.0
    assert inner_step_size(matrix, 3.0) == pytest.approx(1.0 / (1.0 + 3.0 * lipschitz))
    assert inner_step_size(torch.zeros(0, 5), 7.0) == 1.0


# -- proximal layer ----------------------------------------------------------


def solve_proximal(
    values: torch.Tensor, matrix: torch.Tensor, lam: float, iterations: int = 6000
) -> torch.Tensor:
    step = inner_step_size(matrix, lam)
    return proximal_iterations(values, values, matrix, lam, iterations, step)


def active_hessian(solution: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    active = (solution @ matrix.T < 0.0).double()
    return 2.0 * torch.einsum("mi,bm,mj->bij", matrix, active, matrix)


@pytest.mark.parametrize("lam", WEIGHTS)
@every_shape
def test_proximal_iterations_reach_the_minimiser(shape: Shape, lam: float) -> None:
    matrix, values = matrix_of(make(shape, 5, True), 5), interior_normal(5)
    u = solve_proximal(values, matrix, lam).requires_grad_()
    objective = 0.5 * (u - values).square().sum() + lam * penalty(u, matrix).sum()
    (slope,) = torch.autograd.grad(objective, u)
    # lam times the rounding of the gradient of C.
    assert float(slope.abs().max()) < 1e-9 * max(1.0, lam)


@pytest.mark.parametrize("lam", [0.5, 1.0, 10.0])
@pytest.mark.parametrize("constraint", [Monotone(), Concave()])
def test_unit_steps_diverge(constraint: Constraint, lam: float) -> None:
    """The paper's literal step: why the step size comes from the Lipschitz constant."""
    matrix, values = matrix_of(constraint, 5), interior_normal(5, rows=32)
    u = proximal_iterations(values, values, matrix, lam, 100, 1.0)
    assert float(u.abs().max()) > 1e6


@pytest.mark.parametrize("lam", WEIGHTS)
@every_shape
def test_implicit_gradient(shape: Shape, lam: float) -> None:
    matrix, values = matrix_of(make(shape, 5, True), 5), interior_normal(5)
    solution = solve_proximal(values, matrix, lam)
    leaf, weights = values.clone().requires_grad_(), interior_normal(5).flip(0, 1)
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
    ends = solve_proximal(shifted, matrix, lam).reshape(2, 5, *values.shape)
    differences = ((ends[0] - ends[1]) / (2 * step) * weights).sum(dim=2).T
    torch.testing.assert_close(leaf.grad, differences, rtol=0.0, atol=1e-6)


def test_conjugate_gradient_solves_every_row() -> None:
    """Rows of any size, one of them zero, stop on their own terms."""
    root = interior_normal(9, rows=9)
    system = root @ root.T + torch.eye(9)
    rhs = interior_normal(9) * torch.tensor([1e-12, 0.0, 1.0, 1e3, 1e6, 1e12])[:, None]
    expected = torch.linalg.solve(system, rhs.T).T
    solved = conjugate_gradient(lambda z: z @ system, rhs, max_iterations=30)
    error = (solved - expected).norm(dim=1)
    assert bool((error <= 1e-8 * expected.norm(dim=1)).all())


# -- scans -------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 101])
def test_running_extremes(size: int) -> None:
    values = interior_normal(size)
    highest = np.maximum.accumulate(values.numpy(), axis=1)
    lowest = np.minimum.accumulate(values.numpy(), axis=1)
    np.testing.assert_array_equal(running_maximum(values).numpy(), highest)
    np.testing.assert_array_equal(running_minimum(values).numpy(), lowest)
