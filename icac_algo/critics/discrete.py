"""Critics of discrete actions that have a shape."""

from __future__ import annotations

from typing import Any

import torch
from d3rlpy.models.torch import DiscreteQFunction, Encoder, QFunctionOutput
from d3rlpy.types import TorchObservation

from ..shapes import is_exporting
from ..shapes.projection import has_closed_form, project_onto_set
from .base import Prior, ShapedCritic
from .parametrization import Parametrization


class ShapedQFunction(ShapedCritic, DiscreteQFunction):
    """A critic of K ordered actions, ``(B, ...)`` to ``(B, K)``.

    In evaluation mode the output is exact: rounding is removed in float64.  In training
    mode it is the differentiable value that a loss needs.
    """

    def __init__(
        self,
        encoder: Encoder,
        hidden_size: int,
        action_size: int,
        prior: Prior,
        parametrization: Parametrization,
        spectral_norm: bool = False,
    ):
        super().__init__(encoder, hidden_size, prior, parametrization, spectral_norm)
        self._positions = prior.constraint.positions(action_size)

    def forward(self, x: TorchObservation) -> QFunctionOutput:
        return QFunctionOutput(q_value=self.values(x), quantiles=None, taus=None)

    def features(self, x: TorchObservation) -> torch.Tensor:
        features: torch.Tensor = self._encoder(x)
        return features

    def values(
        self, x: TorchObservation, features: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Those of the present mode, ``(B, K)``; features may be known already."""
        if self.training:
            return self.trained_values(x, features)
        return self.exact_values(x, features)

    def trained_values(
        self, x: TorchObservation, features: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What a loss is taken of, in either mode, ``(B, K)``."""
        return self.at_coordinates(x, self.coordinates(x, features))

    def at_coordinates(
        self, x: TorchObservation, coordinates: torch.Tensor
    ) -> torch.Tensor:
        """The same, with the coordinates of the states already known."""
        values = self._parametrization(coordinates, self.units())
        q: torch.Tensor = self.level + self.scale * values
        if self._constraint.known_cost is None:
            return q
        return q - self.known_cost(x).to(q.dtype)

    def standardised(
        self,
        x: TorchObservation,
        coordinates: torch.Tensor,
        actions: torch.Tensor,
        target: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Q of one action each, and a target, both from the level and in the scale.

        Actions are indices; all but states and coordinates are ``(B, 1)``.
        """
        values = self._parametrization.at_index(coordinates, actions, self.units())
        if self._constraint.known_cost is not None:
            cost = self.known_cost(x).expand(len(target), -1).gather(1, actions)
            target = target + cost.to(target.dtype)
        return values, (target - self.level) / self.scale

    def exact_values(
        self, x: TorchObservation, features: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Values that have the shape exactly, in either mode, ``(B, K)``."""
        values = self._parametrization(self.coordinates(x, features), self.units())
        gross = self._exact(self.level.double() + self.scale.double() * values.double())
        if self._constraint.known_cost is not None:
            gross = gross - self.known_cost(x)
        return gross.to(values.dtype)

    def _exact(self, gross: torch.Tensor) -> torch.Tensor:
        return self.set_in_q().remove_rounding(gross, self._positions)

    def known_cost(self, x: TorchObservation) -> torch.Tensor:
        """The known cost ``o(s, a)`` in scaled reward units, float64 ``(B or 1, K)``."""
        if self._constraint.known_cost is None:
            return torch.zeros(
                (1, len(self._positions)), dtype=torch.float64, device=self.level.device
            )
        return self.cost_at(x, self._positions)


class ProjectedQFunction(ShapedQFunction):
    """A free critic that shows its exact projection onto the shape.

    In training mode too, with the gradient of :class:`_StraightThrough`, unless
    ``projects_in_training`` is set to ``False``, for an algorithm with a proximal layer
    of its own.  The ``pull`` keeps the free critic near the set.
    """

    def __init__(self, *others: Any, pull: float, **more: Any):
        super().__init__(*others, **more)
        self.projects_in_training = True
        self._pull = pull

    def trained_values(
        self, x: TorchObservation, features: torch.Tensor | None = None
    ) -> torch.Tensor:
        if not self.projects_in_training:
            return super().trained_values(x, features)
        values = self._parametrization(self.coordinates(x, features), self.units())
        gross = self.level.double() + self.scale.double() * values.double()
        gross = _StraightThrough.apply(gross, self._exact(gross), self._pull)
        return (gross - self.known_cost(x)).to(values.dtype)

    def _exact(self, gross: torch.Tensor) -> torch.Tensor:
        shape_set = self.set_in_q()
        if is_exporting() and not has_closed_form(shape_set, self._positions):
            raise ValueError(
                f"critic=Euclidean() onto {type(self._constraint).__name__} over "
                f"{len(self._positions)} actions has no closed form to export; "
                "critic=Functional() and Canonical() export at any size"
            )
        projected = project_onto_set(gross, shape_set, self._positions)
        return super()._exact(projected)


class _StraightThrough(torch.autograd.Function):
    r"""The projection ``u`` of ``f``, with the gradient of ``u`` itself plus a pull.

    The projection's own Jacobian gives all pooled actions one gradient, so that nothing
    ever pulls them apart again and a critic ends up constant.  Passing the gradient
    straight on is dual averaging; :math:`\rho (f - u)`, the gradient of the Moreau
    envelope for a loss that is a mean over a batch, keeps ``f`` near the set.
    """

    @staticmethod
    def forward(
        ctx: Any, free: torch.Tensor, projected: torch.Tensor, pull: float
    ) -> torch.Tensor:
        ctx.save_for_backward(free - projected)
        ctx.pull = pull
        return projected.clone()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        (grad,) = grads
        (outside,) = ctx.saved_tensors
        return grad + ctx.pull / len(grad) * outside, None, None
