"""Gymnasium environments of the auction, alone, in batches and under a budget.

``BidClickVecEnv``, for Stable-Baselines3, imports that on first use.
"""

from __future__ import annotations

from typing import Any

from .budget import BidClickBudgetEnv
from .budget_vector import BidClickBudgetVectorEnv
from .single import BidClickEnv
from .vector import BidClickVectorEnv

__all__ = [
    "BidClickBudgetEnv",
    "BidClickBudgetVectorEnv",
    "BidClickEnv",
    "BidClickVectorEnv",
]


def __getattr__(name: str) -> Any:
    # Its base class is Stable-Baselines3's, which this package works without.
    if name == "BidClickVecEnv":
        from .sb3 import BidClickVecEnv

        return BidClickVecEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
