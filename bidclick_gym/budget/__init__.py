"""Campaigns under a budget: ``BidClickBudget-v0``, its exact optimum, its logs."""

from __future__ import annotations

from .behavior import PacedPolicy, UnpacedPolicy
from .campaign import BudgetedCampaign
from .evaluation import evaluate, evaluate_all, simulate
from .evaluators import (
    BudgetRegretEvaluator,
    BudgetReturnEvaluator,
    StateViolationEvaluator,
)
from .logs import simulate_budget_log
from .shapes import shape_report, shape_table
from .solver import Solution, solve

__all__ = [
    "BudgetRegretEvaluator",
    "BudgetReturnEvaluator",
    "BudgetedCampaign",
    "PacedPolicy",
    "Solution",
    "StateViolationEvaluator",
    "UnpacedPolicy",
    "evaluate",
    "evaluate_all",
    "shape_report",
    "shape_table",
    "simulate",
    "simulate_budget_log",
    "solve",
]
