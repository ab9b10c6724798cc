r"""What a shape says of mean rewards, as linear inequalities between few actions.

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

__all__ = ["ActionContrast", "action_contrasts"]

FloatArray = npt.NDArray[np.float64]
# Up to so many actions every pair and triple is looked at; beyond, those that are a
# power of two apart, of which there are K log K.
_EVERY_ONE_UP_TO = 8


@dataclasses.dataclass(frozen=True)
class ActionContrast:
    """One inequality ``weights @ means >= bound`` that a shape implies.

    Args:
        actions: the actions it is about, rising.
        kind: ``"slope >="``, ``"slope <="``, ``"value >="``, ``"value <="``,
            ``"concave"`` or ``"convex"``.
        weights: ``(K,)``.
        bound: in units of reward.
    """

    actions: tuple[int, ...]
    kind: str
    weights: FloatArray
    bound: float


def action_contrasts(shape: ShapeSet, positions: FloatArray) -> list[ActionContrast]:
    """Every inequality that is looked at; none for no shape."""
    size = len(positions)
    found: list[ActionContrast] = []

    def add(kind: str, weights: dict[int, float], bound: float) -> None:
        row = np.zeros(size)
        row[list(weights)] = list(weights.values())
        found.append(ActionContrast(tuple(sorted(weights)), kind, row, bound))

    for i, j in _pairs(size):
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
    for i, j, k in _triples(size):
        share = (positions[j] - positions[i]) / (positions[k] - positions[i])
        chord = {i: -(1.0 - share), j: 1.0, k: -share}
        if shape.concave:
            add("concave", chord, 0.0)
        if shape.convex:
            add("convex", {a: -w for a, w in chord.items()}, 0.0)
    return found


def _pairs(size: int) -> list[tuple[int, int]]:
    if size <= _EVERY_ONE_UP_TO:
        return list(itertools.combinations(range(size), 2))
    return [(i, i + gap) for gap in _gaps(size) for i in range(size - gap)]


def _triples(size: int) -> list[tuple[int, int, int]]:
    if size <= _EVERY_ONE_UP_TO:
        return list(itertools.combinations(range(size), 3))
    return [
        (i, i + gap, i + 2 * gap) for gap in _gaps(size) for i in range(size - 2 * gap)
    ]


def _gaps(size: int) -> list[int]:
    return [1 << power for power in range(size.bit_length()) if 1 << power < size]
