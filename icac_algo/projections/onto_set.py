"""Which exact method projects onto which shape."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from ..shape_set import ShapeSet
from .cones import MAX_ENUMERATED, project_onto_cone, project_onto_monotone

__all__ = ["has_closed_form", "project_onto_set"]

FloatArray = npt.NDArray[np.float64]


def project_onto_set(
    values: torch.Tensor, shape_set: ShapeSet, positions: FloatArray
) -> torch.Tensor:
    """The nearest values in the set, ``(B, K)`` to ``(B, K)``; differentiable."""
    if shape_set == ShapeSet():
        return values
    if shape_set == ShapeSet(slope_lower=0.0):
        return project_onto_monotone(values.double(), True).to(values.dtype)
    if shape_set == ShapeSet(slope_upper=0.0):
        return project_onto_monotone(values.double(), False).to(values.dtype)
    if not shape_set.is_cone:
        raise NotImplementedError
    projected = project_onto_cone(values.double(), shape_set.inequalities(positions)[0])
    return shape_set.remove_rounding(projected, positions).to(values.dtype)


def has_closed_form(shape_set: ShapeSet, positions: FloatArray) -> bool:
    """Whether the projection is a formula that a fixed graph can hold."""
    if not shape_set.has_curvature and shape_set.is_cone:
        return True
    return len(shape_set.inequalities(positions)[0]) <= MAX_ENUMERATED
