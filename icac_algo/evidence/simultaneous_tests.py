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

import numpy as np
import numpy.typing as npt

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
    kind: str  # "slope >=", "slope <=", "value >=", "value <=", "concave" or "convex"
    weights: FloatArray  # (K,)
    bound: float  # in units of reward


def action_contrasts(shape: ShapeSet, positions: FloatArray) -> list[ActionContrast]:
    """Every inequality that is looked at; none for no shape."""
    size = len(positions)
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
        if shape.concave:
            add("concave", chord, 0.0)
        if shape.convex:
            add("convex", {a: -w for a, w in chord.items()}, 0.0)
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
class MaxTest:
    """What :func:`max_test` finds."""

    p_value: float  # of "every mean is at least 0"; at least 2 * SELECTION_ERROR
    lower: FloatArray  # ends of intervals that hold all means at once, (M,)
    upper: FloatArray
    rejected: npt.NDArray[np.bool_]  # below 0 with simultaneous confidence, (M,)


def max_test(
    means: FloatArray,
    loadings: FloatArray,
    covariance: FloatArray,
    level: float,
    draws: int,
    seed: int,
) -> MaxTest:
    """Tests whether M estimated means are all at least 0.

    The statistic is the largest studentised shortfall; its distribution is that of the
    maximum of a Gaussian vector with the estimates' covariance, which is what the
    Gaussian multiplier bootstrap draws from.  Inequalities that hold by far are left out
    first.  Both steps are those of Chernozhukov, Chetverikov and Kato, "Inference on
    causal and structural parameters using many moment inequalities", Review of Economic
    Studies 86 (2019), section 4 (two-step selection).

    Args:
        means: estimates, ``(M,)``.
        loadings: how each is made of P moments, ``(M, P)``.
        covariance: of the moments' estimates, ``(P, P)``.
        level: of the test; intervals are two-sided at ``1 - level``.
        draws: of the bootstrap, whose stream is ``seed``'s.
    """
    variance = np.einsum("mp,pq,mq->m", loadings, covariance, loadings)
    errors = np.sqrt(np.maximum(variance, 1e-300))
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    scaled = (loadings @ root) / errors[:, None]
    normal = np.random.default_rng(seed).standard_normal((draws, root.shape[1]))
    noise = normal @ scaled.T
    t = -means / errors
    first = np.quantile(noise.max(axis=1), 1.0 - SELECTION_ERROR)
    kept = t > -2.0 * first
    # Where every inequality holds by far nothing is left to test.
    p_value, critical = 1.0, first
    if kept.any():
        largest = np.sort(noise[:, kept].max(axis=1))
        p_value = (1 + int((largest >= t.max()).sum())) / (1 + draws)
        share = max(1.0 - level + 2.0 * SELECTION_ERROR, 0.0)
        critical = np.quantile(largest, min(share, 1.0))
    two_sided = np.quantile(np.abs(noise).max(axis=1), 1.0 - level)
    return MaxTest(
        p_value=float(min(1.0, p_value + 2.0 * SELECTION_ERROR)),
        lower=means - two_sided * errors,
        upper=means + two_sided * errors,
        rejected=np.asarray(t > critical),
    )
