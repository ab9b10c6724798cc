"""Table II: every variant trained, every critic of it measured."""

from __future__ import annotations

import time
from collections.abc import Iterable

from bidclick_gym import simulate_log
from bidclick_gym.evaluators import (
    ResidualEvaluator,
    ReturnEvaluator,
    action_values,
    fixed_contexts,
)
from bidclick_gym.logs.datasets import to_replay_buffer
from icac_algo import ConstraintAwareQConfig

from ..auction.measures import GRID, auction_of, figures
from ..engine import Cell, Part, Settings, keys_of
from ..engine.rows import Rows
from ..learners import trained
from .critic_views import CriticView
from .table1 import ENVS
from .variants import VARIANTS

FRACTIONS = (1.0, 0.0625)
#: Those of Table I that are measured here too.
_FIGURES = (
    *("return", "regret", "normalized_regret", "monotonicity_errors"),
    *("violation_magnitude", "largest_violation", "residual"),
)


def _cells(settings: Settings) -> Iterable[Cell]:
    few = 1 if settings.quick else None
    for seed in range(settings.seeds):
        for env in ENVS[:few]:
            for fraction in FRACTIONS[:few]:
                for name, variant in VARIANTS.items():
                    if not variant.same_as:
                        where = {"env": env, "fraction": fraction}
                        yield Cell.of("table2", name, seed, steps=settings.steps, **where)


def _config(cell: Cell) -> ConstraintAwareQConfig:
    return VARIANTS[cell.learner].make(cell["steps"])


def measure_variant(cell: Cell) -> Rows:
    """Trains a variant; one row for each of its critics."""
    variant, auction = VARIANTS[cell.learner], auction_of(cell["env"])
    log = simulate_log(auction, seed=cell.seed)
    dataset = to_replay_buffer(log, cell["fraction"], cell.seed)
    start = time.perf_counter()
    algo = trained(_config(cell), dataset, cell.seed, cell["steps"])
    seconds = time.perf_counter() - start
    contexts = fixed_contexts(auction)
    inner_steps = algo.config.critic.inner_iterations
    if getattr(algo.impl, "solves", 0):
        inner_steps = algo.impl.inner_steps / algo.impl.solves
    actor_return = ReturnEvaluator(auction)(CriticView(algo, "actor"))
    rows = []
    for name in variant.critics:
        view = CriticView(algo, name)
        residual = None
        if name != "actor":  # whose scores are no values
            residual = ResidualEvaluator(auction, n=GRID)(view)
        value, q = ReturnEvaluator(auction)(view), action_values(view, auction, contexts)
        measured = figures(auction, value, q, residual)
        rows.append(
            {
                "critic": name,
                "counted": int(name == variant.counted),
                **{name: measured[name] for name in _FIGURES},
                "actor_return": actor_return,
                "lambda": algo.multiplier,
                "inner_steps": inner_steps,
                "train_seconds": seconds,
            }
        )
    return rows


TABLE2_PART = Part(
    "table2",
    (
        *("variant", "critic", "counted", "env", "fraction", "seed", "steps"),
        *(*_FIGURES[:3], "actor_return", *_FIGURES[3:]),
        *("lambda", "inner_steps", "train_seconds"),
    ),
    _cells,
    measure_variant,
    _config,
    learner="variant",
    arrange=keys_of("env", "fraction", "variant", "critic", "seed"),
)
