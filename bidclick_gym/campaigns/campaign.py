r"""A campaign that shares one budget among many impressions, as plain numpy.

Each impression is one of the Bid-Click auction.  A bid :math:`a` costs :math:`c a`, paid
out of the budget that is left, click or no click; a bid that the rest of the budget
cannot pay is refused and counts as a bid of 0.  With :math:`k` impressions to come and a
remaining budget :math:`b`,

.. math:: Q_k(x, c, b, a) = p(x, a) - c a + V_{k-1}(b - c a) \quad (c a \le b), \qquad
    V_k(b) = \mathbb{E}_{x, c} \max_a Q_k(x, c, b, a), \quad V_0 = 0,

and a refused bid is worth :math:`Q_k(x, c, b, 0)`.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from .._arrays import AnyArray, Float32Array, FloatArray, IntArray
from .._checks import check_integer, check_number
from ..auction import DEFAULT_BIDS, DEFAULT_COST_RANGE, Auction

DEFAULT_BUDGET = 4.0
DEFAULT_IMPRESSIONS = 50


@dataclasses.dataclass(frozen=True)
class BudgetedCampaign:
    """What a campaign is played with.

    Args:
        budget: what all payments together may not exceed, in units of one click,
            positive and finite.
        impressions: how many there are, at least 1.
        bids: allowed bids, strictly increasing in [0, 1]; the first must be 0, which a
            refused bid counts as.
        cost_range: ``(lowest, highest)`` cost per unit of bid.

    Raises:
        ValueError: an argument is outside these bounds.
    """

    budget: float = DEFAULT_BUDGET
    impressions: int = DEFAULT_IMPRESSIONS
    bids: tuple[float, ...] = DEFAULT_BIDS
    cost_range: tuple[float, float] = DEFAULT_COST_RANGE

    def __post_init__(self) -> None:
        auction = Auction(self.bids, self.cost_range)
        object.__setattr__(self, "bids", auction.bids)
        object.__setattr__(self, "cost_range", auction.cost_range)
        if auction.bids[0] != 0.0:
            raise ValueError(
                "bids must begin with 0, which a refused bid counts as, "
                f"got {self.bids!r}"
            )
        object.__setattr__(
            self, "budget", check_number("budget", self.budget, 0.0, open=True)
        )
        impressions = check_integer("impressions", self.impressions, 1)
        object.__setattr__(self, "impressions", impressions)

    @functools.cached_property
    def auction(self) -> Auction:
        """The auction of each impression."""
        return Auction(self.bids, self.cost_range)

    def observe(
        self,
        x: npt.ArrayLike,
        c: npt.ArrayLike,
        budget_left: npt.ArrayLike,
        impressions_left: npt.ArrayLike,
    ) -> Float32Array:
        """What an agent sees of descriptors, costs, remaining budgets and impressions.

        Args:
            x, c, budget_left: in their units; all four are broadcast.
            impressions_left: to come, this one included.

        Returns:
            ``(x, c, b / B, k / T)``, float32, the broadcast shape and one more axis.
        """
        parts = np.broadcast_arrays(
            np.asarray(x, np.float64),
            np.asarray(c, np.float64),
            np.asarray(budget_left, np.float64) / self.budget,
            np.asarray(impressions_left, np.float64) / self.impressions,
        )
        return np.stack(parts, axis=-1).astype(np.float32)

    def read(
        self, observations: AnyArray
    ) -> tuple[FloatArray, FloatArray, FloatArray, IntArray]:
        """Observations ``(..., 4)`` back to ``x, c, b, k``, each ``(...)``."""
        o = np.asarray(observations, dtype=np.float64)
        k = np.rint(o[..., 3] * self.impressions).astype(np.int64)
        return o[..., 0], o[..., 1], o[..., 2] * self.budget, k

    def is_affordable(self, c: npt.ArrayLike, budget_left: npt.ArrayLike) -> Any:
        """Which bids the rest of the budget can pay: bool, ``(..., K)``."""
        c, b = np.broadcast_arrays(
            np.asarray(c, np.float64), np.asarray(budget_left, np.float64)
        )
        return c[..., None] * self.auction.bid_array <= b[..., None]


def check_campaign(campaign: BudgetedCampaign | None) -> BudgetedCampaign:
    """The default campaign for None; raises ``TypeError`` if it is something else."""
    if campaign is None:
        return BudgetedCampaign()
    if not isinstance(campaign, BudgetedCampaign):
        raise TypeError(f"campaign must be a BudgetedCampaign, got {campaign!r}")
    return campaign


def check_observations(observations: Any) -> AnyArray:
    """An array of shape ``(N, 4)``."""
    observations = np.asarray(observations)
    if observations.ndim != 2 or observations.shape[1] != 4:
        raise ValueError(f"observations must have shape (N, 4), got {observations.shape}")
    return observations
