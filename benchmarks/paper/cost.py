"""What an update and a ``fit`` step cost, all algorithms in turn in one process."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from ..auction.cells import digest_of
from ..auction.tuning import best_settings
from ..learners import AUCTION_LEARNERS, fit_quietly
from .variants import VARIANTS

__all__ = ["COLUMNS", "TIMED", "CostCell", "time_all"]

COLUMNS = ("algorithm", "round", "update_ms", "fit_step_ms")
#: Rows of Table I and, after a colon, variants of Table II.
TIMED = (
    "BC",
    "DQN",
    "CQL",
    "IQL",
    "DiscreteIQL",
    "Ours-paper",
    "Ours-Monotone",
    "Ours-Concave",
    "Ours-KnownCost",
    "variant: no warm start",
    "variant: 5 inner iterations",
    "variant: soft penalty",
)
_WARM_UP = 200
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class CostCell:
    """All algorithms timed for some rounds; run it alone on the machine.

    Args:
        rounds: in each, everything is timed once.
        updates: updates, and ``fit`` steps, for each time.
    """

    rounds: int = 7
    updates: int = 100

    @property
    def digest(self) -> str:
        """Name of the cell's file."""
        return digest_of(
            {"cost": FORMAT, "timed": list(TIMED), **dataclasses.asdict(self)}
        )

    @property
    def variant(self) -> str:
        """What a progress bar shows."""
        return "cost"


def time_all(cell: CostCell) -> list[dict[str, Any]]:
    """One row for each algorithm and round."""
    timers = {name: _timers(name, cell.updates) for name in TIMED}
    return [
        {
            "algorithm": name,
            "round": turn,
            "update_ms": 1e3 * update() / cell.updates,
            "fit_step_ms": 1e3 * fit() / cell.updates,
        }
        for turn in range(cell.rounds)
        for name, (update, fit) in timers.items()
    ]


def _timers(name: str, updates: int) -> tuple[Callable[[], float], Callable[[], float]]:
    """Trained for a while, then: seconds of updates on one batch, and of ``fit``."""
    import d3rlpy
    import gymnasium as gym

    from bidclick_gym import simulate_log
    from bidclick_gym.logs.datasets import to_replay_buffer

    auction = gym.make("BidClick-v0").unwrapped.auction  # type: ignore[attr-defined]
    variant = name.removeprefix("variant: ")
    continuous = name == "IQL"
    steps = 5000
    if variant != name:
        config: Any = VARIANTS[variant].make(steps)
    else:
        make = AUCTION_LEARNERS[name].make
        assert make is not None
        config = make(steps, **dict(best_settings().get(name, ())))
    dataset = to_replay_buffer(simulate_log(auction, seed=0), continuous=continuous)
    d3rlpy.seed(0)
    algo = config.create(device="cpu:0")
    fit_quietly(algo, dataset, _WARM_UP)
    batch = dataset.sample_transition_batch(algo.config.batch_size)

    def update() -> float:
        start = time.perf_counter()
        for _ in range(updates):
            algo.update(batch)
        return time.perf_counter() - start

    def fit() -> float:
        start = time.perf_counter()
        fit_quietly(algo, dataset, updates, epochs=1)
        return time.perf_counter() - start

    return update, fit
