"""Logs of the auction: columns, Minari datasets, replay buffers, shards."""

from __future__ import annotations

from .campaign_log import BudgetLog, simulate_budget_log
from .datasets import (
    BUDGET_DATASETS,
    DATASETS,
    get_dataset,
    get_log,
    load_minari,
    minari_id,
    to_replay_buffer,
)
from .log import (
    Log,
    fingerprint,
    simulate_campaign,
    simulate_log,
    subsample_impressions,
)
from .replay_log import simulate_replay_log
from .shards import write_shards

__all__ = [
    "BUDGET_DATASETS",
    "DATASETS",
    "BudgetLog",
    "Log",
    "fingerprint",
    "get_dataset",
    "get_log",
    "load_minari",
    "minari_id",
    "simulate_budget_log",
    "simulate_campaign",
    "simulate_log",
    "simulate_replay_log",
    "subsample_impressions",
    "to_replay_buffer",
    "write_shards",
]
