r"""Many inequalities about mean rewards, tested at once.

If :math:`Q(s, \cdot)` is in a convex set for every ``s``, so is its mean over any region
of contexts.  A shape is thus a list of contrasts :math:`w \cdot \mu \ge b` of the mean
rewards :math:`\mu` of the actions in a region.  The inequalities of neighbours alone
would see little of a violation that is spread over many actions, so contrasts of distant
ones, sums of theirs, are in the list too.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from ..shapes import ShapeSet

FloatArray = npt.NDArray[np.float64]
# Up to so many actions every pair and triple is looked at; beyond, those that are a
# power of two apart, of which there are K log K.
_EVERY_ONE_UP_TO = 8
# Chance that the first step leaves out what it should not; it is paid for in the p-value.
SELECTION_ERROR = 5e-4


@dataclasses.dataclass(frozen=True)
class ActionContrast:
    """One inequality ``weights @ means >= bound`` that a shape implies."""

    actions: tuple[int, ...]  # it is about, rising
    #: ">=" and "<=" of "slope", "value" and "curvature", whose bound of 0 is "concave" or
    #: "convex".
    kind: str
    weights: FloatArray  # (K,)
    bound: float  # in units of reward


def action_contrasts(
    shape: ShapeSet, positions: FloatArray, squares: FloatArray | None = None
) -> list[ActionContrast]:
    """Every inequality that is looked at; none for no shape.

    Of means over ranges of actions they hold too: means of a shape over ranges that do
    not overlap are in order where the shape is, at the mean actions.

    Args:
        shape: the shape.
        positions: of the actions, or mean actions of ranges, ``(K,)``.
        squares: mean squared actions, ``(K,)``; by default those of single actions.
    """
    size = len(positions)
    squares = positions**2 if squares is None else squares
    found: list[ActionContrast] = []

    def add(kind: str, weights: dict[int, float], bound: float) -> None:
        row = np.zeros(size)
        row[list(weights)] = list(weights.values())
        found.append(ActionContrast(tuple(sorted(weights)), kind, row, bound))

    for i, j in _far_apart(size, 2):
        gap = positions[j] - positions[i]
        if math.isfinite(shape.slope_lower):
            add("slope >=", {i: -1.0, j: 1.0}, shape.slope_lower * gap)
        if math.isfinite(shape.slope_upper):
            add("slope <=", {i: 1.0, j: -1.0}, -shape.slope_upper * gap)
    for k in range(size):
        if math.isfinite(shape.lower):
            add("value >=", {k: 1.0}, shape.lower)
        if math.isfinite(shape.upper):
            add("value <=", {k: -1.0}, -shape.upper)
    for i, j, k in _far_apart(size, 3):
        share = (positions[j] - positions[i]) / (positions[k] - positions[i])
        chord = {i: -(1.0 - share), j: 1.0, k: -share}
        # How far a parabola of curvature -1 is above its chord.
        height = -sum(weight * squares[a] for a, weight in chord.items()) / 2.0
        if math.isfinite(bound := shape.curvature_upper):
            add("curvature <=" if bound else "concave", chord, -bound * height)
        if math.isfinite(bound := shape.curvature_lower):
            dip = {a: -w for a, w in chord.items()}
            add("curvature >=" if bound else "convex", dip, bound * height)
    return found


def _far_apart(size: int, count: int) -> list[tuple[int, ...]]:
    """Which pairs or triples of actions are looked at."""
    if size <= _EVERY_ONE_UP_TO:
        return list(itertools.combinations(range(size), count))
    gaps = [1 << power for power in range(size.bit_length()) if 1 << power < size]
    return [
        tuple(range(first, first + count * gap, gap))
        for gap in gaps
        for first in range(size - (count - 1) * gap)
    ]


@dataclasses.dataclass(frozen=True)
class Estimates:
    """M estimated means that are tested together.

    Args:
        means: ``(M,)``.
        loadings: how each is made of P moments, ``(M, P)``.
        covariance: of the moments' estimates, ``(P, P)``.
        freedom: degrees of freedom of each mean's standard error, ``(M,)``; ``None``
            where the error is known.
    """

    means: FloatArray
    loadings: FloatArray
    covariance: FloatArray
    freedom: FloatArray | None = None

    @property
    def errors(self) -> FloatArray:
        """Standard errors, ``(M,)``."""
        variance = np.einsum(
            "mp,pq,mq->m", self.loadings, self.covariance, self.loadings, optimize=True
        )
        return np.asarray(np.sqrt(np.maximum(variance, 1e-300)))

    def scores(self) -> FloatArray:
        """Shortfalls in standard errors, ``(M,)``, as normal as their errors allow.

        As unlikely as this many known errors are so many estimated ones.
        """
        t = -self.means / self.errors
        if self.freedom is None:
            return t
        return np.asarray(-np.sign(t) * ndtri(stdtr(self.freedom, -np.abs(t))))

    def half_widths(self, critical: float) -> FloatArray:
        """Of intervals that go ``critical`` normal standard errors to either side."""
        if self.freedom is None:
            return critical * self.errors
        return np.asarray(-stdtrit(self.freedom, ndtr(-critical)) * self.errors)

    def noise(self, draws: int, seed: int) -> FloatArray:
        """Draws of the scores where every mean is 0, ``(draws, M)``."""
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        scaled = (self.loadings @ root) / self.errors[:, None]
        normal = np.random.default_rng(seed).standard_normal((draws, root.shape[1]))
        return np.asarray(normal @ scaled.T)


@dataclasses.dataclass(frozen=True)
class MaxTest:
    """What :func:`max_test` finds."""

    p_value: float  # of "every mean is at least 0"; at least 2 * SELECTION_ERROR
    lower: FloatArray  # ends of intervals that hold all means at once, (M,)
    upper: FloatArray
    rejected: npt.NDArray[np.bool_]  # below 0 with simultaneous confidence, (M,)


def max_test(
    estimates: Sequence[Estimates], level: float, draws: int, seed: int
) -> MaxTest:
    r"""Tests whether all estimated means are at least 0.

    The statistic is the largest studentised shortfall; its distribution is that of the
    maximum of a Gaussian vector with the estimates' covariance, which is what the
    Gaussian multiplier bootstrap draws from.  Inequalities that hold by far are left out
    first.  Both steps are those of Chernozhukov, Chetverikov and Kato, "Inference on
    causal and structural parameters using many moment inequalities", Review of Economic
    Studies 86 (2019), section 4 (two-step selection).

    Several groups of estimates are drawn as if they were independent.  However they
    depend on each other, a true null is then rejected with a chance of at most
    :math:`-\log(1 - \alpha)` at level :math:`\alpha`, 0.0513 at 0.05 (union bound).

    Args:
        estimates: groups of means; the results have them one after the other.
        level: of the test; intervals are two-sided at ``1 - level``.
        draws: of the bootstrap, whose stream is ``seed``'s.
    """
    scores = [group.scores() for group in estimates]
    largest, farthest = np.full(draws, -np.inf), np.zeros(draws)
    for number, group in enumerate(estimates):
        noise = group.noise(draws, seed + number)
        np.maximum(largest, noise.max(axis=1), out=largest)
        np.maximum(farthest, np.abs(noise).max(axis=1), out=farthest)
    first = critical = float(np.quantile(largest, 1.0 - SELECTION_ERROR))
    kept = [score > -2.0 * first for score in scores]
    # Where every inequality holds by far nothing is left to test.
    p_value = 1.0
    if any(of_group.any() for of_group in kept):
        largest = np.full(draws, -np.inf)
        for number, (group, of_group) in enumerate(zip(estimates, kept, strict=True)):
            if of_group.any():
                noise = group.noise(draws, seed + number)[:, of_group]
                np.maximum(largest, noise.max(axis=1), out=largest)
        worst = max(score.max() for score in scores)
        p_value = (1 + int((largest >= worst).sum())) / (1 + draws)
        share = max(1.0 - level + 2.0 * SELECTION_ERROR, 0.0)
        critical = float(np.quantile(largest, min(share, 1.0)))
    two_sided = float(np.quantile(farthest, 1.0 - level))
    means = np.concatenate([group.means for group in estimates])
    widths = np.concatenate([group.half_widths(two_sided) for group in estimates])
    return MaxTest(
        p_value=float(min(1.0, p_value + 2.0 * SELECTION_ERROR)),
        lower=means - widths,
        upper=means + widths,
        rejected=np.asarray(np.concatenate(scores) > critical),
    )
