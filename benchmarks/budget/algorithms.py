"""The learners of campaigns under a budget, and what they all share.

Network, optimizer, schedule, batches, reward scaling and discount are one for all; so is
how far a target network lags, in gradient steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import d3rlpy
from d3rlpy.models import VectorEncoderFactory

from bidclick_gym.budget import BudgetedCampaign
from icac_algo import (
    AfterstateQFunctionFactory,
    Concave,
    ConstraintAwareQConfig,
    DiscreteIQLConfig,
    KnownCost,
    MonotoneConcave,
    StateMonotone,
    Unconstrained,
)
from icac_algo.constraints import Constraint

from ..algorithms import HIDDEN_UNITS, LEARNING_RATE, reward_scaler, shared_settings

__all__ = ["GAMMA", "LEARNERS", "REFRESH", "Learner"]

#: A campaign ends; the discount only keeps values finite in the eyes of the algorithms.
GAMMA = 0.999
#: Gradient steps between two copies of a target network, or over which an averaged one
#: lags: values must travel back over 50 impressions well within a training.
REFRESH = 5

X, COST, BUDGET, CLOCK = range(4)


@dataclasses.dataclass(frozen=True)
class Learner:
    """One row.

    Args:
        name: as shown.
        make: gradient steps and tuned values to a d3rlpy config.
        shapes: what its critic obeys, as `StateViolationEvaluator` calls it.
        policy: whether the ``"critic"`` or the ``"actor"`` bids.
    """

    name: str
    make: Callable[..., Any]
    shapes: tuple[str, ...] = ()
    policy: str = "critic"

    @property
    def ours(self) -> bool:
        """Whether it is told a shape."""
        return bool(self.shapes)


def _bc(steps: int) -> Any:
    return d3rlpy.algos.DiscreteBCConfig(**shared_settings(steps))


def _dqn(steps: int) -> Any:
    return d3rlpy.algos.DQNConfig(
        gamma=GAMMA,
        target_update_interval=REFRESH,
        reward_scaler=reward_scaler(),
        **shared_settings(steps),
    )


def _afterstate_dqn(now: Constraint, later: Constraint) -> Callable[[int], Any]:
    """DQN that knows that payments leave the budget, with and without shapes."""
    campaign = BudgetedCampaign()

    def make(steps: int) -> Any:
        scaler = reward_scaler()
        factory = AfterstateQFunctionFactory(
            constraint=now,
            payment=KnownCost(feature=COST),
            value_shape=later,
            context=[X],
            budget_feature=BUDGET,
            clock_feature=CLOCK,
            spend=1.0 / campaign.budget,
            tick=1.0 / campaign.impressions,
            # Rewards are centred and of spread one half.
            scale=0.5,
            reward_scaler=scaler,
        )
        return d3rlpy.algos.DQNConfig(
            gamma=GAMMA,
            target_update_interval=REFRESH,
            reward_scaler=scaler,
            q_func_factory=factory,
            **shared_settings(steps),
        )

    return make


def _cql(steps: int, alpha: float = 0.01) -> Any:
    return d3rlpy.algos.DiscreteCQLConfig(
        alpha=alpha,
        gamma=GAMMA,
        target_update_interval=REFRESH,
        reward_scaler=reward_scaler(),
        **shared_settings(steps),
    )


def _iql(steps: int, **tuned: Any) -> Any:
    return DiscreteIQLConfig(
        gamma=GAMMA,
        tau=1.0 / REFRESH,
        reward_scaler=reward_scaler(),
        value_encoder_factory=VectorEncoderFactory(list(HIDDEN_UNITS)),
        **shared_settings(steps, "actor", "critic"),
        **tuned,
    )


def _ours(**fields: Any) -> Callable[[int], Any]:
    def make(steps: int) -> Any:
        settings = shared_settings(steps)
        return ConstraintAwareQConfig(
            gamma=GAMMA,
            tau=1.0 / REFRESH,
            reward_scaler=reward_scaler(),
            actor_optim_factory=settings["optim_factory"],
            actor_learning_rate=LEARNING_RATE,
            **settings,
            **fields,
        )

    return make


def _states() -> list[StateMonotone]:
    """What is true of values of bids that are paid.

    Not that they rise in the impressions to come: rewards are centred, and what is left
    of a value then falls with them where the budget is short.
    """
    return [
        StateMonotone(features=[X, BUDGET]),
        StateMonotone(features=[COST], increasing=False),
    ]


_STATES = ("rising_in_x", "rising_in_budget", "falling_in_c")

LEARNERS: dict[str, Learner] = {
    learner.name: learner
    for learner in (
        Learner("BC", _bc, policy="actor"),
        Learner("DQN", _dqn),
        Learner("CQL", _cql),
        Learner(
            "DiscreteIQL",
            _iql,
            policy="actor",
        ),
        Learner("Ours free", _ours(constraint=Unconstrained())),
        Learner("Ours bid", _ours(constraint=Concave()), ("concave",)),
        Learner(
            "Ours state",
            _ours(constraint=Unconstrained(), state_constraints=_states()),
            _STATES,
        ),
        Learner(
            "Ours bid + state",
            _ours(constraint=Concave(), state_constraints=_states()),
            (*_STATES, "concave"),
        ),
        Learner(
            "DQN afterstates",
            _afterstate_dqn(Unconstrained(), Unconstrained()),
        ),
        Learner(
            "DQN shaped afterstates",
            _afterstate_dqn(MonotoneConcave(), MonotoneConcave()),
            ("rising_in_budget", "falling_in_c", "concave"),
        ),
    )
}
