r"""Critics of a budget: what an action takes out of it is known before it is taken.

Where the effect of an action on the state is known, its value splits (Sutton and Barto,
"Reinforcement Learning", section 6.8) into what it earns now and the value of the
*afterstate* it leaves.  With a budget :math:`b`, a clock :math:`k` and a known cost
:math:`o(s, a)`,

.. math:: Q(s, a) = g(s, a) - o(s, a) + W(k - 1, b - \kappa\, o(s, a)), \quad W(0, b) = 0,

where :math:`g` has a shape over actions and :math:`W` one over the budget.  If both are
concave and :math:`W` rises, then Q is concave in every action that the budget can pay,
rises in the budget and falls in a price.  An action that it cannot pay is worth what the
first action is, which costs nothing.

Beside outcomes, what an action earns now is their weighted sum, each learned on the
context alone, and :math:`W` is what follows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from d3rlpy.models.torch import DiscreteQFunction, Encoder, QFunctionOutput
from torch import nn

from .._util.checks import check_count, check_number
from ..shapes import (
    Constraint,
    KnownCost,
    MonotoneConcave,
    Unconstrained,
    as_shape,
    make_constraint_field,
)
from .base import Prior, StandardisedCritic, reward_slope
from .functions import Function, make_function
from .hinges import Hinges
from .kinds import Critic, function_over, register_critic
from .links import mean_of
from .outcomes import OutcomeQFunction
from .parametrization import Units
from .states import vector_sizes
from .trunk import without_features

# A cost may exceed what is left by the rounding of observations.
_ROUNDING = 1e-6


@dataclasses.dataclass()
class Afterstates(Critic):
    """A critic that knows what its actions take out of a budget.

    .. code-block:: python

        critic = Afterstates(
            known_cost=KnownCost(feature=1), context=[0], budget_feature=2,
            clock_feature=3, spend=1 / 4, tick=1 / 50,
        )
        ConstraintAwareQConfig(constraint=MonotoneConcave(), critic=critic, gamma=0.999)

    For discrete actions and vector observations, without an observation scaler and
    without state constraints.  The config's or factory's ``constraint`` is the shape over
    actions of what is earned now, the known cost added back; it has no ``known_cost`` of
    its own, and its first action is at 0.

    Beside ``outcomes`` of the config no ``constraint`` is needed, because each outcome
    has its own shape, and the known cost only leaves the budget: where it counts in the
    reward as well, an outcome says so, such as ``Outcome(weight="-x1 * action")``.  Means
    of outcomes are those of an action that is paid.

    Args:
        known_cost: what an action costs, in units of the reward.
        value_shape: the shape of the afterstate's value over the budget feature, on
            [0, 1]; by default more money is worth more, and each further unit less.
        context: features that what is earned now depends on.
        budget_feature: feature that known costs are taken out of.
        clock_feature: feature that falls by ``tick`` with each step and ends at 0.
        spend: what a known cost of 1 takes out of the budget feature.
        tick: what a step takes out of the clock feature.
        largest_payment: the most that a step can take out of the budget feature, if that
            is known.  More than all steps to come can take is then worth no more, and
            the value is a sum of equal parts, one for each of them, of the share that is
            left of it; the clock begins at about 1.
        n_pieces: pieces of both shaped functions.
        payment: column of the learned outcome that leaves the budget where what it is
            given happens, such as ``"paid"`` where an auction is ``"won"``; there is no
            known cost then.  Actions are bids in its unit: no more than a bid is paid,
            and none is that is more than what is left.
        amounts: of the budget feature, beside a clock that begins at about 1.  The value
            is then a sum of :class:`~icac_algo.critics.Hinges` at these amounts instead
            of pieces: it can bend where little is left as sharply as a budget of very
            many payments needs.  With ``value_shape=MonotoneConcave()``, and for rewards
            of at least 0, it also rises and is concave in the clock.

    Raises:
        ValueError: a field is out of bounds.
    """

    known_cost: KnownCost = dataclasses.field(default_factory=lambda: KnownCost(1))
    value_shape: Constraint = dataclasses.field(
        default_factory=MonotoneConcave,
        metadata=make_constraint_field().metadata,
    )
    context: list[int] = dataclasses.field(default_factory=lambda: [0])
    budget_feature: int = 2
    clock_feature: int = 3
    spend: float = 1.0
    tick: float = 1.0
    largest_payment: float | None = None
    n_pieces: int = 4
    payment: str | None = None
    amounts: list[float] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if not isinstance(self.known_cost, KnownCost):
            raise ValueError(f"known_cost must be a KnownCost, got {self.known_cost!r}")
        self.value_shape = as_shape(self.value_shape, "value_shape")
        _check_features("budget_feature", [self.budget_feature])
        _check_features("clock_feature", [self.clock_feature])
        _check_features("context", self.context)
        for name in ("spend", "tick"):
            check_number(name, getattr(self, name), above=0.0)
        check_count("n_pieces", self.n_pieces)
        if self.largest_payment is not None:
            check_number("largest_payment", self.largest_payment, above=0.0)
            kept = self.value_shape.shape_set()
            if (
                not kept.is_cone
                or (kept.concave and kept.slope_lower < 0.0)
                or (kept.convex and kept.slope_upper > 0.0)
            ):
                raise ValueError(
                    "value_shape must allow values that are constant from somewhere on, "
                    "and have no bounds, beside largest_payment, got "
                    f"{self.value_shape!r}"
                )
        if self.amounts:
            for amount in self.amounts:
                check_number("amounts", amount, above=0.0)
            if self.largest_payment is not None:
                raise ValueError(
                    "largest_payment must be None beside amounts, got "
                    f"{self.largest_payment!r}"
                )
            known = (MonotoneConcave().shape_set(), Unconstrained().shape_set())
            if self.value_shape.shape_set() not in known:
                raise ValueError(
                    "value_shape must be MonotoneConcave() or Unconstrained() beside "
                    f"amounts, got {self.value_shape!r}"
                )

    def check(self, prior: Prior) -> None:
        super().check(dataclasses.replace(prior, outcomes=()))
        if prior.outcomes and not isinstance(prior.constraint, Unconstrained):
            raise ValueError(
                "constraint must be left out beside outcomes and critic=Afterstates(...):"
                f" value_shape is that of what follows, got {prior.constraint!r}"
            )
        if prior.outcomes:
            self._check_payment(prior)
        if prior.constraint.known_cost is not None:
            raise ValueError(
                "constraint must have no known_cost beside critic=Afterstates(...), "
                f"which has its own, got {prior.constraint!r}"
            )
        for name in ("observation_scaler", "action_scaler"):
            if getattr(prior, name) is not None:
                raise ValueError(
                    f"{name} must be None beside critic=Afterstates(...), which reads "
                    f"features in their own units, got {getattr(prior, name)!r}"
                )

    def create_discrete(
        self, encoder: Encoder, hidden_size: int, action_size: int, prior: Prior
    ) -> AfterstateQFunction | AfterstateOutcomeQFunction:
        self._check_payment(prior)
        kind = AfterstateOutcomeQFunction if prior.outcomes else AfterstateQFunction
        return kind(encoder, action_size, self, prior)

    def _check_payment(self, prior: Prior) -> None:
        columns = [one.column for one in prior.outcomes if one.learned]
        if self.payment is not None and self.payment not in columns:
            raise ValueError(
                "payment must be the column of an outcome that is learned, one of "
                f"{columns}, got {self.payment!r}"
            )

    def left(self, x: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """What actions leave of the budget feature, below 0 if refused, ``(B, K)``.

        Actions are in their own units, ``(K,)`` or ``(B, K)``.
        """
        if self.payment is None:
            cost = self.known_cost(x, actions).to(x.dtype)
        else:
            cost = actions.to(x.dtype).expand(x.shape[0], -1)
        return x[:, self.budget_feature, None] - self.spend * cost

    def worth(
        self,
        function: Function | Hinges,
        x: torch.Tensor,
        coordinates: torch.Tensor,
        left: torch.Tensor,
        units: Units,
    ) -> torch.Tensor:
        """What is left is worth that, in units of the scale, ``(B, K)``.

        The function is that of :meth:`value_function`, coordinates its own, ``(B, n)``.
        """
        clock, left = self.clock_after(x), left.clamp_min(0.0)
        if isinstance(function, Hinges):
            # So much do the rewards of all steps spread, shared among the amounts.
            spread = (self.tick * len(self.amounts)) ** -0.5
            worth = spread * function.at(coordinates, left, clock)
            return torch.where(clock > self.tick / 2.0, worth, 0.0)
        steps: torch.Tensor | float = 1.0
        if self.largest_payment is not None:
            most = self.largest_payment * (clock / self.tick).clamp_min(0.5)
            left, steps = (left / most).clamp_max(1.0), clock
        worth = units.level / units.scale + function.at(coordinates, left, units)
        return torch.where(clock > self.tick / 2.0, steps * worth, 0.0)

    @property
    def is_shaped(self) -> bool:
        """Whether the value has any shape."""
        return self.value_shape.shape_set() != Unconstrained().shape_set()

    def value_input(self, x: torch.Tensor) -> torch.Tensor:
        """What the value is learned from, ``(B, 1)``: nothing, of shaped hinges."""
        clock = self.clock_after(x)
        return torch.zeros_like(clock) if self.amounts and self.is_shaped else clock

    def clock_after(self, x: torch.Tensor) -> torch.Tensor:
        """What the next observation has as its clock, ``(B, 1)``."""
        return x[:, self.clock_feature, None] - self.tick

    def sizes(
        self, encoder: Encoder, constraint: Constraint, action_size: int
    ) -> tuple[int, list[int], torch.Tensor]:
        """Size of the observation, those of hidden layers, and the actions, ``(K,)``."""
        size, hidden_units = vector_sizes(encoder, "afterstates")
        features = [*self.context, self.budget_feature, self.clock_feature]
        if self.payment is None:
            features.append(self.known_cost.feature)
        if max(features) >= size:
            raise ValueError(
                "features of context, known_cost, budget and clock must be below the "
                f"observation size {size}, got {features}"
            )
        positions = torch.as_tensor(constraint.positions(action_size))
        if float(positions[0]) != 0.0:
            raise ValueError(
                "constraint must have its first action at 0, which costs nothing, got "
                f"{constraint!r}"
            )
        return size, hidden_units, positions

    def value_function(self) -> Function | Hinges:
        """What is left of the budget to its value."""
        if self.amounts:
            return Hinges(self.amounts, self.is_shaped)
        ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
        return make_function(self.value_shape, ends, self.n_pieces)

    @staticmethod
    def get_type() -> str:
        return "afterstates"


class AfterstateQFunction(StandardisedCritic, DiscreteQFunction):
    """A critic of K ordered actions, ``(B, d)`` to ``(B, K)``.

    Of d3rlpy's vector encoder the layer sizes are taken over.
    """

    positions: torch.Tensor

    def __init__(
        self, encoder: Encoder, action_size: int, settings: Afterstates, prior: Prior
    ):
        super().__init__()
        _, self.hidden_units, positions = settings.sizes(
            encoder, prior.constraint, action_size
        )
        self.settings = settings
        self._prior = prior
        self._encoder = encoder
        self.register_buffer("positions", positions)
        self._now = function_over(prior.constraint, action_size, settings.n_pieces)
        self._later = settings.value_function()
        self._now_network = make_network(
            len(settings.context), self.hidden_units, self._now.n_coordinates
        )
        self._later_network = make_network(
            1, self.hidden_units, self._later.n_coordinates
        )

    def forward(self, x: torch.Tensor) -> QFunctionOutput:
        return QFunctionOutput(q_value=self.values(x), quantiles=None, taus=None)

    def values(self, x: torch.Tensor, left: torch.Tensor | None = None) -> torch.Tensor:
        """Values, ``(B, K)``; what actions leave may be known already."""
        settings = self.settings
        known_cost = settings.known_cost(x, self.positions).to(x.dtype)
        left = self.left(x) if left is None else left
        slope = reward_slope(self._prior.reward_scaler)
        now = self._now(
            self._now_network(x[:, settings.context]),
            Units(self.level, self.scale, slope),
        )
        later = settings.worth(
            self._later,
            x,
            self._later_network(settings.value_input(x)),
            left,
            Units(0.0, self.scale, slope),
        )
        gross = self.level + self.scale * (now + later)
        q = gross - slope * known_cost
        # Refused, and so worth what the free action is.
        return torch.where(is_refused(left), q[:, :1], q)

    #: They have the shape up to their own rounding in either mode.
    exact_values = values

    def left(self, x: torch.Tensor) -> torch.Tensor:
        """What actions leave of the budget feature, below 0 if refused, ``(B, K)``."""
        return self.settings.left(x, self.positions)


class AfterstateOutcomeQFunction(OutcomeQFunction):
    """Outcomes of the context now, and what follows of the afterstate.

    Each has a network of its own.  Arguments are those of :class:`AfterstateQFunction`.
    """

    def __init__(
        self, encoder: Encoder, action_size: int, settings: Afterstates, prior: Prior
    ):
        size, hidden, positions = settings.sizes(encoder, prior.constraint, action_size)
        super().__init__(encoder, 1, prior, positions, settings.n_pieces)
        self.settings = settings
        columns = [one.column for one in self.outcomes]
        #: Number of the outcome that leaves the budget, if one is learned.
        self._paid = None if settings.payment is None else columns.index(settings.payment)
        self._functions[-1] = settings.value_function()
        *now, later = [function.n_coordinates for function in self._functions]
        inputs = len(settings.context)
        self._heads = nn.ModuleList(make_network(inputs, hidden, n) for n in now)
        self._heads.append(make_network(1, hidden, later))
        self._past = nn.ParameterList()
        # What an action leaves is known from the observation.
        self._sizes[-1] = later + size
        self._size = sum(self._sizes)

    def coordinates(self, x: Any) -> torch.Tensor:
        """Those of every head, and after them the observation."""
        *now, later = self._heads
        found = [
            network(without_features(x, ignores)[:, self.settings.context])
            for network, ignores in zip(now, self._ignores[:-1], strict=True)
        ]
        return torch.cat([*found, later(self.settings.value_input(x)), x], dim=1)

    def forward(
        self,
        x: Any,
        actions: torch.Tensor | None = None,
        after: torch.Tensor | None = None,
    ) -> Any:
        """What was left is logged: where payments vary, what follows is read there."""
        found = super().forward(x, actions)
        if self._paid is None or actions is None or after is None or not self.follows:
            return found
        predictors, coordinates = found
        part = coordinates[:, -self._sizes[-1] :]
        left = after[:, self.settings.budget_feature, None]
        unit = Units(self.level, self.scale, self._reward_units[0])
        follows = self._worth(part, left, unit)
        return torch.cat([predictors[:-1], follows[None]]), coordinates

    def following(
        self,
        part: torch.Tensor,
        actions: torch.Tensor,
        unit: Units,
        values: Sequence[torch.Tensor],
    ) -> torch.Tensor:
        settings = self.settings
        x = part[:, self._functions[-1].n_coordinates :]
        if self._paid is None:
            return self._worth(part, settings.left(x, self.positions[actions]), unit)
        # They have likelihoods of their own to learn from.
        paid, *given = (
            mean_of(self.outcomes[self.learned[k]].link, values[k].detach())
            for k in self._factors[self._paid]
        )
        happens = torch.ones_like(paid)
        for mean in given:
            happens = happens * mean
        budget = x[:, settings.budget_feature, None]
        kept = self._worth(part, budget, unit)
        left = self._worth(part, budget - settings.spend * paid, unit)
        return kept + happens * (left - kept)

    def _worth(self, part: torch.Tensor, left: torch.Tensor, unit: Units) -> torch.Tensor:
        """What is left is worth that, in scaled rewards, ``(B, M)``."""
        function = self._functions[-1]
        later, x = part.tensor_split([function.n_coordinates], dim=1)
        return unit.scale * self.settings.worth(function, x, later, left, unit)

    def compose(
        self, x: Any, predictors: torch.Tensor, actions: torch.Tensor
    ) -> torch.Tensor:
        """As of other critics; a refused action is worth what the first one is."""
        q = super().compose(x, predictors, actions)
        return torch.where(is_refused(self.settings.left(x, actions)), q[:, :1], q)


def is_refused(left: torch.Tensor) -> torch.Tensor:
    """Which actions cost more than there is, from what they would leave."""
    return left < -_ROUNDING


def _check_features(name: str, features: Any) -> None:
    indices = isinstance(features, (list, tuple)) and all(
        isinstance(f, int) and not isinstance(f, bool) and f >= 0 for f in features
    )
    if not indices or not features:
        raise ValueError(f"{name} must hold integers >= 0, at least one, got {features}")


def make_network(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """Fully connected layers of these sizes with ReLUs between them."""
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.Linear(inputs, units), nn.ReLU()]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


register_critic(Afterstates)
