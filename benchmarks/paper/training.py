"""Training one config on one log of an auction."""

from __future__ import annotations

from typing import Any

import d3rlpy

from ..auction.table1 import TUNED_OFFLINE
from ..engine.tuning import best_settings
from ..learners import AUCTION_LEARNERS, fit_quietly


def tuned_config(name: str, steps: int) -> Any:
    """The d3rlpy config of a row of Table I, tuned if it is a baseline."""
    tuned = dict(best_settings(TUNED_OFFLINE).get(name, ()))
    return AUCTION_LEARNERS[name].config(steps, **tuned)


def trained(config: Any, dataset: Any, seed: int, steps: int) -> Any:
    d3rlpy.seed(seed)
    algo = config.create(device="cpu:0")
    fit_quietly(algo, dataset, steps)
    return algo
