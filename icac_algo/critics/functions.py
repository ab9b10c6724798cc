"""Functions of a continuous action that have a shape at every real action.

Sums of a few shaped pieces; as pieces are added they reach every function of the shape.
They share strength between neighbouring actions and do not care how many there are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..shapes import Constraint
from .parametrization import (
    Frame,
    Limits,
    Parametrization,
    Units,
    log_sigmoid,
    share_below,
    share_of_room,
    slope_unit,
    softplus,
    within,
)


class Function(Parametrization):
    """A parametrization that can be read off at any action.

    Positions of a continuous action are the two ends of its range.
    """

    def __init__(self, positions: Tensor, frame: Frame, n_coordinates: int):
        super().__init__(positions, frame, n_coordinates)
        self.first_position = float(positions[0])

    def at(
        self,
        coordinates: Tensor,
        actions: Tensor,
        units: Units | None = None,
    ) -> Tensor:
        """Values at actions of their own: ``(B, n)`` and ``(B, M)`` to ``(B, M)``."""
        unit = (actions - self.first_position) / self._span
        if self.frame.mirrored:
            unit = 1.0 - unit
        return self._shaped(coordinates, unit, units or Units())

    def at_index(self, coordinates: Tensor, index: Tensor, units: Units | None) -> Tensor:
        # Without the values that nobody asks for.
        if self.frame.mirrored:
            index = len(self.unit) - 1 - index
        return self._shaped(coordinates, self.unit[index], units or Units())


class Pieces(Function):
    """A level, perhaps a line, and for each piece a height, a steepness and a place.

    * Slopes that fall: a line minus softplus bends on either side; if they rise as well
      or are bounded, bends that saturate.
    * Slopes that rise: sigmoids.  Free slopes: a line and sigmoids of either sign.

    The action runs over ``x`` in [-1, 1].  The level is not that of any one action but
    what the pieces saturate to; pinning it to the middle doubled the regret on a quarter
    of the bidding log.  With ``straightness`` 0 a rising function has no line, and begins
    as the sum of its pieces; above it a line bends the less the higher it is.
    """

    places: Tensor
    signs: Tensor
    starts: Tensor  # what heights and steepnesses begin at, before a softplus

    def __init__(
        self,
        positions: Tensor,
        frame: Frame,
        n_pieces: int,
        straightness: float = 0.0,
    ):
        free = frame.slopes == "free"
        self.n_linear = 2 if straightness or self._needs_line(frame) else 1
        super().__init__(positions, frame, self.n_linear + 3 * n_pieces)
        # Before a softplus: heights begin at 0.31, or at 0.05 and 0.007 for 3 and 5.
        self.first_height = -(straightness or 1.0)
        # A line has to bend soon where the log says so: steepness moves slowly.
        self.sharpness = 3.0 if straightness else 1.0
        self.signed, self.two_sided = free and not frame.concave, free and frame.concave
        places, signs = torch.linspace(-1.0, 1.0, n_pieces), torch.ones(n_pieces)
        if self.two_sided:
            # Pieces in pairs, one that bends on each side.
            places = torch.linspace(-1.0, 1.0, (n_pieces + 1) // 2)
            places = places.repeat_interleave(2)[:n_pieces]
            signs[1::2] = -1.0
        self._sizes = [*[1] * self.n_linear, 2 * n_pieces, n_pieces]
        starts = torch.tensor([self.first_height, 0.5]).repeat_interleave(n_pieces)
        for name, values in (("places", places), ("signs", signs), ("starts", starts)):
            self.register_buffer(name, values, persistent=False)

    @staticmethod
    def _needs_line(frame: Frame) -> bool:
        return frame.slopes != "rising"

    def rising(self, coordinates: Tensor, unit: Tensor, limits: Limits) -> Tensor:
        # Taken apart at once: each slice would have a gradient of full size.
        level, *rest, bent, place = coordinates.split(self._sizes, dim=1)
        line = rest[0] if rest else level
        if self.signed:
            height, steepness = bent.chunk(2, dim=1)
            steepness = softplus(steepness + 0.5)
        else:
            height, steepness = softplus(bent + self.starts).chunk(2, dim=1)
        if self.frame.slopes == "rising":
            line = softplus(line)
        elif self.frame.slopes == "bounded":
            # Over x, which runs through two units where the action runs through one.
            lower, upper = limits.lower / 2.0, limits.upper / 2.0
            line = within(line, lower, upper)
            total = (height * steepness).sum(dim=1, keepdim=True)
            height = height * share_of_room(total, line, lower, upper)
        if math.isfinite(self.frame.bends[1]):
            # Over x each second derivative is at most a quarter of this, which over the
            # unit is four times as much.
            total = (height * steepness**2).sum(dim=1, keepdim=True) * self.sharpness
            height = height * share_below(total, limits.bend)
        steepness, place = steepness * self.signs, place + self.places
        x = 2.0 * unit - 1.0
        if x.dim() == 2 and x.shape[1] == 1:
            # One action each: a dimension less, and half of the work.
            pieces = height * self.piece(torch.addcmul(place, steepness, x))
            values = level + pieces.sum(dim=1, keepdim=True)
        else:
            argument = steepness[:, :, None] * (x[:, None] if x.dim() == 2 else x)
            pieces = self.piece(argument + place[:, :, None])
            values = level + (height[:, :, None] * pieces).sum(dim=1)
        return values + line * x if self.n_linear == 2 else values

    def piece(self, t: Tensor) -> Tensor:
        """One function of a rising argument."""
        if self.sharpness != 1.0:
            t = self.sharpness * t
        if self.frame.concave:
            values = log_sigmoid(t)
            return values if self.sharpness == 1.0 else values / self.sharpness
        return 4.0 * torch.sigmoid(t) - (2.0 if self.signed else 0.0)


class RisingPieces(Pieces):
    """The same pieces, turned so that values rise in every coordinate.

    The action runs over [0, 1], where steeper arguments are larger ones, and heights of
    pieces that are negative fall in their coordinate.
    """

    @staticmethod
    def _needs_line(frame: Frame) -> bool:
        return frame.concave and frame.slopes == "free"

    def rising(self, coordinates: Tensor, unit: Tensor, limits: Limits) -> Tensor:
        at = unit if unit.dim() == 2 else unit[None]
        level, line = coordinates[:, :1], coordinates[:, 1 : self.n_linear]
        height, steepness, place = coordinates[:, self.n_linear :].chunk(3, dim=1)
        bends = self.frame.concave
        height = softplus((-height if bends else height) + self.first_height)
        forward = (self.signs > 0.0)[:, None]
        towards = torch.where(forward, at[:, None], 1.0 - at[:, None])
        # As in the other pieces at the start: steepness of .97 about the middle.
        argument = 2.0 * softplus(steepness + 0.5)[:, :, None] * towards
        argument = argument + (place + self.places - 0.97)[:, :, None]
        values = level + (height[:, :, None] * self.piece(argument)).sum(dim=1)
        if self.frame.slopes == "rising":
            # Over [0, 1] twice as steep as over [-1, 1].
            line = 2.0 * softplus(line)
        return values + line * at if self.n_linear == 2 else values


class Spline(Function):
    r"""A fixed smooth basis over the action, with free weights: linear in what it learns.

    With :math:`\phi_j(a) = \int_0^a \sigma(-k (t - e_j))\, dt` at equally spaced knots
    ``e``: each rises with diminishing returns, from 0 at the lowest action.

    * Slopes that fall: :math:`v = b + s a + \sum_j w_j \phi_j(a)`, :math:`w \ge 0`, and
      :math:`s` free or :math:`\ge 0`.
    * Slopes within bounds: :math:`v = b + \sum_j q_j (\phi_{j+1} - \phi_j)(a)` with each
      ``q`` within the bounds.  The derivatives of those differences are a partition of
      unity, so the slope of ``v`` is an average of the ``q``.

    Values rise in every coordinate and are Lipschitz in their sup norm, which is what
    shapes over state features build on.
    """

    knots: Tensor

    def __init__(
        self,
        positions: Tensor,
        frame: Frame,
        n_pieces: int,
        straightness: float = 0.0,
    ):
        super().__init__(positions, frame, n_pieces + (2 if frame.concave else 1))
        self.n_pieces = n_pieces
        # Where slopes do not fall it begins straight anyhow.
        self.first_bend = -(straightness or 1.0)
        count = n_pieces if frame.concave else n_pieces - 1
        knots = (torch.arange(count) + 0.5) / max(1, count)
        self.register_buffer("knots", knots, persistent=False)
        self.sharpness = _SHARPNESS * max(1, count)

    def rising(self, coordinates: Tensor, unit: Tensor, limits: Limits) -> Tensor:
        basis = self._basis(unit)  # (1 or B, J, M)
        at = unit if unit.dim() == 2 else unit[None]
        level, weights = coordinates[:, :1], coordinates[:, 1:]
        if self.frame.concave:
            line = weights[:, :1]
            weights = softplus(weights[:, 1:] + self.first_bend)
            if self.frame.slopes == "rising":
                line = softplus(line - 1.0)
            elif self.frame.slopes == "bounded":
                line = within(line, limits.lower, limits.upper)
            return level + line * at + (weights[:, :, None] * basis).sum(dim=1)
        if self.frame.slopes == "rising":
            weights = softplus(weights - 1.0)
        elif self.frame.slopes == "bounded":
            weights = within(
                weights, limits.lower, limits.upper, slope_unit(self.n_pieces)
            )
        whole = at[:, None]
        rising = torch.cat([0.0 * whole, basis, whole], dim=1)
        # Not ``diff``, which ONNX does not have.
        pieces = rising[:, 1:] - rising[:, :-1]
        return level + (weights[:, :, None] * pieces).sum(dim=1)

    def _basis(self, unit: Tensor) -> Tensor:
        at = unit if unit.dim() == 2 else unit[None]
        k, from_knot = self.sharpness, at[:, None] - self.knots[:, None]
        # The integral of sigmoid(-k t) is log sigmoid(k t) / k.
        return (log_sigmoid(k * from_knot) - log_sigmoid(-k * self.knots)[:, None]) / k

    def sup_norm_gain(self) -> float:
        """By how much values can change when no coordinate changes by more than one."""
        # The level, and of slopes the line and all bends, or an average.
        if self.frame.concave:
            return 2.0 + self.n_pieces
        return 1.0 + (
            slope_unit(self.n_pieces) if self.frame.slopes == "bounded" else 1.0
        )


# Knots blend into their neighbours: smooth, yet each has an interval of its own.
_SHARPNESS = 4.0


def make_function(
    constraint: Constraint,
    positions: Tensor,
    n_pieces: int = 4,
    rising_in_coordinates: bool = False,
    lipschitz_in_coordinates: bool = False,
    straightness: float = 0.0,
) -> Function:
    """The function of a continuous action that has a shape.

    Shapes over state features need values that rise in every coordinate, or that are
    also Lipschitz in their sup norm: then the function is a :class:`Spline`.

    With ``straightness`` 0 it is made of pieces alone, which begin nearer to a mean that
    saturates.  Above it a fresh network gives a line, and the higher it is the less does
    the line bend: right for log-odds and logarithms, which often are nearly straight and
    which pieces alone can hardly become.
    """
    frame = Frame.of(constraint, "Functional()")
    bounded_above = math.isfinite(frame.slope_bounds[1])
    if rising_in_coordinates and frame.concave and frame.bends != (0.0, math.inf):
        raise ValueError(
            "state_constraints do not go with bounds on curvature, as "
            f"constraint={constraint!r} asks for"
        )
    if rising_in_coordinates and frame.concave and bounded_above:
        raise ValueError(
            "state_constraints do not go with curvature together with bounds on both "
            f"sides of slopes, as constraint={constraint!r} asks for"
        )
    kind: type[Pieces | Spline] = Pieces
    if frame.slopes == "bounded" and not frame.concave:
        # As many coordinates as other functions have, and a slope between any two
        # actions: a loose bound rules nothing out.
        kind, n_pieces = Spline, max(3 * n_pieces, len(positions) - 1)
    elif rising_in_coordinates:
        shapeless = frame.slopes == "free" and not frame.concave
        has_pieces = frame.slopes != "bounded" and not shapeless
        rises = has_pieces and not lipschitz_in_coordinates
        kind = RisingPieces if rises else Spline
    return kind(positions, frame, n_pieces, straightness)
