"""The picture of a prior check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .prior_result import PriorCheck

__all__ = ["plot_check"]

_PANELS = 6


def plot_check(check: PriorCheck) -> Figure:
    """One panel for each region, the ones with the worst inequalities first."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "a plot needs matplotlib: pip install 'bidclick-icac[render]'"
        ) from error
    order = ["all", *(c.region for c in check.contrasts)]
    curves = sorted(check.curves, key=lambda curve: _place(order, curve.region))[:_PANELS]
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(3.6 * columns, 3.0 * rows + 0.7), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns, sharex=True)).ravel()
    for panel in axes[len(curves) :]:
        panel.set_visible(False)
    for panel, curve in zip(axes, curves, strict=False):
        known = np.isfinite(curve.values)
        x = check.positions[known]
        panel.errorbar(
            x,
            curve.values[known],
            yerr=curve.half_width[known],
            color="#1b6ca8",
            marker="o",
            ms=4,
            lw=1.5,
            capsize=3,
            label=f"estimate, {1.0 - check.level:.0%} each",
        )
        panel.plot(
            x,
            curve.nearest[known],
            "--",
            color="#444444",
            lw=1.2,
            label=f"nearest {type(check.constraint).__name__}",
        )
        missed = {
            action
            for c in check.contrasts
            if c.rejected and c.region == curve.region
            for action in c.actions
        }
        at = [a for a in sorted(missed) if known[a]]
        if at:
            panel.plot(
                check.positions[at],
                curve.values[at],
                "o",
                mfc="none",
                mec="#c0392b",
                ms=11,
                mew=1.6,
                label="part of a missed inequality",
            )
        panel.set_title(
            f"{'all contexts' if curve.region == 'all' else curve.region} "
            f"({curve.share:.0%})\nfarthest from the shape: {curve.distance:.3g}",
            fontsize=9,
        )
        panel.grid(alpha=0.25)
    axes[0].set_ylabel("mean reward")
    for panel in axes[len(curves) - columns : len(curves)]:
        panel.set_xlabel("position of the action", fontsize=9)
    handles: dict[str, Any] = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=3,
        fontsize=8,
    )
    p = "" if check.p_value is None else f", p = {check.p_value:.3g}"
    figure.suptitle(f"{type(check.constraint).__name__}: {check.verdict}{p}", fontsize=11)
    return figure


def _place(order: list[str], region: str) -> int:
    return order.index(region) if region in order else len(order)
