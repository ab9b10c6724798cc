"""Who competes in the regret benchmark: baselines, and ever stronger priors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from d3rlpy.algos import DQNConfig
from d3rlpy.models.q_functions import QFunctionFactory, register_q_func_factory
from d3rlpy.models.torch import (
    DiscreteMeanQFunctionForwarder,
    DiscreteQFunction,
    QFunctionOutput,
)
from torch import nn

from icac_algo import (
    Concave,
    Intersection,
    KnownCost,
    Monotone,
    MonotoneConcave,
    Outcome,
    SlopeBounds,
    StateMonotone,
    Unconstrained,
)

from .auction import AUCTION_LEARNERS, CLICK_MODEL, COST_FEATURE
from .learner import (
    HIDDEN_UNITS,
    Learner,
    constraint_aware_q,
    hidden_layers,
    registry,
    reward_scaler,
    shared_settings,
)

QUERY_FEATURE = 0
# No bid raises the click probability faster than 2 p (1 - p) <= 1/2; one who does not
# know that would still say that a whole unit of bid cannot add a whole click.
STEEPEST_CLICK = 1.0
EVERY_TASK = ("5 bids", "21 unequal bids", "any bid")


class _BidInput(DiscreteQFunction):
    """An unconstrained critic with the bid as an input: ``(B, 2)`` to ``(B, K)``."""

    bids: torch.Tensor

    def __init__(self, bids: list[float], observation_size: int):
        super().__init__()
        self.register_buffer("bids", torch.tensor(bids))
        self._encoder = hidden_layers().create((observation_size + 1,))
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
    """Critics of d3rlpy's discrete algorithms that see the bid as a number."""

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
class PriorLearner(Learner):
    """One row; ``make`` takes the task's bids, gradient steps and tuned values."""

    tasks: tuple[str, ...] = ("5 bids",)  # where it takes part
    main: bool = False  # whether it runs on all seeds, not only on the first half

    @property
    def label(self) -> str:
        """As tables show it."""
        return f"ours: {self.name}" if self.kind == "ours" else self.name


def _from_table(name: str) -> Callable[..., Any]:
    learner = AUCTION_LEARNERS[name]
    return lambda bids, steps, **tuned: learner.config(steps, **tuned)


def _dqn_with_bid(bids: Sequence[float], steps: int) -> Any:
    return DQNConfig(
        reward_scaler=reward_scaler(),
        q_func_factory=BidInputQFunctionFactory(bids=list(bids)),
        **shared_settings(steps),
    )


def _ours(
    shape: Callable[..., Any], with_cost: bool = False, by_state: bool = False
) -> Callable[..., Any]:
    def make(bids: Sequence[float], steps: int) -> Any:
        where: dict[str, Any] = {"actions": list(bids)}
        if with_cost:
            where["known_cost"] = KnownCost(feature=COST_FEATURE)
        state = [
            StateMonotone(features=[QUERY_FEATURE]),
            StateMonotone(features=[COST_FEATURE], increasing=False),
        ]
        return constraint_aware_q(
            constraint=shape(**where), state_constraints=state if by_state else []
        )(steps)

    return make


def _outcomes(ignores: Sequence[int] = ()) -> Callable[..., Any]:
    """The click on the log-odds, and its known cost."""

    def make(bids: Sequence[float], steps: int) -> Any:
        clicks = Outcome(
            "click",
            MonotoneConcave(actions=list(bids)),
            link="logit",
            ignores=list(ignores),
        )
        cost = Outcome(weight=f"-x{COST_FEATURE} * action")
        return constraint_aware_q(outcomes=[clicks, cost], reward_scaler=None)(steps)

    return make


def _bounded_slope(**where: Any) -> Any:
    return Intersection([MonotoneConcave(), SlopeBounds(0.0, STEEPEST_CLICK)], **where)


def _gentle(**where: Any) -> Any:
    # What the profit can do: clicks rise by at most 1, costs are at most 0.4.
    return SlopeBounds(-0.4, STEEPEST_CLICK, **where)


_IQL_GRID = {
    "weight_temp": (100.0, 1000.0, 10000.0),
    "expectile": (0.5, 0.7, 0.9),
}
_ALPHAS = (0.003, 0.01, 0.03, 0.1)


def _row(
    name: str, shape: Callable[..., Any], *knows: bool, **where: Any
) -> PriorLearner:
    return PriorLearner(name, _ours(shape, *knows), kind="ours", **where)


PRIOR_LEARNERS: dict[str, PriorLearner] = registry(
    PriorLearner(CLICK_MODEL, None, kind="limit", tasks=EVERY_TASK, main=True),
    PriorLearner(
        "IQL",
        _from_table("IQL"),
        continuous=True,
        tuned=_IQL_GRID,
        tasks=EVERY_TASK,
        main=True,
    ),
    PriorLearner("CQL", _from_table("CQL"), tuned={"alpha": _ALPHAS}, main=True),
    PriorLearner(
        "DQN with bid input",
        _dqn_with_bid,
        tasks=("5 bids", "21 unequal bids"),
        main=True,
    ),
    _row("no prior", Unconstrained),
    _row("nothing jumps", _gentle),
    _row("concave", Concave, tasks=EVERY_TASK),
    _row("clicks rise, cost known", Monotone, True),
    _row(
        "clicks rise concavely, cost known",
        MonotoneConcave,
        True,
        tasks=EVERY_TASK,
        main=True,
    ),
    _row("... and by at most 1 per unit", _bounded_slope, True),
    _row(
        "... and Q rises in x, falls in c",
        MonotoneConcave,
        True,
        True,
        tasks=EVERY_TASK,
        main=True,
    ),
    PriorLearner(
        "outcomes: log-odds of a click rise concavely",
        _outcomes(),
        kind="ours",
        tasks=EVERY_TASK,
        main=True,
    ),
    PriorLearner(
        "... and do not depend on the cost",
        _outcomes(ignores=[COST_FEATURE]),
        kind="ours",
        tasks=EVERY_TASK,
        main=True,
    ),
)
