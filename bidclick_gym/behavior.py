"""Logging policies with exact propensities."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ._arrays import FloatArray, IntArray
from ._checks import check_number, is_number
from .auction import DEFAULT_BIDS, Auction


@dataclasses.dataclass(frozen=True)
class ClippedGaussianPolicy:
    """The paper's logger: a Gaussian bid, clipped to [0, 1], snapped to a bid.

    It ignores the context, so its propensities depend on the bid alone.

    Args:
        mean: mean of the Gaussian, in units of the bid.
        std: its standard deviation, positive.
        bids: allowed bids, strictly increasing in [0, 1].

    Raises:
        ValueError: ``mean`` is not finite, ``std`` is not positive, or ``bids`` are bad.
    """

    mean: float = 0.4
    std: float = 0.4
    bids: tuple[float, ...] = DEFAULT_BIDS

    def __post_init__(self) -> None:
        if not is_number(self.mean) or not math.isfinite(self.mean):
            raise ValueError(f"mean must be a finite number, got {self.mean!r}")
        check_number("std", self.std, 0.0, open=True)
        object.__setattr__(self, "bids", Auction(self.bids).bids)

    @property
    def probabilities(self) -> FloatArray:
        """Exact probability of each allowed bid, shape ``(K,)``, summing to 1."""
        # Clipping moves mass beyond the ends onto the outermost bids, which the open
        # outer intervals already do.
        edges = self._edges()
        z = (edges - self.mean) / (self.std * math.sqrt(2.0))
        cdf = np.array([0.0, *(0.5 * (1.0 + math.erf(v)) for v in z), 1.0])
        return np.diff(cdf)

    def sample(self, rng: np.random.Generator, n: int) -> IntArray:
        """Draws ``n`` bid indices, shape ``(n,)``."""
        bid = np.clip(rng.normal(self.mean, self.std, n), 0.0, 1.0)
        return np.searchsorted(self._edges(), bid, side="left").astype(np.int64)

    def _edges(self) -> FloatArray:
        bids = np.asarray(self.bids)
        return np.asarray((bids[1:] + bids[:-1]) / 2.0)
