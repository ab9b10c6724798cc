"""Pictures of one impression: the context, the reward curve, the bid, the click."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.error import DependencyNotInstalled

from .auction import Auction, expected_reward

_BAR_WIDTH = 32


def render_ansi(auction: Auction, shown: dict[str, Any]) -> str:
    """Text: one line for the context, one bar for the reward of each allowed bid."""
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
    """The expected-reward curve with the bid marked on it, uint8 ``(400, 600, 3)``."""
    with _matplotlib():
        picture = _picture_of(auction.bids, auction.cost_range)
    return picture.draw(shown)


def render_replay(budget: float, shown: list[dict[str, Any]], as_text: bool) -> Any:
    """An episode of replayed auctions: its last impression as text, or a picture.

    ``shown`` is the information of its reset and of each step.
    """
    last = shown[-1]
    text = "no bid yet"
    if len(shown) > 1:
        won = "clicked" if last.get("click") else "won" if last["won"] else "lost"
        text = f"bid {last['bid']:.6g}: {won}, paid {last['payment']:.6g}"
    text += (
        f"; budget {last['budget_left']:.6g}, {last['impressions_left']} impressions left"
    )
    if as_text:
        return text
    with _matplotlib():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    figure = Figure(figsize=(6.0, 4.0), dpi=100)
    canvas, axes = FigureCanvasAgg(figure), figure.add_axes((0.14, 0.13, 0.83, 0.75))
    to_come = [step["impressions_left"] for step in shown]
    axes.plot(to_come, [step["budget_left"] for step in shown], label="budget left")
    start = shown[0]["impressions_left"], shown[0]["budget_left"]
    axes.plot((start[0], 0), (start[1], 0.0), ":", color="0.5", label="even pace")
    axes.set(xlabel="impressions left", ylabel="budget left", title=text)
    axes.set(xlim=(start[0], 0), ylim=(0.0, 1.05 * budget))
    axes.legend(loc="upper right")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


@contextlib.contextmanager
def _matplotlib() -> Iterator[None]:
    """Makes a failed import say how to install what is missing."""
    try:
        yield
    except ImportError as error:
        raise DependencyNotInstalled(
            'render_mode="rgb_array" needs matplotlib: '
            "pip install 'bidclick-icac[render]'"
        ) from error


class _Picture:
    """What all pictures of an auction share, drawn once; the rest over a copy of it."""

    def __init__(self, auction: Auction):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._bids, self._bid_grid = auction.bid_array, np.linspace(0.0, 1.0, 201)
        self._figure = Figure(figsize=(6.0, 4.0), dpi=100)
        self._canvas = FigureCanvasAgg(self._figure)
        axes = self._figure.add_axes((0.11, 0.13, 0.86, 0.7))
        ends = [
            expected_reward(x, c, self._bid_grid)
            for x in (0.0, 1.0)
            for c in auction.cost_range
        ]
        axes.set(xlabel="bid", ylabel="reward", xlim=(-0.04, 1.04))
        axes.set_ylim(np.min(ends) - 0.15, np.max(ends) + 0.03)
        (self._curve,) = axes.plot([], color="0.35", label="expected reward")
        (self._allowed,) = axes.plot([], "o", color="tab:blue", label="allowed bids")
        # Red where there was no click, green where there was one.
        self._stars = [
            axes.plot([], "*", markersize=18, color=color)[0]
            for color in ("tab:red", "tab:green")
        ]
        axes.legend(loc="lower right")
        self._canvas.draw()
        self._background = self._canvas.copy_from_bbox(self._figure.bbox)
        self._title = self._figure.text(0.54, 0.86, "", ha="center", fontsize=12)
        self._outcome = self._figure.text(0.5, 0.94, "", ha="center", fontsize=10)

    def draw(self, shown: dict[str, Any]) -> npt.NDArray[np.uint8]:
        x, c = shown["x"], shown["c"]
        self._canvas.restore_region(self._background)
        self._curve.set_data(self._bid_grid, expected_reward(x, c, self._bid_grid))
        self._allowed.set_data(self._bids, expected_reward(x, c, self._bids))
        self._title.set_text(f"x = {x:.3f}, c = {c:.3f}")
        self._outcome.set_text(_outcome(shown))
        artists = [self._curve, self._allowed, self._title, self._outcome]
        if "bid" in shown:
            star = self._stars[shown["click"]]
            star.set_data([shown["bid"]], [shown["expected_reward"]])
            artists.append(star)
        for artist in artists:
            self._figure.draw_artist(artist)
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()


@functools.lru_cache(maxsize=8)
def _picture_of(bids: tuple[float, ...], cost_range: tuple[float, float]) -> _Picture:
    return _Picture(Auction(bids, cost_range))


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
