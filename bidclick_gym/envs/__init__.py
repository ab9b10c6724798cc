"""Gymnasium environments of auctions: one, batches, under a budget, and replayed."""

from __future__ import annotations

from .budget import BidClickBudgetEnv
from .replay import BidReplayEnv, BidReplayVectorEnv
from .single import BidClickEnv
from .vector import BidClickVectorEnv

__all__ = [
    "BidClickBudgetEnv",
    "BidClickEnv",
    "BidClickVectorEnv",
    "BidReplayEnv",
    "BidReplayVectorEnv",
]
