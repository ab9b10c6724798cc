"""The best allowed action by the values of any discrete d3rlpy algorithm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from d3rlpy.algos.qlearning.torch.dqn_impl import DQNImpl
from d3rlpy.constants import ActionSpace

from .._util.checks import check_built
from .greedy import best_actions, favours_last

FloatArray = npt.NDArray[np.float64]
#: Observations ``(N, ...)`` to bool ``(N, K)``: which actions are allowed.
Mask = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


class MaskedGreedy:
    """The best of the allowed actions by an algorithm's own values.

    Ties go to the end that the algorithm's ``predict`` favours.  Where the mask leaves
    any, actions are within the support of a :class:`~icac_algo.ConstraintAwareQ`.

    Args:
        algo: a built or fitted discrete d3rlpy algorithm that has values.
        mask: observations ``(N, ...)`` to bool ``(N, K)``, at least one action allowed in
            each row.

    Raises:
        TypeError: ``algo`` is no algorithm or ``mask`` no function.
        ValueError: ``algo`` is not built or has continuous actions.
    """

    def __init__(self, algo: Any, mask: Mask):
        check_built(algo)
        if algo.get_action_type() != ActionSpace.DISCRETE:
            raise ValueError("algo must have discrete actions, got continuous ones")
        if not callable(mask):
            raise TypeError(f"mask must be a function of observations, got {mask!r}")
        self._algo, self._mask = algo, mask

    def values(self, observations: npt.NDArray[Any]) -> FloatArray:
        """The value of every action, ``(N, ...)`` observations to ``(N, K)``.

        As ``predict_value`` gives them, in one pass through the critic where the
        algorithm is known to have all of them at once.
        """
        at_once = values_at_once(self._algo, observations)
        if at_once is not None:
            return at_once
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
        mask = allowed_actions(self._mask, observations, values.shape)
        both = mask & _supported(self._algo, values.shape[1])
        mask = np.where(both.any(axis=1, keepdims=True), both, mask)
        if np.isnan(values).any():
            raise ValueError("observations have values that are not numbers")
        allowed = torch.from_numpy(np.where(mask, values, -np.inf))
        return best_actions(allowed, favours_last(self._algo)).numpy()


def allowed_actions(
    mask: Mask, observations: npt.NDArray[Any], shape: tuple[int, ...]
) -> npt.NDArray[np.bool_]:
    """What a mask says of observations, ``(N, K)``."""
    allowed = np.asarray(mask(observations))
    if allowed.shape != shape or allowed.dtype != np.bool_:
        raise ValueError(
            f"mask must give bools of shape {shape}, got {allowed.dtype} of shape "
            f"{allowed.shape}"
        )
    empty = ~allowed.any(axis=1)
    if empty.any():
        raise ValueError(
            "mask must allow an action in each row, row "
            f"{np.flatnonzero(empty)[0]} has none"
        )
    return allowed


def _supported(algo: Any, size: int) -> npt.NDArray[np.bool_]:
    """Which actions an algorithm's own policy may take, ``(K,)``."""
    if not hasattr(algo.impl, "supported"):
        return np.ones(size, bool)
    values = torch.zeros((1, size), device=algo.impl.device)
    return torch.isfinite(algo.impl.supported(values))[0].cpu().numpy()


def values_at_once(algo: Any, observations: npt.NDArray[Any]) -> FloatArray | None:
    """Values of all discrete actions by one pass; ``None`` of other algorithms."""
    impl = algo.impl
    has_all = hasattr(impl, "action_values")
    if not has_all and not isinstance(impl, DQNImpl):
        return None
    is_array = isinstance(observations, np.ndarray) and observations.dtype == np.float32
    if not is_array or observations.shape[1:] != tuple(impl.observation_shape):
        return None  # predict_value knows what to do, or how to complain
    x = torch.as_tensor(observations, device=impl.device)
    if algo.observation_scaler is not None:
        x = algo.observation_scaler.transform(x)
    with torch.no_grad():
        if has_all:
            values = impl.action_values(x)
        else:
            impl.modules.set_eval()
            each = [q_func(x).q_value for q_func in impl.q_function]
            values = torch.stack(each).mean(dim=0)
    return values.cpu().double().numpy()
