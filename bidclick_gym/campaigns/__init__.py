"""Campaigns under a budget: the exact optimum, values, simulation."""

from __future__ import annotations

from .auctions import Auctions
from .behavior import CampaignPolicy, PacedPolicy, UnpacedPolicy
from .campaign import DEFAULT_BUDGET, DEFAULT_IMPRESSIONS, BudgetedCampaign
from .evaluation import Evaluation, Policy, evaluate, evaluate_all
from .evaluators import (
    STATE_SHAPES,
    BudgetRegretEvaluator,
    BudgetReturnEvaluator,
    StateViolationEvaluator,
    campaign_values,
    fixed_observations,
)
from .simulation import play, simulate
from .solver import Solution, solve

__all__ = [
    "DEFAULT_BUDGET",
    "DEFAULT_IMPRESSIONS",
    "STATE_SHAPES",
    "Auctions",
    "BudgetRegretEvaluator",
    "BudgetReturnEvaluator",
    "BudgetedCampaign",
    "CampaignPolicy",
    "Evaluation",
    "PacedPolicy",
    "Policy",
    "Solution",
    "StateViolationEvaluator",
    "UnpacedPolicy",
    "campaign_values",
    "evaluate",
    "evaluate_all",
    "fixed_observations",
    "play",
    "simulate",
    "solve",
]
