"""The report of ``python -m benchmarks shapes``, computed from its rows."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import os
import pathlib
import platform
from collections.abc import Sequence
from typing import Any

from .projections_measure import FULL, QUICK, Plan
from .projections_methods import IDENTITY, OURS, SCIPY, SKLEARN
from .projections_update import ACTOR, DQN, OURS_UPDATE
from .projections_verdicts import RULES, by_round, median, shape_targets
from .rivals_client import RIVALS
from .speed import growth_exponent

__all__ = ["About", "shapes_report"]

Row = dict[str, Any]

_INSTALLED = ("torch", "numpy", "scipy", "scikit-learn", "d3rlpy", "quadprog")
_LARGE = 101
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
class About:
    """What a run was.

    Args:
        command: the command line.
        plan: how much was measured.
        rivals: versions of what the other interpreter has; empty without one.
    """

    command: str
    plan: Plan = FULL
    rivals: dict[str, str] = dataclasses.field(default_factory=dict)


def shapes_report(rows: Sequence[Row], about: About) -> str:
    """Verdicts, then a table for each part, in Markdown."""
    lines = ["# Projection layers", ""]
    if about.plan is QUICK:
        lines += [_TOY, ""]
    lines += [
        f"`{about.command}`",
        "",
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()}; everything on one "
        f"thread.  {_versions()}.",
        "",
        f"Rivals: {_listed(about.rivals) if about.rivals else 'not run'}.",
        "",
        "A pass is forward, the loss `(u * weights).sum()` with fixed random weights, "
        "and backward, from float32 to float32.  Medians over rounds in which all is "
        "timed in turn; the smallest and largest round in brackets.",
        "",
        "## Verdicts",
        "",
        RULES,
        "",
        "| Target | Measured | To reach | |",
        "| --- | ---: | ---: | --- |",
    ]
    for target in shape_targets(rows):
        sign = ">=" if target.at_least else "<="
        figure = "" if math.isnan(target.measured) else f"{target.measured:.3g}"
        lines.append(
            f"| {target.name} | {figure} | {sign} {target.bound:.3g} | {target.verdict} |"
        )
    compared = [row for row in rows if row["part"] == "projection"]
    for size in dict.fromkeys(row["size"] for row in compared):
        lines += ["", *_methods([row for row in compared if row["size"] == size])]
    lines += ["", *_notes(compared, about.plan)]
    lines += ["", *_growth([row for row in rows if row["part"] == "growth"], about.plan)]
    lines += ["", *_updates([row for row in rows if row["part"] == "update"])]
    lines += ["", "## The rivals' environment", "", _ENVIRONMENT]
    return "\n".join(lines) + "\n"


def _processor() -> str:
    try:
        told = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        told = []
    names = [line.partition(":")[2].strip() for line in told if line[:10] == "model name"]
    return names[0] if names else platform.processor() or platform.machine()


def _versions() -> str:
    found = {"Python": platform.python_version()}
    return _listed({**found, **{n: importlib.metadata.version(n) for n in _INSTALLED}})


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _spread(values: Sequence[float]) -> str:
    middle, low, high = (1e3 * f for f in (median(values), min(values), max(values)))
    return f"{middle:.3g} [{low:.3g}, {high:.3g}]"


def _methods(rows: Sequence[Row]) -> list[str]:
    size, batch = int(rows[0]["size"]), int(rows[0]["batch"])
    lines = [
        f"## Milliseconds a pass, K = {size}, batch {batch}",
        "",
        "| Shape | Method | Time | x identity | x ours | Error |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for shape, method in dict.fromkeys((r["shape"], r["method"]) for r in rows):
        times, identity, ours = (
            by_round(rows, shape=shape, method=m) for m in (method, IDENTITY, OURS)
        )
        if not times:
            note = next(
                r["note"] for r in rows if (r["shape"], r["method"]) == (shape, method)
            )
            lines.append(f"| {shape} | {method} | not run: {note} | | | |")
            continue
        error = next(
            r["error"] for r in rows if (r["shape"], r["method"]) == (shape, method)
        )
        ratios = [
            f"{median([times[turn] / base[turn] for turn in times]):.3g}"
            for base in (identity, ours)
        ]
        told = "" if method == IDENTITY else f"{error:.1e}"
        lines.append(
            f"| {shape} | {method} | {_spread(list(times.values()))} "
            f"| {ratios[0]} | {ratios[1]} | {told} |"
        )
    return lines


def _notes(rows: Sequence[Row], plan: Plan) -> list[str]:
    residual = max(
        (r["residual"] for r in rows if r["residual"] is not None), default=0.0
    )
    return [
        f"Errors are against quadprog in float64, on up to {plan.checked} rows of each "
        f"problem, relative to the row's scale; quadprog itself meets the optimality "
        f"conditions to {residual:.1e} of it.  Rows are a random parabola plus noise of "
        "unit size.",
        "",
        f"{SCIPY} and {SKLEARN} go forward only: their time holds an average of the "
        "gradient over pools, in numpy, that we wrote.  "
        f"{' and '.join(RIVALS[:2])} get float64 (qpth needs it) and one thread; "
        "cvxpylayers runs its default solver at its default accuracy, which the error "
        "shows.  Building a layer is not timed.",
    ]


def _growth(rows: Sequence[Row], plan: Plan) -> list[str]:
    sizes = list(dict.fromkeys(r["size"] for r in rows))
    lines = [
        "## Growth of ours with K",
        "",
        f"Milliseconds a pass, batch {int(rows[0]['batch'])}, median; the exponent is "
        f"the slope of log time against log K from K = {_LARGE}.  A shape that takes "
        f"over {plan.patience:g} s is timed once and not followed further.",
        "",
        f"| | {' | '.join(f'K = {int(size):,}' for size in sizes)} | Exponent |",
        f"| --- | {' | '.join('---:' for _ in sizes)} | ---: |",
    ]
    for shape in dict.fromkeys(r["shape"] for r in rows):
        times = {
            s: median([*by_round(rows, shape=shape, size=s).values()]) for s in sizes
        }
        cells = ["not run" if math.isnan(t) else f"{1e3 * t:.3g}" for t in times.values()]
        large = {s: t for s, t in times.items() if s >= _LARGE and not math.isnan(t)}
        slope = growth_exponent(list(large), list(large.values())) if large else math.nan
        told = "" if math.isnan(slope) else f"{slope:.2f}"
        lines.append(f"| {shape} | {' | '.join(cells)} | {told} |")
    return lines


def _updates(rows: Sequence[Row]) -> list[str]:
    lines = [
        "## Milliseconds an update",
        "",
        "A log of BidClick-v0 (2 features, 5 bids), batches of 256 drawn beforehand; "
        "encoders of [64, 64], all else default: the functional critic over Concave.",
        "",
        "| | Time |",
        "| --- | ---: |",
    ]
    for name in (OURS_UPDATE, DQN, ACTOR):
        lines.append(f"| {name} | {_spread([*by_round(rows, method=name).values()])} |")
    return [
        *lines,
        "",
        "The bare actor is a categorical policy of the same size: forward, the loss over "
        "all actions, backward, a step of fused Adam (the cheaper form, which makes the "
        "target harder).",
    ]
