r"""The normal form of every shape: bounds on values, slopes and curvatures.

With the actions at :math:`a_1 < \dots < a_K`, values ``v``, slopes
:math:`s_i = (v_{i+1} - v_i) / (a_{i+1} - a_i)` and curvatures
:math:`c_i = 2 (s_{i+1} - s_i) / (a_{i+2} - a_i)`, a :class:`ShapeSet` is

.. math:: \{ v : l \le s_i \le u,\ L \le v_i \le U,\ k \le c_i \le m \}.

Intersections of such sets are such sets, whether one is empty is a formula, and
projections and critics need to know nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

FloatArray = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class ShapeSet:
    """Bounds, infinite where there are none; does not depend on the actions."""

    slope_lower: float = -math.inf  # value per unit of action
    slope_upper: float = math.inf
    lower: float = -math.inf  # of values
    upper: float = math.inf
    curvature_lower: float = -math.inf  # per squared unit of action; convex from 0 on
    curvature_upper: float = math.inf  # concave up to 0

    def __and__(self, other: ShapeSet) -> ShapeSet:
        return ShapeSet(
            slope_lower=max(self.slope_lower, other.slope_lower),
            slope_upper=min(self.slope_upper, other.slope_upper),
            lower=max(self.lower, other.lower),
            upper=min(self.upper, other.upper),
            curvature_lower=max(self.curvature_lower, other.curvature_lower),
            curvature_upper=min(self.curvature_upper, other.curvature_upper),
        )

    def scaled(self, slope: float, shift: float = 0.0) -> ShapeSet:
        """The set of ``slope * v + shift`` for ``v`` in this one; ``slope`` positive."""
        return dataclasses.replace(
            self,
            slope_lower=slope * self.slope_lower,
            slope_upper=slope * self.slope_upper,
            lower=slope * self.lower + shift,
            upper=slope * self.upper + shift,
            curvature_lower=slope * self.curvature_lower,
            curvature_upper=slope * self.curvature_upper,
        )

    def without_parabola(self, positions: FloatArray) -> tuple[ShapeSet, FloatArray]:
        """The set of ``v - p``, and the parabola ``p``, ``(K,)``.

        It has the allowed curvature that is nearest to 0, so it is zero for most sets.
        """
        bend = self.flattest_curvature
        if bend == 0.0:
            return self, np.zeros(len(positions))
        middles = (positions[1:] + positions[:-1]) / 2.0
        # From here on both extreme slopes, the first and the last, move by as much.
        centre, reach = (middles[0] + middles[-1]) / 2.0, (middles[-1] - middles[0]) / 2.0
        rest = dataclasses.replace(
            self,
            slope_lower=self.slope_lower + abs(bend) * reach,
            slope_upper=self.slope_upper - abs(bend) * reach,
            curvature_lower=self.curvature_lower - bend,
            curvature_upper=self.curvature_upper - bend,
        )
        return rest, bend / 2.0 * (positions - centre) ** 2

    @property
    def flattest_curvature(self) -> float:
        """The allowed curvature that is nearest to 0."""
        return min(max(0.0, self.curvature_lower), self.curvature_upper)

    @property
    def concave(self) -> bool:
        """Whether slopes do not increase."""
        return self.curvature_upper <= 0.0

    @property
    def convex(self) -> bool:
        """Whether slopes do not decrease."""
        return self.curvature_lower >= 0.0

    @property
    def is_cone(self) -> bool:
        """Whether level and unit of the values do not matter."""
        bounds = (
            self.slope_lower,
            self.slope_upper,
            self.curvature_lower,
            self.curvature_upper,
        )
        return not self.has_value_bounds and not any(
            bound for bound in bounds if math.isfinite(bound)
        )

    @property
    def has_value_bounds(self) -> bool:
        """Whether any value is bounded."""
        return math.isfinite(self.lower) or math.isfinite(self.upper)

    @property
    def has_slope_bounds(self) -> bool:
        """Whether any slope is bounded."""
        return math.isfinite(self.slope_lower) or math.isfinite(self.slope_upper)

    @property
    def has_curvature(self) -> bool:
        """Whether any curvature is bounded: by 0, if slopes are in order."""
        bounds = self.curvature_lower, self.curvature_upper
        return any(math.isfinite(bound) for bound in bounds)

    def contradiction(self, span: float) -> str | None:
        """Why the set is empty over actions that span so much, or ``None``.

        A straight line of the flattest allowed slope is in the set if anything is.
        """
        if self.slope_lower > self.slope_upper:
            return (
                f"slopes of at least {self.slope_lower:g} and at most "
                f"{self.slope_upper:g}"
            )
        if self.curvature_lower > self.curvature_upper:
            return (
                f"curvatures of at least {self.curvature_lower:g} and at most "
                f"{self.curvature_upper:g}"
            )
        change = abs(self.flattest_curvature) * span
        if change > self.slope_upper - self.slope_lower:
            return (
                f"slopes that change by {change:g} over actions that span {span:g}, "
                f"between {self.slope_lower:g} and {self.slope_upper:g}"
            )
        if self.lower > self.upper:
            return f"values of at least {self.lower:g} and at most {self.upper:g}"
        flattest = min(max(0.0, self.slope_lower), self.slope_upper)
        if abs(flattest) * span > self.upper - self.lower:
            return (
                f"a slope of {flattest:g} over actions that span {span:g}, "
                f"between values {self.lower:g} and {self.upper:g}"
            )
        return None

    def inequalities(self, positions: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """``A`` of shape ``(m, K)`` and ``b`` of shape ``(m,)``: the set is ``A v >= b``.

        No row follows from others (a concave function above a bound at both ends is
        above it everywhere), except where the set has no interior.
        """
        positions = np.asarray(positions, dtype=np.float64)
        rows: list[FloatArray] = []
        bounds: list[FloatArray] = []

        def add(matrix: FloatArray, bound: npt.ArrayLike) -> None:
            rows.append(matrix)
            bounds.append(np.broadcast_to(np.asarray(bound, float), (len(matrix),)))

        gaps = np.diff(positions)
        values = np.eye(len(positions))
        steps = np.diff(values, axis=0)
        bends = np.diff(steps / gaps[:, None], axis=0)
        # Times the local spacing: rows of (-1, 2, -1) when actions are equidistant.
        spacing = (gaps[1:] + gaps[:-1]) / 2.0
        bends = bends * spacing[:, None]
        if math.isfinite(self.curvature_upper):
            add(-bends, -self.curvature_upper * spacing**2)
        if math.isfinite(self.curvature_lower):
            add(bends, self.curvature_lower * spacing**2)
        # Slopes in order: the first and the last one are the extreme ones.
        every, first, last = slice(None), slice(0, 1), slice(-1, None)
        smallest = last if self.concave else first if self.convex else every
        largest = first if self.concave else last if self.convex else every
        if math.isfinite(self.slope_lower):
            add(steps[smallest], self.slope_lower * gaps[smallest])
        if math.isfinite(self.slope_upper):
            add(-steps[largest], -self.slope_upper * gaps[largest])
        lowest, highest = self._extreme_values(len(positions))
        if math.isfinite(self.lower):
            add(values[lowest], self.lower)
        if math.isfinite(self.upper):
            add(-values[highest], -self.upper)
        if not rows:
            return np.zeros((0, len(positions))), np.zeros(0)
        return np.concatenate(rows), np.concatenate(bounds)

    def _extreme_values(self, size: int) -> tuple[list[int], list[int]]:
        """Where the lowest and the highest values can be."""
        ends, everywhere = [0, size - 1], list(range(size))
        if self.slope_lower >= 0.0:
            return [0], [size - 1]
        if self.slope_upper <= 0.0:
            return [size - 1], [0]
        return (ends if self.concave else everywhere, ends if self.convex else everywhere)

    def remove_rounding(
        self, values: torch.Tensor, positions: FloatArray
    ) -> torch.Tensor:
        """Moves float64 values ``(B, K)`` that are in the set up to rounding into it."""
        if self == ShapeSet():
            return values
        rest, parabola = self.without_parabola(positions)
        if rest is not self:
            taken = torch.as_tensor(parabola).to(values)
            values = rest.remove_rounding(values - taken, positions) + taken
            # Slopes next to 0 may be on the wrong side of it once more.
            if self.slope_lower >= 0.0:
                return running_maximum(values)
            return running_minimum(values) if self.slope_upper <= 0.0 else values
        values = self._with_slopes(values, positions)
        if not self.has_value_bounds:
            return values
        # Towards a point that is well inside, by as little as it takes: a mixture of two
        # members keeps slopes and curvature, which a cut would not.
        inside = self._line_inside(values, positions)
        over = (values - self.upper).clamp(min=0.0)
        under = (self.lower - values).clamp(min=0.0)
        outside, room = torch.maximum(over, under), (values - inside).abs()
        share = torch.where(outside > 0.0, outside / room.clamp(min=1e-300), 0.0)
        share = share.amax(dim=1, keepdim=True).clamp(max=1.0)
        mixed = torch.where(share > 0.0, values + share * (inside - values), values)
        return mixed.clamp(self.lower, self.upper)

    def _with_slopes(self, values: torch.Tensor, positions: FloatArray) -> torch.Tensor:
        if not self.has_slope_bounds and not self.has_curvature:
            return values
        bounds = (self.slope_lower, self.slope_upper)
        if not self.has_curvature and bounds == (0.0, math.inf):
            return running_maximum(values)
        if not self.has_curvature and bounds == (-math.inf, 0.0):
            return running_minimum(values)
        spacing = torch.as_tensor(np.diff(positions)).to(values)
        slopes = (values[:, 1:] - values[:, :-1]) / spacing
        if self.concave and self.convex:
            slopes = ((values[:, -1:] - values[:, :1]) / spacing.sum()).expand_as(slopes)
        elif self.has_curvature:
            # Each leaves the other's bound as it is; order, the last, is exact.
            passes = [
                (self.curvature_lower, running_maximum),
                (self.curvature_upper, running_minimum),
            ]
            middles = torch.as_tensor((positions[1:] + positions[:-1]) / 2.0).to(values)
            for bound, running in passes[:: -1 if self.convex else 1]:
                if bound == 0.0:
                    slopes = running(slopes)
                elif math.isfinite(bound):
                    slopes = running(slopes - bound * middles) + bound * middles
        slopes = slopes.clamp(*bounds)
        first = values[:, :1]
        return torch.cat([first, first + torch.cumsum(slopes * spacing, dim=1)], dim=1)

    def _line_inside(self, values: torch.Tensor, positions: FloatArray) -> torch.Tensor:
        """The flattest allowed line, in the middle between the value bounds."""
        slope = min(max(0.0, self.slope_lower), self.slope_upper)
        line = slope * (positions - (positions[0] + positions[-1]) / 2.0)
        if math.isfinite(self.lower) and math.isfinite(self.upper):
            middle = torch.full_like(values[:, :1], (self.lower + self.upper) / 2.0)
        else:
            # One bound: far enough on its inner side for the line to clear it.
            reach = float(np.abs(line).max())
            spread = values.amax(1, keepdim=True) - values.amin(1, keepdim=True) + reach
            base = self.lower if math.isfinite(self.lower) else self.upper
            middle = base + spread if math.isfinite(self.lower) else base - spread
        return middle + torch.as_tensor(line).to(values)


def running_maximum(values: torch.Tensor) -> torch.Tensor:
    """``out[:, i] = max(values[:, :i+1])``, shape ``(B, K)``."""
    if not is_exporting():
        return torch.cummax(values, dim=1).values
    # By shifts, in log2(K) steps: ONNX has no cumulative maximum.
    shift, size = 1, values.shape[1]
    while shift < size:
        ahead = torch.maximum(values[:, shift:], values[:, :-shift])
        values = torch.cat([values[:, :shift], ahead], dim=1)
        shift *= 2
    return values


def running_minimum(values: torch.Tensor) -> torch.Tensor:
    """``out[:, i] = min(values[:, :i+1])``, shape ``(B, K)``."""
    if not is_exporting():
        return torch.cummin(values, dim=1).values
    return -running_maximum(-values)


_rehearsing = False


@contextlib.contextmanager
def rehearsal() -> Iterator[None]:
    """Inside, operations run as they would be recorded into a graph."""
    global _rehearsing
    before, _rehearsing = _rehearsing, True
    try:
        yield
    finally:
        _rehearsing = before


def is_exporting() -> bool:
    """Whether operations are being recorded into a graph, which must be plain ones."""
    tracing = torch._C._get_tracing_state() is not None
    return _rehearsing or tracing or torch.compiler.is_exporting()
