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

    label: str  # on the axis; lines of one label stand close together
    values: Mapping[int, float] | Sequence[float]  # one for each seed
    colour: str = BASELINE  # of its dot and interval
    legend: str = ""  # what the colour means
    note: str = ""  # written beside the picture


def dots(
    axis: Any,
    lines: Sequence[Line],
    smallest: float = -np.inf,
    each_seed: bool = False,
    digits: int | None = None,
    marker: str = "o",
) -> dict[str, float]:
    """Means with their bootstrap intervals over seeds, the first line on top.

    Values below ``smallest`` are drawn there, as a logarithmic axis needs; ``digits``
    writes the mean above its dot.  Returns the place of every label.
    """
    places = _places(axis, lines)
    shifts = _shifts(lines)
    legends: set[str] = set()
    for line, shift in zip(lines, shifts, strict=True):
        if not len(line.values):
            continue
        y, colour = places[line.label] + shift, line.colour
        values = np.maximum(figures_of(line.values), smallest)
        mean = bootstrap_mean(values.tolist())
        if each_seed:
            axis.plot(values, np.full(len(values), y), ".", color=colour, alpha=0.35)
        axis.plot([mean.low, mean.high], [y, y], color=colour, linewidth=2)
        label = line.legend if line.legend not in legends else ""
        legends.add(line.legend)
        axis.plot(mean.mean, y, marker, color=colour, label=label)
        if digits is not None:
            text = f"{max(mean.mean, 0.0):.{digits}f}"
            _write(axis, text, (mean.mean, y), (0, 6), color=colour, ha="center")
        if line.note:
            _write(axis, line.note, (1.01, y), coords=("axes fraction", "data"))
    axis.grid(axis="x", color="0.92")
    if legends - {""}:
        axis.legend(fontsize=8, frameon=False)
    return places


def bars(axis: Any, lines: Sequence[Line], digits: int = 0) -> None:
    """The same lines as bars with their means written behind them."""
    places = _places(axis, lines)
    for line in lines:
        if not len(line.values):
            continue
        y, mean = places[line.label], bootstrap_mean(line.values)
        axis.barh(y, mean.mean, height=0.6, color=line.colour, alpha=0.8)
        axis.plot([mean.low, mean.high], [y, y], color="black", linewidth=1.2)
        _write(axis, f"{mean.mean:.{digits}f}", (mean.high, y), (4, 0), va="center")
    axis.margins(x=0.15)
    axis.set_axisbelow(True)
    axis.grid(axis="x", color="0.92")


def _places(axis: Any, lines: Sequence[Line]) -> dict[str, float]:
    labels = list(dict.fromkeys(line.label for line in lines))
    places = {label: float(len(labels) - 1 - i) for i, label in enumerate(labels)}
    axis.set_yticks(list(places.values()), labels, fontsize=8)
    axis.set_ylim(-0.6, len(labels) - 0.25)
    return places


def _shifts(lines: Sequence[Line]) -> list[float]:
    """Lines of one label stand below each other within half a place."""
    shared: dict[str, list[int]] = {}
    for i, line in enumerate(lines):
        shared.setdefault(line.label, []).append(i)
    shifts = np.zeros(len(lines))
    for members in shared.values():
        if len(members) > 1:
            shifts[members] = np.linspace(0.22, -0.22, len(members))
    return list(shifts)


def _write(
    axis: Any,
    text: str,
    place: tuple[float, float],
    shift: tuple[float, float] = (0, 0),
    coords: Any = "data",
    **style: Any,
) -> None:
    style = {"fontsize": 7.5, "va": "bottom" if shift[1] else "center", **style}
    axis.annotate(
        text, place, xytext=shift, xycoords=coords, textcoords="offset points", **style
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
