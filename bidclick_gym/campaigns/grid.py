"""Backward induction: contexts as Gauss-Legendre nodes, budgets as a uniform grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .._arrays import FloatArray, IntArray
from ..auction import click_probability
from .campaign import BudgetedCampaign


class Grid:
    """What one step of backward induction needs, computed once.

    ``n`` nodes in each direction of the context, ``G`` budgets, ``K`` bids.
    """

    def __init__(self, campaign: BudgetedCampaign, nodes: int, budget_points: int):
        z, w = np.polynomial.legendre.leggauss(nodes)
        low, high = campaign.cost_range
        self.campaign = campaign
        self.bids = len(campaign.bids)
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
        self.left, self.share = locate(rest, campaign.budget, budget_points)

    def after(self, values: FloatArray) -> FloatArray:
        """``V(b - c a) - c a``, no click yet, ``(G, n, K)``; not for refused bids."""
        low = values[self.left]
        rest = low + self.share * (values[self.left + 1] - low)
        return np.asarray(rest - self.payments)

    def mean(self, values: FloatArray) -> FloatArray:
        """Mean over contexts: ``(..., n, n)``, ``c`` before ``x``, to ``(...)``."""
        return np.asarray((values @ self.weights) @ self.weights)


def halved(points: int) -> int:
    """Points of a grid of twice the distance."""
    return (points - 1) // 2 + 1


def interpolate(
    values: FloatArray, budget: float, b: npt.ArrayLike, k: IntArray
) -> FloatArray:
    """``V_k(b)``, linear between ``values``, ``(T+1, G)``, on a grid of budgets."""
    left, share = locate(np.asarray(b, np.float64), budget, values.shape[1])
    low = values[k, left]
    return np.asarray(low + share * (values[k, left + 1] - low))


def locate(b: FloatArray, budget: float, points: int) -> tuple[IntArray, FloatArray]:
    """The point to the left on a uniform grid from 0 to ``budget``, and how far on."""
    position = b * ((points - 1) / budget)
    left = np.minimum(position.astype(np.int64), points - 2)
    return left, position - left
