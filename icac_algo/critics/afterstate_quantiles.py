r"""Distributional critics of afterstates: what a payment leaves, and how far luck goes.

A payment out of a budget is known, so of the return it moves the mean and nothing else;
what spreads is what this step earns and what follows the *afterstate*.  Quantiles are

.. math:: \theta_i(s, a) = Q(s, a) + \delta_i(s, a), \qquad
    \delta_1 \le \dots \le \delta_N, \quad \sum_i \delta_i = 0,

with ``Q`` and its shapes those of an
:class:`~icac_algo.critics.AfterstateQFunction`.
The two sources of luck are independent, and as variances add, so do here the squares of
the gaps between quantiles,

.. math:: \delta_{i+1} - \delta_i
    = \sqrt{g_i(s, a)^2 + h_i(k - 1, b - \kappa\, o(s, a))^2}, \qquad h(0, b) = 0.

Where much is still to come, actions can then differ little in their spread, as they do.
An action that the budget cannot pay has the distribution of the first action, which pays
nothing.

References:
    * `Dabney et al., Distributional Reinforcement Learning with Quantile Regression
      (2018). <https://arxiv.org/abs/1710.10044>`_
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
from d3rlpy.models.q_functions import (
    QFunctionFactory,
    make_q_func_field,
    register_q_func_factory,
)
from d3rlpy.models.torch import (
    ContinuousQFunction,
    ContinuousQFunctionForwarder,
    DiscreteQRQFunctionForwarder,
    Encoder,
    EncoderWithAction,
    QFunctionOutput,
)
from torch import nn

from .afterstates import AfterstateQFunction, AfterstateQFunctionFactory, make_network
from .quantiles import ShapedQRQFunction
from .states import vector_sizes

__all__ = ["AfterstateQRQFunction", "AfterstateQRQFunctionFactory"]


def _make_mean_field() -> Any:
    return dataclasses.field(
        default_factory=AfterstateQFunctionFactory,
        metadata=make_q_func_field().metadata,
    )


@dataclasses.dataclass()
class AfterstateQRQFunctionFactory(QFunctionFactory):
    """Gives d3rlpy's discrete algorithms quantiles of what a budget is worth.

    .. code-block:: python

        mean = AfterstateQFunctionFactory(
            payment=KnownCost(feature=1), spend=1 / 4, tick=1 / 50
        )
        factory = AfterstateQRQFunctionFactory(mean=mean)
        dqn = d3rlpy.algos.DQNConfig(q_func_factory=factory, gamma=0.999).create()
        greedy_actions(dqn, observations, CVaR(0.1))

    For ``DQN``, ``DoubleDQN`` and ``DiscreteCQL`` on vector observations, without an
    observation scaler; their losses stay d3rlpy's own.  Its quantile Huber loss is that
    of quantiles only for errors beyond 1: where scaled rewards spread by less, what is
    learned are expectiles, and from step to step the spread of returns is lost.  Scale
    rewards to a spread of about 10, ``StandardRewardScaler(multiplier=10)``, and give
    that scaler and ``scale=10`` to ``mean``.

    Args:
        share_encoder: as in d3rlpy's factories; that of ``mean`` is not read.
        mean: the critic that the quantiles' mean is, with all its shapes; its ``scale``
            is also the standard deviation that a fresh critic expects of returns.
        n_quantiles: number of quantiles, N, at least 2, at the midpoints of N equal
            shares.

    Raises:
        ValueError: an argument is out of bounds.
    """

    mean: AfterstateQFunctionFactory = _make_mean_field()
    n_quantiles: int = 32

    def __post_init__(self) -> None:
        # The first field of every factory of d3rlpy: a mean without its name lands here.
        if not isinstance(self.share_encoder, bool):
            raise ValueError(
                f"share_encoder must be True or False, got {self.share_encoder!r}"
            )
        if not isinstance(self.mean, AfterstateQFunctionFactory):
            raise ValueError(
                f"mean must be an AfterstateQFunctionFactory, got {self.mean!r}"
            )
        n = self.n_quantiles
        if isinstance(n, bool) or not isinstance(n, int) or n < 2:
            raise ValueError(
                f"n_quantiles must be an integer >= 2, got {n!r}; a critic of means "
                "only is AfterstateQFunctionFactory's"
            )

    def create_discrete(
        self, encoder: Encoder, hidden_size: int, action_size: int
    ) -> tuple[AfterstateQRQFunction, DiscreteQRQFunctionForwarder]:
        """A critic of K actions and its forwarder.

        Args:
            encoder: d3rlpy's vector encoder, whose layer sizes are taken over.
            hidden_size: number of features, not needed.
            action_size: number of actions, K.

        Raises:
            ValueError: the critic of the mean does not fit the encoder or K.
        """
        mean = AfterstateQFunction(encoder, action_size, self.mean)
        q_func = AfterstateQRQFunction(mean, self.mean, action_size, self.n_quantiles)
        return q_func, q_func.forwarder()

    def create_continuous(
        self, encoder: EncoderWithAction, hidden_size: int
    ) -> tuple[ContinuousQFunction, ContinuousQFunctionForwarder]:
        """Refused.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("AfterstateQRQFunctionFactory is for discrete actions")

    @staticmethod
    def get_type() -> str:
        return "afterstate_qr"


class AfterstateQRQFunction(ShapedQRQFunction):
    r"""Sorted quantiles of K ordered actions, ``(B, d)`` to ``(B, K, N)``.

    Gaps are measured as those of :class:`~icac_algo.critics.quantiles.ShapedQRQFunction`.

    Args:
        mean: the critic of the mean.
        settings: the fields of its factory.
        action_size: K.
        n_quantiles: N, at least 2.
    """

    _mean: Any

    def __init__(
        self,
        mean: AfterstateQFunction,
        settings: AfterstateQFunctionFactory,
        action_size: int,
        n_quantiles: int,
    ):
        # Typed for a mean of features, of which only level, scale and encoder are used,
        # and one layer, which is enough for features.
        of_features: Any = mean
        super().__init__(of_features, 1, action_size, n_quantiles)
        spread: Any = _Spread(mean, settings, n_quantiles)
        self._spread = spread

    def forward(self, x: Any) -> QFunctionOutput:
        q = self._mean(x).q_value
        left = self._mean.left(x)
        # Likewise: what the spread is told of are no features but states and the rest.
        seen: Any = (x, left)
        offsets = self._offsets(seen)
        # Refused: what comes of it is what comes of the free action.
        refused = self._mean.is_refused(left)[:, :, None]
        offsets = torch.where(refused, offsets[:, :1], offsets)
        quantiles = (q.double().unsqueeze(2) + offsets).to(q.dtype)
        return QFunctionOutput(q_value=q, quantiles=quantiles, taus=self.taus)

    def exact_values(self, x: Any) -> torch.Tensor:
        """Means that have the shape exactly, ``(B, K)``."""
        q: torch.Tensor = self._mean(x).q_value
        return q


class _Spread(nn.Module):
    """What gaps are made of by softplus, ``(B, K, N - 1)``."""

    _positions: torch.Tensor

    def __init__(
        self,
        mean: AfterstateQFunction,
        settings: AfterstateQFunctionFactory,
        n_quantiles: int,
    ):
        super().__init__()
        _, hidden = vector_sizes(mean.encoder)
        self._settings = settings
        self.register_buffer("_positions", mean.positions, persistent=False)
        inputs = len(settings.context) + 1
        self._now_network = make_network(inputs, hidden, n_quantiles - 1)
        self._later_network = make_network(2, hidden, n_quantiles - 1)

    def forward(self, seen: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        x, left = seen
        settings, shape = self._settings, left.shape
        context = (x[:, feature, None].expand(shape) for feature in settings.context)
        positions = self._positions.to(x.dtype).expand(shape)
        now = self._now_network(torch.stack([*context, positions], dim=2))
        clock = (x[:, settings.clock_feature, None] - settings.tick).expand(shape)
        left = left.clamp_min(0.0)
        later = self._later_network(torch.stack([left, clock], dim=2))
        goes_on = (clock > settings.tick / 2.0)[:, :, None]
        squares = F.softplus(now) ** 2 + torch.where(goes_on, F.softplus(later) ** 2, 0.0)
        gaps = squares.clamp_min(_SMALLEST_SQUARE).sqrt()
        # The inverse of softplus.
        return gaps + torch.log(-torch.expm1(-gaps))


# The root of 0 has no gradient.
_SMALLEST_SQUARE = 1e-20


register_q_func_factory(AfterstateQRQFunctionFactory)
