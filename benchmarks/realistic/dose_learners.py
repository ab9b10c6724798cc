"""Who doses: ours with its defaults, models of the reward, IQL, CQL, and limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
    StackingRegressor,
)
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import ParameterGrid, ParameterSampler
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from ..learners import trained
from .learners import (
    Competitor,
    Policy,
    cql_of,
    from_model,
    iql_of,
    policy_of,
    told,
    variants,
)
from .patients import Patients, loss
from .sklearn_rivals import Kind, joined, of_reward, products
from .worlds import Array, Log

#: Gradient steps of a row of ours that does not look for them.
STEPS = 2000
#: Settings that are tried at most.
TRIES = 24
TREES, TREES_ON_RIDGE = "HistGradientBoosting", "HistGradientBoosting on a ridge"


def _ours(
    name: str, as_outcome: bool = True, steps: int | Literal["auto"] = "auto"
) -> Competitor:
    def fit(world: Patients, log: Log, seed: int) -> Mapping[str, Policy]:
        config, dataset = told(world, log, as_outcome)
        algo = trained(config, dataset, seed, steps, epochs=1)
        return {name: policy_of(world, algo)}

    return Competitor(name, "ours", fit)


def _chosen(model: Any, features: Any = joined, **choices: Sequence[Any]) -> Kind:
    """Random settings of an estimator, all of them where they are few."""
    tries = min(TRIES, len(ParameterGrid(choices)))
    settings = list(ParameterSampler(choices, tries, random_state=0))
    return Kind(
        settings, lambda part, chosen, *_: clone(model).set_params(**chosen), features
    )


def _quadratic(x: Array) -> Array:
    """Of doses on [0, 1], where a ridge does better than on [-1, 1]."""
    return products(x[:, :-1], 0.5 + 0.5 * x[:, -1])


def _heavy(contexts: Array, actions: Array) -> Array:
    """The dose, many times: in a kernel it counts as much as as many covariates."""
    return np.column_stack([contexts, np.repeat(actions[:, None], 25, axis=1)])


_TREES = {
    "learning_rate": (0.02, 0.05, 0.1),
    "max_iter": (100, 200, 400),
    "max_leaf_nodes": (4, 8, 16, 31),
    "min_samples_leaf": (10, 20, 50),
    "l2_regularization": (0.0, 1.0, 10.0),
    "max_features": (0.3, 1.0),
}
_FOREST = {"min_samples_leaf": (2, 5, 10), "max_features": (0.3, 0.7)}
_BOOSTED = HistGradientBoostingRegressor(random_state=0)
_RIDGE = make_pipeline(
    FunctionTransformer(_quadratic), StandardScaler(), RidgeCV(np.logspace(0.0, 4.0, 9))
)
#: What is linear in the covariates reaches trees as a prediction of rows held out.
_ON_RIDGE = StackingRegressor([("ridge", _RIDGE)], _BOOSTED, passthrough=True)
_MODELS = {
    TREES: _chosen(_BOOSTED, **_TREES),
    # What was tried first.
    f"{TREES}, 200 x 0.05": _chosen(_BOOSTED, max_iter=[200], learning_rate=[0.05]),
    TREES_ON_RIDGE: _chosen(
        _ON_RIDGE, **{f"final_estimator__{name}": of for name, of in _TREES.items()}
    ),
    "random forest": _chosen(RandomForestRegressor(100, random_state=0), **_FOREST),
    "extra trees": _chosen(ExtraTreesRegressor(100, random_state=0), **_FOREST),
    # Chooses its penalty by leaving one out.
    "quadratic ridge": _chosen(_RIDGE),
    "kernel ridge": _chosen(
        make_pipeline(StandardScaler(), KernelRidge(kernel="rbf")),
        _heavy,
        kernelridge__gamma=(0.0001, 0.0003, 0.001, 0.003),
        kernelridge__alpha=(0.003, 0.01, 0.03, 0.1, 0.3),
    ),
}


def _logger(world: Patients, log: Log, seed: int) -> Mapping[str, Policy]:
    return {"the logger": lambda x: world.logged}


def _single(world: Patients, log: Log, seed: int) -> Mapping[str, Policy]:
    doses = world.low + (world.high - world.low) * world.candidates
    best = world.candidates[loss(doses, world.right[:, None]).mean(axis=0).argmin()]
    return {"the best single dose": lambda x: np.full(len(x), best)}


def _sighted(world: Patients, log: Log, seed: int) -> Mapping[str, Policy]:
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(0.0, 4.0, 9)))
    model.fit(log.observations, np.log(world.right))

    def act(x: Array) -> Array:
        doses = np.exp(model.predict(x)).clip(world.low, world.high)
        return np.asarray((doses - world.low) / (world.high - world.low))

    return {"a ridge that sees the right dose": act}


DOSE_LEARNERS: dict[str, Competitor] = {
    one.name: one
    for one in (
        Competitor("the logger", "limit", _logger),
        Competitor("the best single dose", "limit", _single),
        Competitor("a ridge that sees the right dose", "limit", _sighted),
        _ours("ours", as_outcome=False),
        _ours("ours as an outcome"),
        _ours(f"ours as an outcome, {STEPS:,} steps", steps=STEPS),
        *(
            Competitor(name, "model", from_model(name, of_reward(kind)))
            for name, kind in _MODELS.items()
        ),
        # Alpha and temperature, and the weight decay as a share of that of the tables
        # of realistic logs.
        *variants("IQL", iql_of, (10.0, 1.0), (30.0, 1.0), (30.0, 0.1)),
        *variants("CQL", cql_of, (0.01, 1.0), (0.01, 0.1), (0.3, 1.0)),
    )
}
