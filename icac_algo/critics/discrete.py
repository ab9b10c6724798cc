"""Critics of discrete actions that have a shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from d3rlpy.models.torch import (
    DiscreteMeanQFunctionForwarder,
    DiscreteQFunction,
    Encoder,
    QFunctionOutput,
)
from d3rlpy.preprocessing import ObservationScaler, RewardScaler
from d3rlpy.types import TorchObservation

from ..shapes import Constraint, StateConstraint, has_lipschitz
from ..shapes.projection import project_onto_set
from .base import ShapedCritic
from .choice import make_parametrization

__all__ = ["ShapedQFunction"]


class ShapedQFunction(ShapedCritic, DiscreteQFunction):
    r"""A critic of K ordered actions, ``(B, ...)`` to ``(B, K)``.

    In evaluation mode the output is exact: rounding is removed in float64, and a
    ``"euclidean"`` critic is projected.  In training mode it is the differentiable value
    that a loss needs.

    Args:
        encoder: observations ``(B, ...)`` to features ``(B, hidden_size)``.
        hidden_size: number of features.
        action_size: number of actions, K.
        constraint: the shape.
        projection: one of ``icac_algo.PROJECTIONS``.
        n_pieces: pieces of a functional parametrization.
        observation_scaler: how observations were scaled, to read a known cost's feature
            in its own units.
        reward_scaler: how rewards were scaled, to put a known cost in their units.
        spectral_norm: normalise every linear layer by its largest singular value.
        state_constraints: shapes over state features.
        projects_in_training: whether a euclidean critic answers with the projection in
            training mode too (with the gradient of :class:`_StraightThrough`).
    """

    def __init__(
        self,
        encoder: Encoder,
        hidden_size: int,
        action_size: int,
        constraint: Constraint,
        projection: str,
        n_pieces: int = 4,
        observation_scaler: ObservationScaler | None = None,
        reward_scaler: RewardScaler | None = None,
        spectral_norm: bool = False,
        state_constraints: Sequence[StateConstraint] = (),
        projects_in_training: bool = False,
    ):
        if state_constraints and projection == "euclidean":
            raise ValueError(
                "state_constraints need projection='functional', got 'euclidean': a "
                "projection at each state says nothing about two states"
            )
        super().__init__(
            encoder,
            hidden_size,
            constraint,
            make_parametrization(
                constraint,
                projection,
                action_size,
                n_pieces,
                rising_in_coordinates=bool(state_constraints),
                lipschitz_in_coordinates=has_lipschitz(state_constraints),
            ),
            state_constraints,
            observation_scaler,
            reward_scaler,
            spectral_norm,
        )
        self._projected = projection == "euclidean"
        self._projects_in_training = self._projected and projects_in_training
        self._positions = constraint.positions(action_size)

    def forward(self, x: TorchObservation) -> QFunctionOutput:
        q = self.trained_values(x) if self.training else self.exact_values(x)
        return QFunctionOutput(q_value=q, quantiles=None, taus=None)

    def features(self, x: TorchObservation) -> torch.Tensor:
        features: torch.Tensor = self._encoder(x)
        return features

    def trained_values(self, x: TorchObservation) -> torch.Tensor:
        """What a loss is taken of, ``(B, K)``: free values for a euclidean critic."""
        values = self._parametrization(self.coordinates(x), self.units())
        if self._projects_in_training:
            gross = self.level.double() + self.scale.double() * values.double()
            gross = _StraightThrough.apply(gross, self._projection(gross))
            return (gross - self.known_cost(x)).to(values.dtype)
        q: torch.Tensor = self.level + self.scale * values
        if self._constraint.known_cost is None:
            return q
        return q - self.known_cost(x).to(q.dtype)

    def exact_values(self, x: TorchObservation) -> torch.Tensor:
        """Values that have the shape exactly, in either mode, ``(B, K)``."""
        values = self._parametrization(self.coordinates(x), self.units())
        gross = self.level.double() + self.scale.double() * values.double()
        if self._projected:
            gross = self._projection(gross)
        else:
            gross = self.set_in_q().remove_rounding(gross, self._positions)
        if self._constraint.known_cost is not None:
            gross = gross - self.known_cost(x)
        return gross.to(values.dtype)

    def _projection(self, gross: torch.Tensor) -> torch.Tensor:
        shape_set = self.set_in_q()
        projected = project_onto_set(gross, shape_set, self._positions)
        return shape_set.remove_rounding(projected, self._positions)

    def known_cost(self, x: TorchObservation) -> torch.Tensor:
        """The known cost ``o(s, a)`` in scaled reward units, float64 ``(B or 1, K)``."""
        if self._constraint.known_cost is None:
            return torch.zeros(
                (1, len(self._positions)), dtype=torch.float64, device=self.level.device
            )
        return self.cost_at(x, self._positions)

    def forwarder(self) -> DiscreteMeanQFunctionForwarder:
        """What d3rlpy's algorithms call a critic through."""
        return DiscreteMeanQFunctionForwarder(self, len(self._positions))


class _StraightThrough(torch.autograd.Function):
    r"""The projection ``u`` of ``f``, with the gradient of ``u`` itself plus a pull.

    The projection's own Jacobian gives all pooled actions one gradient, so that nothing
    ever pulls them apart again and a critic ends up constant.  Passing the gradient
    straight on is dual averaging; :math:`\rho (f - u)`, the gradient of the Moreau
    envelope, keeps ``f`` near the set.
    """

    @staticmethod
    def forward(ctx: Any, free: torch.Tensor, projected: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(free - projected)
        return projected.clone()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        (grad,) = grads
        (outside,) = ctx.saved_tensors
        return grad + _PULL / len(grad) * outside, None


# The weight that ConstraintAwareQ has by default, for a loss that is a mean over a batch.
_PULL = 10.0
