"""``python -m benchmarks violations``: where ours and others break the shape they state."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Iterator

import numpy as np
from matplotlib.figure import Figure

from ..engine import Experiment, Option, Part, Results, Settings, quiet_logs, register
from ..engine.command_line import positive_int
from ..engine.markdown import section, table
from ..engine.pictures import BASELINE, subplots
from ..engine.pictures import OURS as OUR_COLOUR
from ..engine.rows import Row, Rows
from ..engine.timing import one_thread, showing
from .hunt import FloatArray, Found, hunt
from .models import BOTH, CONTROL, OURS, Learner, Log, Predict, learners, log_of

COLUMNS = (
    *("learner", "settings", "log", "shape", "version", "where", "checks"),
    *("violations", "beyond_rounding", "largest", "seconds"),
)
LOGGED, EXTREME = "logged range", "huge and tiny"
ROUNDING = 1e-6  # of the spread of predictions
STEPS, QUICK_STEPS = 1500, 10
HUGE = 1e30


def measure(learner: Learner, predict: Predict, where: str, checks: int) -> Row:
    """What a hunt finds: states and two bids, three where the shape is concave."""
    log, beyond = log_of(learner.log), 0
    spread = float(np.ptp(predict(log.states, log.bids).astype(np.float64)))
    place = functools.partial(_placed, learner, log, where)

    def violation(points: FloatArray) -> FloatArray:
        nonlocal beyond
        states, bids = place(points)
        values = np.column_stack([predict(states, column) for column in bids.T])
        sizes = spread if where == LOGGED else np.maximum(spread, np.abs(values).max(1))
        found = broken(bids, values.astype(np.float64), learner.shape) / sizes
        beyond += int(np.count_nonzero(~(found <= ROUNDING)))
        return np.asarray(found)

    started = time.perf_counter()
    found = hunt(violation, *_box(learner, log, where), checks, seed=0)
    return {
        **_row(learner, where, found),
        "beyond_rounding": beyond,
        "seconds": time.perf_counter() - started,
    }


def broken(bids: FloatArray, values: FloatArray, shape: str) -> FloatArray:
    """By how much ascending bids and their values ``(B, 2 or 3)`` break a shape."""
    before, after = values[:, :-1], values[:, 1:]
    # Two infinite values are equal, but their difference is no number.
    falls = np.where(before == after, 0.0, before - after).max(axis=1)
    if shape != BOTH:
        return np.asarray(falls)
    (a, b, c), (low, middle, high) = bids.T, values.T
    share = np.divide(b - a, c - a, out=np.zeros(len(a)), where=c > a)
    chord = (1.0 - share) * low + share * high
    return np.maximum(falls, np.where(c > a, chord - middle, 0.0))


def _box(learner: Learner, log: Log, where: str) -> tuple[FloatArray, FloatArray]:
    """Ends of states and of what makes the bids."""
    low, high = log.states.min(axis=0), log.states.max(axis=0)
    if where == EXTREME:
        low, high = np.full((2, low.size), HUGE) * [[-1.0], [1.0]]
    else:
        low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
    low[log.codes], high[log.codes] = 0.0, np.array(log.categories) - 1e-9
    count = 3 if learner.shape == BOTH else 2
    ends = (
        (0.0, len(log.listed) - 1e-9)
        if learner.listed
        else (log.listed[0], log.listed[-1])
    )
    if where == EXTREME and not learner.listed:
        ends = (-46.0, np.log10(log.listed[-1]))
    return np.r_[low, [ends[0]] * count], np.r_[high, [ends[1]] * count]


def _placed(
    learner: Learner, log: Log, where: str, points: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """States ``(B, d)`` and ascending bids ``(B, 2 or 3)``, all of them float32 numbers."""
    states, bids = np.split(points, [log.states.shape[1]], axis=1)
    states[:, log.codes] = np.floor(states[:, log.codes])
    if learner.listed:
        bids = log.listed[bids.astype(np.int64)]
    elif where == EXTREME:  # a bid, and gaps down to none
        bids = np.clip((10.0**bids).cumsum(axis=1), log.listed[0], log.listed[-1])
    bids = np.sort(bids, axis=1)
    return states.astype(np.float32).astype(float), bids.astype(np.float32).astype(float)


def _row(learner: Learner, where: str, found: Found | None = None) -> Row:
    names = ("settings", "log", "shape", "version")
    row = {name: getattr(learner, name) for name in names}
    row |= {"learner": learner.name, "where": where, "checks": 0}
    if found is not None:
        row |= {
            name: getattr(found, name) for name in ("checks", "violations", "largest")
        }
    return row


def _compute(ours: bool, settings: Settings) -> Iterator[Row]:
    quiet_logs()
    checks = settings["checks"]
    with one_thread(), showing("violations") as show:
        for learner in learners():
            if (learner.name == OURS) != ours:
                continue
            show(f"{learner.name} {learner.settings}")
            if not learner.version:
                yield _row(learner, LOGGED)
                continue
            steps = QUICK_STEPS if settings.quick else STEPS
            predict = learner.fit(log_of(learner.log), steps)
            yield measure(learner, predict, LOGGED, checks)
            if ours:
                yield measure(learner, predict, EXTREME, max(1, checks // 5))


# -- report --------------------------------------------------------------------

TEXT = f"""\
A hunt looks for states at which a prediction falls while the bid rises, or lies below the \
line between two others where it should be concave: part of the checks is random, the others \
refine the worst that was found. A check is a state and two bids (three for concave), within \
the logged range and 5 % beyond, asked of the library's own `predict`. A violation is any \
amount above 0, in float64 or in the library's float32; beyond rounding are those above \
{ROUNDING:g} of the spread of predictions. All learn from the same 20,000 rows: *clicks* of \
BidClick-v0 (2 features), or *payments* of a second-price auction (7 numbers, 2 categories). \
The mean and every quantile of both rise with the bid."""


def _lines(rows: Rows) -> Iterator[tuple[object, ...]]:
    for row in rows:
        name = f"{row['learner']} {row['version'] or ''}"
        what = (name, f"`{row['settings']}`" if row["settings"] else "", row["log"])
        if not row["checks"]:
            yield *what, row["shape"], "not installed", "", "", ""
            continue
        counts = (row[key] for key in ("checks", "violations", "beyond_rounding"))
        yield (
            *what,
            row["shape"],
            *(f"{count:,.0f}" for count in counts),
            f"{row['largest']:.1e}",
        )


def _sections(results: Results) -> Iterable[str]:
    yield TEXT
    head = [
        "",
        "Settings",
        "Log",
        "Shape",
        "Checks",
        "Violations",
        "Beyond rounding",
        "Largest",
    ]
    ours = results["ours"]
    for title, rows in (
        ("Ours", [row for row in ours if row["where"] == LOGGED]),
        (
            "Ours, states of 1e-30 to 1e30, bids and gaps down to 1e-45",
            [row for row in ours if row["where"] == EXTREME],
        ),
        ("Others", results["others"]),
    ):
        if rows:
            total = sum(row["checks"] for row in rows)
            beyond = sum(row["beyond_rounding"] or 0 for row in rows)
            said = f"{total:,.0f} checks, {beyond:,.0f} of them beyond rounding."
            yield section(title, said, table(head, _lines(rows), "llllrrrr"))


def draw(results: Results) -> Figure | None:
    """The largest violation of every row that was measured."""
    rows = [r for r in (*results["ours"], *results["others"]) if r["checks"]]
    rows = [row for row in rows if row["where"] == LOGGED]
    figure, ((axis,),) = subplots(9.0, 0.2 * len(rows) + 1.0)
    for y, row in enumerate(rows):
        colour = OUR_COLOUR if row["learner"] == OURS else BASELINE
        axis.plot(max(row["largest"], 1e-10), -y, "o", color=colour)
    names = [f"{r['learner']} {r['settings']}, {r['log']}" for r in rows]
    axis.set_yticks([-y for y in range(len(rows))], names, fontsize=7)
    axis.set_xscale("log")
    axis.axvspan(5e-11, ROUNDING, color="0.95")
    axis.set_xlabel(
        "largest violation, of the spread of predictions; at the left end none"
    )
    return figure


register(
    Experiment(
        "violations",
        "where ours and others break the shape that they state",
        parts=[
            Part("ours", COLUMNS, compute=functools.partial(_compute, True)),
            Part("others", COLUMNS, compute=functools.partial(_compute, False)),
        ],
        title="A hunt for broken shapes",
        sections=_sections,
        pictures={"violations.png": draw},
        defaults={"checks": 1_000_000},
        quick={"checks": 300},
        options=[
            Option(
                "--checks", type=positive_int, help="of each row; 1,000,000 by default"
            )
        ],
    )
)
