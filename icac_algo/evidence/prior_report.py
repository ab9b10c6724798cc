"""What a prior check found: a verdict, a paragraph, a table, a picture."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .._util.packages import new_figure
from ..shapes import Constraint

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
        propensities: ``"logged"`` or ``"estimated"``.
        positions: of the actions, ``(K,)``.
        contrasts: every inequality that was tested, worst first.
        curves: of every region; the first is over all contexts.
        without_support: actions that the log holds too rarely to be judged.
        min_support: how many effective steps were asked for.
    """

    constraint: Constraint
    verdict: str
    p_value: float | None
    level: float
    steps: int
    propensities: str
    positions: FloatArray
    contrasts: list[Contrast]
    curves: list[Curve]
    without_support: tuple[int, ...]
    min_support: int

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

    def __str__(self) -> str:
        return f"{self.explanation}\n\n{self.table()}"

    @property
    def explanation(self) -> str:
        """The verdict in words, one paragraph."""
        name = type(self.constraint).__name__
        if self.constraint.known_cost is not None:
            name += " (with its known cost added back)"
        missing = ", ".join(str(a) for a in self.without_support)
        gap = (
            f" The log has fewer than {self.min_support} effective steps with action "
            f"{missing}, of which nothing can be said."
            if self.without_support
            else ""
        )
        if self.worst is None:
            return (
                f"Cannot tell whether {name} holds: no inequality of the shape has the "
                f"support of {self.min_support} effective steps for each of its actions."
                + gap
            )
        worst = self.worst
        place = "over all contexts" if worst.region == "all" else f"where {worst.region}"
        figures = (
            f"{self.describe(worst)} {place} is {worst.estimate:+.4g} "
            f"[{worst.lower:+.4g}, {worst.upper:+.4g}]"
        )
        basis = f"{self.steps:,} logged steps, {self.propensities} propensities"
        if self.rejected:
            count = sum(c.rejected for c in self.contrasts)
            return (
                f"{name} is rejected at level {self.level:g} (p = {self.p_value:.3g}; "
                f"{basis}). {figures}, and should not be negative; {count} of "
                f"{len(self.contrasts)} inequalities are missed beyond chance. Imposing "
                "this shape would bias the critic." + gap
            )
        opening = (
            f"{name} is not rejected" if not gap else f"Cannot tell whether {name} holds"
        )
        return (
            f"{opening} at level {self.level:g} (p = {self.p_value:.3g}; {basis}). The "
            f"closest call: {figures}. A shortfall of up to {self.undetected:.3g} could "
            "have gone unseen." + gap
        )

    def describe(self, contrast: Contrast) -> str:
        """What a contrast measures, such as ``"the rise from action 3 to 4"``."""
        actions = contrast.actions
        if contrast.kind in ("concave", "convex"):
            side = "above" if contrast.kind == "concave" else "below"
            return (
                f"the height of action {actions[1]} {side} the chord from "
                f"{actions[0]} to {actions[2]}"
            )
        if contrast.kind.startswith("value"):
            return f"the room of action {actions[0]} to its bound"
        if contrast.kind == "slope >=":
            return f"the rise from action {actions[0]} to {actions[1]} beyond its minimum"
        return f"the room of the rise from action {actions[0]} to {actions[1]}"

    def table(self, rows: int = 10) -> str:
        """The worst inequalities as a Markdown table."""
        lines = [
            "| region | inequality | actions | estimate | interval | missed |",
            "| --- | --- | --- | ---: | --- | --- |",
        ]
        for c in self.contrasts[:rows]:
            lines.append(
                f"| {c.region} | {c.kind} | {', '.join(map(str, c.actions))} | "
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
        order = list(dict.fromkeys(["all", *(c.region for c in self.contrasts)]))
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
        panel.set_title(
            f"{'all contexts' if curve.region == 'all' else curve.region} "
            f"({curve.share:.0%})\nfarthest from the shape: {curve.distance:.3g}",
            fontsize=9,
        )
        panel.grid(alpha=0.25)
