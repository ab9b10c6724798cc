"""Campaigns under a budget: ``BidClickBudget-v0``, its exact optimum, its logs."""

from __future__ import annotations

from ..logs.campaign_log import simulate_budget_log
from ._safe_simulation import count_violations, simulate_capped
from .behavior import PacedPolicy, UnpacedPolicy
from .campaign import BudgetedCampaign
from .cost_per_click import CostPerClickSolution, solve_cost_per_click
from .evaluation import evaluate, evaluate_all, simulate
from .evaluators import (
    BudgetRegretEvaluator,
    BudgetReturnEvaluator,
    StateViolationEvaluator,
)
from .risk import ProfitDistribution, profit_distribution
from .risk_solver import RiskSolution, solve_risk
from .safe_solver import SpendCapSolution, solve_spend_cap
from .safety import CostPerClickCap, SafePolicy, SpendCap
from .shapes import shape_report, shape_table
from .solver import Solution, solve

__all__ = [
    "BudgetRegretEvaluator",
    "BudgetReturnEvaluator",
    "BudgetedCampaign",
    "CostPerClickCap",
    "CostPerClickSolution",
    "PacedPolicy",
    "ProfitDistribution",
    "RiskSolution",
    "SafePolicy",
    "Solution",
    "SpendCap",
    "SpendCapSolution",
    "StateViolationEvaluator",
    "UnpacedPolicy",
    "count_violations",
    "evaluate",
    "evaluate_all",
    "profit_distribution",
    "shape_report",
    "shape_table",
    "simulate",
    "simulate_budget_log",
    "simulate_capped",
    "solve",
    "solve_cost_per_click",
    "solve_risk",
    "solve_spend_cap",
]
