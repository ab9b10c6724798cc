"""The picture of ``python -m benchmarks speed``."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..engine import write_png
from . import env as speed_env
from . import fit as speed_fit
from . import load as speed_load

__all__ = ["plot_speed"]

_OURS, _THEIRS, _FLOOR = "tab:blue", "0.55", "tab:green"


def plot_speed(rows: dict[str, list[dict[str, Any]]], path: pathlib.Path) -> None:
    """A panel for each part that was measured, as a PNG.

    Args:
        rows: by part.
        path: destination.
    """
    panels = [part for part in ("fit", "load", "env") if rows.get(part)]
    draw = {"fit": _fit, "load": _load, "env": _env}
    figure = Figure(figsize=(5.6 * len(panels), 4.6), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(panels)))
    for axis, part in zip(axes, panels, strict=True):
        draw[part](axis, rows[part])
        axis.grid(alpha=0.25)
    write_png(path, figure)


def _medians(
    rows: list[dict[str, Any]], field: str, *keys: str
) -> dict[tuple[Any, ...], float]:
    values: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        values.setdefault(tuple(row[k] for k in keys), []).append(float(row[field]))
    return {key: float(np.median(found)) for key, found in values.items()}


def _fit(axis: Any, rows: list[dict[str, Any]]) -> None:
    small = [r for r in rows if r["hidden"] == "64x64" and r["batch"] == 256]
    medians = _medians(small, "seconds_per_step", "algorithm", "buffer")
    for y, ((name, buffer), seconds) in enumerate(reversed(medians.items())):
        color = _OURS if buffer == "ours" else _THEIRS
        color = _FLOOR if name == speed_fit.FLOOR else color
        axis.barh(y, 1e3 * seconds, color=color, height=0.65)
        axis.annotate(
            f"{1e3 * seconds:.2f}",
            (1e3 * seconds, y),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    labels = [
        name if buffer == "none" else f"{name} on {buffer}"
        for name, buffer in reversed(medians)
    ]
    axis.set_yticks(range(len(labels)), labels, fontsize=8)
    axis.set_xlabel("milliseconds for a step of fit (64x64, batch 256)")
    axis.margins(x=0.12)


def _load(axis: Any, rows: list[dict[str, Any]]) -> None:
    styles = {
        speed_load.THEIRS: (_THEIRS, "-"),
        speed_load.FROM_MINARI: ("tab:orange", "-"),
        speed_load.FIRST: (_OURS, "--"),
        speed_load.OURS: (_OURS, "-"),
    }
    medians = _medians(rows, "seconds", "kind", "impressions")
    memory = _medians(rows, "peak_bytes", "kind", "impressions")
    for kind, (color, line) in styles.items():
        sizes = [size for k, size in medians if k == kind]
        axis.plot(sizes, [medians[kind, s] for s in sizes], line, color=color, label=kind)
        for size in sizes:
            axis.plot(size, medians[kind, size], "o", color=color, markersize=4)
            axis.annotate(
                _megabytes(memory[kind, size]),
                (size, medians[kind, size]),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=7,
                color=color,
            )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.margins(x=0.12, y=0.12)
    axis.set_xlabel("impressions")
    axis.set_ylabel("seconds to open (label: peak anonymous memory)")
    axis.legend(fontsize=8)


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e7 else f"{size / 1e6:.1f} MB"


def _env(axis: Any, rows: list[dict[str, Any]]) -> None:
    keys = ("environment", "horizon", "autoreset", "num_envs")
    medians = _medians(rows, "impressions_per_second", *keys)
    for group in dict.fromkeys(key[:3] for key in medians):
        name, horizon, mode = group
        counts = [key[3] for key in medians if key[:3] == group]
        rates = [medians[(*group, count)] for count in counts]
        color = _OURS if name == speed_env.BATCHED else _THEIRS
        line = "o-" if horizon == 1000 else "s--"
        if mode == "same_step":
            line = "^"
        elif name == speed_env.SYNC:
            line = "D"
        label = f"{name}, horizon {horizon:,}"
        if name == speed_env.BATCHED:
            label += f", {mode.replace('_', '-')} reset"
        axis.plot(counts, rates, line, color=color, label=label, markersize=6)
    axis.axhline(50e6, color="tab:red", linestyle=":", linewidth=1)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xlabel("environments in a batch (dotted: 50 million a second)")
    axis.set_ylabel("real impressions a second")
    axis.legend(fontsize=7)
