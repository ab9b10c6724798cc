r"""Four estimates of a policy's mean reward from a log, with bootstrap intervals.

With weights :math:`w_i = \pi(a_i | s_i) / e(a_i | s_i)` and a cross-fitted reward model
:math:`\hat m`:

* ``"dm"``, the direct method: :math:`\frac1n \sum_i \hat m(s_i, \pi)`;
* ``"ips"``, inverse propensity scoring: :math:`\frac1n \sum_i w_i r_i`;
* ``"snips"``, self-normalised: :math:`\sum_i w_i r_i / \sum_i w_i` (Swaminathan and
  Joachims, 2015);
* ``"dr"``, doubly robust: :math:`\frac1n \sum_i \hat m(s_i, \pi) + w_i (r_i -
  \hat m(s_i, a_i))` (Dudik, Langford and Li, 2011).

The direct method's interval knows of its model's noise, not of its bias.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from .._util.checks import check_choice, check_count, check_flag, check_number, check_seed
from ..data import LoggedSteps, logged_steps
from .nuisance import cross_fitted_rewards, folds_of, regression_weights
from .weights import Support, action_probabilities, logged_propensities, support_of

__all__ = [
    "ESTIMATORS",
    "Estimate",
    "Moments",
    "SupportWarning",
    "as_bandit_log",
    "bootstrap_ratios",
    "estimate",
    "interval",
    "moments_of",
    "warn_of_support",
]

FloatArray = npt.NDArray[np.float64]
ESTIMATORS = ("dm", "ips", "snips", "dr")
_ROWS_AT_ONCE = 4_000_000


class SupportWarning(UserWarning):
    """The log has seen too little of what a policy would do."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """One estimate of a policy's value.

    Args:
        estimator: one of ``ESTIMATORS``, or ``"fqe"``.
        value: mean reward of a decision (``"fqe"``: discounted return of an episode).
        lower: lower end of the bootstrap percentile interval.
        upper: upper end.
        level: the interval's confidence.
        support: how much of the policy the log has seen; ``None`` for ``"fqe"``.
    """

    estimator: str
    value: float
    lower: float
    upper: float
    level: float
    support: Support | None

    @property
    def effective_sample_size(self) -> float:
        """Of the weights; NaN for ``"fqe"``, which has none."""
        return float("nan") if self.support is None else self.support.effective


@dataclasses.dataclass(frozen=True)
class Moments:
    """An estimate as a ratio of means: ``sum numerators / sum denominators``."""

    numerators: FloatArray
    denominators: FloatArray

    @property
    def value(self) -> float:
        """The estimate; NaN if nothing supports it."""
        below = self.denominators.sum()
        return float(self.numerators.sum() / below) if below else float("nan")


def estimate(
    dataset: Any,
    policy: Any,
    *,
    estimators: tuple[str, ...] = ESTIMATORS,
    level: float = 0.95,
    propensities: npt.ArrayLike | None = None,
    as_bandit: bool = False,
    resamples: int = 500,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Estimates a policy's mean reward from a log that another policy wrote.

    Args:
        dataset: a log, as :func:`~icac_algo.data.steps.logged_steps` takes it.
        policy: as :func:`action_probabilities` takes it.
        estimators: which of ``ESTIMATORS``.
        level: confidence of the intervals.
        propensities: as in ``logged_steps``; estimated where there are none.
        as_bandit: take every step of a longer episode for a decision of its own, which is
            right if actions do not change later contexts; intervals then resample
            episodes.
        resamples: of the (Poisson) bootstrap.
        seed: of folds and bootstrap.

    Returns:
        estimator to its estimate.

    Warns:
        SupportWarning: the log has seen too little of what the policy would do.

    Raises:
        ValueError: an argument is out of bounds, or episodes are longer than a step and
            ``as_bandit`` is false.
    """
    if not isinstance(estimators, (tuple, list)) or not estimators:
        raise ValueError(
            f"estimators must be some of {ESTIMATORS} in a tuple, got {estimators!r}"
        )
    for name in estimators:
        check_choice("estimators", name, ESTIMATORS)
    check_number("level", level, above=0.0, below=1.0)
    check_count("resamples", resamples)
    check_seed(seed)
    steps = as_bandit_log(logged_steps(dataset, propensities), as_bandit)
    probabilities = action_probabilities(policy, steps)
    weights = probabilities[np.arange(len(steps)), steps.actions] / logged_propensities(
        steps, seed
    )
    support = support_of(steps, probabilities, weights)
    warn_of_support("policy", support)
    predicted = cross_fitted_rewards(steps, folds_of(steps, seed))
    moments = [
        moments_of(name, steps, probabilities, weights, predicted) for name in estimators
    ]
    draws = bootstrap_ratios(moments, steps, resamples, seed)
    return {
        name: Estimate(name, m.value, *interval(drawn, level), level, support)
        for name, m, drawn in zip(estimators, moments, draws.T, strict=True)
    }


def as_bandit_log(steps: LoggedSteps, as_bandit: bool) -> LoggedSteps:
    """Refuses longer episodes unless they were said to be decisions on their own."""
    check_flag("as_bandit", as_bandit)
    if not as_bandit and not steps.is_bandit:
        raise ValueError(
            "dataset has episodes of several steps: as_bandit=True takes every step "
            "for a decision of its own; fitted_q_estimate() follows the episodes"
        )
    return steps


def moments_of(
    estimator: str,
    steps: LoggedSteps,
    probabilities: FloatArray,
    weights: FloatArray,
    predicted: FloatArray,
) -> Moments:
    """One estimator's numerators and denominators, ``(N,)`` each."""
    ones = np.ones(len(steps))
    if estimator == "ips":
        return Moments(weights * steps.rewards, ones)
    if estimator == "snips":
        return Moments(weights * steps.rewards, weights)
    model = (probabilities * predicted).sum(axis=1)
    surprise = steps.rewards - predicted[np.arange(len(steps)), steps.actions]
    if estimator == "dm":
        # What the fitted model owes to each row's noise; it changes the interval only.
        noise = regression_weights(steps, probabilities) * surprise
        return Moments(model + noise - noise.mean(), ones)
    return Moments(model + weights * surprise, ones)


def bootstrap_ratios(
    moments: list[Moments], steps: LoggedSteps, resamples: int, seed: int
) -> FloatArray:
    """Resampled estimates, ``(resamples, M)``; episodes are drawn as wholes.

    The Poisson bootstrap (Chamandy et al., "Estimating uncertainty for massive data
    streams", 2012): each episode counts as often as a Poisson variable of mean 1 says.
    """
    columns = np.stack([c for m in moments for c in (m.numerators, m.denominators)], 1)
    starts = np.flatnonzero(np.diff(steps.episodes, prepend=steps.episodes[0] - 1))
    if len(starts) < len(columns):
        columns = np.add.reduceat(columns, starts, axis=0)
    rng = np.random.default_rng(seed)
    at_once = max(1, _ROWS_AT_ONCE // len(columns))
    sums = [
        rng.poisson(1.0, (min(at_once, resamples - done), len(columns))) @ columns
        for done in range(0, resamples, at_once)
    ]
    totals = np.concatenate(sums)
    below = np.where(totals[:, 1::2] == 0.0, np.nan, totals[:, 1::2])
    return np.asarray(totals[:, ::2] / below)


def interval(draws: FloatArray, level: float) -> tuple[float, float]:
    """Percentile interval of resampled estimates, ``(resamples,)``."""
    known = draws[np.isfinite(draws)]
    if not len(known):
        return float("nan"), float("nan")
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(known, [tail, 1.0 - tail])
    return float(low), float(high)


def warn_of_support(name: str, support: Support, stacklevel: int = 3) -> None:
    """Warns of everything that is missing."""
    if support.problems:
        problems = "; ".join(support.problems)
        warnings.warn(
            f"{name} lacks support in the log: {problems}. Its estimates may be far off.",
            SupportWarning,
            stacklevel=stacklevel,
        )
