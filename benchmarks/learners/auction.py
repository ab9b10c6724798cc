"""The learners of Table I."""

from __future__ import annotations

from typing import Any

import d3rlpy
from d3rlpy.preprocessing import MinMaxActionScaler

from icac_algo import (
    DiscreteIQLConfig,
    Euclidean,
    Outcome,
    ShapedQFunctionFactory,
    shapes,
)

from .learner import Learner, configured, constraint_aware_q, hidden_layers, registry

COST_FEATURE = 1
CLICK_MODEL = "ClickModel"


_BC = configured(d3rlpy.algos.DiscreteBCConfig, reward_scaler=None)
_DQN = configured(d3rlpy.algos.DQNConfig)
_CQL = configured(d3rlpy.algos.DiscreteCQLConfig)
#: The paper's section V: pessimism and a shape; alpha as tuned for CQL.
_CONCAVE_CQL = configured(
    d3rlpy.algos.DiscreteCQLConfig,
    alpha=0.01,
    # Rewards are centred and of spread one half.
    q_func_factory=ShapedQFunctionFactory(constraint=shapes.Concave(), scale=0.5),
)
_IQL = configured(
    d3rlpy.algos.IQLConfig,
    *("actor", "critic"),
    action_scaler=MinMaxActionScaler(minimum=[0.0], maximum=[1.0]),
    value_encoder_factory=hidden_layers(),
)
_DISCRETE_IQL = configured(
    *(DiscreteIQLConfig, "actor", "critic"), value_encoder_factory=hidden_layers()
)

_COST = shapes.KnownCost(feature=COST_FEATURE)
_ALPHAS = (0.001, 0.003, 0.01, 0.03, 0.1)
_IQL_GRID = {
    "weight_temp": (10.0, 30.0, 100.0, 300.0, 1000.0),
    "expectile": (0.5, 0.7, 0.9),
}


def _ours(name: str, shape: shapes.Constraint, **fields: Any) -> Learner:
    words, counted = {
        shapes.Monotone: ("Monotone", ("monotone", False)),
        shapes.Concave: ("Concave", ("concave", False)),
        shapes.MonotoneConcave: (
            "MonotoneConcave + known cost",
            ("monotone_concave", True),
        ),
    }[type(shape)]
    make = constraint_aware_q(constraint=shape, **fields)
    return Learner(name, make, kind="ours", shape=words, counted=counted)


AUCTION_LEARNERS: dict[str, Learner] = registry(
    Learner("BC", _BC),
    Learner("DQN", _DQN),
    Learner("CQL", _CQL, tuned={"alpha": _ALPHAS}),
    Learner("CQL-default", _CQL, kind="untuned"),
    Learner(
        "CQL + Concave",
        _CONCAVE_CQL,
        kind="ours",
        shape="Concave",
        counted=("concave", False),
    ),
    Learner("IQL", _IQL, continuous=True, tuned=_IQL_GRID),
    Learner("IQL-default", _IQL, kind="untuned", continuous=True),
    Learner("DiscreteIQL", _DISCRETE_IQL, tuned=_IQL_GRID),
    Learner(CLICK_MODEL, None, kind="limit"),
    _ours(
        "Ours-paper",
        # The paper's algorithm to the letter: its ablation says that the full method
        # has spectral normalization; it has no pull.
        shapes.Monotone(),
        critic=Euclidean(pull=0.0, spectral_norm=True),
        actor="network",
    ),
    _ours("Ours-Monotone", shapes.Monotone()),
    _ours("Ours-Concave", shapes.Concave()),
    _ours("Ours-KnownCost", shapes.MonotoneConcave(known_cost=_COST)),
    Learner(
        "Ours-Outcomes",
        constraint_aware_q(
            outcomes=[
                Outcome("click", shapes.MonotoneConcave(), link="logit"),
                Outcome(weight=f"-x{COST_FEATURE} * action"),
            ],
            reward_scaler=None,
        ),
        kind="ours",
        shape="MonotoneConcave log-odds + known cost",
        counted=("monotone", True),
    ),
)
