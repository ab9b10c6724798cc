"""Which coordinates a shape has, by name or with a refusal."""

from __future__ import annotations

import math

import torch

from ..shapes import Constraint
from .coordinates import (
    CanonicalBetween,
    CanonicalBetweenConcave,
    CanonicalConcave,
    CanonicalMonotone,
    CanonicalMonotoneConcave,
    Free,
)
from .functions import (
    BetweenConcave,
    Function,
    FunctionalConcave,
    FunctionalFree,
    FunctionalMonotone,
    FunctionalMonotoneConcave,
    RisingPieces,
    Spline,
)
from .parametrization import Frame, Parametrization

__all__ = ["PROJECTIONS", "check_projection", "make_function", "make_parametrization"]

#: How a critic can be made to obey its shape.
PROJECTIONS = ("functional", "canonical", "euclidean")

# Kinds of shape in their frame: slopes, and whether they fall.
_CANONICAL: dict[tuple[str, bool], type[Parametrization]] = {
    ("free", False): Free,
    ("rising", False): CanonicalMonotone,
    ("between", False): CanonicalBetween,
    ("free", True): CanonicalConcave,
    ("rising", True): CanonicalMonotoneConcave,
    ("between", True): CanonicalBetweenConcave,
}
_FUNCTIONAL: dict[tuple[str, bool], type[Function]] = {
    ("free", False): FunctionalFree,
    ("rising", False): FunctionalMonotone,
    ("between", False): Spline,
    ("free", True): FunctionalConcave,
    ("rising", True): FunctionalMonotoneConcave,
    ("between", True): BetweenConcave,
}


def check_projection(projection: str) -> None:
    """Refuses an unknown projection by name.

    Raises:
        ValueError: it is not one of ``PROJECTIONS``.
    """
    if projection not in PROJECTIONS:
        raise ValueError(f"projection must be one of {PROJECTIONS}, got {projection!r}")


def make_parametrization(
    constraint: Constraint,
    projection: str,
    action_size: int,
    n_pieces: int = 4,
    rising_in_coordinates: bool = False,
    lipschitz_in_coordinates: bool = False,
) -> Parametrization:
    """The coordinates of a shape over K actions.

    Args:
        constraint: the shape.
        projection: one of ``PROJECTIONS``; ``"euclidean"`` has free coordinates, whose
            values are projected afterwards.
        action_size: number of actions, K.
        n_pieces: pieces of a functional parametrization, at least 1.
        rising_in_coordinates: whether values must rise in every coordinate, as shapes
            over state features need (functional only).
        lipschitz_in_coordinates: whether they must also be Lipschitz in them.

    Raises:
        ValueError: the projection is unknown or the shape does not offer it, or K does
            not fit the shape.
    """
    check_projection(projection)
    positions = torch.as_tensor(constraint.positions(action_size))
    shape_set = constraint.shape_set()
    if projection == "euclidean":
        return Free(positions, Frame(type(shape_set)()), action_size)
    if projection == "functional":
        if shape_set == type(shape_set)() and not rising_in_coordinates:
            return Free(positions, Frame(shape_set), action_size)
        return make_function(
            constraint,
            positions,
            n_pieces,
            rising_in_coordinates,
            lipschitz_in_coordinates,
        )
    if rising_in_coordinates:
        raise ValueError(
            "shapes over state features need projection='functional', got 'canonical'"
        )
    frame = _checked_frame(constraint, projection)
    kind = (frame.slopes, frame.concave)
    count = action_size + (1 if kind == ("between", True) else 0)
    return _CANONICAL[kind](positions, frame, count)


def make_function(
    constraint: Constraint,
    positions: torch.Tensor,
    n_pieces: int = 4,
    rising_in_coordinates: bool = False,
    lipschitz_in_coordinates: bool = False,
) -> Function:
    """The function of a continuous action that has a shape.

    Args:
        constraint: the shape.
        positions: actions, or the ends of their range, strictly increasing.
        n_pieces: pieces, at least 1.
        rising_in_coordinates: whether values must rise in every coordinate.
        lipschitz_in_coordinates: whether they must also be Lipschitz in their sup norm;
            then the function is a :class:`Spline`.

    Raises:
        ValueError: the shape has no such function class.
    """
    frame = _checked_frame(constraint, "functional")
    kind = _FUNCTIONAL[frame.slopes, frame.concave]
    if rising_in_coordinates:
        if kind is BetweenConcave:
            raise ValueError(
                "shapes over state features do not go with curvature together with "
                f"bounds on both sides of slopes, as {constraint!r} asks for"
            )
        has_pieces = not lipschitz_in_coordinates and (frame.slopes, frame.concave) in (
            ("rising", False),
            ("free", True),
            ("rising", True),
        )
        kind = RisingPieces if has_pieces else Spline
    return kind(positions, frame, n_pieces)


def _checked_frame(constraint: Constraint, projection: str) -> Frame:
    shape_set = constraint.shape_set()
    frame = Frame(shape_set)
    refused = None
    if shape_set.concave and shape_set.convex:
        refused = "concave and convex at once"
    elif shape_set.has_value_bounds and frame.concave:
        refused = "bounds on values together with curvature"
    elif shape_set.has_value_bounds and not _is_monotone_or_free(frame):
        refused = "bounds on values together with bounds on slopes"
    if refused is not None:
        raise ValueError(
            f"projection={projection!r} does not know {refused}, as {constraint!r} asks "
            "for; projection='euclidean' does"
        )
    return frame


def _is_monotone_or_free(frame: Frame) -> bool:
    lower, upper = frame.slope_bounds
    return frame.slopes == "free" or (lower == 0.0 and math.isinf(upper))
