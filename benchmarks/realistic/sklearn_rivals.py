"""What a practitioner would fit: trees and linear models, of the reward or its parts.

A model gives the mean reward of any action in any context; the policy takes the best
action of those within the log's range.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.metrics import log_loss, mean_poisson_deviance, mean_squared_error
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .worlds import Array, Log, Part, Problem, World

#: From contexts ``(N, F)`` and actions ``(N,)`` to means ``(N,)``.
Model = Callable[[Array, Array], Array]
Fit = Callable[[Any, Log, int], Model]

REWARD = Part("reward", "identity")
#: Learning rates with leaves; the number of trees is found by early stopping.
_TREES = ((0.05, 4), (0.05, 8), (0.1, 8), (0.1, 16), (0.1, 31))
_MAX_TREES, _PATIENCE, _HELD_OUT = 500, 20, 0.15
#: Strengths of L2 penalties, in units of rows.
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
#: Rows that settings are chosen on; the chosen ones learn from all.
_CHOSEN_ON = 20_000


@dataclasses.dataclass(frozen=True)
class Kind:
    """Models that settings choose among, by cross-validation."""

    settings: Sequence[Any]
    #: Part, settings, number of features and seed to an estimator.
    make: Callable[..., Any]
    #: Contexts and actions on [-1, 1] to what the estimator sees.
    features: Callable[[Array, Array], Array]


def on_axis(world: Problem, actions: Array) -> Array:
    """Actions on [-1, 1]: equally spaced where they are a list, as it was made to be."""
    if world.actions is None:
        return 2.0 * actions - 1.0
    places = np.linspace(-1.0, 1.0, len(world.actions))
    return np.interp(actions, world.actions, places)


def of_outcomes(kind: Kind) -> Fit:
    """Fits every part by its likelihood, and adds them up as the user knows to."""

    def fit(world: World, log: Log, seed: int) -> Model:
        models = {part.column: _fit(kind, world, log, part, seed) for part in world.parts}

        def value(contexts: Array, actions: Array) -> Array:
            means = {name: model(contexts, actions) for name, model in models.items()}
            return world.reward(contexts, actions, means)

        return value

    return fit


def of_reward(kind: Kind) -> Fit:
    return lambda world, log, seed: _fit(kind, world, log, REWARD, seed)


def _fit(kind: Kind, world: Problem, log: Log, part: Part, seed: int) -> Model:
    y = log.rewards if part is REWARD else log.outcomes[part.column]
    uses_action = part is REWARD or bool(part.rises)

    def features(contexts: Array, actions: Array) -> Array:
        return (
            kind.features(contexts, on_axis(world, actions)) if uses_action else contexts
        )

    seen = slice(None) if part.given is None else log.outcomes[part.given] == 1.0
    x, y = features(log.observations[seen], log.actions[seen]), y[seen]

    def make(settings: Any) -> Any:
        return kind.make(part, settings, x.shape[1], uses_action, seed)

    some = np.random.default_rng(seed).permutation(len(y))[:_CHOSEN_ON]
    folds = list(KFold(3).split(some))

    def loss(settings: Any) -> float:
        found = [
            _loss(part.link, make(settings).fit(x[some[a]], y[some[a]]), x, y, some[b])
            for a, b in folds
        ]
        return float(np.mean(found))

    model = make(min(kind.settings, key=loss)).fit(x, y)
    return lambda contexts, actions: _mean(part.link, model, features(contexts, actions))


def _mean(link: str, model: Any, x: Array) -> Array:
    return np.asarray(
        model.predict_proba(x)[:, 1] if link == "logit" else model.predict(x)
    )


def _loss(link: str, model: Any, x: Array, y: Array, rows: Array) -> float:
    mean, y = _mean(link, model, x[rows]), y[rows]
    if link == "logit":
        return float(log_loss(y, mean, labels=[0.0, 1.0]))
    if link == "log":
        return float(mean_poisson_deviance(y, np.maximum(mean, 1e-9)))
    return float(mean_squared_error(y, mean))


def _tree(part: Part, settings: Any, size: int, uses_action: bool, seed: int) -> Any:
    rate, leaves = settings
    # The action is the last feature.
    signs = [0] * (size - 1) + [part.rises if uses_action else 0]
    common: dict[str, Any] = {
        "learning_rate": rate,
        "max_leaf_nodes": leaves,
        "max_iter": _MAX_TREES,
        "monotonic_cst": signs,
        "early_stopping": True,
        "validation_fraction": _HELD_OUT,
        "n_iter_no_change": _PATIENCE,
        "random_state": seed,
    }
    if part.link == "logit":
        return HistGradientBoostingClassifier(**common)
    loss = "poisson" if part.link == "log" else "squared_error"
    return HistGradientBoostingRegressor(loss=loss, **common)


def _linear(part: Part, settings: Any, size: int, uses_action: bool, seed: int) -> Any:
    strength = float(settings)
    model: Any
    if part.link == "logit":
        model = LogisticRegression(C=1e-3 / strength, max_iter=300)
    elif part.link == "log":
        model = PoissonRegressor(alpha=strength, solver="newton-cholesky")
    else:
        model = Ridge(alpha=1e4 * strength)
    return make_pipeline(StandardScaler(), model)


def products(contexts: Array, actions: Array) -> Array:
    """Contexts, the action and its square, and the products of both with contexts."""
    a = actions[:, None]
    return np.hstack([contexts, a, a**2, a * contexts, a**2 * contexts])


def lines(contexts: Array, actions: Array) -> Array:
    a = actions[:, None]
    return np.hstack([contexts, a, a * contexts])


def joined(contexts: Array, actions: Array) -> Array:
    return np.column_stack([contexts, actions])


TREES = Kind(_TREES, _tree, joined)
QUADRATIC = Kind(_PENALTIES, _linear, products)
LINES = Kind(_PENALTIES, _linear, lines)


def best_within(
    world: Problem, model: Model, contexts: Array, low: float, high: float
) -> Array:
    """The best candidate actions of a model, of those from ``low`` to ``high``."""
    allowed = world.candidates
    allowed = allowed[(allowed >= low) & (allowed <= high)]
    chunks = np.array_split(contexts, max(1, len(contexts) // 500))
    found = []
    for chunk in chunks:
        pairs = np.array(list(itertools.product(range(len(chunk)), allowed)))
        values = model(chunk[pairs[:, 0].astype(int)], pairs[:, 1])
        found.append(allowed[values.reshape(len(chunk), -1).argmax(axis=1)])
    return np.concatenate(found)
