r"""The Bid-Click auction in closed form, as plain numpy.

A context is a query descriptor ``x`` and a cost per unit of bid ``c``.  A bid
``a`` is clicked with probability

.. math:: p(x, a) = \sigma(2 a + x / 2)

and earns ``click - c * a`` (section IV of the paper).  Everything here is exact
or quadrature; nothing is sampled.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ._arrays import AnyArray, Float32Array, FloatArray

DEFAULT_BIDS: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
DEFAULT_COST_RANGE: tuple[float, float] = (0.2, 0.4)
MONOTONE_COST_RANGE: tuple[float, float] = (0.05, 0.10)

BID_WEIGHT = 2.0
QUERY_WEIGHT = 0.5


def _sigmoid(t: npt.ArrayLike) -> FloatArray:
    # tanh form: no overflow at either end.
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(t, dtype=np.float64))))


def _softplus(t: float) -> float:
    return max(t, 0.0) + math.log1p(math.exp(-abs(t)))


def click_probability(x: npt.ArrayLike, bid: npt.ArrayLike) -> FloatArray:
    """Probability that a bid is clicked.

    Args:
        x: query descriptor in [0, 1], any shape.
        bid: bid in [0, 1], broadcast against ``x``.

    Returns:
        ``sigmoid(2 * bid + x / 2)``, float64, the broadcast shape.
    """
    x, bid = np.asarray(x, dtype=np.float64), np.asarray(bid, dtype=np.float64)
    return _sigmoid(BID_WEIGHT * bid + QUERY_WEIGHT * x)


def expected_reward(x: npt.ArrayLike, c: npt.ArrayLike, bid: npt.ArrayLike) -> FloatArray:
    """Expected reward of a bid: click probability minus the payment ``c * bid``.

    Arguments are broadcast, as in `click_probability`; ``c`` is the cost per unit of bid.
    The result is float64, in units of one click.
    """
    c, bid = np.asarray(c, dtype=np.float64), np.asarray(bid, dtype=np.float64)
    return np.asarray(click_probability(x, bid) - c * bid)


def optimal_bid(x: npt.ArrayLike, c: npt.ArrayLike) -> FloatArray:
    """The best bid in [0, 1] when any real bid is allowed.

    The reward is concave in the bid, so the first-order condition
    ``2 p (1 - p) = c`` decides; its root above one half is clipped to [0, 1].
    """
    x, c = np.broadcast_arrays(
        np.asarray(x, dtype=np.float64), np.asarray(c, dtype=np.float64)
    )
    slope = np.clip(c / BID_WEIGHT, 1e-300, 0.25)
    # p = (1 + s) / 2 solves p (1 - p) = slope; logit(p) = 2 atanh(s).
    s = np.minimum(np.sqrt(1.0 - 4.0 * slope), 1.0 - 1e-16)
    logit = 2.0 * np.arctanh(s)
    return np.asarray(np.clip((logit - QUERY_WEIGHT * x) / BID_WEIGHT, 0.0, 1.0))


@dataclasses.dataclass(frozen=True)
class Auction:
    """One auction: which bids are allowed and what they cost.

    Args:
        bids: allowed bids, strictly increasing, in [0, 1], at least two.
        cost_range: ``(lowest, highest)`` cost per unit of bid; contexts draw it
            uniformly.  Finite, ``0 <= lowest < highest``.

    Raises:
        ValueError: an argument is outside these bounds.
    """

    bids: tuple[float, ...] = DEFAULT_BIDS
    cost_range: tuple[float, float] = DEFAULT_COST_RANGE

    def __post_init__(self) -> None:
        object.__setattr__(self, "bids", check_bids(self.bids))
        object.__setattr__(self, "cost_range", _check_cost_range(self.cost_range))

    @property
    def bid_array(self) -> FloatArray:
        """The allowed bids, float64, shape ``(K,)``."""
        return np.asarray(self.bids, dtype=np.float64)

    def contexts(self, n: int = 200) -> FloatArray:
        """Midpoint grid of ``n * n`` equally likely contexts, shape ``(n*n, 2)``."""
        x, c = self._midpoints(n)
        return np.stack(np.meshgrid(x, c, indexing="ij"), axis=-1).reshape(-1, 2)

    def context_from_uniform(self, u: npt.ArrayLike) -> Float32Array:
        """Maps uniforms in [0, 1), shape ``(..., 2)``, to contexts, float32."""
        u = np.asarray(u, dtype=np.float64)
        low, high = self.cost_range
        cost = low + (high - low) * u[..., 1]
        return np.stack([u[..., 0], cost], axis=-1).astype(np.float32)

    def _midpoints(self, n: int) -> tuple[FloatArray, FloatArray]:
        u = (np.arange(n) + 0.5) / n
        low, high = self.cost_range
        return u, low + (high - low) * u

    def reward_table(self, contexts: AnyArray) -> FloatArray:
        """Expected reward of every allowed bid: ``(N, 2)`` contexts to ``(N, K)``."""
        contexts = np.asarray(contexts, dtype=np.float64)
        return expected_reward(contexts[:, :1], contexts[:, 1:2], self.bid_array)

    def value_of_constant_bid(self, bid: float) -> float:
        """Mean reward of always making one bid, in closed form."""
        start = BID_WEIGHT * bid
        clicks = (_softplus(start + QUERY_WEIGHT) - _softplus(start)) / QUERY_WEIGHT
        return clicks - sum(self.cost_range) / 2.0 * bid

    def value_of_random_bid(self, probabilities: Sequence[float]) -> float:
        """Mean reward of drawing the bid with fixed probabilities, shape ``(K,)``."""
        if len(probabilities) != len(self.bids):
            raise ValueError(
                f"probabilities must have one entry for each of {len(self.bids)} bids, "
                f"got {len(probabilities)}"
            )
        values = [self.value_of_constant_bid(bid) for bid in self.bids]
        return float(np.dot(probabilities, values))

    def value_of_actions(self, actions: AnyArray, n: int = 200) -> float:
        """Mean reward of bid indices chosen on ``contexts(n)``, shape ``(n*n,)``."""
        table = self.reward_table(self.contexts(n))
        return float(np.take_along_axis(table, actions[:, None], axis=1).mean())

    def optimal_value(self, n: int = 2000) -> float:
        """``V*``, the mean reward of the best allowed bid in every context."""
        return float(self._mean_over_contexts(lambda table: table.max(axis=1), n))

    def worst_value(self, n: int = 2000) -> float:
        """Mean reward of the worst allowed bid in every context."""
        return float(self._mean_over_contexts(lambda table: table.min(axis=1), n))

    def optimal_continuous_value(self, n: int = 2000) -> float:
        """``V*`` when any bid in [0, 1] is allowed."""
        x, c = self._midpoints(n)
        rows = [expected_reward(row, c, optimal_bid(row, c)).mean() for row in x]
        return float(np.mean(rows))

    def _mean_over_contexts(self, statistic: Any, n: int) -> Any:
        x, c = self._midpoints(n)
        means = []
        # One row of contexts at a time: 2000 x 2000 x K floats would not fit.
        for row in x:
            contexts = np.stack([np.full(n, row), c], axis=1)
            means.append(statistic(self.reward_table(contexts)).mean(axis=0))
        return np.mean(means, axis=0)

    def falling_pairs(self, n: int = 2000) -> FloatArray:
        """Share of contexts where the reward falls between adjacent bids, ``(K-1,)``."""
        return self._mean_over_contexts(lambda table: np.diff(table) < 0.0, n)

    def monotone_share(self, n: int = 2000) -> float:
        """Share of contexts whose true reward rises over all allowed bids."""
        share = self._mean_over_contexts(
            lambda table: (np.diff(table) >= 0.0).all(axis=1), n
        )
        return float(share)


def check_bids(bids: Sequence[float], highest: float = 1.0) -> tuple[float, ...]:
    """Bids as floats, strictly increasing in [0, ``highest``], at least two."""
    allowed = f"at least two strictly increasing numbers in [0, {highest:g}]"
    try:
        values = tuple(float(bid) for bid in bids)
    except (TypeError, ValueError):
        raise ValueError(f"bids must be {allowed}, got {bids!r}") from None
    increasing = all(a < b for a, b in itertools.pairwise(values))
    if len(values) < 2 or not increasing or values[0] < 0.0 or values[-1] > highest:
        raise ValueError(f"bids must be {allowed}, got {bids!r}")
    return values


def _check_cost_range(cost_range: Sequence[float]) -> tuple[float, float]:
    allowed = "(lowest, highest) with 0 <= lowest < highest, both finite"
    try:
        low, high = (float(cost) for cost in cost_range)
    except (TypeError, ValueError):
        raise ValueError(f"cost_range must be {allowed}, got {cost_range!r}") from None
    if not (0.0 <= low < high < math.inf):
        raise ValueError(f"cost_range must be {allowed}, got {cost_range!r}")
    return low, high
