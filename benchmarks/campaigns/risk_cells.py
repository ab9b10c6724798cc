"""Learners of quantiles and exact policies: mean and CVaR of whole campaigns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import d3rlpy
import numpy as np
import numpy.typing as npt
from d3rlpy.models.q_functions import QFunctionFactory, QRQFunctionFactory
from d3rlpy.preprocessing import RewardScaler, StandardRewardScaler

from bidclick_gym.campaigns import (
    BudgetedCampaign,
    PacedPolicy,
    ProfitDistribution,
    UnpacedPolicy,
    profit_distribution,
    solve,
    solve_risk,
)
from icac_algo import Concave, MonotoneConcave, ShapedQFunctionFactory
from icac_algo.decisions import CVaR, greedy_actions

from ..auction.cells import digest_of
from ..learners import shared_settings
from ..learners.campaigns import GAMMA, LAG, afterstates
from .cells import train_on_log

__all__ = [
    "COLUMNS",
    "LEARNERS",
    "LEVELS",
    "MEASURED",
    "SCALE",
    "WEIGHTS",
    "ExactCell",
    "RiskBidder",
    "RiskCell",
    "measure",
]

#: What a bidder is greedy for: the mean of this worst share; 1 is the mean.
LEVELS = (0.1, 0.25, 0.5, 0.75, 1.0)
#: What campaigns are measured by.
MEASURED = (0.1, 0.25, 0.5)
#: Of CVaR at the first level against the mean, along the exact frontier.
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
COLUMNS = (
    "policy",
    "level",
    "weight",
    "seed",
    "steps",
    "mean",
    "std",
    *(f"cvar_{level:g}" for level in MEASURED),
    "train_seconds",
)
#: Rewards are centred and of this spread.  The quantile Huber loss of d3rlpy is that of
#: quantiles only beyond errors of 1; at a spread of .5, as elsewhere, critics learn that
#: returns spread no more than one reward.
SCALE = 10.0
#: Raise when training or measuring changes.
FORMAT = 1


def _free(scaler: RewardScaler) -> QFunctionFactory:
    return QRQFunctionFactory()


def _concave(scaler: RewardScaler) -> QFunctionFactory:
    return ShapedQFunctionFactory(Concave(), n_quantiles=32, scale=SCALE)


def _afterstates(scaler: RewardScaler) -> QFunctionFactory:
    return ShapedQFunctionFactory(
        MonotoneConcave(),
        afterstates(MonotoneConcave()),
        n_quantiles=32,
        scale=SCALE,
        reward_scaler=scaler,
    )


#: DQN with 32 quantiles, by critic; each made from the reward scaler.
LEARNERS: dict[str, Callable[[RewardScaler], QFunctionFactory]] = {
    "DQN quantiles": _free,
    "DQN concave quantiles": _concave,
    "DQN shaped afterstate quantiles": _afterstates,
}


@dataclasses.dataclass(frozen=True)
class RiskCell:
    """One learner on one log, bidding for every level.

    Args:
        learner: a name in ``LEARNERS``.
        seed: draws the log and the training.
        steps: gradient steps.
        log: a name in ``LOGGERS``.
        fraction: share of the log's campaigns.
        nodes: of the exact distribution, in each direction of the context.
        budget_points: of the exact distribution.
    """

    learner: str
    seed: int = 0
    steps: int = 2000
    log: str = "unpaced"
    fraction: float = 1.0
    nodes: int = 12
    budget_points: int = 101

    @property
    def algorithm(self) -> str:
        """What a progress bar shows."""
        return self.learner

    @property
    def digest(self) -> str:
        """Name of the cell's file."""
        config = self.config()
        made = {"type": config.get_type(), "params": config.serialize_to_dict()}
        return digest_of({"risk": FORMAT, "config": made, **dataclasses.asdict(self)})

    def config(self) -> Any:
        """The d3rlpy config."""
        scaler = StandardRewardScaler(multiplier=SCALE)
        return d3rlpy.algos.DQNConfig(
            gamma=GAMMA,
            target_update_interval=round(LAG),
            reward_scaler=scaler,
            q_func_factory=LEARNERS[self.learner](scaler),
            **shared_settings(self.steps),
        )


@dataclasses.dataclass(frozen=True)
class ExactCell:
    """A policy that nobody has to learn.

    Args:
        policy: ``"frontier"`` for the best of all at a weight, ``"optimum"`` for that of
            the mean, which knows the clock but not the clicks, or a logger.
        weight: of CVaR, for the frontier.
        nodes: quadrature nodes in each direction of the context.
        budget_points: budgets on the grid.
    """

    policy: str
    weight: float | None = None
    nodes: int = 12
    budget_points: int = 201

    @property
    def algorithm(self) -> str:
        """What a progress bar shows."""
        return self.policy

    @property
    def digest(self) -> str:
        """Name of the cell's file."""
        return digest_of({"risk": FORMAT, **dataclasses.asdict(self)})


class RiskBidder:
    """The bid that can be paid and whose worst share of returns is best, as a policy.

    Args:
        algo: a fitted d3rlpy algorithm with critics of quantiles.
        campaign: what is played.
        level: the share, in (0, 1]; 1 bids for the mean.
    """

    def __init__(self, algo: Any, campaign: BudgetedCampaign, level: float):
        self._algo, self._campaign, self._risk = algo, campaign, CVaR(level)

    def __call__(self, observations: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        return greedy_actions(
            self._algo, observations, self._risk, batch=1 << 16, mask=self._is_paid
        )

    def _is_paid(self, observations: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        _, c, b, _ = self._campaign.read(observations)
        return np.asarray(self._campaign.is_affordable(c, b))


def measure(cell: RiskCell | ExactCell) -> list[dict[str, Any]]:
    """One row for each level that is bid for, or for the policy."""
    campaign = BudgetedCampaign()
    if isinstance(cell, ExactCell):
        found = _exact(cell, campaign)
        return [_row(found, policy=cell.policy, weight=cell.weight)]
    algo, seconds = train_on_log(cell)
    rows = []
    for level in LEVELS:
        found = profit_distribution(
            RiskBidder(algo, campaign, level),
            campaign,
            nodes=cell.nodes,
            budget_points=cell.budget_points,
        )
        about = {"policy": cell.learner, "seed": cell.seed, "steps": cell.steps}
        rows.append(_row(found, **about, level=level, train_seconds=seconds))
    return rows


def _exact(cell: ExactCell, campaign: BudgetedCampaign) -> ProfitDistribution:
    grid: dict[str, int] = {"nodes": cell.nodes, "budget_points": cell.budget_points}
    if cell.policy == "frontier":
        assert cell.weight is not None
        return solve_risk(LEVELS[0], cell.weight, campaign, **grid).distribution
    policies: dict[str, Callable[[], Any]] = {
        "optimum": lambda: solve(campaign, **grid).greedy,
        "unpaced logger": lambda: UnpacedPolicy(campaign).probabilities_of,
        "paced logger": lambda: PacedPolicy(campaign).probabilities_of,
    }
    return profit_distribution(policies[cell.policy](), campaign, **grid)


def _row(found: ProfitDistribution, **about: Any) -> dict[str, Any]:
    return {
        **dict.fromkeys(COLUMNS),
        **about,
        "mean": found.mean,
        "std": found.std,
        **{f"cvar_{level:g}": found.cvar(level) for level in MEASURED},
    }
