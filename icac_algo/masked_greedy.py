"""The best allowed action by the values of any discrete d3rlpy algorithm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from d3rlpy.constants import ActionSpace

from ._arguments import check_built

__all__ = ["MaskedGreedy"]

FloatArray = npt.NDArray[np.float64]


class MaskedGreedy:
    """The best of the allowed actions by an algorithm's own values, ties to the lowest.

    Args:
        algo: a built or fitted discrete d3rlpy algorithm that has values.
        mask: observations ``(N, ...)`` to bool ``(N, K)``, at least one action allowed in
            each row.

    Raises:
        TypeError: ``algo`` is no algorithm or ``mask`` no function.
        ValueError: ``algo`` is not built or has continuous actions.
    """

    def __init__(self, algo: Any, mask: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]):
        check_built(algo)
        if algo.get_action_type() != ActionSpace.DISCRETE:
            raise ValueError("algo must have discrete actions, got continuous ones")
        if not callable(mask):
            raise TypeError(f"mask must be a function of observations, got {mask!r}")
        self._algo, self._mask = algo, mask

    def values(self, observations: npt.NDArray[Any]) -> FloatArray:
        """The value of every action, ``(N, ...)`` observations to ``(N, K)``."""
        n = len(observations)
        columns = [
            self._algo.predict_value(observations, np.full(n, action))
            for action in range(self._algo.impl.action_size)
        ]
        return np.stack(columns, axis=1).astype(np.float64)

    def predict(self, observations: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Actions, int64 ``(N,)``.

        Raises:
            ValueError: the mask has another shape or type, or allows nothing somewhere,
                or values are not numbers.
        """
        values = self.values(observations)
        mask = np.asarray(self._mask(observations))
        if mask.shape != values.shape or mask.dtype != np.bool_:
            raise ValueError(
                f"mask must give bools of shape {values.shape}, got {mask.dtype} of "
                f"shape {mask.shape}"
            )
        empty = ~mask.any(axis=1)
        if empty.any():
            raise ValueError(
                "mask must allow an action in each row, row "
                f"{np.flatnonzero(empty)[0]} has none"
            )
        if np.isnan(values).any():
            raise ValueError("observations have values that are not numbers")
        return np.where(mask, values, -np.inf).argmax(axis=1)
