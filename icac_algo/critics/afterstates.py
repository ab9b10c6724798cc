r"""Critics of a budget: what an action takes out of it is known before it is taken.

Where the effect of an action on the state is known, its value splits (Sutton and Barto,
"Reinforcement Learning", section 6.8) into what it earns now and the value of the
*afterstate* it leaves.  With a budget :math:`b`, a clock :math:`k` and a known payment
:math:`o(s, a)`,

.. math:: Q(s, a) = g(s, a) - o(s, a) + W(k - 1, b - \kappa\, o(s, a)), \quad W(0, b) = 0,

where :math:`g` has a shape over actions and :math:`W` one over the budget.  If both are
concave and :math:`W` rises, then Q is concave in every action that the budget can pay,
rises in the budget and falls in a price.  An action that it cannot pay is worth what the
first action is, which pays nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import torch
from d3rlpy.models.q_functions import QFunctionFactory, register_q_func_factory
from d3rlpy.models.torch import (
    ContinuousMeanQFunctionForwarder,
    DiscreteMeanQFunctionForwarder,
    DiscreteQFunction,
    Encoder,
    EncoderWithAction,
    QFunctionOutput,
)
from d3rlpy.preprocessing import RewardScaler, make_reward_scaler_field
from torch import nn

from .._util.checks import check_count, check_number
from ..shapes import Constraint, KnownCost, MonotoneConcave, make_constraint_field
from .base import StandardisedCritic, reward_slope
from .choice import make_function, make_parametrization
from .states import vector_sizes

__all__ = ["AfterstateQFunction", "AfterstateQFunctionFactory"]

# A payment may exceed what is left by the rounding of observations.
_ROUNDING = 1e-6


def _make_value_shape_field() -> Any:
    """More money is worth more, and each further unit less."""
    return dataclasses.field(
        default_factory=MonotoneConcave, metadata=make_constraint_field().metadata
    )


@dataclasses.dataclass()
class AfterstateQFunctionFactory(QFunctionFactory):
    """Gives d3rlpy's discrete algorithms a critic that knows what its actions cost.

    .. code-block:: python

        factory = AfterstateQFunctionFactory(
            constraint=MonotoneConcave(), payment=KnownCost(feature=1),
            context=[0], budget_feature=2, clock_feature=3, spend=1 / 4, tick=1 / 50,
        )
        dqn = d3rlpy.algos.DQNConfig(q_func_factory=factory, gamma=0.999).create()

    For :class:`~icac_algo.ConstraintAwareQ`, ``DQN``, ``DoubleDQN`` and ``DiscreteCQL``
    on vector observations, without an observation scaler.  ``ConstraintAwareQ`` sets
    level, scale and reward scaler by itself.

    Args:
        share_encoder: as in d3rlpy's factories.
        constraint: the shape over actions of what one earns now, its payment added back;
            the first action must be at 0.
        payment: what an action costs, in units of the reward.
        value_shape: the shape of the afterstate's value over the budget feature, on
            [0, 1].
        context: features that what is earned now depends on.
        budget_feature: feature that payments leave.
        clock_feature: feature that falls by ``tick`` with each step and ends at 0.
        spend: what a payment of 1 takes out of the budget feature.
        tick: what a step takes out of the clock feature.
        n_pieces: pieces of both shaped functions.
        level: what Q is measured from; about the mean of Q.
        scale: what Q is measured in; about the spread of rewards.
        reward_scaler: the scaler that the algorithm is given, if it is.

    Raises:
        ValueError: an argument is out of bounds.
    """

    constraint: Constraint = make_constraint_field()
    payment: KnownCost = dataclasses.field(default_factory=lambda: KnownCost(1))
    value_shape: Constraint = _make_value_shape_field()
    context: list[int] = dataclasses.field(default_factory=lambda: [0])
    budget_feature: int = 2
    clock_feature: int = 3
    spend: float = 1.0
    tick: float = 1.0
    n_pieces: int = 4
    level: float = 0.0
    scale: float = 1.0
    reward_scaler: RewardScaler | None = make_reward_scaler_field()

    def __post_init__(self) -> None:
        for name in ("constraint", "value_shape"):
            if not isinstance(getattr(self, name), Constraint):
                raise ValueError(
                    f"{name} must be a shape such as MonotoneConcave(), "
                    f"got {getattr(self, name)!r}"
                )
        if not isinstance(self.payment, KnownCost):
            raise ValueError(f"payment must be a KnownCost, got {self.payment!r}")
        if self.constraint.known_cost is not None:
            raise ValueError(
                "constraint must have no known_cost, since the payment is added back by "
                f"itself, got {self.constraint!r}"
            )
        _check_features("budget_feature", [self.budget_feature])
        _check_features("clock_feature", [self.clock_feature])
        _check_features("context", self.context)
        for name in ("spend", "tick", "scale"):
            check_number(name, getattr(self, name), above=0.0)
        check_count("n_pieces", self.n_pieces)
        check_number("level", self.level, above=-math.inf, below=math.inf)

    def create_discrete(
        self, encoder: Encoder, hidden_size: int, action_size: int
    ) -> tuple[AfterstateQFunction, DiscreteMeanQFunctionForwarder]:
        q_func = AfterstateQFunction(encoder, action_size, self)
        return q_func, DiscreteMeanQFunctionForwarder(q_func, action_size)

    def create_continuous(
        self, encoder: EncoderWithAction, hidden_size: int
    ) -> tuple[Any, ContinuousMeanQFunctionForwarder]:
        raise NotImplementedError("AfterstateQFunctionFactory is for discrete actions")

    @staticmethod
    def get_type() -> str:
        return "afterstate"


class AfterstateQFunction(StandardisedCritic, DiscreteQFunction):
    """A critic of K ordered actions, ``(B, d)`` to ``(B, K)``.

    Args:
        encoder: d3rlpy's vector encoder, whose layer sizes are taken over.
        action_size: K.
        settings: the factory's fields.

    Raises:
        ValueError: the encoder is of another kind, a feature is beyond the observation,
            or the first action is not at 0.
    """

    positions: torch.Tensor

    def __init__(
        self, encoder: Encoder, action_size: int, settings: AfterstateQFunctionFactory
    ):
        super().__init__()
        size, hidden = vector_sizes(encoder)
        features = [
            *settings.context,
            settings.payment.feature,
            settings.budget_feature,
            settings.clock_feature,
        ]
        if max(features) >= size:
            raise ValueError(
                "features of context, payment, budget and clock must be below the "
                f"observation size {size}, got {features}"
            )
        constraint = settings.constraint
        positions = torch.as_tensor(constraint.positions(action_size))
        if float(positions[0]) != 0.0:
            raise ValueError(
                "constraint must have its first action at 0, which pays nothing, got "
                f"{constraint!r}"
            )
        self._settings = settings
        self._encoder = encoder
        self.standardise(settings.level, settings.scale)
        self.register_buffer("positions", positions)
        self._now = make_parametrization(
            constraint, "functional", action_size, settings.n_pieces
        )
        ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
        later = make_function(settings.value_shape, ends, settings.n_pieces)
        self._later = later
        self._now_network = make_network(
            len(settings.context), hidden, self._now.n_coordinates
        )
        self._later_network = make_network(1, hidden, later.n_coordinates)

    def forward(self, x: torch.Tensor) -> QFunctionOutput:
        settings = self._settings
        payment, left = self.payment(x), self.left(x)
        clock = x[:, settings.clock_feature, None] - settings.tick
        now = self._now(self._now_network(x[:, settings.context]))
        later = self._later.at(self._later_network(clock), left.clamp_min(0.0))
        gross = self.level + self.scale * (
            now + torch.where(clock > settings.tick / 2.0, later, 0.0)
        )
        q = gross - reward_slope(settings.reward_scaler) * payment
        # Refused, and so worth what the free action is.
        q = torch.where(self.is_refused(left), q[:, :1], q)
        return QFunctionOutput(q_value=q, quantiles=None, taus=None)

    def payment(self, x: torch.Tensor) -> torch.Tensor:
        """What actions cost, in units of the reward, ``(B, K)``."""
        return self._settings.payment(x, self.positions).to(x.dtype)

    def left(self, x: torch.Tensor) -> torch.Tensor:
        """What actions leave of the budget feature, below 0 if refused, ``(B, K)``."""
        settings = self._settings
        return x[:, settings.budget_feature, None] - settings.spend * self.payment(x)

    @staticmethod
    def is_refused(left: torch.Tensor) -> torch.Tensor:
        """Which actions cost more than there is, from what they would leave."""
        return left < -_ROUNDING

    @property
    def encoder(self) -> Any:
        """The encoder that was given; its layers are not used."""
        return self._encoder


def _check_features(name: str, features: Any) -> None:
    indices = isinstance(features, (list, tuple)) and all(
        isinstance(f, int) and not isinstance(f, bool) and f >= 0 for f in features
    )
    if not indices or not features:
        raise ValueError(f"{name} must hold integers >= 0, at least one, got {features}")


def make_network(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """Fully connected layers with ReLUs between them.

    Args:
        inputs: size of the input.
        hidden: sizes of the hidden layers.
        outputs: size of the output.
    """
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.Linear(inputs, units), nn.ReLU()]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


register_q_func_factory(AfterstateQFunctionFactory)
