"""Training curves on campaigns, where bootstrapping and target networks matter.

Impressions stay together as campaigns of 1,000 with a discount of .99; target networks
that are copied are copied every 500 steps, so that refreshes can be seen.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from icac_algo import Euclidean

from ..auction.cells import digest_of
from ..auction.tuning import best_settings
from ..learners import AUCTION_LEARNERS

__all__ = ["COLUMNS", "CURVES", "CurveCell", "train_and_watch"]

#: Algorithms whose training is watched.
CURVES = (
    "DQN",
    "CQL",
    "CQL-default",
    "IQL",
    "DiscreteIQL",
    "Ours-paper",
    "Ours-Monotone",
    "Ours-Concave",
)
COLUMNS = (
    "algorithm",
    "seed",
    "step",
    "residual",
    "monotonicity_errors",
    "own_errors",
    "checked",
    "lambda",
    "regret",
)
GAMMA = 0.99
REFRESH = 500
#: Points of the grid in each dimension: what is watched often must be cheap.
GRID = 32
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class CurveCell:
    """One training run that is watched.

    Args:
        algorithm: a name in ``CURVES``.
        seed: draws the log and the training.
        steps: gradient steps.
        every: steps between two points of the curve.  The own shape of an algorithm
            that has one is checked at every step all the same.
    """

    algorithm: str
    seed: int = 0
    steps: int = 5000
    every: int = 25

    @property
    def digest(self) -> str:
        """Name of the cell's file."""
        config = self.config()
        return digest_of(
            {
                "curves": FORMAT,
                "config": {
                    "type": config.get_type(),
                    "params": config.serialize_to_dict(),
                },
                **dataclasses.asdict(self),
            }
        )

    def config(self) -> Any:
        """The d3rlpy config, with visible target refreshes."""
        make = AUCTION_LEARNERS[self.algorithm].make
        assert make is not None
        tuned = dict(best_settings().get(self.algorithm, ()))
        config = make(self.steps, **tuned)
        config.gamma = GAMMA
        if hasattr(config, "target_update_interval"):
            config.target_update_interval = REFRESH
        return config


def train_and_watch(cell: CurveCell) -> list[dict[str, Any]]:
    """One row for every ``every`` steps."""
    import contextlib

    import d3rlpy
    import gymnasium as gym

    from bidclick_gym import simulate_log
    from bidclick_gym.logs.datasets import to_replay_buffer

    entry = AUCTION_LEARNERS[cell.algorithm]
    auction = gym.make("BidClick-v0").unwrapped.auction  # type: ignore[attr-defined]
    dataset = to_replay_buffer(
        simulate_log(auction, seed=cell.seed),
        as_bandit=False,
        continuous=entry.continuous,
    )
    d3rlpy.seed(cell.seed)
    algo = cell.config().create(device="cpu:0")
    watch = _Watch(cell, auction, entry.counted)
    with contextlib.redirect_stdout(None):
        algo.fit(
            dataset,
            n_steps=cell.steps,
            n_steps_per_epoch=cell.steps,
            show_progress=False,
            logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
            callback=watch,
        )
    return watch.rows


class _Watch:
    def __init__(self, cell: CurveCell, auction: Any, shape: tuple[str, bool] | None):
        from bidclick_gym.evaluators import (
            RegretEvaluator,
            ResidualEvaluator,
            ViolationEvaluator,
        )

        self._cell = cell
        self._errors = ViolationEvaluator(auction)
        self._regret = RegretEvaluator(auction, GRID)
        self._residual = ResidualEvaluator(auction, GAMMA, GRID)
        self._own = (
            ViolationEvaluator(auction, shape[0], known_cost=shape[1]) if shape else None
        )
        self._worst, self._checked = 0.0, 0
        self.rows: list[dict[str, Any]] = []

    def __call__(self, algo: Any, epoch: int, step: int) -> None:
        if self._own is not None:
            self._worst = max(self._worst, self._own(algo))
            self._checked += 1
        if step % self._cell.every and step != 1:
            return
        is_euclidean = isinstance(getattr(algo.config, "critic", None), Euclidean)
        self.rows.append(
            {
                "algorithm": self._cell.algorithm,
                "seed": self._cell.seed,
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
