"""The shape as a plug-in: a q-function factory for unchanged d3rlpy algorithms."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from d3rlpy.models.q_functions import QFunctionFactory, register_q_func_factory
from d3rlpy.models.torch import (
    ContinuousMeanQFunctionForwarder,
    DiscreteMeanQFunctionForwarder,
    DiscreteQRQFunctionForwarder,
    Encoder,
    EncoderWithAction,
)
from d3rlpy.preprocessing import (
    ActionScaler,
    ObservationScaler,
    RewardScaler,
    make_action_scaler_field,
    make_observation_scaler_field,
    make_reward_scaler_field,
)
from typing_extensions import Self

from .._util.checks import check_number
from .._util.fields import cast_fields
from ..shapes import (
    Constraint,
    Outcome,
    StateConstraint,
    as_shape,
    make_constraint_field,
    make_state_constraints_field,
)
from .base import Prior
from .kinds import Critic, make_critic_field
from .quantiles import QuantileQFunction


@dataclasses.dataclass()
class ShapedQFunctionFactory(QFunctionFactory):
    r"""Gives a shape to the critic of an unchanged d3rlpy algorithm.

    .. code-block:: python

        shape = ShapedQFunctionFactory(Concave())
        cql = d3rlpy.algos.DiscreteCQLConfig(q_func_factory=shape).create()

    Discrete: ``DQN``, ``DoubleDQN``, ``DiscreteCQL``, ``DiscreteBCQ``, ``DiscreteSAC``
    and our ``DiscreteIQL``.  Continuous, over one action: ``CQL``, ``TD3PlusBC`` and,
    by :class:`~icac_algo.ShapedIQLConfig`, ``IQL``, whose own config takes no factory.

    What such an algorithm's ``predict_value`` shows of several critics is their mean,
    which keeps every shape.  Its targets are their minimum, which keeps every shape but a
    convex one.  (``BCQ``, ``BEAR`` and ``PLAS`` mix minimum and maximum in their targets,
    which keeps no curvature.)

    With ``n_quantiles`` the critic is one of quantiles, for the first five of the
    discrete algorithms and their own quantile Huber loss; their mean has the shape, and
    neither a single quantile nor a risk measure such as
    :class:`~icac_algo.decisions.CVaR` has it.  That loss is one of quantiles only for
    errors beyond 1: where scaled rewards spread by less, what is learned are
    expectiles, and from step to step the spread of returns is lost.  Scale rewards to a
    spread of about 10, ``StandardRewardScaler(multiplier=10)``, and give that scaler
    and ``scale=10`` to the factory.

    Args:
        constraint: the shape over actions, or words for it (``"monotone+concave"``).
        critic: how the critic is made to have it; continuous actions have only
            :class:`~icac_algo.Functional`.
        n_quantiles: number of quantiles, N, at least 2, at the midpoints
            :math:`(2i - 1) / 2N`; ``None`` for a critic of means.
        state_constraints: shapes over state features.
        level: what Q is measured from, where fresh critics start.
        scale: what Q is measured in; also the standard deviation that fresh quantiles
            expect.  Unlike ``ConstraintAwareQ``, d3rlpy's algorithms weigh their losses
            in units of the (scaled) reward and keep their learning rate: a scale below 1
            slows Q down, one above 1 speeds it up.  A reward scaler that gives rewards a
            spread of about 1 needs neither.
        observation_scaler: the scaler that the algorithm is given, if it is and the
            constraint has a known cost or state constraints.
        action_scaler: likewise, for continuous actions.
        reward_scaler: likewise, if there is a known cost or a bound.
        share_encoder: as in d3rlpy's factories.

    Raises:
        ValueError: an argument is out of bounds or unknown, or does not fit another.
    """

    constraint: Constraint = make_constraint_field()
    critic: Critic = make_critic_field()
    n_quantiles: int | None = None
    state_constraints: list[StateConstraint] = make_state_constraints_field()
    level: float = 0.0
    scale: float = 1.0
    observation_scaler: ObservationScaler | None = make_observation_scaler_field()
    action_scaler: ActionScaler | None = make_action_scaler_field()
    reward_scaler: RewardScaler | None = make_reward_scaler_field()
    # The first field of every factory of d3rlpy; here the constraint comes first.
    share_encoder: bool = dataclasses.field(default=False, kw_only=True)
    # No fields: only ConstraintAwareQ knows the loss of outcomes, and decay.
    _outcomes: ClassVar[Sequence[Outcome]] = ()
    _passes_layers: ClassVar[bool] = False

    @classmethod
    def with_outcomes(
        cls, outcomes: Sequence[Outcome], passes_layers: bool = False, **fields: Any
    ) -> Self:
        """A factory for :class:`Prior` with these of its fields as well."""
        factory = cls(**fields)
        object.__setattr__(factory, "_outcomes", outcomes)
        object.__setattr__(factory, "_passes_layers", passes_layers)
        return factory

    def __post_init__(self) -> None:
        self.constraint = as_shape(self.constraint)
        cast_fields(self)
        if self.n_quantiles is not None and self.n_quantiles < 2:
            raise ValueError(
                "n_quantiles must be an integer >= 2, or None for means, got "
                f"{self.n_quantiles!r}"
            )
        check_number("scale", self.scale, above=0.0)
        self.critic.check(self._prior())

    def create_discrete(
        self, encoder: Encoder, hidden_size: int, action_size: int
    ) -> tuple[Any, DiscreteMeanQFunctionForwarder | DiscreteQRQFunctionForwarder]:
        q_func = self.critic.create_discrete(
            encoder, hidden_size, action_size, self._prior()
        )
        q_func.standardise(self.level, self.scale)
        if self.n_quantiles is None:
            return q_func, DiscreteMeanQFunctionForwarder(q_func, action_size)
        q_func = QuantileQFunction(q_func, hidden_size, action_size, self.n_quantiles)
        # Typed for d3rlpy's own critic, used for what every critic of quantiles returns.
        of_quantiles: Any = q_func
        return q_func, DiscreteQRQFunctionForwarder(of_quantiles, self.n_quantiles)

    def create_continuous(
        self, encoder: EncoderWithAction, hidden_size: int
    ) -> tuple[Any, ContinuousMeanQFunctionForwarder]:
        if self.n_quantiles is not None:
            raise ValueError(
                "n_quantiles must be None for continuous actions, got "
                f"{self.n_quantiles!r}"
            )
        q_func = self.critic.create_continuous(encoder, hidden_size, self._prior())
        q_func.standardise(self.level, self.scale)
        return q_func, ContinuousMeanQFunctionForwarder(q_func)

    def _prior(self) -> Prior:
        return Prior(
            self.constraint,
            self.state_constraints,
            self.observation_scaler,
            self.action_scaler,
            self.reward_scaler,
            self._outcomes,
            self._passes_layers,
        )

    @staticmethod
    def get_type() -> str:
        return "shaped"


register_q_func_factory(ShapedQFunctionFactory)
