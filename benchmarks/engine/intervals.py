"""Bootstrap intervals over seeds."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
#: A bootstrap over fewer is no evidence.
MIN_SEEDS = 5
_RESAMPLES = 9999


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean over seeds with its 95 % bootstrap percentile interval."""

    mean: float  # over seeds
    low: float  # lower end
    high: float  # upper end
    seeds: int  # how many

    def format(self, digits: int) -> str:
        """``mean [low, high]``; the mean alone if the interval is a point."""
        # Adding zero turns a rounded -0.0 into 0.0.
        mean, low, high = (
            f"{round(v, digits) + 0.0:.{digits}f}"
            for v in (self.mean, self.low, self.high)
        )
        return mean if self.low == self.high else f"{mean} [{low}, {high}]"


def figures_of(values: Mapping[int, float] | Iterable[float]) -> list[float]:
    """Figures, by seed or round or not."""
    found = values.values() if isinstance(values, Mapping) else values
    return [float(value) for value in found]


def bootstrap_mean(values: Mapping[int, float] | Iterable[float]) -> Interval:
    """Mean and interval of one figure per seed; always the same for the same values."""
    return _bootstrap(tuple(figures_of(values)))


@functools.lru_cache(maxsize=4096)
def _bootstrap(values: tuple[float, ...]) -> Interval:
    data = np.asarray(values, dtype=np.float64)
    mean = float(data.mean())
    if len(data) < 2 or np.ptp(data) == 0.0:
        return Interval(mean, mean, mean, len(data))
    result = stats.bootstrap(
        (data,),
        np.mean,
        n_resamples=_RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    low, high = result.confidence_interval
    return Interval(mean, float(low), float(high), len(data))


def paired_difference(first: dict[int, float], second: dict[int, float]) -> Interval:
    """Interval of ``first - second`` over the seeds that both have."""
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        raise ValueError("no seed in common")
    return bootstrap_mean([first[s] - second[s] for s in seeds])
