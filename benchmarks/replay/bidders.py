"""Bidders that are given the training file itself, market prices and all."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .market import BUDGET, CLOCK, VALUE, Bidder, FloatArray, Market

#: A dynamic program's prices are rounded up to one of so many.
_PRICES = 300
_FACTORS = np.geomspace(1.0, 1000.0, 40)


class DynamicProgram:
    r"""The bidder of RLB (Cai et al., WSDM 2017), who knows how prices are distributed.

    .. math:: V_k(b) = V_{k-1}(b) + \sum_{p \le b} m(p)\,
        E\, [\theta + V_{k-1}(b - p) - V_{k-1}(b)]_+

    with the share :math:`m` of each market price.  He bids the highest price that is
    worth its value :math:`\theta` and what it leaves.  The gain is
    :math:`E [\theta - x]_+` of losses x; prices are rounded up to the unit.
    """

    def __init__(
        self,
        market: Market,
        budget: float,
        gain: Callable[[FloatArray], FloatArray],
        unit: float,
    ):
        prices = np.ceil(market.train.market_price / unit).astype(np.int64)
        shares = np.bincount(prices) / len(prices)
        self._budget, self._impressions = budget, market.impressions
        levels = int(budget / unit) + 1
        self._highest, self._unit = min(len(shares), levels) - 1, unit
        self.values = np.zeros((market.impressions + 1, levels))
        for before, after in itertools.pairwise(self.values):
            after[:] = before
            for price in range(self._highest + 1):
                more = gain(before[price:] - before[: levels - price])
                if not more.any():
                    break
                after[price:] += shares[price] * more

    def __call__(self, seen: Any) -> Any:
        """The highest price that is worth it, of each row."""
        left = np.rint(seen[:, BUDGET] * self._budget / self._unit + 1e-3).astype(int)
        left = left.clip(0, self.values.shape[1] - 1)
        after = np.rint(seen[:, CLOCK] * self._impressions).astype(int) - 1
        rest = left[:, None] - np.arange(self._highest + 1)
        kept = self.values[after[:, None], rest.clip(min=0)]
        value = seen[:, VALUE, None].astype(np.float64)
        worth = (rest >= 0) & (value + kept >= kept[:, :1])
        # What is lost rises in the price.
        return (worth.sum(axis=1) - 1) * self._unit


def rlb(market: Market, budget: float) -> Bidder:
    """With the mean value, as in RLB."""
    mean = float(market.train.value.mean())
    unit = max(1.0, market.highest / _PRICES)
    return DynamicProgram(market, budget, lambda x: np.maximum(mean - x, 0.0), unit)


def both_histograms(market: Market, budget: float) -> Bidder:
    """With the distribution of values as well."""
    values = np.sort(market.train.value)
    above = np.append(np.cumsum(values[::-1])[::-1], 0.0)
    losses = np.append(0.0, np.geomspace(1e-4 * values.mean(), values[-1], 3000))
    first = np.searchsorted(values, losses, side="right")
    gains = (above[first] - losses * (len(values) - first)) / len(values)
    unit = max(1.0, market.highest / _PRICES, budget / 2000.0)
    return DynamicProgram(market, budget, lambda x: np.interp(x, losses, gains), unit)


class Pacer:
    """Bids in proportion to the value, more where the budget lasts too long.

    A PID controller of the budget (Zhang et al., "Feedback Control of Real-Time Display
    Advertising", WSDM 2016): the bid is ``slope * value * exp(u)`` with ``u`` a sum of
    what is left of the budget beyond what is left of the time, of its mean so far and of
    its last change.  With ``gains`` of 0 it is linear bidding.
    """

    def __init__(self, slope: float, *gains: float):
        self._slope, self._gains = slope, np.array(gains)
        self._errors: list[Any] = []

    def __call__(self, seen: Any) -> Any:
        bids = self._slope * seen[:, VALUE].astype(np.float64)
        if not self._gains.any():
            return bids
        if (seen[:, CLOCK] == 1.0).all():
            self._errors = []
        error = (seen[:, BUDGET] - seen[:, CLOCK]).astype(np.float64)
        self._errors.append(error)
        change = error - self._errors[-2] if len(self._errors) > 1 else 0.0 * error
        mean = np.mean(self._errors, axis=0)
        control = self._gains @ np.stack([error, mean, change])
        return bids * np.exp(control.clip(-5.0, 5.0))


def _best(market: Market, budget: float, bidders: Iterable[Bidder]) -> Bidder:
    """The one who earns most in the training auctions."""
    return max(bidders, key=lambda b: market.play(b, market.train, budget)["value"])


def linear(market: Market, budget: float) -> Bidder:
    unit = market.train.market_price.mean() / market.train.value.mean()
    slopes = _FACTORS / 20.0 * unit
    return _best(market, budget, (Pacer(s, 0.0, 0.0, 0.0) for s in slopes))


def paced(market: Market, budget: float) -> Bidder:
    start: Any = linear(market, budget)
    gains = itertools.product((0.5, 1.0, 2.0), (1.0, 3.0, 10.0), (0.0, 3.0), (0.0, 10.0))
    return _best(market, budget, (Pacer(start._slope * f, *g) for f, *g in gains))


#: Those who are given market prices, by what tables call them.
GIVEN = {
    "RLB": rlb,
    "both histograms": both_histograms,
    "linear": linear,
    "PID": paced,
}
