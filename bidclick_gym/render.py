"""Pictures of one impression: the context, the reward curve, the bid, the click."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.error import DependencyNotInstalled

from .auction import Auction, expected_reward

_BAR_WIDTH = 32


def render_ansi(auction: Auction, shown: dict[str, Any]) -> str:
    """Text: one line for the context, one bar for the reward of each allowed bid.

    Args:
        auction: the auction being played.
        shown: context (``x``, ``c``) and, after a step, ``bid``, ``click``, ``payment``;
            of a campaign also ``budget_left``, ``impressions_left`` and what was refused.
    """
    x, c = shown["x"], shown["c"]
    rewards = expected_reward(x, c, auction.bid_array)
    lines = [f"context x={x:.3f} c={c:.3f}"]
    for bid, reward in zip(auction.bids, rewards, strict=True):
        bar = "#" * max(0, round(float(reward) * _BAR_WIDTH))
        mark = " <- best" if reward == rewards.max() else ""
        lines.append(f"  bid {bid:<5.3g} E[r]={reward:.4f} {bar}{mark}")
    lines.append(_outcome(shown))
    return "\n".join(lines)


def render_rgb_array(auction: Auction, shown: dict[str, Any]) -> npt.NDArray[np.uint8]:
    """A 400 x 600 picture of the expected-reward curve with the bid marked on it.

    Returns:
        uint8 array of shape ``(400, 600, 3)``.

    Raises:
        gymnasium.error.DependencyNotInstalled: matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DependencyNotInstalled(
            'render_mode="rgb_array" needs matplotlib: '
            "pip install 'bidclick-icac[render]'"
        ) from error
    x, c = shown["x"], shown["c"]
    figure = Figure(figsize=(6.0, 4.0), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    curve = np.linspace(0.0, 1.0, 201)
    axes.plot(curve, expected_reward(x, c, curve), color="0.35", label="expected reward")
    axes.plot(
        auction.bids,
        expected_reward(x, c, auction.bid_array),
        "o",
        color="tab:blue",
        label="allowed bids",
    )
    if "bid" in shown:
        axes.plot(
            [shown["bid"]],
            [shown["expected_reward"]],
            "*",
            markersize=18,
            color="tab:green" if shown["click"] else "tab:red",
            label="bid, clicked" if shown["click"] else "bid, not clicked",
        )
    axes.set(xlabel="bid", ylabel="reward", title=f"x = {x:.3f}, c = {c:.3f}")
    figure.suptitle(_outcome(shown), fontsize=10)
    axes.legend(loc="lower right")
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def _outcome(shown: dict[str, Any]) -> str:
    parts = ["no bid yet"]
    if "bid" in shown:
        clicked = "clicked" if shown["click"] else "not clicked"
        refused = f" ({shown['asked_bid']:.3g} refused)" if shown.get("refused") else ""
        parts = [
            f"bid {shown['bid']:.3g}{refused}: {clicked}, paid {shown['payment']:.3f}, "
            f"reward {shown['click'] - shown['payment']:.3f}"
        ]
    if "budget_left" in shown:
        left = f"{shown['budget_left']:.3f}, {shown['impressions_left']} impressions left"
        parts.append(f"budget {left}")
    return "; ".join(parts)
