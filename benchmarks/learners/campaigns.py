"""The learners of campaigns under a budget, and what they all share.

Network, optimizer, schedule, batches, reward scaling and discount are one for all.  How
far a target network lags is tuned for each of them, in gradient steps: those between two
copies, or those over which an averaged one lags.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import d3rlpy

from bidclick_gym.campaigns import BudgetedCampaign
from icac_algo import (
    Afterstates,
    BudgetRelabellingTransitionPicker,
    Concave,
    ConstraintAwareQConfig,
    DiscreteIQLConfig,
    KnownCost,
    MonotoneConcave,
    Outcome,
    StateMonotone,
    Unconstrained,
)
from icac_algo.shapes import Constraint

from .learner import Learner, configured, hidden_layers, registry

#: A campaign ends; the discount only keeps values finite in the eyes of the algorithms.
GAMMA = 0.999
#: Gradient steps by which targets lag, where nothing else was found: values must travel
#: back over 50 impressions well within a training.
LAG = 10.0

X, COST, BUDGET, CLOCK = range(4)


def _lagging(kind: Any, *parts: str, **fields: Any) -> Callable[..., Any]:
    """``make`` of configs whose targets lag, copied or averaged."""

    def make(steps: int, lag: float = LAG, **tuned: Any) -> Any:
        averages = "tau" in kind.__dataclass_fields__
        targets = (
            {"tau": 1.0 / lag} if averages else {"target_update_interval": round(lag)}
        )
        return configured(kind, *parts, gamma=GAMMA, **targets, **fields)(steps, **tuned)

    return make


def ours(**fields: Any) -> Callable[..., Any]:
    """``ConstraintAwareQ`` with these fields: gradient steps and a lag to a config."""
    return _lagging(ConstraintAwareQConfig, "critic", "actor", **fields)


def _true_states() -> list[StateMonotone]:
    """What is true of values of bids that are paid.

    Not that they rise in the impressions to come: rewards are centred, and what is left
    of a value then falls with them where the budget is short.
    """
    return [
        StateMonotone(features=[X, BUDGET]),
        StateMonotone(features=[COST], increasing=False),
    ]


def afterstates(later: Constraint, **fields: Any) -> Afterstates:
    """A critic that knows that payments leave the budget."""
    campaign = BudgetedCampaign()
    return Afterstates(
        known_cost=KnownCost(feature=COST),
        value_shape=later,
        context=[X],
        budget_feature=BUDGET,
        clock_feature=CLOCK,
        spend=1.0 / campaign.budget,
        tick=1.0 / campaign.impressions,
        **fields,
    )


def largest_payment() -> float:
    """The most that one impression can take out of the budget feature."""
    campaign = BudgetedCampaign()
    return campaign.cost_range[1] * campaign.bids[-1] / campaign.budget


def other_budgets() -> BudgetRelabellingTransitionPicker:
    """Transitions under budgets that the log did not have."""
    campaign = BudgetedCampaign()
    return BudgetRelabellingTransitionPicker(
        budget_feature=BUDGET,
        clock_feature=CLOCK,
        tick=1.0 / campaign.impressions,
        largest_payment=largest_payment(),
    )


_LAGS = (5.0, 10.0, 20.0)

_AS_LOGGED = registry(
    Learner(
        "BC",
        configured(d3rlpy.algos.DiscreteBCConfig, reward_scaler=None),
        policy="actor",
    ),
    Learner("DQN", _lagging(d3rlpy.algos.DQNConfig), tuned={"lag": _LAGS}),
    Learner(
        "CQL",
        _lagging(d3rlpy.algos.DiscreteCQLConfig, alpha=0.01),
        tuned={"alpha": (0.003, 0.01, 0.03), "lag": _LAGS},
    ),
    Learner(
        "DiscreteIQL",
        _lagging(
            *(DiscreteIQLConfig, "actor", "critic"), value_encoder_factory=hidden_layers()
        ),
        policy="actor",
        tuned={
            "expectile": (0.5, 0.7, 0.9),
            "weight_temp": (3.0, 10.0, 30.0),
            "lag": _LAGS,
        },
    ),
    Learner(
        "Ours bid + state",
        ours(constraint=Concave(), state_constraints=_true_states()),
        kind="ours",
        counted=("rising_in_x", "rising_in_budget", "falling_in_c", "concave"),
        tuned={"lag": _LAGS},
    ),
    Learner(
        "Ours afterstates",
        ours(constraint=Unconstrained(), critic=afterstates(Unconstrained())),
        kind="bare",
        tuned={"lag": _LAGS},
    ),
    Learner(
        "Ours shaped afterstates",
        ours(constraint=MonotoneConcave(), critic=afterstates(MonotoneConcave())),
        kind="ours",
        counted=("rising_in_budget", "falling_in_c", "concave"),
        tuned={"lag": _LAGS},
    ),
)

#: Critics that also know the most that a payment can be, and so what steps to come can
#: spend; the last states the click on its log-odds and the payment as known.  Their lag
#: is not tuned: it hardly matters to them.
_PER_STEP = registry(
    Learner(
        "Ours afterstates per step relabelled",
        ours(
            constraint=Unconstrained(),
            critic=afterstates(Unconstrained(), largest_payment=largest_payment()),
        ),
        kind="bare",
        relabelled=True,
    ),
    Learner(
        "Ours shaped afterstates per step relabelled",
        ours(
            constraint=MonotoneConcave(),
            critic=afterstates(MonotoneConcave(), largest_payment=largest_payment()),
        ),
        kind="ours",
        counted=("rising_in_budget", "falling_in_c", "concave"),
        relabelled=True,
    ),
    Learner(
        "Ours outcomes afterstates per step relabelled",
        ours(
            outcomes=[
                Outcome("click", MonotoneConcave(), link="logit"),
                Outcome(weight=f"-x{COST} * action"),
            ],
            critic=afterstates(MonotoneConcave(), largest_payment=largest_payment()),
        ),
        kind="ours",
        # A click's log-odds are concave, the value of a bid need not be.
        counted=("rising_in_budget", "falling_in_c"),
        relabelled=True,
    ),
)

#: What the names of learners end in that are given other budgets than those logged.
RELABELLED = " relabelled"
#: Ours and the best baselines, once more with budgets relabelled.
CAMPAIGN_LEARNERS: dict[str, Learner] = {
    **_AS_LOGGED,
    **{
        f"{name}{RELABELLED}": dataclasses.replace(
            _AS_LOGGED[name], name=f"{name}{RELABELLED}", relabelled=True
        )
        for name in ("CQL", "DiscreteIQL", "Ours afterstates", "Ours shaped afterstates")
    },
    **_PER_STEP,
}
