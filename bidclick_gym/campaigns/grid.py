"""Backward induction: contexts as Gauss-Legendre nodes, budgets as a uniform grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .._arrays import FloatArray, IntArray
from .._checks import check_integer
from ..auction import click_probability
from .campaign import BudgetedCampaign

#: What one bid is worth over ``(..., c)``: without a click, -inf where it is not
#: allowed, and what a click adds (one click if None).
Worth: TypeAlias = tuple[FloatArray, FloatArray | None]
#: Values with ``k - 1`` impressions to come, ``k`` and the index of a bid to its worth.
Payoff: TypeAlias = Callable[[FloatArray, int, int], Worth]

# Entries of a table that stays in the cache.
CACHED = 65_536


def backward(grid: Grid, values: FloatArray, payoff: Payoff) -> Iterator[FloatArray]:
    r"""Values with 1, 2, ..., T impressions to come.

    .. math:: V_k(s) = \mathbb{E}_{x, c} \max_a \left[ w_k(s, c, a)
        + p(x, a) \, y_k(s, c, a) \right],

    where the payoff says :math:`w` and :math:`y`.  The first axis of states is the
    remaining budget; ``values`` are those with nothing to come.
    """
    for k in range(1, grid.campaign.impressions + 1):
        worths = [payoff(values, k, bid) for bid in range(grid.bids)]
        shape = worths[0][0].shape
        values = np.empty(shape[:-1])
        rows = max(1, CACHED // (values[0].size * shape[-1] * len(grid.x)))
        for start in range(0, len(values), rows):
            part = slice(start, start + rows)
            best = grid.bid_values(worths[0], 0, part)
            other = np.empty_like(best)
            for bid in range(1, grid.bids):
                np.maximum(best, grid.bid_values(worths[bid], bid, part, other), out=best)
            values[part] = grid.mean(best)
        yield values


def greedy_bids(grid: Grid, values: FloatArray, k: int, payoff: Payoff) -> IntArray:
    """The bids that `backward` takes, ties to the lowest: ``(..., n, n)``."""
    worths = (payoff(values, k, bid) for bid in range(grid.bids))
    gains = [grid.bid_values(worth, bid) for bid, worth in enumerate(worths)]
    return np.argmax(gains, axis=0)


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

    @classmethod
    def checked(
        cls,
        campaign: BudgetedCampaign,
        nodes: int,
        budget_points: int,
        least: tuple[int, int],
    ) -> Grid:
        """A grid, or ``ValueError`` if it has fewer nodes or budgets than allowed."""
        check_integer("nodes", nodes, least[0])
        check_integer("budget_points", budget_points, least[1])
        return cls(campaign, nodes, budget_points)

    def halved(self) -> Grid:
        """Half the resolution, by which a solution measures its error."""
        return Grid(self.campaign, len(self.x) // 2, halved(len(self.budgets)))

    def after(self, values: FloatArray) -> FloatArray:
        """``V(b - c a) - c a``, no click yet, ``(G, n, K)``; not for refused bids."""
        low = values[self.left]
        rest = low + self.share * (values[self.left + 1] - low)
        return np.asarray(rest - self.payments)

    def move(self, values: FloatArray, bid: int) -> FloatArray:
        """``V(b - c a, ...)`` of one bid, ``(G, S)`` to ``(G, S, n)``, the last for c."""
        left, share = self.left[:, :, bid], self.share[:, :, bid, None]
        low = values[left]
        moved = low + share * (values[left + 1] - low)
        return np.asarray(moved.transpose(0, 2, 1))

    def bid_values(
        self,
        worth: Worth,
        bid: int,
        rows: slice = slice(None),
        out: FloatArray | None = None,
    ) -> FloatArray:
        """What a bid is worth on some budgets, ``(..., n, n)``, ``c`` before ``x``."""
        unclicked, click = worth
        clicks = self.clicks[:, bid]
        if click is None:
            return np.add(unclicked[rows, ..., None], clicks, out=out)
        gain = np.multiply(click[rows, ..., None], clicks, out=out)
        gain += unclicked[rows, ..., None]
        return gain

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
