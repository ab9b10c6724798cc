"""Evaluators that know the true auction, for ``algo.fit(evaluators={...})``.

Each takes ``(algo, dataset)`` and returns a float.  They serve discrete algorithms and
continuous ones alike: a continuous policy's bid is snapped to the nearest allowed bid,
and its critic is read at the allowed bids.  Values are put back into reward units when
the algorithm has a reward scaler.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ._arrays import AnyArray, Float32Array, FloatArray, IntArray
from ._checks import check_choice
from .auction import Auction

SHAPES = ("monotone", "concave", "monotone_concave")
STATISTICS = ("count", "mean", "max")


def fixed_contexts(auction: Auction, n: int = 1000) -> Float32Array:
    """The same ``n`` random contexts every time, float32 ``(n, 2)``."""
    return auction.context_from_uniform(np.random.default_rng(0).random((n, 2)))


def greedy_bids(algo: Any, auction: Auction, contexts: AnyArray) -> IntArray:
    """Indices of the allowed bids that ``algo.predict`` chooses, shape ``(N,)``."""
    chosen = np.asarray(algo.predict(np.asarray(contexts, dtype=np.float32)))
    if not _is_continuous(algo):
        return chosen.reshape(-1).astype(np.int64)
    distance = np.abs(chosen.reshape(-1, 1) - auction.bid_array)
    return distance.argmin(axis=1)


def action_values(
    algo: Any, auction: Auction, contexts: AnyArray, gamma: float = 0.0
) -> AnyArray:
    """The critic's value of every allowed bid, in reward units, ``(N, K)``.

    A reward scaler that shifts rewards shifts values by ``1 / (1 - gamma)`` times as
    much; one that clips cannot be undone.
    """
    values = scaled_action_values(algo, auction, contexts)
    return in_reward_units(values, algo.reward_scaler, 1.0 / (1.0 - gamma))


def scaled_action_values(algo: Any, auction: Auction, contexts: AnyArray) -> AnyArray:
    """What ``predict_value`` gives for every allowed bid, ``(N, K)``."""
    contexts = np.asarray(contexts, dtype=np.float32)
    n, k = len(contexts), len(auction.bids)
    repeated = np.repeat(contexts, k, axis=0)
    actions: AnyArray
    if _is_continuous(algo):
        actions = np.tile(auction.bid_array.astype(np.float32), n)[:, None]
    else:
        actions = np.tile(np.arange(k), n)[:, None]
    return np.asarray(algo.predict_value(repeated, actions)).reshape(n, k)


def in_reward_units(
    values: AnyArray, scaler: Any, rewards: float | FloatArray
) -> AnyArray:
    """Undoes a reward scaler in values that each sum up ``rewards`` rewards."""
    if scaler is None:
        return values
    if scaler.get_type() == "clip":
        raise ValueError(
            "reward_scaler must be affine to be undone, got ClipRewardScaler"
        )
    origin, unit = scaler.transform_numpy(np.array([0.0, 1.0]))
    slope = unit - origin
    return np.asarray((values.astype(np.float64) - origin * rewards) / slope)


def _is_continuous(algo: Any) -> bool:
    return bool(algo.get_action_type().name == "CONTINUOUS")


@dataclasses.dataclass(frozen=True)
class ReturnEvaluator:
    """Exact expected reward of the greedy policy (midpoint grid over contexts).

    Args:
        auction: the true auction.
        n: grid points in each dimension.
    """

    auction: Auction
    n: int = 200

    def __call__(self, algo: Any, dataset: Any = None) -> float:
        actions = greedy_bids(algo, self.auction, self.auction.contexts(self.n))
        return self.auction.value_of_actions(actions, self.n)


class RegretEvaluator(ReturnEvaluator):
    """``V* - V`` on the same grid; 0 is optimal."""

    def __call__(self, algo: Any, dataset: Any = None) -> float:
        return self.auction.optimal_value(self.n) - super().__call__(algo, dataset)


@dataclasses.dataclass(frozen=True)
class ResidualEvaluator:
    """Root mean square of ``Q - T*Q`` over the grid and all bids, free of noise.

    ``T*Q`` uses the true expected reward; contexts are i.i.d., so the successor's value
    is the mean of ``max_a Q`` over the grid.

    Args:
        auction: the true auction.
        gamma: 0 for the single-step task, else the algorithm's discount.
        n: grid points in each dimension.
    """

    auction: Auction
    gamma: float = 0.0
    n: int = 200

    def __call__(self, algo: Any, dataset: Any = None) -> float:
        contexts = self.auction.contexts(self.n)
        q = action_values(algo, self.auction, contexts, self.gamma).astype(np.float64)
        target = self.auction.reward_table(contexts)
        target = target + self.gamma * q.max(axis=1).mean()
        return float(np.sqrt(np.mean((q - target) ** 2)))


@dataclasses.dataclass(frozen=True)
class ViolationEvaluator:
    """How often, or how far, the critic leaves a shape on 1,000 fixed contexts.

    Args:
        auction: the true auction.
        shape: ``"monotone"`` (values rise with the bid), ``"concave"`` or
            ``"monotone_concave"`` (both).
        known_cost: add the cost ``c * bid`` back before looking.
        statistic: ``"count"`` of violated inequalities, or the ``"mean"`` or ``"max"``
            shortfall of all inequalities, in reward units.

    Raises:
        ValueError: the shape or the statistic is unknown.
    """

    auction: Auction
    shape: str = "monotone"
    known_cost: bool = False
    statistic: str = "count"

    def __post_init__(self) -> None:
        check_choice("shape", self.shape, SHAPES)
        check_choice("statistic", self.statistic, STATISTICS)

    def __call__(self, algo: Any, dataset: Any = None) -> float:
        contexts = fixed_contexts(self.auction)
        return self.of_values(action_values(algo, self.auction, contexts))

    def of_values(self, q: AnyArray) -> float:
        """The statistic of values on the fixed contexts, shape ``(1000, K)``."""
        bids = self.auction.bid_array
        cost = None
        if self.known_cost:
            cost = fixed_contexts(self.auction)[:, 1:2].astype(np.float64) * bids
        shortfall = shape_shortfalls(q, bids, self.shape, cost)
        return summary_of(shortfall, self.statistic)


def summary_of(shortfall: FloatArray, statistic: str) -> float:
    """One of ``STATISTICS`` of shortfalls, any shape; 0 where there are none."""
    if statistic == "count":
        return float(np.count_nonzero(shortfall))
    if shortfall.size == 0:
        return 0.0
    return float(shortfall.mean() if statistic == "mean" else shortfall.max())


def shape_shortfalls(
    q: AnyArray, positions: FloatArray, shape: str, cost: FloatArray | None = None
) -> FloatArray:
    """By how much each inequality of a shape is missed; 0 where it holds.

    Monotone inequalities without a cost are compared as they are.  Where arithmetic
    comes in between, float32 rounding must not count: with a cost added back a
    shortfall must exceed 1e-6 of the row's largest value, and second differences must
    fall short by more than that and by more than 1e-6.  ``(N, K)`` values, and costs to
    add back, give ``(N, m)``: ``m`` is ``K-1``, ``K-2`` or, for both shapes, their sum.
    """
    check_choice("shape", shape, SHAPES)
    if not np.isfinite(q).all():
        raise ValueError("q must be finite: a critic with NaN or infinity has no shape")
    gross = q.astype(np.float64) + (0.0 if cost is None else cost)
    rounding = 1e-6 * np.abs(gross).max(axis=1, keepdims=True)
    missing = []
    if shape in ("monotone", "monotone_concave"):
        steps = np.diff(gross, axis=1)
        tolerance = np.zeros_like(rounding) if cost is None else rounding
        missing.append(np.where(steps < -tolerance, -steps, 0.0))
    if shape in ("concave", "monotone_concave"):
        spacing = np.diff(positions)
        slopes = np.diff(gross, axis=1) / spacing
        second = np.diff(slopes, axis=1) * (spacing[1:] + spacing[:-1]) / 2.0
        missing.append(np.where(second > np.maximum(rounding, 1e-6), second, 0.0))
    return np.concatenate(missing, axis=1)
