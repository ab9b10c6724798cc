"""Projection onto sets that hold nothing but straight lines."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from ..normal_form import ShapeSet
from .faces import Faces
from .jacobians import Jacobian

FloatArray = npt.NDArray[np.float64]


def holds_only_lines(shape_set: ShapeSet, positions: FloatArray) -> bool:
    """Whether the set holds nothing but straight lines."""
    return (
        shape_set.slope_lower == shape_set.slope_upper
        or shape_set.lower == shape_set.upper
        or (shape_set.concave and shape_set.convex and len(positions) > 2)
        or _just_fits(shape_set, positions)
    )


def _just_fits(shape_set: ShapeSet, positions: FloatArray) -> bool:
    """Whether the flattest allowed line takes all the room between the value bounds."""
    slope = min(max(0.0, shape_set.slope_lower), shape_set.slope_upper)
    room = shape_set.upper - shape_set.lower
    needed = abs(slope) * (positions[-1] - positions[0])
    return slope != 0.0 and math.isclose(needed, room, rel_tol=1e-12, abs_tol=0.0)


def project_onto_lines(
    values: torch.Tensor, shape_set: ShapeSet, positions: FloatArray
) -> tuple[torch.Tensor, Jacobian]:
    """The nearest line in the set, float64 ``(B, K)``, and the Jacobian."""
    size, span = len(positions), float(positions[-1] - positions[0])
    line = positions - positions.mean()
    constant = np.full(size, 1.0 / math.sqrt(size))
    lower, upper = shape_set.slope_lower, shape_set.slope_upper
    fixed = None
    if shape_set.lower == shape_set.upper:
        fixed = 0.0
    elif lower == upper or _just_fits(shape_set, positions):
        fixed = min(max(0.0, lower), upper)
    # Coordinates: the level and, where it is free, the slope.
    offset = np.zeros(size) if fixed is None else fixed * line
    steep = [line / np.linalg.norm(line)] if fixed is None else []
    basis = np.stack([constant, *steep])
    ends = np.stack([basis[:, 0], basis[:, -1]])
    at_ends = offset[[0, -1]]
    rows = [ends, -ends]
    bounds = [shape_set.lower - at_ends, at_ends - shape_set.upper]
    if fixed is None:
        slope = (ends[1:] - ends[:1]) / span
        rows += [slope, -slope]
        bounds += [np.array([lower]), np.array([-upper])]
    matrix, bound = np.concatenate(rows), np.concatenate(bounds)
    finite = np.isfinite(bound)
    matrix, bound = matrix[finite], bound[finite]
    to_line = torch.as_tensor(basis).to(values)
    known = torch.as_tensor(offset).to(values)
    reduced = (values - known) @ to_line.T
    inner: Jacobian | None = None
    if len(matrix):
        reduced, inner = Faces(matrix, bound).project(reduced)
    projected = reduced @ to_line + known

    def jacobian(grad: torch.Tensor) -> torch.Tensor:
        coordinates = grad.double() @ to_line.T
        if inner is not None:
            coordinates = inner(coordinates)
        return (coordinates @ to_line).to(grad.dtype)

    return projected, jacobian
