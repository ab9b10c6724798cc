"""What discrete and continuous shaped critics share: coordinates, units, known cost."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from d3rlpy.models.torch import Encoder, EncoderWithAction
from d3rlpy.preprocessing import (
    ActionScaler,
    ClipRewardScaler,
    ObservationScaler,
    RewardScaler,
)
from d3rlpy.types import TorchObservation
from torch import nn

from ..shapes import Constraint, Outcome, ShapeSet, StateConstraint
from .parametrization import Parametrization, Units
from .states import StateCoordinates, make_state_coordinates, observation_size
from .trunk import Head


@dataclasses.dataclass(frozen=True)
class Prior:
    """What is known of Q, and how the numbers were scaled that it is stated in.

    Beside outcomes the constraint is the shape of what follows.
    """

    constraint: Constraint
    state_constraints: Sequence[StateConstraint] = ()
    observation_scaler: ObservationScaler | None = None
    action_scaler: ActionScaler | None = None  # of continuous actions
    reward_scaler: RewardScaler | None = None
    outcomes: Sequence[Outcome] = ()  # the parts of the reward
    #: Whether what is linear in the features passes the hidden layers, as it should where
    #: these decay.
    passes_layers: bool = False


class StandardisedFeatures(nn.Module):
    """Features ``(B, d)`` less a middle, over a spread, neither of them learned."""

    middle: torch.Tensor
    spread: torch.Tensor

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("middle", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.middle) / self.spread

    def set(self, numbers: torch.Tensor) -> None:
        """Takes d middles and after them d spreads."""
        self.middle.copy_(numbers[: len(self.middle)])
        self.spread.copy_(numbers[len(self.middle) :])


class StandardisedCritic(nn.Module):
    """A critic that is measured from a level and in a scale, neither of them learned."""

    level: torch.Tensor
    scale: torch.Tensor
    _encoder: Any

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("level", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    @property
    def encoder(self) -> Any:
        """The encoder that was given."""
        return self._encoder

    def standardise(self, level: float, scale: float, *more: float) -> None:
        """Sets the level and the scale that the network's outputs are measured in.

        ``more`` are those of critics that have several parts.
        """
        self.level.fill_(level)
        self.scale.fill_(scale)

    def decays(self) -> list[tuple[torch.Tensor, float]]:
        """Parameters beside the layers that decay, and their share of the rate."""
        return []

    def heads(self) -> list[Head]:
        """The linear layers that coordinates come from; none of other networks."""
        return []

    @property
    def heads_in_use(self) -> int | None:
        """Only the first so many are asked for at present; ``None`` for all."""
        return None


class ShapedCritic(StandardisedCritic):
    r"""Base of critics :math:`Q(s, a) = level + scale \cdot v(s, a) - o(s, a)`.

    The parametrization turns coordinates into values; with ``spectral_norm`` every linear
    layer is divided by its largest singular value.
    """

    def __init__(
        self,
        encoder: Encoder | EncoderWithAction,
        hidden_size: int,
        prior: Prior,
        parametrization: Parametrization,
        spectral_norm: bool = False,
    ):
        super().__init__()
        self._encoder = encoder
        self._prior = prior
        self._constraint = prior.constraint
        self._parametrization = parametrization
        self._has_own_units = not prior.constraint.shape_set().is_cone
        self._by_state: StateCoordinates | None = None
        if prior.state_constraints:
            self._by_state = make_state_coordinates(
                encoder, prior.constraint, parametrization, prior.state_constraints
            )
        else:
            self._fc = nn.Linear(hidden_size, parametrization.n_coordinates)
        size = observation_size(encoder) if prior.passes_layers else 0
        self._past: nn.Parameter | None = None
        if size and self._by_state is None and not spectral_norm:
            self._past = nn.Parameter(torch.zeros(parametrization.n_coordinates, size))
            self.standardised_features = StandardisedFeatures(size)
        if spectral_norm:
            normalise_spectrally(self)

    def features(self, x: TorchObservation) -> torch.Tensor:
        """The encoder's features of the observation, ``(B, hidden_size)``."""
        raise NotImplementedError

    def coordinates(
        self, x: TorchObservation, features: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The parametrization's coordinates of each state, ``(B, n_coordinates)``.

        Features are computed unless they are known already.
        """
        if self._by_state is not None:
            return self._by_state(self.unscaled(x), self.units(), self.level, self.scale)
        coordinates: torch.Tensor = self._fc(
            self.features(x) if features is None else features
        )
        if self._past is not None:
            assert isinstance(x, torch.Tensor)
            linear = nn.functional.linear(self.standardised_features(x), self._past)
            coordinates = coordinates + linear
        return coordinates

    def heads(self) -> list[Head]:
        return [] if self._by_state is not None else [Head(self._fc, self._past)]

    def standardise(self, level: float, scale: float, *more: float) -> None:
        """As of other critics; ``more`` are middles and spreads of features."""
        super().standardise(level, scale)
        if self._past is not None and more:
            self.standardised_features.set(torch.tensor(more))

    def decays(self) -> list[tuple[torch.Tensor, float]]:
        """What is linear in the features decays as the layers do."""
        return [] if self._past is None else [(self._past, 1.0)]

    def units(self) -> Units | None:
        """What the shape's own bounds are measured in; ``None`` if it has none."""
        if not self._has_own_units and self._by_state is None:
            return None
        return Units(self.level, self.scale, self._slope)

    def set_in_q(self) -> ShapeSet:
        """The shape in scaled reward units, for values with the known cost added back."""
        shape_set = self._constraint.shape_set()
        return shape_set.scaled(self._slope) if self._has_own_units else shape_set

    @functools.cached_property
    def _slope(self) -> float:
        slope = reward_slope(self._prior.reward_scaler)
        if self._constraint.shape_set().has_value_bounds:
            _refuse_shift(self._prior.reward_scaler)
        return slope

    def unscaled(self, x: TorchObservation) -> torch.Tensor:
        """Vector observations in their own units, ``(B, d)``."""
        assert isinstance(x, torch.Tensor)
        if self._prior.observation_scaler is None:
            return x
        unscaled: torch.Tensor = self._prior.observation_scaler.reverse_transform(x)
        return unscaled

    def cost_at(
        self, x: TorchObservation, positions: npt.NDArray[np.float64] | torch.Tensor
    ) -> torch.Tensor:
        """The known cost ``o(s, a)`` in scaled reward units, float64."""
        assert self._constraint.known_cost is not None
        return reward_slope(self._prior.reward_scaler) * self._constraint.known_cost(
            self.unscaled(x), positions
        )


def normalise_spectrally(critic: nn.Module) -> None:
    """Divides every linear layer by its largest singular value from now on."""
    for module in list(critic.modules()):
        if isinstance(module, nn.Linear):
            nn.utils.parametrizations.spectral_norm(module)


def reward_slope(scaler: RewardScaler | None) -> float:
    """By how much one unit of reward changes the scaled one; refuses curved scalers."""
    if scaler is None:
        return 1.0
    at = torch.tensor([-2.0, 0.0, 1.0, 3.0], dtype=torch.float64)
    scaled = scaler.transform(at)
    slopes = scaled.diff() / at.diff()
    slope = float(slopes[1])
    affine = not isinstance(scaler, ClipRewardScaler) and torch.allclose(
        slopes, slopes[1:2].expand(3), rtol=1e-6, atol=0.0
    )
    if not affine or not math.isfinite(slope) or slope <= 0.0:
        raise ValueError(
            "a constraint with a known cost or with bounds needs a reward_scaler that is "
            f"affine and rising, got {type(scaler).__name__}"
        )
    return slope


def reward_shift(scaler: RewardScaler | None) -> float:
    """What a reward of 0 is scaled to."""
    if scaler is None:
        return 0.0
    return float(scaler.transform(torch.zeros(1, dtype=torch.float64)))


def _refuse_shift(scaler: RewardScaler | None) -> None:
    if scaler is None:
        return
    at_zero = reward_shift(scaler)
    if at_zero != 0.0:
        raise ValueError(
            "bounds on values need a reward_scaler that only multiplies: a shift of "
            "every reward moves Q by more, the longer episodes are; got "
            f"{type(scaler).__name__}, which turns 0 into {at_zero:g}"
        )
