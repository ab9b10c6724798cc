r"""Four estimates of a policy's mean reward from a log, with jackknife intervals.

With weights :math:`w_i = \pi(a_i | s_i) / e(a_i | s_i)` and a cross-fitted reward model
:math:`\hat m`:

* ``"dm"``, the direct method: :math:`\frac1n \sum_i \hat m(s_i, \pi)`;
* ``"ips"``, inverse propensity scoring: :math:`\frac1n \sum_i w_i r_i`;
* ``"snips"``, self-normalised: :math:`\sum_i w_i r_i / \sum_i w_i` (Swaminathan and
  Joachims, 2015);
* ``"dr"``, doubly robust: :math:`\frac1n \sum_i \hat m(s_i, \pi) + w_i (r_i -
  \hat m(s_i, a_i))` (Dudik, Langford and Li, 2011).

The direct method's interval includes the noise of its model, not the bias.

Where actions are numbers, weights are those of a kernel around what the policy would do;
see :mod:`~icac_algo.evidence.kernel`.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._util.checks import check_choice, check_flag, check_number, check_seed
from ..data import LoggedSteps, as_numbers, logged_blocks, logged_steps
from .jackknife import Interval, Ratio, jackknife
from .kernel import is_inside, widest
from .nuisance import (
    RewardModel,
    action_chances,
    cross_fitted_rewards,
    done,
    logged_propensities,
    regression_weights,
)
from .support import Support, SupportWarning, action_numbers, action_probabilities

FloatArray = npt.NDArray[np.float64]
ESTIMATORS = ("dm", "ips", "snips", "dr")


@dataclasses.dataclass(frozen=True)
class Estimate:
    """One estimate of a policy's value.

    Args:
        estimator: one of ``ESTIMATORS``, or ``"fqe"``; of a
            :class:`~icac_algo.evidence.RewardDistribution` what is estimated, such as
            ``"cvar 0.1"``.
        value: mean reward of a decision (``"fqe"``: discounted return of an episode).
        lower: lower end of its interval; NaN if the log has too few episodes for one.
        upper: upper end.
        level: the interval's confidence.
        support: how much of the policy the log has seen; ``None`` for ``"fqe"``.
        episodes: how many the log has: what the interval takes for independent.
        propensities: ``"logged"``, ``"given"`` or ``"estimated"``, and what was not
            read; empty for ``"fqe"``.
        no_interval: why there is no interval; empty if there is one.
        bandwidth: of the kernel, in units of the action; ``None`` without one.
    """

    estimator: str
    value: float
    lower: float
    upper: float
    level: float
    support: Support | None
    episodes: int
    propensities: str = ""
    no_interval: str = ""
    bandwidth: float | None = None

    @property
    def effective_sample_size(self) -> float:
        """Of the weights; NaN for ``"fqe"``, which has none."""
        return float("nan") if self.support is None else self.support.effective

    @property
    def problems(self) -> tuple[str, ...]:
        """What the log lacks to judge the policy; empty if nothing is missing."""
        missing = () if self.support is None else self.support.problems
        return (*missing, self.no_interval) if self.no_interval else missing

    def __str__(self) -> str:
        basis = f"{self.level:.0%} interval, {self.episodes:,} episodes"
        if self.propensities:
            basis += f", {self.propensities} propensities"
        if self.bandwidth is not None:
            basis += f", bandwidth {self.bandwidth:.3g}"
        parts = [f"{self.estimator} {self.figures} ({basis})", *self.problems]
        return "; ".join(parts)

    @property
    def figures(self) -> str:
        """Value and interval, such as ``"0.6036 [0.6012, 0.6061]"``."""
        if self.no_interval:
            return f"{self.value:.4f} [no interval]"
        return f"{self.value:.4f} [{self.lower:.4f}, {self.upper:.4f}]"

    def warn(self, name: str) -> None:
        """Warns about what is missing, at the line that called our caller."""
        if self.problems:
            warnings.warn(
                f"{name} lacks support in the log: {'; '.join(self.problems)}. Its "
                "estimates may be far off.",
                SupportWarning,
                stacklevel=3,
            )


def estimate(
    dataset: Any,
    policy: Any,
    *,
    estimators: tuple[str, ...] = ESTIMATORS,
    level: float = 0.95,
    propensities: npt.ArrayLike | None = None,
    as_bandit: bool = False,
    seed: int = 0,
    show_progress: bool = True,
) -> dict[str, Estimate]:
    """Each estimator's estimate of a policy's mean reward from another one's log.

    A buffer of indices with more than a million rows and no other ``propensities`` is
    judged a million at a time, with nuisance models of their own; kept are sums over
    episodes, and over neighbouring ones where a million rows have more than 1,024.

    Args:
        dataset: a log, as :func:`~icac_algo.data.logged_steps` takes it.
        policy: as :func:`action_probabilities` takes it; of a log of numbers as
            :func:`action_numbers` does.
        estimators: which of ``ESTIMATORS``.
        level: confidence of the intervals, which leave out one episode at a time and need
            ``FEWEST_EPISODES`` of them.
        propensities: as in ``logged_steps``; estimated where there are none.
        as_bandit: take every step of a longer episode for a decision of its own, which is
            right if actions do not change later contexts.  Intervals take episodes, not
            steps, for independent.
        seed: of folds.
        show_progress: a bar for work of more than two seconds.

    Warns:
        SupportWarning: the log has seen too little of what the policy would do, or has
            too few episodes for an interval.

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
    parts = []
    for steps in logged_blocks(dataset, propensities):
        check_bandit(steps, as_bandit)
        log = BanditLog(steps, seed, show_progress)
        judged = log.judge(policy, estimators)
        sums = [judged.ratios[name].summed(steps.starts) for name in estimators]
        parts.append((len(steps), len(steps.starts), judged.support, sums))
    found = {name: log.estimate(name, judged, level) for name in estimators}
    if len(parts) > 1:
        found = _joined(found, *zip(*parts, strict=True))
    next(iter(found.values())).warn("policy")
    return found


def _joined(
    last: dict[str, Estimate], rows: Any, episodes: Any, supports: Any, sums: Any
) -> dict[str, Estimate]:
    """Of a log, from sums of its blocks, the last of which has the estimates ``last``."""
    joined, found = Support.joined(supports, np.array(rows, np.float64)), {}
    ratios = np.concatenate(sums, axis=-1)
    for (name, one), columns in zip(last.items(), ratios, strict=True):
        ratio = Ratio(*columns)
        of = jackknife(np.arange(len(ratio.weights)), ratio, one.level)
        ends = (ratio.value, of.lower, of.upper, one.level, joined, sum(episodes))
        found[name] = Estimate(name, *ends, one.propensities, of.problem)
    return found


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
        self._log = None
        if dataset is not None:
            self._log = BanditLog(bandit_steps(dataset, None, as_bandit), 0)
        self._estimator = estimator
        self._as_bandit = as_bandit

    def __call__(self, algo: Any, dataset: Any) -> float:
        """The estimate; ``dataset`` is used if none was given before."""
        log = self._log or BanditLog(bandit_steps(dataset, None, self._as_bandit), 0)
        return log.judge(algo, (self._estimator,), "algo").ratios[self._estimator].value


def bandit_steps(
    dataset: Any, propensities: npt.ArrayLike | None, as_bandit: bool
) -> LoggedSteps:
    """A log whose steps are decisions on their own, or are said to be."""
    steps = logged_steps(dataset, propensities)
    check_bandit(steps, as_bandit)
    return steps


def check_bandit(steps: LoggedSteps, as_bandit: bool) -> None:
    """Refuses decisions that are not on their own, if nobody says that they are."""
    check_flag("as_bandit", as_bandit)
    if not as_bandit and not steps.is_bandit:
        raise ValueError(
            "dataset has episodes of several steps: as_bandit=True takes every step "
            "for a decision of its own; fitted_q_estimate() follows the episodes"
        )


def estimate_of(
    steps: LoggedSteps,
    name: str,
    value: float,
    found: Interval,
    level: float,
    support: Support | None,
) -> Estimate:
    """A value and its interval, with what the log is."""
    source = steps.source
    if steps.unread:
        source += f" (the log's {', '.join(map(repr, steps.unread))} not read)"
    return Estimate(
        name,
        value,
        found.lower,
        found.upper,
        level,
        support,
        len(steps.starts),
        source,
        found.problem,
    )


@dataclasses.dataclass(frozen=True)
class Judged:
    """What a log says of a policy.

    Args:
        support: how much of it the log has seen; ``None`` for the logger.
        agreed: how often it does as was logged; of numbers, in the same range.
        ratios: its estimates by estimator.
        weights: of rows, ``(N,)``.
        bandwidths: of their kernels; empty without any.
    """

    support: Support | None
    agreed: float
    ratios: dict[str, Ratio]
    weights: FloatArray
    bandwidths: dict[str, float] = dataclasses.field(default_factory=dict)


class BanditLog:
    """Logged decisions with their nuisance models, to judge policies by."""

    def __init__(
        self,
        steps: LoggedSteps,
        seed: int,
        show_progress: bool = False,
        predicted: npt.ArrayLike | None = None,
    ):
        check_seed(seed)
        check_flag("show_progress", show_progress)
        self.steps, self.seed, self.show_progress = steps, seed, show_progress
        self._given = None
        if predicted is not None:
            self._given = as_numbers("predicted", predicted, "iuf").astype(np.float64)
            wanted = (len(steps), steps.action_size)
            if self._given.shape != wanted or not np.isfinite(self._given).all():
                raise ValueError(
                    f"predicted must be finite numbers of shape {wanted}, got shape "
                    f"{self._given.shape}"
                )
        self.propensities = logged_propensities(steps, seed, show_progress)

    @property
    def is_given(self) -> bool:
        """Whether predictions were given."""
        return self._given is not None

    @functools.cached_property
    def model(self) -> RewardModel:
        """Of rewards, from rows of other folds, or what was given."""
        if self._given is not None:
            return RewardModel.given(self.steps, self._given)
        return cross_fitted_rewards(self.steps, self.seed, self.show_progress)

    @functools.cached_property
    def chances(self) -> FloatArray:
        """About how often every action is logged in such contexts, ``(N, K)``."""
        return action_chances(self.steps, self.seed, self.show_progress)

    @functools.cached_property
    def _surprises(self) -> FloatArray:
        return np.asarray(self.steps.rewards - self.model.at(done(self.steps)))

    @property
    def logger(self) -> Ratio:
        """Mean reward of the policy that wrote the log."""
        ones = np.ones(len(self.steps))
        return Ratio(self.steps.rewards, ones, ones)

    def judge(
        self, policy: Any, estimators: Sequence[str], name: str = "policy"
    ) -> Judged:
        """A policy's support and estimates."""
        steps = self.steps
        if steps.numbers is not None:
            return self._judge_numbers(action_numbers(steps, policy, name), estimators)
        probabilities = action_probabilities(steps, policy, name)
        agreed = probabilities[np.arange(len(steps)), steps.actions]
        weights = agreed / self.propensities
        seen = np.bincount(steps.actions, minlength=steps.action_size) > 0
        support = Support.of(weights, 1.0 - probabilities[:, seen].sum(axis=1))
        ratios = {each: self._ratio(probabilities, weights, each) for each in estimators}
        return Judged(support, float(agreed.mean()), ratios, weights)

    def _judge_numbers(self, targets: FloatArray, estimators: Sequence[str]) -> Judged:
        steps, ratios, widths = self.steps, {}, {}
        for each in estimators:
            ratio = functools.partial(self._ratio, targets, estimator=each)
            # The direct method has no kernel; its support is that of plain weights.
            judge = (
                ratio
                if each != "dm"
                else lambda weights: Ratio(weights, weights, weights)
            )
            width, weights = widest(steps, self.propensities, targets, judge)
            ratios[each] = ratio(weights)
            if each != "dm":
                widths[each] = width
        agreed = float((steps.ranges_of(targets) == steps.actions).mean())
        support = self._support_of_numbers(targets, weights)
        return Judged(support, agreed, ratios, weights, widths)

    def _support_of_numbers(self, targets: FloatArray, weights: FloatArray) -> Support:
        outside = ~is_inside(self.steps, targets)
        return Support.of(weights, outside.astype(np.float64))

    def weigh(self, policy: Any, name: str = "policy") -> tuple[FloatArray, Support]:
        """Importance weights of a policy, at least 0, ``(N,)``, and its support."""
        steps = self.steps
        if steps.numbers is None:
            judged = self.judge(policy, (), name)
            assert judged.support is not None
            return judged.weights, judged.support
        targets = action_numbers(steps, policy, name)
        ratio = functools.partial(self._ratio, targets, estimator="snips")
        _, weights = widest(steps, self.propensities, targets, ratio, plain=True)
        return weights, self._support_of_numbers(targets, weights)

    def interval(
        self, ratio: Ratio, level: float, minus: Ratio | None = None
    ) -> Interval:
        """Of an estimate, or of its difference to another one."""
        return jackknife(self.steps.starts, ratio, level, minus)

    def estimate(self, name: str, judged: Judged, level: float) -> Estimate:
        """An estimate with its interval."""
        ratio = judged.ratios[name]
        found = estimate_of(
            self.steps,
            name,
            ratio.value,
            self.interval(ratio, level),
            level,
            judged.support,
        )
        return dataclasses.replace(found, bandwidth=judged.bandwidths.get(name))

    def _ratio(self, policy: FloatArray, weights: FloatArray, estimator: str) -> Ratio:
        """Of probabilities, ``(N, K)``, or numbers, ``(N,)``."""
        steps = self.steps
        ones = np.ones(len(steps))
        if estimator == "ips":
            return Ratio(weights * steps.rewards, ones, weights)
        if estimator == "snips":
            return Ratio(weights * steps.rewards, weights, weights)
        if steps.numbers is None:
            model = (policy * self.model.means).sum(axis=1)
        else:
            model = self.model.at(policy)
        if estimator == "dr":
            return Ratio(model + weights * self._surprises, ones, weights)
        # How each row's noise moves the fitted model; it changes the interval only.
        pulls = regression_weights(steps, policy)
        noise = pulls * self._surprises
        return Ratio(model + noise - noise.mean(), ones, np.abs(pulls))
