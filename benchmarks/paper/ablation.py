"""Table II: every variant trained, every critic of it measured."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from ..auction.cells import digest_of
from ..learners import fit_quietly
from .critic_views import CriticView
from .variants import VARIANTS

__all__ = ["COLUMNS", "AblationCell", "train_variant"]

COLUMNS = (
    "variant",
    "critic",
    "counted",
    "env",
    "fraction",
    "seed",
    "steps",
    "return",
    "regret",
    "normalized_regret",
    "actor_return",
    "monotonicity_errors",
    "violation_magnitude",
    "largest_violation",
    "residual",
    "lambda",
    "inner_steps",
    "train_seconds",
)
#: Raise when training or measuring changes.
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class AblationCell:
    """One variant on one log.

    Args:
        variant: a name in ``VARIANTS``.
        env: Gymnasium id of the auction.
        fraction: share of the log of 100,000 impressions.
        seed: draws the log, its subsample and the training.
        steps: gradient steps.
    """

    variant: str
    env: str = "BidClick-v0"
    fraction: float = 1.0
    seed: int = 0
    steps: int = 5000

    @property
    def digest(self) -> str:
        """Name of the cell's file."""
        made = VARIANTS[self.variant].make(self.steps)
        config = {"type": made.get_type(), "params": made.serialize_to_dict()}
        return digest_of(
            {"ablation": FORMAT, "config": config, **dataclasses.asdict(self)}
        )


def train_variant(cell: AblationCell) -> list[dict[str, Any]]:
    """Trains a variant; one row for each of its critics."""
    import d3rlpy
    import gymnasium as gym

    from bidclick_gym import simulate_log
    from bidclick_gym.evaluators import (
        ResidualEvaluator,
        ReturnEvaluator,
        ViolationEvaluator,
        action_values,
        fixed_contexts,
    )
    from bidclick_gym.logs.datasets import to_replay_buffer

    variant = VARIANTS[cell.variant]
    auction = gym.make(cell.env).unwrapped.auction  # type: ignore[attr-defined]
    dataset = to_replay_buffer(
        simulate_log(auction, seed=cell.seed), cell.fraction, cell.seed
    )
    d3rlpy.seed(cell.seed)
    algo = variant.make(cell.steps).create(device="cpu:0")
    start = time.perf_counter()
    fit_quietly(algo, dataset, cell.steps)
    seconds = time.perf_counter() - start
    best = auction.optimal_value(200)
    impl: Any = algo.impl
    steps = algo.config.critic.inner_iterations
    if getattr(impl, "solves", 0):
        steps = impl.inner_steps / impl.solves
    actor_return = ReturnEvaluator(auction)(CriticView(algo, "actor"))
    views = ["raw", "proximal", "exact"]
    if variant.counted in ("raw", "actor"):
        # Nothing is projected in these.
        views = ["raw"] + (["actor"] if variant.counted == "actor" else [])
    rows = []
    for name in views:
        view = CriticView(algo, name)
        value = ReturnEvaluator(auction)(view)
        q = action_values(view, auction, fixed_contexts(auction))

        def count(statistic: str, q: Any = q) -> float:
            return ViolationEvaluator(auction, statistic=statistic).of_values(q)

        rows.append(
            {
                "variant": cell.variant,
                "critic": name,
                "counted": int(name == variant.counted),
                "env": cell.env,
                "fraction": cell.fraction,
                "seed": cell.seed,
                "steps": cell.steps,
                "return": value,
                "regret": best - value,
                "normalized_regret": (best - value) / best,
                "actor_return": actor_return,
                "monotonicity_errors": count("count"),
                "violation_magnitude": count("mean"),
                "largest_violation": count("max"),
                "residual": None
                if name == "actor"
                else ResidualEvaluator(auction, n=200)(view),
                "lambda": algo.multiplier,
                "inner_steps": steps,
                "train_seconds": seconds,
            }
        )
    return rows
