"""Contexts of many auctions and the prices of their clicks, drawn many at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import BoolArray, Float32Array
from .auction import BID_WEIGHT, QUERY_WEIGHT, Auction

# A call to numpy costs about a microsecond, so few environments draw many steps at
# once; a block of more numbers than this would leave the processor's cache.
_BLOCK = 32_768
_MOST_STEPS = 256


class ContextStream:
    """A row of ``width`` contexts after another, each with the price of its click.

    For a uniform ``u``, a bid is clicked when ``u >= 1 - sigmoid(2 bid + x / 2)``.
    Solved for the bid, this is a price to reach, and everything but the comparison is
    computed for many steps in one go.

    Attributes (the current row; the next ``advance`` may overwrite them):
        x, c: query descriptors and costs, float32, ``(width,)``.
        price: the lowest bid that is clicked, float32, ``(width,)``, from -inf to inf.
        observations: ``(x, c)``, float32, ``(width, 2)``.
    """

    x: Float32Array
    c: Float32Array
    price: Float32Array
    observations: Float32Array

    def __init__(self, auction: Auction, width: int):
        low, high = (np.float32(cost) for cost in auction.cost_range)
        # Rounding cannot carry a cost past the bound of its space: a uniform is at most
        # 1 - 2**-24, which takes half a unit in the last place off the span.
        span = np.float32(high - low)
        self._low, self._span = low, span
        self._steps = max(1, min(_MOST_STEPS, _BLOCK // width))
        self._block = np.empty((3, self._steps, width), dtype=np.float32)
        self._scratch = np.empty((self._steps, width), dtype=np.float32)
        self._pairs = np.empty((self._steps, width, 2), dtype=np.float32)
        self._row = 0
        self._drawn_by: np.random.Generator | None = None

    def advance(self, rng: np.random.Generator, keep: BoolArray | None = None) -> None:
        """Moves to the next row; places in ``keep``, ``(width,)``, stay as they are."""
        kept: list[Any] = []
        if keep is not None:
            kept = [row[keep] for row in self._current()]
        self._row += 1
        if rng is not self._drawn_by or self._row >= self._steps:
            self._draw(rng)
        self.x, self.c, self.price = self._block[:, self._row]
        self.observations = self._pairs[self._row]
        for row, values in zip(self._current(), kept, strict=False):
            row[keep] = values

    def choose(self, name: str, where: BoolArray, values: Float32Array) -> None:
        """Puts chosen values of ``"x"`` or ``"c"`` in some places of the current row."""
        if name == "x":
            rise = values[where] - self.x[where]
            self.price[where] -= QUERY_WEIGHT / BID_WEIGHT * rise
        row = self.x if name == "x" else self.c
        row[where] = values[where]
        self.observations[where, "xc".index(name)] = values[where]

    def _current(self) -> tuple[Float32Array, ...]:
        return self.x, self.c, self.price, self.observations

    def _draw(self, rng: np.random.Generator) -> None:
        rng.random(out=self._block, dtype=np.float32)
        x, c, price = self._block
        scratch = self._scratch
        c *= self._span
        c += self._low
        self._pairs[..., 0] = x
        self._pairs[..., 1] = c
        # price = -(log(u / (1 - u)) + x / 2) / 2, in place; no bid is enough for u = 0.
        np.subtract(np.float32(1.0), price, out=scratch)
        price /= scratch
        with np.errstate(divide="ignore"):
            np.log(price, out=price)
        price *= np.float32(-1.0 / BID_WEIGHT)
        np.multiply(x, np.float32(QUERY_WEIGHT / BID_WEIGHT), out=scratch)
        price -= scratch
        self._row = 0
        self._drawn_by = rng
