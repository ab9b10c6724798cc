"""Training curves on campaigns, where bootstrapping and target networks matter.

Impressions stay together as campaigns of 1,000 with a discount of 0.99; target networks
that are copied are copied every 500 steps, so that refreshes can be seen.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import d3rlpy

from bidclick_gym import Auction, simulate_log
from bidclick_gym.evaluators import RegretEvaluator, ResidualEvaluator, ViolationEvaluator
from bidclick_gym.logs.datasets import to_replay_buffer
from icac_algo import Euclidean

from ..auction.table1 import tuned_config
from ..engine import Cell, Part, Settings, keys_of
from ..engine.rows import Rows
from ..learners import AUCTION_LEARNERS, Learner, fit_quietly

REFRESH = 500
_GAMMA = 0.99
#: Points of the grid in each dimension: what is watched often must be cheap.
_GRID = 32
#: Steps between two points.  A learner's own shape is checked at every step all the same.
_EVERY = 25
#: Each seed takes as long as all the rest of a table.
_MOST_SEEDS = 5
_QUICK = ("DQN", "CQL", "Ours-paper")
_WATCHED = (
    *("DQN", "CQL", "CQL-default", "IQL", "DiscreteIQL"),
    *("Ours-paper", "Ours-Monotone", "Ours-Concave"),
)


def _cells(settings: Settings) -> Iterable[Cell]:
    for seed in range(min(settings.seeds, _MOST_SEEDS)):
        for name in _QUICK if settings.quick else _WATCHED:
            yield Cell.of("curves", name, seed, steps=settings.steps, every=_EVERY)


def _config(cell: Cell) -> Any:
    """With target refreshes that can be seen."""
    config = tuned_config(cell.learner, cell["steps"])
    config.gamma = _GAMMA
    if hasattr(config, "target_update_interval"):
        config.target_update_interval = REFRESH
    return config


def watch_training(cell: Cell) -> Rows:
    """One row for every ``every`` steps."""
    learner, auction = AUCTION_LEARNERS[cell.learner], Auction()
    log = simulate_log(auction, seed=cell.seed)
    dataset = to_replay_buffer(log, as_bandit=False, continuous=learner.continuous)
    d3rlpy.seed(cell.seed)
    watch = _Watch(auction, learner, cell["every"])
    algo = _config(cell).create(device="cpu:0")
    fit_quietly(algo, dataset, cell["steps"], epochs=1, callback=watch)
    return watch.rows


class _Watch:
    """Called after every step."""

    def __init__(self, auction: Auction, learner: Learner, every: int):
        self._every = every
        self._errors = ViolationEvaluator(auction)
        self._regret = RegretEvaluator(auction, _GRID)
        self._residual = ResidualEvaluator(auction, _GAMMA, _GRID)
        self._own: ViolationEvaluator | None = None
        if learner.counted:
            shape, known_cost = learner.counted
            self._own = ViolationEvaluator(auction, shape, known_cost=known_cost)
        self._worst, self._checked = 0.0, 0
        self.rows: Rows = []

    def __call__(self, algo: Any, epoch: int, step: int) -> None:
        if self._own is not None:
            self._worst = max(self._worst, self._own(algo))
            self._checked += 1
        if step % self._every and step != 1:
            return
        is_euclidean = isinstance(getattr(algo.config, "critic", None), Euclidean)
        self.rows.append(
            {
                "step": step,
                "residual": self._residual(algo),
                "monotonicity_errors": self._errors(algo),
                "own_errors": None if self._own is None else self._worst,
                "checked": self._checked,
                "lambda": algo.multiplier if is_euclidean else None,
                "regret": self._regret(algo),
            }
        )
        self._worst = 0.0


CURVES_PART = Part(
    "curves",
    (
        *("algorithm", "seed", "step", "residual", "monotonicity_errors"),
        *("own_errors", "checked", "lambda", "regret"),
    ),
    _cells,
    watch_training,
    _config,
    learner="algorithm",
    arrange=keys_of("algorithm", "seed", "step"),
)
