"""What is true of every shape and every row of values, found out by hypothesis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from icac_algo import (
    Bounded,
    Concave,
    Convex,
    Intersection,
    KnownCost,
    Monotone,
    MonotoneConcave,
    SlopeBounds,
)
from icac_algo import Unconstrained as Free
from icac_algo.shapes import Constraint

from .strategies import (
    EVERY_SHAPE,
    MODEST,
    bound_scale,
    name_of,
    over,
    placed,
    scaled,
    seeds,
    shortfall,
)

#: Rows agree to this share of their data: the resolution of the slowest method.
CLOSE = 1e-5
#: Rounding of feasible rows, of values that are sums over all actions.
ROUNDING = 1e-13

ALL_SHAPES = [Free(), *EVERY_SHAPE]
every_shape = pytest.mark.parametrize("shape", ALL_SHAPES, ids=name_of)

# Six decimals: ties, zeros and plateaus come up often.
unit_values = st.floats(-1.0, 1.0).map(lambda value: round(value, 6))
few_values = st.sampled_from([-1.0, -0.5, 0.0, 0.0, 0.5, 1.0])
sizes = st.sampled_from([2, 3, 5, 8, 9, 21])
scales = st.integers(-9, 9).map(lambda exponent: 10.0**exponent)


@st.composite
def tensors(
    draw: st.DrawFn,
    rows: int = 2,
    elements: st.SearchStrategy[float] = unit_values,
    size: int | None = None,
) -> torch.Tensor:
    size = size or draw(sizes)
    if size > 9:
        # From a seed: hypothesis takes long over many numbers.  Noise, or a wave.
        rng = np.random.default_rng(draw(seeds))
        noise = rng.uniform(-1.0, 1.0, (rows, size)).round(draw(st.integers(0, 6)))
        wave = np.sin(rng.uniform(0.5, 9.0, (rows, 1)) * np.linspace(0.0, 1.0, size))
        share = draw(st.sampled_from([0.0, 0.01, 1.0]))
        return torch.as_tensor(share * noise + (1.0 - share) * wave)
    row = st.lists(elements, min_size=size, max_size=size)
    values = draw(st.lists(row, min_size=rows, max_size=rows))
    return torch.tensor(values, dtype=torch.float64)


@st.composite
def cases(
    draw: st.DrawFn, shape: Constraint, rows: int = 2
) -> tuple[Constraint, torch.Tensor, float]:
    """The shape over some actions, rows of values, and the scale of both."""
    scale, values = draw(scales), draw(tensors(rows))
    constraint = draw(placed(scaled(shape, scale), values.shape[1]))
    values = scale * values
    return constraint, values, max(size_of(values), extent(constraint, values))


def size_of(*rows: torch.Tensor) -> float:
    """The scale of the data, which all tolerances are relative to."""
    return max(float(row.abs().max()) for row in rows)


def extent(constraint: Constraint, values: torch.Tensor) -> float:
    return bound_scale(constraint, values.shape[1])


@every_shape
@MODEST
@given(data=st.data())
def test_projection_is_feasible_and_idempotent(
    shape: Constraint, data: st.DataObject
) -> None:
    constraint, values, size = data.draw(cases(shape))
    for given_dtype, resolution in ((torch.float64, ROUNDING), (torch.float32, 4e-7)):
        once = constraint.project(values.to(given_dtype))
        assert once.dtype == given_dtype
        assert once.shape == values.shape
        largest = max(size_of(once), extent(constraint, once))
        assert shortfall(constraint, once).max() <= resolution * largest
        again = constraint.project(once)
        assert size_of(again - once) <= max(CLOSE, 10.0 * resolution) * size
        if isinstance(constraint, Monotone):
            falls = once.diff() < 0 if constraint.increasing else once.diff() > 0
            assert not bool(falls.any())
        if isinstance(constraint, Bounded):
            limits = constraint.shape_set()
            for bound in (limits.lower, limits.upper):
                stored = torch.tensor(bound, dtype=given_dtype)
                beyond = once < stored if bound == limits.lower else once > stored
                assert limits.lower == limits.upper or not bool(beyond.any())


def feasible(constraint: Constraint, raw: torch.Tensor) -> torch.Tensor:
    """Values with the shape, from any numbers: a level and then slopes."""
    positions = constraint.positions(raw.shape[1])
    shape_set, parabola = constraint.shape_set().without_parabola(positions)
    gaps = torch.as_tensor(np.diff(positions))
    slopes = raw[:, 1:]
    if np.isfinite(shape_set.slope_lower) and np.isfinite(shape_set.slope_upper):
        slopes = slopes.clamp(shape_set.slope_lower, shape_set.slope_upper)
    elif np.isfinite(shape_set.slope_lower):
        slopes = shape_set.slope_lower + slopes.abs()
    elif np.isfinite(shape_set.slope_upper):
        slopes = shape_set.slope_upper - slopes.abs()
    if shape_set.concave and shape_set.convex:
        slopes = slopes[:, :1].expand_as(slopes)
    elif shape_set.has_curvature:
        slopes = slopes.sort(dim=1, descending=shape_set.concave).values
        # From the first slope on, by no more than is allowed.
        bends = slopes.diff() / ((gaps[1:] + gaps[:-1]) / 2.0)
        bends = bends.clamp(shape_set.curvature_lower, shape_set.curvature_upper)
        changes = (bends * (gaps[1:] + gaps[:-1]) / 2.0).cumsum(dim=1)
        slopes = torch.cat([slopes[:, :1], slopes[:, :1] + changes], dim=1)
    level = raw[:, :1]
    values = torch.cat([level, level + (slopes * gaps).cumsum(dim=1)], dim=1)
    if not shape_set.has_value_bounds:
        return values + torch.as_tensor(parabola)
    # Shrunk and shifted into the bounds, which keeps slopes about zero and curvature.
    lowest, highest = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
    room = (shape_set.upper - shape_set.lower) / (highest - lowest).clamp(min=1e-300)
    values = lowest + (values - lowest) * room.clamp(max=1.0)
    values = values + (shape_set.lower - lowest).clamp(min=0.0)
    excess = values.amax(1, keepdim=True) - shape_set.upper
    return (values - excess.clamp(min=0.0)).clamp(shape_set.lower, shape_set.upper)


@every_shape
@MODEST
@given(data=st.data())
def test_feasible_values_stay_where_they_are(
    shape: Constraint, data: st.DataObject
) -> None:
    constraint, raw, size = data.draw(cases(shape))
    values = feasible(constraint, raw)
    assert shortfall(constraint, values).max() <= ROUNDING * max(size, size_of(values))
    moved = constraint.project(values) - values
    assert size_of(moved) <= CLOSE * max(size, size_of(values))


@every_shape
@MODEST
@given(data=st.data())
def test_rounding_is_removed(shape: Constraint, data: st.DataObject) -> None:
    """Values that miss the set by a billionth are moved into it, by about as much."""
    constraint, raw, size = data.draw(cases(shape))
    noise = data.draw(tensors(size=raw.shape[1]))
    values = feasible(constraint, raw)
    size = max(size, size_of(values))
    rough = values + 1e-9 * size * noise
    positions = constraint.positions(raw.shape[1])
    smooth = constraint.remove_rounding(rough, positions)
    assert shortfall(constraint, smooth).max() <= ROUNDING * size
    assert size_of(smooth - rough) <= 1e-6 * size


@every_shape
@MODEST
@given(data=st.data())
def test_projection_is_firmly_non_expansive(
    shape: Constraint, data: st.DataObject
) -> None:
    constraint, rows, size = data.draw(cases(shape))
    x, y = rows[:1], rows[1:]
    for other in (y, x + 0.01 * y):
        moved = constraint.project(x) - constraint.project(other)
        slack = CLOSE * size * x.shape[1] * size_of(x - other, moved)
        assert float((moved * (x - other - moved)).sum()) >= -slack


@every_shape
@MODEST
@given(data=st.data())
def test_projection_commutes_with_permuting_the_batch(
    shape: Constraint, data: st.DataObject
) -> None:
    constraint, values, size = data.draw(cases(shape, rows=4))
    order = data.draw(st.permutations(range(4)))
    difference = constraint.project(values[order]) - constraint.project(values)[order]
    assert size_of(difference) <= CLOSE * size


@pytest.mark.parametrize(
    "shape", [s for s in ALL_SHAPES if s.sup_norm_nonexpansive], ids=name_of
)
@MODEST
@given(data=st.data())
def test_projection_is_safe_under_bootstrapping(
    shape: Constraint, data: st.DataObject
) -> None:
    """Sup-norm non-expansive and order-preserving, as isotonic regression is."""
    constraint, rows, size = data.draw(cases(shape))
    x, y = rows[:1], rows[1:]
    moved = size_of(constraint.project(x) - constraint.project(y))
    assert moved <= size_of(x - y) + CLOSE * size
    higher = constraint.project(torch.maximum(x, y))
    assert bool((higher >= constraint.project(x) - CLOSE * size).all())


# Found by maximising the row sums of the face projectors: both points lie inside the
# region of the face on which only the middle action's curvature is free.
BEFORE = torch.tensor([[2.0, -1.0, 10.0, -1.0, 2.0]], dtype=torch.float64)
STEP = torch.tensor([[-1.0, 1.0, 1.0, 1.0, -1.0]], dtype=torch.float64)
LINE = torch.tensor([[0.0, 30.0, 60.0, 90.0, 120.0]], dtype=torch.float64)
# A dip: the nearest concave row is a straight line.
DIP = torch.tensor([[0.0, -10.0, 0.0]], dtype=torch.float64)
TILT = torch.tensor([[1.0, 1.0, -1.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("shape", "before", "step", "expected"),
    [
        (Concave(), BEFORE, STEP, 11.0 / 7.0),
        (MonotoneConcave(), BEFORE + LINE, STEP, 11.0 / 7.0),
        (MonotoneConcave(increasing=False), BEFORE - LINE, STEP, 11.0 / 7.0),
        (Convex(), -BEFORE, STEP, 11.0 / 7.0),
        (
            Intersection([Concave(), SlopeBounds(-100.0, 100.0)]),
            BEFORE,
            STEP,
            11.0 / 7.0,
        ),
        (Intersection([Convex(), Bounded(-100.0, 100.0)]), -BEFORE, STEP, 11.0 / 7.0),
        (Concave(), DIP, TILT, 4.0 / 3.0),
        (Convex(), -DIP, TILT, 4.0 / 3.0),
        (MonotoneConcave(), DIP + LINE[:, :3], TILT, 4.0 / 3.0),
        (Intersection([Concave(), Bounded(-100.0, 100.0)]), DIP, TILT, 4.0 / 3.0),
    ],
    ids=repr,
)
def test_curvature_can_expand_the_sup_norm(
    shape: Constraint, before: torch.Tensor, step: torch.Tensor, expected: float
) -> None:
    """Why "project after every backup" is no contraction for these shapes."""
    moved = shape.project(before + step) - shape.project(before)
    assert size_of(moved) / size_of(step) == pytest.approx(expected)
    assert not shape.sup_norm_nonexpansive


@pytest.mark.parametrize("size", [3, 5, 9, 21, 101])
def test_straight_lines_can_expand_the_sup_norm(size: int) -> None:
    """By the largest row sum of the hat matrix of linear regression: up to 5/3."""
    shape = Intersection([Concave(), Convex()])
    design = np.stack([np.ones(size), np.linspace(0.0, 1.0, size)], axis=1)
    hat = design @ np.linalg.pinv(design)
    values = torch.randn(1, size, generator=torch.Generator().manual_seed(size)).double()
    step = torch.as_tensor(np.sign(hat[:1]))
    moved = shape.project(values + step) - shape.project(values)
    np.testing.assert_allclose(moved[0].numpy(), hat @ step[0].numpy(), atol=1e-12)
    assert size_of(moved) == pytest.approx(np.abs(hat).sum(axis=1).max())
    assert 4.0 / 3.0 - 1e-9 < size_of(moved) < 5.0 / 3.0 + 1e-9
    assert not shape.sup_norm_nonexpansive


@every_shape
@MODEST
@given(data=st.data())
def test_gradient_is_that_of_a_projection_at_ties(
    shape: Constraint, data: st.DataObject
) -> None:
    """Finite and no longer than one: at ties, at zero, on the set and at its bounds."""
    scale = data.draw(scales)
    values = scale * data.draw(tensors(rows=4, elements=few_values))
    constraint = data.draw(placed(scaled(shape, scale), values.shape[1]))
    values[1] = 0.0
    values[2] = constraint.project(values[:1])[0]
    limits = constraint.shape_set()
    values[3] = limits.lower if np.isfinite(limits.lower) else values[3, 0]
    index = data.draw(st.integers(0, values.shape[1] - 1))
    for dtype in (torch.float64, torch.float32):
        leaf = values.to(dtype).detach().clone().requires_grad_()
        constraint.project(leaf)[:, index].sum().backward()
        assert leaf.grad is not None
        assert leaf.grad.dtype == dtype
        assert bool(torch.isfinite(leaf.grad).all())
        resolution = 1e-6 if dtype == torch.float64 else 1e-5
        assert bool((leaf.grad.norm(dim=1) <= 1.0 + resolution).all())
        total = leaf.grad.double().sum(dim=1)
        if not limits.has_value_bounds:
            # Raising a row by a constant raises its projection by it.
            assert size_of(total - 1.0) <= resolution
        elif constraint.sup_norm_nonexpansive:
            assert bool((leaf.grad >= -resolution).all())
            assert bool((total <= 1.0 + resolution).all())


@pytest.mark.parametrize("shape", EVERY_SHAPE, ids=name_of)
@MODEST
@given(data=st.data())
def test_an_offset_shifts_the_set(shape: Constraint, data: st.DataObject) -> None:
    """With a known cost ``o`` the values plus ``o`` have the shape, ``o`` by hand."""
    plain, values, size = data.draw(cases(shape))
    observations = size_of(values) * data.draw(tensors(size=3))
    shifted = over(plain, plain.actions, KnownCost(feature=2, coefficient=-0.5))
    positions = torch.as_tensor(plain.positions(values.shape[1]))
    added = -0.5 * observations[:, 2:] * positions
    expected = plain.project(values + added) - added
    got = shifted.project(values, observations)
    size = max(size, size_of(added))
    assert size_of(got - expected) <= CLOSE * size
    assert shortfall(plain, got + added).max() <= ROUNDING * size


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
    with pytest.raises(ValueError, match="MonotoneConcave needs at least 2 actions"):
        MonotoneConcave().project(torch.zeros(2, 1))
    with pytest.raises(ValueError, match="observations are needed"):
        Monotone(known_cost=KnownCost(feature=0)).project(torch.zeros(2, 5))
