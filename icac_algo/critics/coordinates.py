"""Canonical coordinates: level, slopes and curvatures, in which a shape is a sign.

In units of the whole action range.  Signed coordinates go through a softplus, those
between two bounds through a sigmoid or softmax.  They reach the whole interior.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..shapes import Constraint, ShapeSet
from .parametrization import Frame, Parametrization, Width


class Free(Parametrization):
    """No bound on slopes: one coordinate for each value, as a plain critic has."""

    def rising(self, coordinates: Tensor, unit: Tensor, width: Width) -> Tensor:
        return coordinates


class CanonicalMonotone(Parametrization):
    """Mean level, then K-1 non-negative slopes."""

    def rising(self, coordinates: Tensor, unit: Tensor, width: Width) -> Tensor:
        slopes = _nonnegative(coordinates[:, 1:])
        return coordinates[:, :1] + _integrate(slopes, unit.diff())


class CanonicalBetween(Parametrization):
    """Mean level, then K-1 slopes within [0, width]."""

    def rising(self, coordinates: Tensor, unit: Tensor, width: Width) -> Tensor:
        slopes = width * torch.sigmoid(coordinates[:, 1:])
        return coordinates[:, :1] + _integrate(slopes, unit.diff())


class CanonicalConcave(Parametrization):
    """Mean level, mean slope, then K-2 non-negative curvatures."""

    def rising(self, coordinates: Tensor, unit: Tensor, width: Width) -> Tensor:
        drops = _nonnegative(coordinates[:, 2:]) * _between(unit)
        fall = torch.cumsum(drops, dim=1)
        slopes = -torch.cat([torch.zeros_like(coordinates[:, :1]), fall], dim=1)
        slopes = slopes - slopes.mean(dim=1, keepdim=True) + coordinates[:, 1:2]
        return coordinates[:, :1] + _integrate(slopes, unit.diff())


class CanonicalMonotoneConcave(Parametrization):
    """Mean level, then the smallest slope and K-2 curvatures, all non-negative."""

    def rising(self, coordinates: Tensor, unit: Tensor, width: Width) -> Tensor:
        smallest = _nonnegative(coordinates[:, 1:2])
        drops = _nonnegative(coordinates[:, 2:]) * _between(unit)
        above = torch.cumsum(drops.flip(1), dim=1).flip(1)
        slopes = smallest + torch.cat([above, torch.zeros_like(smallest)], dim=1)
        return coordinates[:, :1] + _integrate(slopes, unit.diff())


class CanonicalBetweenConcave(Parametrization):
    """Mean level, then K shares: of the width, how much each slope is below the last."""

    def rising(self, coordinates: Tensor, unit: Tensor, width: Width) -> Tensor:
        # K shares that sum to one: above the first slope, between slopes, below the last.
        shares = torch.softmax(coordinates[:, 1:], dim=1)
        slopes = width * shares[:, 1:].flip(1).cumsum(dim=1).flip(1)
        return coordinates[:, :1] + _integrate(slopes, unit.diff())


def _nonnegative(coordinates: Tensor) -> Tensor:
    # Shifted so that a fresh network starts with little slope or curvature, though not so
    # little that the softplus has no gradient left to learn them with.
    return F.softplus(coordinates - 1.0)


def _integrate(slopes: Tensor, spacing: Tensor) -> Tensor:
    """Values with these slopes and mean zero: ``(B, K-1)`` to ``(B, K)``."""
    steps = torch.cumsum(slopes * spacing, dim=1)
    values = torch.cat([torch.zeros_like(steps[:, :1]), steps], dim=1)
    return values - values.mean(dim=1, keepdim=True)


def _between(unit: Tensor) -> Tensor:
    """Distances between the midpoints of neighbouring intervals, ``(K-2,)``."""
    return (unit[2:] - unit[:-2]) / 2.0


# Kinds of shape in their frame: slopes, and whether they fall.
_CANONICAL: dict[tuple[str, bool], type[Parametrization]] = {
    ("free", False): Free,
    ("rising", False): CanonicalMonotone,
    ("between", False): CanonicalBetween,
    ("free", True): CanonicalConcave,
    ("rising", True): CanonicalMonotoneConcave,
    ("between", True): CanonicalBetweenConcave,
}


def make_coordinates(constraint: Constraint, action_size: int) -> Parametrization:
    """The canonical coordinates of a shape over K actions.

    Raises:
        ValueError: the shape has none, or does not fit K.
    """
    positions = torch.as_tensor(constraint.positions(action_size))
    frame = Frame.of(constraint, "Canonical()")
    kind = (frame.slopes, frame.concave)
    count = action_size + (1 if kind == ("between", True) else 0)
    return _CANONICAL[kind](positions, frame, count)


def free_coordinates(constraint: Constraint, action_size: int) -> Parametrization:
    """One coordinate for each value, whatever the shape."""
    positions = torch.as_tensor(constraint.positions(action_size))
    return Free(positions, Frame(ShapeSet()), action_size)
