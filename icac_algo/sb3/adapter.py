"""A d3rlpy algorithm where SB3 expects a policy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from d3rlpy.constants import ActionSpace

from .._util.checks import check_built


class PolicyAdapter:
    """``predict`` as SB3 calls it, for ``evaluate_policy`` and its like.

    Args:
        algo: a built or fitted discrete d3rlpy algorithm.

    Raises:
        ValueError: it is not built, or has continuous actions.
    """

    def __init__(self, algo: Any):
        check_built(algo)
        if algo.get_action_type() != ActionSpace.DISCRETE:
            raise ValueError("algo must have discrete actions, got continuous ones")
        self.algo = algo

    def predict(
        self,
        observation: npt.NDArray[Any],
        state: tuple[npt.NDArray[Any], ...] | None = None,
        episode_start: npt.NDArray[Any] | None = None,
        deterministic: bool = True,
    ) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], ...] | None]:
        """Actions ``(B,)`` for a batch ``(B, ...)``, or one for one observation.

        They are greedy, or d3rlpy's ``sample_action`` if not ``deterministic``; ``state``
        is handed back.

        Raises:
            ValueError: the observation is of another shape.
        """
        shape = tuple(self.algo.impl.observation_shape)
        x = np.asarray(observation)
        if x.dtype.kind not in "fiub" or not np.isfinite(x).all():
            raise ValueError(f"observation must be finite numbers, got {observation!r}")
        single = x.shape == shape
        batch = x[None] if single else x
        if batch.shape[1:] != shape:
            raise ValueError(
                f"observation must have shape {shape} or (batch, *{shape}), got {x.shape}"
            )
        batch = batch if batch.dtype == np.uint8 else batch.astype(np.float32)
        choose = self.algo.predict if deterministic else self.algo.sample_action
        actions = np.asarray(choose(batch)).reshape(-1).astype(np.int64)
        return (actions[0] if single else actions), state
