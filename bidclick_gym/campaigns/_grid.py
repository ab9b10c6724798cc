"""Contexts as Gauss-Legendre nodes, remaining budgets as a uniform grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..auction import click_probability
from .campaign import BudgetedCampaign

FloatArray = npt.NDArray[np.float64]


def interpolate(
    values: FloatArray, budget: float, b: npt.ArrayLike, k: npt.NDArray[np.int64]
) -> FloatArray:
    """``V_k(b)`` by linear interpolation.

    Args:
        values: ``(T+1, G)``, on a uniform grid from 0 to ``budget``.
        budget: the largest budget of the grid.
        b: remaining budgets in [0, budget].
        k: impressions to come, integers, broadcast against ``b``.

    Returns:
        float64, the broadcast shape.
    """
    left, share = locate(np.asarray(b, np.float64), budget, values.shape[1])
    low = values[k, left]
    return np.asarray(low + share * (values[k, left + 1] - low))


class Grid:
    """What one step of backward induction needs, computed once.

    ``n`` nodes in each direction of the context, ``G`` budgets, ``K`` bids.

    Args:
        campaign: what is played.
        nodes: Gauss-Legendre nodes over ``x``, and as many over ``c``.
        budget_points: budgets from 0 to the campaign's, both included.
    """

    def __init__(self, campaign: BudgetedCampaign, nodes: int, budget_points: int):
        z, w = np.polynomial.legendre.leggauss(nodes)
        low, high = campaign.cost_range
        self.weights: FloatArray = w / 2.0
        self.x: FloatArray = (z + 1.0) / 2.0
        self.c: FloatArray = low + (high - low) * self.x
        self.budgets = np.linspace(0.0, campaign.budget, budget_points)
        # (n, K): over x and over c.
        self.clicks = click_probability(self.x[:, None], campaign.auction.bid_array)
        self.payments = self.c[:, None] * campaign.auction.bid_array
        # (G, n, K): over b, c and the bid.
        self.is_affordable = campaign.is_affordable(self.c, self.budgets[:, None])
        rest = np.maximum(self.budgets[:, None, None] - self.payments, 0.0)
        self._left, self._share = locate(rest, campaign.budget, budget_points)

    def after(self, values: FloatArray) -> FloatArray:
        """``V(b - c a) - c a``, ``(G, n, K)``; meaningless where a bid is refused.

        The click is missing: it depends on ``x`` and the rest does not, so contexts cost
        ``n`` interpolations and not ``n ** 2``.

        Args:
            values: ``V`` on the budgets, ``(G,)``.
        """
        low = values[self._left]
        rest = low + self._share * (values[self._left + 1] - low)
        return np.asarray(rest - self.payments)

    def move(self, values: FloatArray, bid: int) -> FloatArray:
        """``V(b - c a, ...)`` of one bid; meaningless where it is refused.

        Args:
            values: ``V`` on the budgets and one more coordinate, ``(G, S)``.
            bid: index of the bid ``a``.

        Returns:
            ``(G, S, n)``: over ``b``, the other coordinate and ``c``.
        """
        left, share = self._left[:, :, bid], self._share[:, :, bid, None]
        low = values[left]
        moved = low + share * (values[left + 1] - low)
        return np.asarray(moved.transpose(0, 2, 1))

    def mean(self, values: FloatArray) -> FloatArray:
        """Mean over contexts: ``(..., n, n)``, ``c`` before ``x``, to ``(...)``."""
        return np.asarray((values @ self.weights) @ self.weights)


def locate(
    b: FloatArray, budget: float, points: int
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """The point to the left on a uniform grid from 0 to ``budget``, and how far on."""
    position = b * ((points - 1) / budget)
    left = np.minimum(position.astype(np.int64), points - 2)
    return left, position - left
