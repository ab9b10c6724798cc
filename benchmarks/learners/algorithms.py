"""The algorithms of Table I, and what they all share: network, optimizer, schedule.

Everything that could favour one algorithm is in this one file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import d3rlpy
from d3rlpy.models import VectorEncoderFactory
from d3rlpy.optimizers import AdamFactory
from d3rlpy.optimizers.lr_schedulers import CosineAnnealingLRFactory
from d3rlpy.preprocessing import MinMaxActionScaler, StandardRewardScaler

from icac_algo import (
    Concave,
    ConstraintAwareQConfig,
    DiscreteIQLConfig,
    Euclidean,
    KnownCost,
    Monotone,
    MonotoneConcave,
    ShapedQFunctionFactory,
)

__all__ = ["ALGORITHMS", "CLICK_MODEL", "Entry", "shared_settings"]

LEARNING_RATE = 1e-3
HIDDEN_UNITS = (64, 64)
BATCH_SIZE = 256
COST_FEATURE = 1

CLICK_MODEL = "ClickModel"


def shared_settings(steps: int, *parts: str) -> dict[str, Any]:
    """Network, optimizer, schedule and batch size, for a d3rlpy config.

    Args:
        steps: gradient steps; the learning rate falls to 0 along a cosine.
        parts: the config's name prefixes (``"actor"``, ``"critic"``, ``"value"``); none
            for configs with one network.
    """

    def encoder() -> VectorEncoderFactory:
        return VectorEncoderFactory(list(HIDDEN_UNITS))

    def optimizer() -> AdamFactory:
        return AdamFactory(lr_scheduler_factory=CosineAnnealingLRFactory(T_max=steps))

    settings: dict[str, Any] = {"batch_size": BATCH_SIZE}
    for part in parts or ("",):
        prefix = f"{part}_" if part else ""
        settings[f"{prefix}encoder_factory"] = encoder()
        if part != "value":
            settings[f"{prefix}optim_factory"] = optimizer()
            settings[f"{prefix}learning_rate"] = LEARNING_RATE
    return settings


def reward_scaler() -> StandardRewardScaler:
    """Centred rewards of spread one half, for every algorithm that learns values.

    Centring helps all of them.  One half keeps every Bellman error of this task inside
    the quadratic part of the Huber loss of d3rlpy's DQN and CQL; at spread 1 they would
    learn something between mean and median.
    """
    return StandardRewardScaler(multiplier=0.5)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row of the table.

    Args:
        name: as shown.
        make: gradient steps and tuned values to a d3rlpy config; ``None`` for the
            click model.
        constraint: label of the shape imposed, if any.
        continuous: whether it is trained on bids as floats and snapped.
        tuned: hyperparameters that are chosen by the oracle's return, with the grid.
        counted_shape: shape and known-cost flag of its own constraint, for counting.
    """

    name: str
    make: Callable[..., Any] | None
    constraint: str = ""
    continuous: bool = False
    tuned: dict[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    counted_shape: tuple[str, bool] | None = None


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
        q_func_factory=ShapedQFunctionFactory(constraint=Concave(), scale=0.5),
        **shared_settings(steps),
    )


def _iql(steps: int, **tuned: float) -> Any:
    return d3rlpy.algos.IQLConfig(
        reward_scaler=reward_scaler(),
        action_scaler=MinMaxActionScaler(minimum=[0.0], maximum=[1.0]),
        value_encoder_factory=VectorEncoderFactory(list(HIDDEN_UNITS)),
        **shared_settings(steps, "actor", "critic"),
        **tuned,
    )


def _discrete_iql(steps: int, **tuned: Any) -> Any:
    return DiscreteIQLConfig(
        reward_scaler=reward_scaler(),
        value_encoder_factory=VectorEncoderFactory(list(HIDDEN_UNITS)),
        **shared_settings(steps, "actor", "critic"),
        **tuned,
    )


def _ours(**fields: Any) -> Callable[[int], Any]:
    def make(steps: int) -> Any:
        settings = shared_settings(steps, "critic", "actor")
        return ConstraintAwareQConfig(reward_scaler=reward_scaler(), **settings, **fields)

    return make


_COST = KnownCost(feature=COST_FEATURE)
_ALPHAS = (0.001, 0.003, 0.01, 0.03, 0.1)
_IQL_GRID = {
    "weight_temp": (10.0, 30.0, 100.0, 300.0, 1000.0),
    "expectile": (0.5, 0.7, 0.9),
}

ALGORITHMS: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry("BC", _bc),
        Entry("DQN", _dqn),
        Entry("CQL", _cql, tuned={"alpha": _ALPHAS}),
        Entry("CQL-default", _cql),
        Entry(
            "CQL + Concave",
            _concave_cql,
            constraint="Concave",
            counted_shape=("concave", False),
        ),
        Entry("IQL", _iql, continuous=True, tuned=_IQL_GRID),
        Entry("IQL-default", _iql, continuous=True),
        Entry("DiscreteIQL", _discrete_iql, tuned=_IQL_GRID),
        Entry(CLICK_MODEL, None),
        Entry(
            "Ours-paper",
            # The paper's algorithm to the letter: its ablation says that the full
            # method has spectral normalization; it has no pull.
            _ours(
                constraint=Monotone(),
                critic=Euclidean(pull=0.0, spectral_norm=True),
                actor="network",
            ),
            constraint="Monotone",
            counted_shape=("monotone", False),
        ),
        Entry(
            "Ours-Monotone",
            _ours(constraint=Monotone()),
            constraint="Monotone",
            counted_shape=("monotone", False),
        ),
        Entry(
            "Ours-Concave",
            _ours(constraint=Concave()),
            constraint="Concave",
            counted_shape=("concave", False),
        ),
        Entry(
            "Ours-KnownCost",
            _ours(constraint=MonotoneConcave(known_cost=_COST)),
            constraint="MonotoneConcave + known cost",
            counted_shape=("monotone_concave", True),
        ),
    )
}
