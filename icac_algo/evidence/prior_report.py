"""What a prior check found: a verdict, a paragraph, a table, a picture."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .._util.packages import new_figure
from ..shapes import (
    Constraint,
    Intersection,
    ShapeSet,
    Unconstrained,
    shape_of_set,
)
from .regions import EVERYWHERE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
_PANELS = 6


@dataclasses.dataclass(frozen=True)
class Contrast:
    """One inequality of the shape in one region of contexts.

    Args:
        region: name of the region.
        kind: as in :func:`~icac_algo.evidence.action_contrasts`.
        actions: indices it is about.
        estimate: what should be at least 0, in units of reward; negative is a violation.
        lower: lower end of the simultaneous interval.
        upper: upper end.
        rejected: whether it is below 0 beyond chance, all contrasts counted.
    """

    region: str
    kind: str
    actions: tuple[int, ...]
    estimate: float
    lower: float
    upper: float
    rejected: bool


@dataclasses.dataclass(frozen=True)
class Curve:
    """Mean rewards of the K actions in one region, with a known cost added back."""

    region: str
    share: float  # of all logged steps
    values: FloatArray  # NaN where an action has no support
    half_width: FloatArray  # of the pointwise interval at ``1 - level``
    nearest: FloatArray  # with the shape, among supported actions
    support: FloatArray  # effective number of logged steps with each action

    @property
    def distance(self) -> float:
        """Largest distance between the curve and the nearest one with the shape."""
        gaps = np.abs(self.values - self.nearest)
        return float(np.nanmax(gaps)) if np.isfinite(gaps).any() else float("nan")


@dataclasses.dataclass(frozen=True)
class PriorCheck:
    """Result of :func:`~icac_algo.evidence.check_prior`.

    Args:
        constraint: the shape.
        verdict: ``"rejected"``, ``"not rejected"`` or ``"cannot tell"``.
        p_value: of the shape; ``None`` if nothing could be tested.
        level: chance to reject a shape that is true.
        steps: logged decisions N.
        episodes: pieces of evidence: episodes that these are in.
        propensities: ``"logged"``, ``"given"`` or ``"estimated"``.
        positions: of the actions, ``(K,)``.
        contrasts: every inequality that was tested, worst first.
        curves: of every region; the first is over all contexts.
        without_support: actions that the log holds too rarely to be judged.
        min_support: how many effective episodes were asked for.
        sampled_from: rows of the log that the steps were drawn from; ``None`` if all.
    """

    constraint: Constraint
    verdict: str
    p_value: float | None
    level: float
    steps: int
    episodes: int
    propensities: str
    positions: FloatArray
    contrasts: list[Contrast]
    curves: list[Curve]
    without_support: tuple[int, ...]
    min_support: int
    sampled_from: int | None = None

    @property
    def rejected(self) -> bool:
        """Whether the log contradicts the shape."""
        return self.verdict == "rejected"

    @property
    def worst(self) -> Contrast | None:
        """The inequality that is missed by the most standard errors."""
        return self.contrasts[0] if self.contrasts else None

    @property
    def undetected(self) -> float:
        """How large a violation may be that this log would leave unseen.

        The largest shortfall that a simultaneous interval still allows, in units of
        reward; NaN if nothing was tested.
        """
        if not self.contrasts:
            return float("nan")
        return max(0.0, *(-c.lower for c in self.contrasts))

    @property
    def weaker(self) -> Constraint | None:
        """What of a rejected shape the log does not contradict, if anything.

        Inequalities of the kinds that are missed are left out or, where they are bounds,
        widened to what was estimated.  ``None`` if no shape is left.
        """
        shape = self.constraint.shape_set()
        kept = ShapeSet(
            *(
                self._widened(bound, kind)
                for kind, bound in {
                    "slope >=": shape.slope_lower,
                    "slope <=": shape.slope_upper,
                    "value >=": shape.lower,
                    "value <=": shape.upper,
                    "curvature >=" if shape.curvature_lower else "convex": (
                        shape.curvature_lower
                    ),
                    "curvature <=" if shape.curvature_upper else "concave": (
                        shape.curvature_upper
                    ),
                }.items()
            )
        )
        weaker = shape_of_set(
            kept,
            actions=self.constraint.actions,
            known_cost=self.constraint.known_cost,
        )
        return None if isinstance(weaker, Unconstrained) else weaker

    def _widened(self, bound: float, kind: str) -> float:
        """A bound that allows what was estimated."""
        if not math.isfinite(bound):
            return bound
        rooms = [self._room(c) for c in self.contrasts if c.rejected and c.kind == kind]
        room = min(rooms, default=0.0)
        above = ">" in kind or kind == "convex"
        return _outwards(bound + room if above else bound - room, kind)

    def _room(self, contrast: Contrast) -> float:
        """How far a bound is from what was estimated; negative where it is missed."""
        if contrast.kind.startswith("value"):
            return contrast.estimate
        gaps = np.diff(self.positions[list(contrast.actions)])
        return float(contrast.estimate / (gaps[0] if len(gaps) == 1 else gaps.prod() / 2))

    def __str__(self) -> str:
        advice = "".join(f"\n- {line}" for line in self.advice)
        return f"{self.explanation}\n\n{self.table()}\n\nWhat to try next:{advice}"

    @property
    def explanation(self) -> str:
        """The verdict in words, one paragraph."""
        name = _words(self.constraint)
        if self.worst is None:
            return (
                f"Cannot tell whether {name} holds: no inequality of the shape has the "
                f"support of {self.min_support} effective {self._pieces} for each of its "
                f"actions ({self._basis}).{self._gaps}"
            )
        worst = self.worst
        figures = (
            f"{self.describe(worst)} {_place(worst.region)} is {worst.estimate:+.4g} "
            f"[{worst.lower:+.4g}, {worst.upper:+.4g}]"
        )
        found = f"at level {self.level:g} (p = {self.p_value:.3g}; {self._basis})"
        if self.rejected:
            count = sum(c.rejected for c in self.contrasts)
            figures = figures[0].upper() + figures[1:]
            return (
                f"{name} is rejected {found}. {figures}, and should not be negative; "
                f"{count} of {len(self.contrasts)} inequalities are missed beyond "
                f"chance. Imposing this shape would bias the critic.{self._gaps}"
            )
        opening = f"{name} is not rejected"
        if self.verdict == "cannot tell":
            opening = f"Cannot tell whether {name} holds"
        return (
            f"{opening} {found}. The closest call: {figures}. A shortfall of up to "
            f"{self.undetected:.3g} could have gone unseen.{self._gaps}"
        )

    @property
    def _pieces(self) -> str:
        return "episodes" if self.episodes < self.steps else "steps"

    @property
    def _basis(self) -> str:
        regions = len({contrast.region for contrast in self.contrasts})
        episodes = ""
        if self.episodes < self.steps:
            episodes = f" in {self.episodes:,} episodes"
        if self.sampled_from is not None:
            episodes += f" drawn from {self.sampled_from:,} rows"
        return (
            f"{self.steps:,} logged steps{episodes}, {self.propensities} propensities, "
            f"{regions} of {len(self.curves)} regions tested"
        )

    @property
    def _gaps(self) -> str:
        """What the log holds too little of."""
        if not self.without_support:
            return ""
        missing = self._at(self.without_support)
        return (
            f" The log has fewer than {self.min_support} effective {self._pieces} with "
            f"the action at {missing}, of which nothing can be said."
        )

    @property
    def advice(self) -> list[str]:
        """What to try next, a sentence each."""
        if self.rejected:
            weaker = self.weaker
            lines = [
                f"A weaker shape that this log does not contradict: {_code(weaker)}."
                if weaker is not None
                else "A shape of another kind, or Unconstrained()."
            ]
            if self.constraint.known_cost is None:
                lines.append(
                    "If a part of the reward is a cost that you know, add it back: "
                    "known_cost=KnownCost(feature)."
                )
            lines.append(
                "If an outcome such as a click or a sale has the shape and the reward "
                "does not, log that outcome as the reward."
            )
            return lines
        lines = []
        if self.without_support:
            lines.append(
                f"Log the action at {self._at(self.without_support)} more often, or "
                "leave it out of the log and of the shape."
            )
        if self.episodes < self.steps:
            lines.append(
                "The steps of an episode count as one piece of evidence, as they may "
                "depend on each other. If they do not, log each as an episode of its own."
            )
        if self.verdict == "cannot tell" and not self.without_support:
            lines.append("A shape with inequalities: this one has none to be tested.")
        if self.contrasts:
            lines.append(
                "A log four times as long halves the shortfall that could go unseen."
            )
        return lines

    def _at(self, actions: tuple[int, ...]) -> str:
        return ", ".join(f"{self.positions[action]:g}" for action in actions)

    def describe(self, contrast: Contrast) -> str:
        """What a contrast measures, such as ``"the rise from 0.75 to 1"``.

        Actions are named by their positions, in the units of ``actions``.
        """
        places = [f"{place:g}" for place in self.positions[list(contrast.actions)]]
        if contrast.kind in ("concave", "convex"):
            side = "above" if contrast.kind == "concave" else "below"
            return (
                f"the height at {places[1]} {side} the chord from {places[0]} to "
                f"{places[2]}"
            )
        if contrast.kind.startswith("curvature"):
            return (
                f"the room of the curvature from {places[0]} to {places[2]} to its bound"
            )
        if contrast.kind.startswith("value"):
            return f"the room at {places[0]} to its bound"
        if contrast.kind == "slope >=":
            return f"the rise from {places[0]} to {places[1]} beyond its minimum"
        return f"the room of the rise from {places[0]} to {places[1]}"

    def table(self, rows: int = 10) -> str:
        """The worst inequalities as a Markdown table."""
        lines = [
            "| region | inequality | actions at | estimate | interval | missed |",
            "| --- | --- | --- | ---: | --- | --- |",
        ]
        for c in self.contrasts[:rows]:
            lines.append(
                f"| {c.region} | {c.kind} | {self._at(c.actions)} | "
                f"{c.estimate:+.4f} | [{c.lower:+.4f}, {c.upper:+.4f}] | "
                f"{'yes' if c.rejected else ''} |"
            )
        return "\n".join(lines)

    def plot(self) -> Figure:
        """Estimated curves with bands, the nearest ones in the set, what is missed.

        Raises:
            ImportError: matplotlib is missing.
        """
        # The regions with the worst inequalities first.
        order = list(dict.fromkeys([EVERYWHERE, *(c.region for c in self.contrasts)]))
        order += [curve.region for curve in self.curves if curve.region not in order]
        curves = sorted(self.curves, key=lambda curve: order.index(curve.region))
        curves = curves[:_PANELS]
        columns = min(3, len(curves))
        rows = -(-len(curves) // columns)
        figure = new_figure(3.6 * columns, 3.0 * rows + 0.7)
        axes = np.atleast_1d(figure.subplots(rows, columns, sharex=True)).ravel()
        for panel in axes[len(curves) :]:
            panel.set_visible(False)
        for panel, curve in zip(axes, curves, strict=False):
            self._draw(panel, curve)
        axes[0].set_ylabel("mean reward")
        for panel in axes[len(curves) - columns : len(curves)]:
            panel.set_xlabel("position of the action", fontsize=9)
        legend = {
            label: handle
            for panel in axes
            for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        figure.legend(
            legend.values(), legend, loc="outside lower center", ncols=3, fontsize=8
        )
        p = "" if self.p_value is None else f", p = {self.p_value:.3g}"
        figure.suptitle(
            f"{type(self.constraint).__name__}: {self.verdict}{p}", fontsize=11
        )
        return figure

    def _draw(self, panel: Any, curve: Curve) -> None:
        known = np.isfinite(curve.values)
        x, values = self.positions[known], curve.values[known]
        blue = {"color": "#1b6ca8", "marker": "o", "ms": 4, "lw": 1.5, "capsize": 3}
        label = f"estimate, {1.0 - self.level:.0%} each"
        panel.errorbar(x, values, curve.half_width[known], label=label, **blue)
        label = f"nearest {type(self.constraint).__name__}"
        panel.plot(x, curve.nearest[known], "--", color="#444444", lw=1.2, label=label)
        missed = [c for c in self.contrasts if c.rejected and c.region == curve.region]
        at = [a for a in np.flatnonzero(known) if any(a in c.actions for c in missed)]
        if at:
            ring = {"mfc": "none", "mec": "#c0392b", "ms": 11, "mew": 1.6}
            label = "part of a missed inequality"
            panel.plot(self.positions[at], curve.values[at], "o", label=label, **ring)
        place = "all contexts" if curve.region == EVERYWHERE else curve.region
        # The longest names, of leaves of a tree, have two conditions and the half.
        place = place.replace(" and ", "\nand ").replace(", in half", ",\nin half")
        panel.set_title(
            f"{place} ({curve.share:.0%})\nfarthest from the shape: {curve.distance:.3g}",
            fontsize=8,
        )
        panel.grid(alpha=0.25)


def _words(constraint: Constraint) -> str:
    cost = "" if constraint.known_cost is None else " (with its known cost added back)"
    return f"{type(constraint).__name__}{cost}"


def _code(constraint: Constraint) -> str:
    """How it is written, what is left at its default left out."""
    given = [
        f"{field.name}={getattr(constraint, field.name)!r}"
        for field in dataclasses.fields(constraint)
        if getattr(constraint, field.name) != field.default and field.name != "members"
    ]
    if isinstance(constraint, Intersection):
        given.insert(0, f"[{', '.join(map(_code, constraint.members))}]")
    return f"{type(constraint).__name__}({', '.join(given)})"


def _place(region: str) -> str:
    return "over all contexts" if region == EVERYWHERE else f"where {region}"


def _outwards(bound: float, kind: str) -> float:
    """A bound rounded to three digits, so that it allows what it allowed."""
    if bound == 0.0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(bound))) - 2)
    steps = bound / unit
    whole = math.floor(steps - 1e-9) if ">" in kind else math.ceil(steps + 1e-9)
    return float(f"{whole * unit:.3g}")
