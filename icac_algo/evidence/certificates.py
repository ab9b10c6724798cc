r"""What a shape lets logged actions say of another one.

Of every function :math:`f` of a shape :math:`f(a) \ge \sum_k \lambda_k \bar f_k + \beta`:
a certificate, the dual of the linear program that looks for the lowest value that the
shape allows.  :math:`\bar f_k` is the mean of :math:`f` over a range of actions, which
may be one action, with mean action :math:`c_k` and mean squared action :math:`q_k`.  With
values of at least :math:`L`, slopes within :math:`[l, u]` and curvatures within
:math:`[\kappa, \bar\kappa]`, these are looked at:

* the bound itself: :math:`L`;
* one range: :math:`\bar f + l\,E(a - A)_+ - u\,E(A - a)_+`, for :math:`A` in the range;
* two of them: :math:`(1-t) \bar f_1 + t \bar f_2 - \frac{K}{2} ((1-t) q_1 + t q_2 - a^2)`
  with :math:`t = (a - c_1)/(c_2 - c_1)`, where :math:`K = \bar\kappa` for :math:`a`
  between their mean actions, and :math:`K = \kappa` for :math:`a` outside both.

A bound on values counts as known at both ends.  One range rests on slopes alone, also if
:math:`a` is in it.  Two ranges rest on Jensen's inequality, for :math:`f - \bar\kappa a^2
/ 2`, which is concave, or :math:`f - \kappa a^2 / 2`, which is convex: there the mean
over an inner range is at most that of a mixture of outer ones with the same mean action.
For single actions and shapes without a curvature away from 0 the best of them is the
linear program's value, so that the bounds are sharp.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..data import LoggedSteps
from ..shapes import ShapeSet

FloatArray = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Ranges:
    """K ranges of actions and how actions lie in them; of lists, single actions.

    Args:
        lower: their lower ends, ``(K,)``.
        upper: their upper ends, ``(K,)``.
        inside: actions of each, rising; ``None`` if any number of it is as likely.
    """

    lower: FloatArray
    upper: FloatArray
    inside: tuple[FloatArray, ...] | None = None

    @classmethod
    def of(cls, steps: LoggedSteps, positions: FloatArray) -> Ranges:
        """Of a log; of a list of actions, their positions.

        Logged densities make rows weigh as if any number of a range were as likely.
        Where they are estimated, a range has the numbers that were logged in it.
        """
        if steps.numbers is None or steps.edges is None:
            return cls(positions, positions)
        if steps.propensities is not None:
            return cls(steps.edges[:-1], steps.edges[1:])
        order = np.argsort(steps.actions, kind="stable")
        cuts = np.searchsorted(steps.actions[order], np.arange(1, steps.action_size))
        middles = (steps.edges[:-1, None] + steps.edges[1:, None]) / 2.0
        groups = np.split(steps.numbers[order], cuts)
        inside = tuple(
            np.sort(group) if len(group) else middle
            for group, middle in zip(groups, middles, strict=True)
        )
        ends = np.array([(one[0], one[-1]) for one in inside]).T
        return cls(ends[0], ends[1], inside)

    @property
    def centres(self) -> FloatArray:
        """Mean actions, ``(K,)``."""
        if self.inside is None:
            return (self.lower + self.upper) / 2.0
        return np.array([one.mean() for one in self.inside])

    @property
    def squares(self) -> FloatArray:
        """Means of squared actions, ``(K,)``."""
        if self.inside is None:
            return (self.lower**2 + self.lower * self.upper + self.upper**2) / 3.0
        return np.array([np.square(one).mean() for one in self.inside])

    def shortfall(self, k: int, targets: FloatArray) -> FloatArray:
        """How far actions of a range are below each target in the mean, ``(N,)``."""
        if self.inside is not None:
            # From the first on: far from 0 sums would round.
            one, targets = self.inside[k] - self.inside[k][0], targets - self.inside[k][0]
            below = np.searchsorted(one, targets)
            sums = np.concatenate([[0.0], np.cumsum(one)])
            return np.asarray((below * targets - sums[below]) / len(one))
        low, high = self.lower[k], self.upper[k]
        beyond = np.maximum(targets - high, 0.0)
        if low == high:
            return beyond
        reached = np.clip(targets, low, high) - low
        return np.asarray(beyond + reached**2 / (2.0 * (high - low)))


@dataclasses.dataclass(frozen=True)
class Certificates:
    """One for each of N rows, each of two ranges at most.

    Args:
        ranges: which two, ``(N, 2)``.
        weights: of their means, ``(N, 2)``.
        constants: minus infinity where the shape says nothing, ``(N,)``.
    """

    ranges: npt.NDArray[np.int64]
    weights: FloatArray
    constants: FloatArray

    def dot(self, means: FloatArray) -> FloatArray:
        """Weighted sums of means of the ranges, ``(N, K)`` to ``(N,)``."""
        found = np.take_along_axis(means, self.ranges, axis=1)
        return np.asarray((self.weights * found).sum(axis=1))

    def noise(self, costs: FloatArray, power: int = 2) -> FloatArray:
        """Powers of weights times costs, ``(N,)``; infinite costs are never used."""
        found = np.take_along_axis(costs, self.ranges, axis=1)
        found = np.where(self.weights != 0.0, found, 0.0)
        return np.asarray((self.weights**power * found).sum(axis=1))

    def of_range(self, k: npt.NDArray[np.int64]) -> FloatArray:
        """Each row's weight of one range, ``(N,)``."""
        return np.asarray((self.weights * (self.ranges == k[:, None])).sum(axis=1))

    def mirrored(self) -> Certificates:
        """Of ``-f`` for ``f``: upper bounds from lower ones."""
        return dataclasses.replace(self, constants=-self.constants)


def mirror(shape: ShapeSet) -> ShapeSet:
    """The shape of ``-f``."""
    return ShapeSet(
        -shape.slope_upper,
        -shape.slope_lower,
        -shape.upper,
        -shape.lower,
        -shape.curvature_upper,
        -shape.curvature_lower,
    )


@dataclasses.dataclass(frozen=True)
class _Point:
    """A range, or a bound on values at one end of all actions."""

    lower: float
    upper: float
    centre: float
    square: float
    column: int = -1
    value: float = 0.0

    def allows(self, weights: FloatArray) -> npt.NDArray[np.bool_]:
        """A lower bound may be added, an upper one subtracted."""
        if self.column >= 0:
            return np.ones(len(weights), dtype=bool)
        return weights >= 0.0 if self.value_is_lower else weights <= 0.0

    @property
    def value_is_lower(self) -> bool:
        return self.column == -1


def best_certificates(
    shape: ShapeSet,
    ranges: Ranges,
    domain: tuple[float, float],
    targets: FloatArray,
    means: FloatArray,
    costs: FloatArray,
    price: FloatArray,
) -> Certificates:
    r"""For each row the certificate of the highest predicted bound, less its noise.

    It maximises :math:`\sum_k (\lambda_k \hat f_k - p \lambda_k^2 c_k) + \beta`.
    Whatever is predicted, it is a certificate.

    Args:
        shape: of the function.
        ranges: what was logged, K of them.
        domain: lowest and highest action, between which the shape holds.
        targets: actions whose value is bounded, ``(N,)``.
        means: predicted means of the ranges, ``(N, K)``.
        costs: of resting on a range, infinite where it was never logged, ``(N, K)``.
        price: :math:`p`, ``(N,)``.
    """
    count = len(targets)
    # What was never logged is used at no price, not even at 0.
    price = np.maximum(price, 1e-200)
    best = np.full(count, -np.inf)
    found = Certificates(
        np.zeros((count, 2), np.int64), np.zeros((count, 2)), np.full(count, -np.inf)
    )
    for points, weights, constants in _candidates(shape, ranges, domain, targets):
        score = constants
        for point, weight in zip(points, weights, strict=True):
            if point.column >= 0:
                cost = costs[:, point.column]
                seen = np.isfinite(cost)
                cost = np.where(seen, cost, 0.0)
                score = score + weight * means[:, point.column] - price * weight**2 * cost
                score = np.where(seen | (weight == 0.0), score, -np.inf)
        better = np.flatnonzero(score > best)
        best[better] = score[better]
        found.constants[better] = constants[better]
        found.weights[better] = 0.0
        for place, (point, weight) in enumerate(zip(points, weights, strict=True)):
            if point.column >= 0:
                found.ranges[better, place] = point.column
                found.weights[better, place] = weight[better]
    return found


_Candidate = tuple[tuple[_Point, ...], tuple[FloatArray, ...], FloatArray]


def _candidates(
    shape: ShapeSet, ranges: Ranges, domain: tuple[float, float], targets: FloatArray
) -> Iterator[_Candidate]:
    """Points, weights and constants, each ``(N,)``; minus infinity where none is."""
    if math.isfinite(shape.lower):
        yield (), (), np.full(len(targets), shape.lower)
    points = [
        _Point(*ends, k)
        for k, ends in enumerate(
            zip(ranges.lower, ranges.upper, ranges.centres, ranges.squares, strict=True)
        )
    ]
    for point in points:
        below = ranges.shortfall(point.column, targets)
        above = below + (point.centre - targets)
        # What is one action must not have a gap by rounding.
        size = max(abs(point.lower), abs(point.upper), float(np.abs(targets).max()))
        below, above = (np.where(x <= 4e-15 * size, 0.0, x) for x in (below, above))
        constants = _times(shape.slope_lower, below) - _times(shape.slope_upper, above)
        yield (point,), (np.ones(len(targets)),), constants
    if not shape.has_curvature:
        return
    for end in domain:
        for column, value in ((-1, shape.lower), (-2, shape.upper)):
            if math.isfinite(value):
                points.append(_Point(end, end, end, end**2, column, value))
    points.sort(key=lambda point: point.centre)
    for first, second in itertools.combinations(points, 2):
        if first.upper <= second.lower and first.centre < second.centre:
            yield _of_two(shape, first, second, targets)


def _of_two(
    shape: ShapeSet, first: _Point, second: _Point, targets: FloatArray
) -> _Candidate:
    share = (targets - first.centre) / (second.centre - first.centre)
    weights = (1.0 - share, share)
    between = (share >= 0.0) & (share <= 1.0)
    beyond = (targets >= second.upper) | (targets <= first.lower)
    bends = np.where(between, shape.curvature_upper, shape.curvature_lower)
    valid = (between | beyond) & np.isfinite(bends)
    for point, weight in zip((first, second), weights, strict=True):
        valid &= point.allows(weight)
    spread = weights[0] * first.square + weights[1] * second.square - targets**2
    constants = -np.where(valid, bends, 0.0) / 2.0 * spread
    for point, weight in zip((first, second), weights, strict=True):
        if point.column < 0:
            constants = constants + weight * point.value
    return (first, second), weights, np.where(valid, constants, -np.inf)


def _times(slope: float, gaps: FloatArray) -> FloatArray:
    """The slope times each gap; no gap has none, whatever the slope."""
    found = np.zeros(len(gaps))
    return np.multiply(slope, gaps, out=found, where=gaps != 0.0)
