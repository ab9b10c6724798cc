"""What every parametrization is: free coordinates to values that have a shape."""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..shapes import Constraint, ShapeSet, is_exporting

#: Of the slopes that are allowed, per unit of the action range.
Width = Tensor | float
# Beyond this, network outputs are no longer values anyone meant; it keeps products of
# coordinates finite in float32 at absurd observations.
_LARGEST_COORDINATE = 1e6
# How near to a bound a fresh critic may start.
_START_INSIDE = 0.05


@dataclasses.dataclass(frozen=True)
class Units:
    """What values are measured from and in: Q is ``level + scale * value``.

    Args:
        level: a number or a tensor without dimensions.
        scale: likewise, positive.
        reward_slope: units of Q in one unit of the shape's own bounds.
    """

    level: Tensor | float = 0.0
    scale: Tensor | float = 1.0
    reward_slope: float = 1.0


@dataclasses.dataclass(frozen=True)
class Frame:
    """How a shape is turned into one whose slopes fall, or are bounded below first.

    A convex shape is minus a concave one; a bound above on slopes is one below on those
    of the mirrored action; a finite bound below is a known line plus a rising shape.
    So there are six kinds of shape left: slopes free, bounded below by 0 or within
    [0, 1] times a width, each with or without falling slopes.
    """

    shape_set: ShapeSet

    @classmethod
    def of(cls, constraint: Constraint, critic: str) -> Frame:
        """The frame of a shape that has free coordinates."""
        shape_set = constraint.shape_set()
        frame = cls(shape_set)
        lower, upper = frame.slope_bounds
        rises_or_free = frame.slopes == "free" or (lower == 0.0 and math.isinf(upper))
        refused = None
        if shape_set.concave and shape_set.convex:
            refused = "concave and convex at once"
        elif shape_set.has_value_bounds and frame.concave:
            refused = "bounds on values together with curvature"
        elif shape_set.has_value_bounds and not rises_or_free:
            refused = "bounds on values together with bounds on slopes"
        if refused is not None:
            raise ValueError(
                f"critic={critic} does not know {refused}, as constraint={constraint!r} "
                "asks for; critic=Euclidean() does"
            )
        return frame

    @property
    def negated(self) -> bool:
        """Whether values change sign."""
        return self.shape_set.convex

    @property
    def mirrored(self) -> bool:
        """Whether the action runs backwards."""
        lower, upper = self._signed
        return math.isinf(lower) and math.isfinite(upper)

    @property
    def slopes(self) -> str:
        """``"free"``, ``"rising"`` (bounded below) or ``"between"`` (on both sides)."""
        infinite = [math.isinf(bound) for bound in self._signed]
        return "free" if all(infinite) else "rising" if any(infinite) else "between"

    @property
    def concave(self) -> bool:
        """Whether slopes fall, in this frame."""
        return self.shape_set.has_curvature

    @property
    def _signed(self) -> tuple[float, float]:
        lower, upper = self.shape_set.slope_lower, self.shape_set.slope_upper
        return (-upper, -lower) if self.negated else (lower, upper)

    @property
    def slope_bounds(self) -> tuple[float, float]:
        """Lower and upper bound of slopes in this frame; the lower one may be absent."""
        lower, upper = self._signed
        return (-upper, -lower) if self.mirrored else (lower, upper)


class Parametrization(nn.Module):
    """Base: ``n_coordinates`` free numbers to values, ``(B, n)`` to ``(B, K)``.

    Subclasses define :meth:`rising`, the values in the shape's :class:`Frame`.

    Args:
        positions: positions of the actions, strictly increasing, shape ``(K,)``.
        frame: the frame of the shape.
        n_coordinates: how many free numbers.
    """

    unit: Tensor

    def __init__(self, positions: Tensor, frame: Frame, n_coordinates: int):
        super().__init__()
        self._span = float(positions[-1] - positions[0])
        unit = ((positions - positions[0]) / self._span).float()
        if frame.mirrored:
            unit = (1.0 - unit).flip(0)
        self.register_buffer("unit", unit, persistent=False)
        self.frame = frame
        self.n_coordinates = n_coordinates

    def forward(self, coordinates: Tensor, units: Units | None = None) -> Tensor:
        """Values at the actions; ``units`` matter to shapes with bounds of their own."""
        values = self._bounded(self._shaped(coordinates, self.unit, units), units)
        return values.flip(1) if self.frame.mirrored else values

    def _shaped(self, coordinates: Tensor, unit: Tensor, units: Units | None) -> Tensor:
        """Values but for their bounds; actions of the frame, ``(M,)`` or ``(B, M)``."""
        bound = _LARGEST_COORDINATE
        tilt, width = self._slope_limits(units or Units())
        values = self.rising(coordinates.clamp(-bound, bound), unit, width)
        if tilt is not None:
            values = values + tilt * (unit - 0.5)
        return -values if self.frame.negated else values

    def rising(self, coordinates: Tensor, unit: Tensor, width: Width) -> Tensor:
        """Values of the frame's shape."""
        raise NotImplementedError

    def _slope_limits(self, units: Units) -> tuple[Width | None, Width]:
        """Slope of the known line, if any, and the width above it, per unit action."""
        lower, upper = self.frame.slope_bounds
        if self.frame.slopes == "free" or (lower == 0.0 and math.isinf(upper)):
            return None, 1.0
        per_unit = self._span * units.reward_slope / units.scale
        return lower * per_unit, (upper - lower) * per_unit if upper < math.inf else 1.0

    def _bounded(self, values: Tensor, units: Units | None) -> Tensor:
        """Squashes values into the shape's bounds, so that about zero they stay put."""
        shape_set, units = self.frame.shape_set, units or Units()
        if not shape_set.has_value_bounds:
            return values

        def in_units(bound: float) -> Tensor:
            relative = (bound * units.reward_slope - units.level) / units.scale
            return torch.as_tensor(relative, dtype=values.dtype, device=values.device)

        if math.isinf(shape_set.upper):
            lower = in_units(shape_set.lower)
            return lower + softplus(values + _softplus_inverse(-lower))
        if math.isinf(shape_set.lower):
            upper = in_units(shape_set.upper)
            return upper - softplus(_softplus_inverse(upper) - values)
        lower, upper = in_units(shape_set.lower), in_units(shape_set.upper)
        width = upper - lower
        if shape_set.lower == shape_set.upper:
            return lower.expand_as(values)
        start = (-lower / width).clamp(_START_INSIDE, 1.0 - _START_INSIDE)
        # Slope one half way between the bounds.
        steepness = 4.0 / width
        return lower + width * torch.sigmoid(torch.logit(start) + steepness * values)


def softplus(t: Tensor) -> Tensor:
    """As torch's; ONNX runtimes have none of float64, so a graph spells it out."""
    if t.dtype != torch.float64 or not is_exporting():
        return F.softplus(t)
    return t.clamp(min=0.0) + torch.log(1.0 + torch.exp(-t.abs()))


def log_sigmoid(t: Tensor) -> Tensor:
    """As torch's; likewise."""
    if t.dtype != torch.float64 or not is_exporting():
        return F.logsigmoid(t)
    return -softplus(-t)


def _softplus_inverse(value: Tensor) -> Tensor:
    value = value.clamp(min=_START_INSIDE)
    return value + torch.log(-torch.expm1(-value))
