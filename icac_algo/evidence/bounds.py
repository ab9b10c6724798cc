r"""``bounds``: what a shape lets a log prove of a policy, also where it was never tried.

The bounds are those over all mean rewards whose curve over actions has the shape in every
context.  For a policy that chooses one action they are sharp where the reward model is
right, and true in any case; see :mod:`~icac_algo.evidence.shaped_log` for how they are
estimated, and :mod:`~icac_algo.evidence.certificates` for what a shape says.  Where
actions are logged well, they are the doubly robust interval.

References: Khan, Saveski and Ugander, "Off-policy evaluation beyond overlap" (2023), for
Lipschitz rewards; Manski, "Monotone treatment response" (1997).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._util.checks import check_number
from .estimates import BanditLog, check_bandit
from .jackknife import Ratio, jackknife
from .known_parts import KnownParts
from .regions import EVERYWHERE, Region, RegionFunction, given_regions
from .shaped_log import ShapedLog

FloatArray = npt.NDArray[np.float64]
# Confidence that both ends miss each other.
_SURE = 0.99


@dataclasses.dataclass(frozen=True)
class ValueBounds:
    """What is proven of a policy's value in some contexts.

    Args:
        lower: lower end, with a confidence of half of what is missing to 1.
        upper: upper end; infinite where the shape says nothing of some decision.
        least: estimate of the lowest value that the shape allows.
        greatest: of the highest one.
        share: of logged decisions.
        problem: why an end is missing; empty if none is.
    """

    lower: float
    upper: float
    least: float
    greatest: float
    share: float
    problem: str = ""

    def within(self, limits: tuple[float, float]) -> ValueBounds:
        """Ends that are not beyond what is certain, which needs no estimate."""
        lower, upper = self.lower, self.upper
        if np.isfinite(limits[0]):
            lower = float(np.fmax(lower, limits[0]))
        if np.isfinite(limits[1]):
            upper = float(np.fmin(upper, limits[1]))
        return dataclasses.replace(self, lower=lower, upper=upper)

    @property
    def figures(self) -> str:
        """Both ends, such as ``"[0.5801, 0.6417]"``."""
        return f"[{self.lower:.4f}, {self.upper:.4f}]"


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Result of :func:`bounds`.

    Args:
        total: of the policy's value.
        lift: of the policy's value less that of the logger, paired over episodes.
        regions: by name of a region of contexts, all at once at ``level``.
        level: confidence.
        own: share of the policy's decisions that are bounded by their own action alone;
            ``None`` of a log of numbers.
        contradiction: by how much the lowest value that the shape allows is above the
            highest one, if that is more than chance: no function of the shape agrees
            with the log.
        flaw: why propensities cannot be believed; empty if nothing is known.
    """

    total: ValueBounds
    lift: ValueBounds
    regions: dict[str, ValueBounds]
    level: float
    own: float | None
    contradiction: float | None = None
    flaw: str = ""

    @property
    def safe(self) -> bool:
        """Whether the policy is proven to be no worse than the logger."""
        believed = self.contradiction is None and not self.flaw
        return self.lift.lower >= 0.0 and believed

    def __str__(self) -> str:
        total = self.total
        said = f"value in {total.figures} ({self.level:.0%})"
        if self.own is not None:
            said += f", {self.own:.0%} of its decisions by their own action"
        lines = [said, *filter(None, [total.problem, self.flaw])]
        if self.contradiction is not None:
            lines.append(
                "no response of this shape agrees with the log: the bounds miss each "
                f"other by {self.contradiction:.4g}"
            )
        lines += [
            f"{name} ({found.share:.0%} of the log): {found.figures}"
            for name, found in self.regions.items()
        ]
        return "\n".join(lines)


def bounds(
    dataset: Any,
    policy: Any,
    prior: Any,
    *,
    level: float = 0.95,
    regions: Mapping[str, RegionFunction] | None = None,
    propensities: npt.ArrayLike | None = None,
    as_bandit: bool = False,
    seed: int = 0,
    show_progress: bool = True,
) -> Bounds:
    """Lower and upper bounds of a policy's value that a known shape proves from a log.

    The estimand is the policy's mean reward, over all mean rewards whose curve over
    actions has the shape in every context and that agree with the log.  Bounds are finite
    without overlap, if the shape bounds what was never done: ``Monotone`` alone says
    nothing above the highest logged action, ``Monotone`` with ``Bounded`` does.

    Args:
        dataset: as in :func:`~icac_algo.evidence.estimate`, of discrete actions or of
            numbers; with outcomes it has their columns.
        policy: as in ``estimate``.
        prior: a shape of the mean reward, or words for it (with ``actions`` their
            positions, with ``known_cost`` of what is left once it is added back); or
            outcomes, whose means are bounded each and added up.
        level: chance that the bounds hold.
        regions: name to a function from observations ``(N, d)`` to booleans ``(N,)``.
        propensities: as in ``estimate``.
        as_bandit: as in ``estimate``.
        seed: of folds.
        show_progress: a bar for work of more than two seconds.

    Raises:
        TypeError: the dataset is of no known kind.
        ValueError: an argument is out of bounds, or does not fit the log.
    """
    check_number("level", level, above=0.0, below=1.0)
    known = KnownParts.of(dataset, prior, propensities)
    check_bandit(known.steps, as_bandit)
    log = BanditLog(known.steps, seed, show_progress)
    found = [] if regions is None else given_regions(known.steps.observations, regions)
    return policy_bounds(ShapedLog(log, known), policy, level, found)


def policy_bounds(
    shaped: ShapedLog,
    policy: Any,
    level: float,
    regions: Sequence[Region] = (),
    name: str = "policy",
) -> Bounds:
    """Of one policy on a log that may bound several; see :func:`bounds`."""
    log = shaped.log
    sides = shaped.scores(policy, level, name)
    lower, upper = (side.ratio for side in sides)
    starts = log.steps.starts
    contradiction = None
    if np.isfinite(lower.value) and np.isfinite(upper.value):
        found = jackknife(starts, lower, _SURE, upper)
        # More than rounding.
        if found.lower > 1e-9 * np.abs(log.steps.rewards).max():
            contradiction = lower.value - upper.value
    everywhere = Region(EVERYWHERE, np.ones(len(log.steps), dtype=bool))
    # All regions at once, by Bonferroni's inequality.
    each = 1.0 - (1.0 - level) / max(len(regions), 1)
    total = _in_region(everywhere, starts, lower, upper, level).within(shaped.limits)
    own = None if log.steps.numbers is not None else (sides[0].own + sides[1].own) / 2.0
    return Bounds(
        total=total,
        lift=_in_region(everywhere, starts, lower, upper, level, log.logger),
        regions={
            region.name: _in_region(region, starts, lower, upper, each).within(
                shaped.limits
            )
            for region in regions
        },
        level=level,
        own=own,
        contradiction=contradiction,
        flaw=sides[0].problem or sides[1].problem,
    )


def _in_region(
    region: Region,
    starts: npt.NDArray[np.int64],
    lower: Ratio,
    upper: Ratio,
    level: float,
    minus: Ratio | None = None,
) -> ValueBounds:
    rows = region.mask
    ends: list[float] = []
    values: list[float] = []
    problems: list[str] = []
    for ratio, is_lower in ((lower, True), (upper, False)):
        part = Ratio(
            np.where(rows, ratio.numerators, 0.0),
            rows.astype(np.float64),
            np.where(rows, ratio.weights, 0.0),
        )
        nothing = float(np.isinf(part.numerators).sum() / rows.sum())
        if nothing:
            ends.append(-np.inf if is_lower else np.inf)
            values.append(ends[-1])
            side, where = ("lower", "below") if is_lower else ("upper", "above")
            problems.append(
                f"no {side} end: nothing bounds {nothing:.1%} of its decisions from "
                f"{where}; Bounded values would"
            )
            continue
        values.append(part.value - (0.0 if minus is None else minus.value))
        if not part.weights.any():
            # Bounds on values alone: contexts vary, nothing was weighted.
            part = dataclasses.replace(part, weights=part.denominators)
        found = jackknife(starts, part, level, minus)
        scores = part.numerators[rows]
        if minus is None and np.ptp(scores) <= 1e-12 * np.abs(scores).max():
            ends.append(values[-1])
            continue
        ends.append(found.lower if is_lower else found.upper)
        problems.append(found.problem)
    problem = "; ".join(dict.fromkeys(filter(None, problems)))
    (low, high), (least, greatest) = ends, values
    return ValueBounds(low, high, least, greatest, float(rows.mean()), problem)
