"""Exact projections and their Jacobians against independent solvers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import quadprog
import torch
from sklearn.isotonic import IsotonicRegression

from icac_algo import (
    Bounded,
    Concave,
    Convex,
    Intersection,
    Monotone,
    MonotoneConcave,
    SlopeBounds,
    Unconstrained,
)
from icac_algo.shapes import Constraint, running_maximum, running_minimum
from icac_algo.shapes.projection.lines import holds_only_lines
from icac_algo.shapes.projection.slopes import project_onto_rising

FloatArray = npt.NDArray[np.float64]

SHAPES: dict[str, Constraint] = {
    "rising": Monotone(),
    "falling": Monotone(increasing=False),
    "slope bounds": SlopeBounds(-1.0, 1.0),
    "slope above": SlopeBounds(lower=0.5),
    "slope below": SlopeBounds(upper=-0.2),
    "bounded": Bounded(-0.5, 0.5),
    "concave": Concave(),
    "convex": Convex(),
    "rising concave": MonotoneConcave(),
    "falling concave": MonotoneConcave(increasing=False),
    "concave, bounded slope": Intersection([Concave(), SlopeBounds(-5.0, 5.0)]),
    "rising, bounded": Intersection([Monotone(), Bounded(-0.5, 0.7)]),
    "bounded slope and value": Intersection([SlopeBounds(-2.0, 2.0), Bounded(-0.5, 0.5)]),
    "convex, bounded": Intersection([Convex(), Bounded(-1.0, 1.0)]),
    "constant": Intersection([Monotone(), Monotone(increasing=False)]),
    "affine": Intersection([Concave(), Convex()]),
    "affine, bounded": Intersection(
        [Concave(), Convex(), Bounded(-0.2, 0.2), SlopeBounds(-0.1, 0.3)]
    ),
    "one slope": SlopeBounds(0.5, 0.5),
    "one line": Intersection([SlopeBounds(lower=1.0), Bounded(0.0, 1.0)]),
}
SIZES = (2, 3, 5, 8, 9, 21, 101)

every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
every_size = pytest.mark.parametrize("size", SIZES)
either_spacing = pytest.mark.parametrize("equal", [True, False], ids=["equal", "unequal"])


def make(shape: Constraint, size: int, equal: bool) -> Constraint:
    if equal:
        return shape
    gaps = np.random.default_rng(size).uniform(0.1, 1.0, size)
    actions = np.cumsum(gaps)
    # From 0 to 1, as without unequal gaps: some of the bounds leave no more room.
    actions = (actions - actions[0]) / (actions[-1] - actions[0])
    return dataclasses.replace(shape, actions=actions.tolist())


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


def nearest(values: FloatArray, constraint: Constraint) -> FloatArray:
    """By an active-set solver."""
    positions = constraint.positions(values.shape[1])
    matrix, bounds = constraint.inequalities(positions), constraint.bounds(positions)
    if len(matrix) == 0:
        return values
    length = np.linalg.norm(matrix, axis=1)
    rows, bounds = matrix / length[:, None], bounds / length
    if holds_only_lines(constraint.shape_set(), positions):
        # The solver calls sets without interior inconsistent, by rounding.
        bounds = bounds - 1e-9
    identity = np.eye(values.shape[1])
    return np.stack([quadprog.solve_qp(identity, v, rows.T, bounds)[0] for v in values])


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
    data: Callable[[int], FloatArray], shape: Constraint, size: int, equal: bool
) -> None:
    constraint, values = make(shape, size, equal), data(size)
    projected = constraint.project(torch.as_tensor(values)).numpy()
    # The reference, too, is only so good where all rows are tight.
    only_lines = holds_only_lines(constraint.shape_set(), constraint.positions(size))
    close = 1e-4 if only_lines else 1e-5
    assert distance(projected, nearest(values, constraint), values) < close
    positions = constraint.positions(size)
    slack = projected @ constraint.inequalities(positions).T
    slack = slack - constraint.bounds(positions)
    # Slopes over narrow gaps are differences of nearly equal numbers.
    assert slack.min(initial=0.0) >= -1e-12 * max(1.0, np.abs(projected).max())


# The certificate of the interior point method says that less is promised there.
@pytest.mark.filterwarnings("ignore:.*stopped up to.*short:RuntimeWarning")
@pytest.mark.parametrize(
    "shape",
    [
        Monotone(),
        SlopeBounds(-1.0, 1.0),
        Concave(),
        Intersection([Concave(), Bounded(-0.5, 0.5)]),
        Intersection([Concave(), Convex()]),
    ],
    ids=["isotonic", "steps", "knots", "interior point", "flat"],
)
def test_a_thousand_actions(shape: Constraint) -> None:
    """Too long for the reference: the conditions of a nearest point themselves.

    ``u`` is nearest if it is feasible and ``v - u`` makes an obtuse angle with every
    direction into the set, such as towards the projections of other rows.
    """
    values = torch.as_tensor(noisy_rows(1001)[:4])
    projected = shape.project(values)
    positions = shape.positions(1001)
    slack = projected.numpy() @ shape.inequalities(positions).T - shape.bounds(positions)
    assert slack.min() >= -1e-12
    towards = projected[None] - projected[:, None]
    away = (values - projected)[:, None]
    # Where values are bounded too, second differences are conditioned like 1e12.
    close = 1e-3 if shape.shape_set().has_value_bounds else 1e-9
    assert float((towards * away).sum(dim=2).max()) <= close * 1001
    again = shape.project(projected)
    assert distance(again.numpy(), projected.numpy(), values.numpy()) < close


@either_spacing
@pytest.mark.parametrize("name", ["concave", "convex", "rising concave"])
@pytest.mark.parametrize("data", [noisy_rows, smooth_rows])
def test_curved_rows_of_a_thousand_meet_the_conditions_of_a_nearest_point(
    data: Callable[[int], FloatArray], name: str, equal: bool
) -> None:
    """Multipliers, sums of sums of the residual, are of one sign and 0 at every kink."""
    constraint = make(SHAPES[name], 1001, equal)
    values, positions = data(1001)[3:], constraint.positions(1001)
    projected = constraint.project(torch.as_tensor(values)).numpy()
    residual = projected - values
    scale = np.abs(values - values.mean(axis=1, keepdims=True)).max(axis=1)
    sign = -1.0 if name == "convex" else 1.0
    sums = np.cumsum(residual, axis=1)[:, :-1]
    # Of the last slope, the sum of all; so moments are taken from the first action on.
    moments = -sign * np.cumsum(sums * np.diff(positions), axis=1) / scale[:, None]
    assert np.abs(residual.sum(axis=1) / scale).max() < 1e-8
    assert moments.min() > -1e-9
    bends = -sign * np.diff(np.diff(projected, axis=1) / np.diff(positions), axis=1)
    assert (bends / scale[:, None]).min() > -1e-9
    assert np.abs((moments[:, :-1] * bends).sum(axis=1) / scale).max() < 1e-6


@pytest.mark.parametrize("name", ["concave", "convex", "rising concave"])
def test_jacobian_of_long_rows_projects_onto_the_face(name: str) -> None:
    values = torch.as_tensor(noisy_rows(1001)[:3], dtype=torch.float64).requires_grad_()
    projected = SHAPES[name].project(values)
    direction = torch.as_tensor(noisy_rows(1001)[3:6])
    (first,) = torch.autograd.grad(projected, values, direction, retain_graph=True)
    (again,) = torch.autograd.grad(projected, values, first, retain_graph=True)
    torch.testing.assert_close(first, again, rtol=0.0, atol=1e-9)
    # The face of a cone holds the point itself.
    (kept,) = torch.autograd.grad(projected, values, projected.detach())
    torch.testing.assert_close(kept, projected.detach(), rtol=0.0, atol=1e-9)


def test_ties_of_a_rising_row_are_not_pooled() -> None:
    """A member with plateaus keeps its gradient: nothing was corrected."""
    values = torch.tensor([[0.0, 0.0, 1.0] * 3 + [2.0]] * 300, dtype=torch.float64)
    values = values.sort(dim=1).values.requires_grad_()
    projected = Monotone().project(values)
    assert torch.equal(projected, values)
    (grad,) = torch.autograd.grad(projected[:, 0].sum(), values)
    assert torch.equal(grad[:, 0], torch.ones(300, dtype=torch.float64))
    assert float(grad[:, 1:].abs().max()) == 0.0


def test_rows_one_above_the_other_do_not_touch() -> None:
    """Rows of any scale in one long regression, as each alone."""
    rows = noisy_rows(30)
    values = torch.as_tensor(np.concatenate([rows * 10.0**k for k in (-9, 0, 9)] * 12))
    whole = Monotone().project(values)
    alone = torch.cat([Monotone().project(row[None]) for row in values[:36]])
    torch.testing.assert_close(whole[:36], alone, rtol=1e-9, atol=0.0)


@every_size
@pytest.mark.parametrize("increasing", [True, False])
def test_monotone_is_isotonic_regression(size: int, increasing: bool) -> None:
    values = np.concatenate([noisy_rows(size), smooth_rows(size)])
    regression = IsotonicRegression(increasing=increasing)
    expected = np.stack([regression.fit_transform(np.arange(size), v) for v in values])
    sign = 1.0 if increasing else -1.0
    fitted, _ = project_onto_rising(torch.as_tensor(sign * values))
    for projected in (
        sign * fitted.numpy(),
        Monotone(increasing=increasing).project(torch.as_tensor(values)).numpy(),
    ):
        assert distance(projected, expected, values) < 1e-12


def test_neighbouring_actions_may_be_close() -> None:
    """The nearest rising values to a dip are its mean, at any spacing."""
    for last in (2.0, 1.1, 1.01, 1.001, 1.0001):
        shape = MonotoneConcave(actions=[0.0, 1.0, last])
        dip = torch.tensor([[0.0, -1.0, 0.0]], dtype=torch.float64)
        expected = torch.full((1, 3), -1.0 / 3.0, dtype=torch.float64)
        torch.testing.assert_close(shape.project(dip), expected, rtol=0.0, atol=1e-5)


# Of these a banded solve finds no certificate at a constant row.
UNEQUAL = [
    *(-2.326734481410691, -1.9839264390232079, -1.8470502674806326),
    *(-1.7321753955049564, -0.9002321802247111, 0.021247839325238438),
    *(0.6672200375157002, 1.4237669424012989, 2.0130294347201794),
    *(2.954594616129171, 3.7888628148385504, 3.891327464991684),
    *(4.762991313920496, 4.893218331695414, 5.649908233482364),
    *(5.907998292024667, 6.784859322139564, 7.372174420363747),
    *(7.741915121847393, 8.222333620925285, 8.347821324956202),
]


def test_inequalities_that_depend_on_each_other_are_certified_too() -> None:
    """Warnings are errors: none is found to stop short."""
    shape = Concave(actions=UNEQUAL, curvature=[-2.0, 0.0])
    values = torch.full((1, len(UNEQUAL)), 0.2, dtype=torch.float64)
    torch.testing.assert_close(shape.project(values), values, rtol=0.0, atol=1e-12)


def test_no_shape_leaves_values_alone() -> None:
    values = interior_normal(5)
    assert torch.equal(Unconstrained().project(values), values)
    assert torch.equal(Concave().project(values[:, :2]), values[:, :2])


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
    shape: Constraint, size: int
) -> None:
    """K = 5 enumerates the faces, K = 21 takes the other methods."""
    constraint, step = make(shape, size, True), 1e-5
    for point in interior_normal(size, rows=4):

        def project(values: torch.Tensor) -> torch.Tensor:
            return constraint.project(values[None])[0]

        jacobian = torch.autograd.functional.jacobian(project, point)
        steps = step * torch.eye(size, dtype=torch.float64)
        ends = constraint.project(point + steps) - constraint.project(point - steps)
        torch.testing.assert_close(jacobian, ends.T / (2 * step), rtol=0.0, atol=2e-5)
        torch.testing.assert_close(jacobian, jacobian.T, rtol=0.0, atol=1e-9)
        torch.testing.assert_close(jacobian @ jacobian, jacobian, rtol=0.0, atol=1e-9)
        assert -1e-9 <= float(jacobian.trace()) <= size + 1e-9


# -- scans -------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 101])
def test_running_extremes(size: int) -> None:
    values = interior_normal(size)
    highest = np.maximum.accumulate(values.numpy(), axis=1)
    lowest = np.minimum.accumulate(values.numpy(), axis=1)
    np.testing.assert_array_equal(running_maximum(values).numpy(), highest)
    np.testing.assert_array_equal(running_minimum(values).numpy(), lowest)
