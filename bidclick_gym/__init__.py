"""The Bid-Click auction: Gymnasium environments, logged datasets, exact evaluation.

``import bidclick_gym`` registers ``BidClick-v0``, ``BidClickMonotone-v0``,
``BidClickBudget-v0`` and ``BidReplay-v0``.
"""

from __future__ import annotations

from gymnasium.envs.registration import register, registry

from ._optional import quiet_gym_notice
from .auction import MONOTONE_COST_RANGE, Auction
from .behavior import ClippedGaussianPolicy
from .campaigns import Auctions, read_auctions
from .envs import (
    BidClickBudgetEnv,
    BidClickEnv,
    BidClickVectorEnv,
    BidReplayEnv,
    BidReplayVectorEnv,
)
from .evaluators import (
    RegretEvaluator,
    ResidualEvaluator,
    ReturnEvaluator,
    ViolationEvaluator,
)
from .logs import (
    DATASETS,
    Log,
    fingerprint,
    get_dataset,
    get_log,
    load_minari,
    simulate_log,
    simulate_replay_log,
    write_shards,
)

__all__ = [
    "DATASETS",
    "Auction",
    "Auctions",
    "BidClickBudgetEnv",
    "BidClickEnv",
    "BidClickVectorEnv",
    "BidReplayEnv",
    "BidReplayVectorEnv",
    "ClippedGaussianPolicy",
    "Log",
    "RegretEvaluator",
    "ResidualEvaluator",
    "ReturnEvaluator",
    "ViolationEvaluator",
    "fingerprint",
    "get_dataset",
    "get_log",
    "load_minari",
    "read_auctions",
    "simulate_log",
    "simulate_replay_log",
    "write_shards",
]

quiet_gym_notice()

if "BidClick-v0" not in registry:
    register(
        id="BidClick-v0",
        entry_point="bidclick_gym.envs:BidClickEnv",
        vector_entry_point="bidclick_gym.envs:BidClickVectorEnv",
    )
    register(
        id="BidClickMonotone-v0",
        entry_point="bidclick_gym.envs:BidClickEnv",
        vector_entry_point="bidclick_gym.envs:BidClickVectorEnv",
        # A list, as JSON gives back, so that a spec read from a file is the same.
        kwargs={"cost_range": list(MONOTONE_COST_RANGE)},
    )
    register(id="BidClickBudget-v0", entry_point="bidclick_gym.envs:BidClickBudgetEnv")
    register(
        id="BidReplay-v0",
        entry_point="bidclick_gym.envs:BidReplayEnv",
        vector_entry_point="bidclick_gym.envs:BidReplayVectorEnv",
    )
