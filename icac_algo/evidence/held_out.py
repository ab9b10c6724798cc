r"""How well an algorithm explains transitions that it has not seen.

.. math:: \ell = \tfrac12 \bigl(Q(s, a) - \bar Q(s) + m(s)
    - r - \gamma (1 - d) V(s')\bigr)^2

:math:`\bar Q(s)` is the mean of :math:`Q(s, \cdot)` over logged actions; :math:`m` and
:math:`V` are common to all that are compared.  With :math:`m = \bar Q` it is the Bellman
error.  With one :math:`m` for all, an error that all actions of a state share does not
count, for it changes no decision: a network that begins to learn the noise in levels may
still learn which action is better.  (It is the residual of Robinson (1988) and of the
R-learner, Nie and Wager (2021).)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from d3rlpy.constants import ActionSpace

from .._util.checks import check_built
from ..data import ColumnarReplayBuffer, LoggedMiniBatch
from ..decisions import values_at_once

FloatArray = npt.NDArray[np.float64]
_ROWS_AT_ONCE = 1 << 14
# The mean over logged actions is one over so many quantiles of them.
_QUANTILES = 16


@dataclasses.dataclass(frozen=True)
class Answers:
    r"""What one algorithm says of N transitions, in scaled rewards.

    Args:
        errors: :math:`Q(s, a) - r`, ``(N,)``.
        baselines: :math:`\bar Q(s)`, ``(N,)``.
        following: :math:`V(s')` of the greedy action, 0 after a terminal step, ``(N,)``.
    """

    errors: FloatArray
    baselines: FloatArray
    following: FloatArray


class HeldOut:
    """Transitions that algorithms are judged by, and the episodes that they belong to.

    Args:
        log: the episodes.
    """

    def __init__(self, log: ColumnarReplayBuffer):
        self._log, index = log, log.columns.index
        self._rows = index.rows_of(np.arange(index.transitions))
        self._goes_on = ~np.asarray(index.successors(self._rows).terminal)
        episode = np.asarray(index.episode_of(self._rows), np.int64)
        # Of episodes without a transition there is nothing to judge.
        _, self._episode = np.unique(episode, return_inverse=True)
        actions = log.columns.actions.take(self._rows)
        levels = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
        self._actions = np.quantile(actions, levels, axis=0, method="nearest")

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def is_one_step(self) -> bool:
        """Whether each transition ends its episode."""
        return not self._goes_on.any()

    def per_episode(self, values: FloatArray) -> FloatArray:
        """Sums over each episode's transitions, ``(N,)`` to ``(E,)``."""
        return np.asarray(np.bincount(self._episode, values), np.float64)

    def losses(
        self,
        answers: Answers,
        gamma: float,
        baselines: FloatArray,
        following: FloatArray,
    ) -> FloatArray:
        """The loss of each transition, ``(N,)``, with what is common to all answers."""
        centred = answers.errors - answers.baselines + baselines
        errors = centred - gamma * following
        return np.asarray(0.5 * errors**2)

    def answers(self, algo: Any) -> Answers:
        """Of a built d3rlpy algorithm that has values."""
        check_built(algo)
        found = np.zeros((3, len(self)))
        for where, batch in self._batches():
            found[:, where] = self._answer(algo, batch)
        return Answers(*found)

    def _batches(self) -> Iterator[tuple[slice, LoggedMiniBatch]]:
        for start in range(0, len(self), _ROWS_AT_ONCE):
            rows = self._rows[start : start + _ROWS_AT_ONCE]
            yield slice(start, start + len(rows)), self._log.logged_batch(rows)

    def _answer(self, algo: Any, batch: LoggedMiniBatch) -> FloatArray:
        rewards = np.asarray(batch.rewards, np.float64)[:, 0]
        if algo.reward_scaler is not None:
            rewards = np.asarray(algo.reward_scaler.transform_numpy(rewards))
        x, count = batch.observations, len(rewards)
        found = np.zeros((3, count))
        is_discrete = algo.get_action_type() == ActionSpace.DISCRETE
        every = values_at_once(algo, x) if is_discrete else None

        def values(actions: Any) -> FloatArray:
            if every is None:
                return _values(algo, x, actions)
            return every[np.arange(count), actions.astype(np.int64)[:, 0]]

        found[0] = values(batch.actions) - rewards
        for action, times in zip(*self._distinct(), strict=True):
            found[1] += times / _QUANTILES * values(np.tile(action, (count, 1)))
        goes_on = batch.terminals[:, 0] == 0.0
        if goes_on.any():
            x = batch.next_observations
            x = [part[goes_on] for part in x] if isinstance(x, list) else x[goes_on]
            found[2, goes_on] = _values(algo, x, algo.predict(x))
        return found

    def _distinct(self) -> tuple[Any, Any]:
        return np.unique(self._actions, axis=0, return_counts=True)


def _values(algo: Any, x: Any, actions: Any) -> FloatArray:
    actions = np.asarray(actions)
    if algo.get_action_type() == ActionSpace.DISCRETE:
        actions = actions.astype(np.int64).reshape(-1)
    else:
        actions = actions.astype(np.float32)
    return np.asarray(algo.predict_value(x, actions), np.float64)
