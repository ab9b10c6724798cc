r"""A band that holds a whole distribution function, from weighted rows of episodes.

Its half-width is the same everywhere, as in Kolmogorov's test: where few rows are, in the
tails, a standard error would be too uncertain to divide by.  It is a quantile of the
largest deviation under Gaussian multipliers, one for each episode, times what leaving the
episode out changes (as in the jackknife), widened as Student's t with the jackknife's
degrees of freedom.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import scipy.sparse
from scipy.special import ndtr, stdtrit

from .._util.checks import check_number
from ..data import as_numbers
from .jackknife import Ratio, degrees_of_freedom

FloatArray = npt.NDArray[np.float64]
#: Deviations are looked at in so many quantiles of the reward at most; between two of
#: them they move by little, as the share itself does.
POINTS = 512
DRAWS = 1000
#: Sums of shares are as exact as this.
ROUNDING = 1e-12


@dataclasses.dataclass(frozen=True)
class Band:
    """Where a distribution function is; what it says holds for all rewards at once.

    Args:
        rewards: distinct and rising, ``(D,)``.
        lower: least share of rewards up to each of them, ``(D,)``.
        upper: greatest share.
        below: greatest share of rewards below the least of them.
    """

    rewards: FloatArray = dataclasses.field(repr=False)
    lower: FloatArray = dataclasses.field(repr=False)
    upper: FloatArray = dataclasses.field(repr=False)
    below: float

    def at(self, t: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Least and greatest share of rewards up to ``t``, in its shape."""
        place = places(self.rewards, t)
        return np.r_[0.0, self.lower][place], np.r_[self.below, self.upper][place]

    def quantile(self, share: float) -> tuple[float, float]:
        """Least and greatest quantile; infinite where the log has too few rewards beyond.

        Raises:
            ValueError: ``share`` is not in (0, 1].
        """
        check_share(share)
        ends = np.r_[-np.inf, self.rewards, np.inf]
        least = np.searchsorted(np.r_[self.below, self.upper], share - ROUNDING)
        most = np.searchsorted(self.lower, share - ROUNDING)
        return float(ends[least]), float(ends[1 + most])

    def cvar(
        self, share: float, lowest: float = -np.inf, highest: float = np.inf
    ) -> tuple[float, float]:
        """Least and greatest mean of the worst ``share`` of rewards.

        Args:
            share: in (0, 1].
            lowest: no reward can be less; without it the lower bound is infinite, unless
                the band lets none be less than the logged ones.
            highest: no reward can be more.

        Raises:
            ValueError: ``share`` is not in (0, 1], or a logged reward is not between
                ``lowest`` and ``highest``.
        """
        check_share(share)
        if len(self.rewards) and not lowest <= self.rewards[0]:
            raise ValueError(
                f"lowest must be at most the logged {self.rewards[0]}, got {lowest!r}"
            )
        if len(self.rewards) and not highest >= self.rewards[-1]:
            raise ValueError(
                f"highest must be at least the logged {self.rewards[-1]}, got {highest!r}"
            )
        least = np.r_[lowest, self.rewards], np.r_[self.below, self.upper]
        most = np.r_[self.rewards, highest], np.r_[self.lower, 1.0]
        return _worst(*least, share), _worst(*most, share)


def check_share(share: float) -> None:
    """Raises ``ValueError`` if it is no share of rewards."""
    check_number("share", share, above=0.0, at_most=1.0)


def places(rewards: FloatArray, t: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """How many of the rewards, which rise, are up to each ``t``, in its shape."""
    values = as_numbers("t", t, "iuf").astype(np.float64)
    if np.isnan(values).any():
        raise ValueError("t must be numbers, got NaN")
    return np.asarray(np.searchsorted(rewards, values, side="right"))


def _worst(points: FloatArray, cumulated: FloatArray, share: float) -> float:
    """Mean of the worst share, where shares up to points are known."""
    counted = np.diff(np.minimum(cumulated, share), prepend=0.0)
    kept = counted > 0.0
    return float(points[kept] @ counted[kept] / share)


def half_width(
    starts: npt.NDArray[np.int64],
    rewards: FloatArray,
    weights: FloatArray,
    level: float,
    seed: int,
) -> float:
    """Half-width of the band around the weighted distribution function of rewards.

    Args:
        starts: first row of each of G episodes, which are independent, ``(G,)``.
        rewards: ``(N,)``.
        weights: at least 0, of more than one episode above it, ``(N,)``.
        level: confidence of the band.
        seed: of the multipliers.
    """
    parts = weights / weights.sum()
    order = np.argsort(rewards, kind="stable")
    summed = parts[order].cumsum()
    wanted = np.arange(1, POINTS) / POINTS
    points = np.searchsorted(summed, np.r_[ROUNDING, wanted])
    grid = np.unique(rewards[order][points])
    # Rewards up to a point are in the bins up to its own; the last bin is beyond all.
    bins = np.searchsorted(grid, rewards)
    at = np.bincount(bins, parts, len(grid) + 1).cumsum()
    sizes = np.diff(starts, append=len(rewards))
    moved = parts / np.repeat(1.0 - np.add.reduceat(parts, starts), sizes)
    place = np.repeat(np.arange(len(starts)), sizes), bins
    sums = scipy.sparse.csr_array((moved, place), shape=(len(starts), len(at)))
    moments = (sums.T @ sums).toarray() * (1.0 - 1.0 / len(starts))
    # Bins that no weight is in have no variance.
    jitter = ROUNDING * moments.diagonal().max() * np.eye(len(at))
    root = np.linalg.cholesky(moments + jitter)
    normal = np.random.default_rng(seed).standard_normal((DRAWS, len(at)))
    # The multipliers' sum in each bin, up to each point, less its share of all bins.
    noise = (normal @ root.T).cumsum(axis=1)
    noise -= noise[:, -1:] * at
    largest = np.quantile(np.abs(noise).max(axis=1), level)
    up_to = moments.cumsum(axis=0).cumsum(axis=1)
    variances = up_to.diagonal() - 2.0 * at * up_to[:, -1] + at**2 * up_to[-1, -1]
    error = np.sqrt(variances.max())
    freedom = degrees_of_freedom(Ratio(parts, parts, parts), starts)
    return float(-stdtrit(freedom, ndtr(-largest / error)) * error)
