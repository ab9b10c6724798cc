"""Canonical coordinates: level, slopes and curvatures, in which a shape is a sign.

In units of the whole action range.  Signed coordinates go through a softplus; bounds cap
them where they come near.  They reach the whole interior.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..shapes import Constraint, ShapeSet
from .parametrization import (
    Frame,
    Limits,
    Parametrization,
    share_below,
    share_of_room,
    slope_unit,
    within,
)


class Free(Parametrization):
    """No bound on slopes: one coordinate for each value, as a plain critic has."""

    def rising(self, coordinates: Tensor, unit: Tensor, limits: Limits) -> Tensor:
        return coordinates


class CanonicalBounded(Parametrization):
    """Mean level, then K-1 slopes within their bounds."""

    def rising(self, coordinates: Tensor, unit: Tensor, limits: Limits) -> Tensor:
        largest_unit = slope_unit(len(unit) - 1)
        slopes = within(coordinates[:, 1:], limits.lower, limits.upper, largest_unit)
        return coordinates[:, :1] + _integrate(slopes * unit.diff())


class CanonicalMonotone(Parametrization):
    """Mean level, then K-1 non-negative slopes."""

    def rising(self, coordinates: Tensor, unit: Tensor, limits: Limits) -> Tensor:
        slopes = _nonnegative(coordinates[:, 1:])
        return coordinates[:, :1] + _integrate(slopes * unit.diff())


class CanonicalConcave(Parametrization):
    """Mean level, mean slope, then K-2 non-negative curvatures."""

    def rising(self, coordinates: Tensor, unit: Tensor, limits: Limits) -> Tensor:
        drops = self._drops(coordinates, unit, limits)
        fall = torch.cumsum(drops, dim=1)
        slopes = -torch.cat([torch.zeros_like(coordinates[:, :1]), fall], dim=1)
        slopes = slopes - slopes.mean(dim=1, keepdim=True) + coordinates[:, 1:2]
        return coordinates[:, :1] + _integrate(slopes * unit.diff())

    def _drops(self, coordinates: Tensor, unit: Tensor, limits: Limits) -> Tensor:
        """Of the slopes from one interval to the next, ``(B, K-2)``."""
        bends = _nonnegative(coordinates[:, 2:])
        if math.isfinite(self.frame.bends[1]):
            bends = bends * share_below(bends, limits.bend)
        # Times the distances between the midpoints of neighbouring intervals.
        return bends * ((unit[2:] - unit[:-2]) / 2.0)


class CanonicalBoundedConcave(CanonicalConcave):
    """Mean level, the smallest slope within its bounds, and K-2 curvatures."""

    def rising(self, coordinates: Tensor, unit: Tensor, limits: Limits) -> Tensor:
        drops = self._drops(coordinates, unit, limits)
        smallest = coordinates[:, 1:2]
        if self.frame.slopes == "rising":
            smallest = _nonnegative(smallest)
        else:
            smallest = within(smallest, limits.lower, limits.upper)
            drops = drops * share_of_room(
                drops.sum(dim=1, keepdim=True), smallest, limits.lower, limits.upper
            )
        above = torch.cumsum(drops.flip(1), dim=1).flip(1)
        slopes = smallest + torch.cat([above, torch.zeros_like(smallest)], dim=1)
        return coordinates[:, :1] + _integrate(slopes * unit.diff())


def _nonnegative(coordinates: Tensor) -> Tensor:
    # Shifted so that a fresh network starts with little slope or curvature, though not so
    # little that the softplus has no gradient left to learn them with.
    return F.softplus(coordinates - 1.0)


def _integrate(steps: Tensor) -> Tensor:
    """Values with these steps and mean zero: ``(B, K-1)`` to ``(B, K)``."""
    sums = torch.cumsum(steps, dim=1)
    values = torch.cat([torch.zeros_like(sums[:, :1]), sums], dim=1)
    return values - values.mean(dim=1, keepdim=True)


# Kinds of shape in their frame: slopes, and whether they fall.
_CANONICAL: dict[tuple[str, bool], type[Parametrization]] = {
    ("free", False): Free,
    ("rising", False): CanonicalMonotone,
    ("bounded", False): CanonicalBounded,
    ("free", True): CanonicalConcave,
    ("rising", True): CanonicalBoundedConcave,
    ("bounded", True): CanonicalBoundedConcave,
}


def make_coordinates(constraint: Constraint, action_size: int) -> Parametrization:
    """The canonical coordinates of a shape over K actions."""
    positions = torch.as_tensor(constraint.positions(action_size))
    frame = Frame.of(constraint, "Canonical()")
    return _CANONICAL[frame.slopes, frame.concave](positions, frame, action_size)


def free_coordinates(constraint: Constraint, action_size: int) -> Parametrization:
    """One coordinate for each value, whatever the shape."""
    positions = torch.as_tensor(constraint.positions(action_size))
    return Free(positions, Frame(ShapeSet()), action_size)
