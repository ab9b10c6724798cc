"""What an engineer would do first: a logistic click model, with the cost known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bidclick_gym import Log
from bidclick_gym.auction import Auction

__all__ = ["ClickModel"]


class ClickModel:
    """Maximum likelihood in the auction's true parametric family.

    It knows what no learner here is told: that the click is logistic and linear in bid
    and query.  A limit, not a rival.

    Args:
        auction: whose bids to choose from.
    """

    reward_scaler = None

    def __init__(self, auction: Auction):
        self._auction = auction
        self._model: Any = None

    def fit(self, log: Log, rows: npt.NDArray[np.int64]) -> ClickModel:
        """Fits on some impressions of a log, given by flat index."""
        from sklearn.linear_model import LogisticRegression

        x = log.observations[:, :-1, 0].reshape(-1)[rows]
        bids = np.asarray(log.bids)[log.actions.reshape(-1)[rows]]
        clicks = log.clicks.reshape(-1)[rows]
        self._model = LogisticRegression(C=np.inf).fit(np.stack([bids, x], 1), clicks)
        return self

    def predict(self, contexts: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """The allowed bid with the highest estimated profit, ``(N,)``."""
        bids = np.arange(len(self._auction.bids))
        values = [self.predict_value(contexts, np.full(len(contexts), b)) for b in bids]
        return np.argmax(values, axis=0)

    def predict_value(
        self, contexts: npt.NDArray[Any], actions: npt.NDArray[Any]
    ) -> npt.NDArray[np.float64]:
        """Estimated click probability minus the known payment, ``(N,)``."""
        bids = self._auction.bid_array[np.asarray(actions).reshape(-1)]
        features = np.stack([bids, contexts[:, 0]], axis=1)
        probability = self._model.predict_proba(features)[:, 1]
        return np.asarray(probability - contexts[:, 1] * bids)

    def get_action_type(self) -> Any:
        """Discrete, as d3rlpy's algorithms answer."""
        from d3rlpy.constants import ActionSpace

        return ActionSpace.DISCRETE
