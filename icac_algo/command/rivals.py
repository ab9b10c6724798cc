"""What a practitioner would use instead: one action for all, boosted trees, a ridge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV

from .log import Part

FloatArray = npt.NDArray[np.float64]
#: From observations ``(N, d)`` to actions in their own units ``(N,)``.
Rule = Callable[[Any], FloatArray]

CONSTANT, TREES, RIDGE = "best single action", "boosted trees", "ridge"
# Rows that a rival learns from at most; more changes little and takes minutes.
_ROWS = 200_000
_AT_ONCE = 1 << 15


def rivals(part: Part, seed: int) -> dict[str, Rule]:
    """Each fitted on the same rows as ours.

    Trees and the ridge predict the reward of an observation and an action, and take the
    action of the highest prediction among the levels by which policies are judged.
    """
    some = part.some(_ROWS, seed)
    levels = np.array(part.space.judged)
    spread = (some.actions.mean(), some.actions.std() or 1.0)

    def joined(observations: Any, actions: Any) -> Any:
        return np.column_stack([observations, actions]).astype(np.float32)

    def products(observations: Any, actions: Any) -> Any:
        a = ((actions - spread[0]) / spread[1])[:, None]
        x = np.asarray(observations, np.float32)
        return np.concatenate([x, a, a**2, x * a, x * a**2], axis=1).astype(np.float32)

    trees = HistGradientBoostingRegressor(
        learning_rate=0.1, max_leaf_nodes=15, early_stopping=True, random_state=seed
    )
    trees.fit(joined(some.observations, some.actions), some.rewards)
    few = some.some(_ROWS // 4, seed)
    ridge = RidgeCV(alphas=(0.1, 1.0, 10.0, 100.0, 1000.0))
    ridge.fit(products(few.observations, few.actions), few.rewards)
    best = float(levels[int(np.argmax(mean_rewards(some)))])
    return {
        CONSTANT: lambda x: np.full(len(x), best),
        TREES: lambda x: _best(x, levels, lambda *one: trees.predict(joined(*one))),
        RIDGE: lambda x: _best(x, levels, lambda *one: ridge.predict(products(*one))),
    }


def mean_rewards(part: Part) -> FloatArray:
    """Of each judged level, weighted by propensities where the log has them, ``(K,)``."""
    size = len(part.space.judged)
    at = part.space.nearest(part.actions)
    weights = np.ones(len(part))
    if part.propensities is not None and part.space.levels is not None:
        weights = 1.0 / part.propensities
    total = np.bincount(at, weights, size)
    found = np.bincount(at, weights * part.rewards, size)
    return np.divide(found, total, out=np.full(size, -np.inf), where=total > 0.0)


def _best(observations: Any, levels: FloatArray, predict: Any) -> FloatArray:
    found = []
    for start in range(0, len(observations), _AT_ONCE):
        x = observations[start : start + _AT_ONCE]
        each = [predict(x, np.full(len(x), level)) for level in levels]
        found.append(levels[np.argmax(each, axis=0)])
    return np.concatenate(found) if found else np.zeros(0)
