"""Critics of one continuous action that have a shape at every real action."""

from __future__ import annotations

from typing import Any

import torch
from d3rlpy.models.torch import ContinuousQFunction, EncoderWithAction, QFunctionOutput
from d3rlpy.types import TorchObservation

from .base import Prior, ShapedCritic
from .functions import Function


class OverRealAction:
    """What critics of one real action share.

    The action that the encoder sees is always zero, so that the action enters through
    the shaped functions alone.
    """

    training: bool
    _encoder: Any
    _prior: Prior
    coordinates: Any

    def features(self, x: TorchObservation) -> torch.Tensor:
        first = x if isinstance(x, torch.Tensor) else x[0]
        features: torch.Tensor = self._encoder(
            x, first.new_zeros((first.shape[0], 1)).float()
        )
        return features

    def unscaled_actions(self, action: torch.Tensor) -> torch.Tensor:
        """Actions in their own units, ``(B, 1)``."""
        scaler = self._prior.action_scaler
        unscaled: torch.Tensor
        unscaled = action if scaler is None else scaler.reverse_transform(action)
        return unscaled

    def at(self, x: TorchObservation, actions: torch.Tensor) -> torch.Tensor:
        """Values at unscaled actions, ``(B, M)`` to ``(B, M)``."""
        return self.at_coordinates(x, self.coordinates(x), actions)

    def at_coordinates(
        self, x: TorchObservation, coordinates: torch.Tensor, actions: torch.Tensor
    ) -> torch.Tensor:
        """As :meth:`at`, with the coordinates of the states already known."""
        if not self.training:
            # So that what float32 stores differs by its own rounding alone.
            return self.fine_values(x, coordinates, actions).float()
        return self._values(x, coordinates, actions).float()

    def fine_values(
        self, x: TorchObservation, coordinates: torch.Tensor, actions: torch.Tensor
    ) -> torch.Tensor:
        """As :meth:`at_coordinates` in evaluation mode, before it is rounded: float64.

        About a peak float32 cannot tell values apart: actions of a thousandth of the
        range share one.
        """
        return self._values(x, coordinates.double(), actions.double())

    def _values(
        self, x: TorchObservation, coordinates: torch.Tensor, actions: torch.Tensor
    ) -> torch.Tensor:
        """In the type of the coordinates, or a finer one."""
        raise NotImplementedError


class ContinuousShapedQFunction(OverRealAction, ShapedCritic, ContinuousQFunction):
    """A critic :math:`Q(s, a)` of a real action, a function of a stated shape in it.

    The shape holds for actions in their own units, at every real number, not only
    within the range that the constraint's ``actions`` (default: [0, 1]) name; that range
    is what coordinates are measured in.
    """

    _parametrization: Function

    def __init__(
        self,
        encoder: EncoderWithAction,
        hidden_size: int,
        prior: Prior,
        function: Function,
        spectral_norm: bool = False,
    ):
        super().__init__(encoder, hidden_size, prior, function, spectral_norm)

    def forward(self, x: TorchObservation, action: torch.Tensor) -> QFunctionOutput:
        if action.dim() != 2 or action.shape[1] != 1:
            raise ValueError(
                "a shape is over one action: actions must have shape (batch, 1), got "
                f"{tuple(action.shape)}"
            )
        q = self.at(x, self.unscaled_actions(action))
        return QFunctionOutput(q_value=q, quantiles=None, taus=None)

    def _values(
        self, x: TorchObservation, coordinates: torch.Tensor, actions: torch.Tensor
    ) -> torch.Tensor:
        values = self._parametrization.at(coordinates, actions, self.units())
        q: torch.Tensor = self.level + self.scale * values
        if self._constraint.known_cost is not None:
            q = q - self.cost_at(x, actions)
        return q
