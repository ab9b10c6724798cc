"""Several policies on one log: a table and a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from .._util.checks import check_choice, check_flag, check_number
from .._util.packages import new_figure
from .bounds import Bounds, policy_bounds
from .estimates import (
    ESTIMATORS,
    BanditLog,
    Estimate,
    Judged,
    bandit_steps,
    check_bandit,
)
from .jackknife import Interval, Ratio, jackknife
from .known_parts import KnownParts
from .shaped_log import ShapedLog

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class PolicyReport:
    """One policy on the log.

    Args:
        name: as it was given.
        estimate: its value.
        lift: value minus the logger's, in units of reward.
        lift_lower: lower end of its interval, paired over episodes; NaN if the log has
            too few of them.
        lift_upper: upper end.
        changed: expected share of logged decisions that it would have made otherwise;
            of numbers, those in another range of the log.
        ratio: the estimate, row by row.
        bounds: what a shape proves of it; ``None`` if none was given.
    """

    name: str
    estimate: Estimate
    lift: float
    lift_lower: float
    lift_upper: float
    changed: float
    ratio: Ratio = dataclasses.field(repr=False)
    bounds: Bounds | None = None

    @property
    def safe(self) -> bool:
        """Whether it is shown to be no worse than the logger.

        Proven by a shape where there is one; else by the estimate, with enough support.
        """
        if self.bounds is not None:
            return self.bounds.safe
        return self.lift_lower >= 0.0 and not self.problems

    @property
    def least_lift(self) -> float:
        """Lower end of the lift: of its bounds if there are any."""
        return self.lift_lower if self.bounds is None else self.bounds.lift.lower

    @property
    def better(self) -> bool:
        """Whether it beats the logger beyond chance, with enough support in the log."""
        return self.lift_lower > 0.0 and not self.problems

    @property
    def problems(self) -> tuple[str, ...]:
        """What the log lacks to judge the policy; empty if nothing is missing."""
        return self.estimate.problems

    @property
    def supported(self) -> bool:
        """Whether the log has seen enough of what the policy would do."""
        assert self.estimate.support is not None
        return not self.estimate.support.problems and np.isfinite(self.estimate.value)

    @property
    def figures(self) -> str:
        """Lift and interval."""
        if np.isnan(self.lift_lower):
            return f"{self.lift:+.4f} [no interval]"
        return f"{self.lift:+.4f} [{self.lift_lower:+.4f}, {self.lift_upper:+.4f}]"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Result of :func:`compare`.

    Args:
        logger: value of the policy that wrote the log: its mean reward.
        policies: those that the log supports first, then in the order of their estimates,
            best first.
        starts: first row of each episode.
        by_lower_end: whether the best is the one with the highest lower end.
    """

    logger: Estimate
    policies: list[PolicyReport]
    starts: npt.NDArray[np.int64] = dataclasses.field(repr=False)
    by_lower_end: bool = False

    def __getitem__(self, name: str) -> PolicyReport:
        """A policy's, by its name."""
        return next(policy for policy in self.policies if policy.name == name)

    def difference(self, name: str, other: str) -> tuple[float, Interval]:
        """Value of one policy minus that of another, and the interval of it.

        Paired over episodes, which both are judged by; of the level of the others.
        """
        ratio, minus = self[name].ratio, self[other].ratio
        found = jackknife(self.starts, ratio, self.logger.level, minus)
        return ratio.value - minus.value, found

    @property
    def best(self) -> str | None:
        """The highest estimate among the policies that the log supports, if it does any.

        It may be no better than the logger: see ``PolicyReport.better``.  With
        ``compare(safe=True)`` it is the policy with the highest lower end among those
        that are shown to be no worse than the logger, or ``None``.
        """
        if self.by_lower_end:
            safe = [policy for policy in self.policies if policy.safe]
            return max(safe, key=lambda one: one.least_lift).name if safe else None
        return self.policies[0].name if self.policies[0].supported else None

    def __str__(self) -> str:
        return f"{self.explanation}\n\n{self.table()}"

    @property
    def explanation(self) -> str:
        """What the log says, in words, one paragraph."""
        logger, first = self.logger, self.policies[0]
        said = f"Logged episodes: {logger.episodes:,}. "
        said += f"Propensities: {logger.propensities}. "
        if self.by_lower_end:
            if self.best is None:
                return said + (
                    "No policy is shown to be no worse than the logger: stay with it."
                )
            return said + (
                f"{self.best} is at least as good as the logger, by "
                f"{self[self.best].least_lift:.4g} or more."
            )
        if logger.no_interval:
            return said + (
                f"No policy is shown to be better than the logger: {logger.no_interval}."
            )
        better = [p.name for p in self.policies if p.better]
        if self.best is None:
            return said + "The log supports none of the policies: stay with the logger."
        if not better:
            return said + (
                f"Of the policies that the log supports, {first.name} has the highest "
                "estimate; none is shown to be better than the logger."
            )
        return said + (
            f"Better than the logger: {', '.join(better)}. Of the policies that the log "
            f"supports, {first.name} has the highest estimate."
        )

    def table(self) -> str:
        """A Markdown table."""
        level = f"{self.logger.level:.0%}"
        bounded = any(policy.bounds is not None for policy in self.policies)
        proven = f" by the shape [{level}] |" if bounded else ""
        lines = [
            f"| policy | value [{level}] | lift over the logger [{level}] |{proven} "
            "changed | effective steps | better | support |",
            f"| --- | --- | --- |{' --- |' * bounded} ---: | ---: | --- | --- |",
            f"| logger | {self.logger.figures} |{' |' * bounded} | | | | |",
        ]
        for p in self.policies:
            support = p.estimate.support
            assert support is not None
            proven = "" if p.bounds is None else f" {p.bounds.total.figures} |"
            lines.append(
                f"| {_cell(p.name)} | {p.estimate.figures} | {p.figures} |{proven} "
                f"{p.changed:.1%} | {support.effective:,.0f} | "
                f"{'yes' if p.better else 'not shown'} | "
                f"{'; '.join(p.problems) or 'whole'}{_contradicted(p)} |"
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
        if not logger.no_interval:
            axes.axvspan(logger.lower, logger.upper, color="#cccccc", alpha=0.6, lw=0)
        axes.axvline(logger.value, color="#555555", lw=1.2, label="logger")
        labels = []
        for height, policy in enumerate(policies):
            found = policy.estimate
            color = "#1b6ca8" if policy.supported else "#c0392b"
            gaps = None
            if not found.no_interval:
                gaps = [[found.value - found.lower], [found.upper - found.value]]
            if np.isfinite(found.value):
                axes.errorbar(
                    found.value, height, xerr=gaps, fmt="o", color=color, capsize=3
                )
            if policy.bounds is not None:
                shown = policy.bounds.total
                if np.isfinite([shown.lower, shown.upper]).all():
                    axes.plot(
                        [shown.lower, shown.upper], [height - 0.22] * 2, color="#e08e0b"
                    )
            missing = [] if policy.supported else ["lacks support"]
            missing += ["no interval"] if found.no_interval else []
            label = f"{policy.name} ({policy.changed:.0%} changed)"
            labels.append("\n".join([label, *filter(None, [", ".join(missing)])]))
        axes.set_yticks(range(len(policies)), labels)
        axes.set_ylim(-0.6, len(policies) - 0.4)
        proven = ""
        if any(policy.bounds is not None for policy in policies):
            proven = "\norange: what the shape proves"
        axes.set_xlabel(
            f"value ({policies[0].estimate.estimator}), {logger.level:.0%} intervals; "
            f"grey: the logger{proven}"
        )
        axes.locator_params(axis="x", nbins=5)
        axes.grid(axis="x", alpha=0.25)
        return figure


def compare(
    dataset: Any,
    policies: Mapping[str, Any],
    *,
    estimator: str = "dr",
    level: float = 0.95,
    propensities: npt.ArrayLike | None = None,
    predicted: npt.ArrayLike | None = None,
    prior: Any = None,
    safe: bool = False,
    as_bandit: bool = False,
    seed: int = 0,
    show_progress: bool = True,
) -> Comparison:
    """Which policy is better than the logger, by the log alone.

    Args:
        dataset: as in :func:`~icac_algo.evidence.estimate`.
        policies: name to policy.
        estimator: one of ``ESTIMATORS``.
        predicted: expected rewards of every action, ``(N, K)``, by a model that has not
            seen these rows; by default cross-fitted ridge regressions.  Of a log of
            numbers at the middles of ``LoggedSteps.edges``.
        prior: a shape or outcomes, as in :func:`~icac_algo.evidence.bounds`: what they
            prove of each policy stands beside its estimate.
        safe: choose ``Comparison.best`` by the lower end, among policies that are shown
            to be no worse than the logger: proven, if there is a prior.
        level: as in ``estimate``, like all others.

    Warns:
        SupportWarning: the log has seen too little of what a policy would do, or has too
            few episodes for an interval.

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
    check_flag("safe", safe)
    if prior is None:
        steps, known = bandit_steps(dataset, propensities, as_bandit), None
    else:
        known = KnownParts.of(dataset, prior, propensities)
        steps = known.steps
        check_bandit(steps, as_bandit)
    log = BanditLog(steps, seed, show_progress, predicted)
    shaped = None if known is None else ShapedLog(log, known)
    logged = Judged(None, 1.0, {"logged": log.logger}, np.ones(len(steps)))
    logger = log.estimate("logged", logged, level)
    reports = []
    # Short work shows nothing.
    for name in tqdm(policies, "policies", delay=2.0, disable=not show_progress):
        words = f"policies[{name!r}]"
        judged = log.judge(policies[name], (estimator,), words)
        proven = None
        if shaped is not None:
            proven = policy_bounds(shaped, policies[name], level, name=words)
        ratio = judged.ratios[estimator]
        found = log.estimate(estimator, judged, level)
        lift = log.interval(ratio, level, minus=log.logger)
        found.warn(name)
        reports.append(
            PolicyReport(
                name,
                found,
                ratio.value - logger.value,
                lift.lower,
                lift.upper,
                1.0 - judged.agreed,
                ratio,
                proven,
            )
        )
    # NaN, which nothing supports, goes last.
    reports.sort(
        key=lambda report: (
            not report.supported,
            -np.nan_to_num(report.estimate.value, nan=-np.inf),
        )
    )
    return Comparison(logger, reports, log.steps.starts, safe)


def _contradicted(policy: PolicyReport) -> str:
    """What to add of bounds that cannot be believed."""
    bounds = policy.bounds
    if bounds is None:
        return ""
    if bounds.contradiction is not None:
        return "; no response of this shape agrees with the log"
    return f"; {bounds.flaw}" * bool(bounds.flaw)


def _cell(name: str) -> str:
    """A name as one cell of a Markdown table."""
    return " ".join(name.split()).replace("|", "\\|")
