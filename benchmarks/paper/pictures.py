"""Pictures of the report as SVG, each in a light and a dark version.

Each is one panel, narrow enough for a phone; the page sets them side by side where there
is room.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from bidclick_gym.auction import Auction

from ..engine import bootstrap_mean
from .curves import REFRESH
from .evidence import Evidence, MissingError
from .policies import CONTEXTS

__all__ = ["Picture", "all_pictures"]

_COLORS = {
    "Ours-paper": "#d1495b",
    "Ours-Monotone": "#e08e45",
    "Ours-Concave": "#2a7fba",
    "Ours-KnownCost": "#57b8d9",
    "CQL + Concave": "#4b9b6e",
    "IQL": "#8a6fb5",
    "IQL-default": "#b9a5d6",
    "DiscreteIQL": "#c58ac0",
    "CQL": "#a0803c",
    "CQL-default": "#cbb27c",
    "DQN": "#8c8c8c",
    "ClickModel": "#5aa05a",
}
_THEMES = {"light": "#222222", "dark": "#dddddd"}
_LEAST = 1e-6


@dataclasses.dataclass(frozen=True)
class Picture:
    """One picture.

    Args:
        name: for files.
        caption: what it shows, also for those who cannot see it.
        light: SVG for a light page.
        dark: SVG for a dark page.
    """

    name: str
    caption: str
    light: bytes
    dark: bytes


def all_pictures(evidence: Evidence) -> list[Picture]:
    """Every picture for which there are results, in order."""
    return [
        Picture(name, caption, *(_draw(draw, theme) for theme in ("light", "dark")))
        for name, caption, draw in _plans(evidence)
    ]


Draw = Callable[[Axes], None]


def _draw(draw: Draw, theme: str) -> bytes:
    ink = _THEMES[theme]
    style: Any = {
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": ink,
        "xtick.color": ink,
        "ytick.color": ink,
        "font.size": 8.5,
        "legend.fontsize": 7.5,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        # The same bytes every time.
        "svg.hashsalt": "bidclick",
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(4.6, 3.5), layout="constrained")
        canvas = FigureCanvasSVG(figure)
        axes = figure.subplots()
        axes.set_facecolor("none")
        draw(axes)
        buffer = io.BytesIO()
        figure.patch.set_alpha(0.0)
        canvas.print_svg(buffer, metadata={"Date": None})
    return buffer.getvalue()


def _plans(evidence: Evidence) -> Iterator[tuple[str, str, Draw]]:
    results = evidence.results
    if results.table1:
        yield (
            "regret",
            "Regret of every algorithm on BidClick-v0, full log: a dot for each seed, "
            "the mean, its 95 % bootstrap interval.",
            partial(_regret_by_algorithm, evidence=evidence),
        )
        yield (
            "scarcity",
            "Regret against the share of the log on BidClick-v0, mean and 95 % interval.",
            partial(_regret_by_share, evidence=evidence),
        )
    if results.curves:
        for column, caption, scale in (
            ("regret", "Regret during training on campaigns (discount .99).", "log"),
            ("residual", "Bellman residual during training, free of noise.", "log"),
            (
                "monotonicity_errors",
                "Monotonicity errors in 1,000 contexts during training; dotted lines are "
                f"target refreshes (every {REFRESH} steps, DQN and CQL). A perfect "
                "critic shows 1,501.",
                "linear",
            ),
            ("lambda", "The penalty weight lambda during training.", "linear"),
        ):
            yield (
                f"curve-{column.replace('_', '-')}",
                f"{caption} Mean over seeds, band from smallest to largest.",
                partial(_curve, evidence=evidence, column=column, scale=scale),
            )
    if results.policies:
        for number, (x, c) in enumerate(CONTEXTS):
            yield (
                f"q-{number}",
                f"Q against the bid at x = {x:g}, c = {c:g}: the truth, the paper's raw "
                "critic, its projection onto Monotone, and the canonical critic told "
                "Concave.",
                partial(_q_values, rows=results.policies, x=x, c=c),
            )
        yield (
            "map-optimal",
            "The optimal bid in every context.",
            partial(_map, rows=_optimal_map(results.policies), name="optimal"),
        )
        for model, name in (
            ("canonical", "canonical, told Concave"),
            ("raw", "the paper's raw critic"),
            ("projected", "the paper's critic, projected onto Monotone"),
            ("IQL", "IQL, oracle-tuned"),
            ("CQL", "CQL, oracle-tuned"),
        ):
            rows = [
                row
                for row in results.policies
                if row["kind"] == "map" and row["model"] == model
            ]
            if rows:
                yield (
                    f"map-{model}",
                    f"The greedy bid in every context: {name}.",
                    partial(_map, rows=rows, name=name),
                )


def _regret_by_algorithm(axes: Axes, evidence: Evidence) -> None:
    names: list[str] = []
    for name in _COLORS:
        try:
            values = evidence.table1(name, "regret")
        except MissingError:
            continue
        y = -len(names)
        points = np.maximum(list(values.values()), _LEAST)
        interval = bootstrap_mean(points.tolist())
        color = _COLORS[name]
        axes.plot(points, np.full(len(points), y), ".", color=color, alpha=0.35)
        axes.plot([interval.low, interval.high], [y, y], color=color, linewidth=2.5)
        axes.plot([interval.mean], [y], "o", color=color, markersize=5)
        names.append(name)
    axes.set_yticks([-i for i in range(len(names))], names)
    axes.set_xscale("log")
    axes.set_xlabel("regret  V* - V")
    axes.grid(axis="x", alpha=0.25)


def _regret_by_share(axes: Axes, evidence: Evidence) -> None:
    names = (
        *("Ours-paper", "Ours-Concave", "Ours-KnownCost", "IQL", "CQL", "DQN"),
        "ClickModel",
    )
    shares = (0.0625, 0.25, 1.0)
    for name in names:
        points = []
        for share in shares:
            try:
                values = evidence.table1(name, "regret", fraction=share)
            except MissingError:
                continue
            points.append((share, evidence.mean(values)))
        if not points:
            continue
        x = [100.0 * share for share, _ in points]
        low, mean, high = (
            np.maximum([getattr(i, key) for _, i in points], _LEAST)
            for key in ("low", "mean", "high")
        )
        axes.plot(x, mean, "o-", color=_COLORS[name], label=name, markersize=3.5)
        axes.fill_between(x, low, high, color=_COLORS[name], alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([6.25, 25.0, 100.0], ["6.25", "25", "100"])
    axes.minorticks_off()
    axes.set_xlabel("% of the log of 100,000 impressions")
    axes.set_ylabel("regret")
    axes.grid(alpha=0.25)
    axes.legend(ncols=2)


def _curve(axes: Axes, evidence: Evidence, column: str, scale: str) -> None:
    drawn = 0
    for name in ("DQN", "CQL", "IQL", "Ours-paper", "Ours-Concave"):
        try:
            curves = evidence.curve(name, column)
        except MissingError:
            continue
        steps = [step for step, _ in sorted(next(iter(curves.values())))]
        values = np.array([[v for _, v in sorted(c)] for c in curves.values()])
        if scale == "log":
            values = np.maximum(values, _LEAST)
        axes.plot(steps, values.mean(0), color=_COLORS[name], label=name, linewidth=1.2)
        axes.fill_between(
            steps,
            values.min(0),
            values.max(0),
            color=_COLORS[name],
            alpha=0.15,
            linewidth=0,
        )
        drawn = max(drawn, int(steps[-1]))
    if column == "monotonicity_errors":
        for step in range(REFRESH, drawn, REFRESH):
            axes.axvline(step, color="#888888", linewidth=0.5, linestyle=":")
    axes.set_yscale(scale)
    axes.set_xlabel("gradient steps")
    axes.set_ylabel(column.replace("_", " "))
    axes.grid(alpha=0.25)
    axes.legend()


def _q_values(axes: Axes, rows: Sequence[dict[str, Any]], x: float, c: float) -> None:
    auction = Auction()
    truth = auction.reward_table(np.array([[x, c]]))[0]
    ink = axes.xaxis.label.get_color()
    axes.plot(auction.bids, truth, "o-", color=ink, label="truth", linewidth=2)
    for model, label, color in (
        ("raw", "paper, raw", "#e08e45"),
        ("projected", "paper, projected (Monotone)", "#d1495b"),
        ("canonical", "canonical (Concave)", "#2a7fba"),
    ):
        points = [
            (row["bid"], row["value"])
            for row in rows
            if row["kind"] == "q"
            and row["model"] == model
            and np.allclose([row["x"], row["c"]], [x, c])
        ]
        if points:
            bids, values = zip(*sorted(points), strict=True)
            axes.plot(bids, values, "o--", color=color, label=label, markersize=4)
    axes.set_xticks(auction.bids)
    axes.set_xlabel("bid")
    axes.set_ylabel("expected reward")
    axes.set_title(f"x = {x:g}, c = {c:g}", fontsize=9)
    axes.grid(alpha=0.25)
    axes.legend()


def _optimal_map(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    auction = Auction()
    some = next(row["model"] for row in rows if row["kind"] == "map")
    found = [row for row in rows if row["kind"] == "map" and row["model"] == some]
    contexts = np.array([[row["x"], row["c"]] for row in found])
    bids = auction.bid_array[auction.reward_table(contexts).argmax(axis=1)]
    return [{**row, "bid": bid} for row, bid in zip(found, bids, strict=True)]


def _map(axes: Axes, rows: Sequence[dict[str, Any]], name: str) -> None:
    x = sorted({float(row["x"]) for row in rows})
    c = sorted({float(row["c"]) for row in rows})
    image = np.full((len(c), len(x)), np.nan)
    for row in rows:
        image[c.index(float(row["c"])), x.index(float(row["x"]))] = row["bid"]
    drawn = axes.imshow(
        image,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(0.0, 1.0, *_edges(c)),
        cmap=matplotlib.colormaps["viridis"].resampled(5),
        vmin=-0.125,
        vmax=1.125,
    )
    figure = axes.figure
    bar = figure.colorbar(drawn, ax=axes, ticks=[0.0, 0.25, 0.5, 0.75, 1.0])
    bar.set_label("bid")
    axes.set_xlabel("query descriptor x")
    axes.set_ylabel("cost c")
    axes.set_title(name, fontsize=9)


def _edges(midpoints: Sequence[float]) -> tuple[float, float]:
    half = (midpoints[1] - midpoints[0]) / 2.0
    return midpoints[0] - half, midpoints[-1] + half
