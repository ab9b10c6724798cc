"""Evaluators that know the true campaign, for ``algo.fit(evaluators={...})``.

Each takes ``(algo, dataset)`` and returns a float.  Values are put back into reward units
when the algorithm has a reward scaler.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from .._arrays import AnyArray, BoolArray, Float32Array, FloatArray
from .._checks import check_choice, check_integer, check_number
from ..evaluators import (
    SHAPES,
    STATISTICS,
    greedy_bids,
    in_reward_units,
    scaled_action_values,
    shape_shortfalls,
    summary_of,
)
from .campaign import BudgetedCampaign
from .evaluation import evaluate
from .solver import solve

#: The feature of the observation that a shape is about, and its direction.
STATE_SHAPES = {
    "rising_in_x": (0, 1.0),
    "falling_in_c": (1, -1.0),
    "rising_in_budget": (2, 1.0),
    "rising_in_impressions": (3, 1.0),
}
# Values of a feature at which a critic is compared; at most.
LEVELS = 11


def fixed_observations(campaign: BudgetedCampaign, n: int = 500) -> Float32Array:
    """The same ``n`` random states every time, float32 ``(n, 4)``.

    Contexts as in the campaign; the remaining budget is uniform in ``[0, B]`` and the
    impressions to come are uniform in 1, ..., T, each on its own.
    """
    u = np.random.default_rng(0).random((n, 4))
    x, c = campaign.auction.context_from_uniform(u[:, :2]).T
    k = 1 + np.floor(u[:, 3] * campaign.impressions)
    return campaign.observe(x, c, u[:, 2] * campaign.budget, k)


def campaign_values(
    algo: Any, campaign: BudgetedCampaign, observations: AnyArray, gamma: float = 1.0
) -> AnyArray:
    """The critic's value of every bid, in reward units, ``(N, K)``.

    Args:
        algo: a fitted d3rlpy Q-learning algorithm with ``predict_value``.
        campaign: whose bids to ask for.
        observations: ``(N, 4)``.
        gamma: discount of the values.  With ``k`` impressions to come, a reward scaler
            that shifts rewards shifts values by ``1 + gamma + ... + gamma^(k-1)`` times
            as much.

    Raises:
        ValueError: the algorithm clips rewards, which cannot be undone.
    """
    values = scaled_action_values(algo, campaign.auction, observations)
    k = campaign.read(observations)[3]
    rewards = np.concatenate([[0.0], np.cumsum(gamma ** np.arange(k.max(initial=0)))])
    return in_reward_units(values, algo.reward_scaler, rewards[k][:, None])


@dataclasses.dataclass(frozen=True)
class BudgetReturnEvaluator:
    """Exact expected profit of a whole campaign played greedily.

    Exact but for the grid.  With the default grid and campaign, the returns of both
    logging policies and of the optimum (29.417, 30.139 and 30.737) come out at most
    0.0013 from those of 24 x 24 nodes and 2,001 budgets, that of a network of 64 x 64
    units at most 0.0001 from 16 x 16 nodes and 1,001.  It asks for 1.4 million bids,
    about a second for such a network on one core.

    Args:
        campaign: the true campaign.
        nodes: quadrature nodes in each direction of the context.
        budget_points: remaining budgets on the grid.

    Raises:
        ValueError: ``nodes`` or ``budget_points`` is too small.
    """

    campaign: BudgetedCampaign
    nodes: int = 12
    budget_points: int = 201

    def __post_init__(self) -> None:
        check_integer("nodes", self.nodes, 2)
        check_integer("budget_points", self.budget_points, 3)

    def __call__(self, algo: Any, dataset: Any = None) -> float:
        return evaluate(
            lambda observations: greedy_bids(algo, self.campaign.auction, observations),
            self.campaign,
            nodes=self.nodes,
            budget_points=self.budget_points,
        )


class BudgetRegretEvaluator(BudgetReturnEvaluator):
    """``V* - V`` of a whole campaign on the same grid; 0 is optimal."""

    def __call__(self, algo: Any, dataset: Any = None) -> float:
        best = solve(self.campaign, nodes=self.nodes, budget_points=self.budget_points)
        return best.optimal_value - super().__call__(algo, dataset)


class StateViolationEvaluator:
    """How often, or how far, the critic leaves a shape on fixed states.

    Along a feature, each bid's values are compared at 11 evenly spaced values of that
    feature, the others held (fewer if the campaign has fewer impressions): 10 * 500 * K
    inequalities.  The optimum keeps all four of those shapes wherever they are counted,
    which is where the budget pays for the bid at both ends or at neither: between the
    two the value jumps, and spending the last of the budget can be worse than having the
    bid refused.  In the bid, inequalities count whose highest bid can be paid; there the
    optimum is nearly concave (it misses about 1 in 100 inequalities, at small budgets,
    where its value has leaps) and not monotone.

    Args:
        campaign: the true campaign.
        shape: ``"rising_in_x"``, ``"falling_in_c"``, ``"rising_in_budget"``,
            ``"rising_in_impressions"``; or of the bid, as in
            :class:`~bidclick_gym.evaluators.ViolationEvaluator`, ``"monotone"``,
            ``"concave"`` or ``"monotone_concave"``.
        statistic: as there, of all inequalities that count.  Along a feature a shortfall
            must exceed 1e-6 of the largest value compared.
        gamma: discount of the values, in [0, 1].
        n: how many states.

    Raises:
        ValueError: an argument is unknown or out of bounds.
    """

    def __init__(
        self,
        campaign: BudgetedCampaign,
        shape: str = "rising_in_budget",
        statistic: str = "count",
        gamma: float = 1.0,
        n: int = 500,
    ):
        check_choice("shape", shape, (*STATE_SHAPES, *SHAPES))
        check_choice("statistic", statistic, STATISTICS)
        check_integer("n", n, 1)
        self._campaign = campaign
        self._shape = shape
        self._statistic = statistic
        self._gamma = check_number("gamma", gamma, 0.0, 1.0)
        fixed = fixed_observations(campaign, n)
        self._states = self._ladders(fixed) if shape in STATE_SHAPES else fixed

    @property
    def observations(self) -> Float32Array:
        """The states at which the critic is read, ``(N, 4)``."""
        return self._states.reshape(-1, 4)

    def __call__(self, algo: Any, dataset: Any = None) -> float:
        return self.of_values(
            campaign_values(algo, self._campaign, self.observations, self._gamma)
        )

    def of_values(self, q: AnyArray) -> float:
        """The statistic of values on :attr:`observations`, shape ``(N, K)``."""
        _, c, b, _ = self._campaign.read(self._states)
        is_paid = self._campaign.is_affordable(c, b)
        if self._shape in STATE_SHAPES:
            shortfall, counts = self._along_feature(q.reshape(is_paid.shape), is_paid)
        else:
            shortfall, counts = self._along_bids(q, is_paid)
        return summary_of(shortfall[counts], self._statistic)

    def _ladders(self, states: Float32Array) -> Float32Array:
        """Each state at every level of the feature, ``(n, L, 4)``."""
        feature, _ = STATE_SHAPES[self._shape]
        steps = self._campaign.impressions
        levels = np.linspace(0.0, 1.0, LEVELS)
        if self._shape == "falling_in_c":
            levels = np.linspace(*self._campaign.cost_range, LEVELS)
        if self._shape == "rising_in_impressions":
            levels = np.unique(np.rint(np.linspace(1, steps, LEVELS))) / steps
        ladders = np.repeat(states[:, None], len(levels), axis=1)
        ladders[..., feature] = levels
        return ladders

    def _along_feature(
        self, q: AnyArray, is_paid: BoolArray
    ) -> tuple[FloatArray, BoolArray]:
        """Shortfalls, and which of them count, from ``(n, L, K)``."""
        _, direction = STATE_SHAPES[self._shape]
        ladders = direction * np.moveaxis(q, 1, 2).reshape(-1, q.shape[1])
        # A cost, of 0, brings the tolerance for rounding: each value comes from a row of
        # its own, whose last bits depend on where it stands in the batch.
        shortfall = shape_shortfalls(
            ladders, np.arange(float(q.shape[1])), "monotone", np.zeros_like(ladders)
        )
        same = is_paid[:, 1:] == is_paid[:, :-1]
        return shortfall, np.moveaxis(same, 1, 2).reshape(shortfall.shape)

    def _along_bids(
        self, q: AnyArray, is_paid: BoolArray
    ) -> tuple[FloatArray, BoolArray]:
        """Shortfalls, and which of them count, from ``(n, K)``."""
        shortfall = shape_shortfalls(q, self._campaign.auction.bid_array, self._shape)
        # The highest bids of first differences, of second differences, or of both.
        highest = {"monotone": [1], "concave": [2]}.get(self._shape, [1, 2])
        counts = np.concatenate([is_paid[:, first:] for first in highest], axis=1)
        return shortfall, counts
