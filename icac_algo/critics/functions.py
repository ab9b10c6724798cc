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
    share_of_room,
    slope_unit,
    softplus,
    within,
)


class Function(Parametrization):
    """A parametrization that can be read off at any action.

    Args:
        positions: positions of the actions, strictly increasing, shape ``(K,)``; of a
            continuous action the two ends of its range.
        frame: the frame of the shape.
        n_pieces: how many pieces, at least 1.
    """

    def __init__(self, positions: Tensor, frame: Frame, n_pieces: int):
        super().__init__(positions, frame, self.count(frame, n_pieces))
        self.n_pieces = n_pieces
        self.first_position = float(positions[0])

    @classmethod
    def count(cls, frame: Frame, n_pieces: int) -> int:
        """Number of coordinates."""
        raise NotImplementedError

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


class _Pieces(Function):
    """Level, then a height, a steepness and a place for each piece.

    The action runs over ``x`` in [-1, 1].  The level is not that of any one action but
    what the pieces saturate to; pinning it to the middle doubled the regret on a quarter
    of the bidding log.
    """

    n_linear = 1
    two_sided = False
    signed = False
    places: Tensor
    signs: Tensor

    def __init__(self, positions: Tensor, frame: Frame, n_pieces: int):
        super().__init__(positions, frame, n_pieces)
        if self.two_sided:
            # Pieces in pairs, one that bends on each side.
            places = torch.linspace(-1.0, 1.0, (n_pieces + 1) // 2)
            places = places.repeat_interleave(2)[:n_pieces]
            signs = torch.tensor([1.0, -1.0]).repeat((n_pieces + 1) // 2)[:n_pieces]
        else:
            places = torch.linspace(-1.0, 1.0, n_pieces)
            signs = torch.ones(n_pieces)
        self.register_buffer("places", places, persistent=False)
        self.register_buffer("signs", signs, persistent=False)

    @classmethod
    def count(cls, frame: Frame, n_pieces: int) -> int:
        return cls.n_linear + 3 * n_pieces

    def rising(self, coordinates: Tensor, unit: Tensor, limits: Limits) -> Tensor:
        level, line = coordinates[:, :1], coordinates[:, 1 : self.n_linear]
        height, steepness, place = coordinates[:, self.n_linear :].chunk(3, dim=1)
        if not self.signed:
            height = softplus(height - 1.0)
        steepness = softplus(steepness + 0.5)
        if self.frame.slopes == "bounded":
            # Over x, which runs through two units where the action runs through one.
            limits = (limits[0] / 2.0, limits[1] / 2.0)
            line = within(line, *limits)
            total = (height * steepness).sum(dim=1, keepdim=True)
            height = height * share_of_room(total, line, limits)
        steepness = (steepness * self.signs)[:, :, None]
        place = (place + self.places)[:, :, None]
        x = 2.0 * unit - 1.0
        argument = steepness * (x[:, None] if x.dim() == 2 else x) + place
        values = level + (height[:, :, None] * self.piece(argument)).sum(dim=1)
        return values + line * x if self.n_linear == 2 else values

    def piece(self, t: Tensor) -> Tensor:
        """One shaped function of a rising argument."""
        raise NotImplementedError


class FunctionalMonotone(_Pieces):
    """A sum of rising sigmoids of the action."""

    def piece(self, t: Tensor) -> Tensor:
        # Four times: unit slope in the middle, like the other pieces.
        return 4.0 * torch.sigmoid(t)


class FunctionalFree(_Pieces):
    """A line plus sigmoids of either sign: any continuous function."""

    n_linear = 2
    signed = True

    def piece(self, t: Tensor) -> Tensor:
        return 4.0 * torch.sigmoid(t) - 2.0


class FunctionalConcave(_Pieces):
    """A line minus softplus bends on either side."""

    n_linear = 2
    two_sided = True

    def piece(self, t: Tensor) -> Tensor:
        return log_sigmoid(t)


class FunctionalMonotoneConcave(_Pieces):
    """A sum of saturating bends, each rising with diminishing returns."""

    def piece(self, t: Tensor) -> Tensor:
        return log_sigmoid(t)


class FunctionalBoundedConcave(FunctionalMonotoneConcave):
    """The same bends on the smallest slope, all within bounds on slopes."""

    n_linear = 2


class RisingPieces(_Pieces):
    """The same pieces, turned so that values rise in every coordinate.

    The action runs over [0, 1], where steeper arguments are larger ones, and heights of
    pieces that are negative fall in their coordinate.
    """

    def __init__(self, positions: Tensor, frame: Frame, n_pieces: int):
        self.two_sided = frame.concave and frame.slopes == "free"
        super().__init__(positions, frame, n_pieces)

    @classmethod
    def count(cls, frame: Frame, n_pieces: int) -> int:
        return (2 if frame.concave and frame.slopes == "free" else 1) + 3 * n_pieces

    def rising(self, coordinates: Tensor, unit: Tensor, limits: Limits) -> Tensor:
        at = unit if unit.dim() == 2 else unit[None]
        n_linear = 2 if self.two_sided else 1
        linear = coordinates[:, :n_linear]
        height, steepness, place = coordinates[:, n_linear:].chunk(3, dim=1)
        bends = self.frame.concave
        height = softplus((-height if bends else height) - 1.0)
        forward = (self.signs > 0.0)[:, None]
        towards = torch.where(forward, at[:, None], 1.0 - at[:, None])
        # As in the other pieces at the start: steepness of .97 about the middle.
        argument = 2.0 * softplus(steepness + 0.5)[:, :, None] * towards
        argument = argument + (place + self.places - 0.97)[:, :, None]
        pieces = log_sigmoid(argument) if bends else 4.0 * torch.sigmoid(argument)
        values = linear[:, :1] + (height[:, :, None] * pieces).sum(dim=1)
        if self.two_sided:
            values = values + linear[:, 1:2] * at
        return values


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

    def __init__(self, positions: Tensor, frame: Frame, n_pieces: int):
        super().__init__(positions, frame, n_pieces)
        count = n_pieces if frame.concave else n_pieces - 1
        knots = (torch.arange(count) + 0.5) / max(1, count)
        self.register_buffer("knots", knots, persistent=False)
        self.sharpness = _SHARPNESS * max(1, count)

    @classmethod
    def count(cls, frame: Frame, n_pieces: int) -> int:
        return n_pieces + (2 if frame.concave else 1)

    def rising(self, coordinates: Tensor, unit: Tensor, limits: Limits) -> Tensor:
        basis = self._basis(unit)  # (1 or B, J, M)
        at = unit if unit.dim() == 2 else unit[None]
        level, weights = coordinates[:, :1], coordinates[:, 1:]
        if self.frame.concave:
            line, weights = weights[:, :1], softplus(weights[:, 1:] - 1.0)
            if self.frame.slopes == "rising":
                line = softplus(line - 1.0)
            elif self.frame.slopes == "bounded":
                line = within(line, *limits)
            return level + line * at + (weights[:, :, None] * basis).sum(dim=1)
        if self.frame.slopes == "rising":
            weights = softplus(weights - 1.0)
        elif self.frame.slopes == "bounded":
            weights = within(weights, *limits, slope_unit(self.n_pieces))
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


# Kinds of shape in their frame: slopes, and whether they fall.
_FUNCTIONAL: dict[tuple[str, bool], type[Function]] = {
    ("free", False): FunctionalFree,
    ("rising", False): FunctionalMonotone,
    ("bounded", False): Spline,
    ("free", True): FunctionalConcave,
    ("rising", True): FunctionalMonotoneConcave,
    ("bounded", True): FunctionalBoundedConcave,
}


def make_function(
    constraint: Constraint,
    positions: Tensor,
    n_pieces: int = 4,
    rising_in_coordinates: bool = False,
    lipschitz_in_coordinates: bool = False,
) -> Function:
    """The function of a continuous action that has a shape.

    Args:
        constraint: the shape.
        positions: actions, or the ends of their range, strictly increasing.
        n_pieces: pieces, at least 1.
        rising_in_coordinates: whether values must rise in every coordinate, as shapes
            over state features need.
        lipschitz_in_coordinates: whether they must also be Lipschitz in their sup norm;
            then the function is a :class:`Spline`.

    Raises:
        ValueError: the shape has no such function class.
    """
    frame = Frame.of(constraint, "Functional()")
    kind = _FUNCTIONAL[frame.slopes, frame.concave]
    if rising_in_coordinates:
        if kind is FunctionalBoundedConcave and math.isfinite(frame.slope_bounds[1]):
            raise ValueError(
                "state_constraints do not go with curvature together with bounds on both "
                f"sides of slopes, as constraint={constraint!r} asks for"
            )
        has_pieces = not lipschitz_in_coordinates and (frame.slopes, frame.concave) in (
            ("rising", False),
            ("free", True),
            ("rising", True),
        )
        kind = RisingPieces if has_pieces else Spline
    if frame.slopes == "bounded" and not frame.concave:
        # As many coordinates as other functions have, and a slope between any two
        # actions: a loose bound rules nothing out.
        n_pieces = max(3 * n_pieces, len(positions) - 1)
    return kind(positions, frame, n_pieces)
