"""Critics with a shape, as a q-function factory for any discrete d3rlpy algorithm."""

from __future__ import annotations

import dataclasses
import math

import torch
from d3rlpy.models.q_functions import QFunctionFactory, register_q_func_factory
from d3rlpy.models.torch import (
    DiscreteMeanQFunctionForwarder,
    DiscreteQFunction,
    Encoder,
    QFunctionOutput,
)
from d3rlpy.preprocessing import (
    ClipRewardScaler,
    ObservationScaler,
    RewardScaler,
    make_observation_scaler_field,
    make_reward_scaler_field,
)
from d3rlpy.types import TorchObservation
from torch import nn

from .constraints import Constraint, make_constraint_field
from .parametrizations import make_parametrization

__all__ = ["ShapedQFunction", "ShapedQFunctionFactory", "reward_slope"]


class ShapedQFunction(DiscreteQFunction):
    r"""A critic :math:`Q(s, a) = level + scale \cdot v(s, a) - o(s, a)`.

    ``v`` comes from a :class:`~icac_algo.parametrizations.Parametrization` and ``o`` is
    the constraint's known cost.  In evaluation mode the output is exact: rounding is
    removed in float64, and a ``"euclidean"`` critic is projected.  In training mode it
    is the differentiable value that a loss needs.

    Args:
        encoder: observations ``(B, ...)`` to features ``(B, hidden_size)``.
        hidden_size: number of features.
        action_size: number of actions, K.
        constraint: the shape.
        projection: one of ``icac_algo.PROJECTIONS``.
        n_pieces: pieces of a functional parametrization.
        observation_scaler: how observations were scaled, to read an offset's feature in
            its own units.
        reward_scaler: how rewards were scaled, to put an offset in their units.
        spectral_norm: normalise every linear layer by its largest singular value.
    """

    level: torch.Tensor
    scale: torch.Tensor

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
    ):
        super().__init__()
        self._encoder = encoder
        self._constraint = constraint
        self._projected = projection == "euclidean"
        self._parametrization = make_parametrization(
            constraint, projection, action_size, n_pieces
        )
        self._fc = nn.Linear(hidden_size, self._parametrization.n_coordinates)
        self._observation_scaler = observation_scaler
        self._reward_scaler = reward_scaler
        self.register_buffer("level", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))
        self._positions = constraint.positions(action_size)
        if spectral_norm:
            for module in list(self.modules()):
                if isinstance(module, nn.Linear):
                    nn.utils.parametrizations.spectral_norm(module)

    def forward(self, x: TorchObservation) -> QFunctionOutput:
        q = self._values(x) if self.training else self.exact_values(x)
        return QFunctionOutput(q_value=q, quantiles=None, taus=None)

    def _values(self, x: TorchObservation) -> torch.Tensor:
        values = self._parametrization(self._fc(self._encoder(x)))
        q: torch.Tensor = self.level + self.scale * values
        if self._constraint.offset is None:
            return q
        return q - self.known_cost(x).to(q.dtype)

    def exact_values(self, x: TorchObservation) -> torch.Tensor:
        """Values that have the shape exactly, in either mode, ``(B, K)``."""
        values = self._parametrization(self._fc(self._encoder(x)))
        gross = self.level.double() + self.scale.double() * values.double()
        if self._projected:
            gross = self._constraint.project_gross(gross, self._positions)
        gross = self._constraint.remove_rounding(gross, self._positions)
        return (gross - self.known_cost(x)).to(values.dtype)

    def known_cost(self, x: TorchObservation) -> torch.Tensor:
        """The offset ``o(s, a)`` in scaled reward units, float64 ``(B or 1, K)``."""
        if self._constraint.offset is None:
            return torch.zeros(
                (1, len(self._positions)), dtype=torch.float64, device=self.level.device
            )
        assert isinstance(x, torch.Tensor)
        if self._observation_scaler is not None:
            x = self._observation_scaler.reverse_transform(x)
        cost = self._constraint.offset(x, self._positions)
        return reward_slope(self._reward_scaler) * cost

    def standardise(self, level: float, scale: float) -> None:
        """Sets the level and the scale that the network's outputs are measured in."""
        self.level.fill_(level)
        self.scale.fill_(scale)

    def forwarder(self) -> DiscreteMeanQFunctionForwarder:
        """What d3rlpy's algorithms call a critic through."""
        return DiscreteMeanQFunctionForwarder(self, len(self._positions))

    @property
    def encoder(self) -> Encoder:
        return self._encoder


def reward_slope(scaler: RewardScaler | None) -> float:
    """By how much one unit of reward changes the scaled reward.

    Raises:
        ValueError: the scaler is not affine, so a cost has no fixed scaled size.
    """
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
            "a constraint with an offset needs a reward_scaler that is affine and "
            f"rising, got {type(scaler).__name__}"
        )
    return slope


@dataclasses.dataclass()
class ShapedQFunctionFactory(QFunctionFactory):
    r"""Gives a shape to the critic of any discrete d3rlpy algorithm.

    .. code-block:: python

        shape = ShapedQFunctionFactory(constraint=Concave())
        cql = d3rlpy.algos.DiscreteCQLConfig(q_func_factory=shape).create()

    d3rlpy reduces an ensemble by minimum or mean; with one critic the guarantee holds
    as it stands, so keep ``n_critics=1``.

    Args:
        constraint: the shape.
        projection: ``"functional"`` or ``"canonical"``.  ``"euclidean"`` needs its own
            update rule and is offered by ``ConstraintAwareQ``.
        n_pieces: pieces of a functional critic.
        level: what Q is measured from; about the mean of Q.
        scale: what Q is measured in; about the spread of rewards.
        observation_scaler: the scaler that the algorithm is given, if it is and the
            constraint has an offset.
        reward_scaler: likewise.

    Raises:
        ValueError: an argument is out of bounds or unknown.
    """

    constraint: Constraint = make_constraint_field()
    projection: str = "functional"
    n_pieces: int = 4
    level: float = 0.0
    scale: float = 1.0
    observation_scaler: ObservationScaler | None = make_observation_scaler_field()
    reward_scaler: RewardScaler | None = make_reward_scaler_field()

    def __post_init__(self) -> None:
        offered = ("functional", "canonical")
        if self.projection not in offered:
            raise ValueError(
                f"projection must be one of {offered}, got {self.projection!r}"
            )
        if self.n_pieces < 1:
            raise ValueError(f"n_pieces must be >= 1, got {self.n_pieces!r}")
        if not (0.0 < self.scale < math.inf):
            raise ValueError(f"scale must be positive and finite, got {self.scale!r}")

    def create_discrete(
        self, encoder: Encoder, hidden_size: int, action_size: int
    ) -> tuple[ShapedQFunction, DiscreteMeanQFunctionForwarder]:
        q_func = ShapedQFunction(
            encoder,
            hidden_size,
            action_size,
            self.constraint,
            self.projection,
            self.n_pieces,
            self.observation_scaler,
            self.reward_scaler,
        )
        q_func.standardise(self.level, self.scale)
        return q_func, q_func.forwarder()

    @staticmethod
    def get_type() -> str:
        return "shaped"


register_q_func_factory(ShapedQFunctionFactory)
