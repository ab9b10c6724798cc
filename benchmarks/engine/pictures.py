"""Pictures of results: dots with intervals, bars, lines and maps, written as PNG."""

from __future__ import annotations

import dataclasses
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from .files import write_bytes
from .intervals import bootstrap_mean, figures_of

#: Colours of learners, the same in every picture.
OURS, BASELINE, LIMIT, ONLINE = "tab:blue", "0.45", "tab:green", "tab:purple"


def write_png(path: pathlib.Path, figure: Figure, dpi: int = 100) -> None:
    buffer = io.BytesIO()
    # Without the program's version: the same figure gives the same bytes.
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    write_bytes(path, buffer.getvalue())


def subplots(
    width: float, height: float, rows: int = 1, columns: int = 1, **more: Any
) -> tuple[Figure, npt.NDArray[Any]]:
    """A figure and its axes, ``(rows, columns)``; ``more`` as matplotlib's."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a picture of dots or bars: a figure for each seed."""

    label: str  # on the axis
    values: Mapping[int, float] | Sequence[float]  # one for each seed
    colour: str = BASELINE  # of its dot and interval


def dots(
    axis: Any,
    lines: Sequence[Line],
    smallest: float = -np.inf,
    each_seed: bool = False,
    digits: int | None = None,
) -> None:
    """Means with their bootstrap intervals over seeds, the first line on top.

    Values below ``smallest`` are drawn there, as a logarithmic axis needs; ``digits``
    writes the mean above its dot.
    """
    for y, line in _placed(axis, lines):
        values = np.maximum(figures_of(line.values), smallest)
        mean, colour = bootstrap_mean(values.tolist()), line.colour
        if each_seed:
            axis.plot(values, np.full(len(values), y), ".", color=colour, alpha=0.35)
        axis.plot([mean.low, mean.high], [y, y], color=colour, linewidth=2)
        axis.plot(mean.mean, y, "o", color=colour)
        if digits is not None:
            text = f"{max(mean.mean, 0.0):.{digits}f}"
            style = {"color": colour, "ha": "center", "va": "bottom"}
            _write(axis, text, (mean.mean, y), (0, 6), **style)
    axis.grid(axis="x", color="0.92")


def bars(axis: Any, lines: Sequence[Line], digits: int = 0) -> None:
    """The same lines as bars with their means written behind them."""
    for y, line in _placed(axis, lines):
        mean = bootstrap_mean(line.values)
        axis.barh(y, mean.mean, height=0.6, color=line.colour, alpha=0.8)
        axis.plot([mean.low, mean.high], [y, y], color="black", linewidth=1.2)
        _write(axis, f"{mean.mean:.{digits}f}", (mean.high, y), (4, 0), va="center")
    axis.margins(x=0.15)
    axis.set_axisbelow(True)
    axis.grid(axis="x", color="0.92")


def _placed(axis: Any, lines: Sequence[Line]) -> list[tuple[float, Line]]:
    """Lines that have figures, at their heights."""
    heights = [float(len(lines) - 1 - i) for i in range(len(lines))]
    axis.set_yticks(heights, [line.label for line in lines], fontsize=8)
    axis.set_ylim(-0.6, len(lines) - 0.25)
    pairs = zip(heights, lines, strict=True)
    return [(y, line) for y, line in pairs if len(line.values)]


def _write(
    axis: Any,
    text: str,
    at: tuple[float, float],
    shift: tuple[float, float],
    **style: Any,
) -> None:
    axis.annotate(
        text, at, xytext=shift, textcoords="offset points", fontsize=7.5, **style
    )


def paths(
    axis: Any,
    lines: Mapping[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]],
    colours: Mapping[str, str] | None = None,
    band: float = 0.8,
) -> None:
    """The mean of several runs over time, and the middle of them as a band.

    Lines are, by label, x ``(T,)`` and one row for each run, ``(N, T)``.
    """
    for label, (x, runs) in lines.items():
        colour = (colours or {}).get(label)
        (drawn,) = axis.plot(x, np.mean(runs, axis=0), color=colour, label=label)
        if len(runs) > 1:
            ends = np.quantile(runs, [(1.0 - band) / 2.0, (1.0 + band) / 2.0], axis=0)
            axis.fill_between(x, *ends, color=drawn.get_color(), alpha=0.15, linewidth=0)
    axis.grid(color="0.92")
    axis.legend(fontsize=8, frameon=False)
