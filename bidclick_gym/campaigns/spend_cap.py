r"""The exact optimum of a campaign under a cap on spending per window.

Windows are blocks of :math:`w` consecutive impressions.  Beside the remaining budget
:math:`b` the state holds :math:`s`, what the current block has paid.  With :math:`k`
impressions to come,

.. math:: V_k(b, s) = \mathbb{E}_{x, c} \max_{a : c a \le b,\, s + c a \le \text{cap}}
    \left[ p(x, a) - c a + V_{k-1}(b - c a, s') \right], \quad V_0 = 0,

where :math:`s' = s + c a`, or 0 if the next impression opens a block.  The mean is
Gauss-Legendre quadrature, :math:`V_{k-1}` bilinear on a grid; nothing is sampled.

The optimum for tumbling windows bounds that for sliding ones of the same size and cap
from above, for whoever keeps the sliding cap keeps the tumbling one.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from .._arrays import AnyArray, FloatArray, IntArray
from .._checks import check_integer, check_range
from ..auction import click_probability
from .campaign import BudgetedCampaign, check_campaign, check_history
from .grid import Grid, Payoff, Worth, backward, halved, locate
from .history import HistorySolution
from .safety import SpendCap


@dataclasses.dataclass(frozen=True, eq=False)
class SpendCapSolution(HistorySolution):
    """Optimal values of a campaign under a spend cap.  Arrays are read-only.

    Args:
        campaign: what is played.
        cap: what is kept.
        values: ``values[k]`` is ``V_k(b, s)`` on uniform grids of ``b`` from 0 to the
            budget and of ``s`` from 0 to the cap, ``(T+1, G, S)``, in units of one click.
        nodes: quadrature nodes in each direction of the context.
        error: by how much ``V_T(B, 0)`` changed from half the resolution.
    """

    campaign: BudgetedCampaign
    cap: SpendCap
    values: FloatArray
    nodes: int
    error: float

    @property
    def optimal_value(self) -> float:
        """``V_T(B, 0)``: the most that a whole campaign can earn and keep the cap."""
        return float(self.values[-1, -1, 0])

    def q_at(
        self,
        x: npt.ArrayLike,
        c: npt.ArrayLike,
        budget_left: npt.ArrayLike,
        spent: npt.ArrayLike,
        impressions_left: npt.ArrayLike,
    ) -> FloatArray:
        """``Q_k(x, c, b, s, a)`` of every bid; -inf where it is forbidden or refused.

        Arguments and result are those of `Solution.q_at`, and what the current block has
        ``spent``, ``s``, from 0 to the cap; ``impressions_left`` is at least 1.

        Raises:
            ValueError: ``impressions_left`` is out of these bounds.
        """
        x, c, b, s, k = np.broadcast_arrays(x, c, budget_left, spent, impressions_left)
        payment = c[..., None] * self.campaign.auction.bid_array
        check_range("impressions_left", k, 1, self.campaign.impressions)
        k = k.astype(np.int64)[..., None]
        opens_block = (self.campaign.impressions - k + 1) % self.cap.window == 0
        after = np.where(opens_block, 0.0, s[..., None] + payment)
        rest = b[..., None] - payment
        allowed = (rest >= 0.0) & (s[..., None] + payment <= self.cap.cap)
        # A bid of 0 keeps whatever a history has broken already.
        allowed |= payment == 0.0
        j, v = _locate_spent(after, self.cap.cap, self.values.shape[2])
        low, high = self._later(k, rest, j), self._later(k, rest, j + 1)
        later = low + v * (high - low)
        clicks = click_probability(x[..., None], self.campaign.auction.bid_array)
        return np.where(allowed, clicks - payment + later, -np.inf)

    def _state(self, rows: int, payments: Any, clicks: Any) -> AnyArray:
        return self.cap.spent(check_history("payments", payments, rows))


def solve_spend_cap(
    cap: SpendCap,
    campaign: BudgetedCampaign | None = None,
    *,
    nodes: int = 8,
    budget_points: int = 201,
    spend_points: int = 81,
) -> SpendCapSolution:
    """The optimum of a campaign under a cap on spending per block of impressions.

    Args:
        cap: what is kept; its windows tumble.
        campaign: what is played; the default campaign if not given.
        nodes: quadrature nodes in each direction of the context, at least 4.
        budget_points: budgets on the grid, at least 5.
        spend_points: spendings of a block on the grid, at least 5.

    Raises:
        TypeError: ``cap`` is no `SpendCap`, or ``campaign`` no campaign.
        ValueError: a number is too small, or windows slide: then the state would be all
            payments of the last ``window - 1`` impressions.
    """
    if not isinstance(cap, SpendCap):
        raise TypeError(f"cap must be a SpendCap, got {cap!r}")
    if cap.sliding:
        raise ValueError(f"cap must have tumbling windows, sliding=False, got {cap!r}")
    campaign = check_campaign(campaign)
    grid = Grid.checked(campaign, nodes, budget_points, (4, 5))
    check_integer("spend_points", spend_points, 5)
    coarse = _values(grid.halved(), cap, halved(spend_points))
    values = _values(grid, cap, spend_points)
    values.setflags(write=False)
    error = abs(float(values[-1, -1, 0] - coarse[-1, -1, 0]))
    return SpendCapSolution(campaign, cap, values, nodes, error)


def _values(grid: Grid, cap: SpendCap, spend_points: int) -> FloatArray:
    """``V_k(b, s)``, ``(T+1, G, S)``."""
    nothing = np.zeros((len(grid.budgets), spend_points))
    return np.stack([nothing, *backward(grid, nothing, _payoff(grid, cap, spend_points))])


def _payoff(grid: Grid, cap: SpendCap, spend_points: int) -> Payoff:
    """Profit, over what is left of the budget and what the block has paid."""
    spent = np.linspace(0.0, cap.cap, spend_points)
    # (S, n, K): over s, c and the bid.
    total = spent[:, None, None] + grid.payments
    keeps = (total <= cap.cap) | (grid.payments == 0.0)
    place, share = _locate_spent(total, cap.cap, spend_points)
    over_c = np.arange(len(grid.c))

    def worth(later: FloatArray, k: int, bid: int) -> Worth:
        if (grid.campaign.impressions - k + 1) % cap.window == 0:
            later = np.broadcast_to(later[:, :1], later.shape)
        # (G, S, n): for the budget, the block's spending and the cost.
        moved, at = grid.move(later, bid), place[..., bid]
        low = moved[:, at, over_c]
        rest = low + share[..., bid] * (moved[:, at + 1, over_c] - low)
        is_allowed = grid.is_affordable[:, None, :, bid] & keeps[..., bid]
        return np.where(is_allowed, rest - grid.payments[:, bid], -np.inf), None

    return worth


def _locate_spent(
    spent: FloatArray, cap: float, points: int
) -> tuple[IntArray, FloatArray]:
    # Beyond the cap, and with a cap of 0, only what is free is read: any place will do.
    return locate(np.minimum(spent, cap), cap or 1.0, points)
