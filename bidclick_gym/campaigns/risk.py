r"""The exact distribution of a campaign's profit, and what its worst share is worth.

What a campaign has earned is its clicks minus what it has paid,

.. math:: Z = n - (B - b),

so remaining budget :math:`b` and clicks so far :math:`n` are all that has to be followed.
A forward pass carries the mass of :math:`(b, n)` from impression to impression: contexts
are Gauss-Legendre nodes, and what lands between two budgets of a uniform grid is split
between them so that its mean stays.  Nothing is sampled.

The conditional value at risk is the mean of the worst share :math:`\alpha` of campaigns,

.. math:: \mathrm{CVaR}_\alpha(Z) = \max_\eta \left\{ \eta
    - \frac{1}{\alpha} \mathbb{E} (\eta - Z)^+ \right\}.

References:
    * `Rockafellar and Uryasev, Optimization of Conditional Value-at-Risk (2000).
      <https://doi.org/10.21314/JOR.2000.038>`_
"""

from __future__ import annotations

import dataclasses

import numpy as np

from .._arrays import FloatArray, IntArray
from .._checks import check_number
from .campaign import BudgetedCampaign
from .evaluation import Policy, chances, check_arguments
from .grid import Grid


@dataclasses.dataclass(frozen=True, eq=False)
class ProfitDistribution:
    """What a whole campaign may earn.  Arrays are read-only.

    Args:
        campaign: what is played.
        profits: every possible profit, rising, ``(S,)``, in units of one click.
        probabilities: of each of them, above 0, ``(S,)``; they sum to 1.
    """

    campaign: BudgetedCampaign
    profits: FloatArray
    probabilities: FloatArray

    @property
    def mean(self) -> float:
        """Expected profit."""
        return float(self.probabilities @ self.profits)

    @property
    def std(self) -> float:
        """Standard deviation of the profit."""
        return float(np.sqrt(self.probabilities @ (self.profits - self.mean) ** 2))

    def cvar(self, level: float) -> float:
        """Mean profit of the worst share of campaigns.

        A profit at which the share ends counts in part, so that the share is met exactly.

        Args:
            level: the share, in (0, 1]; 1 gives the mean.

        Raises:
            ValueError: ``level`` is not such a number.
        """
        level = check_number("level", level, 0.0, 1.0, open=True)
        below = np.cumsum(self.probabilities) - self.probabilities
        counted = np.clip(level - below, 0.0, self.probabilities)
        return float(counted @ self.profits / counted.sum())


def profit_distribution(
    policy: Policy,
    campaign: BudgetedCampaign | None = None,
    *,
    nodes: int = 12,
    budget_points: int = 201,
    batch: int = 65_536,
) -> ProfitDistribution:
    """The distribution of what a whole campaign earns under any policy.

    Its mean is that of `evaluate` on the same grid, up to rounding, and as exact.
    Splitting mass between budgets adds at most ``T h^2 / 4`` to the variance, ``h`` the
    distance of two budgets: 0.005 of 10 in the default campaign.  Measured there against
    24 nodes and 801 budgets, CVaR at 0.1, 0.25 and 0.5 is off by less than 0.0025 for
    the optimum, both loggers and a constant bid of 0.25, and by 0.008 for one of 0.5,
    which is refused at the end.  Greedy policies of networks: see `evaluate_all`.

    Args:
        policy, campaign, nodes, budget_points, batch: as in `evaluate_all`.

    Raises:
        TypeError: ``policy`` is no function, or ``campaign`` no campaign.
        ValueError: a number is too small, or the policy answers with something else.
    """
    campaign = check_arguments(policy, campaign, batch)
    grid = Grid.checked(campaign, nodes, budget_points, (1, 2))
    flow = Flow(grid)
    contexts = campaign.observe(grid.x, grid.c[:, None], 0.0, 0).reshape(-1, 4)
    mass = flow.start()
    for k in range(campaign.impressions, 0, -1):
        # The policy is asked only about budgets that can be left by now.
        rows = np.flatnonzero(mass.any(axis=1))
        states = np.tile(contexts, (len(rows), 1))
        states[:, 2:] = np.repeat(
            campaign.observe(0.0, 0.0, grid.budgets[rows], k)[:, 2:],
            len(contexts),
            axis=0,
        )
        chosen = np.concatenate(
            [
                chances(policy, states[start : start + batch].copy(), grid.bids)
                for start in range(0, len(states), batch)
            ]
        ).reshape(len(rows), 1, nodes, nodes, grid.bids)
        mass = flow.step(mass, rows, chosen)
    return flow.distribution(mass)


class Flow:
    """Carries the mass of campaigns over remaining budgets and clicks so far."""

    def __init__(self, grid: Grid):
        self._grid = grid

    def start(self) -> FloatArray:
        """All of the budget and no click, ``(G, 1)``."""
        mass = np.zeros((len(self._grid.budgets), 1))
        mass[-1] = 1.0
        return mass

    def step(self, mass: FloatArray, rows: IntArray, chosen: FloatArray) -> FloatArray:
        """Mass ``(G, N)`` to ``(G, N + 1)``; ``chosen`` is ``(R, 1 or N, n, n, K)``."""
        grid = self._grid
        is_affordable = grid.is_affordable[rows][:, None, :, None]
        paid = np.where(is_affordable, chosen, 0.0)
        paid[..., 0] += np.where(is_affordable, 0.0, chosen).sum(axis=-1)
        # Means over x, (R, S, n, K), and what of them clicks.
        weights = grid.weights[:, None]
        played = np.einsum("...xk,x->...k", paid, grid.weights) * weights
        clicked = np.einsum("...xk,xk->...k", paid, grid.clicks * weights) * weights
        before = mass[rows][:, :, None]
        after = np.zeros((len(mass), mass.shape[1] + 1))
        moved = np.empty((len(rows), after.shape[1], len(grid.c)))
        for bid in range(grid.bids):
            moved[:, :-1] = before * (played - clicked)[..., bid]
            moved[:, -1] = 0.0
            moved[:, 1:] += before * clicked[..., bid]
            after += self._land(moved, rows, bid)
        return after

    def _land(self, moved: FloatArray, rows: IntArray, bid: int) -> FloatArray:
        """Where a bid's payment puts mass ``(R, N, n)``: ``(G, N)``."""
        points, columns = len(self._grid.budgets), moved.shape[1]
        left, share = self._grid.left[rows, :, bid], self._grid.share[rows, :, bid]
        place = left[:, None] * columns + np.arange(columns)[:, None]
        upper = moved * share[:, None]
        size = points * columns
        landed = np.bincount(place.ravel(), (moved - upper).ravel(), size)
        landed += np.bincount((place + columns).ravel(), upper.ravel(), size)
        return np.asarray(landed.reshape(points, columns))

    def distribution(self, mass: FloatArray) -> ProfitDistribution:
        """What the mass after the last impression, ``(G, T + 1)``, has earned."""
        clicks = np.arange(mass.shape[1])
        profit = clicks - (self._grid.campaign.budget - self._grid.budgets[:, None])
        # Where the grid divides a click, many states have earned the same.
        profits, where = np.unique(np.round(profit, 9), return_inverse=True)
        probabilities = np.bincount(where.ravel(), mass.ravel())
        kept = probabilities > 0.0
        probabilities = probabilities[kept] / probabilities.sum()
        profits = profits[kept]
        for array in (profits, probabilities):
            array.setflags(write=False)
        return ProfitDistribution(self._grid.campaign, profits, probabilities)
