r"""The best that a campaign can do for its mean and its worst share, exactly.

For a level :math:`\alpha` and a weight :math:`w` the objective is
:math:`(1 - w) \mathbb{E} Z + w \, \mathrm{CVaR}_\alpha(Z)` of the profit :math:`Z`, over
all policies that see the whole campaign so far.  By Rockafellar and Uryasev it is

.. math:: \max_\eta \max_\pi \mathbb{E} \, u_\eta(Z), \qquad
    u_\eta(z) = (1 - w) z + w \left( \eta - (\eta - z)^+ / \alpha \right),

and as :math:`Z = n - (B - b)`, remaining budget :math:`b` and clicks so far :math:`n` are
all of the past that matters.  For one :math:`\eta` the best policy follows by backward
induction: with :math:`k` impressions to come,

.. math:: U_k(b, n) = \mathbb{E}_{x, c} \max_{a : c a \le b} \left[ p(x, a) \,
    U_{k-1}(b - c a, n + 1) + (1 - p(x, a)) \, U_{k-1}(b - c a, n) \right], \qquad
    U_0(b, n) = u_\eta(n - B + b).

The maximum over policies is not concave in :math:`\eta`: profits crowd where the budget
is spent, once for each number of clicks, and each crowd may bring a peak of its own.  So
:math:`\eta` is looked for everywhere with a coarse grid of budgets, then four times a
click around the best, and at last by golden section.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .._arrays import AnyArray, FloatArray
from .._checks import check_number, check_range
from ..auction import click_probability
from .campaign import BudgetedCampaign, check_campaign, check_history
from .grid import Grid, Payoff, Worth, backward, greedy_bids
from .history import HistorySolution
from .risk import Flow, ProfitDistribution

GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
# How far apart, in clicks, eta is looked for first and then; and what is known of it.
FIRST_STRIDE, SECOND_STRIDE, TOLERANCE = 2.0, 0.25, 0.02


@dataclasses.dataclass(frozen=True, eq=False)
class RiskSolution(HistorySolution):
    """The best policy for a mean and a worst share.  Arrays are read-only.

    Args:
        campaign: what is played.
        level: the share of campaigns that is feared, in (0, 1].
        weight: of its mean, in [0, 1]; the mean of all has the rest.
        eta: the profit below which a campaign counts as one of the worst; the number of
            impressions where nothing is feared.
        values: ``values[k]`` is ``U_k(b, n)`` for budgets on a uniform grid from 0 to the
            campaign's and for ``n`` clicks so far, ``(T+1, G, T+1)``; not a number where
            ``n`` is above ``T - k``.
        distribution: of the policy's profit, on the same grid.
        error: by how much the best for ``eta`` changed from half the resolution.
    """

    campaign: BudgetedCampaign
    level: float
    weight: float
    eta: float
    values: FloatArray
    distribution: ProfitDistribution
    error: float

    @property
    def mean(self) -> float:
        """Expected profit of the policy."""
        return self.distribution.mean

    @property
    def cvar(self) -> float:
        """Mean profit of the policy's worst share."""
        return self.distribution.cvar(self.level)

    @property
    def value(self) -> float:
        """The objective, ``(1 - weight) mean + weight cvar``."""
        return (1.0 - self.weight) * self.mean + self.weight * self.cvar

    def q_at(
        self,
        x: npt.ArrayLike,
        c: npt.ArrayLike,
        budget_left: npt.ArrayLike,
        clicks: npt.ArrayLike,
        impressions_left: npt.ArrayLike,
    ) -> FloatArray:
        """What every bid is worth at ``eta``; -inf where it is refused.

        Arguments and result are those of `Solution.q_at`, and ``clicks`` so far, integers
        ``n`` in 0, ..., T - k; ``impressions_left`` is at least 1.

        Raises:
            ValueError: ``impressions_left`` or ``clicks`` is out of these bounds.
        """
        x, c, b, n, k = np.broadcast_arrays(x, c, budget_left, clicks, impressions_left)
        total = self.campaign.impressions
        check_range("impressions_left", k, 1, total)
        if not ((n >= 0) & (n <= total - k)).all():
            raise ValueError(
                "clicks must be from 0 to the number of impressions played, "
                f"got {n[(n < 0) | (n > total - k)].flat[0]}"
            )
        k, n = (each.astype(np.int64)[..., None] for each in (k, n))
        bids = self.campaign.auction.bid_array
        rest = b[..., None] - c[..., None] * bids
        stay, click = self._later(k, rest, n), self._later(k, rest, n + 1)
        p = click_probability(x[..., None], bids)
        return np.where(rest >= 0.0, stay + p * (click - stay), -np.inf)

    def _state(self, rows: int, payments: Any, clicks: Any) -> AnyArray:
        return np.asarray(check_history("clicks", clicks, rows).sum(axis=1))


def solve_risk(
    level: float,
    weight: float = 1.0,
    campaign: BudgetedCampaign | None = None,
    *,
    nodes: int = 8,
    budget_points: int = 101,
) -> RiskSolution:
    """The policy with the best ``(1 - weight) * mean + weight * CVaR_level`` of profit.

    It is the best of all that see contexts, budget, clock and every click so far, on the
    grid.  Measured on the default campaign at level 0.1, weights 0.5 and 1, against 16
    nodes and 401 budgets: the objective is off by 0.002 and 0.005, what is gained on the
    optimum of the mean of the same grid by 0.0005.  One call takes about 4 s on one core.
    Budgets of the grid should be at most 0.04 apart: a larger budget needs more of them.

    Args:
        level: the share of campaigns that is feared, in (0, 1]; 1 gives the mean.
        weight: of the mean of that share against the mean of all, in [0, 1].
        campaign: what is played; the default campaign if not given.
        nodes: quadrature nodes in each direction of the context, at least 4.
        budget_points: budgets on the grid, at least 5.

    Raises:
        TypeError: ``campaign`` is no campaign.
        ValueError: a number is out of bounds.
    """
    level = check_number("level", level, 0.0, 1.0, open=True)
    weight, campaign = check_number("weight", weight, 0.0, 1.0), check_campaign(campaign)
    fine = Grid.checked(campaign, nodes, budget_points, (4, 5))
    coarse = fine.halved()

    def worth(grid: Grid, eta: float) -> float:
        *_, last = backward(grid, _utility(grid, level, weight, eta), _payoff(grid))
        return float(last[-1, 0])

    eta = float(campaign.impressions)
    if level < 1.0 and weight > 0.0:
        low, high = -campaign.budget, eta
        for stride in (FIRST_STRIDE, SECOND_STRIDE):
            etas = np.linspace(low, high, math.ceil((high - low) / stride) + 1)
            best = int(np.argmax([worth(coarse, each) for each in etas]))
            low, high = etas[max(best - 1, 0)], etas[min(best + 1, len(etas) - 1)]
        eta = _golden(lambda each: worth(fine, each), float(low), float(high))
    utility = _utility(fine, level, weight, eta)
    values = np.full((campaign.impressions + 1, *utility.shape), np.nan)
    values[0] = utility
    for k, found in enumerate(backward(fine, utility, _payoff(fine)), 1):
        values[k, :, : found.shape[1]] = found
    values.setflags(write=False)
    error = abs(float(values[-1, -1, 0]) - worth(coarse, eta))
    distribution = _distribution(fine, values)
    return RiskSolution(campaign, level, weight, eta, values, distribution, error)


def _utility(grid: Grid, level: float, weight: float, eta: float) -> FloatArray:
    """What profits are worth in the end, ``(G, T + 1)``."""
    clicks = np.arange(grid.campaign.impressions + 1)
    profit = clicks - (grid.campaign.budget - grid.budgets[:, None])
    feared = eta - np.maximum(eta - profit, 0.0) / level
    return np.asarray((1.0 - weight) * profit + weight * feared)


def _payoff(grid: Grid) -> Payoff:
    """No profit on the way: values are of remaining budget and clicks so far."""

    def worth(later: FloatArray, k: int, bid: int) -> Worth:
        played = grid.campaign.impressions - k
        moved = grid.move(later[:, : played + 2], bid)
        stay, click = moved[:, :-1], moved[:, 1:]
        is_affordable = grid.is_affordable[:, None, :, bid]
        return np.where(is_affordable, stay, -np.inf), click - stay

    return worth


def _distribution(grid: Grid, values: FloatArray) -> ProfitDistribution:
    """Of the profit of the policy that is greedy in the values."""
    flow, payoff = Flow(grid), _payoff(grid)
    choices = np.eye(grid.bids)
    mass, rows = flow.start(), np.arange(len(grid.budgets))
    for k in range(grid.campaign.impressions, 0, -1):
        mass = flow.step(mass, rows, choices[greedy_bids(grid, values[k - 1], k, payoff)])
    return flow.distribution(mass)


def _golden(worth: Callable[[float], float], low: float, high: float) -> float:
    """Where a function of one peak is highest, by golden section."""
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = worth(left), worth(right)
    while high - low > TOLERANCE:
        if at_left >= at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = worth(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = worth(right)
    return left if at_left >= at_right else right
