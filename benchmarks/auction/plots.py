"""Pictures of results."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from matplotlib.figure import Figure

from ..engine import bootstrap_mean, write_png
from ..learners import AUCTION_LEARNERS, CLICK_MODEL
from .verdicts import by_seed

__all__ = ["plot_table1"]

_OURS = "tab:blue"
_BASELINE = "0.45"
_LIMIT = "tab:green"
_ONLINE = "tab:purple"
_SMALLEST = 1e-6


def plot_table1(rows: Sequence[dict[str, Any]], path: pathlib.Path) -> None:
    """Regret (log scale, a dot for each seed) and monotonicity errors, as a PNG.

    Args:
        rows: one for every algorithm and seed.
        path: destination.
    """
    names = list(dict.fromkeys(str(row["algorithm"]) for row in rows))[::-1]
    figure = Figure(figsize=(10.5, 1.4 + 0.38 * len(names)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.5, 1.0])
    for y, name in enumerate(names):
        color = _color(name)
        regrets = np.maximum(list(by_seed(rows, name, "regret").values()), _SMALLEST)
        summary = bootstrap_mean(regrets.tolist())
        left.plot(regrets, np.full(len(regrets), y), ".", color=color, alpha=0.35)
        left.plot([summary.low, summary.high], [y, y], color=color, linewidth=2.5)
        left.plot([summary.mean], [y], "o", color=color)
        left.annotate(
            f"{max(summary.mean, 0.0):.5f}",
            (summary.mean, y),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color=color,
        )
        errors = bootstrap_mean(list(by_seed(rows, name, "monotonicity_errors").values()))
        right.barh(y, errors.mean, height=0.55, color=color, alpha=0.8)
        right.plot([errors.low, errors.high], [y, y], color="black", linewidth=1.2)
        right.annotate(
            f"{errors.mean:.0f}",
            (errors.high, y),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7.5,
        )
    auction = gym.make(str(rows[0]["env"])).unwrapped.auction  # type: ignore[attr-defined]
    perfect = 1000.0 * auction.falling_pairs().sum()
    right.axvline(perfect, color="tab:red", linestyle="--", linewidth=1.2, zorder=0)
    right.text(
        perfect,
        len(names) - 0.45,
        f" a perfect critic: {perfect:.0f}",
        color="tab:red",
        fontsize=7.5,
    )
    left.set_xscale("log")
    left.set_yticks(range(len(names)), [_label(name) for name in names])
    left.set_ylim(-0.6, len(names) + 0.1)
    left.set_xlabel(f"regret  V* - V   (left is better; drawn at least {_SMALLEST:g})")
    left.grid(axis="x", alpha=0.25)
    right.set_xlabel("monotonicity errors in 1,000 contexts")
    right.margins(x=0.15)
    right.grid(axis="x", alpha=0.25)
    first = rows[0]
    seeds = len({row["seed"] for row in rows})
    figure.suptitle(
        f"{first['env']}, {round(100_000 * float(first['fraction'])):,} impressions, "
        f"{int(first['steps']):,} steps, {seeds} seeds (dots), mean with 95 % bootstrap "
        "interval",
        fontsize=10,
    )
    write_png(path, figure)


def _label(name: str) -> str:
    entry = AUCTION_LEARNERS.get(name)
    if entry is None or not entry.shape:
        return name
    return f"{name}\ntold {entry.shape}"


def _color(name: str) -> str:
    if name.endswith("(online)"):
        return _ONLINE
    if name == CLICK_MODEL:
        return _LIMIT
    entry = AUCTION_LEARNERS.get(name)
    return _OURS if entry is not None and entry.counted else _BASELINE
