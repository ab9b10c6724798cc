r"""Projection onto concave values, with bounds on slopes, by an active set of knots.

Such values are straight between the knots, the actions where their slope changes.  Given
the knots the nearest values are a least squares problem in hat functions, whose matrix is
tridiagonal and well conditioned at any length; one banded solve serves a whole batch.
Knots are added where a multiplier asks for it, one between two neighbours, and dropped
where the slope would rise: the active set method of Nocedal and Wright, "Numerical
Optimization", section 16.5, whose objective falls until no multiplier is negative.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import solveh_banded

from ..normal_form import ShapeSet
from .jacobians import Jacobian

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

# Blocks of rows of about so many values stay in the processor's cache.
_BLOCK = 65536
# A knot that moves its value by a smaller share of the row's size is rounding.
_ROUNDING = 1e-12
# So is one that was dropped so often: without rounding no set of knots comes back.
_MOST_DROPS = 20


def is_curved_one_way(shape_set: ShapeSet) -> bool:
    """Whether the set is concave, or convex, and values are free."""
    one_way = (shape_set.curvature_lower, shape_set.curvature_upper) in (
        (-math.inf, 0.0),
        (0.0, math.inf),
    )
    return one_way and not shape_set.has_value_bounds


def project_onto_curved(
    values: torch.Tensor, shape_set: ShapeSet, positions: FloatArray
) -> tuple[torch.Tensor, Jacobian]:
    """The projection of float64 ``(B, K)`` on the CPU, and its Jacobian."""
    sign, slopes = 1.0, (shape_set.slope_upper, shape_set.slope_lower)
    if shape_set.convex:
        sign, slopes = -1.0, (-shape_set.slope_lower, -shape_set.slope_upper)
    rows = sign * values.detach().cpu().numpy()
    block = max(1, _BLOCK // len(positions))
    found = [
        _project_block(rows[i : i + block], positions, slopes)
        for i in range(0, len(rows), block)
    ]
    nearest, knots = (np.concatenate(parts) for parts in zip(*found, strict=True))

    def jacobian(grad: torch.Tensor) -> torch.Tensor:
        polygons = _Polygons(knots, positions)
        fitted, _ = polygons.fit(grad.double().cpu().numpy(), (0.0, 0.0))
        return torch.as_tensor(fitted).to(grad)

    return torch.as_tensor(sign * nearest).to(values), jacobian


def _project_block(
    values: FloatArray, positions: FloatArray, slopes: tuple[float, float]
) -> tuple[FloatArray, BoolArray]:
    """The nearest concave values and their knots, ``(B, K)`` each.

    ``slopes`` are the largest, of the first action, and the smallest, of the last.  Where
    it is finite, the end is a knot if its slope differs from it; else it always is.
    """
    level = values.mean(axis=1, keepdims=True)
    nearest, all_knots = np.empty_like(values), np.empty(values.shape, dtype=bool)
    # Only rows that are not done stay in the arrays below.
    left, values = np.arange(len(values)), values - level
    sizes = np.abs(values).max(axis=1, keepdims=True)
    knots = np.zeros(values.shape, dtype=bool)
    knots[:, [0, -1]] = np.isinf(slopes)
    if not knots[0].any():
        knots[:, 0] = True
    # A feasible point: straight lines, by how much the slope falls at each knot.
    falls = np.where(knots, min(1.0, slopes[0] - slopes[1]), 0.0)
    dropped = np.zeros(values.shape, dtype=np.int8)
    while len(left):
        polygons = _Polygons(knots, positions)
        fitted, target = polygons.fit(values, slopes)
        pull, height = polygons.pull(fitted - values)
        feasible = polygons.step(falls, target, knots, dropped)
        pull[(pull <= _ROUNDING * sizes * height) | (dropped >= _MOST_DROPS)] = 0.0
        asks = polygons.highest(pull) & (pull > 0.0)
        done = feasible & ~asks.any(axis=1)
        nearest[left[done]], all_knots[left[done]] = fitted[done], knots[done]
        knots |= asks & feasible[:, None]
        left, values, sizes = left[~done], values[~done], sizes[~done]
        falls, knots, dropped = falls[~done], knots[~done], dropped[~done]
    return nearest + level, all_knots


class _Polygons:
    """Values that are straight between knots ``(B, K)``, all rows one after the other.

    Pieces start at knots and at each row's first action.  Where that is no knot, the
    slope before the first knot is given, as is the one after the last.
    """

    def __init__(self, knots: BoolArray, positions: FloatArray):
        self._shape = rows, size = knots.shape
        breaks = knots.copy()
        breaks[:, 0] = True
        self._starts = np.flatnonzero(breaks)
        self._row, column = np.divmod(self._starts, size)
        self._first = column == 0
        self._last = np.append(self._first[1:], True)
        self._tied = self._first & ~knots[self._row, 0]
        self._counts = np.diff(self._starts, append=rows * size)
        self._piece = np.repeat(np.arange(len(column)), self._counts)
        begin = positions[column]
        end = np.append(begin[1:], 0.0)
        self._width = np.where(self._last, 1.0, end - begin)
        fixed = self._last | self._tied
        share = np.where(fixed, 0.0, 1.0 / self._width)
        # Of the knot at the end of the piece, at every action; the rest is the other's.
        self._share = (np.tile(positions, rows) - begin[self._piece]) * share[self._piece]
        self._share += self._tied[self._piece]
        self._anchor = np.where(self._tied, end, begin)
        self._positions = positions

    def fit(
        self, values: FloatArray, slopes: tuple[float, float]
    ) -> tuple[FloatArray, FloatArray]:
        """The nearest such values, and the fall of their slope at every start."""
        first, last, share = self._first, self._last, self._share
        given = np.where(self._tied, slopes[0], np.where(last, slopes[1], 0.0))
        given[np.isinf(given)] = 0.0
        line = np.zeros(())
        if given.any():
            along = np.tile(self._positions, len(values)) - self._anchor[self._piece]
            line = given[self._piece] * along
        flat = values.reshape(-1) - line
        one, two, level, moment = (
            np.add.reduceat(sums, self._starts)
            for sums in (share, share * share, flat, share * flat)
        )
        # Normal equations; a piece adds to the knots at its two ends, the last to none.
        diagonal = np.append(self._counts - 2.0 * one + two, 1.0)
        target = np.append(level - moment, 0.0)
        diagonal[1:] += np.where(last, 0.0, two)
        target[1:] += np.where(last, 0.0, moment)
        beside = np.append(np.where(last | self._tied, 0.0, one - two), 0.0)
        diagonal[:-1][self._tied], target[:-1][self._tied] = 1.0, 0.0
        band = np.stack([diagonal, beside])
        at = solveh_banded(band, target, lower=True, check_finite=False)
        rise = np.where(last, 0.0, np.diff(at))
        fitted = at[self._piece] + share * rise[self._piece] + line
        slope = np.where(last, slopes[1], rise / self._width)
        slope[self._tied] = slopes[0]
        falls = np.where(first, slopes[0], np.append(0.0, slope[:-1])) - slope
        return fitted.reshape(self._shape), falls

    def pull(self, residual: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Negative multipliers of the slope's fall at every action, ``(B, K)``.

        And the height of the bump that a kink there makes of a line: their ratio is how
        far a knot would move its value, at most.
        """
        moments = np.zeros_like(residual)
        np.cumsum(residual[:, :-1], axis=1, out=moments[:, 1:])
        moments[:, 1:] *= np.diff(self._positions)
        np.cumsum(moments, axis=1, out=moments)
        flat = moments.reshape(-1)
        # Moments are the same at all knots: a free kink has no derivative.
        flat -= flat[self._starts + np.where(self._tied, self._counts, 0)][self._piece]
        along = np.tile(self._positions, len(residual)) - self._anchor[self._piece]
        ramp = (self._tied | self._last)[self._piece]
        height = np.where(ramp, np.abs(along), along * (1.0 - self._share))
        return moments, height.reshape(self._shape)

    def step(
        self,
        falls: FloatArray,
        target: FloatArray,
        knots: BoolArray,
        dropped: npt.NDArray[np.int8],
    ) -> BoolArray:
        """Moves ``falls`` as far to their target as they stay positive, in place.

        Knots whose fall ends there are dropped; says which rows had none, ``(B,)``.
        """
        now = falls.reshape(-1)[self._starts]
        wrong = np.flatnonzero(target < 0.0)
        ratio = now[wrong] / (now[wrong] - target[wrong])
        length = np.ones(len(falls))
        np.minimum.at(length, self._row[wrong], ratio)
        steps = length[self._row]
        # Free ends, whose fall has no bound, stay as they are.
        free = np.isinf(target)
        moved = now + steps * np.where(free, 0.0, np.where(free, now, target) - now)
        ended = wrong[ratio <= steps[wrong]]
        moved[ended] = 0.0
        falls.reshape(-1)[self._starts] = moved
        knots.reshape(-1)[self._starts[ended]] = False
        dropped.reshape(-1)[self._starts[ended]] += 1
        feasible = np.ones(len(falls), dtype=bool)
        feasible[self._row[wrong]] = False
        return feasible

    def highest(self, values: FloatArray) -> BoolArray:
        """Where each piece has its highest value, ``(B, K)``."""
        flat = values.reshape(-1)
        highest = np.maximum.reduceat(flat, self._starts)
        return (flat == highest[self._piece]).reshape(self._shape)
