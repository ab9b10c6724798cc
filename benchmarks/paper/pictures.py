"""Pictures of the report, each one panel, narrow enough for a phone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from bidclick_gym import Auction

from ..engine import Results
from ..engine.pictures import Line, dots, heat, paths, subplots
from ..engine.rows import Rows, by_seed, distinct, select
from ..learners import AUCTION_LEARNERS
from .curves import REFRESH
from .measurements import FloatArray, Measurements, MissingError
from .policies import CONTEXTS

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
Runs = dict[str, tuple[FloatArray, FloatArray]]


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


def _q_values(results: Results, x: float, c: float) -> Figure | None:
    rows = select(results["policies"], kind="q", x=x, c=c)
    if not rows:
        return None
    auction = Auction()
    figure, axes = subplots(*_SIZE)
    truth = auction.reward_table(np.array([[x, c]]))[0]
    axes[0, 0].plot(auction.bids, truth, "o-", color="black", label="truth", linewidth=2)
    for model, label, colour in (
        ("raw", "paper, raw", "#e08e45"),
        ("projected", "paper, projected (Monotone)", "#d1495b"),
        ("canonical", "canonical (Concave)", "#2a7fba"),
    ):
        values = {row["bid"]: row["value"] for row in select(rows, model=model)}
        points = [values[bid] for bid in auction.bids]
        axes[0, 0].plot(auction.bids, points, "o--", color=colour, label=label, ms=4)
    axes[0, 0].set(xlabel="bid", ylabel="expected reward", xticks=auction.bids)
    axes[0, 0].set(title=f"Q at x = {x:g}, c = {c:g}")
    axes[0, 0].grid(color="0.92")
    axes[0, 0].legend(fontsize=8, frameon=False)
    return figure


def _map(results: Results, model: str, title: str) -> Figure | None:
    rows = _map_rows(results, model)
    if not rows:
        return None
    bids = {(row["x"], row["c"]): row["bid"] for row in rows}
    x, c = (sorted({context[i] for context in bids}) for i in (0, 1))
    half = (c[1] - c[0]) / 2.0
    figure, axes = subplots(*_SIZE)
    drawn = heat(
        axes[0, 0],
        np.array([[bids[a, b] for a in x] for b in c]),
        (0.0, 1.0, c[0] - half, c[-1] + half),
        lowest=0.0,
        highest=1.0,
    )
    figure.colorbar(drawn, ax=axes[0, 0], ticks=Auction().bids, label="bid")
    axes[0, 0].set(xlabel="query descriptor x", ylabel="cost c", title=title)
    return figure


def _map_rows(results: Results, model: str) -> Rows:
    maps = select(results["policies"], kind="map")
    if model != "optimal":
        return select(maps, model=model)
    auction, contexts = Auction(), select(maps, model="raw")
    if not contexts:
        return []
    table = auction.reward_table(np.array([[row["x"], row["c"]] for row in contexts]))
    best = auction.bid_array[table.argmax(axis=1)]
    return [{**row, "bid": bid} for row, bid in zip(contexts, best, strict=True)]


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
    "Values over the bid": (
        "The truth, the paper's raw critic, its projection onto Monotone, and the "
        "canonical critic with the prior Concave.",
        {f"q-{i}": partial(_q_values, x=x, c=c) for i, (x, c) in enumerate(CONTEXTS)},
    ),
    "Greedy bids in every context": (
        "The optimum, and what critics make of it; IQL and CQL are tuned by the oracle.",
        {
            f"map-{model}": partial(_map, model=model, title=title)
            for model, title in (
                ("optimal", "Optimal bid"),
                ("canonical", "Canonical, Concave"),
                ("raw", "The paper's raw critic"),
                ("projected", "The paper's, projected onto Monotone"),
                ("IQL", "IQL"),
                ("CQL", "CQL"),
            )
        },
    ),
}
PICTURES: dict[str, Draw] = {
    f"pictures/{name}.png": draw
    for _, pictures in ALBUM.values()
    for name, draw in pictures.items()
}
