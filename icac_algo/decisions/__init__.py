"""From values to an action."""

from __future__ import annotations

from .continuous import best_continuous_actions
from .greedy import best_actions
from .masked import MaskedGreedy
from .risk import CVaR, greedy_actions

__all__ = [
    "CVaR",
    "MaskedGreedy",
    "best_actions",
    "best_continuous_actions",
    "greedy_actions",
]
