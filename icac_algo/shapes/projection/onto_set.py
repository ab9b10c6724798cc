"""Which exact method projects onto which shape."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from ..normal_form import ShapeSet
from .faces import MAX_FACES, Faces, count_faces
from .flat import is_flat, project_onto_flat
from .hull import concave_majorant
from .interior_point import project_by_interior_point
from .isotonic import project_onto_rising
from .jacobians import Jacobian, Method, differentiable
from .slopes import project_onto_steps

__all__ = ["has_closed_form", "project_onto_set"]

FloatArray = npt.NDArray[np.float64]
#: Values in float64, and as they came in, to their projection and its Jacobian.
Projector = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, Jacobian]]


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
    method = _method(shape_set, positions.tobytes())
    return values if method is None else differentiable(values, method)


@functools.lru_cache(maxsize=512)
def _method(shape_set: ShapeSet, positions_bytes: bytes) -> Method | None:
    """How to project onto a set over these actions; ``None`` for nothing to do."""
    positions = np.frombuffer(positions_bytes, dtype=np.float64)
    sloped = shape_set.has_slope_bounds
    # Two actions have no curvature.
    bent = shape_set.has_curvature and len(positions) > 2
    if not sloped and not bent:
        if not shape_set.has_value_bounds:
            return None
        return functools.partial(_clip, shape_set)
    project: Projector
    if is_flat(shape_set, positions):
        project = functools.partial(_flat, shape_set, positions)
    elif _has_few_faces(shape_set, positions):
        project = Faces(*shape_set.inequalities(positions)).project
    else:
        project = functools.partial(_project_long, shape_set, positions)

    signs_only = (shape_set.slope_lower, shape_set.slope_upper) in _SIGNS and not bent

    def method(raw: torch.Tensor) -> tuple[torch.Tensor, Jacobian]:
        projected, jacobian = project(raw.double(), raw)
        # Order and bounds survive being stored in float32, exact slopes would not.
        if raw.dtype == torch.float64 or signs_only or shape_set.has_value_bounds:
            projected = shape_set.remove_rounding(projected, positions)
        rounded = projected.to(raw.dtype)
        if shape_set.has_value_bounds and raw.dtype != torch.float64:
            rounded = rounded.clamp(shape_set.lower, shape_set.upper)
        return rounded, jacobian

    return method


def _clip(shape_set: ShapeSet, raw: torch.Tensor) -> tuple[torch.Tensor, Jacobian]:
    inside = (raw >= shape_set.lower) & (raw <= shape_set.upper)
    return raw.clamp(shape_set.lower, shape_set.upper), lambda grad: grad * inside


def _flat(
    shape_set: ShapeSet, positions: FloatArray, values: torch.Tensor, raw: torch.Tensor
) -> tuple[torch.Tensor, Jacobian]:
    return project_onto_flat(values, shape_set, positions)


def _project_long(
    shape_set: ShapeSet, positions: FloatArray, values: torch.Tensor, raw: torch.Tensor
) -> tuple[torch.Tensor, Jacobian]:
    lower, upper = shape_set.slope_lower, shape_set.slope_upper
    gaps = torch.as_tensor(np.diff(positions)).to(values)
    if not shape_set.has_curvature and not shape_set.has_value_bounds:
        if math.isfinite(lower) and math.isfinite(upper):
            return project_onto_steps(values, lower * gaps, upper * gaps)
        return _one_sided(values, shape_set, gaps)
    if not shape_set.has_curvature and (lower, upper) in _SIGNS:
        # Clipping the isotonic fit is exact; it would not be with other slopes.
        fitted, jacobian = _one_sided(values, shape_set, gaps)
        inside = (fitted >= shape_set.lower) & (fitted <= shape_set.upper)
        clipped = fitted.clamp(shape_set.lower, shape_set.upper)
        return clipped, lambda grad: jacobian(grad * inside)
    projected, jacobian = project_by_interior_point(
        values, *shape_set.inequalities(positions)
    )
    if len(positions) > _LONGEST_WITHOUT_DRIFT and shape_set.has_curvature:
        sign = -1.0 if shape_set.convex else 1.0
        projected = sign * concave_majorant(sign * projected, positions)
    return projected, jacobian


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


def _has_few_faces(shape_set: ShapeSet, positions: FloatArray) -> bool:
    if len(positions) > _LONGEST_BY_FACES:
        return False
    return count_faces(shape_set.inequalities(positions)[0]) <= MAX_FACES


# Beyond, small errors of curvature would add up where rounding is removed.
_LONGEST_WITHOUT_DRIFT = 32
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
    return is_flat(shape_set, positions) or _has_few_faces(shape_set, positions)
