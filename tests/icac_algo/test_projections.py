"""Exact projections and their Jacobians against independent solvers."""

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
    project_onto_cone,
    project_onto_monotone,
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
    error = distance(projected, expected, values)
    assert error < 1e-5


@every_size
@pytest.mark.parametrize("increasing", [True, False])
def test_monotone_is_isotonic_regression(size: int, increasing: bool) -> None:
    values = np.concatenate([noisy_rows(size), smooth_rows(size)])
    regression = IsotonicRegression(increasing=increasing)
    expected = np.stack([regression.fit_transform(np.arange(size), v) for v in values])
    projected = project_onto_monotone(torch.as_tensor(values), increasing).numpy()
    error = distance(projected, expected, values)
    assert error < 1e-12


def test_neighbouring_actions_may_be_close() -> None:
    """The nearest rising values to a dip are its mean, at any spacing."""
    for last in (2.0, 1.1, 1.01, 1.001, 1.0001):
        shape = MonotoneConcave(actions=[0.0, 1.0, last])
        dip = torch.tensor([[0.0, -1.0, 0.0]], dtype=torch.float64)
        expected = torch.full((1, 3), -1.0 / 3.0, dtype=torch.float64)
        torch.testing.assert_close(shape.project(dip), expected, rtol=0.0, atol=1e-5)


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
def test_jacobian_is_the_projection_onto_the_active_face(shape: Shape, size: int) -> None:
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


# -- scans -------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 101])
def test_running_extremes(size: int) -> None:
    values = interior_normal(size)
    highest = np.maximum.accumulate(values.numpy(), axis=1)
    lowest = np.minimum.accumulate(values.numpy(), axis=1)
    np.testing.assert_array_equal(running_maximum(values).numpy(), highest)
    np.testing.assert_array_equal(running_minimum(values).numpy(), lowest)
