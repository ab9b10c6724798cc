"""The picture of ``python -m benchmarks shapes``."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from ..engine import write_png
from .projections_measure import BATCH
from .projections_methods import IDENTITY, OURS, SCIPY, SKLEARN
from .projections_problems import SHAPES
from .projections_verdicts import JUDGED_SIZE, by_round, median

__all__ = ["plot_shapes"]

_COLORS = {
    IDENTITY: "0.55",
    OURS: "tab:blue",
    "qpth": "tab:orange",
    "cvxpylayers": "tab:red",
    "torchisotonic": "tab:green",
    SCIPY: "tab:olive",
    SKLEARN: "tab:brown",
}
_UNIT = f"milliseconds, forward and backward, batch of {BATCH}"
# Points of seven shapes and as many methods leave no corner free.
_BELOW: dict[str, Any] = {
    "loc": "upper center",
    "bbox_to_anchor": (0.5, -0.13),
    "ncols": 3,
    "columnspacing": 1.0,
    "fontsize": 7,
    "frameon": False,
}
_MARKERS = dict(zip(SHAPES, "osD^vP*", strict=True))


def plot_shapes(rows: Sequence[dict[str, Any]], path: pathlib.Path) -> None:
    """Growth with K, and all methods at the size that is judged, as a PNG."""
    figure = Figure(figsize=(12.6, 5.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _growth(left, [row for row in rows if row["part"] == "growth"])
    _methods(
        right,
        [r for r in rows if r["part"] == "projection" and r["size"] == JUDGED_SIZE],
    )
    for axis in (left, right):
        axis.grid(alpha=0.25)
    write_png(path, figure)


def _growth(axis: Any, rows: Sequence[dict[str, Any]]) -> None:
    for shape in (*SHAPES, IDENTITY):
        timed = [r for r in rows if r["shape"] == shape and r["seconds"] is not None]
        sizes = list(dict.fromkeys(r["size"] for r in timed))
        times = [1e3 * median([*by_round(timed, size=s).values()]) for s in sizes]
        color = {"color": _COLORS[IDENTITY]} if shape == IDENTITY else {}
        marker = _MARKERS.get(shape, "")
        axis.plot(sizes, times, marker=marker, markersize=4, label=shape, **color)
    axis.set_xscale("log")
    axis.set_yscale("log")
    sizes = list(dict.fromkeys(row["size"] for row in rows))
    axis.set_xticks(sizes, [f"{int(size):,}" for size in sizes], fontsize=8)
    axis.minorticks_off()
    axis.set_xlabel("actions, K")
    axis.set_ylabel(_UNIT)
    axis.set_title("icac_algo, growing K")
    axis.legend(**_BELOW)


def _methods(axis: Any, rows: Sequence[dict[str, Any]]) -> None:
    shapes = [shape for shape in SHAPES if any(r["shape"] == shape for r in rows)]
    for method, color in _COLORS.items():
        points = [
            (y, list(by_round(rows, shape=shape, method=method).values()))
            for y, shape in enumerate(reversed(shapes))
        ]
        found = [(y, [1e3 * t for t in times]) for y, times in points if times]
        if not found:
            continue
        for y, times in found:
            axis.plot([min(times), max(times)], [y, y], color=color, linewidth=2)
        middles = [median(times) for _, times in found]
        axis.plot(middles, [y for y, _ in found], "o", color=color, label=method)
    axis.set_yticks(range(len(shapes)), list(reversed(shapes)), fontsize=8)
    axis.set_xscale("log")
    axis.margins(x=0.08, y=0.12)
    axis.set_xlabel(f"{_UNIT} (line: range)")
    axis.set_title(f"all methods, K = {JUDGED_SIZE}")
    axis.legend(**_BELOW)
