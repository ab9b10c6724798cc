"""Several policies on one log: a table and a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .._util.checks import check_choice, check_count, check_number, check_seed
from ..data import logged_steps
from .estimates import (
    ESTIMATORS,
    Estimate,
    Moments,
    as_bandit_log,
    bootstrap_ratios,
    interval,
    moments_of,
    warn_of_support,
)
from .nuisance import cross_fitted_rewards, folds_of
from .weights import action_probabilities, logged_propensities, support_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Comparison", "PolicyReport", "compare"]


@dataclasses.dataclass(frozen=True)
class PolicyReport:
    """One policy on the log.

    Args:
        name: as it was given.
        estimate: its value.
        lift: value minus the logger's, in units of reward.
        lift_lower: lower end of its interval, from the same resamples.
        lift_upper: upper end.
        changed: expected share of logged decisions that it would have made otherwise.
    """

    name: str
    estimate: Estimate
    lift: float
    lift_lower: float
    lift_upper: float
    changed: float

    @property
    def better(self) -> bool:
        """Whether it beats the logger beyond chance, and the log can say so."""
        assert self.estimate.support is not None
        return self.lift_lower > 0.0 and not self.estimate.support.problems


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Result of :func:`compare`.

    Args:
        logger: value of the policy that wrote the log: its mean reward.
        policies: in the order of their estimates, best first.
    """

    logger: Estimate
    policies: list[PolicyReport]

    @property
    def best(self) -> str:
        """Name of the policy with the highest estimate: model selection by the log."""
        return self.policies[0].name

    def __str__(self) -> str:
        return self.table()

    def table(self) -> str:
        """A Markdown table."""
        level = f"{self.logger.level:.0%}"
        lines = [
            f"| policy | value [{level}] | lift over the logger [{level}] | "
            "bids changed | effective steps | better | support |",
            "| --- | --- | --- | ---: | ---: | --- | --- |",
            f"| logger | {_figures(self.logger)} | | | | | |",
        ]
        for p in self.policies:
            support = p.estimate.support
            assert support is not None
            lines.append(
                f"| {p.name} | {_figures(p.estimate)} | {p.lift:+.4f} "
                f"[{p.lift_lower:+.4f}, {p.lift_upper:+.4f}] | {p.changed:.1%} | "
                f"{support.effective:,.0f} | {'yes' if p.better else 'not shown'} | "
                f"{'; '.join(support.problems) or 'whole'} |"
            )
        return "\n".join(lines)

    def plot(self) -> Figure:
        """Values with intervals beside the logger's.

        Raises:
            ImportError: matplotlib is missing.
        """
        from .comparison_plot import plot_comparison

        return plot_comparison(self)


def compare(
    dataset: Any,
    policies: Mapping[str, Any],
    *,
    estimator: str = "dr",
    level: float = 0.95,
    propensities: npt.ArrayLike | None = None,
    as_bandit: bool = False,
    resamples: int = 500,
    seed: int = 0,
) -> Comparison:
    """Which policy is better than the logger, by the log alone.

    Args:
        dataset: as in :func:`~icac_algo.evidence.estimate`.
        policies: name to policy.
        estimator: one of ``ESTIMATORS``.
        level: as in ``estimate``.
        propensities: as in ``estimate``.
        as_bandit: as in ``estimate``.
        resamples: as in ``estimate``; all policies share them.
        seed: as in ``estimate``.

    Warns:
        SupportWarning: the log has seen too little of what a policy would do.

    Raises:
        ValueError: there are no policies, or as in ``estimate``.
    """
    if not isinstance(policies, Mapping) or not all(
        isinstance(name, str) for name in policies
    ):
        raise ValueError(f"policies must map names to policies, got {policies!r}")
    if not policies:
        raise ValueError("policies must name at least one policy, got none")
    check_choice("estimator", estimator, ESTIMATORS)
    check_number("level", level, above=0.0, below=1.0)
    check_count("resamples", resamples)
    check_seed(seed)
    steps = as_bandit_log(logged_steps(dataset, propensities), as_bandit)
    propensity = logged_propensities(steps, seed)
    predicted = cross_fitted_rewards(steps, folds_of(steps, seed))
    rows = np.arange(len(steps))
    supports, changed = [], []
    moments = [Moments(steps.rewards, np.ones(len(steps)))]
    for name, policy in policies.items():
        probabilities = action_probabilities(policy, steps, f"policies[{name!r}]")
        agreed = probabilities[rows, steps.actions]
        weights = agreed / propensity
        supports.append(support_of(steps, probabilities, weights))
        warn_of_support(name, supports[-1])
        changed.append(1.0 - float(agreed.mean()))
        moments.append(moments_of(estimator, steps, probabilities, weights, predicted))
    draws = bootstrap_ratios(moments, steps, resamples, seed)
    logger = Estimate(
        "logged", moments[0].value, *interval(draws[:, 0], level), level, None
    )
    reports = [
        PolicyReport(
            name,
            Estimate(estimator, m.value, *interval(drawn, level), level, support),
            m.value - logger.value,
            *interval(drawn - draws[:, 0], level),
            share,
        )
        for name, m, drawn, support, share in zip(
            policies, moments[1:], draws[:, 1:].T, supports, changed, strict=True
        )
    ]
    # NaN, which nothing supports, goes last.
    reports.sort(key=lambda report: -np.nan_to_num(report.estimate.value, nan=-np.inf))
    return Comparison(logger, reports)


def _figures(estimate: Estimate) -> str:
    return f"{estimate.value:.4f} [{estimate.lower:.4f}, {estimate.upper:.4f}]"
