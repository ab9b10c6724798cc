"""From values to an action."""

from __future__ import annotations

from .greedy import best_actions, best_continuous_actions, favours_last
from .masked import MaskedGreedy, values_at_once
from .risk import CVaR, greedy_actions

__all__ = [
    "CVaR",
    "MaskedGreedy",
    "best_actions",
    "best_continuous_actions",
    "favours_last",
    "greedy_actions",
    "values_at_once",
]
