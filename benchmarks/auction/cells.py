"""Cells of Table I: one algorithm on one log with one seed, trained and measured."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from typing import Any

__all__ = ["Cell", "digest_of", "train_and_measure"]

# Part of every digest: raise it when training or measuring changes.
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Cell:
    """What to run.

    Args:
        algorithm: a name in ``benchmarks.learners.algorithms.AUCTION_LEARNERS``.
        env: Gymnasium id of the auction.
        fraction: share of the log of 100,000 impressions.
        seed: draws the log, its subsample and the training.
        steps: gradient steps.
        tuned: hyperparameters beyond the shared settings, as sorted pairs.
    """

    algorithm: str
    env: str = "BidClick-v0"
    fraction: float = 1.0
    seed: int = 0
    steps: int = 5000
    tuned: tuple[tuple[str, float], ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """All that the result depends on, as JSON types."""
        from ..learners import AUCTION_LEARNERS

        make = AUCTION_LEARNERS[self.algorithm].make
        config = None
        if make is not None:
            made = make(self.steps, **dict(self.tuned))
            config = {"type": made.get_type(), "params": made.serialize_to_dict()}
        return {"format": FORMAT, "config": config, **dataclasses.asdict(self)}

    @property
    def digest(self) -> str:
        """Name of the cell's file."""
        return digest_of(self.settings)


def digest_of(settings: dict[str, Any]) -> str:
    """A short name for all that a result depends on."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def train_and_measure(cell: Cell) -> list[dict[str, Any]]:
    """Draws the log, trains, and measures; one row, or two for behaviour cloning."""
    import d3rlpy
    import gymnasium as gym

    from bidclick_gym import simulate_log
    from bidclick_gym.logs.datasets import to_replay_buffer
    from bidclick_gym.logs.log import subsample_impressions

    from ..learners import AUCTION_LEARNERS, ClickModel, fit_quietly
    from .measures import ConstraintMonitor, measure
    from .regret_tasks import click_columns

    entry = AUCTION_LEARNERS[cell.algorithm]
    auction = gym.make(cell.env).unwrapped.auction  # type: ignore[attr-defined]
    log = simulate_log(auction, seed=cell.seed)
    d3rlpy.seed(cell.seed)
    start = time.perf_counter()
    if entry.make is None:
        kept = subsample_impressions(log, cell.fraction, cell.seed)
        model: Any = ClickModel(auction.bids).fit(*click_columns(log, kept))
        monitor = ConstraintMonitor(auction, ())
    else:
        dataset = to_replay_buffer(
            log, cell.fraction, cell.seed, continuous=entry.continuous
        )
        model = entry.make(cell.steps, **dict(cell.tuned)).create(device="cpu:0")
        monitor = ConstraintMonitor(auction, entry.counted)
        start = time.perf_counter()
        fit_quietly(model, dataset, cell.steps, monitor)
    seconds = time.perf_counter() - start
    row = {
        "algorithm": entry.name,
        "constraint": entry.shape,
        "env": cell.env,
        "fraction": cell.fraction,
        "seed": cell.seed,
        "steps": cell.steps,
    }
    return [
        {**row, "algorithm": entry.name, **measured, "train_seconds": seconds}
        for measured in measure(model, auction, monitor.errors, entry.name == "BC")
    ]
