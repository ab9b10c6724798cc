r"""The shapes, each a set of values :math:`v_1 \dots v_K` over ordered actions.

Every docstring gives the set as an inequality, whether its Euclidean projection is
sup-norm non-expansive ("safe under bootstrapping": projecting after every Bellman backup
is a contraction), and its canonical coordinates.  Canonical and functional critics are
function classes, not projections: no contraction is claimed for them.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections.abc import Sequence
from typing import Any, ClassVar

from d3rlpy.serializable_config import (
    generate_config_registration,
    generate_list_config_field,
)

from .._util.checks import check_flag, is_finite
from .base import Constraint
from .normal_form import ShapeSet


@dataclasses.dataclass()
class Unconstrained(Constraint):
    r"""No shape at all: the whole of :math:`R^K`.

    For comparisons: the same network and training, without the prior.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.known_cost is not None:
            raise ValueError(
                "Unconstrained takes no known_cost: there is no shape to shift"
            )

    def shape_set(self) -> ShapeSet:
        return ShapeSet()


@dataclasses.dataclass()
class _Directed(Constraint):
    """Values that rise with the action, or fall."""

    increasing: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("increasing", self.increasing)
        self.increasing = bool(self.increasing)


@dataclasses.dataclass()
class Monotone(_Directed):
    r""":math:`v_1 \le v_2 \le \dots \le v_K`; with ``increasing=False`` the reverse.

    The projection (isotonic regression) is sup-norm non-expansive and order-preserving:
    safe under bootstrapping.  Canonical coordinates: the mean level and the K-1 slopes
    between neighbours, each non-negative.  A projection makes plateaus; a tie goes to
    the end that the prior favours.

    Args:
        increasing: whether values rise with the action.
    """

    def shape_set(self) -> ShapeSet:
        if self.increasing:
            return ShapeSet(slope_lower=0.0)
        return ShapeSet(slope_upper=0.0)


@dataclasses.dataclass()
class _Bounds(Constraint):
    """Two numbers, at least one of them given."""

    lower: float | None = None
    upper: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        for side, infinity in (("lower", -math.inf), ("upper", math.inf)):
            bound = getattr(self, side)
            if bound is None or bound == infinity:
                setattr(self, side, None)
            elif is_finite(bound):
                setattr(self, side, float(bound))
            else:
                raise ValueError(
                    f"{name} {side} must be a finite number, or None for no bound, "
                    f"got {bound!r}"
                )
        if self.lower is None and self.upper is None:
            raise ValueError(f"{name} needs a finite lower or upper bound, got neither")
        _check_not_empty(self)

    @property
    def _interval(self) -> tuple[float, float]:
        lower = -math.inf if self.lower is None else self.lower
        return lower, math.inf if self.upper is None else self.upper


@dataclasses.dataclass()
class SlopeBounds(_Bounds):
    r""":math:`l \le (v_{i+1}-v_i)/(a_{i+1}-a_i) \le u` for every ``i``.

    "Nothing jumps": with ``lower=-L, upper=L`` the values are Lipschitz in the action.
    Bounds are in the units of the *unscaled* reward per unit of action.  The projection
    is sup-norm non-expansive and order-preserving: safe under bootstrapping.  Canonical
    coordinates: the mean level and the K-1 slopes, each squashed into its bounds.

    Args:
        lower: smallest slope; ``None`` for no bound.
        upper: largest slope; ``None`` for no bound.

    Raises:
        ValueError: a bound is not a finite number, both are ``None``, or
            ``lower > upper``.
    """

    def shape_set(self) -> ShapeSet:
        lower, upper = self._interval
        return ShapeSet(slope_lower=lower, slope_upper=upper)


@dataclasses.dataclass()
class Bounded(_Bounds):
    r""":math:`l \le v_i \le u` for every ``i``.

    A probability, a capped payment.  Bounds are in the units of the *unscaled* value (of
    Q itself, not of one reward), so a reward scaler may not shift rewards.  The
    projection (clipping) is sup-norm non-expansive and order-preserving: safe under
    bootstrapping.  Canonical coordinates: the K values, each squashed into the bounds.

    Args:
        lower: smallest value; ``None`` for no bound.
        upper: largest value; ``None`` for no bound.

    Raises:
        ValueError: a bound is not a finite number, both are ``None``, or
            ``lower > upper``.
    """

    def shape_set(self) -> ShapeSet:
        lower, upper = self._interval
        return ShapeSet(lower=lower, upper=upper)


@dataclasses.dataclass()
class _Curved(Constraint):
    """Slopes in order, which may also be bounded in how fast they change."""

    _own: ClassVar[tuple[float, float]] = (-math.inf, 0.0)
    curvature: Sequence[float | None] | None = dataclasses.field(
        default=None, kw_only=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.curvature is None:
            return
        name, given = type(self).__name__, self.curvature
        infinity = self._own[0] or self._own[1]
        pair = isinstance(given, (list, tuple)) and len(given) == 2
        bounds = [None if bound == infinity else bound for bound in given] if pair else []
        if bounds.count(None) == len(bounds) or not all(
            bound is None or is_finite(bound) for bound in bounds
        ):
            raise ValueError(
                f"{name} curvature must be (lower, upper), two finite numbers or one and "
                f"None, got {given!r}"
            )
        self.curvature = [None if bound is None else float(bound) for bound in bounds]
        lower, upper = self._interval
        if not self._own[0] <= lower <= upper <= self._own[1]:
            side = "at most" if self._own[1] == 0.0 else "at least"
            raise ValueError(
                f"{name} curvature must be (lower, upper) with lower <= upper, both "
                f"{side} 0, got {given!r}"
            )

    @property
    def _interval(self) -> tuple[float, float]:
        lower, upper = self.curvature or (None, None)
        return (
            self._own[0] if lower is None else lower,
            self._own[1] if upper is None else upper,
        )

    def shape_set(self) -> ShapeSet:
        lower, upper = self._interval
        return ShapeSet(curvature_lower=lower, curvature_upper=upper)


@dataclasses.dataclass()
class Concave(_Curved):
    r"""Slopes fall: :math:`(v_{i+1}-v_i)/(a_{i+1}-a_i)` is non-increasing in ``i``.

    Diminishing returns.  The projection is *not* sup-norm non-expansive (its Lipschitz
    constant is up to 1.33 at K=3 and 1.57 at K=5), so projecting after every Bellman
    backup is no contraction.  Canonical coordinates: level, mean slope and the K-2
    curvatures, each non-negative.  Over two actions every Q is concave.

    Args:
        curvature: lower and upper bound of the second derivative, such as
            ``(-0.45, 0.0)``; ``None`` for no lower bound, or for 0.  Of a list of actions
            the curvatures are :math:`2 (s_{i+1}-s_i)/(a_{i+2}-a_i)`; functions of a real
            action keep an upper bound below 0 within the range of ``actions``.  In units
            of the *unscaled* reward per squared unit of action.

    Raises:
        ValueError: ``curvature`` is not two such numbers, ``lower > upper``, or one of
            them is above 0.
    """


register_constraint, make_constraint_field = generate_config_registration(
    Constraint, Concave
)


@dataclasses.dataclass()
class Convex(_Curved):
    r"""Slopes rise: :math:`(v_{i+1}-v_i)/(a_{i+1}-a_i)` is non-decreasing in ``i``.

    Growing returns.  The mirror image of :class:`Concave`: not sup-norm non-expansive;
    canonical coordinates are level, mean slope and the K-2 curvatures.  The minimum of
    several convex critics is not convex.

    Args:
        curvature: as in :class:`Concave`, with bounds of at least 0.

    Raises:
        ValueError: ``curvature`` is not two such numbers.
    """

    _own: ClassVar[tuple[float, float]] = (0.0, math.inf)


@dataclasses.dataclass()
class MonotoneConcave(_Curved, _Directed):
    r"""Rising with diminishing returns: :class:`Monotone` and :class:`Concave` at once.

    :math:`s_1 \ge s_2 \ge \dots \ge s_{K-1} \ge 0` for the slopes
    :math:`s_i = (v_{i+1}-v_i)/(a_{i+1}-a_i)`; with ``increasing=False``
    :math:`0 \ge s_1 \ge \dots`, falling ever faster.  Not sup-norm non-expansive.
    Canonical coordinates: level, the smallest slope and the K-2 curvatures, all but the
    level non-negative.

    Args:
        increasing: whether values rise with the action.
        curvature: as in :class:`Concave`.
    """

    def shape_set(self) -> ShapeSet:
        return super().shape_set() & Monotone(self.increasing).shape_set()


@dataclasses.dataclass()
class Intersection(Constraint):
    r"""Several shapes at once: :math:`v \in S_1 \cap \dots \cap S_n`.

    The projection is the exact nearest point of the intersection (not one projection
    after the other); sup-norm non-expansive if no member asks for curvature.  Canonical
    coordinates exist for slope bounds with or without one curvature, and for value
    bounds alone or with :class:`Monotone`; other intersections need
    ``critic=Euclidean()``.  Bounds on values do not go with a curvature away from 0.

    Args:
        members: shapes without ``actions`` and ``known_cost`` of their own; those belong
            to the intersection.

    Raises:
        ValueError: there are no members, a member is not such a shape, or no values
            could satisfy all of them.
    """

    members: list[Constraint] = generate_list_config_field(Constraint)()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.members, (list, tuple)) or not self.members:
            raise ValueError(
                f"members must be a list of at least one shape, got {self.members!r}"
            )
        self.members = list(self.members)
        for member in self.members:
            if not isinstance(member, Constraint):
                raise ValueError(f"members must be shapes, got {member!r}")
            if member.actions is not None or member.known_cost is not None:
                raise ValueError(
                    "members must leave actions and known_cost to the Intersection, "
                    f"got {member!r}"
                )
        _check_not_empty(self)

    def shape_set(self) -> ShapeSet:
        sets = (member.shape_set() for member in self.members)
        return functools.reduce(operator.and_, sets)


for _shape in (
    Unconstrained,
    Monotone,
    SlopeBounds,
    Bounded,
    Concave,
    Convex,
    MonotoneConcave,
    Intersection,
):
    register_constraint(_shape)


def shape_of_set(shape_set: ShapeSet, **fields: Any) -> Constraint:
    """A shape that has this normal form; ``fields`` are its other ones."""
    parts: list[Constraint] = []
    bends = shape_set.curvature_lower, shape_set.curvature_upper
    for curved in (Concave, Convex):
        if not curved._own[0] <= bends[0] <= bends[1] <= curved._own[1]:
            continue
        parts.append(curved(curvature=None if bends == curved._own else list(bends)))
    slopes = shape_set.slope_lower, shape_set.slope_upper
    if slopes in ((0.0, math.inf), (-math.inf, 0.0)):
        parts.append(Monotone(increasing=slopes[0] == 0.0))
    elif shape_set.has_slope_bounds:
        parts.append(SlopeBounds(*(b if math.isfinite(b) else None for b in slopes)))
    if shape_set.has_value_bounds:
        values = shape_set.lower, shape_set.upper
        parts.append(Bounded(*(b if math.isfinite(b) else None for b in values)))
    if len(parts) < 2:
        return dataclasses.replace((parts or [Unconstrained()])[0], **fields)
    return Intersection(parts, **fields)


def _check_not_empty(shape: Constraint) -> None:
    actions = shape.actions or [0.0, 1.0]
    if shape.shape_set().has_value_bounds and shape.shape_set().flattest_curvature:
        raise ValueError(
            "bounds on values do not go with a curvature that is bounded away from 0, as "
            f"{shape!r} asks for"
        )
    reason = shape.shape_set().contradiction(actions[-1] - actions[0])
    if reason is not None:
        raise ValueError(f"no values can satisfy {shape!r}: it asks for {reason}")
