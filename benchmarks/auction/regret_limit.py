"""The parametric limit over any bids: maximum likelihood in the auction's own family."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .regret_tasks import Task

__all__ = ["ParametricLimit"]


class ParametricLimit:
    """A logistic click model, linear in bid and query, with the cost known.

    It knows what no learner here is told.  A limit, not a rival.

    Args:
        task: whose bids to choose from.
    """

    def __init__(self, task: Task):
        self._task = task
        self._weights: npt.NDArray[np.float64] = np.zeros(3)

    def fit(
        self, x: npt.NDArray[Any], bids: npt.NDArray[Any], clicks: npt.NDArray[Any]
    ) -> ParametricLimit:
        """Fits on impressions: query, bid and click, each ``(N,)``."""
        from sklearn.linear_model import LogisticRegression

        features = np.stack([bids, x], axis=1)
        model = LogisticRegression(C=np.inf).fit(features, clicks)
        self._weights = np.append(model.coef_[0], model.intercept_[0])
        return self

    def predict(self, contexts: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Greedy bids: indices into a list of bids, numbers ``(N, 1)`` in a range."""
        contexts = np.asarray(contexts, dtype=np.float64)
        if self._task.continuous:
            return self._best_real_bids(contexts)[:, None]
        bids = self._task.auction.bid_array
        return np.asarray(self._profit(contexts, bids[None]).argmax(axis=1))

    def _profit(
        self, contexts: npt.NDArray[Any], bids: npt.NDArray[Any]
    ) -> npt.NDArray[np.float64]:
        by_bid, by_query, constant = self._weights
        logits = by_bid * bids + by_query * contexts[:, :1] + constant
        return np.asarray(1.0 / (1.0 + np.exp(-logits)) - contexts[:, 1:2] * bids)

    def _best_real_bids(self, contexts: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Where ``weight p (1 - p) = c`` on the falling side, else an end."""
        by_bid, by_query, constant = self._weights
        inside = np.clip(1.0 - 4.0 * contexts[:, 1] / by_bid, 0.0, None)
        chance = (1.0 + np.sqrt(inside)) / 2.0
        logit = np.log(chance / (1.0 - chance + 1e-12))
        peak = (logit - by_query * contexts[:, 0] - constant) / by_bid
        lower, upper = self._task.bids
        candidates = np.stack(
            [
                np.clip(peak, lower, upper),
                *(np.full(len(peak), b) for b in (lower, upper)),
            ],
            axis=1,
        )
        best = self._profit(contexts, candidates).argmax(axis=1)
        return np.take_along_axis(candidates, best[:, None], axis=1)[:, 0]

    def get_action_type(self) -> Any:
        """As d3rlpy's algorithms answer."""
        from d3rlpy.constants import ActionSpace

        return ActionSpace.CONTINUOUS if self._task.continuous else ActionSpace.DISCRETE
