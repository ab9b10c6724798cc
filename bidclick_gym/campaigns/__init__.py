"""Campaigns under a budget: the exact optimum, values, simulation."""

from __future__ import annotations

from .auction_files import read_auctions
from .auctions import Auctions
from .behavior import CampaignPolicy, PacedPolicy, UnpacedPolicy
from .campaign import DEFAULT_BUDGET, DEFAULT_IMPRESSIONS, BudgetedCampaign
from .evaluation import Policy, chances, evaluate, value_function
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
    "PacedPolicy",
    "Policy",
    "Solution",
    "StateViolationEvaluator",
    "UnpacedPolicy",
    "campaign_values",
    "chances",
    "evaluate",
    "fixed_observations",
    "play",
    "read_auctions",
    "simulate",
    "solve",
    "value_function",
]
