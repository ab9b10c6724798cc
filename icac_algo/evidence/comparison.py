"""Several policies on one log: a table and a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .._util.checks import check_choice
from .._util.packages import new_figure
from .estimates import (
    ESTIMATORS,
    BanditLog,
    Estimate,
    Moments,
    bandit_steps,
    check_interval,
    interval,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        """Whether it beats the logger beyond chance, with enough support in the log."""
        return self.lift_lower > 0.0 and not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """What the log lacks to judge the policy; empty if nothing is missing."""
        assert self.estimate.support is not None
        return self.estimate.support.problems


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
                f"{'; '.join(p.problems) or 'whole'} |"
            )
        return "\n".join(lines)

    def plot(self) -> Figure:
        """Values with intervals, the best on top; the logger is a band.

        Raises:
            ImportError: matplotlib is missing.
        """
        policies = self.policies[::-1]
        figure = new_figure(6.5, 1.3 + 0.42 * len(policies))
        axes = figure.subplots()
        logger = self.logger
        axes.axvspan(logger.lower, logger.upper, color="#cccccc", alpha=0.6, lw=0)
        axes.axvline(logger.value, color="#555555", lw=1.2, label="logger")
        labels = []
        for height, policy in enumerate(policies):
            found = policy.estimate
            gaps = [[found.value - found.lower], [found.upper - found.value]]
            color = "#c0392b" if policy.problems else "#1b6ca8"
            axes.errorbar(found.value, height, xerr=gaps, fmt="o", color=color, capsize=3)
            label = f"{policy.name} ({policy.changed:.0%} of bids changed)"
            labels.append(label + ("\nlacks support" if policy.problems else ""))
        axes.set_yticks(range(len(policies)), labels)
        axes.set_ylim(-0.6, len(policies) - 0.4)
        axes.set_xlabel(
            f"value ({policies[0].estimate.estimator}), {logger.level:.0%} intervals; "
            "grey: the logger"
        )
        axes.grid(axis="x", alpha=0.25)
        return figure


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
        level: as in ``estimate``, like all that follows; policies share the resamples.

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
    check_interval(level, resamples, seed)
    log = BanditLog(bandit_steps(dataset, propensities, as_bandit), seed)
    rewards = log.steps.rewards
    judged = [
        log.judge(policy, (estimator,), f"policies[{name!r}]")
        for name, policy in policies.items()
    ]
    moments = [Moments(rewards, np.ones(len(rewards)))]
    for name, (support, _, found) in zip(policies, judged, strict=True):
        support.warn(name)
        moments += found
    draws = log.bootstrap(moments, resamples)
    logger = Estimate(
        "logged", moments[0].value, *interval(draws[:, 0], level), level, None
    )
    reports = [
        PolicyReport(
            name,
            Estimate(estimator, m.value, *interval(drawn, level), level, support),
            m.value - logger.value,
            *interval(drawn - draws[:, 0], level),
            1.0 - agreed,
        )
        for name, (support, agreed, _), m, drawn in zip(
            policies, judged, moments[1:], draws[:, 1:].T, strict=True
        )
    ]
    # NaN, which nothing supports, goes last.
    reports.sort(key=lambda report: -np.nan_to_num(report.estimate.value, nan=-np.inf))
    return Comparison(logger, reports)


def _figures(estimate: Estimate) -> str:
    return f"{estimate.value:.4f} [{estimate.lower:.4f}, {estimate.upper:.4f}]"
