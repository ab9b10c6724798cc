"""Who competes in the regret benchmark: baselines, and the ladder of priors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from d3rlpy.algos import CQLConfig, DQNConfig
from d3rlpy.models.encoders import VectorEncoderFactory
from d3rlpy.models.q_functions import QFunctionFactory, register_q_func_factory
from d3rlpy.models.torch import (
    DiscreteMeanQFunctionForwarder,
    DiscreteQFunction,
    QFunctionOutput,
)
from d3rlpy.preprocessing import MinMaxActionScaler
from torch import nn

from icac_algo import (
    Concave,
    ConstraintAwareQConfig,
    Intersection,
    KnownCost,
    Monotone,
    MonotoneConcave,
    SlopeBounds,
    StateMonotone,
    Unconstrained,
)

from ..learners import (
    AUCTION_LEARNERS,
    CLICK_MODEL,
    COST_FEATURE,
    HIDDEN_UNITS,
    LEARNING_RATE,
    reward_scaler,
    shared_settings,
)
from .regret_tasks import Task

__all__ = ["LADDER", "ROWS", "Row"]

QUERY_FEATURE = 0
# No bid raises the click probability faster than 2 p (1 - p) <= 1/2; one who does not
# know that would still say that a whole unit of bid cannot add a whole click.
STEEPEST_CLICK = 1.0


class _BidInput(DiscreteQFunction):
    """An unconstrained critic with the bid as an input: ``(B, 2)`` to ``(B, K)``."""

    bids: torch.Tensor

    def __init__(self, bids: list[float], observation_size: int):
        super().__init__()
        self.register_buffer("bids", torch.tensor(bids))
        factory = VectorEncoderFactory(list(HIDDEN_UNITS))
        self._encoder = factory.create((observation_size + 1,))
        self._fc = nn.Linear(HIDDEN_UNITS[-1], 1)

    def forward(self, x: Any) -> QFunctionOutput:
        count = len(self.bids)
        repeated = x.repeat_interleave(count, dim=0)
        inputs = torch.cat([repeated, self.bids.repeat(len(x))[:, None]], dim=1)
        values = self._fc(self._encoder(inputs)).reshape(-1, count)
        return QFunctionOutput(q_value=values, quantiles=None, taus=None)

    @property
    def encoder(self) -> Any:
        return self._encoder


@dataclasses.dataclass()
class BidInputQFunctionFactory(QFunctionFactory):
    """Critics of d3rlpy's discrete algorithms that see the bid as a number.

    Args:
        bids: the allowed bids.
    """

    bids: list[float] = dataclasses.field(default_factory=list)

    def create_discrete(self, encoder: Any, hidden_size: int, action_size: int) -> Any:
        size = next(m for m in encoder.modules() if isinstance(m, nn.Linear)).in_features
        q_func = _BidInput(self.bids, size)
        return q_func, DiscreteMeanQFunctionForwarder(q_func, action_size)

    @staticmethod
    def get_type() -> str:
        return "benchmark_bid_input"


register_q_func_factory(BidInputQFunctionFactory)


@dataclasses.dataclass(frozen=True)
class Row:
    """One competitor.

    Args:
        name: as shown.
        make: task, gradient steps and tuned values to a config; ``None`` for the
            click model.
        learned_on_floats: whether it is trained on bids as numbers over a list of bids.
        tuned: hyperparameters chosen by the oracle's regret, with the grid.
        ours: whether it is one of our rows.
        tasks: where it takes part.
        main: whether it runs on all seeds, not only on the first half.
    """

    name: str
    make: Callable[..., Any] | None
    learned_on_floats: bool = False
    tuned: tuple[tuple[str, tuple[float, ...]], ...] = ()
    ours: bool = False
    tasks: tuple[str, ...] = ("5 bids",)
    main: bool = False


def _from_table(name: str) -> Callable[..., Any]:
    make = AUCTION_LEARNERS[name].make
    assert make is not None
    return lambda task, steps, **tuned: make(steps, **tuned)


def _dqn_with_bid(task: Task, steps: int) -> Any:
    return DQNConfig(
        reward_scaler=reward_scaler(),
        q_func_factory=BidInputQFunctionFactory(bids=list(task.bids)),
        **shared_settings(steps),
    )


def _continuous_cql(task: Task, steps: int, **tuned: float) -> Any:
    return CQLConfig(
        reward_scaler=reward_scaler(),
        action_scaler=MinMaxActionScaler(minimum=[0.0], maximum=[1.0]),
        **shared_settings(steps, "actor", "critic"),
        **tuned,
    )


def _ours(
    shape: Callable[..., Any], with_cost: bool = False, by_state: bool = False
) -> Callable[..., Any]:
    def make(task: Task, steps: int) -> Any:
        settings = shared_settings(steps)
        settings["actor_optim_factory"] = settings["optim_factory"]
        settings["actor_learning_rate"] = LEARNING_RATE
        where: dict[str, Any] = {"actions": list(task.bids)}
        if with_cost:
            where["known_cost"] = KnownCost(feature=COST_FEATURE)
        state = [
            StateMonotone(features=[QUERY_FEATURE]),
            StateMonotone(features=[COST_FEATURE], increasing=False),
        ]
        return ConstraintAwareQConfig(
            constraint=shape(**where),
            state_constraints=state if by_state else [],
            reward_scaler=reward_scaler(),
            **settings,
        )

    return make


def _bounded_slope(**where: Any) -> Any:
    return Intersection([MonotoneConcave(), SlopeBounds(0.0, STEEPEST_CLICK)], **where)


def _gentle(**where: Any) -> Any:
    # What the profit can do: clicks rise by at most 1, costs are at most .4.
    return SlopeBounds(-0.4, STEEPEST_CLICK, **where)


EVERY_TASK = ("5 bids", "21 unequal bids", "any bid")
_TEMPERATURES = (100.0, 1000.0, 10000.0)
_ALPHAS = (0.003, 0.01, 0.03, 0.1)

ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        Row(CLICK_MODEL, None, tasks=EVERY_TASK, main=True),
        Row(
            "IQL",
            _from_table("IQL"),
            learned_on_floats=True,
            tuned=(("weight_temp", _TEMPERATURES), ("expectile", (0.5, 0.7, 0.9))),
            tasks=EVERY_TASK,
            main=True,
        ),
        Row("CQL", _from_table("CQL"), tuned=(("alpha", _ALPHAS),), main=True),
        Row(
            "DQN with bid input",
            _dqn_with_bid,
            tasks=("5 bids", "21 unequal bids"),
            main=True,
        ),
        Row("no prior", _ours(Unconstrained), ours=True),
        Row("nothing jumps", _ours(_gentle), ours=True),
        Row("concave", _ours(Concave), ours=True, tasks=EVERY_TASK),
        Row("clicks rise, cost known", _ours(Monotone, True), ours=True),
        Row(
            "clicks rise concavely, cost known",
            _ours(MonotoneConcave, True),
            ours=True,
            tasks=EVERY_TASK,
            main=True,
        ),
        Row("... and by at most 1 per unit", _ours(_bounded_slope, True), ours=True),
        Row(
            "... and Q rises in x, falls in c",
            _ours(MonotoneConcave, True, True),
            ours=True,
            tasks=EVERY_TASK,
            main=True,
        ),
    )
}
LADDER = tuple(name for name, row in ROWS.items() if row.ours)
