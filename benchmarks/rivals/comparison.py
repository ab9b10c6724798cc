"""Ours beside the layers of others: time, error, and what a hunt finds broken."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from matplotlib.figure import Figure

from ..engine import Results, Settings
from ..engine.markdown import section, table
from ..engine.pictures import subplots
from ..engine.rows import Row, Rows, distinct, select
from ..engine.timing import one_thread, showing
from . import layers
from .layers import COLUMNS
from .problems import BATCH, LARGEST, LONG, OURS, SHAPES, Problem, Reference

SIZES, SHOWN = (5, 21, LONG), 21
COMPARED = ("Monotone", "SlopeBounds(-1, 1)", "Concave", "MonotoneConcave")
#: At the largest size no trial of the others ended within 80 seconds.
AT_ANY_SIZE = ("HardNet-Aff", "torchisotonic")


def compute(settings: Settings) -> Iterator[Row]:
    quick = settings.quick
    with one_thread(), showing("rivals") as show:
        for size in SIZES[:1] if quick else SIZES:
            for shape in COMPARED:
                if size <= LARGEST.get(shape, size):
                    problem = Problem.of(shape, size)
                    reference = Reference.of(problem)
                    for name, make in makers(problem).items():
                        show(f"{name}, {shape}, K = {size}")
                        at = dict.fromkeys(COLUMNS)
                        at |= {"shape": shape, "size": size, "batch": BATCH}
                        at["method"] = name
                        yield from layers.measure(at, make, problem, reference, quick)


def makers(problem: Problem) -> dict[str, Callable[[int], layers.Layer]]:
    """Every layer that is tried at this size, for a batch of so many rows."""
    matrix, bounds = problem.inequalities()
    lengths = np.linalg.norm(matrix, axis=1)
    own = layers.through_torch(SHAPES[problem.shape].project)
    found: dict[str, Callable[[int], layers.Layer]] = {OURS: lambda batch: own}
    for name, make in layers.RIVALS.items():
        if problem.q.shape[1] < LONG or name in AT_ANY_SIZE:
            found[name] = functools.partial(
                make, matrix / lengths[:, None], bounds / lengths
            )
    return found


def sections(results: Results) -> Iterable[str]:
    rows = results["rivals"]
    if rows:
        yield section(
            "Beside the layers of others",
            "The error is against quadprog, relative to the row's scale. A hunt of "
            "random rows, refined around the worst, judges every layer alike: *Broken* "
            "are rows at which any inequality, of length one, is exceeded in what the "
            "layer returns, seen in float64; *Beyond* are those by more than "
            f"{layers.ROUNDING:g} of the row's largest value, which float32 does not "
            "explain; *Largest* is the largest excess, likewise. As many checks as "
            f"{layers.HUNT_LIMIT:g} s allow, {layers.CHECKS:,} at most. qpth, cvxpylayers"
            ", moreau and pinet are not tried at K = 1,001; pinet makes its default of "
            "100 iterations. HardNet-Aff is no projection: its error is how far from the "
            "nearest point it answers.",
            _table(rows),
        )


def picture(results: Results) -> Figure | None:
    """Time against error of every layer at one size, a panel a shape."""
    rows = [r for r in results["rivals"] if r["size"] == SHOWN and r["seconds"]]
    if not rows:
        return None
    names = distinct(results["rivals"], "method")
    figure, axes = subplots(3.2 * len(COMPARED), 3.2, 1, len(COMPARED), sharey=True)
    for axis, shape in zip(axes[0], COMPARED, strict=True):
        for i, name in enumerate(names):
            its = select(rows, shape=shape, method=name)
            if its:
                time = 1e3 * float(np.median([r["seconds"] for r in its]))
                error = max(its[0]["error"], 1e-9)
                axis.loglog(time, error, "o", color=f"C{i}")
        axis.set_title(f"{shape}, K = {SHOWN}", fontsize=9)
        axis.set_xlabel("milliseconds a pass", fontsize=8)
        axis.margins(0.25)
        axis.grid(color="0.92")
    for i, name in enumerate(names):
        axes[0, 0].plot([], [], "o", color=f"C{i}", label=name)
    figure.legend(loc="outside lower center", ncols=len(names), fontsize=8)
    axes[0, 0].set_ylabel("largest error, of the row's scale", fontsize=8)
    return figure


def _table(rows: Rows) -> str:
    """A line for each shape, size and layer."""
    lines = []
    places = [(r["shape"], r["size"], r["method"]) for r in rows]
    for shape, size, method in dict.fromkeys(places):
        its = select(rows, shape=shape, size=size, method=method)
        first, cells = its[0], [""] * 6
        if first["seconds"] is not None:
            milliseconds = 1e3 * float(np.median([r["seconds"] for r in its]))
            counts = [f"{first[n]:,.0f}" for n in ("violations", "beyond", "checks")]
            error, largest = (f"{first[name]:.1e}" for name in ("error", "largest"))
            cells = [f"{milliseconds:.3g}", error, *counts, largest]
        lines.append((shape, f"{size:,.0f}", method, *cells, first["note"] or ""))
    heads = ["Shape", "K", "Layer", "ms", "Error", "Broken", "Beyond", "Checks"]
    return table([*heads, "Largest", ""], lines, "lrlrrrrrrl")
