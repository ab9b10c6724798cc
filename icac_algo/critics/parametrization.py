"""What every parametrization is: free coordinates to values that have a shape."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..shapes import Constraint, ShapeSet, is_exporting

# Beyond this, network outputs are no longer values anyone meant; it keeps products of
# coordinates finite in float32 at absurd observations.
_LARGEST_COORDINATE = 1e6
# No division by 0 and no infinite room, in float32.
_SMALLEST_ROOM, _LARGEST_ROOM = 1e-18, 1e30


class Limits(NamedTuple):
    """Bounds over the whole action range, infinite where there are none."""

    lower: Tensor | float  # of slopes
    upper: Tensor | float
    bend: Tensor | float  # how fast slopes may fall, beyond how fast they must


@dataclasses.dataclass(frozen=True)
class Units:
    """What values are measured from and in: Q is ``level + scale * value``."""

    level: Tensor | float = 0.0  # a number, or a tensor without dimensions
    scale: Tensor | float = 1.0  # likewise, positive
    reward_slope: float = 1.0  # units of Q in one unit of the shape's own bounds


@dataclasses.dataclass(frozen=True)
class Frame:
    """How a shape is turned into one whose slopes fall, or are bounded below first.

    A convex shape is minus a concave one; a bound above on slopes is one below on those
    of the mirrored action.  So there are six kinds of shape left: slopes free, rising or
    bounded otherwise, each with or without falling slopes.
    """

    shape_set: ShapeSet

    @classmethod
    def of(cls, constraint: Constraint, critic: str) -> Frame:
        """The frame of a shape that has free coordinates."""
        shape_set = constraint.shape_set()
        frame = cls(shape_set)
        refused = None
        least, most = frame.bends
        if least == most:
            refused = "concave and convex at once, or a single curvature"
        elif frame.concave and not (shape_set.concave or shape_set.convex):
            refused = "curvatures of either sign"
        elif shape_set.has_value_bounds and frame.concave:
            refused = "bounds on values together with curvature"
        elif shape_set.has_value_bounds and frame.slopes == "bounded":
            refused = "bounds on values together with bounds on slopes"
        if refused is not None:
            raise ValueError(
                f"critic={critic} does not know {refused}, as constraint={constraint!r} "
                "asks for; critic=Euclidean() does"
            )
        return frame

    @functools.cached_property
    def negated(self) -> bool:
        """Whether values change sign."""
        return self.shape_set.convex

    @functools.cached_property
    def mirrored(self) -> bool:
        """Whether the action runs backwards."""
        lower, upper = self._signed
        return math.isinf(lower) and math.isfinite(upper)

    @functools.cached_property
    def slopes(self) -> str:
        """``"free"``, ``"rising"`` (bounded below by 0 alone) or ``"bounded"``."""
        kinds = {(-math.inf, math.inf): "free", (0.0, math.inf): "rising"}
        return kinds.get(self.slope_bounds, "bounded")

    @functools.cached_property
    def concave(self) -> bool:
        """Whether slopes fall, in this frame."""
        return self.shape_set.has_curvature

    @functools.cached_property
    def bends(self) -> tuple[float, float]:
        """How fast slopes fall at least and at most, in this frame."""
        lower, upper = self.shape_set.curvature_lower, self.shape_set.curvature_upper
        return (lower, upper) if self.negated else (-upper, -lower)

    @functools.cached_property
    def is_plain(self) -> bool:
        """Whether nothing but signs bounds slopes and bends."""
        return self.slopes != "bounded" and self.bends in (
            (0.0, math.inf),
            (-math.inf, math.inf),
        )

    @functools.cached_property
    def _signed(self) -> tuple[float, float]:
        lower, upper = self.shape_set.slope_lower, self.shape_set.slope_upper
        return (-upper, -lower) if self.negated else (lower, upper)

    @functools.cached_property
    def slope_bounds(self) -> tuple[float, float]:
        """Lower and upper bound of slopes in this frame; the lower one may be absent."""
        lower, upper = self._signed
        return (-upper, -lower) if self.mirrored else (lower, upper)


class Parametrization(nn.Module):
    """Base: ``n_coordinates`` free numbers to values, ``(B, n)`` to ``(B, K)``.

    Subclasses define :meth:`rising`, the values in the shape's :class:`Frame`.  Positions
    of the actions, ``(K,)``, are strictly increasing.
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
        values = self._shaped(coordinates, self.unit, units or Units())
        return values.flip(1) if self.frame.mirrored else values

    def at_index(self, coordinates: Tensor, index: Tensor, units: Units | None) -> Tensor:
        """Values at one action each, by its index, ``(B, 1)`` to ``(B, 1)``."""
        return self(coordinates, units).gather(1, index)

    def _shaped(self, coordinates: Tensor, unit: Tensor, units: Units) -> Tensor:
        """Values at actions of the frame, ``(M,)`` or ``(B, M)``."""
        bound = _LARGEST_COORDINATE
        least, limits = self._limits(units)
        values = self.rising(coordinates.clamp(-bound, bound), unit, limits)
        if self.frame.bends[0] > 0.0:
            # A parabola whose slope falls to 0 at the end, and beyond its range lines.
            inside = unit.clamp(0.0, 1.0)
            rest = 1.0 - inside
            values = values + least * rest * (unit - inside - rest / 2.0)
        if self.frame.negated:
            values = -values
        shape_set = self.frame.shape_set
        if not shape_set.has_value_bounds:
            return values
        lower, upper = (
            (bound * units.reward_slope - units.level) / units.scale
            for bound in (shape_set.lower, shape_set.upper)
        )
        return within(values, lower, upper)

    def rising(self, coordinates: Tensor, unit: Tensor, limits: Limits) -> Tensor:
        """Values of the frame's shape, whose slopes have these limits."""
        raise NotImplementedError

    def _limits(self, units: Units) -> tuple[Tensor | float, Limits]:
        """How fast slopes must fall, and what is left beyond a parabola that does."""
        if self.frame.is_plain:
            return 0.0, Limits(*self.frame.slope_bounds, math.inf)
        least, most = self.frame.bends if self.frame.concave else (0.0, math.inf)
        per_unit = self._span * units.reward_slope / units.scale
        must, may = (self._span * per_unit * each for each in (least, most - least))
        lower, upper = self.frame.slope_bounds
        if self.frame.slopes != "bounded":
            return must, Limits(lower, upper, may)
        return must, Limits(lower * per_unit, upper * per_unit - must, may)


def within(
    values: Tensor,
    lower: Tensor | float,
    upper: Tensor | float,
    largest_unit: float = 1.0,
) -> Tensor:
    r"""Free numbers to numbers within bounds, smoothly, each rising with its own.

    With :math:`\epsilon = \min(unit, (u - l) / 4)` and ``x`` the start plus
    :math:`\epsilon` times a number,

    .. math:: x + \epsilon\, \mathrm{softplus}((l - x) / \epsilon)
        - \epsilon\, \mathrm{softplus}((x - u) / \epsilon):

    far from both bounds the unit times the number, so that a loose one changes nothing;
    within narrow ones a sigmoid.  At 0 it is as near to 0 as leaves a gradient.
    """
    lower, upper = _as(values, lower, upper)
    unit = step_unit(lower, upper, largest_unit)
    inside = torch.minimum((lower + unit / 4.0).clamp(min=0.0), upper - unit / 4.0)
    # What gives that number: the inverse of what follows.
    start = inside + unit * (
        _log_one_minus_exp((lower - inside) / unit)
        - _log_one_minus_exp((inside - upper) / unit)
    )
    x = start + unit * values
    above, below = softplus((lower - x) / unit), softplus((x - upper) / unit)
    # Rounding may have left the bounds.
    return torch.minimum(torch.maximum(x + unit * (above - below), lower), upper)


def _log_one_minus_exp(x: Tensor) -> Tensor:
    return torch.log(1.0 - torch.exp(x.clamp(max=-0.25)))


def step_unit(lower: Tensor, upper: Tensor, largest: float = 1.0) -> Tensor:
    """What free numbers within bounds are measured in; less if these are narrow."""
    return ((upper - lower) / 4.0).clamp(torch.finfo(lower.dtype).tiny, largest)


def slope_unit(count: int) -> float:
    """What so many free slopes are measured in.

    Their sum is then of order 1 at the start, and values that jump up and down are not
    much further away than smooth ones.
    """
    return math.sqrt(count)


def share_of_room(
    total: Tensor, smallest: Tensor, lower: Tensor | float, upper: Tensor | float
) -> Tensor:
    """By what to multiply slopes' fall for it to fit between the smallest and the bound.

    About 1 where there is far more room than is asked for.
    """
    lower, upper = _as(total, lower, upper)
    unit, room = step_unit(lower, upper), (upper - smallest).clamp(0.0, _LARGEST_ROOM)
    return unit * room / (unit * total + room + _SMALLEST_ROOM)


def share_below(total: Tensor, bound: Tensor | float) -> Tensor:
    r"""By what to multiply non-negative numbers for their total to stay below a bound.

    :math:`t / \sqrt{1 + (t / b)^2}` is left of a total: about 1 times it where it is
    small, yet half of a bound and more is soon reached.
    """
    (bound,) = _as(total, bound)
    largest = bound.clamp(min=1.0)
    return bound / largest / torch.sqrt(1.0 + (total / largest) ** 2)


def _as(like: Tensor, *numbers: Tensor | float) -> list[Tensor]:
    return [torch.as_tensor(n, dtype=like.dtype, device=like.device) for n in numbers]


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
