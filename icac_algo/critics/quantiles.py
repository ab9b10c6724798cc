r"""Distributional critics whose means have a shape, for unchanged d3rlpy algorithms.

A critic of quantiles learns the whole distribution of the return by quantile regression;
its mean over quantiles is the Q that a shape speaks of:

.. math:: \theta_i(s, a) = Q(s, a) + \delta_i(s, a), \qquad
    \delta_1 \le \dots \le \delta_N, \quad \sum_i \delta_i = 0,

with ``Q`` a :class:`~icac_algo.critics.ShapedQFunction`.  The shape moves all quantiles
of an action together; the spread :math:`\delta` is free for every state and action.

References:
    * `Dabney et al., Distributional Reinforcement Learning with Quantile Regression
      (2018). <https://arxiv.org/abs/1710.10044>`_
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from d3rlpy.models.q_functions import QFunctionFactory, register_q_func_factory
from d3rlpy.models.torch import (
    ContinuousQFunction,
    ContinuousQFunctionForwarder,
    DiscreteQFunction,
    DiscreteQRQFunctionForwarder,
    Encoder,
    EncoderWithAction,
    QFunctionOutput,
)
from d3rlpy.preprocessing import (
    ObservationScaler,
    RewardScaler,
    make_observation_scaler_field,
    make_reward_scaler_field,
)
from d3rlpy.types import TorchObservation
from torch import nn

from ..shapes import (
    Constraint,
    StateConstraint,
    make_constraint_field,
    make_state_constraints_field,
    running_maximum,
)
from .discrete import ShapedQFunction
from .factory import ShapedQFunctionFactory

__all__ = ["ShapedQRQFunction", "ShapedQRQFunctionFactory"]


class _Seen(NamedTuple):
    """An observation whose features are known already."""

    observation: TorchObservation
    features: torch.Tensor


class MeanOfQuantiles(ShapedQFunction):
    """A shaped critic of observations whose features are known already.

    The spread needs the same features, and a second pass through an encoder would cost
    as much again and, with dropout, give others.
    """

    def features(self, x: Any) -> torch.Tensor:
        features: torch.Tensor = x.features
        return features

    def unscaled(self, x: Any) -> torch.Tensor:
        return super().unscaled(x.observation)


class ShapedQRQFunction(DiscreteQFunction):
    r"""Sorted quantiles of K ordered actions, ``(B, ...)`` to ``(B, K, N)``.

    In evaluation mode ``q_value`` is as exact as that of a
    :class:`~icac_algo.critics.ShapedQFunction`, and the quantiles of every action are
    sorted exactly; their mean differs from ``q_value`` only by the rounding of each
    quantile to float32.  In training mode both are the differentiable values that a loss
    needs.

    The spread is the cumulative sum of gaps :math:`\mathrm{softplus}(z_j) / \log 2 \cdot
    g_j`, centred, with ``g`` the gaps between those quantiles of a standard normal: a
    fresh critic expects normal returns with about the standard deviation ``scale``.

    Args:
        mean: the critic of the mean; its encoder's features make the spread, too.
        hidden_size: number of features.
        action_size: number of actions, K.
        n_quantiles: N, at least 2.
    """

    taus: torch.Tensor
    gaps: torch.Tensor

    def __init__(
        self,
        mean: MeanOfQuantiles,
        hidden_size: int,
        action_size: int,
        n_quantiles: int,
    ):
        super().__init__()
        self._mean = mean
        self._action_size = action_size
        self._n_quantiles = n_quantiles
        self._spread = nn.Linear(hidden_size, action_size * (n_quantiles - 1))
        taus = (torch.arange(n_quantiles, dtype=torch.float64) + 0.5) / n_quantiles
        # Known from n_quantiles: not part of a saved model.
        self.register_buffer("taus", taus.float().view(1, -1), persistent=False)
        gaps = torch.special.ndtri(taus).diff() / math.log(2.0)
        self.register_buffer("gaps", gaps, persistent=False)

    def forward(self, x: TorchObservation) -> QFunctionOutput:
        features = self.encoder(x)
        seen = _Seen(x, features)
        q = self._mean(seen).q_value
        quantiles = q.double().unsqueeze(2) + self._offsets(features)
        return QFunctionOutput(q_value=q, quantiles=quantiles.to(q.dtype), taus=self.taus)

    def exact_values(self, x: TorchObservation) -> torch.Tensor:
        """Means that have the shape exactly, in either mode, ``(B, K)``."""
        return self._mean.exact_values(_Seen(x, self.encoder(x)))

    def _offsets(self, features: torch.Tensor) -> torch.Tensor:
        """What makes quantiles of a mean: rising, mean zero, float64 ``(B, K, N)``."""
        raw = self._spread(features).clamp(-_LARGEST_COORDINATE, _LARGEST_COORDINATE)
        raw = raw.double().view(-1, self._action_size, self._n_quantiles - 1)
        above = torch.cumsum(F.softplus(raw) * self.gaps, dim=2)
        offsets = torch.cat([torch.zeros_like(above[:, :, :1]), above], dim=2)
        offsets = self._mean.scale.double() * (
            offsets - offsets.mean(dim=2, keepdim=True)
        )
        if self.training:
            return offsets
        # An accelerator's cumulative sum adds in an order of its own, and its rounding
        # may put two equal neighbours out of order.
        flat = offsets.reshape(-1, self._n_quantiles)
        return running_maximum(flat).view_as(offsets)

    def standardise(self, level: float, scale: float) -> None:
        """Sets the level and the scale that the network's outputs are measured in."""
        self._mean.standardise(level, scale)

    @property
    def encoder(self) -> Any:
        """The encoder that was given."""
        return self._mean.encoder

    def forwarder(self) -> DiscreteQRQFunctionForwarder:
        """What d3rlpy's algorithms call a critic through."""
        # Typed for d3rlpy's own critic, used for what every critic of quantiles returns.
        critic: Any = self
        return DiscreteQRQFunctionForwarder(critic, self._n_quantiles)


# As for the coordinates of a mean: it keeps quantiles finite at absurd observations.
_LARGEST_COORDINATE = 1e6


@dataclasses.dataclass()
class ShapedQRQFunctionFactory(QFunctionFactory):
    r"""Gives quantiles whose mean has a shape to an unchanged d3rlpy algorithm.

    .. code-block:: python

        shape = ShapedQRQFunctionFactory(constraint=Concave())
        cql = d3rlpy.algos.DiscreteCQLConfig(q_func_factory=shape).create()

    For ``DQN``, ``DoubleDQN``, ``DiscreteCQL``, ``DiscreteBCQ`` and ``DiscreteSAC``;
    their losses stay d3rlpy's own, with its quantile Huber loss.  Only the mean has the
    shape: bounds on values bound the mean, not each quantile, and neither a single
    quantile nor a risk measure (:class:`~icac_algo.CVaR`) is shaped over actions.

    Of several critics d3rlpy takes, for each action, the quantiles of the one with the
    smallest mean, so that the mean of the result is the minimum of the means: it keeps
    every shape but a convex one, and convex shapes are refused with more than one critic.

    Args:
        share_encoder: as in d3rlpy's factories.
        constraint: the shape of the mean.
        projection: ``"functional"``, ``"canonical"`` or ``"euclidean"``, as in
            :class:`~icac_algo.ShapedQFunctionFactory`.
        n_pieces: pieces of a functional critic.
        n_quantiles: number of quantiles, N, at least 2, at the midpoints
            :math:`(2i - 1) / 2N`.
        level: what Q is measured from; about the mean of Q.
        scale: what Q is measured in, and the standard deviation that a fresh critic
            expects; about the spread of rewards.
        state_constraints: shapes of the mean over state features.
        observation_scaler: the scaler that the algorithm is given, if it is and the
            constraint has a known cost or state constraints.
        reward_scaler: likewise, if the constraint has a known cost or bounds.

    Raises:
        ValueError: an argument is out of bounds or unknown.
    """

    constraint: Constraint = make_constraint_field()
    projection: str = "functional"
    n_pieces: int = 4
    n_quantiles: int = 32
    level: float = 0.0
    scale: float = 1.0
    state_constraints: list[StateConstraint] = make_state_constraints_field()
    observation_scaler: ObservationScaler | None = make_observation_scaler_field()
    reward_scaler: RewardScaler | None = make_reward_scaler_field()

    def __post_init__(self) -> None:
        self._of_means()  # which checks what the two have in common
        n = self.n_quantiles
        if isinstance(n, bool) or not isinstance(n, int) or n < 2:
            raise ValueError(
                f"n_quantiles must be an integer >= 2, got {n!r}; a critic of means "
                "only is ShapedQFunctionFactory's"
            )

    def create_discrete(
        self, encoder: Encoder, hidden_size: int, action_size: int
    ) -> tuple[ShapedQRQFunction, DiscreteQRQFunctionForwarder]:
        """A critic of K actions and its forwarder.

        Args:
            encoder: observations ``(B, ...)`` to features ``(B, hidden_size)``.
            hidden_size: number of features.
            action_size: number of actions, K.

        Raises:
            ValueError: the shape does not offer the projection or does not fit K, the
                observation or the scalers, or is convex and one of several critics.
        """
        self._of_means()._check_ensemble()
        mean = MeanOfQuantiles(
            encoder,
            hidden_size,
            action_size,
            self.constraint,
            self.projection,
            self.n_pieces,
            self.observation_scaler,
            self.reward_scaler,
            state_constraints=self.state_constraints,
            projects_in_training=True,
        )
        q_func = ShapedQRQFunction(mean, hidden_size, action_size, self.n_quantiles)
        q_func.standardise(self.level, self.scale)
        return q_func, q_func.forwarder()

    def create_continuous(
        self, encoder: EncoderWithAction, hidden_size: int
    ) -> tuple[ContinuousQFunction, ContinuousQFunctionForwarder]:
        """Refused.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "ShapedQRQFunctionFactory is for discrete actions; continuous ones have "
            "ShapedQFunctionFactory"
        )

    def _of_means(self) -> ShapedQFunctionFactory:
        return ShapedQFunctionFactory(
            share_encoder=self.share_encoder,
            constraint=self.constraint,
            projection=self.projection,
            n_pieces=self.n_pieces,
            level=self.level,
            scale=self.scale,
            state_constraints=self.state_constraints,
            observation_scaler=self.observation_scaler,
            reward_scaler=self.reward_scaler,
        )

    @staticmethod
    def get_type() -> str:
        return "shaped_qr"


register_q_func_factory(ShapedQRQFunctionFactory)
