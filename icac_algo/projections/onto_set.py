"""Which exact method projects onto which shape."""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt
import torch

from ..shape_set import ShapeSet
from .faces import MAX_FACES, count_faces, project_by_faces
from .flat import is_flat, project_onto_flat
from .interior_point import project_by_interior_point
from .isotonic import project_onto_rising
from .jacobians import Jacobian, differentiable
from .slopes import project_onto_steps

__all__ = ["has_closed_form", "project_onto_set"]

FloatArray = npt.NDArray[np.float64]


def project_onto_set(
    values: torch.Tensor, shape_set: ShapeSet, positions: FloatArray
) -> torch.Tensor:
    """The nearest values in the set, with the exact generalised Jacobian.

    Bounds on values: clipping.  One bound on slopes: isotonic regression of what
    remains.  Few inequalities: all faces at once.  Two bounds on slopes: dynamic
    programming.  Sets without interior: least squares.  Else (curvature over many
    actions): a certified interior point method.

    Args:
        values: finite, float32 or float64, ``(B, K)``; float64 inside.
        shape_set: a set that is not empty over these actions.
        positions: of the actions, ``(K,)``.

    Returns:
        the projection, ``(B, K)`` in the dtype of ``values``, moved into the set exactly
        before it is rounded to that dtype.
    """
    if shape_set == ShapeSet() or _asks_for_nothing(shape_set, positions):
        return values
    if not (shape_set.has_slope_bounds or shape_set.has_curvature):
        return values.clamp(shape_set.lower, shape_set.upper)

    def method(raw: torch.Tensor) -> tuple[torch.Tensor, Jacobian]:
        projected, jacobian = _project(raw.double(), shape_set, positions)
        projected = shape_set.remove_rounding(projected, positions)
        return projected.to(raw.dtype), jacobian

    return differentiable(values, method)


def _asks_for_nothing(shape_set: ShapeSet, positions: FloatArray) -> bool:
    """Two actions have no curvature."""
    bounded = shape_set.has_slope_bounds or shape_set.has_value_bounds
    return len(positions) == 2 and not bounded


def _project(
    values: torch.Tensor, shape_set: ShapeSet, positions: FloatArray
) -> tuple[torch.Tensor, Jacobian]:
    if is_flat(shape_set, positions):
        return project_onto_flat(values, shape_set, positions)
    if _by_faces(shape_set, tuple(positions)):
        return project_by_faces(values, *shape_set.inequalities(positions))
    lower, upper = shape_set.slope_lower, shape_set.slope_upper
    if not shape_set.has_curvature and not shape_set.has_value_bounds:
        gaps = torch.as_tensor(np.diff(positions)).to(values)
        if math.isfinite(lower) and math.isfinite(upper):
            return project_onto_steps(values, lower * gaps, upper * gaps)
        return _one_sided(values, shape_set, gaps)
    if not shape_set.has_curvature and (lower, upper) in _SIGNS:
        # Clipping the isotonic fit is exact; it would not be with other slopes.
        gaps = torch.as_tensor(np.diff(positions)).to(values)
        fitted, jacobian = _one_sided(values, shape_set, gaps)
        inside = ((fitted >= shape_set.lower) & (fitted <= shape_set.upper)).double()
        clipped = fitted.clamp(shape_set.lower, shape_set.upper)
        return clipped, lambda grad: jacobian(grad * inside.to(grad.dtype))
    return project_by_interior_point(values, *shape_set.inequalities(positions))


_SIGNS = ((0.0, math.inf), (-math.inf, 0.0))


def _one_sided(
    values: torch.Tensor, shape_set: ShapeSet, gaps: torch.Tensor
) -> tuple[torch.Tensor, Jacobian]:
    """Isotonic regression of what remains when the steepest allowed line is taken off."""
    rising = math.isfinite(shape_set.slope_lower)
    bound = shape_set.slope_lower if rising else shape_set.slope_upper
    line = torch.cat([gaps.new_zeros(1), torch.cumsum(bound * gaps, dim=0)])
    sign = 1.0 if rising else -1.0
    fitted, jacobian = project_onto_rising(sign * (values - line))
    return sign * fitted + line, jacobian


@functools.lru_cache(maxsize=256)
def _by_faces(shape_set: ShapeSet, positions: tuple[float, ...]) -> bool:
    if len(positions) > _LONGEST_BY_FACES:
        return False
    matrix, _ = shape_set.inequalities(positions)
    return count_faces(matrix) <= MAX_FACES


# No set over more actions has few faces but the trivial ones.
_LONGEST_BY_FACES = 16


def has_closed_form(shape_set: ShapeSet, positions: FloatArray) -> bool:
    """Whether the projection is a formula that a fixed graph can hold."""
    if not shape_set.has_slope_bounds and not shape_set.has_curvature:
        return True
    one_sided = math.isinf(shape_set.slope_lower) or math.isinf(shape_set.slope_upper)
    signs = (shape_set.slope_lower, shape_set.slope_upper) in _SIGNS
    isotonic = not shape_set.has_curvature and one_sided
    if isotonic and (signs or not shape_set.has_value_bounds):
        return True
    return is_flat(shape_set, positions) or _by_faces(shape_set, tuple(positions))
