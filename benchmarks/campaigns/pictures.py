"""Pictures of campaigns: regret, spending over time, and bids over what is left."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from bidclick_gym.campaigns import BudgetedCampaign

from ..engine import bootstrap_mean, write_png
from ..learners.campaigns import CAMPAIGN_LEARNERS

__all__ = [
    "Map",
    "bid_map",
    "draw_bid_maps",
    "draw_regret",
    "draw_spending",
    "draw_value_maps",
    "value_map",
]

Policy = Callable[[npt.NDArray[np.float32]], Any]
Map = npt.NDArray[np.float64]

#: The context at which bids are drawn over what is left: the middle of all.
MIDDLE = (0.5, 0.3)
POINTS = 41


def draw_regret(rows: Sequence[dict[str, Any]], path: pathlib.Path) -> None:
    """Regret of every learner on every log and share: means and intervals over seeds.

    Args:
        rows: as :func:`~benchmarks.campaigns.cells.train_and_measure` gives.
        path: of the PNG.
    """
    logs = list(dict.fromkeys(str(row["log"]) for row in rows))
    fractions = sorted({float(row["fraction"]) for row in rows}, reverse=True)
    names = [n for n in CAMPAIGN_LEARNERS if any(row["learner"] == n for row in rows)][
        ::-1
    ]
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
                color = "tab:blue" if CAMPAIGN_LEARNERS[name].kind == "ours" else "0.45"
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


def _middle(campaign: BudgetedCampaign) -> npt.NDArray[np.float32]:
    """Observations of the middle context, ``(T * P, 4)``: by clock, then by budget."""
    budgets = np.linspace(0.0, campaign.budget, POINTS)
    b, k = np.meshgrid(budgets, np.arange(1, campaign.impressions + 1))
    return campaign.observe(*MIDDLE, b.ravel(), k.ravel())


def bid_map(policy: Policy, campaign: BudgetedCampaign) -> Map:
    """Bids in the middle context over budget left and impressions to come, ``(T, P)``."""
    chosen = np.asarray(policy(_middle(campaign))).reshape(-1, POINTS)
    return campaign.auction.bid_array[chosen]


def value_map(values: Policy, campaign: BudgetedCampaign) -> Map:
    """What the budget is worth in the middle context, ``(T, P)``, in clicks.

    The largest value of a bid, minus that without a budget: a critic may be wrong by a
    constant and bid well.

    Args:
        values: observations ``(N, 4)`` to values ``(N, K)``.
        campaign: what is played.
    """
    best = np.asarray(values(_middle(campaign))).max(axis=1).reshape(-1, POINTS)
    return np.asarray(best - best[:, :1])


def draw_bid_maps(
    maps: Mapping[str, Map], campaign: BudgetedCampaign, path: pathlib.Path
) -> None:
    """Bids of each policy side by side.

    Args:
        maps: by policy, as :func:`bid_map` gives them.
        campaign: what is played.
        path: of the PNG.
    """
    label = f"bid at x = {MIDDLE[0]:g}, c = {MIDDLE[1]:g}"
    _draw_maps(maps, campaign, "viridis", 1.0, label, path)


def draw_value_maps(
    maps: Mapping[str, Map], campaign: BudgetedCampaign, path: pathlib.Path
) -> None:
    """What each critic thinks that the budget is worth, side by side.

    Args:
        maps: by critic, as :func:`value_map` gives them; colors are those of the first.
        campaign: what is played.
        path: of the PNG.
    """
    top = float(next(iter(maps.values())).max())
    _draw_maps(maps, campaign, "magma", top, "worth of the budget left, clicks", path)


def _draw_maps(
    maps: Mapping[str, Map],
    campaign: BudgetedCampaign,
    colors: str,
    top: float,
    label: str,
    path: pathlib.Path,
) -> None:
    figure = Figure(figsize=(2.9 * len(maps) + 0.6, 3.0), layout="constrained")
    axes = figure.subplots(1, len(maps), sharey=True, squeeze=False)[0]
    image = None
    for axis, (name, values) in zip(axes, maps.items(), strict=True):
        image = axis.imshow(
            values,
            extent=(0.0, campaign.budget, 0.5, campaign.impressions + 0.5),
            origin="lower",
            aspect="auto",
            cmap=colors,
            vmin=0.0,
            vmax=top,
            interpolation="nearest",
        )
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("budget left")
    axes[0].set_ylabel("impressions to come")
    if image is not None:
        figure.colorbar(image, ax=list(axes), fraction=0.04).set_label(label)
    write_png(path, figure)


_COLORS = (
    "black",
    "tab:blue",
    "tab:orange",
    "tab:green",
    "tab:red",
    "tab:purple",
)
