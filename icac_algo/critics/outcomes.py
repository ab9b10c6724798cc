r"""Critics that are a sum of outcomes: each mean has its shape, known weights add them.

.. math:: Q(s, a) = \sum_k w_k(s, a) \prod_{j \in \{k\} \cup given(k)} \mu_j(s, a)
    + \text{what follows}(s, a)
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from d3rlpy.models.torch import (
    ContinuousQFunction,
    DiscreteQFunction,
    Encoder,
    EncoderWithAction,
    QFunctionOutput,
)
from d3rlpy.types import TorchObservation
from torch import Tensor, nn

from ..shapes import (
    Constraint,
    Weight,
    conditions,
    running_maximum,
    running_minimum,
    shared_actions,
)
from .base import (
    Prior,
    StandardisedCritic,
    StandardisedFeatures,
    normalise_spectrally,
    reward_shift,
    reward_slope,
)
from .continuous import OverRealAction
from .functions import Function, make_function
from .links import mean_of, negative_log_likelihood
from .parametrization import Units
from .states import observation_size
from .trunk import Head, without_features

# Log-odds and logarithms are often nearly straight in the action; means bend sooner.
_STRAIGHTNESS = {"identity": 3.0, "logit": 5.0, "log": 5.0}
# Likewise in the features: what is linear in them decays at this share of the rate.
_LINEAR_DECAY = {"identity": 1.0, "logit": 0.1, "log": 0.1}


class _Called(nn.Module):
    """Called as any module: d3rlpy's critics take observations and actions alone."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return nn.Module.__call__(self, *args, **kwargs)


class OutcomeCritic(_Called, StandardisedCritic):
    """What critics of outcomes share, over discrete actions and over a continuous one.

    Tensors of *predictors*, ``(n + 1, B, M)``, hold the means of n learned outcomes on
    their links' scales at M actions, and after them what follows.  Positions are those of
    the actions, ``(K,)``, or the ends of a continuous one's range.
    """

    levels: Tensor
    scales: Tensor
    balance: Tensor
    follows: Tensor

    def __init__(
        self,
        encoder: Encoder | EncoderWithAction,
        hidden_size: int,
        prior: Prior,
        positions: Tensor,
        n_pieces: int,
        spectral_norm: bool = False,
    ):
        super().__init__()
        self._encoder, self._prior = encoder, prior
        self.outcomes = list(prior.outcomes)
        self.learned = [i for i, one in enumerate(self.outcomes) if one.learned]
        self._weights = [Weight(one.weight) for one in self.outcomes]
        # What each counts under, itself included, as numbers of the learned ones.
        self._factors = [
            [
                self.learned.index(j)
                for j in ([i] if one.learned else [])
                + list(conditions(self.outcomes, one))
            ]
            for i, one in enumerate(self.outcomes)
        ]
        actions = shared_actions(prior.constraint, self.outcomes)
        learned = [self.outcomes[i] for i in self.learned]
        functions: Any = []
        for one in learned:
            if one.depends_on_action:
                shape = dataclasses.replace(one.shape, actions=actions)
                axis = self._axis(shape, positions)
                straightness = _STRAIGHTNESS[one.link]
                functions.append(
                    make_function(shape, axis, n_pieces, straightness=straightness)
                )
            else:
                functions.append(_Constant())
        functions.append(make_function(prior.constraint, positions, n_pieces))
        self._functions: Any = nn.ModuleList(functions)
        self._sizes: list[int] = [function.n_coordinates for function in functions]
        self._size = sum(self._sizes)
        self._heads = nn.ModuleList(nn.Linear(hidden_size, n) for n in self._sizes)
        # Past the hidden layers: what is linear in the features needs none of them.
        self._features = observation_size(encoder)
        self._past = nn.ParameterList(torch.zeros(n, self._features) for n in self._sizes)
        # The features that each head does not see.
        self._ignores = [tuple(sorted(set(one.ignores))) for one in learned] + [()]
        count = len(learned)
        for name, start in (("levels", 0.0), ("scales", 1.0), ("balance", 1.0)):
            self.register_buffer(name, torch.full((count,), start))
        self.register_buffer("follows", torch.zeros((), dtype=torch.bool))
        self.standardised_features = StandardisedFeatures(self._features)
        if spectral_norm:
            normalise_spectrally(self)

    @functools.cached_property
    def _reward_units(self) -> tuple[float, float]:
        """Slope and shift from rewards to scaled ones."""
        scaler = self._prior.reward_scaler
        return reward_slope(scaler), reward_shift(scaler)

    def standardise(self, level: float, scale: float, *more: float) -> None:
        """Sets the units; ``more`` is :attr:`OutcomeStandardisation.numbers` beyond."""
        super().standardise(level, scale)
        if more:
            follows, *others = more
            self.follows.fill_(follows > 0.0)
            count = len(self.learned)
            *parts, features = torch.tensor(others).split(
                [count, count, count, 2 * self._features]
            )
            for buffer, values in zip(
                (self.levels, self.scales, self.balance), parts, strict=True
            ):
                buffer.copy_(values)
            self.standardised_features.set(features)

    # -- from observations to predictors ---------------------------------------

    def features(self, x: TorchObservation) -> Tensor:
        """The encoder's features, ``(B, hidden_size)``."""
        raise NotImplementedError

    def _axis(self, shape: Constraint, positions: Tensor) -> Tensor:
        """Where actions lie for a function of this shape, ``(K,)``."""
        return positions

    def _places(self, k: int, actions: Tensor) -> Tensor:
        """The same, of some actions: ``(B, M)`` to ``(B, M)`` for the k-th head."""
        return actions

    def coordinates(self, x: TorchObservation) -> Tensor:
        """Coordinates of every head in each state, ``(B, n_coordinates)``."""
        seen: dict[tuple[int, ...], tuple[Any, Tensor]] = {}
        found = []
        for head, past, ignores in zip(
            self._heads, self._past, self._ignores, strict=True
        ):
            if ignores not in seen:
                inputs = without_features(x, ignores)
                seen[ignores] = inputs, self.features(inputs)
            inputs, features = seen[ignores]
            coordinates = head(features)
            if self._features:
                linear = nn.functional.linear(self.standardised_features(inputs), past)
                coordinates = coordinates + linear
            found.append(coordinates)
        return torch.cat(found, dim=1)

    def heads(self) -> list[Head]:
        past = self._past if self._features else [None] * len(self._heads)
        if len(past) < len(self._heads):
            return []
        heads: Any = self._heads
        each = zip(heads, past, self._ignores, strict=True)
        return [Head(head, weights, ignores) for head, weights, ignores in each]

    @property
    def heads_in_use(self) -> int | None:
        # The last is that of what follows.
        return None if self.follows else len(self.learned)

    def predictors(self, coordinates: Tensor, actions: Tensor) -> Tensor:
        """On the links' scales, ``(B, M)`` to ``(n + 1, B, M)``.

        Actions are indices, or a continuous one in its own units.
        """
        shape = (coordinates.shape[0], actions.shape[1])
        found = self.each_predictor(coordinates, actions)
        return torch.stack([each.expand(shape) for each in found])

    def each_predictor(self, coordinates: Tensor, actions: Tensor) -> list[Tensor]:
        """The same one by one; ``(B, 1)`` of what does not depend on the action."""
        # A trunk leaves out the head that nobody asks for.
        is_whole = coordinates.shape[1] == self._size
        parts = coordinates.split(self._sizes if is_whole else self._sizes[:-1], dim=1)
        levels, scales = self.levels.to(coordinates), self.scales.to(coordinates)
        values = []
        for k in range(len(self.learned)):
            unit = Units(levels[k], scales[k])
            value = self._value(k, parts[k], actions, unit)
            values.append(torch.addcmul(levels[k], scales[k], value))
        if self.follows:
            level, scale = self.level.to(coordinates), self.scale.to(coordinates)
            unit = Units(level, scale, self._reward_units[0])
            values.append(self.following(parts[-1], actions, unit, values))
        elif is_whole:
            # Processes that share gradients expect one of every parameter.
            values.append(0.0 * parts[-1][:, :1])
        else:
            values.append(coordinates.new_zeros((len(coordinates), 1)))
        return values

    def _value(self, k: int, part: Tensor, actions: Tensor, unit: Units) -> Tensor:
        """Of the k-th head, in its units, from its coordinates."""
        places = self._places(k, actions).to(part)
        value: Tensor = self._functions[k].at(part, places, unit)
        return value

    def following(
        self, part: Tensor, actions: Tensor, unit: Units, values: Sequence[Tensor]
    ) -> Tensor:
        """What follows, in scaled rewards, from its own coordinates, ``(B, M)``.

        ``values`` are the predictors of the learned outcomes.
        """
        return unit.level + unit.scale * self._value(-1, part, actions, unit)

    def means(self, predictors: Tensor) -> list[Tensor]:
        """Of the learned outcomes, each where what it is given happened, ``(B, M)``."""
        return [
            mean_of(self.outcomes[i].link, predictors[k])
            for k, i in enumerate(self.learned)
        ]

    def compose(self, x: TorchObservation, predictors: Tensor, actions: Tensor) -> Tensor:
        """Q in scaled rewards, ``(B, M)``, float64."""
        means = [mean.double() for mean in self.means(predictors)]
        observations = self._unscaled(x)
        now = torch.zeros_like(predictors[0], dtype=torch.float64)
        for weight, factors in zip(self._weights, self._factors, strict=True):
            part = weight(observations, actions)
            for k in factors:
                part = part * means[k]
            now = now + part
        slope, shift = self._reward_units
        return slope * now + shift + predictors[-1].double()

    def _unscaled(self, x: TorchObservation) -> Tensor | None:
        if not any(weight.features for weight in self._weights):
            return None
        assert isinstance(x, Tensor)
        scaler = self._prior.observation_scaler
        unscaled: Tensor = x if scaler is None else scaler.reverse_transform(x)
        return unscaled

    # -- learning --------------------------------------------------------------

    def fit_terms(
        self, predictors: Tensor | Sequence[Tensor], labels: Sequence[Tensor]
    ) -> Mapping[str, Tensor]:
        r"""What each outcome adds to the loss, by column.

        Each is a mean of :math:`b_k\, \mathbb{1}[\text{given}]\, (-\log p(y_k | \eta_k))`
        with the ``balance`` :math:`b_k` of :class:`OutcomeStandardisation`, so that to
        second order their sum is half the squared error of Q in units of the rewards'
        spread.  Predictors, n + 1 of ``(B, 1)``, are at the logged actions.
        """
        terms = {}
        for k, i in enumerate(self.learned):
            outcome, y = self.outcomes[i], labels[k]
            counts = None
            for j in self._factors[i][1:]:
                happened = labels[j] > 0.0
                counts = happened if counts is None else counts & happened
            eta = predictors[k].reshape(-1)
            loss = negative_log_likelihood(outcome.link, eta, y, self.scales[k], counts)
            terms[outcome.name] = self.balance[k] * loss
        return terms

    def decays(self) -> list[tuple[Tensor, float]]:
        """Parameters of what is linear in the features, and their share of the decay."""
        links = [self.outcomes[i].link for i in self.learned] + ["identity"]
        shares = [_LINEAR_DECAY[link] for link in links]
        # Critics whose parts have networks of their own have none.
        return list(zip(self._past, shares, strict=False))


class OutcomeQFunction(OutcomeCritic, DiscreteQFunction):
    """A critic of outcomes over K ordered actions, ``(B, ...)`` to ``(B, K)``.

    Arguments are those of :class:`OutcomeCritic`.
    """

    positions: Tensor
    axes: Tensor
    every: Tensor

    def __init__(
        self,
        encoder: Encoder,
        hidden_size: int,
        prior: Prior,
        positions: Tensor,
        *others: Any,
    ):
        super().__init__(encoder, hidden_size, prior, positions, *others)
        shapes = [self.outcomes[i].shape for i in self.learned] + [prior.constraint]
        axes = torch.stack([self._axis(shape, positions).double() for shape in shapes])
        for name, values in (
            ("positions", positions.double()),
            ("axes", axes),
            ("every", torch.arange(len(positions))[None]),
        ):
            self.register_buffer(name, values, persistent=False)

    def forward(
        self,
        x: TorchObservation,
        actions: Tensor | None = None,
        after: TorchObservation | None = None,
    ) -> Any:
        """Values of all actions; at given indices ``(B, 1)`` what a loss needs.

        That is the predictors there, ``(n + 1, B, 1)``, and the coordinates.  ``after``
        are the next observations, which critics of afterstates learn from.
        """
        if actions is None:
            q_value = self.values(x)
            return QFunctionOutput(q_value=q_value, quantiles=None, taus=None)
        coordinates = self.coordinates(x)
        return self.predictors(coordinates, actions), coordinates

    def features(self, x: TorchObservation) -> Tensor:
        features: Tensor = self._encoder(x)
        return features

    def _axis(self, shape: Constraint, positions: Tensor) -> Tensor:
        """Shapes that only ask for order do not see how unequal gaps are.

        Lists of bids are often geometric: on ranks a function has room for all of them.
        """
        shape_set = shape.shape_set()
        bounds = {shape_set.slope_lower, shape_set.slope_upper}
        if shape_set.has_curvature or not bounds <= {-math.inf, 0.0, math.inf}:
            return positions
        ends = float(positions[0]), float(positions[-1])
        return torch.linspace(*ends, len(positions), dtype=positions.dtype)

    def _places(self, k: int, actions: Tensor) -> Tensor:
        return self.axes[k][actions]

    def _value(self, k: int, part: Tensor, actions: Tensor, unit: Units) -> Tensor:
        function = self._functions[k]
        if part.dtype != torch.float32 or not isinstance(function, Function):
            return super()._value(k, part, actions, unit)
        value: Tensor = function.at_index(part, actions, unit)
        return value

    def values(self, x: TorchObservation) -> Tensor:
        """Q of all actions, ``(B, K)``."""
        return self.composed(x, self.exact([self], x))

    def composed(self, x: TorchObservation, predictors: Tensor) -> Tensor:
        """Q of all actions, ``(B, K)``, from their predictors."""
        return self.compose(x, predictors, self.positions[None]).float()

    @classmethod
    def exact(cls, critics: Sequence[OutcomeQFunction], x: TorchObservation) -> Tensor:
        """Predictors of all actions, the mean of several critics', ``(n + 1, B, K)``.

        They have their shapes exactly: rounding is removed in float64.
        """
        found = [q.predictors(q.coordinates(x).double(), q.every) for q in critics]
        mean = found[0] if len(found) == 1 else torch.stack(found).mean(dim=0)
        first = critics[0]
        sets = [first.outcomes[i].shape.shape_set() for i in first.learned]
        sets.append(first._prior.constraint.shape_set().scaled(first._reward_units[0]))
        positions = first.positions.cpu().numpy()
        return torch.stack(
            [
                shape_set.remove_rounding(part, positions)
                for shape_set, part in zip(sets, mean, strict=True)
            ]
        )

    def exact_means(self, predictors: Tensor) -> list[Tensor]:
        """As :meth:`means`, of all actions, and what rises or falls does so exactly."""
        found = []
        for i, mean in zip(self.learned, self.means(predictors), strict=True):
            kept = self.outcomes[i].mean_set()
            if kept is not None and kept.slope_lower >= 0.0:
                mean = running_maximum(mean)
            elif kept is not None and kept.slope_upper <= 0.0:
                mean = running_minimum(mean)
            found.append(mean)
        return found


class ContinuousOutcomeQFunction(OverRealAction, OutcomeCritic, ContinuousQFunction):
    """A critic of outcomes over one real action."""

    def forward(
        self, x: TorchObservation, action: Tensor, actions: Tensor | None = None
    ) -> Any:
        """Values at scaled actions ``(B, 1)``; at unscaled ones what a loss needs."""
        coordinates = self.coordinates(x)
        if actions is not None:
            return self.predictors(coordinates, actions.to(coordinates)), coordinates
        q = self.at_coordinates(x, coordinates, self.unscaled_actions(action))
        return QFunctionOutput(q_value=q, quantiles=None, taus=None)

    def _values(
        self, x: TorchObservation, coordinates: Tensor, actions: Tensor
    ) -> Tensor:
        actions = actions.to(coordinates)
        return self.compose(x, self.predictors(coordinates, actions), actions)


class _Constant(nn.Module):
    """A function that does not depend on the action: one coordinate, its value."""

    n_coordinates = 1

    def at(self, coordinates: Tensor, actions: Tensor, units: Units) -> Tensor:
        return coordinates
