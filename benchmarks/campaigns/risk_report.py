"""Risk in words and as a picture: verdicts by written rules, tables with intervals."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from ..auction.verdicts import MIN_SEEDS
from ..engine import bootstrap_mean, paired_difference, write_png
from .risk_cells import LEARNERS, LEVELS, MEASURED, SCALE, WEIGHTS

__all__ = ["draw_risk", "section", "verdicts"]

Rows = Sequence[dict[str, Any]]


def _by_seed(rows: Rows, name: str, level: float, column: str) -> dict[int, float]:
    return {
        int(row["seed"]): float(row[column])
        for row in rows
        if row["policy"] == name and row["level"] == level
    }


def _of_exact(rows: Rows, policy: str, weight: float | None = None) -> dict[str, Any]:
    return next(r for r in rows if r["policy"] == policy and r["weight"] == weight)


def _learners(rows: Rows) -> list[str]:
    return [name for name in LEARNERS if any(row["policy"] == name for row in rows)]


def section(rows: Rows) -> str:
    """The part of the report, from the rows alone."""
    said = "\n".join(f"- {line}" for line in verdicts(rows))
    steps = sorted({int(row["steps"]) for row in rows if row["steps"] is not None})
    seeds = sorted({len(_by_seed(rows, n, 1.0, "mean")) for n in _learners(rows)})
    return f"""## Risk

{said}

![Mean against CVaR of learned bidders and of the exact frontier](risk.png)

{_learned_table(rows)}

{_exact_table(rows)}

DQN with 32 quantiles, rewards scaled to a spread of {SCALE:g}, the whole unpaced log,
{_joined(steps)} gradient steps, {_joined(seeds)} seeds, each its own log and training.
*Bids for*: the worst share of returns whose mean a bidder compares, at every impression,
for the bids that can be paid; 1 is the mean. CVaR is that of a whole campaign's profit,
the mean of its worst share. Mean and CVaR are exact for every policy, nothing is
simulated. The frontier is the best of `(1 - weight) * mean + weight * CVaR .1` over all
policies that also see the clicks so far; at weight 1 it does not care what good campaigns
earn.
"""


def verdicts(rows: Rows) -> list[str]:
    """Sentences, each decided by the figures it quotes."""
    column = f"cvar_{LEVELS[0]:g}"
    best, safest = _of_exact(rows, "optimum"), _of_exact(rows, "frontier", WEIGHTS[-1])
    gain = float(safest[column]) - float(best[column])
    price = float(best["mean"]) - float(safest["mean"])
    lines = [
        f"Exactly: the best CVaR .1 is {float(safest[column]):.3f}, {gain:.3f} more than "
        f"that of the best mean, and costs {price:.3f} of the mean."
    ]
    for name in _learners(rows):
        lines.append(_effect(rows, name, column, gain))
    return lines


def _effect(rows: Rows, name: str, column: str, gain: float) -> str:
    low, high = LEVELS[0], LEVELS[-1]
    change = paired_difference(
        _by_seed(rows, name, low, column), _by_seed(rows, name, high, column)
    )
    mean = paired_difference(
        _by_seed(rows, name, low, "mean"), _by_seed(rows, name, high, "mean")
    )
    figures = (
        f"CVaR .1 changes by {change.format(3)}, the mean by {mean.format(3)} "
        f"({change.seeds} seeds)"
    )
    if change.seeds < MIN_SEEDS:
        return f"*{name}*: too few seeds to tell. {figures}."
    if change.low > 0.0:
        share = f"{100.0 * change.mean / gain:.0f} % of the exact gain"
        return f"*{name}*: bidding for the worst 10 % raises CVaR. {figures}; {share}."
    if change.high < 0.0:
        return f"*{name}*: bidding for the worst 10 % **lowers** CVaR. {figures}."
    hidden = (
        f"; the interval is wider than the exact gain of {gain:.3f}"
        if change.high - change.low > gain
        else ""
    )
    return f"*{name}*: **no difference can be told**. {figures}{hidden}."


def _learned_table(rows: Rows) -> str:
    names = [f"CVaR {level:g}" for level in MEASURED]
    lines = [_line(["Learner", "Bids for", "Mean", *names]), _line(["---"] * 6)]
    for name in _learners(rows):
        for level in LEVELS[::-1]:
            cells = [name, f"{level:g}"]
            for column in ("mean", *(f"cvar_{each:g}" for each in MEASURED)):
                values = _by_seed(rows, name, level, column)
                cells.append(bootstrap_mean(list(values.values())).format(3))
            lines.append(_line(cells))
    return "\n".join(lines)


def _exact_table(rows: Rows) -> str:
    names = [f"CVaR {level:g}" for level in MEASURED]
    lines = [_line(["Exact policy", "Mean", *names]), _line(["---"] * 5)]
    for row in rows:
        if row["seed"] is not None:
            continue
        name = str(row["policy"])
        if name == "optimum":
            name = "optimum of the mean"
        if row["weight"] is not None:
            name = f"frontier, weight {row['weight']:g}"
        columns = ("mean", *(f"cvar_{level:g}" for level in MEASURED))
        lines.append(_line([name, *(f"{float(row[c]):.3f}" for c in columns)]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _joined(numbers: Sequence[int]) -> str:
    return " or ".join(f"{number:,}" for number in numbers)


def draw_risk(rows: Rows, path: pathlib.Path) -> None:
    """Mean against CVaR of learned bidders and of the exact frontier.

    Args:
        rows: as :func:`~benchmarks.campaigns.risk_cells.measure` gives.
        path: of the PNG.
    """
    column = f"cvar_{LEVELS[0]:g}"
    frontier = [row for row in rows if row["policy"] == "frontier"]
    points = [(float(row[column]), float(row["mean"])) for row in frontier]
    figure = Figure(figsize=(9.6, 4.0), layout="constrained")
    axes = figure.subplots(1, 2, width_ratios=(3, 2))
    for axis in axes:
        x, y = zip(*points, strict=True)
        axis.plot(x, y, "-", color="black", linewidth=1.5, marker=".", label="frontier")
        axis.set_xlabel("CVaR .1, clicks a campaign")
        axis.grid(color="0.92")
    colors = ("tab:gray", "tab:orange", "tab:blue")
    for color, name in zip(colors, _learners(rows), strict=False):
        safe, mean = (
            [bootstrap_mean(list(_by_seed(rows, name, lv, c).values())) for lv in LEVELS]
            for c in (column, "mean")
        )
        left = axes[0]
        left.plot([s.mean for s in safe], [m.mean for m in mean], color=color, label=name)
        for level, s, m in zip(LEVELS, safe, mean, strict=True):
            left.plot([s.low, s.high], [m.mean] * 2, color=color, alpha=0.4)
            left.plot([s.mean] * 2, [m.low, m.high], color=color, alpha=0.4)
            left.plot(s.mean, m.mean, "o", color=color, markersize=9.0 - 5.0 * level)
    for policy, marker in (("unpaced logger", "x"), ("paced logger", "+")):
        row = _of_exact(rows, policy)
        at = float(row[column]), float(row["mean"])
        axes[0].plot(*at, marker, color="black", label=policy)
    axes[0].set_ylabel("mean, clicks a campaign")
    axes[0].set_title("Learned; larger: bids for a smaller share", fontsize=9)
    axes[0].legend(fontsize=7, frameon=False)
    for row, at in zip(frontier, points, strict=True):
        label = f"{float(row['weight']):g}"
        axes[1].annotate(
            label,
            at,
            xytext=(-5, -3),
            textcoords="offset points",
            fontsize=7,
            ha="right",
            va="top",
        )
    axes[1].set_title("The exact frontier, by weight of CVaR", fontsize=9)
    write_png(path, figure)
