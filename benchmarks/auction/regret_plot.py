"""The ladder of priors as a picture."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from ..engine import bootstrap_mean, write_png
from .regret_report import LIMIT, by_seed
from .regret_rows import ROWS

__all__ = ["plot_ladder"]

TASK = "5 bids"


def plot_ladder(rows: Sequence[dict[str, Any]], path: pathlib.Path) -> None:
    """Regret of every row on five bids, one panel for each share of the log."""
    fractions = sorted({float(row["fraction"]) for row in rows}, reverse=True)
    names = [n for n in ROWS if any(by_seed(rows, TASK, n, f) for f in fractions)]
    figure = Figure(
        figsize=(4.2 * len(fractions) + 2.0, 0.42 * len(names) + 1.6),
        layout="constrained",
    )
    axes = figure.subplots(1, len(fractions), sharey=True, squeeze=False)
    places = {name: len(names) - i for i, name in enumerate(names)}
    for axis, fraction in zip(axes[0], fractions, strict=True):
        for name in names:
            seeds = by_seed(rows, TASK, name, fraction)
            if not seeds:
                continue
            interval = bootstrap_mean(list(seeds.values()))
            row = ROWS[name]
            colour = "C0" if row.ours else "0.35" if name != LIMIT else "C2"
            # A logarithmic axis cannot show zero.
            low = max(interval.low, 1e-6)
            axis.plot([low, max(interval.high, low)], [places[name]] * 2, color=colour)
            axis.plot(max(interval.mean, 1e-6), places[name], "o", color=colour)
        axis.set_xscale("log")
        axis.set_title(f"{100 * fraction:.4g} % of the log")
        axis.set_xlabel("regret (log scale)")
        axis.grid(axis="x", alpha=0.3)
    labels = [f"ours: {n}" if ROWS[n].ours else n for n in names]
    axes[0][0].set_yticks([places[n] for n in names], labels)
    figure.suptitle("Regret on BidClick-v0: means and 95 % intervals over seeds")
    write_png(path, figure)
