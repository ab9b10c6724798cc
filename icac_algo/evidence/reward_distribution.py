r"""How a policy's reward is distributed, judged from a log, and its worst share.

With importance weights :math:`w_i` the distribution function is estimated by

.. math:: \hat F(t) = \frac{\sum_i w_i 1\{r_i \le t\}}{\sum_i w_i},

from which quantiles and the conditional value at risk follow (Huang, Leqi, Lipton and
Azizzadenesheli, "Off-policy risk assessment in contextual bandits", 2021; Chandak et al.,
"Universal off-policy evaluation", 2021).  The mean of the worst share :math:`\alpha` is

.. math:: \mathrm{CVaR}_\alpha = \max_q \{q - E[(q - r)^+] / \alpha\}

(Rockafellar and Uryasev, "Optimization of conditional value-at-risk", 2000).  As
:math:`q` is a maximum, its own error matters little: the estimate is treated as the
weighted mean of :math:`\hat q - (\hat q - r_i)^+ / \alpha`.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .._util.checks import check_number
from .._util.packages import new_figure
from ..data import LoggedSteps
from .distribution_band import ROUNDING, Band, check_share, half_width, places
from .estimates import BanditLog, Estimate, bandit_steps, estimate_of
from .jackknife import Interval, Ratio, jackknife
from .support import Support

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class RewardDistribution:
    """Result of :func:`reward_distribution`.

    Args:
        rewards: those of actions that the policy may choose, distinct and rising,
            ``(D,)``; empty if the log has none.
        shares: estimated share of the policy's rewards up to each of them, ``(D,)``.
        band: holds the whole distribution function at once.
        level: confidence of the band and of each interval.
        support: how much of the policy the log has seen.
        steps: the log.
        weights: importance weight of each of its rows, ``(N,)``.
    """

    rewards: FloatArray = dataclasses.field(repr=False)
    shares: FloatArray = dataclasses.field(repr=False)
    band: Band
    level: float
    support: Support
    steps: LoggedSteps = dataclasses.field(repr=False)
    weights: FloatArray = dataclasses.field(repr=False)

    def cdf(self, t: npt.ArrayLike) -> FloatArray:
        """Estimated share of rewards up to ``t``, in its shape; NaN without support."""
        start = 0.0 if len(self.rewards) else np.nan
        return np.asarray(np.r_[start, self.shares][places(self.rewards, t)])

    def quantile(self, share: float) -> Estimate:
        """The least reward that at least ``share`` of rewards do not exceed.

        The interval is for this share alone (Woodruff, "Confidence intervals for medians
        and other position measures", 1952); ``band.quantile`` holds for all at once.  An
        end is infinite if the log has too few rewards beyond.

        Raises:
            ValueError: ``share`` is not in (0, 1].
        """
        check_share(share)
        value = self._quantile(share)
        # Where many rewards are the same, the share below them has an error of its own.
        rewards = self.steps.rewards
        found = [self._share(rewards < value), self._share(rewards <= value)]
        half = float(np.nanmax([0.0, *((f.upper - f.lower) / 2.0 for f in found)]))
        # Both lack an interval where all rewards are the same, and so does the mean.
        problem = found[0].problem and found[1].problem and self.mean.no_interval
        lower = upper = float("nan")
        if not problem:
            lower = self._quantile(share - half) if half < share else -np.inf
            upper = self._quantile(share + half) if half <= 1.0 - share else np.inf
        interval = Interval(lower, upper, np.nan, problem)
        return self._estimate(f"quantile {share:g}", value, interval)

    def cvar(self, share: float) -> Estimate:
        """The mean of the worst ``share`` of rewards; of ``share=1``, of all of them.

        The interval is the jackknife's for this share alone; ``band.cvar`` holds for all
        at once.  A few rewards far below the others make the estimate's error skewed, so
        the interval goes further to that side.

        Raises:
            ValueError: ``share`` is not in (0, 1].
        """
        check_share(share)
        quantile = self._quantile(share)
        rewards, weights = self.steps.rewards, self.weights
        worse = rewards < quantile
        part = np.where(worse, (rewards - (1.0 - share) * quantile) / share, quantile)
        # The noise is that of rewards up to the quantile: few rows, few degrees.
        ratio = Ratio(weights * part, weights, weights * (rewards <= quantile))
        found = jackknife(self.steps.starts, ratio, self.level).for_skewness()
        return self._estimate(f"cvar {share:g}", ratio.value, found)

    @functools.cached_property
    def mean(self) -> Estimate:
        """Of the reward: the self-normalised estimate, with its interval."""
        weights = self.weights
        ratio = Ratio(weights * self.steps.rewards, weights, weights)
        found = jackknife(self.steps.starts, ratio, self.level)
        return self._estimate("mean", ratio.value, found)

    @property
    def problems(self) -> tuple[str, ...]:
        """What the log lacks to judge the policy; empty if nothing is missing."""
        return self.mean.problems

    def __str__(self) -> str:
        found = [self.mean]
        found += [self.quantile(share) for share in (0.05, 0.25, 0.5, 0.75, 0.95)]
        found += [self.cvar(share) for share in (0.05, 0.1, 0.25)]
        lines = [f"{each.estimator}: {each.figures}" for each in found]
        basis = f"{self.level:.0%} intervals, {self.mean.episodes:,} episodes"
        basis += f", {self.mean.propensities} propensities"
        return "\n".join([*lines, "; ".join([basis, *self.problems])])

    def plot(self, share: float = 0.1) -> Figure:
        """The distribution function in its band, and the CVaR of a share.

        Raises:
            ImportError: matplotlib is missing.
            ValueError: ``share`` is not in (0, 1].
        """
        worst, band = self.cvar(share), self.band
        figure = new_figure(6.5, 4.0)
        axes = figure.subplots()
        blue, red = "#1b6ca8", "#c0392b"
        axes.fill_between(
            self.rewards, band.lower, band.upper, step="post", color=blue, alpha=0.2, lw=0
        )
        axes.step(self.rewards, self.shares, where="post", color=blue)
        if np.isfinite(worst.value):
            axes.axvline(worst.value, color=red, lw=1.2)
        if not worst.no_interval:
            axes.axvspan(worst.lower, worst.upper, color=red, alpha=0.15, lw=0)
        axes.set_xlabel(f"reward; red: mean of the worst {share:.4g} of rewards")
        axes.set_ylabel(f"share of rewards up to it, {self.level:.0%} band")
        axes.set_ylim(0.0, 1.0)
        axes.grid(alpha=0.25)
        return figure

    def _quantile(self, share: float) -> float:
        # At most 1, which rounding may leave the last share below.
        place = np.searchsorted(self.shares[:-1], share - ROUNDING)
        return float(self.rewards[place]) if len(self.rewards) else float("nan")

    def _share(self, counted: npt.NDArray[np.bool_]) -> Interval:
        """Of the share of some rows ``(N,)``; the noise is that of the rarer side."""
        weights = self.weights
        ratio = Ratio(weights * counted, weights, weights)
        noise = weights * np.abs(counted - ratio.value)
        ratio = dataclasses.replace(ratio, weights=noise)
        return jackknife(self.steps.starts, ratio, self.level)

    def _estimate(self, name: str, value: float, found: Interval) -> Estimate:
        return estimate_of(self.steps, name, value, found, self.level, self.support)


def reward_distribution(
    dataset: Any,
    policy: Any,
    *,
    level: float = 0.95,
    propensities: npt.ArrayLike | None = None,
    as_bandit: bool = False,
    seed: int = 0,
    show_progress: bool = True,
) -> RewardDistribution:
    """How the reward of a policy would be distributed, from another one's log.

    Args:
        dataset: as in :func:`~icac_algo.evidence.estimate`, like all others.
        level: confidence of the band and of intervals.
        seed: of folds, where propensities are estimated, and of the band's draws.

    Warns:
        SupportWarning: the log has seen too little of what the policy would do, or has
            too few episodes for an interval.

    Raises:
        ValueError: as in ``estimate``.
    """
    check_number("level", level, above=0.0, below=1.0)
    log = BanditLog(bandit_steps(dataset, propensities, as_bandit), seed, show_progress)
    found = distribution_of(log.steps, *log.weigh(policy), level, seed)
    found.mean.warn("policy")
    return found


def distribution_of(
    steps: LoggedSteps, weights: FloatArray, support: Support, level: float, seed: int
) -> RewardDistribution:
    """Of a log whose rows have importance weights ``(N,)`` that are at least 0."""
    order = np.argsort(steps.rewards, kind="stable")
    order = order[weights[order] > 0.0]
    values, summed = steps.rewards[order], weights[order].cumsum()
    last = np.flatnonzero(np.diff(values, append=np.inf))
    rewards, shares = values[last], summed[last] / (summed[-1] if len(last) else 1.0)
    # Without an interval of the mean the band says nothing.
    band = Band(rewards, np.zeros(len(last)), np.ones(len(last)), 1.0)
    found = RewardDistribution(rewards, shares, band, level, support, steps, weights)
    if found.mean.no_interval:
        return found
    half = half_width(steps.starts, steps.rewards, weights, level, seed)
    ends = np.maximum(shares - half, 0.0), np.minimum(shares + half, 1.0)
    return dataclasses.replace(found, band=Band(rewards, *ends, min(half, 1.0)))
