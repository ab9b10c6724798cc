"""The figures of Table I, as ``docs/results/README.md`` defines them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from bidclick_gym.auction import Auction
from bidclick_gym.evaluators import (
    ResidualEvaluator,
    ReturnEvaluator,
    ViolationEvaluator,
    action_values,
    fixed_contexts,
)

from ..engine.rows import Row, Rows

COLUMNS = (
    "algorithm",
    "constraint",
    "env",
    "fraction",
    "seed",
    "steps",
    "return",
    "regret",
    "normalized_regret",
    "monotonicity_errors",
    "violation_magnitude",
    "largest_violation",
    "concavity_errors",
    "constraint_errors",
    "residual",
    "train_seconds",
)
GRID = 200


def auction_of(env: str) -> Auction:
    return gym.make(env).unwrapped.auction  # type: ignore[attr-defined]


class ConstraintMonitor:
    """The most errors of an algorithm's own shape at any evaluation, if it has one."""

    def __init__(self, auction: Auction, shape: tuple[Any, ...]):
        self._evaluator = (
            ViolationEvaluator(auction, shape[0], known_cost=shape[1]) if shape else None
        )
        self.errors: float | None = 0.0 if shape else None

    def __call__(self, algo: Any, epoch: int, step: int) -> None:
        if self._evaluator is not None:
            assert self.errors is not None
            self.errors = max(self.errors, self._evaluator(algo))


def measure(
    model: Any, auction: Auction, own_errors: float | None, is_cloned: bool = False
) -> Rows:
    """All figures of a trained model; behaviour cloning gives a second, sampled row."""
    value = ReturnEvaluator(auction, GRID)(model)
    contexts = fixed_contexts(auction)
    if not is_cloned:
        q = action_values(model, auction, contexts)
        residual = ResidualEvaluator(auction, n=GRID)(model)
        return [figures(auction, value, q, residual, own_errors)]
    # A cloned policy has no values: its log-probabilities are counted instead.
    grid = auction.contexts(GRID)
    sampled = np.exp(_log_probabilities(model, grid)) * auction.reward_table(grid)
    scores = _log_probabilities(model, contexts)
    values = {"BC (greedy)": value, "BC (sampled)": float(sampled.sum(1).mean())}
    return [
        {"algorithm": name, **figures(auction, value, scores, None, own_errors)}
        for name, value in values.items()
    ]


def figures(
    auction: Auction,
    value: float,
    q: npt.NDArray[Any],
    residual: float | None,
    own_errors: float | None = None,
) -> Row:
    best = auction.optimal_value(GRID)

    def count(shape: str, statistic: str) -> float:
        return ViolationEvaluator(auction, shape, statistic=statistic).of_values(q)

    return {
        "return": value,
        "regret": best - value,
        "normalized_regret": (best - value) / best,
        "monotonicity_errors": count("monotone", "count"),
        "violation_magnitude": count("monotone", "mean"),
        "largest_violation": count("monotone", "max"),
        "concavity_errors": count("concave", "count"),
        "constraint_errors": own_errors,
        "residual": residual,
    }


def _log_probabilities(model: Any, contexts: npt.NDArray[Any]) -> npt.NDArray[Any]:
    import torch

    with torch.no_grad():
        x = torch.as_tensor(np.asarray(contexts, dtype=np.float32))
        logits = model.impl.modules.imitator(x).logits
    return np.asarray(logits.double().log_softmax(dim=1))
