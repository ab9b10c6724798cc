"""Shapes over any actions and of any scale, and by how much values miss them."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch
from hypothesis import settings
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
from icac_algo.shapes import Constraint, ShapeSet

MODEST = settings(max_examples=30, deadline=None, derandomize=True, database=None)

DIRECTED = (Monotone, MonotoneConcave)
#: Shapes in which level and unit of the values do not matter, in both directions.
SHAPES: list[Constraint] = [
    Concave(),
    *(shape(increasing=up) for shape in DIRECTED for up in (True, False)),
]
#: Shapes with bounds of their own, with and without curvature.
BOUNDED_SHAPES: list[Constraint] = [
    SlopeBounds(-1.0, 1.0),
    SlopeBounds(lower=0.5),
    SlopeBounds(upper=-0.2),
    Bounded(-0.5, 0.5),
    Bounded(lower=0.1),
    Intersection([Concave(), SlopeBounds(-5.0, 5.0)]),
    Intersection([Monotone(), Bounded(-0.5, 0.7)]),
    Intersection([SlopeBounds(-2.0, 2.0), Bounded(-0.5, 0.5)]),
    Intersection([Convex(), Bounded(-1.0, 1.0)]),
]
#: Shapes with bounds on how fast slopes change, at 0 and away from it.
CURVATURE_SHAPES: list[Constraint] = [
    Concave(curvature=(-2.0, 0.0)),
    Concave(curvature=(None, -0.3)),
    Convex(curvature=(0.5, 3.0)),
    MonotoneConcave(curvature=(-1.0, None)),
    MonotoneConcave(increasing=False, curvature=(-3.0, -0.2)),
    Intersection([Concave(curvature=(-2.0, -0.2)), SlopeBounds(-20.0, 20.0)]),
]
#: Sets without interior: straight lines, of any slope or of a given one, and one point.
FLAT_SHAPES: list[Constraint] = [
    Intersection([Concave(), Convex()]),
    Intersection([Monotone(), Monotone(increasing=False)]),
    SlopeBounds(0.5, 0.5),
    Bounded(1.0, 1.0),
    Concave(curvature=(-0.5, -0.5)),
]
EVERY_SHAPE: list[Constraint] = [
    *(*SHAPES, Convex(), *BOUNDED_SHAPES, *CURVATURE_SHAPES, *FLAT_SHAPES)
]

seeds = st.integers(0, 2**31)


def over(
    shape: Constraint, actions: list[float] | None, known_cost: KnownCost | None = None
) -> Constraint:
    """The same shape over other actions."""
    return dataclasses.replace(shape, actions=actions, known_cost=known_cost)


def scaled(shape: Constraint, factor: float) -> Constraint:
    """The shape of ``factor`` times the values: bounds of its own grow with them."""
    if isinstance(shape, Intersection):
        members = [scaled(member, factor) for member in shape.members]
        return dataclasses.replace(shape, members=members)
    curved = isinstance(shape, (Concave, Convex, MonotoneConcave))
    if curved and shape.curvature is not None:
        bounds = [None if bound is None else factor * bound for bound in shape.curvature]
        return dataclasses.replace(shape, curvature=bounds)
    if isinstance(shape, (SlopeBounds, Bounded)):
        lower, upper = (
            None if bound is None else factor * bound
            for bound in (shape.lower, shape.upper)
        )
        return dataclasses.replace(shape, lower=lower, upper=upper)
    return shape


@st.composite
def placed(draw: st.DrawFn, shape: Constraint, size: int) -> Constraint:
    """The shape over equally or unequally spaced actions."""
    if draw(st.booleans()):
        return shape
    # From a seed: hypothesis takes long over a hundred numbers.
    gaps = np.random.default_rng(draw(seeds)).uniform(0.1, 1.0, size)
    return over(shape, list(np.cumsum(gaps) - 3.0))


def shortfall(
    constraint: Constraint, values: torch.Tensor, cost: torch.Tensor | float = 0.0
) -> torch.Tensor:
    """By how much each row of ``values + cost`` misses the inequalities; at least 0."""
    positions = constraint.positions(values.shape[1])
    return missed(constraint.shape_set(), values.double() + cost, positions)


def missed(
    shape_set: ShapeSet, values: torch.Tensor, positions: npt.NDArray[np.float64]
) -> torch.Tensor:
    """By how much each row misses a set over these actions; at least 0."""
    matrix, bounds = shape_set.inequalities(positions)
    if len(matrix) == 0:
        return torch.zeros(len(values), dtype=torch.float64)
    largest = np.abs(matrix).max(axis=1)
    rows = torch.as_tensor(matrix / largest[:, None])
    short = torch.as_tensor(bounds / largest) - values.double() @ rows.T
    return short.amax(dim=1).clamp(min=0.0)


def bound_scale(constraint: Constraint, size: int) -> float:
    """The largest value or step that a bound of the shape speaks of; 0 for a cone."""
    shape_set, positions = constraint.shape_set(), constraint.positions(size)
    span = positions[-1] - positions[0]
    bounds = [
        shape_set.lower,
        shape_set.upper,
        span * shape_set.slope_lower,
        span * shape_set.slope_upper,
        span**2 * shape_set.curvature_lower,
        span**2 * shape_set.curvature_upper,
    ]
    return max((abs(bound) for bound in bounds if np.isfinite(bound)), default=0.0)


def name_of(shape: object) -> str | None:
    """A short name for a test case, as one would write the shape; ``None`` for others."""
    if not isinstance(shape, Constraint):
        return None
    if isinstance(shape, Intersection):
        return " & ".join(str(name_of(member)) for member in shape.members)
    words = [
        f"{field.name}={getattr(shape, field.name)}"
        for field in dataclasses.fields(shape)
        if getattr(shape, field.name) != field.default
    ]
    return f"{type(shape).__name__}({', '.join(words)})"
