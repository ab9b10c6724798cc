"""The auctions of two files, one to learn from and one to bid in, and what bids earn."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

import bidclick_gym  # noqa: F401  registers the environment
from bidclick_gym.campaigns import Auctions, read_auctions

from ..engine import Cell, UsageError

FloatArray = npt.NDArray[np.float64]
#: From observations ``(N, 4)`` to bids ``(N,)``, in the unit of market prices.
Bidder = Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]]

#: Features of an observation; the last is the logarithm of the value.
BUDGET, CLOCK, VALUE, LOG_VALUE = range(4)
#: An episode stops early if so little of its budget is left for so much of its time.
_EMPTY, _TO_COME = 0.01, 0.1


@dataclasses.dataclass(frozen=True)
class Market:
    """Auctions to learn from and to bid in, in episodes that share a budget."""

    train: Auctions
    test: Auctions
    impressions: int  # in an episode

    def budget(self, share: float) -> float:
        """That share of what all auctions of an episode cost, on average, to learn from.

        Rounded down to whole units, as market prices are.
        """
        mean = float(self.train.market_price.mean())
        return float(np.floor(self.impressions * mean * share))

    @property
    def highest(self) -> float:
        """Of the market prices to learn from."""
        return float(self.train.market_price.max())

    def environment(self, auctions: Auctions, budget: float, **options: Any) -> Any:
        """``BidReplay-v0`` of these auctions, in the order of their file."""
        given = {"impressions": self.impressions, "order": "file", **options}
        return gym.make("BidReplay-v0", auctions=auctions, budget=budget, **given)

    def play(self, bidder: Bidder, auctions: Auctions, budget: float) -> dict[str, Any]:
        """What a bidder earns in all whole episodes, and how he spends."""
        episodes = len(auctions) // self.impressions
        envs = self.environment(auctions, budget).unwrapped.many(episodes)
        seen, _ = envs.reset(seed=0)
        highest = envs.single_action_space.high[0]
        value = clicks = spend = 0.0
        early = np.zeros(episodes, dtype=np.bool_)
        for _ in range(self.impressions):
            bids = np.clip(bidder(seen), 0.0, highest).astype(np.float32)
            seen, rewards, _, _, info = envs.step(bids[:, None])
            value += float(rewards.sum())
            spend += float(info["payment"].sum())
            clicks += float(np.sum(info.get("click", 0)))
            rest = info["impressions_left"] >= _TO_COME * self.impressions
            early |= rest & (info["budget_left"] < _EMPTY * budget)
        return {
            "value": value,
            "clicks": clicks if auctions.click is not None else None,
            "ecpc": spend / clicks if clicks else None,
            "spent": spend / (episodes * budget),
            "early": float(early.mean()),
        }

    def hindsight(self, budget: float) -> float:
        """What no bidder can exceed: each episode's best share of every auction."""
        total = 0.0
        for start in range(0, len(self.test) // self.impressions * self.impressions):
            if start % self.impressions == 0:
                rows = slice(start, start + self.impressions)
                price, value = self.test.market_price[rows], self.test.value[rows]
                best = np.argsort(-value / np.maximum(price, 1e-9), kind="stable")
                before = np.cumsum(price[best]) - price[best]
                rest = (budget - before) / np.maximum(price[best], 1e-9)
                total += float((value[best] * rest.clip(0.0, 1.0)).sum())
        return total


def market_of(cell: Cell) -> Market:
    """That of a cell, which names the files."""
    names = ("data", "test", "columns", "impressions")
    return read_market(*(cell[name] for name in names))


@functools.lru_cache(maxsize=2)
def read_market(
    data: str, test: str, columns: tuple[str, ...], impressions: int
) -> Market:
    """From files; without one to bid in, the last quarter of the other is."""
    train = _read(data, columns)
    if test:
        market = Market(train, _read(test, columns), impressions)
    else:
        quarter = len(train) // 4
        market = Market(train[:-quarter], train[-quarter:], impressions)
    for part in (market.train, market.test):
        if len(part) < impressions:
            raise UsageError(
                f"--impressions must be at most the {len(part):,} auctions to learn from "
                f"and to bid in, got {impressions}"
            )
    return market


def _read(path: str, columns: tuple[str, ...]) -> Auctions:
    """Click, market price and value, and as a feature the logarithm of the value."""
    given = [int(name) if name.isdigit() else name for name in columns]
    click, price, value = given
    found = read_auctions(path, click=click, market_price=price, value=value)
    if found.value.min() < 0.0 or found.value.max() == 0.0:
        raise UsageError(f"values must be at least 0, and not all 0, in {path}")
    least = found.value[found.value > 0.0].min()
    logarithm = np.log10(np.maximum(found.value, least))
    return Auctions(found.market_price, found.value, logarithm[:, None], found.click)
