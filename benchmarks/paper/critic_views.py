"""One trained model, three critics: raw, proximal and exactly projected; and the actor.

Which of them is counted decides what "monotonicity errors" are, so every table of
ablations names it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from icac_algo.decisions import best_actions

VIEWS = ("raw", "proximal", "exact", "actor")


class CriticView:
    """Looks like a d3rlpy algorithm to evaluators; answers with one of the critics.

    ``"raw"`` is the network's own output, ``"proximal"`` what the algorithm's inner
    solver makes of it at the final lambda, ``"exact"`` the exact projection.  ``"actor"``
    answers with the actor's log-probabilities, which are scores, not values.
    """

    def __init__(self, algo: Any, view: str):
        if view not in VIEWS:
            raise ValueError(f"view must be one of {VIEWS}, got {view!r}")
        self._algo = algo
        self._view = view

    @property
    def reward_scaler(self) -> Any:
        """As the algorithm's; none for scores."""
        return None if self._view == "actor" else self._algo.reward_scaler

    def get_action_type(self) -> Any:
        return self._algo.get_action_type()

    def predict(self, x: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Greedy actions, ties as the constraint has them, ``(N,)``."""
        favours_last = self._algo.config.constraint.favours_last
        return np.asarray(best_actions(self._values(x), favours_last))

    def predict_value(
        self, x: npt.NDArray[Any], action: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        """Values of the given actions, ``(N,)``."""
        index = torch.as_tensor(np.asarray(action)).long().reshape(-1, 1)
        return np.asarray(self._values(x).gather(1, index)[:, 0])

    @torch.no_grad()
    def _values(self, x: npt.NDArray[Any]) -> torch.Tensor:
        impl = self._algo.impl
        observations = torch.as_tensor(np.asarray(x, dtype=np.float32))
        observations = observations.to(impl.device)
        if self._view == "actor":
            return impl.modules.policy(observations).logits.cpu()
        q_func = impl.modules.average_q_funcs[0]
        if self._view == "exact":
            return q_func.exact_values(observations).cpu()
        raw = q_func.trained_values(observations)
        if self._view == "raw":
            return raw.cpu()
        # Only a step towards the target would read action and target.
        unused = torch.zeros((len(raw), 1), device=raw.device)
        u, _, _ = impl.proximal_layer(raw, q_func, observations, unused.long(), unused)
        return u.cpu()
