"""Could another reading of the auction give the paper's returns?  Exact, no training.

Each reading says what an impression earns.  A return of Table I can be reached in a
reading if it lies between the worst and the best policy's value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from bidclick_gym.auction import (
    DEFAULT_BIDS,
    DEFAULT_COST_RANGE,
    MONOTONE_COST_RANGE,
    click_probability,
)
from bidclick_gym.behavior import ClippedGaussianPolicy

from .figures import TABLE1, PaperRow

__all__ = ["READINGS", "Reading", "ReadingValues", "reachable", "values_of"]

FloatArray = npt.NDArray[np.float64]
#: Click probability, cost and bid, broadcast, to the expected reward.
Reward = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
GRID = 200
# Table I prints three digits.
_ROUNDING = 5e-4


@dataclasses.dataclass(frozen=True)
class Reading:
    """One way to read section IV.

    Args:
        name: in a few words.
        reward: expected reward of a bid.
        cost_range: of the cost ``c``.
    """

    name: str
    reward: Reward
    cost_range: tuple[float, float] = DEFAULT_COST_RANGE


@dataclasses.dataclass(frozen=True)
class ReadingValues:
    """Exact values in one reading.

    Args:
        best: of the optimal policy.
        worst: of the worst policy.
        logger: of the logging policy.
        logger_mode: of its most likely bid (what greedy behaviour cloning plays).
        highest_bid: of always making the highest bid.
        monotone_share: contexts in which the reward rises in the bid.
    """

    best: float
    worst: float
    logger: float
    logger_mode: float
    highest_bid: float
    monotone_share: float


READINGS: tuple[Reading, ...] = (
    Reading("as stated: click - c a", lambda p, c, a: p - c * a),
    Reading("paid on a click only: click (1 - c a)", lambda p, c, a: p * (1.0 - c * a)),
    Reading("no payment: click", lambda p, c, a: p + 0.0 * c),
    Reading("the whole cost on a click: click (1 - c)", lambda p, c, a: p * (1.0 - c)),
    Reading("the bid itself is paid: click - a", lambda p, c, a: p - a + 0.0 * c),
    Reading("cost independent of the bid: click - c", lambda p, c, a: p - c),
    Reading(
        "as stated, costs .05 to .10",
        lambda p, c, a: p - c * a,
        MONOTONE_COST_RANGE,
    ),
    Reading(
        "on a click only, costs .05 to .10",
        lambda p, c, a: p * (1.0 - c * a),
        MONOTONE_COST_RANGE,
    ),
)


def values_of(reading: Reading) -> ReadingValues:
    """Midpoint quadrature over 200 x 200 contexts."""
    middle = (np.arange(GRID) + 0.5) / GRID
    low, high = reading.cost_range
    x, c = np.meshgrid(middle, low + (high - low) * middle, indexing="ij")
    bids = np.asarray(DEFAULT_BIDS)
    reward = reading.reward(
        click_probability(x[..., None], bids), c[..., None], bids
    ).reshape(-1, len(bids))
    probabilities = np.asarray(ClippedGaussianPolicy().probabilities)
    by_bid = reward.mean(axis=0)
    return ReadingValues(
        best=float(reward.max(axis=1).mean()),
        worst=float(reward.min(axis=1).mean()),
        logger=float(by_bid @ probabilities),
        logger_mode=float(by_bid[probabilities.argmax()]),
        highest_bid=float(by_bid[-1]),
        monotone_share=float((np.diff(reward, axis=1) >= 0.0).all(axis=1).mean()),
    )


def reachable(values: ReadingValues, rows: Sequence[PaperRow] = TABLE1) -> list[PaperRow]:
    """Rows whose return some policy has in this reading."""
    return [
        row
        for row in rows
        if values.worst - _ROUNDING <= row.mean_return[0] <= values.best + _ROUNDING
    ]
