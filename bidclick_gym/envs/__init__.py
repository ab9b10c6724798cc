"""Gymnasium environments of the auction, alone, in batches and under a budget."""

from __future__ import annotations

from .budget import BidClickBudgetEnv
from .single import BidClickEnv
from .vector import BidClickVectorEnv

__all__ = [
    "BidClickBudgetEnv",
    "BidClickEnv",
    "BidClickVectorEnv",
]
