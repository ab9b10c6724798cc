"""Verdicts, tables and picture of ``python -m benchmarks shapes``, from its rows."""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
import platform
from collections.abc import Iterable, Mapping
from typing import Any

from matplotlib.figure import Figure

from ..engine import Results
from ..engine.markdown import section, table
from ..engine.pictures import subplots
from ..engine.rows import Row, Rows, by_seed, distinct, select
from ..engine.timing import Target, growth_exponent, median, ratio, spread, targets_table
from .methods import IDENTITY, OURS, SCIPY, SKLEARN
from .problems import SHAPES
from .rivals import RIVALS

BATCH = 256
CHECKED = 32
PATIENCE = 5.0
OURS_UPDATE = "ConstraintAwareQ.update"
DQN = "DQN.update"

JUDGED_SIZE = 5
MAX_ERROR = 1e-6
MIN_SPEEDUP = 50.0
MAX_UPDATE = 1.25
MAX_IDENTITY = {name: 4.0 if name == "Monotone" else 6.0 for name in SHAPES}
_LARGE = 101

RULES = f"""\
All ratios are medians over rounds of two times of the same round, at batch {BATCH} and \
K = {JUDGED_SIZE}; figures at any other size decide nothing.

- Cost: a pass of ours takes at most {MAX_IDENTITY["Monotone"]:g} times a pass of the \
identity for Monotone, {MAX_IDENTITY["Concave"]:g} times for the other shapes.
- Error: ours is within {MAX_ERROR:g} of the reference, as the largest absolute \
difference relative to the row's scale (its largest distance from its mean).
- Rivals: a pass of the rival takes at least {MIN_SPEEDUP:g} times as long as ours, and \
ours meets the error; a fast wrong answer is a miss.
- Update: an update of `ConstraintAwareQ` takes at most {MAX_UPDATE:g} times \
`DQN.update`.

What was not run is "not measured": neither reached nor missed."""

_TOY = (
    "**Toy rounds (`--quick`): these figures and verdicts show that the path works and "
    "are not to be quoted.**"
)
_ENVIRONMENT = """\
```sh
python3 -m venv rivals
rivals/bin/pip install torch==2.13.0 "cvxpylayers[torch]==1.2.0" torchisotonic==0.2.1 \\
    setuptools wheel ninja
rivals/bin/pip install --no-deps --no-build-isolation qpth==0.0.18
python -m benchmarks shapes --rivals-python rivals/bin/python
```

qpth asks for numpy below 2 and cvxpylayers' cvxpy for 2 or later; qpth runs on numpy 2 \
once its pin is passed over, which `--no-deps` does, so one environment holds all.  \
torchisotonic compiles its C++ on first use and needs a compiler.  Where a plain \
`pip install torch` would fetch CUDA packages, add \
`--index-url https://download.pytorch.org/whl/cpu` for torch."""


@dataclasses.dataclass(frozen=True)
class FastAndRight(Target):
    """A speed that counts only if the answer is right."""

    error: float = math.nan  # of the answer, ``nan`` if it was not measured

    @property
    def verdict(self) -> str:
        """``reached``, ``missed`` or ``not measured``."""
        if math.isnan(self.error):
            return "not measured"
        if self.error > MAX_ERROR and not math.isnan(self.measured):
            return "missed"
        return super().verdict


def targets(rows: Rows) -> list[Target]:
    judged = select(rows, size=JUDGED_SIZE, batch=BATCH)
    errors = {
        row["shape"]: float(row["error"])
        for row in select(judged, part="projection", method=OURS)
    }

    def times(shape: str, method: str) -> dict[int, float]:
        return _by_round(judged, part="projection", shape=shape, method=method)

    found = []
    for shape, bound in MAX_IDENTITY.items():
        cost = ratio(times(shape, OURS), times(shape, IDENTITY))
        found.append(Target(f"{shape}: ours / identity", cost, bound, False))
    for shape in SHAPES:
        error = errors.get(shape, math.nan)
        found.append(Target(f"{shape}: error of ours", error, MAX_ERROR, False))
    for rival in ("qpth", "cvxpylayers"):
        for shape in SHAPES:
            speedup = ratio(times(shape, rival), times(shape, OURS))
            error = errors.get(shape, math.nan)
            name = f"{shape}: {rival} / ours"
            found.append(FastAndRight(name, speedup, MIN_SPEEDUP, True, error))
    ours, theirs = (
        _by_round(judged, part="update", method=name) for name in (OURS_UPDATE, DQN)
    )
    name = f"{OURS_UPDATE} / {DQN}"
    return [*found, Target(name, ratio(ours, theirs), MAX_UPDATE, False)]


def _by_round(rows: Rows, **where: Any) -> dict[int, float]:
    return by_seed(rows, "seconds", "round", **where)


def sections(results: Results) -> Iterable[str]:
    """Verdicts, then a table for each part, in Markdown."""
    rows = results["shapes"]
    if "--quick" in results.origin.command:
        yield _TOY
    rivals = {row["method"]: row["note"] for row in select(rows, part="rival")}
    listed = ", ".join(f"{name} {version}" for name, version in rivals.items())
    yield (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()}; everything on one "
        f"thread.  Rivals: {listed or 'not run'}."
    )
    yield (
        "A pass is forward, the loss `(u * weights).sum()` with fixed random weights, "
        "and backward, from float32 to float32.  Medians over rounds in which all is "
        "timed in turn; the smallest and largest round in brackets."
    )
    yield section("Verdict", RULES, targets_table(targets(rows)))
    compared = select(rows, part="projection")
    for size in distinct(compared, "size"):
        yield _methods(select(compared, size=size))
    yield _notes(compared)
    yield _growth(select(rows, part="growth"))
    yield _updates(select(rows, part="update"))
    yield section("The rivals' environment", _ENVIRONMENT)


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [
        line.partition(":")[2].strip() for line in lines if line[:10] == "model name"
    ]
    return names[0] if names else platform.processor() or platform.machine()


def _methods(rows: Rows) -> str:
    lines: list[tuple[Any, ...]] = []
    for shape, method in distinct(rows, "shape", "method"):
        times, identity, ours = (
            _by_round(rows, shape=shape, method=m) for m in (method, IDENTITY, OURS)
        )
        first = select(rows, shape=shape, method=method)[0]
        if not times:
            lines.append((shape, method, f"not run: {first['note']}", "", "", ""))
            continue
        ratios = (f"{ratio(times, base):.3g}" for base in (identity, ours))
        error = "" if method == IDENTITY else f"{first['error']:.1e}"
        lines.append((shape, method, spread(times, 1e3), *ratios, error))
    return section(
        f"Milliseconds a pass, K = {rows[0]['size']:.0f}, batch {rows[0]['batch']:.0f}",
        table(
            ["Shape", "Method", "Time", "x identity", "x ours", "Error"], lines, "llrrrr"
        ),
    )


def _notes(rows: Rows) -> str:
    residual = max((r["residual"] for r in rows if r["residual"] is not None), default=0)
    return (
        f"Errors are against quadprog in float64, on up to {CHECKED} rows of each "
        f"problem, relative to the row's scale; quadprog itself meets the optimality "
        f"conditions to {residual:.1e} of it.  Rows are a random parabola plus noise of "
        f"unit size.\n\n{SCIPY} and {SKLEARN} go forward only: their time holds an "
        "average of the gradient over pools, in numpy, that we wrote.  "
        f"{' and '.join(RIVALS[:2])} get float64 (qpth needs it) and one thread; "
        "cvxpylayers runs its default solver at its default accuracy, which the error "
        "shows.  Building a layer is not timed."
    )


def _growth(rows: Rows) -> str:
    sizes = distinct(rows, "size")
    lines = []
    for shape in distinct(rows, "shape"):
        times = {size: median(_by_round(rows, shape=shape, size=size)) for size in sizes}
        cells = ["not run" if math.isnan(t) else f"{1e3 * t:.3g}" for t in times.values()]
        large = {s: t for s, t in times.items() if s >= _LARGE and not math.isnan(t)}
        slope = growth_exponent([*large], [*large.values()]) if large else math.nan
        lines.append((shape, *cells, "" if math.isnan(slope) else f"{slope:.2f}"))
    heads = [f"K = {size:,.0f}" for size in sizes]
    return section(
        "Growth of ours with K",
        f"Milliseconds a pass, batch {rows[0]['batch']:.0f}, median; the exponent is "
        f"the slope of log time against log K from K = {_LARGE}.  A shape that takes "
        f"over {PATIENCE:g} s is timed once and not followed further.",
        table(["", *heads, "Exponent"], lines, "l" + "r" * (len(heads) + 1)),
    )


def _updates(rows: Rows) -> str:
    lines = [
        (name, spread(_by_round(rows, method=name), 1e3))
        for name in distinct(rows, "method")
    ]
    return section(
        "Milliseconds an update",
        "A log of BidClick-v0 (2 features, 5 bids), batches of 256 drawn beforehand; "
        "encoders of [64, 64], all else default: the functional critic over Concave.",
        table(["", "Time"], lines, "lr"),
    )


_COLOURS = {
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
_BELOW: Mapping[str, Any] = {
    "loc": "upper center",
    "bbox_to_anchor": (0.5, -0.13),
    "ncols": 3,
    "columnspacing": 1.0,
    "fontsize": 7,
    "frameon": False,
}
_MARKERS = dict(zip(SHAPES, "osD^vP*", strict=True))


def draw(results: Results) -> Figure | None:
    """Growth with K, and all methods at the size that is judged."""
    rows = results["shapes"]
    if not rows:
        return None
    figure, ((left, right),) = subplots(12.6, 5.4, columns=2)
    _draw_growth(left, select(rows, part="growth"))
    _draw_methods(right, select(rows, part="projection", size=JUDGED_SIZE))
    for axis in (left, right):
        axis.grid(alpha=0.25)
        axis.legend(**_BELOW)
    return figure


def _draw_growth(axis: Any, rows: Rows) -> None:
    for shape in (*SHAPES, IDENTITY):
        timed: list[Row] = [
            r for r in select(rows, shape=shape) if r["seconds"] is not None
        ]
        sizes = distinct(timed, "size")
        times = [1e3 * median(_by_round(timed, size=s)) for s in sizes]
        colour = {"color": _COLOURS[IDENTITY]} if shape == IDENTITY else {}
        marker = _MARKERS.get(shape, "")
        axis.plot(sizes, times, marker=marker, markersize=4, label=shape, **colour)
    axis.set_xscale("log")
    axis.set_yscale("log")
    sizes = distinct(rows, "size")
    axis.set_xticks(sizes, [f"{size:,.0f}" for size in sizes], fontsize=8)
    axis.minorticks_off()
    axis.set_xlabel("actions, K")
    axis.set_ylabel(_UNIT)
    axis.set_title("icac_algo, growing K")


def _draw_methods(axis: Any, rows: Rows) -> None:
    shapes = [shape for shape in SHAPES if select(rows, shape=shape)]
    for method, colour in _COLOURS.items():
        middles, places = [], []
        for y, shape in enumerate(reversed(shapes)):
            rounds = _by_round(rows, shape=shape, method=method)
            if not rounds:
                continue
            times = [1e3 * seconds for seconds in rounds.values()]
            axis.plot([min(times), max(times)], [y, y], color=colour, linewidth=2)
            middles.append(median(times))
            places.append(y)
        if places:
            axis.plot(middles, places, "o", color=colour, label=method)
    axis.set_yticks(range(len(shapes)), list(reversed(shapes)), fontsize=8)
    axis.set_xscale("log")
    axis.margins(x=0.08, y=0.12)
    axis.set_xlabel(f"{_UNIT} (line: range)")
    axis.set_title(f"all methods, K = {JUDGED_SIZE}")
