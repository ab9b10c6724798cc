"""Training one config on one log of an auction."""

from __future__ import annotations

from typing import Any

import d3rlpy
import gymnasium as gym

from bidclick_gym import Auction

from ..auction.tuning import best_settings
from ..learners import AUCTION_LEARNERS, fit_quietly

__all__ = ["auction_of", "trained", "tuned_config"]


def auction_of(env: str) -> Auction:
    """The auction behind a Gymnasium id."""
    found: Auction = gym.make(env).unwrapped.auction  # type: ignore[attr-defined]
    return found


def tuned_config(name: str, steps: int) -> Any:
    """The d3rlpy config of a row of Table I, tuned if it is a baseline."""
    return AUCTION_LEARNERS[name].config(steps, **dict(best_settings().get(name, ())))


def trained(config: Any, dataset: Any, seed: int, steps: int) -> Any:
    """A trained d3rlpy algorithm."""
    d3rlpy.seed(seed)
    algo = config.create(device="cpu:0")
    fit_quietly(algo, dataset, steps)
    return algo
