"""Who doses: ours with its defaults, models of the reward, and d3rlpy's IQL and CQL."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import KFold, ParameterGrid, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, StandardScaler

from icac_algo import ColumnarReplayBuffer, Concave, ConstraintAwareQConfig, Outcome

from ..learners import trained
from .learners import Competitor, Policy, cql, iql, variants
from .patients import Dosage
from .sklearn_rivals import best_within, lines, products
from .worlds import Array, Log

OURS, OURS_OUTCOME, TREES = "ours", "ours as an outcome", "HistGradientBoosting"
#: Gradient steps of ours.
STEPS = 1000
#: Settings that are tried at most, on as many folds of the training part.
TRIES, FOLDS = 24, 3


def told(
    problem: Dosage, log: Log, as_outcome: bool = False
) -> tuple[ConstraintAwareQConfig, ColumnarReplayBuffer]:
    """Our defaults and that the reward is concave in the dose, and the log."""
    shape = Concave(actions=[problem.low, problem.high])
    prior: dict[str, Any] = {"constraint": shape}
    if as_outcome:
        prior = {"outcomes": [Outcome("reward", shape)]}
    dataset = ColumnarReplayBuffer.from_arrays(
        log.observations.astype(np.float32),
        problem.dose(log.actions)[:, None].astype(np.float32),
        log.rewards,
        extras={"reward": log.rewards},
    )
    return ConstraintAwareQConfig(gamma=0.0, **prior), dataset


def policy_of(problem: Dosage, algo: Any) -> Policy:
    return lambda x: problem.share(algo.predict(x.astype(np.float32))[:, 0])


def _ours(
    problem: Dosage, log: Log, seed: int, as_outcome: bool = False
) -> Mapping[str, Policy]:
    config, dataset = told(problem, log, as_outcome)
    return {"": policy_of(problem, trained(config, dataset, seed, STEPS, epochs=1))}


# -- models of the reward, of covariates and, in the last column, the dose ----


def _straight(x: Array) -> Array:
    a = x[:, -1:]
    return np.hstack([lines(x[:, :-1], x[:, -1]), a**2])


def _squares(x: Array) -> Array:
    return products(x[:, :-1], x[:, -1])


def _pairs(x: Array) -> Array:
    return np.hstack([_squares(x), PolynomialFeatures(2).fit_transform(x[:, :-1])])


def _weighed(x: Array, weight: float) -> Array:
    return np.column_stack([x[:, :-1], weight * x[:, -1]])


class Guided(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A model that may be told what a ridge with quadratic terms found.

    Args:
        model: any regressor.
        guide: ``"none"``; ``"dose"`` adds the ridge's best dose and how far the dose is
            from it; with ``"rest"`` the model learns what the ridge leaves.
    """

    def __init__(self, model: Any = None, guide: str = "none"):
        self.model, self.guide = model, guide

    def fit(self, x: Array, y: Array) -> Guided:
        self.ridge_ = make_pipeline(
            FunctionTransformer(_squares),
            StandardScaler(),
            RidgeCV(np.logspace(-1.0, 4.5, 12)),
        ).fit(x, y)
        self.mean_ = y.mean()
        self.model_ = clone(self.model).fit(self._seen(x), y - self._base(x))
        return self

    def predict(self, x: Array) -> Array:
        return np.asarray(self._base(x) + self.model_.predict(self._seen(x)))

    def _base(self, x: Array) -> Any:
        return self.ridge_.predict(x) if self.guide == "rest" else self.mean_

    def _seen(self, x: Array) -> Array:
        if self.guide != "dose":
            return x
        # A parabola through three doses.
        low, middle, high = (
            self.ridge_.predict(np.column_stack([x[:, :-1], np.full(len(x), dose)]))
            for dose in (-1.0, 0.0, 1.0)
        )
        slope, bend = 0.5 * (high - low), 0.5 * (high + low) - middle
        top = np.clip(slope / np.maximum(-2.0 * bend, 1e-9), -1.0, 1.0)
        away = x[:, -1] - np.where(bend < 0.0, top, np.sign(slope))
        return np.column_stack([x, x[:, -1] - away, away, np.abs(away)])


_GUIDES = {"guide": ("none", "dose", "rest")}
_FOREST = {
    **_GUIDES,
    "model__min_samples_leaf": (2, 5),
    "model__max_features": (0.3, 0.7),
}
#: Estimators, and what is chosen of them.
_MODELS: dict[str, tuple[Any, Mapping[str, Sequence[Any]]]] = {
    TREES: (
        Guided(HistGradientBoostingRegressor(random_state=0)),
        {
            **_GUIDES,
            "model__learning_rate": (0.02, 0.05, 0.1),
            "model__max_iter": (100, 200, 400),
            "model__max_leaf_nodes": (4, 8, 16, 31),
            "model__min_samples_leaf": (10, 20, 50),
            "model__l2_regularization": (0.0, 1.0, 10.0),
            "model__max_features": (0.3, 1.0),
        },
    ),
    # What was tried first, as it is.
    f"{TREES}, 200 x 0.05": (
        HistGradientBoostingRegressor(max_iter=200, learning_rate=0.05, random_state=0),
        {"max_leaf_nodes": (31,)},
    ),
    "random forest": (Guided(RandomForestRegressor(100, random_state=0)), _FOREST),
    "extra trees": (Guided(ExtraTreesRegressor(100, random_state=0)), _FOREST),
    "quadratic ridge": (
        make_pipeline(FunctionTransformer(), StandardScaler(), Ridge()),
        {
            "functiontransformer__func": (_straight, _squares, _pairs),
            "ridge__alpha": tuple(np.logspace(0.5, 4.0, 8)),
        },
    ),
    "kernel ridge": (
        Guided(
            make_pipeline(
                StandardScaler(), FunctionTransformer(_weighed), KernelRidge(kernel="rbf")
            )
        ),
        {
            "guide": ("none", "rest"),
            "model__functiontransformer__kw_args": [{"weight": w} for w in (2, 5, 10)],
            "model__kernelridge__gamma": (0.0001, 0.0003, 0.001, 0.003),
            "model__kernelridge__alpha": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
        },
    ),
}


def _tuned(problem: Dosage, log: Log, seed: int, name: str) -> Mapping[str, Policy]:
    """The settings of the least squared error on folds, then a fit to the whole log."""
    model, grid = _MODELS[name]
    search = RandomizedSearchCV(
        model,
        dict(grid),
        n_iter=min(TRIES, len(ParameterGrid(dict(grid)))),
        scoring="neg_mean_squared_error",
        cv=KFold(FOLDS, shuffle=True, random_state=seed),
        random_state=seed,
        error_score="raise",
    ).fit(np.column_stack([log.observations, 2.0 * log.actions - 1.0]), log.rewards)

    def value(x: Array, shares: Array) -> Array:
        return np.asarray(search.predict(np.column_stack([x, 2.0 * shares - 1.0])))

    return {"": lambda x: best_within(problem, value, x, 0.0, 1.0)}


#: Alpha or temperature, and the weight decay as a share of what our critics of such a
#: log had, which all of them have in the tables of realistic logs.
_CQL = ((0.01, 1.0), (0.01, 0.1), (0.3, 1.0))
_IQL = ((10.0, 0.1), (30.0, 0.1), (100.0, 0.1))

DOSE_LEARNERS: dict[str, Competitor] = {
    one.name: one
    for one in (
        Competitor(OURS, "ours", _ours),
        Competitor(OURS_OUTCOME, "ours", functools.partial(_ours, as_outcome=True)),
        *(
            Competitor(name, "model", functools.partial(_tuned, name=name))
            for name in _MODELS
        ),
        *variants("IQL", iql, *_IQL),
        *variants("CQL", cql, *_CQL),
    )
}
