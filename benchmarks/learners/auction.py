"""The learners of Table I."""

from __future__ import annotations

from typing import Any

import d3rlpy
from d3rlpy.preprocessing import MinMaxActionScaler

from icac_algo import DiscreteIQLConfig, Euclidean, ShapedQFunctionFactory, shapes

from .learner import (
    Learner,
    constraint_aware_q,
    hidden_layers,
    registry,
    reward_scaler,
    shared_settings,
)

COST_FEATURE = 1
CLICK_MODEL = "ClickModel"


def _bc(steps: int) -> Any:
    return d3rlpy.algos.DiscreteBCConfig(**shared_settings(steps))


def _dqn(steps: int) -> Any:
    return d3rlpy.algos.DQNConfig(reward_scaler=reward_scaler(), **shared_settings(steps))


def _cql(steps: int, alpha: float = 1.0) -> Any:
    return d3rlpy.algos.DiscreteCQLConfig(
        alpha=alpha, reward_scaler=reward_scaler(), **shared_settings(steps)
    )


def _concave_cql(steps: int, alpha: float = 0.01) -> Any:
    """The paper's section V: pessimism and a shape; alpha as tuned for CQL."""
    return d3rlpy.algos.DiscreteCQLConfig(
        alpha=alpha,
        reward_scaler=reward_scaler(),
        # Rewards are centred and of spread one half.
        q_func_factory=ShapedQFunctionFactory(constraint=shapes.Concave(), scale=0.5),
        **shared_settings(steps),
    )


def _iql(steps: int, **tuned: float) -> Any:
    return d3rlpy.algos.IQLConfig(
        reward_scaler=reward_scaler(),
        action_scaler=MinMaxActionScaler(minimum=[0.0], maximum=[1.0]),
        value_encoder_factory=hidden_layers(),
        **shared_settings(steps, "actor", "critic"),
        **tuned,
    )


def _discrete_iql(steps: int, **tuned: Any) -> Any:
    return DiscreteIQLConfig(
        reward_scaler=reward_scaler(),
        value_encoder_factory=hidden_layers(),
        **shared_settings(steps, "actor", "critic"),
        **tuned,
    )


_COST = shapes.KnownCost(feature=COST_FEATURE)
_ALPHAS = (0.001, 0.003, 0.01, 0.03, 0.1)
_IQL_GRID = {
    "weight_temp": (10.0, 30.0, 100.0, 300.0, 1000.0),
    "expectile": (0.5, 0.7, 0.9),
}

AUCTION_LEARNERS: dict[str, Learner] = registry(
    Learner("BC", _bc),
    Learner("DQN", _dqn),
    Learner("CQL", _cql, tuned={"alpha": _ALPHAS}),
    Learner("CQL-default", _cql, kind="untuned"),
    Learner(
        "CQL + Concave",
        _concave_cql,
        kind="ours",
        shape="Concave",
        counted=("concave", False),
    ),
    Learner("IQL", _iql, continuous=True, tuned=_IQL_GRID),
    Learner("IQL-default", _iql, kind="untuned", continuous=True),
    Learner("DiscreteIQL", _discrete_iql, tuned=_IQL_GRID),
    Learner(CLICK_MODEL, None, kind="limit"),
    Learner(
        "Ours-paper",
        # The paper's algorithm to the letter: its ablation says that the full method
        # has spectral normalization; it has no pull.
        constraint_aware_q(
            constraint=shapes.Monotone(),
            critic=Euclidean(pull=0.0, spectral_norm=True),
            actor="network",
        ),
        kind="ours",
        shape="Monotone",
        counted=("monotone", False),
    ),
    Learner(
        "Ours-Monotone",
        constraint_aware_q(constraint=shapes.Monotone()),
        kind="ours",
        shape="Monotone",
        counted=("monotone", False),
    ),
    Learner(
        "Ours-Concave",
        constraint_aware_q(constraint=shapes.Concave()),
        kind="ours",
        shape="Concave",
        counted=("concave", False),
    ),
    Learner(
        "Ours-KnownCost",
        constraint_aware_q(constraint=shapes.MonotoneConcave(known_cost=_COST)),
        kind="ours",
        shape="MonotoneConcave + known cost",
        counted=("monotone_concave", True),
    ),
)
