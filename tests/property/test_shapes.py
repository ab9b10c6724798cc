"""What is true of every shape and every row of values, found out by hypothesis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from icac_algo import Concave, Constraint, KnownCost, Monotone, MonotoneConcave
from icac_algo import Unconstrained as Free

from .strategies import DIRECTED, MODEST, SHAPES, over, placed, shortfall

#: Rows agree to this share of their data: the interior point method's own resolution.
CLOSE = 1e-5

ALL_SHAPES = [Free(), *SHAPES]
every_shape = pytest.mark.parametrize("shape", ALL_SHAPES, ids=repr)

# Six decimals: ties, zeros and plateaus come up often.
unit_values = st.floats(-1.0, 1.0).map(lambda value: round(value, 6))
sizes = st.sampled_from([3, 5, 8, 9, 21])
scales = st.integers(-9, 9).map(lambda exponent: 10.0**exponent)


def rows_of(
    size: int, elements: st.SearchStrategy[float]
) -> st.SearchStrategy[list[float]]:
    return st.lists(elements, min_size=size, max_size=size)


@st.composite
def tensors(
    draw: st.DrawFn,
    rows: int = 2,
    elements: st.SearchStrategy[float] = unit_values,
    size: int | None = None,
) -> torch.Tensor:
    size = size or draw(sizes)
    values = draw(st.lists(rows_of(size, elements), min_size=rows, max_size=rows))
    return torch.tensor(values, dtype=torch.float64)


def size_of(*rows: torch.Tensor) -> float:
    """The scale of the data, which all tolerances are relative to."""
    return max(float(row.abs().max()) for row in rows)


@every_shape
@MODEST
@given(data=st.data(), scale=scales)
def test_projection_is_feasible_and_idempotent(
    shape: Constraint, data: st.DataObject, scale: float
) -> None:
    values = scale * data.draw(tensors())
    constraint = data.draw(placed(shape, values.shape[1]))
    for given_dtype, resolution in ((torch.float64, 1e-13), (torch.float32, 4e-7)):
        given_values = values.to(given_dtype)
        once = constraint.project(given_values)
        assert once.dtype == given_dtype
        assert once.shape == values.shape
        assert shortfall(constraint, once).max() <= resolution * size_of(once)
        assert size_of(constraint.project(once) - once) <= CLOSE * size_of(values)
        if isinstance(constraint, Monotone):
            falls = once.diff() < 0 if constraint.increasing else once.diff() > 0
            assert not bool(falls.any())


def feasible(constraint: Constraint, raw: torch.Tensor) -> torch.Tensor:
    """Values with the shape, from any numbers: a level and then slopes."""
    gaps = torch.as_tensor(np.diff(constraint.positions(raw.shape[1])))
    slopes = raw[:, 1:]
    if isinstance(constraint, DIRECTED):
        slopes = slopes.abs() if constraint.increasing else -slopes.abs()
    if isinstance(constraint, (Concave, MonotoneConcave)):
        slopes = slopes.sort(dim=1, descending=True).values
    level = raw[:, :1]
    return torch.cat([level, level + (slopes * gaps).cumsum(dim=1)], dim=1)


@every_shape
@MODEST
@given(data=st.data(), scale=scales)
def test_feasible_values_stay_where_they_are(
    shape: Constraint, data: st.DataObject, scale: float
) -> None:
    raw = scale * data.draw(tensors())
    constraint = data.draw(placed(shape, raw.shape[1]))
    values = feasible(constraint, raw)
    moved = constraint.project(values) - values
    assert size_of(moved) <= CLOSE * size_of(values)


@every_shape
@MODEST
@given(data=st.data(), scale=scales)
def test_rounding_is_removed(
    shape: Constraint, data: st.DataObject, scale: float
) -> None:
    """Values that miss the set by a billionth are moved into it, by about as much."""
    raw = scale * data.draw(tensors())
    noise = data.draw(tensors(size=raw.shape[1]))
    constraint = data.draw(placed(shape, raw.shape[1]))
    values = feasible(constraint, raw)
    rough = values + 1e-9 * size_of(values) * noise
    positions = constraint.positions(raw.shape[1])
    smooth = constraint.remove_rounding(rough, positions)
    assert shortfall(constraint, smooth).max() <= 1e-13 * size_of(values)
    assert size_of(smooth - rough) <= 1e-6 * size_of(values)


@every_shape
@MODEST
@given(data=st.data(), scale=scales)
def test_projection_is_firmly_non_expansive(
    shape: Constraint, data: st.DataObject, scale: float
) -> None:
    x = scale * data.draw(tensors(rows=1))
    y = scale * data.draw(tensors(rows=1, size=x.shape[1]))
    constraint = data.draw(placed(shape, x.shape[1]))
    for other in (y, x + 0.01 * y):
        moved = constraint.project(x) - constraint.project(other)
        slack = CLOSE * size_of(x, y) * x.shape[1] * size_of(x - other, moved)
        assert float((moved * (x - other - moved)).sum()) >= -slack


@every_shape
@MODEST
@given(data=st.data(), scale=scales)
def test_projection_commutes_with_permuting_the_batch(
    shape: Constraint, data: st.DataObject, scale: float
) -> None:
    values = scale * data.draw(tensors(rows=4))
    constraint = data.draw(placed(shape, values.shape[1]))
    order = data.draw(st.permutations(range(4)))
    difference = constraint.project(values[order]) - constraint.project(values)[order]
    assert size_of(difference) <= CLOSE * size_of(values)


@pytest.mark.parametrize(
    "shape", [s for s in ALL_SHAPES if s.sup_norm_nonexpansive], ids=repr
)
@MODEST
@given(data=st.data(), scale=scales)
def test_projection_is_safe_under_bootstrapping(
    shape: Constraint, data: st.DataObject, scale: float
) -> None:
    """Sup-norm non-expansive and order-preserving, as isotonic regression is."""
    x = scale * data.draw(tensors(rows=1))
    y = scale * data.draw(tensors(rows=1, size=x.shape[1]))
    moved = size_of(shape.project(x) - shape.project(y))
    assert moved <= size_of(x - y) + 1e-12 * size_of(x, y)
    higher = shape.project(torch.maximum(x, y))
    assert bool((higher >= shape.project(x) - 1e-12 * size_of(x, y)).all())


# Found by maximising the row sums of the face projectors: both points lie inside the
# region of the face on which only the middle action's curvature is free.
BEFORE = torch.tensor([[2.0, -1.0, 10.0, -1.0, 2.0]], dtype=torch.float64)
STEP = torch.tensor([[-1.0, 1.0, 1.0, 1.0, -1.0]], dtype=torch.float64)
LINE = torch.tensor([[0.0, 30.0, 60.0, 90.0, 120.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("shape", "line"),
    [
        (Concave(), 0.0 * LINE),
        (MonotoneConcave(), LINE),
        (MonotoneConcave(increasing=False), -LINE),
    ],
    ids=repr,
)
def test_projecting_onto_concave_can_expand_the_sup_norm(
    shape: Constraint, line: torch.Tensor
) -> None:
    """Why "project after every backup" is no contraction for these shapes."""
    moved = shape.project(BEFORE + line + STEP) - shape.project(BEFORE + line)
    assert size_of(moved) / size_of(STEP) == pytest.approx(11.0 / 7.0)
    assert not shape.sup_norm_nonexpansive


@every_shape
@MODEST
@given(data=st.data(), scale=scales)
def test_gradient_is_finite_at_ties(
    shape: Constraint, data: st.DataObject, scale: float
) -> None:
    """Raising a row by a constant raises its projection by it: gradients sum to one."""
    few = st.sampled_from([-1.0, 0.0, 0.0, 1.0])
    values = scale * data.draw(tensors(elements=few))
    values[-1] = 0.0
    constraint = data.draw(placed(shape, values.shape[1]))
    index = data.draw(st.integers(0, values.shape[1] - 1))
    leaf = values.requires_grad_()
    constraint.project(leaf)[:, index].sum().backward()
    assert leaf.grad is not None
    assert bool(torch.isfinite(leaf.grad).all())
    torch.testing.assert_close(leaf.grad.sum(dim=1), torch.ones(2).double())


@pytest.mark.parametrize("shape", SHAPES, ids=repr)
@MODEST
@given(data=st.data(), scale=scales)
def test_an_offset_shifts_the_set(
    shape: Constraint, data: st.DataObject, scale: float
) -> None:
    """With a known cost ``o`` the values plus ``o`` have the shape, ``o`` by hand."""
    values = scale * data.draw(tensors())
    observations = scale * data.draw(tensors(size=3))
    plain = data.draw(placed(shape, values.shape[1]))
    shifted = over(plain, plain.actions, KnownCost(feature=2, coefficient=-0.5))
    positions = torch.as_tensor(plain.positions(values.shape[1]))
    added = -0.5 * observations[:, 2:] * positions
    expected = plain.project(values + added) - added
    got = shifted.project(values, observations)
    assert size_of(got - expected) <= CLOSE * size_of(values, added)
    assert shortfall(plain, got + added).max() <= 1e-13 * size_of(values, added)


@every_shape
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_not_finite_are_refused(shape: Constraint, bad: float) -> None:
    values = torch.zeros(2, 5)
    values[1, 3] = bad
    with pytest.raises(ValueError, match="q must be finite, got NaN or infinity"):
        shape.project(values)


@every_shape
@pytest.mark.parametrize("size", [(), (5,), (1, 2, 5)])
def test_values_of_another_shape_are_refused(
    shape: Constraint, size: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"q must have shape \(batch, actions\), got"):
        shape.project(torch.zeros(size))


def test_missing_actions_and_observations_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Concave\(actions=\.\.\.\) names 3 actions"):
        Concave(actions=[0.0, 0.5, 1.0]).project(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="MonotoneConcave needs at least 3 actions"):
        MonotoneConcave().project(torch.zeros(2, 2))
    with pytest.raises(ValueError, match="observations are needed"):
        Monotone(offset=KnownCost(feature=0)).project(torch.zeros(2, 5))
