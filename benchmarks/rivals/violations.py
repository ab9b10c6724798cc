"""``python -m benchmarks violations``: where ours and others break a stated shape."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

import numpy as np

from ..engine import Experiment, Part, Results, Settings, quiet_logs, register
from ..engine.markdown import section, table
from ..engine.rows import Row, select
from ..engine.timing import one_thread, showing
from ..realistic.worlds import FIRST_DEVICE
from .hunt import FloatArray, hunt
from .models import BOTH, CONTROL, OURS, Learner, Predict, learners, log_of

FACTS = ("name", "settings", "log", "shape", "version")
COUNTS = ("checks", "violations", "beyond_rounding", "largest")
COLUMNS = (*FACTS, "where", *COUNTS)
LOGGED, EXTREME, ROUNDING = "logged range", "huge and tiny numbers", 1e-6


def measure(learner: Learner, predict: Predict, where: str, checks: int) -> Row:
    """What a hunt finds, over states and two bids, three where the shape is concave."""
    log, beyond = log_of(learner.log), 0
    spread = np.ptp(predict(log.observations, log.actions).astype(np.float64))
    numbers, bids = log.observations[:, :FIRST_DEVICE], np.unique(log.actions)
    low, high = numbers.min(axis=0), numbers.max(axis=0)
    low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
    ends = (0.0, len(bids) - 1e-9) if learner.listed else (bids[0], bids[-1])
    if where == EXTREME:
        low, high = np.full((2, low.size), 1e30) * [[-1.0], [1.0]]
        ends = ends if learner.listed else (-46.0, np.log10(bids[-1]))
    # A point is numbers, a logged row for the categories, and what makes the bids.
    box = np.array([[*low, 0.0], [*high, len(log) - 1e-9]])
    box = np.column_stack([box, *[ends] * (3 if learner.shape == BOTH else 2)])

    def violation(points: FloatArray) -> FloatArray:
        nonlocal beyond
        states = log.observations[points[:, low.size].astype(np.int64)]
        states[:, : low.size] = points[:, : low.size]
        asked = points[:, low.size + 1 :]
        if learner.listed:
            asked = bids[asked.astype(np.int64)]
        elif where == EXTREME:  # a bid, and gaps down to none
            asked = np.clip((10.0**asked).cumsum(axis=1), bids[0], bids[-1])
        states, asked = (x.astype(np.float32).astype(np.float64) for x in (states, asked))
        asked.sort(axis=1)
        values = np.stack([predict(states, one) for one in asked.T], 1).astype(np.float64)
        size = np.abs(values).max(axis=1) if where == EXTREME else spread
        found = broken(asked, values, learner.shape) / np.maximum(spread, size)
        beyond += int(np.count_nonzero(~(found <= ROUNDING)))
        return found

    found = hunt(violation, box[0], box[1], checks, seed=0)
    counts = (found.checks, found.violations, beyond, found.largest)
    return {"where": where, **dict(zip(COUNTS, counts, strict=True))}


def broken(bids: FloatArray, values: FloatArray, shape: str) -> FloatArray:
    """By how much values at ascending bids break a shape; below 0 minus a steepness."""
    gaps, before, after = np.diff(bids, axis=1), values[:, :-1], values[:, 1:]
    # Two infinite values are equal, but their difference is no number.
    falls = np.subtract(before, after, out=np.zeros_like(gaps), where=before != after)
    if shape == BOTH:
        (a, b, c), (low, middle, high) = bids.T, values.T
        share = np.divide(b - a, c - a, out=np.zeros(len(a)), where=c > a)
        above = (1.0 - share) * low + share * high - middle
        falls, gaps = np.c_[falls, above], np.c_[gaps, gaps.min(axis=1)]
    steep = np.divide(falls, gaps, out=np.full(falls.shape, -np.inf), where=gaps > 0.0)
    return np.asarray(np.where(falls <= 0.0, steep, falls).max(axis=1))


def _compute(ours: bool, settings: Settings) -> Iterator[Row]:
    quiet_logs()
    checks, steps = (400, 10) if settings.quick else (1_000_000, 1000)
    with one_thread(), showing("violations") as show:
        for learner in (one for one in learners() if (one.name == OURS) == ours):
            show(f"{learner.name} {learner.settings}")
            facts = {fact: getattr(learner, fact) for fact in FACTS}
            if not learner.version:
                yield {**facts, "checks": 0}
                continue
            predict = learner.fit(log_of(learner.log), steps)
            yield {**facts, **measure(learner, predict, LOGGED, checks)}
            if ours:
                yield {**facts, **measure(learner, predict, EXTREME, checks // 4)}


TEXT = f"""\
A hunt looks for a state in which the prediction falls while the bid rises, or bends up
where it should be concave. Part of its checks is random, the others refine the worst. A
check is a state in the logged range and 5 % beyond and two bids (three if concave), asked
of the library's own `predict`. A violation is any amount above 0, also of float32's
rounding; *beyond rounding* are those above {ROUNDING:g} of the spread of predictions. All
learn from the same 20,000 rows: *clicks* of BidClick-v0 (2 features), or *payments* of a
second-price auction (7 numbers, 2 categories, as indicators unless `categories` is said).
Both rise with the bid, in mean and quantiles. `{CONTROL}` states no shape: a control."""
HEAD = " | Settings | Log | Shape | Checks | Violations | Beyond rounding | Largest"


def _sections(results: Results) -> Iterable[str]:
    yield TEXT.replace("\n", " ")
    for title, rows in {
        "Ours": select(results["ours"], where=LOGGED),
        "Ours at numbers of 1e-30 to 1e30": select(results["ours"], where=EXTREME),
        "Others": results["others"],
    }.items():
        total, bad = (sum(r[c] or 0 for r in rows) for c in (COUNTS[0], COUNTS[2]))
        said = f"{total:,.0f} checks, {bad:,.0f} of them broken beyond rounding."
        yield section(
            title, said, table(HEAD.split(" | "), map(_cells, rows), "llllrrrr")
        )


def _cells(row: Row) -> list[object]:
    name = f"{row['name']} {row['version'] or '(not installed)'}"
    counts = [f"{row[count] or 0:,.0f}" for count in COUNTS[:3]]
    stated = [row["settings"], row["log"], row["shape"]]
    return [name, *stated, *counts, f"{row['largest'] or 0.0:.2g}"]


register(
    Experiment(
        "violations",
        "a hunt for where ours and others break the shape that they state",
        parts=[
            Part(name, COLUMNS, compute=functools.partial(_compute, name == "ours"))
            for name in ("ours", "others")
        ],
        title="A hunt for broken shapes",
        sections=_sections,
        quick={},
    )
)
