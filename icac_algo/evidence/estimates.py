r"""Four estimates of a policy's mean reward from a log, with bootstrap intervals.

With weights :math:`w_i = \pi(a_i | s_i) / e(a_i | s_i)` and a cross-fitted reward model
:math:`\hat m`:

* ``"dm"``, the direct method: :math:`\frac1n \sum_i \hat m(s_i, \pi)`;
* ``"ips"``, inverse propensity scoring: :math:`\frac1n \sum_i w_i r_i`;
* ``"snips"``, self-normalised: :math:`\sum_i w_i r_i / \sum_i w_i` (Swaminathan and
  Joachims, 2015);
* ``"dr"``, doubly robust: :math:`\frac1n \sum_i \hat m(s_i, \pi) + w_i (r_i -
  \hat m(s_i, a_i))` (Dudik, Langford and Li, 2011).

The direct method's interval includes the noise of its model, not the bias.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._util.checks import check_choice, check_count, check_flag, check_number, check_seed
from ..data import LoggedSteps, logged_steps
from .nuisance import cross_fitted_rewards, logged_propensities, regression_weights
from .support import Support, SupportWarning, action_probabilities

FloatArray = npt.NDArray[np.float64]
ESTIMATORS = ("dm", "ips", "snips", "dr")
_ROWS_AT_ONCE = 4_000_000


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
    """Each estimator's estimate of a policy's mean reward from another one's log.

    Args:
        dataset: a log, as :func:`~icac_algo.data.logged_steps` takes it.
        policy: as :func:`action_probabilities` takes it.
        estimators: which of ``ESTIMATORS``.
        level: confidence of the intervals.
        propensities: as in ``logged_steps``; estimated where there are none.
        as_bandit: take every step of a longer episode for a decision of its own, which is
            right if actions do not change later contexts; intervals then resample
            episodes.
        resamples: of the (Poisson) bootstrap.
        seed: of folds and bootstrap.

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
    check_interval(level, resamples, seed)
    log = BanditLog(bandit_steps(dataset, propensities, as_bandit), seed)
    support, _, moments = log.judge(policy, estimators)
    support.warn("policy")
    draws = log.bootstrap(moments, resamples)
    return {
        name: Estimate(name, m.value, *interval(drawn, level), level, support)
        for name, m, drawn in zip(estimators, moments, draws.T, strict=True)
    }


class OffPolicyEvaluator:
    """A d3rlpy evaluator: the greedy policy's value, estimated from a log.

    .. code-block:: python

        algo.fit(train, evaluators={"value": OffPolicyEvaluator(held_out)}, ...)

    A log that the algorithm does not learn from keeps its errors out of the estimate.
    It does not warn about support at every epoch; :func:`compare` warns.

    Args:
        dataset: as in :func:`estimate`; by default what is fitted to.
        estimator: one of ``ESTIMATORS``.
        as_bandit: as in :func:`estimate`.

    Raises:
        ValueError: the estimator is unknown, or the log cannot be read.
    """

    def __init__(
        self, dataset: Any = None, estimator: str = "dr", as_bandit: bool = False
    ):
        check_choice("estimator", estimator, ESTIMATORS)
        self._steps = None
        if dataset is not None:
            self._steps = bandit_steps(dataset, None, as_bandit)
        self._estimator = estimator
        self._as_bandit = as_bandit

    def __call__(self, algo: Any, dataset: Any) -> float:
        """The estimate; ``dataset`` is used if none was given before."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SupportWarning)
            found = estimate(
                dataset if self._steps is None else self._steps,
                algo,
                estimators=(self._estimator,),
                as_bandit=self._as_bandit,
                resamples=1,
            )
        return found[self._estimator].value


def check_interval(level: float, resamples: int, seed: int) -> None:
    """Checks the arguments of a bootstrap interval."""
    check_number("level", level, above=0.0, below=1.0)
    check_count("resamples", resamples)
    check_seed(seed)


def interval(draws: FloatArray, level: float) -> tuple[float, float]:
    """Percentile interval of resampled estimates, ``(resamples,)``."""
    known = draws[np.isfinite(draws)]
    if not len(known):
        return float("nan"), float("nan")
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(known, [tail, 1.0 - tail])
    return float(low), float(high)


def bandit_steps(
    dataset: Any, propensities: npt.ArrayLike | None, as_bandit: bool
) -> LoggedSteps:
    """A log whose steps are decisions on their own, or are said to be."""
    steps = logged_steps(dataset, propensities)
    check_flag("as_bandit", as_bandit)
    if not as_bandit and not steps.is_bandit:
        raise ValueError(
            "dataset has episodes of several steps: as_bandit=True takes every step "
            "for a decision of its own; fitted_q_estimate() follows the episodes"
        )
    return steps


@dataclasses.dataclass(frozen=True)
class Moments:
    """An estimate as a ratio of sums, ``(N,)`` each."""

    numerators: FloatArray
    denominators: FloatArray

    @property
    def value(self) -> float:
        """The estimate; NaN if nothing supports it."""
        below = self.denominators.sum()
        return float(self.numerators.sum() / below) if below else float("nan")


class BanditLog:
    """Logged decisions with their nuisance models, to judge policies by."""

    def __init__(self, steps: LoggedSteps, seed: int):
        self.steps = steps
        self._seed = seed
        self._propensities = logged_propensities(steps, seed)
        self._predicted = cross_fitted_rewards(steps, seed)

    def judge(
        self, policy: Any, estimators: Sequence[str], name: str = "policy"
    ) -> tuple[Support, float, list[Moments]]:
        """A policy's support, how often it does as was logged, and its estimates."""
        steps = self.steps
        probabilities = action_probabilities(steps, policy, name)
        agreed = probabilities[np.arange(len(steps)), steps.actions]
        weights = agreed / self._propensities
        support = Support.of(steps, probabilities, weights)
        moments = [self._moments(probabilities, weights, each) for each in estimators]
        return support, float(agreed.mean()), moments

    def _moments(
        self, probabilities: FloatArray, weights: FloatArray, estimator: str
    ) -> Moments:
        steps = self.steps
        ones = np.ones(len(steps))
        if estimator == "ips":
            return Moments(weights * steps.rewards, ones)
        if estimator == "snips":
            return Moments(weights * steps.rewards, weights)
        model = (probabilities * self._predicted).sum(axis=1)
        logged = self._predicted[np.arange(len(steps)), steps.actions]
        surprise = steps.rewards - logged
        if estimator == "dr":
            return Moments(model + weights * surprise, ones)
        # How each row's noise moves the fitted model; it changes the interval only.
        noise = regression_weights(steps, probabilities) * surprise
        return Moments(model + noise - noise.mean(), ones)

    def bootstrap(self, moments: list[Moments], resamples: int) -> FloatArray:
        """Resampled estimates, ``(resamples, M)``; episodes are drawn as wholes.

        The Poisson bootstrap (Chamandy et al., "Estimating uncertainty for massive data
        streams", 2012): each episode is counted a Poisson number of times, of mean 1.
        """
        columns = np.stack(
            [c for m in moments for c in (m.numerators, m.denominators)], 1
        )
        episodes = self.steps.episodes
        starts = np.flatnonzero(np.diff(episodes, prepend=episodes[0] - 1))
        if len(starts) < len(columns):
            columns = np.add.reduceat(columns, starts, axis=0)
        rng = np.random.default_rng(self._seed)
        at_once = max(1, _ROWS_AT_ONCE // len(columns))
        sums = [
            rng.poisson(1.0, (min(at_once, resamples - done), len(columns))) @ columns
            for done in range(0, resamples, at_once)
        ]
        totals = np.concatenate(sums)
        below = np.where(totals[:, 1::2] == 0.0, np.nan, totals[:, 1::2])
        return np.asarray(totals[:, ::2] / below)
