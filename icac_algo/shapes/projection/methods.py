"""Which exact method projects onto which shape."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from ..normal_form import ShapeSet, running_maximum, running_minimum
from .faces import MAX_FACES, Faces, count_faces
from .interior_point import project_by_interior_point
from .jacobians import Jacobian, Method, differentiable
from .knots import is_curved_one_way, project_onto_curved
from .lines import holds_only_lines, project_onto_lines
from .slopes import project_onto_rising, project_onto_steps

FloatArray = npt.NDArray[np.float64]
#: Values in float64, and as they came in, to their projection and its Jacobian.
Projector = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, Jacobian]]

# By whether values rise and whether they fall; a constant takes the longer way.
_ORDERS: dict[tuple[bool, bool], Callable[[torch.Tensor], torch.Tensor]] = {
    (False, False): lambda values: values,
    (True, False): running_maximum,
    (False, True): running_minimum,
}
_SIGNS = ((0.0, math.inf), (-math.inf, 0.0))
# No set over more actions has few faces but the trivial ones.
_LONGEST_BY_FACES = 16
# With more, one isotonic regression is quicker.
_FEW_FACES = 16


def project_onto_set(
    values: torch.Tensor, shape_set: ShapeSet, positions: FloatArray
) -> torch.Tensor:
    """The nearest values in the set, with the exact generalised Jacobian.

    Bounds on values: clipping.  One bound on slopes: isotonic regression of what
    remains.  Few inequalities: all faces at once.  Two bounds on slopes: dynamic
    programming.  Sets without interior: least squares.  Curvature over many actions:
    an active set of knots.  Else (bounds on values too): a certified interior point
    method.  The projection of ``values``, ``(B, K)``, is moved into the set as far as
    their dtype shows it: exactly for float64, by its order and bounds for others.
    """
    method, _ = _choose(shape_set, positions.tobytes())
    return values if method is None else differentiable(values, method)


def has_closed_form(shape_set: ShapeSet, positions: FloatArray) -> bool:
    """Whether the projection is a formula that a fixed graph can hold."""
    return _choose(shape_set, positions.tobytes())[1]


@functools.lru_cache(maxsize=512)
def _choose(shape_set: ShapeSet, positions_bytes: bytes) -> tuple[Method | None, bool]:
    """The method (``None`` for nothing to do) and whether it is a formula."""
    positions = np.frombuffer(positions_bytes, dtype=np.float64)
    # Two actions have no curvature.
    curved = shape_set.has_curvature and len(positions) > 2
    rest, parabola = shape_set.without_parabola(positions)
    bounded = shape_set.has_value_bounds
    if not curved and not shape_set.has_slope_bounds:
        return functools.partial(_clip, shape_set) if bounded else None, True
    signs_only = (shape_set.slope_lower, shape_set.slope_upper) in _SIGNS and not curved
    project, is_formula = _projector(rest, positions, signs_only, curved)
    # What survives being stored in fewer bits: order, and bounds on values.
    order = _ORDERS.get((shape_set.slope_lower >= 0.0, shape_set.slope_upper <= 0.0))

    def method(raw: torch.Tensor) -> tuple[torch.Tensor, Jacobian]:
        values = raw.double()
        if rest is shape_set:
            plain = raw if raw.dtype == torch.float32 else values
            projected, jacobian = project(values, plain)
        else:
            taken = torch.as_tensor(parabola).to(values)
            projected, jacobian = project(values - taken, values - taken)
            projected = projected + taken
        if order is None or raw.dtype == torch.float64:
            projected = shape_set.remove_rounding(projected, positions)
        else:
            projected = order(projected)
        rounded = projected.to(raw.dtype)
        if bounded:
            rounded = rounded.clamp(shape_set.lower, shape_set.upper)
        return rounded, jacobian

    return method, is_formula


def _projector(
    shape_set: ShapeSet, positions: FloatArray, signs_only: bool, curved: bool
) -> tuple[Projector, bool]:
    lower, upper = shape_set.slope_lower, shape_set.slope_upper
    if holds_only_lines(shape_set, positions):
        return lambda values, _: project_onto_lines(values, shape_set, positions), True
    # Not a tensor: the first call may be an exporter's, whose tensors must not stay here.
    gaps = np.diff(positions)
    one_sided = not curved and (math.isinf(lower) or math.isinf(upper))
    regresses = one_sided and (signs_only or not shape_set.has_value_bounds)
    if len(positions) <= _LONGEST_BY_FACES:
        matrix, bounds = shape_set.inequalities(positions)
        if count_faces(matrix) <= (_FEW_FACES if regresses else MAX_FACES):
            return Faces(matrix, bounds).project, True
    if regresses:
        return functools.partial(_isotonic, shape_set, gaps), True
    if is_curved_one_way(shape_set):
        return lambda values, _: project_onto_curved(values, shape_set, positions), False
    if curved or (shape_set.has_value_bounds and not signs_only):
        return (
            lambda values, _: project_by_interior_point(values, shape_set, positions),
            False,
        )
    return (
        lambda values, _: project_onto_steps(
            values,
            lower * torch.as_tensor(gaps).to(values),
            upper * torch.as_tensor(gaps).to(values),
        ),
        False,
    )


def _clip(shape_set: ShapeSet, raw: torch.Tensor) -> tuple[torch.Tensor, Jacobian]:
    inside = (raw >= shape_set.lower) & (raw <= shape_set.upper)
    return raw.clamp(shape_set.lower, shape_set.upper), lambda grad: grad * inside


def _isotonic(
    shape_set: ShapeSet, gaps: FloatArray, values: torch.Tensor, raw: torch.Tensor
) -> tuple[torch.Tensor, Jacobian]:
    """Isotonic regression of what remains when the steepest allowed line is taken off."""
    rising = math.isfinite(shape_set.slope_lower)
    bound = shape_set.slope_lower if rising else shape_set.slope_upper
    if rising and bound == 0.0:
        fitted, jacobian = project_onto_rising(values)
    else:
        line = torch.as_tensor(np.append(0.0, np.cumsum(bound * gaps))).to(values)
        sign = 1.0 if rising else -1.0
        fitted, jacobian = project_onto_rising(sign * (values - line))
        fitted = sign * fitted + line
    if not shape_set.has_value_bounds:
        return fitted, jacobian
    # Clipping the isotonic fit is exact for signs; it would not be with other slopes.
    inside = (fitted >= shape_set.lower) & (fitted <= shape_set.upper)
    clipped = fitted.clamp(shape_set.lower, shape_set.upper)
    return clipped, lambda grad: jacobian(grad * inside)
