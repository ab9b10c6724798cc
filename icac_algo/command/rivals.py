"""What a practitioner would use instead: one action for all, boosted trees, a ridge."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .log import Part

FloatArray = npt.NDArray[np.float64]
#: From observations ``(N, d)`` to actions in their own units ``(N,)``.
Rule = Callable[[Any], FloatArray]

RIVALS = CONSTANT, TREES, RIDGE = "best single action", "boosted trees", "ridge"
# Rows that a rival learns from at most; more changes little and takes minutes.
_ROWS = 200_000
_AT_ONCE = 1 << 15


@dataclasses.dataclass(frozen=True)
class Greedy:
    """Takes the level of the highest predicted reward.

    Args:
        predict: rewards ``(N,)`` of observations ``(N, d)`` and actions ``(N,)``.
        levels: of the action, rising.
    """

    predict: Callable[[Any, Any], FloatArray]
    levels: FloatArray

    def means(self, observations: Any, levels: FloatArray | None = None) -> FloatArray:
        """Predicted rewards of every level, or of others, ``(N, K)``."""
        levels = self.levels if levels is None else levels
        found = np.empty((len(observations), len(levels)))
        for start in range(0, len(observations), _AT_ONCE):
            x = observations[start : start + _AT_ONCE]
            for k, level in enumerate(levels):
                found[start : start + len(x), k] = self.predict(x, np.full(len(x), level))
        return found

    def __call__(self, observations: Any) -> FloatArray:
        return self.levels[np.argmax(self.means(observations), axis=1)]


def rivals(part: Part, seed: int) -> dict[str, Rule]:
    """Each fitted on the same rows as ours, to predict rewards of observed actions."""
    some = part.some(_ROWS, seed)
    levels = np.array(part.space.judged)
    middle, spread = some.actions.mean(), some.actions.std() or 1.0

    def joined(observations: Any, actions: Any) -> Any:
        return np.column_stack([observations, actions]).astype(np.float32)

    def products(observations: Any, actions: Any) -> Any:
        a = ((actions - middle) / spread)[:, None]
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
        TREES: Greedy(lambda *one: trees.predict(joined(*one)), levels),
        RIDGE: Greedy(lambda *one: ridge.predict(products(*one)), levels),
    }


def estimated_propensities(part: Part, of: Part, seed: int) -> FloatArray:
    """The logger's probability of each logged level of a part, ``(N,)``.

    Of any number its density: that of the level's group, over the group's width.  A
    multinomial logit of observations and their squares, fitted on other rows; its penalty
    is found by cross-validation.
    """
    some = part.some(_ROWS // 10, seed)
    at = part.space.nearest(some.actions)
    model = make_pipeline(
        StandardScaler(),
        LogisticRegressionCV(
            Cs=[1e-3, 1e-2, 1e-1, 1.0],
            cv=3,
            scoring="neg_log_loss",
            max_iter=300,
            l1_ratios=(0,),
            use_legacy_attributes=False,
        ),
    )
    model.fit(_squares(some.observations), at)
    chances = model.predict_proba(_squares(of.observations))
    found = np.zeros((len(of), len(part.space.judged)))
    found[:, model.classes_] = chances
    nearest = of.space.nearest(of.actions)
    # No estimate can tell how small a small probability is.
    logged = np.maximum(found[np.arange(len(of)), nearest], 1e-3)
    if of.space.levels is None:
        logged /= np.diff([of.space.low, *of.space.edges, of.space.high])[nearest]
    return logged


def _squares(observations: Any) -> Any:
    return np.concatenate([observations, observations**2], axis=1)


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
