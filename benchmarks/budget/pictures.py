"""Pictures of campaigns: regret, spending over time, and bids over what is left."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from bidclick_gym.budget import BudgetedCampaign, Solution

from ..files import write_png
from ..intervals import bootstrap_mean
from .algorithms import LEARNERS

__all__ = ["BidMap", "bid_map", "draw_bid_maps", "draw_regret", "draw_spending"]

Policy = Callable[[npt.NDArray[np.float32]], Any]
BidMap = npt.NDArray[np.float64]

#: The context at which bids are drawn over what is left: the middle of all.
MIDDLE = (0.5, 0.3)
POINTS = 41


def draw_regret(rows: Sequence[dict[str, Any]], path: pathlib.Path) -> None:
    """Regret of every learner on every log and share: means and intervals over seeds.

    Args:
        rows: as :func:`~benchmarks.budget.cells.train_and_measure` gives.
        path: of the PNG.
    """
    logs = list(dict.fromkeys(str(row["log"]) for row in rows))
    fractions = sorted({float(row["fraction"]) for row in rows}, reverse=True)
    names = [n for n in LEARNERS if any(row["learner"] == n for row in rows)][::-1]
    figure = Figure(
        figsize=(2.0 + 2.7 * len(fractions), 0.9 + (0.6 + 0.3 * len(names)) * len(logs)),
        layout="constrained",
    )
    axes = figure.subplots(
        len(logs), len(fractions), sharex=True, sharey=True, squeeze=False
    )
    for i, log in enumerate(logs):
        for j, fraction in enumerate(fractions):
            axis = axes[i][j]
            for y, name in enumerate(names):
                values = [
                    float(row["regret"])
                    for row in rows
                    if (row["learner"], row["log"], row["fraction"])
                    == (name, log, fraction)
                ]
                if not values:
                    continue
                found = bootstrap_mean(values)
                color = "tab:blue" if LEARNERS[name].ours else "0.45"
                axis.plot([found.low, found.high], [y, y], color=color, linewidth=2)
                axis.plot(found.mean, y, "o", color=color)
            axis.set_title(f"{log} log, {100.0 * fraction:g} % of it", fontsize=9)
            axis.grid(axis="x", color="0.92")
    axes[0][0].set_yticks(range(len(names)), names)
    for axis in axes[-1]:
        axis.set_xlabel("regret, clicks a campaign")
    write_png(path, figure)


def draw_spending(
    paths: Mapping[str, npt.NDArray[np.float64]],
    campaign: BudgetedCampaign,
    path: pathlib.Path,
) -> None:
    """What is left of the budget over a campaign: mean and middle 80 %.

    Args:
        paths: remaining budget before each impression and at the end, by policy,
            ``(episodes, T + 1)``.
        campaign: what was played.
        path: of the PNG.
    """
    figure = Figure(figsize=(6.6, 3.6), layout="constrained")
    axis = figure.subplots()
    steps = np.arange(campaign.impressions + 1)
    for color, (name, left) in zip(_COLORS, paths.items(), strict=False):
        low, high = np.quantile(left, [0.1, 0.9], axis=0)
        axis.fill_between(steps, low, high, color=color, alpha=0.15, linewidth=0)
        axis.plot(steps, left.mean(axis=0), color=color, label=name)
    axis.set_xlabel("impressions played")
    axis.set_ylabel("budget left, clicks")
    axis.set_ylim(0.0, campaign.budget * 1.02)
    axis.legend(fontsize=8, frameon=False)
    axis.set_title("Spending: mean, and 80 % of campaigns", fontsize=10)
    write_png(path, figure)


def bid_map(policy: Policy, campaign: BudgetedCampaign) -> BidMap:
    """Bids in the middle context over budget left and impressions to come, ``(T, P)``."""
    budgets = np.linspace(0.0, campaign.budget, POINTS)
    clock = np.arange(1, campaign.impressions + 1)
    b, k = np.meshgrid(budgets, clock)
    observations = campaign.observe(*MIDDLE, b.ravel(), k.ravel())
    chosen = np.asarray(policy(observations)).reshape(b.shape)
    return campaign.auction.bid_array[chosen]


def draw_bid_maps(
    maps: Mapping[str, BidMap], solution: Solution, path: pathlib.Path
) -> None:
    """Bids of each policy side by side, and the value of the optimum.

    Args:
        maps: by policy, as :func:`bid_map` gives them.
        solution: the exact optimum.
        path: of the PNG.
    """
    campaign = solution.campaign
    extent = (0.0, campaign.budget, 0.5, campaign.impressions + 0.5)
    figure = Figure(figsize=(2.7 * (len(maps) + 1), 3.3), layout="constrained")
    axes = figure.subplots(1, len(maps) + 1, sharey=True)
    image = None
    for axis, (name, bids) in zip(axes, maps.items(), strict=False):
        image = axis.imshow(
            bids,
            extent=extent,
            origin="lower",
            aspect="auto",
            cmap="viridis",
            vmin=0.0,
            vmax=1.0,
            interpolation="nearest",
        )
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("budget left")
    axes[0].set_ylabel("impressions to come")
    if image is not None:
        bar = figure.colorbar(image, ax=list(axes[: len(maps)]), fraction=0.04)
        bar.set_label(f"bid at x = {MIDDLE[0]:g}, c = {MIDDLE[1]:g}")
    last = axes[-1]
    clock = np.arange(1, campaign.impressions + 1)
    gain = solution.values[1:] - solution.values[1:, :1]
    lines = last.contour(solution.budgets, clock, gain, levels=8, cmap="magma")
    last.clabel(lines, fontsize=7)
    last.set_title("optimum: V(b) - V(0), clicks", fontsize=9)
    last.set_xlabel("budget left")
    write_png(path, figure)


_COLORS = ("black", "tab:blue", "tab:orange", "tab:green", "tab:red")
