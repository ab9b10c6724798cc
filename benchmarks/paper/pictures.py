"""Pictures of the report, each one panel, narrow enough for a phone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from ..engine import Results
from ..engine.pictures import Line, dots, paths, subplots
from ..engine.rows import by_seed, distinct, select
from ..learners import AUCTION_LEARNERS
from .curves import REFRESH
from .measurements import Measurements, MissingError

#: Of lines; dots have those of their learners' kinds.
_COLOURS = {
    "Ours-paper": "#d1495b",
    "Ours-Concave": "#2a7fba",
    "Ours-KnownCost": "#57b8d9",
    "IQL": "#8a6fb5",
    "CQL": "#a0803c",
    "DQN": "#8c8c8c",
    "ClickModel": "#5aa05a",
}
#: Smaller values are drawn here, as a logarithmic axis needs.
_LEAST = 1e-6
_SIZE = (4.6, 3.5)


def _regret(results: Results) -> Figure | None:
    rows = select(results["table1"], env="BidClick-v0", fraction=1.0)
    if not rows:
        return None
    lines = [
        Line(name, regret, learner.colour)
        for name, learner in AUCTION_LEARNERS.items()
        if name != "BC" and (regret := by_seed(rows, "regret", algorithm=name))
    ]
    figure, axes = subplots(*_SIZE)
    dots(axes[0, 0], lines, smallest=_LEAST, each_seed=True)
    axes[0, 0].set(xscale="log", xlabel="regret  V* - V", title="Regret, full log")
    return figure


def _scarcity(results: Results) -> Figure | None:
    rows, lines = select(results["table1"], env="BidClick-v0"), {}
    shares = sorted(distinct(rows, "fraction"))
    for name in _COLOURS:
        found = [
            by_seed(rows, "regret", algorithm=name, fraction=share) for share in shares
        ]
        if found and all(found):
            seeds = sorted(set.intersection(*map(set, found)))
            regret = [[of_share[seed] for of_share in found] for seed in seeds]
            lines[name] = (100.0 * np.array(shares), np.maximum(regret, _LEAST))
    if not lines:
        return None
    figure, axes = subplots(*_SIZE)
    paths(axes[0, 0], lines, _COLOURS)
    axes[0, 0].set(xscale="log", yscale="log", title="Regret and size of the log")
    axes[0, 0].set(xlabel="% of the log of 100,000 impressions", ylabel="regret")
    ticks = [100.0 * share for share in shares]
    axes[0, 0].set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes[0, 0].minorticks_off()
    _legend_below(figure)
    return figure


def _curve(results: Results, column: str, title: str, scale: str) -> Figure | None:
    measured, lines, last = Measurements(results.rows), {}, 0.0
    for name in ("DQN", "CQL", "IQL", "Ours-paper", "Ours-Concave"):
        try:
            curves = list(measured.curve(name, column).values())
        except MissingError:
            continue
        steps, runs = curves[0][0], np.stack([figures for _, figures in curves])
        lines[name] = (steps, np.maximum(runs, _LEAST) if scale == "log" else runs)
        last = max(last, steps[-1])
    if not lines:
        return None
    figure, axes = subplots(*_SIZE)
    paths(axes[0, 0], lines, _COLOURS, band=1.0)
    if column == "monotonicity_errors":
        for step in range(REFRESH, int(last), REFRESH):
            axes[0, 0].axvline(step, color="0.6", linewidth=0.5, linestyle=":")
    axes[0, 0].set(yscale=scale, title=title, xlabel="gradient steps")
    _legend_below(figure)
    return figure


def _legend_below(figure: Figure) -> None:
    """Where many lines leave it no room."""
    if legend := figure.axes[0].get_legend():
        legend.remove()
    figure.legend(loc="outside lower center", ncols=4, fontsize=8, frameon=False)


Draw = Callable[[Results], Figure | None]

#: By heading: what to know, and pictures by name.
ALBUM: Mapping[str, tuple[str, Mapping[str, Draw]]] = {
    "Regret": (
        "On BidClick-v0. Left: a dot for each seed, the mean, its 95 % bootstrap "
        "interval. Right: mean, and a band that holds 80 % of the seeds.",
        {"regret": _regret, "scarcity": _scarcity},
    ),
    "Training on campaigns": (
        "Discount 0.99; mean over seeds, band from the smallest to the largest. Dotted "
        f"lines are target refreshes (every {REFRESH} steps, DQN and CQL). A perfect "
        "critic shows 1,501 monotonicity errors.",
        {
            f"curve-{column.replace('_', '-')}": partial(
                _curve, column=column, title=title, scale=scale
            )
            for column, title, scale in (
                ("regret", "Regret", "log"),
                ("residual", "Bellman residual, free of noise", "log"),
                (
                    "monotonicity_errors",
                    "Monotonicity errors in 1,000 contexts",
                    "linear",
                ),
                ("lambda", "The penalty weight lambda", "linear"),
            )
        },
    ),
}
PICTURES: dict[str, Draw] = {
    f"pictures/{name}.png": draw
    for _, pictures in ALBUM.values()
    for name, draw in pictures.items()
}
