r"""Distributional critics: quantiles whose mean is a critic that has a shape.

A critic of quantiles learns the whole distribution of the return by quantile regression;
its mean over quantiles is the Q that a shape speaks of:

.. math:: \theta_i(s, a) = Q(s, a) + \delta_i(s, a), \qquad
    \delta_1 \le \dots \le \delta_N, \quad \sum_i \delta_i = 0.

The shape moves all quantiles of an action together; the spread :math:`\delta` is free for
every state and action.

A known cost that is paid out of a budget moves the mean of the return and nothing else;
what spreads is what this step earns and what follows the *afterstate*.  The two sources
of luck are independent, and as variances add, so do there the squares of the gaps between
quantiles,

.. math:: \delta_{i+1} - \delta_i
    = \sqrt{g_i(s, a)^2 + h_i(k - 1, b - \kappa\, o(s, a))^2}, \qquad h(0, b) = 0.

Where much is still to come, actions can then differ little in their spread, as they do.
An action that the budget cannot pay has the distribution of the first action, which costs
nothing.

References:
    * `Dabney et al., Distributional Reinforcement Learning with Quantile Regression
      (2018). <https://arxiv.org/abs/1710.10044>`_
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from d3rlpy.models.torch import DiscreteQFunction, QFunctionOutput
from d3rlpy.types import TorchObservation
from torch import nn

from ..shapes import running_maximum
from .afterstates import AfterstateQFunction, is_refused, make_network
from .discrete import ShapedQFunction

# As for the coordinates of a mean: it keeps quantiles finite at absurd observations.
_LARGEST_COORDINATE = 1e6
# The root of 0 has no gradient.
_SMALLEST_SQUARE = 1e-20


class QuantileQFunction(DiscreteQFunction):
    r"""Sorted quantiles of K ordered actions, ``(B, ...)`` to ``(B, K, N)``.

    In evaluation mode ``q_value`` is as exact as that of the mean's own critic, and the
    quantiles of every action are sorted exactly; their mean differs from ``q_value`` only
    by the rounding of each quantile to float32.  In training mode both are the
    differentiable values that a loss needs.

    The spread is the cumulative sum of gaps :math:`\mathrm{softplus}(z_j) / \log 2 \cdot
    g_j`, centred, with ``g`` the gaps between those quantiles of a standard normal: a
    fresh critic expects normal returns with about the standard deviation ``scale``.
    """

    taus: torch.Tensor
    gaps: torch.Tensor

    def __init__(
        self,
        mean: ShapedQFunction | AfterstateQFunction,
        hidden_size: int,
        action_size: int,
        n_quantiles: int,
    ):
        super().__init__()
        self._mean = mean
        self._spread: nn.Module
        if isinstance(mean, AfterstateQFunction):
            self._spread = _AfterstateSpread(mean, n_quantiles)
        else:
            self._spread = _FeatureSpread(hidden_size, action_size, n_quantiles)
        taus = (torch.arange(n_quantiles, dtype=torch.float64) + 0.5) / n_quantiles
        # Known from n_quantiles: not part of a saved model.
        self.register_buffer("taus", taus.float().view(1, -1), persistent=False)
        gaps = torch.special.ndtri(taus).diff() / math.log(2.0)
        self.register_buffer("gaps", gaps, persistent=False)

    def forward(self, x: TorchObservation) -> QFunctionOutput:
        seen = self._seen(x)
        q = self._mean.values(x, seen)
        quantiles = q.double().unsqueeze(2) + self._offsets(self._spread(x, seen))
        return QFunctionOutput(q_value=q, quantiles=quantiles.to(q.dtype), taus=self.taus)

    def exact_values(self, x: TorchObservation) -> torch.Tensor:
        """Means that have the shape exactly, in either mode, ``(B, K)``."""
        return self._mean.exact_values(x, self._seen(x))

    def _seen(self, x: Any) -> torch.Tensor:
        """What mean and spread are both made of: one pass through an encoder."""
        if isinstance(self._mean, AfterstateQFunction):
            return self._mean.left(x)
        return self._mean.features(x)

    def _offsets(self, raw: torch.Tensor) -> torch.Tensor:
        """What makes quantiles of a mean: rising, mean zero, float64 ``(B, K, N)``."""
        raw = raw.clamp(-_LARGEST_COORDINATE, _LARGEST_COORDINATE).double()
        above = torch.cumsum(F.softplus(raw) * self.gaps, dim=2)
        offsets = torch.cat([torch.zeros_like(above[:, :, :1]), above], dim=2)
        offsets = self._mean.scale.double() * (
            offsets - offsets.mean(dim=2, keepdim=True)
        )
        if self.training:
            return offsets
        # An accelerator's cumulative sum adds in an order of its own, and its rounding
        # may put two equal neighbours out of order.
        flat = offsets.reshape(-1, offsets.shape[2])
        return running_maximum(flat).view_as(offsets)

    def standardise(self, level: float, scale: float) -> None:
        """Sets the level and the scale that the network's outputs are measured in."""
        self._mean.standardise(level, scale)

    @property
    def encoder(self) -> Any:
        """The encoder that was given."""
        return self._mean.encoder


class _FeatureSpread(nn.Module):
    """Gaps before their softplus from the features, ``(B, K, N - 1)``."""

    def __init__(self, hidden_size: int, action_size: int, n_quantiles: int):
        super().__init__()
        self._shape = (action_size, n_quantiles - 1)
        self._fc = nn.Linear(hidden_size, action_size * (n_quantiles - 1))

    def forward(self, x: Any, features: torch.Tensor) -> torch.Tensor:
        return self._fc(features).view(-1, *self._shape)


class _AfterstateSpread(nn.Module):
    """Gaps before their softplus from what actions leave, ``(B, K, N - 1)``."""

    _positions: torch.Tensor

    def __init__(self, mean: AfterstateQFunction, n_quantiles: int):
        super().__init__()
        self._settings = mean.settings
        self.register_buffer("_positions", mean.positions, persistent=False)
        inputs, hidden = len(mean.settings.context) + 1, mean.hidden_units
        self._now_network = make_network(inputs, hidden, n_quantiles - 1)
        self._later_network = make_network(2, hidden, n_quantiles - 1)

    def forward(self, x: torch.Tensor, left: torch.Tensor) -> torch.Tensor:
        settings, shape = self._settings, left.shape
        refused = is_refused(left)[:, :, None]
        context = (x[:, feature, None].expand(shape) for feature in settings.context)
        positions = self._positions.to(x.dtype).expand(shape)
        now = self._now_network(torch.stack([*context, positions], dim=2))
        clock = (x[:, settings.clock_feature, None] - settings.tick).expand(shape)
        later = self._later_network(torch.stack([left.clamp_min(0.0), clock], dim=2))
        goes_on = (clock > settings.tick / 2.0)[:, :, None]
        squares = F.softplus(now) ** 2 + torch.where(goes_on, F.softplus(later) ** 2, 0.0)
        gaps = squares.clamp_min(_SMALLEST_SQUARE).sqrt()
        # The inverse of softplus.
        raw = gaps + torch.log(-torch.expm1(-gaps))
        return torch.where(refused, raw[:, :1], raw)
