r"""Maps from free network outputs to values that have a shape by construction.

*Canonical* coordinates are those in which the shape is a sign: level, slopes or
curvatures in units of the whole action range, the signed ones through a softplus.
*Functional* coordinates describe a function of a continuous action, a sum of a few
shaped pieces, read off at the actions; it shares strength between neighbouring actions
and does not care how many there are.

Both are exact for every network output.  No projection is involved, so no contraction
is claimed for them.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from .constraints import Constraint
from .shapes import Concave, Monotone, MonotoneConcave, Unconstrained

__all__ = ["PROJECTIONS", "Parametrization", "make_parametrization"]

#: How a critic can be made to obey its shape.
PROJECTIONS = ("functional", "canonical", "euclidean")

# Beyond this, network outputs are no longer values anyone meant; it keeps products of
# coordinates finite in float32 at absurd observations.
_LARGEST_COORDINATE = 1e6


class Parametrization(nn.Module):
    """Base: ``n_coordinates`` free numbers to K values, ``(B, n)`` to ``(B, K)``.

    Args:
        positions: positions of the actions, strictly increasing, shape ``(K,)``.
        increasing: direction of the shape, where it has one.
        n_pieces: pieces of a functional parametrization.
    """

    n_coordinates: int
    unit: torch.Tensor

    def __init__(self, positions: torch.Tensor, increasing: bool, n_pieces: int):
        super().__init__()
        span = positions[-1] - positions[0]
        unit = ((positions - positions[0]) / span).float()
        # A falling shape is a rising one of the mirrored action.
        self.mirrored = not increasing
        if self.mirrored:
            unit = (1.0 - unit).flip(0)
        self.register_buffer("unit", unit, persistent=False)
        self.n_pieces = n_pieces
        self.n_coordinates = self.count(len(positions))

    def count(self, n_actions: int) -> int:
        """Number of coordinates for K actions."""
        return n_actions

    def forward(self, coordinates: torch.Tensor) -> torch.Tensor:
        bound = _LARGEST_COORDINATE
        values = self.values(coordinates.clamp(-bound, bound))
        return values.flip(1) if self.mirrored else values

    def values(self, coordinates: torch.Tensor) -> torch.Tensor:
        """Values of the rising (unmirrored) shape."""
        raise NotImplementedError


class Free(Parametrization):
    """No shape: one coordinate for each value, as a plain critic has."""

    def values(self, coordinates: torch.Tensor) -> torch.Tensor:
        return coordinates


# -- canonical ---------------------------------------------------------------


def _nonnegative(coordinates: torch.Tensor) -> torch.Tensor:
    # Shifted so that a fresh network starts with little slope or curvature, though not so
    # little that the softplus has no gradient left to learn them with.
    return F.softplus(coordinates - 1.0)


def _integrate(slopes: torch.Tensor, spacing: torch.Tensor) -> torch.Tensor:
    """Values with these slopes and mean zero: ``(B, K-1)`` to ``(B, K)``."""
    steps = torch.cumsum(slopes * spacing, dim=1)
    values = torch.cat([torch.zeros_like(steps[:, :1]), steps], dim=1)
    return values - values.mean(dim=1, keepdim=True)


class CanonicalMonotone(Parametrization):
    """Mean level, then K-1 non-negative slopes."""

    def values(self, coordinates: torch.Tensor) -> torch.Tensor:
        slopes = _nonnegative(coordinates[:, 1:])
        return coordinates[:, :1] + _integrate(slopes, self.unit.diff())


class CanonicalConcave(Parametrization):
    """Mean level, mean slope, then K-2 non-negative curvatures."""

    def values(self, coordinates: torch.Tensor) -> torch.Tensor:
        drops = _nonnegative(coordinates[:, 2:]) * _between(self.unit)
        fall = torch.cumsum(drops, dim=1)
        slopes = -torch.cat([torch.zeros_like(fall[:, :1]), fall], dim=1)
        slopes = slopes - slopes.mean(dim=1, keepdim=True) + coordinates[:, 1:2]
        return coordinates[:, :1] + _integrate(slopes, self.unit.diff())


class CanonicalMonotoneConcave(Parametrization):
    """Mean level, then the smallest slope and K-2 curvatures, all non-negative."""

    def values(self, coordinates: torch.Tensor) -> torch.Tensor:
        smallest = _nonnegative(coordinates[:, 1:2])
        drops = _nonnegative(coordinates[:, 2:]) * _between(self.unit)
        above = torch.cumsum(drops.flip(1), dim=1).flip(1)
        slopes = smallest + torch.cat([above, torch.zeros_like(smallest)], dim=1)
        return coordinates[:, :1] + _integrate(slopes, self.unit.diff())


def _between(unit: torch.Tensor) -> torch.Tensor:
    """Distances between the midpoints of neighbouring intervals, ``(K-2,)``."""
    return (unit[2:] - unit[:-2]) / 2.0


# -- functional --------------------------------------------------------------


class _Pieces(Parametrization):
    """Level, then a height, a steepness and a place for each piece.

    The action runs over ``x`` in [-1, 1].  The level is not that of any one action but
    what the pieces saturate to; pinning it to the middle doubled the regret on a quarter
    of the bidding log.
    """

    n_linear: ClassVar[int] = 1
    two_sided: ClassVar[bool] = False
    places: torch.Tensor
    signs: torch.Tensor
    centred: torch.Tensor

    def __init__(self, positions: torch.Tensor, increasing: bool, n_pieces: int):
        super().__init__(positions, increasing, n_pieces)
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
        self.register_buffer("centred", 2.0 * self.unit - 1.0, persistent=False)

    def count(self, n_actions: int) -> int:
        return self.n_linear + 3 * self.n_pieces

    def values(self, coordinates: torch.Tensor) -> torch.Tensor:
        linear = coordinates[:, : self.n_linear]
        height, steepness, place = coordinates[:, self.n_linear :].chunk(3, dim=1)
        height = F.softplus(height - 1.0)[:, :, None]
        steepness = (F.softplus(steepness + 0.5) * self.signs)[:, :, None]
        place = (place + self.places)[:, :, None]
        x = self.centred
        pieces = height * self.piece(steepness * x + place)
        values = linear[:, :1] + pieces.sum(dim=1)
        if self.n_linear == 2:
            values = values + linear[:, 1:2] * x
        return values

    def piece(self, t: torch.Tensor) -> torch.Tensor:
        """One shaped function of a rising argument."""
        raise NotImplementedError


class FunctionalMonotone(_Pieces):
    """A sum of rising sigmoids of the action."""

    def piece(self, t: torch.Tensor) -> torch.Tensor:
        # Four times: unit slope in the middle, like the other pieces.
        return 4.0 * torch.sigmoid(t)


class FunctionalConcave(_Pieces):
    """A line minus softplus bends on either side."""

    n_linear = 2
    two_sided = True

    def piece(self, t: torch.Tensor) -> torch.Tensor:
        return F.logsigmoid(t)


class FunctionalMonotoneConcave(_Pieces):
    """A sum of saturating bends, each rising with diminishing returns."""

    def piece(self, t: torch.Tensor) -> torch.Tensor:
        return F.logsigmoid(t)


_PARAMETRIZATIONS: dict[type[Constraint], dict[str, type[Parametrization]]] = {
    Unconstrained: {"functional": Free, "canonical": Free},
    Monotone: {"functional": FunctionalMonotone, "canonical": CanonicalMonotone},
    Concave: {"functional": FunctionalConcave, "canonical": CanonicalConcave},
    MonotoneConcave: {
        "functional": FunctionalMonotoneConcave,
        "canonical": CanonicalMonotoneConcave,
    },
}


def check_projection(projection: str) -> None:
    """Refuses an unknown projection by name.

    Raises:
        ValueError: it is not one of ``PROJECTIONS``.
    """
    if projection not in PROJECTIONS:
        raise ValueError(f"projection must be one of {PROJECTIONS}, got {projection!r}")


def make_parametrization(
    constraint: Constraint, projection: str, action_size: int, n_pieces: int = 4
) -> Parametrization:
    """The coordinates of a shape.

    Args:
        constraint: the shape.
        projection: one of ``PROJECTIONS``; ``"euclidean"`` has free coordinates, whose
            values are projected afterwards.
        action_size: number of actions, K.
        n_pieces: pieces of a functional parametrization, at least 1.

    Raises:
        ValueError: the projection is unknown or the shape does not offer it, or K does
            not fit the shape.
    """
    check_projection(projection)
    positions = torch.as_tensor(constraint.positions(action_size))
    increasing = getattr(constraint, "increasing", True)
    if projection == "euclidean":
        return Free(positions, True, n_pieces)
    offered = _PARAMETRIZATIONS.get(type(constraint), {})
    if projection not in offered:
        raise ValueError(
            f"{type(constraint).__name__} offers projections "
            f"{[*offered, 'euclidean']}, got {projection!r}"
        )
    return offered[projection](positions, increasing, n_pieces)
