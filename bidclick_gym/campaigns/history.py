"""Optima that depend on what has happened in a campaign so far."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import AnyArray, FloatArray, IntArray
from .campaign import BudgetedCampaign, check_observations
from .grid import locate


class HistorySolution:
    """Values ``(T+1, G, S)`` over remaining budget and one number of the history."""

    campaign: BudgetedCampaign
    values: FloatArray

    def greedy(
        self, observations: AnyArray, payments: AnyArray, clicks: Any = None
    ) -> IntArray:
        """The best bids of campaigns of given histories, ties to the lowest.

        Args:
            observations: ``(x, c, b / B, k / T)``, shape ``(N, 4)``.
            payments: of the impressions so far, ``(N, t)``; only read under a spend cap.
            clicks: of the impressions so far, 0 or 1, ``(N, t)``; only read for risk.

        Returns:
            indices of bids, int64 ``(N,)``.

        Raises:
            ValueError: shapes do not fit each other.
        """
        observations = check_observations(observations)
        x, c, b, k = self.campaign.read(observations)
        state = self._state(len(observations), payments, clicks)
        return self.q_at(x, c, b, state, k).argmax(axis=-1)

    def q_at(self, x: Any, c: Any, budget_left: Any, state: Any, k: Any) -> FloatArray:
        """What every bid is worth."""
        raise NotImplementedError

    def _state(self, rows: int, payments: Any, clicks: Any) -> AnyArray:
        """The number that values depend on, ``(rows,)``."""
        raise NotImplementedError

    def _later(self, k: IntArray, rest: FloatArray, state: IntArray) -> FloatArray:
        """Values with ``k - 1`` to come, linear between budgets."""
        budgets = self.values.shape[1]
        i, u = locate(np.maximum(rest, 0.0), self.campaign.budget, budgets)
        low, high = self.values[k - 1, i, state], self.values[k - 1, i + 1, state]
        return np.asarray(low * (1.0 - u) + high * u)
