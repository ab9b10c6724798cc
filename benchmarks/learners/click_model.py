"""What an engineer would do first: a logistic click model, with the cost known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


class ClickModel:
    """Maximum likelihood in the auction's true parametric family.

    It knows what no learner here is told: that the click is logistic and linear in bid
    and query.  A limit, not a rival.  It answers as d3rlpy's algorithms do.
    """

    reward_scaler = None

    def __init__(self, bids: Sequence[float], continuous: bool = False):
        self._bids = np.asarray(bids, dtype=np.float64)
        self._continuous = continuous
        self._model: Any = None

    def fit(
        self, x: npt.NDArray[Any], bids: npt.NDArray[Any], clicks: npt.NDArray[Any]
    ) -> ClickModel:
        """Fits on impressions: query, bid and click, each ``(N,)``."""
        from sklearn.linear_model import LogisticRegression

        features = np.stack([bids, x], axis=1)
        self._model = LogisticRegression(C=np.inf).fit(features, clicks)
        return self

    def predict(self, contexts: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Greedy bids: indices into a list of bids, numbers ``(N, 1)`` in a range."""
        contexts = np.asarray(contexts, dtype=np.float64)
        if not self._continuous:
            values = [self._profit(contexts, bid) for bid in self._bids]
            return np.argmax(values, axis=0)
        ends = [np.full(len(contexts), bid) for bid in self._bids]
        candidates = np.stack([self._peak(contexts), *ends])
        best = np.argmax([self._profit(contexts, bids) for bids in candidates], axis=0)
        return np.take_along_axis(candidates, best[None], axis=0)[0][:, None]

    def predict_value(
        self, contexts: npt.NDArray[Any], actions: npt.NDArray[Any]
    ) -> npt.NDArray[np.float64]:
        """Estimated click probability minus the known payment, ``(N,)``."""
        return self._profit(contexts, self._bids[np.asarray(actions).reshape(-1)])

    def _profit(self, contexts: npt.NDArray[Any], bids: Any) -> npt.NDArray[np.float64]:
        bids = np.broadcast_to(bids, len(contexts))
        features = np.stack([bids, contexts[:, 0]], axis=1)
        probability = self._model.predict_proba(features)[:, 1]
        return np.asarray(probability - contexts[:, 1] * bids)

    def _peak(self, contexts: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Where ``weight p (1 - p) = c`` on the falling side, moved into the range."""
        by_bid, by_query = self._model.coef_[0]
        inside = np.clip(1.0 - 4.0 * contexts[:, 1] / by_bid, 0.0, None)
        chance = (1.0 + np.sqrt(inside)) / 2.0
        logit = np.log(chance / (1.0 - chance + 1e-12))
        peak = (logit - by_query * contexts[:, 0] - self._model.intercept_[0]) / by_bid
        return np.asarray(np.clip(peak, *self._bids))

    def get_action_type(self) -> Any:
        from d3rlpy.constants import ActionSpace

        return ActionSpace.CONTINUOUS if self._continuous else ActionSpace.DISCRETE
