"""Campaigns under a budget: the exact optimum, also under caps, values, simulation."""

from __future__ import annotations

from .behavior import CampaignPolicy, PacedPolicy, UnpacedPolicy
from .campaign import DEFAULT_BUDGET, DEFAULT_IMPRESSIONS, BudgetedCampaign
from .cost_per_click import CostPerClickSolution, PricedPolicy, solve_cost_per_click
from .evaluation import Evaluation, Policy, evaluate, evaluate_all
from .evaluators import (
    STATE_SHAPES,
    BudgetRegretEvaluator,
    BudgetReturnEvaluator,
    StateViolationEvaluator,
    campaign_values,
    fixed_observations,
)
from .risk import ProfitDistribution, profit_distribution
from .risk_solver import RiskSolution, solve_risk
from .safety import (
    Cap,
    CostPerClickCap,
    SafePolicy,
    SpendCap,
    allowed_by,
    check_caps,
    count_violations,
)
from .shapes import ShapeCheck, shape_report, shape_table
from .simulation import HistoryPolicy, play, simulate, simulate_capped, uniform_draws
from .solver import Solution, solve
from .spend_cap import SpendCapSolution, solve_spend_cap

__all__ = [
    "DEFAULT_BUDGET",
    "DEFAULT_IMPRESSIONS",
    "STATE_SHAPES",
    "BudgetRegretEvaluator",
    "BudgetReturnEvaluator",
    "BudgetedCampaign",
    "CampaignPolicy",
    "Cap",
    "CostPerClickCap",
    "CostPerClickSolution",
    "Evaluation",
    "HistoryPolicy",
    "PacedPolicy",
    "Policy",
    "PricedPolicy",
    "ProfitDistribution",
    "RiskSolution",
    "SafePolicy",
    "ShapeCheck",
    "Solution",
    "SpendCap",
    "SpendCapSolution",
    "StateViolationEvaluator",
    "UnpacedPolicy",
    "allowed_by",
    "campaign_values",
    "check_caps",
    "count_violations",
    "evaluate",
    "evaluate_all",
    "fixed_observations",
    "play",
    "profit_distribution",
    "shape_report",
    "shape_table",
    "simulate",
    "simulate_capped",
    "solve",
    "solve_cost_per_click",
    "solve_risk",
    "solve_spend_cap",
    "uniform_draws",
]
