"""The Bid-Click auction: Gymnasium environments, logged datasets, exact evaluation.

``import bidclick_gym`` registers ``BidClick-v0`` and ``BidClickMonotone-v0``.
"""

from gymnasium.envs.registration import register, registry

from ._optional import quiet_gym_notice
from .auction import MONOTONE_COST_RANGE, Auction
from .behavior import ClippedGaussianPolicy
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

__all__ = [
    "DATASETS",
    "Auction",
    "BidClickEnv",
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
]

quiet_gym_notice()

if "BidClick-v0" not in registry:
    register(id="BidClick-v0", entry_point="bidclick_gym.env:BidClickEnv")
    register(
        id="BidClickMonotone-v0",
        entry_point="bidclick_gym.env:BidClickEnv",
        kwargs={"cost_range": MONOTONE_COST_RANGE},
    )
