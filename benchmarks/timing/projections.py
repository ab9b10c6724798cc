"""``python -m benchmarks shapes``: what a projection costs, and whether it is right."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..engine import Experiment, Part, Results, Settings, register
from ..engine.markdown import section, table
from ..engine.rows import Row, Rows, by_seed, distinct, select
from ..engine.timing import (
    Target,
    growth_exponent,
    in_turn,
    median,
    one_thread,
    ratio,
    seconds_of,
    showing,
    targets_table,
)
from ..rivals import comparison, layers
from ..rivals.problems import (
    BATCH,
    CHECKED,
    IDENTITY,
    LARGEST,
    OURS,
    SHAPES,
    Problem,
    Reference,
)

SIZES, QUICK_SIZES = (3, 5, 11, 21, 51, 101, 201, 1001), (5, 11)
JUDGED_SIZE, LARGE = 5, 101
#: What one timing should take; faster methods are repeated.
SECONDS = 0.05
MAX_ERROR = 1e-6
MAX_IDENTITY = {name: 4.0 if name == "Monotone" else 6.0 for name in SHAPES}


# -- measuring -----------------------------------------------------------------

COLUMNS = (
    *("part", "shape", "size", "batch", "method", "round", "seconds"),
    *("error", "residual"),
)


def _compute(settings: Settings) -> Iterator[Row]:
    quick = settings.quick
    with one_thread(), showing("shapes") as show:
        for size in QUICK_SIZES if quick else SIZES:
            for shape in SHAPES:
                if size <= LARGEST.get(shape, size):
                    show(f"{shape}, K = {size}")
                    yield from measure_methods(Problem.of(shape, size), quick)


def measure_methods(problem: Problem, quick: bool) -> Iterator[Row]:
    """All methods on one problem, in turn, with the errors of their solutions."""
    reference = Reference.of(problem, 4 if quick else None)
    batch, size = problem.q.shape
    methods, timed, errors = problem.methods(), {}, {}
    for name, one_pass in methods.items():
        # The identity solves another problem.
        error = reference.error_of(one_pass())
        errors[name] = None if name == IDENTITY else error
        most = 1 if quick else round(SECONDS / seconds_of(one_pass))
        timed[name] = functools.partial(_repeated, one_pass, max(1, min(2000, most)))
    for name, turn, seconds in in_turn(timed, 2 if quick else 7):
        yield {
            "part": "projection",
            "shape": problem.shape,
            "size": size,
            "batch": batch,
            "method": name,
            "round": turn,
            "seconds": seconds,
            "error": errors[name],
            "residual": reference.residual,
        }


def _repeated(one_pass: Callable[[], Any], repeats: int) -> float:
    return seconds_of(lambda: [one_pass() for _ in range(repeats)]) / repeats


# -- report --------------------------------------------------------------------

RULES = f"""\
All ratios are medians over rounds of two times of the same round, at batch {BATCH} and \
K = {JUDGED_SIZE}; figures at any other size decide nothing.

- Cost: a pass of ours takes at most {MAX_IDENTITY["Monotone"]:g} times a pass of the \
identity for Monotone, {MAX_IDENTITY["Concave"]:g} times for the other shapes.
- Error: ours is within {MAX_ERROR:g} of the reference, as the largest absolute \
difference relative to the row's scale (its largest distance from its mean)."""


def targets(rows: Rows) -> list[Target]:
    judged = select(rows, size=JUDGED_SIZE, batch=BATCH)
    found = []
    for shape, bound in MAX_IDENTITY.items():
        cost = ratio(*(_times(judged, shape=shape, method=m) for m in (OURS, IDENTITY)))
        found.append(Target(f"{shape}: ours / identity", cost, bound, False))
    for shape in SHAPES:
        ours = select(judged, shape=shape, method=OURS)
        error = float(ours[0]["error"]) if ours else math.nan
        found.append(Target(f"{shape}: error of ours", error, MAX_ERROR, False))
    return found


def _times(rows: Rows, **where: Any) -> dict[int, float]:
    return by_seed(rows, "seconds", "round", **where)


def _sections(results: Results) -> Iterable[str]:
    rows = results["shapes"]
    yield (
        "A pass is forward, the loss `(u * weights).sum()` with fixed random weights, "
        "and backward, from float32 to float32, on one thread; all is timed in turn, "
        "round after round."
    )
    yield section("Verdict", RULES, targets_table(targets(rows)))
    compared = select(rows, part="projection")
    yield _growth(compared)
    residual = max(r["residual"] for r in compared if r["residual"] is not None)
    yield (
        f"Errors are against quadprog in float64, on up to {CHECKED} rows of each "
        f"problem, relative to the row's scale; quadprog itself meets the optimality "
        f"conditions to {residual:.1e} of it.  Rows are a random parabola plus noise of "
        "unit size."
    )
    yield from comparison.sections(results)


def _growth(rows: Rows) -> str:
    sizes = sorted(distinct(rows, "size"))
    lines = []
    for shape in SHAPES:
        ours = select(rows, shape=shape, method=OURS)
        times = [median(_times(ours, size=size)) for size in sizes]
        timed = [i for i, seconds in enumerate(times) if not math.isnan(seconds)]
        large = [i for i in timed if sizes[i] >= LARGE]
        slope = growth_exponent([sizes[i] for i in large], [times[i] for i in large])
        error = max(row["error"] for row in ours if row["error"] is not None)
        cells = [f"{1e3 * times[i]:.3g}" if i in timed else "" for i in range(len(times))]
        shown = "" if math.isnan(slope) else f"{slope:.2f}"
        lines.append((shape, *cells, shown, f"{error:.1e}"))
    heads = [f"K = {size:,.0f}" for size in sizes]
    return section(
        "Milliseconds a pass",
        f"Batch {BATCH}, median over rounds; the exponent is the slope of log time "
        f"against log K from K = {LARGE}, the error the largest at any size.",
        table(["", *heads, "Exponent", "Error"], lines, "l" + "r" * (len(heads) + 2)),
    )


register(
    Experiment(
        "shapes",
        "the projection layer: time, and error against an exact solver",
        parts=[
            Part("shapes", COLUMNS, compute=_compute),
            Part("rivals", layers.COLUMNS, compute=comparison.compute),
        ],
        pictures={"rivals.png": comparison.picture},
        title="Projection layers",
        sections=_sections,
        quick={},
        report="shapes.md",
    )
)
