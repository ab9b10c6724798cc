r"""The exact optimum of a campaign under a budget, by backward induction.

It is that of `BudgetedCampaign`, undiscounted.  The mean is Gauss-Legendre quadrature,
:math:`V_{k-1}` is linear between the points of a uniform grid of budgets; nothing is
sampled.

Where the budget is nearly spent the value is nearly a staircase: with many impressions to
come, ``V_k`` leaps where the rest pays for one more of the cheapest bids (at multiples of
0.05 for the default campaign).  Away from the leaps the values converge fast, beside them
slowly, which is why a solution carries two errors.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import numpy.typing as npt

from .._arrays import AnyArray, FloatArray, IntArray
from .._checks import check_integer, check_number, check_range
from ..auction import click_probability
from .campaign import BudgetedCampaign, check_campaign, check_observations
from .grid import Grid, halved, interpolate

FIRST_NODES = 16
FIRST_BUDGET_POINTS = 1001
LEVELS = 4
# Entries of a table that stays in the cache.
CACHED = 65_536


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """Optimal values of a campaign.  Arrays are read-only.

    Args:
        campaign: what is played.
        budgets: uniform grid from 0 to the campaign's budget, ``(G,)``.
        values: ``values[k]`` is ``V_k`` on the grid, ``(T+1, G)``, in units of one click.
        nodes: quadrature nodes in each direction of the context.
        error: by how much ``V_T(B)`` changed from half as many nodes and budgets.
        grid_error: the largest such change of any ``V_k(b)``; it sits beside the leaps of
            ``V_k`` at small budgets.
    """

    campaign: BudgetedCampaign
    budgets: FloatArray
    values: FloatArray
    nodes: int
    error: float
    grid_error: float

    @property
    def budget_points(self) -> int:
        """Number of budgets on the grid, ``G``."""
        return len(self.budgets)

    @property
    def optimal_value(self) -> float:
        """``V_T(B)``: the most that a whole campaign can earn in expectation."""
        return float(self.values[-1, -1])

    def value(
        self, budget_left: float | None = None, impressions_left: int | None = None
    ) -> float:
        """``V_k(b)`` before the context of the next impression is seen.

        Args:
            budget_left: ``b`` in [0, B]; the whole budget if not given.
            impressions_left: ``k`` in 0, ..., T; all impressions if not given.

        Raises:
            ValueError: an argument is outside these bounds.
        """
        b = self.campaign.budget if budget_left is None else budget_left
        k = self.campaign.impressions if impressions_left is None else impressions_left
        return float(self.value_at(b, k))

    def value_at(
        self, budget_left: npt.ArrayLike, impressions_left: npt.ArrayLike
    ) -> FloatArray:
        """``V_k(b)`` of many states: `value` of arrays that are broadcast, float64."""
        b = self._check_budget(budget_left)
        k = self._check_impressions(impressions_left)
        return interpolate(self.values, self.campaign.budget, b, k)

    def q_at(
        self,
        x: npt.ArrayLike,
        c: npt.ArrayLike,
        budget_left: npt.ArrayLike,
        impressions_left: npt.ArrayLike,
    ) -> FloatArray:
        """``Q_k(x, c, b, a)`` of every bid; a refused bid is worth what a bid of 0 is.

        Args:
            x: query descriptors in [0, 1], any shape.
            c: costs per unit of bid, at least 0.
            budget_left: ``b`` in [0, B].
            impressions_left: ``k`` in 0, ..., T, this impression included; where it is 0
                nothing can be earned.  All four are broadcast.

        Raises:
            ValueError: an argument is outside these bounds.

        Returns:
            float64, the broadcast shape and one more axis for the bids.
        """
        x = check_range("x", x, 0.0, 1.0)
        c = check_range("c", c, 0.0, math.inf)
        b = self._check_budget(budget_left)
        k = self._check_impressions(impressions_left)
        x, c, b, k = np.broadcast_arrays(x, c, b, k)
        bids = self.campaign.auction.bid_array
        counted = np.where(self.campaign.is_affordable(c, b), bids, 0.0)
        payment = c[..., None] * counted
        to_come = np.maximum(k - 1, 0)[..., None]
        later = interpolate(
            self.values, self.campaign.budget, b[..., None] - payment, to_come
        )
        q = click_probability(x[..., None], counted) - payment + later
        return np.where(k[..., None] == 0, 0.0, q)

    def q_values(self, observations: AnyArray) -> FloatArray:
        """`q_at` of observations ``(x, c, b / B, k / T)``: ``(N, 4)`` to ``(N, K)``.

        Raises:
            ValueError: ``observations`` are of another shape, or outside their bounds.
        """
        return self.q_at(*self._read(observations))

    def greedy(self, observations: AnyArray) -> IntArray:
        """Indices of the best bids, ``(N,)``; ties to the lowest, never a refused bid.

        What can be paid is read from the observation: a budget that float32 rounded up to
        exactly a bid's cost may still be refused, and then counts as a bid of 0.
        Arguments and errors are those of `q_values`.
        """
        # A refused bid ties with bid 0, the first, and argmax takes the first.
        return self.q_values(observations).argmax(axis=1)

    def _read(self, observations: AnyArray) -> tuple[AnyArray, ...]:
        observations = check_observations(observations)
        # Beyond these bounds rounding k to an integer means nothing.
        check_range("observations", observations[:, 2:], 0.0, 1.0)
        return self.campaign.read(observations)

    def _check_budget(self, b: npt.ArrayLike) -> FloatArray:
        checked = check_range("budget_left", b, 0.0, self.campaign.budget)
        return checked.astype(np.float64)

    def _check_impressions(self, k: npt.ArrayLike) -> IntArray:
        k = np.asarray(k)
        if k.dtype.kind not in "iu":
            raise ValueError(f"impressions_left must be integers, got {k.dtype}")
        checked = check_range("impressions_left", k, 0, self.campaign.impressions)
        return checked.astype(np.int64)


def solve(
    campaign: BudgetedCampaign | None = None,
    *,
    nodes: int | None = None,
    budget_points: int | None = None,
    tolerance: float = 1e-4,
) -> Solution:
    """The optimum of a campaign, remembered for the rest of the process.

    What is not given is doubled, from 16 nodes and 1001 budgets, until ``V_T(B)`` changes
    by less than ``tolerance``, three times at most.  The default campaign ends at 32
    nodes and 2001 budgets with 30.73655, ``error`` 6e-5; twice as many change it by 4e-6.

    Args:
        campaign: what is played; the default campaign if not given.
        nodes: quadrature nodes in each direction of the context, at least 2.
        budget_points: budgets on the grid, at least 3.
        tolerance: largest change to stop at, in units of one click, positive.  It asks
            nothing of ``grid_error``, which no affordable grid makes as small.  Without
            effect where both numbers are given; the errors are measured there too.

    Raises:
        TypeError: ``campaign`` is something else.
        ValueError: a number is outside these bounds.
    """
    campaign = check_campaign(campaign)
    if nodes is not None:
        check_integer("nodes", nodes, 2)
    if budget_points is not None:
        check_integer("budget_points", budget_points, 3)
    tolerance = check_number("tolerance", tolerance, 0.0, open=True)
    return _solve(campaign, nodes, budget_points, tolerance)


@functools.lru_cache(maxsize=32)
def _solve(
    campaign: BudgetedCampaign,
    nodes: int | None,
    budget_points: int | None,
    tolerance: float,
) -> Solution:
    first = budget_points or _first_budget_points(campaign)
    levels = [
        (nodes or FIRST_NODES * 2**i, budget_points or (first - 1) * 2**i + 1)
        for i in range(LEVELS)
    ]
    if nodes and budget_points:
        levels = [(nodes // 2, halved(budget_points)), (nodes, budget_points)]
    values = optimal_values(Grid(campaign, *levels[0]))
    for n, points in levels[1:]:
        coarse, values = values, optimal_values(Grid(campaign, n, points))
        change = _change(coarse, values)
        error = float(change[-1, -1])
        if error < tolerance:
            break
    budgets = np.linspace(0.0, campaign.budget, points)
    for array in (budgets, values):
        array.setflags(write=False)
    return Solution(campaign, budgets, values, n, error, float(change.max()))


def _first_budget_points(campaign: BudgetedCampaign) -> int:
    # Ten points to the dearest bid at least, however large the budget.
    dearest = campaign.cost_range[1] * campaign.bids[-1]
    return max(FIRST_BUDGET_POINTS, math.ceil(10.0 * campaign.budget / dearest) + 1)


def optimal_values(grid: Grid) -> FloatArray:
    """``V_k`` on the budgets of a grid, ``(T+1, G)``; nothing is remembered."""
    values = np.zeros((grid.campaign.impressions + 1, len(grid.budgets)))
    rows = max(1, CACHED // len(grid.x) ** 2)
    for k in range(1, len(values)):
        # No click yet, (G, n, K): over b, c and the bid.
        after = np.where(grid.is_affordable, grid.after(values[k - 1]), -np.inf)
        for start in range(0, len(after), rows):
            part = after[start : start + rows, :, None]
            best = part[..., 0] + grid.clicks[:, 0]
            other = np.empty_like(best)
            for bid in range(1, grid.bids):
                np.add(part[..., bid], grid.clicks[:, bid], out=other)
                np.maximum(best, other, out=best)
            values[k, start : start + rows] = grid.mean(best)
    return values


def _change(coarse: FloatArray, fine: FloatArray) -> FloatArray:
    """How far the values of a coarse grid are from a finer one's, on the coarse grid."""
    left = np.linspace(0.0, 1.0, coarse.shape[1])
    k = np.arange(len(coarse))[:, None]
    return np.asarray(np.abs(interpolate(fine, 1.0, left, k) - coarse))
