"""Could another interpretation of the auction give the paper's returns?  Exact values.

Each says what an impression earns.  A return of Table I can be reached in one if it lies
between the worst and the best policy's value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bidclick_gym.auction import (
    DEFAULT_BIDS,
    DEFAULT_COST_RANGE,
    MONOTONE_COST_RANGE,
    click_probability,
)
from bidclick_gym.behavior import ClippedGaussianPolicy

from ..auction.paper_figures import TABLE1
from ..engine import Part
from ..engine.rows import Row

FloatArray = npt.NDArray[np.float64]
#: Click probability, cost and bid, broadcast, to the expected reward.
Reward = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]
GRID = 200
# Table I prints three digits.
_ROUNDING = 5e-4


@dataclasses.dataclass(frozen=True)
class Interpretation:
    """One way to read section IV."""

    name: str  # in a few words
    reward: Reward  # expected reward of a bid
    cost_range: tuple[float, float] = DEFAULT_COST_RANGE  # of the cost ``c``


INTERPRETATIONS: tuple[Interpretation, ...] = (
    Interpretation("as stated: click - c a", lambda p, c, a: p - c * a),
    Interpretation(
        "paid on a click only: click (1 - c a)", lambda p, c, a: p * (1.0 - c * a)
    ),
    Interpretation("no payment: click", lambda p, c, a: p + 0.0 * c),
    Interpretation(
        "the whole cost on a click: click (1 - c)", lambda p, c, a: p * (1.0 - c)
    ),
    Interpretation("the bid itself is paid: click - a", lambda p, c, a: p - a + 0.0 * c),
    Interpretation("cost independent of the bid: click - c", lambda p, c, a: p - c),
    Interpretation(
        "as stated, costs 0.05 to 0.10", lambda p, c, a: p - c * a, MONOTONE_COST_RANGE
    ),
    Interpretation(
        "on a click only, costs 0.05 to 0.10",
        lambda p, c, a: p * (1.0 - c * a),
        MONOTONE_COST_RANGE,
    ),
)


def values_of(interpretation: Interpretation) -> Row:
    """By midpoint quadrature over 200 x 200 contexts.

    Values of the best and the worst policy, of the logger and of its likeliest bid (what
    greedy behaviour cloning plays), and of always making the highest bid; the share of
    contexts in which the reward rises in the bid; and the rows of Table I whose return
    some policy has.
    """
    middle = (np.arange(GRID) + 0.5) / GRID
    low, high = interpretation.cost_range
    x, c = np.meshgrid(middle, low + (high - low) * middle, indexing="ij")
    bids = np.asarray(DEFAULT_BIDS)
    reward = interpretation.reward(
        click_probability(x[..., None], bids), c[..., None], bids
    ).reshape(-1, len(bids))
    probabilities = np.asarray(ClippedGaussianPolicy().probabilities)
    by_bid = reward.mean(axis=0)
    best, worst = reward.max(axis=1).mean(), reward.min(axis=1).mean()
    reachable = [
        row.name
        for row in TABLE1
        if worst - _ROUNDING <= row.mean_return[0] <= best + _ROUNDING
    ]
    return {
        "interpretation": interpretation.name,
        "best": float(best),
        "worst": float(worst),
        "logger": float(by_bid @ probabilities),
        "logger_mode": float(by_bid[probabilities.argmax()]),
        "highest_bid": float(by_bid[-1]),
        "monotone_share": float((np.diff(reward, axis=1) >= 0.0).all(axis=1).mean()),
        "reachable": ", ".join(reachable),
    }


INTERPRETATIONS_PART = Part(
    "interpretations",
    (
        *("interpretation", "best", "worst", "logger", "logger_mode", "highest_bid"),
        *("monotone_share", "reachable"),
    ),
    compute=lambda settings: map(values_of, INTERPRETATIONS),
)
