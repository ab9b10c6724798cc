"""The Bid-Click auction: Gymnasium environments, logged datasets, exact evaluation.

``import bidclick_gym`` registers ``BidClick-v0``, ``BidClickMonotone-v0`` and
``BidClickBudget-v0``.
``bidclick_gym.BidClickVecEnv``, for Stable-Baselines3, imports it on first use.
"""

from __future__ import annotations

from typing import Any

from gymnasium.envs.registration import register, registry

from ._optional import quiet_gym_notice
from .auction import MONOTONE_COST_RANGE, Auction
from .behavior import ClippedGaussianPolicy
from .budget.env import BidClickBudgetEnv
from .budget.vector import BidClickBudgetVectorEnv
from .dataset import DATASETS, get_dataset, get_log, load_minari
from .env import BidClickEnv
from .evaluators import (
    NormalizedRegretEvaluator,
    RegretEvaluator,
    ResidualEvaluator,
    ReturnEvaluator,
    ViolationEvaluator,
)
from .logs import Log, fingerprint, simulate_log
from .shards import write_shards
from .vector import BidClickVectorEnv

__all__ = [
    "DATASETS",
    "Auction",
    "BidClickBudgetEnv",
    "BidClickBudgetVectorEnv",
    "BidClickEnv",
    "BidClickVectorEnv",
    "ClippedGaussianPolicy",
    "Log",
    "NormalizedRegretEvaluator",
    "RegretEvaluator",
    "ResidualEvaluator",
    "ReturnEvaluator",
    "ViolationEvaluator",
    "fingerprint",
    "get_dataset",
    "get_log",
    "load_minari",
    "simulate_log",
    "write_shards",
]

quiet_gym_notice()

if "BidClick-v0" not in registry:
    register(
        id="BidClick-v0",
        entry_point="bidclick_gym.env:BidClickEnv",
        vector_entry_point="bidclick_gym.vector:BidClickVectorEnv",
    )
    register(
        id="BidClickMonotone-v0",
        entry_point="bidclick_gym.env:BidClickEnv",
        vector_entry_point="bidclick_gym.vector:BidClickVectorEnv",
        kwargs={"cost_range": MONOTONE_COST_RANGE},
    )
    register(
        id="BidClickBudget-v0",
        entry_point="bidclick_gym.budget.env:BidClickBudgetEnv",
        vector_entry_point="bidclick_gym.budget.vector:BidClickBudgetVectorEnv",
    )


def __getattr__(name: str) -> Any:
    # Its base class is Stable-Baselines3's, which this package works without.
    if name == "BidClickVecEnv":
        from .vec_env import BidClickVecEnv

        return BidClickVecEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
