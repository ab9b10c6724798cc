"""Logging policies of campaigns under a budget, with exact propensities."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Protocol

import numpy as np

from .._arrays import AnyArray, FloatArray, IntArray
from .._checks import check_number
from ..behavior import ClippedGaussianPolicy
from .campaign import BudgetedCampaign


class CampaignPolicy(Protocol):
    """What a campaign is logged by.

    ``probabilities_of`` is also what :func:`~bidclick_gym.campaigns.evaluate` takes.
    """

    @property
    def campaign(self) -> BudgetedCampaign:
        """The campaign that it bids in."""

    def probabilities_of(self, observations: AnyArray) -> FloatArray:
        """Exact probabilities of the bids: ``(N, 4)`` observations to ``(N, K)``."""

    def sample(self, rng: np.random.Generator, observations: AnyArray) -> IntArray:
        """Draws a bid index for each observation, shape ``(N,)``."""


@dataclasses.dataclass(frozen=True)
class UnpacedPolicy:
    """The paper's logger in a campaign: it knows neither cost nor budget.

    It goes on asking for bids that the rest of the budget cannot pay.

    Args:
        campaign: the campaign that it bids in.
        mean: mean of the Gaussian, in units of the bid.
        std: its standard deviation, positive.

    Raises:
        ValueError: ``mean`` is not finite or ``std`` is not positive.
    """

    campaign: BudgetedCampaign
    mean: float = 0.4
    std: float = 0.4

    def __post_init__(self) -> None:
        _ = self.bidder

    @functools.cached_property
    def bidder(self) -> ClippedGaussianPolicy:
        """What draws the bids."""
        return ClippedGaussianPolicy(self.mean, self.std, self.campaign.bids)

    def probabilities_of(self, observations: AnyArray) -> FloatArray:
        """The same for each observation, ``(N, K)``."""
        return np.tile(self.bidder.probabilities, (len(observations), 1))

    def sample(self, rng: np.random.Generator, observations: AnyArray) -> IntArray:
        """Draws a bid index for each observation, shape ``(N,)``."""
        return self.bidder.sample(rng, len(observations))


@dataclasses.dataclass(frozen=True)
class PacedPolicy:
    r"""A cautious logger, which spreads what is left over the impressions to come.

    With :math:`k` impressions to come and a remaining budget :math:`b`, it aims at the
    largest bid :math:`\hat a` with :math:`c \hat a \le b / k` and explores around it:

    .. math:: \pi(a \mid s) = \epsilon + (1 - K \epsilon)
        \frac{e^{-|a - \hat a| / \tau}}{\sum_{a'} e^{-|a' - \hat a| / \tau}}.

    Args:
        campaign: the campaign that it bids in.
        temperature: :math:`\tau`, in units of the bid, positive and finite.
        floor: :math:`\epsilon`, the least probability of a bid, from 0 to ``1 / K``.

    Raises:
        ValueError: ``temperature`` or ``floor`` is out of bounds.
    """

    campaign: BudgetedCampaign
    temperature: float = 0.1
    floor: float = 0.02

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, 0.0, open=True)
        check_number("floor", self.floor, 0.0, 1.0 / len(self.campaign.bids))

    def probabilities_of(self, observations: AnyArray) -> FloatArray:
        """Exact probabilities of the bids: ``(N, 4)`` observations to ``(N, K)``."""
        return self._table[self._targets(observations)]

    def sample(self, rng: np.random.Generator, observations: AnyArray) -> IntArray:
        """Draws a bid index for each observation, shape ``(N,)``."""
        # The last edge is left out: rounding may put it below a uniform.
        edges = np.cumsum(self.probabilities_of(observations), axis=1)[:, :-1]
        u = rng.random(len(observations))
        return (u[:, None] >= edges).sum(axis=1).astype(np.int64)

    def _targets(self, observations: AnyArray) -> IntArray:
        """Indices of the bids that it aims at, ``(N,)``."""
        _, c, b, k = self.campaign.read(observations)
        pace = b / np.maximum(k, 1)
        return self.campaign.is_affordable(c, pace).sum(axis=1) - 1

    @functools.cached_property
    def _table(self) -> FloatArray:
        """Probabilities for each bid that it may aim at, ``(K, K)``."""
        # By math.exp, once: numpy's differs in the last bit between processors, and
        # propensities are part of a log's fingerprint.
        bids = self.campaign.bids
        weights = np.array(
            [[math.exp(-abs(a - aim) / self.temperature) for a in bids] for aim in bids]
        )
        share = weights / weights.sum(axis=1, keepdims=True)
        return self.floor + (1.0 - len(bids) * self.floor) * share
