"""``python -m benchmarks replay --data FILE``: auctions that happened, bid on again."""

from __future__ import annotations

import pathlib
import time
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from icac_algo import Monotone, check_outcomes

from ..engine import (
    Cell,
    Experiment,
    Option,
    Part,
    Results,
    Settings,
    UsageError,
    keys_of,
    register,
)
from ..engine.command_line import list_of, positive_int
from ..engine.intervals import bootstrap_mean
from ..engine.markdown import bullets, figures, section, table
from ..engine.pictures import BASELINE, LIMIT, OURS, Line, dots, subplots
from ..engine.rows import Rows, by_seed, distinct
from . import learners
from .bidders import GIVEN, DynamicProgram, both_histograms
from .market import market_of

BOUND = "hindsight bound"
#: Names in tables; what is given market prices comes first.
_NAMES = [BOUND, *GIVEN, *learners.LEARNERS]
#: Campaigns of a log on which shapes of outcomes are tested.
_CHECKED = 20
_FILES = ("data", "test", "columns", "impressions")


def _places(settings: Settings) -> Iterable[dict[str, Any]]:
    """Files and budgets, the smallest budget last in its list."""
    if settings["data"] is not None:
        files = {name: settings[name] for name in _FILES}
        for part in settings["budgets"]:
            yield {**files, "part": part}


def _given_cells(settings: Settings) -> Iterable[Cell]:
    for place in _places(settings):
        for name in (*GIVEN, BOUND):
            yield Cell.of("given", name, **place)


def _learner_cells(settings: Settings) -> Iterable[Cell]:
    """Ours of all seeds first: an early end loses least."""
    first = (learners.OURS, learners.LOGGER)
    rest = [name for name in learners.LEARNERS if name not in first]
    for names in (first, rest):
        for seed in range(settings.seeds):
            for place in _places(settings):
                for name in names:
                    where = {**place, "steps": settings.steps}
                    yield Cell.of("learners", name, seed, **where)


def _shape_cells(settings: Settings) -> Iterable[Cell]:
    for place in _places(settings):
        yield Cell.of("shapes", **place)


def _depends(cell: Cell) -> Any:
    """What is in the files, and a learner's config."""
    names = [cell["data"], cell["test"]]
    found: list[Any] = [zlib.crc32(pathlib.Path(n).read_bytes()) for n in names if n]
    if cell.learner in (learners.OURS, learners.BARE):
        shaped = cell.learner == learners.OURS
        found.append(learners.ours(_task(cell), shaped)(cell["steps"]))
    return found


def _task(cell: Cell) -> learners.Task:
    market = market_of(cell)
    return learners.Task(market, market.budget(1.0 / cell["part"]))


def _play_given(cell: Cell) -> Rows:
    task = _task(cell)
    market, budget = task.market, task.budget
    if cell.learner == BOUND:
        return [{"value": market.hindsight(budget)}]
    return [market.play(GIVEN[cell.learner](market, budget), market.test, budget)]


def _play_learner(cell: Cell) -> Rows:
    task, start = _task(cell), time.process_time()
    bidder, setting = learners.fit(task, cell.learner, cell.seed, cell["steps"])
    seconds = time.process_time() - start
    earned = task.market.play(bidder, task.market.test, task.budget)
    return [{**earned, "setting": setting, "seconds": seconds}]


def _check_shapes(cell: Cell) -> Rows:
    """Outcomes on a log; values of the dynamic program of both histograms."""
    task = _task(cell)
    stated = learners.outcomes(task, Monotone())
    log = task.log(0, ample=True)
    some = log.replace(episodes=range(min(log.size(), _CHECKED)))
    checks = check_outcomes(some, stated)
    rows: Rows = [
        {"shape": f"{column} rises in the bid", "verdict": check.verdict}
        for column, check in checks.items()
        if check is not None
    ]
    program = both_histograms(task.market, task.budget)
    assert isinstance(program, DynamicProgram)
    values = program.values / program.values.max()
    for axis, name in enumerate(("clock", "budget")):
        steps = np.diff(values, axis=axis)
        rows.append({"shape": f"value rises in the {name}", "missed": _missed(-steps)})
        bends = np.diff(values, n=2, axis=axis)
        rows.append(
            {"shape": f"value is concave in the {name}", "missed": _missed(bends)}
        )
    return rows


def _missed(shortfalls: Any) -> float:
    """The largest shortfall of an inequality, as a share of the largest value."""
    return max(0.0, float(shortfalls.max()))


_EARNED = ("value", "clicks", "ecpc", "spent", "early")
_ORDER = keys_of("part", "learner", "seed", learner=_NAMES)
PARTS = [
    Part(
        "given",
        ("part", "learner", "seed", *_EARNED),
        _given_cells,
        _play_given,
        _depends,
        arrange=_ORDER,
    ),
    Part(
        "learners",
        ("part", "learner", "seed", "steps", *_EARNED, "setting", "seconds"),
        _learner_cells,
        _play_learner,
        _depends,
        arrange=_ORDER,
    ),
    Part(
        "shapes",
        ("part", "shape", "verdict", "missed"),
        _shape_cells,
        _check_shapes,
        _depends,
    ),
]


def _check(settings: Settings) -> None:
    if settings["data"] is None:
        raise UsageError("--data must name a file of auctions")
    if len(settings["columns"]) != 3:
        raise UsageError(
            "--columns must be those of click, market price and value, got "
            f"{','.join(settings['columns'])}"
        )
    for name in ("data", "test"):
        if settings[name] and not pathlib.Path(settings[name]).is_file():
            raise UsageError(f"--{name} must be a file, got {settings[name]}")


# -- report ------------------------------------------------------------------


def _rows(results: Results) -> Rows:
    return [*results["given"], *results["learners"]]


def values(rows: Rows, part: float, learner: str) -> dict[int, float]:
    """Sums of values won, by seed."""
    return by_seed(rows, "value", part=part, learner=learner)


def verdicts(rows: Rows) -> Iterable[str]:
    """Ours against RLB and linear bidding, who see all market prices."""
    for part in distinct(rows, "part"):
        ours = values(rows, part, learners.OURS)
        rivals = [name for name in ("RLB", "linear") if values(rows, part, name)]
        if not ours or not rivals:
            continue
        mean = bootstrap_mean(ours)
        words = []
        for name in rivals:
            other = bootstrap_mean(values(rows, part, name)).mean
            least = 0.99 * other if name == "RLB" else other
            holds = "**holds**" if mean.mean >= least else "**does not hold**"
            asked = "at least 99 % of" if name == "RLB" else "at least"
            words.append(f"{asked} {name}'s {other:.2f} {holds}")
        yield f"Budget 1/{part:g}: ours {mean.format(2)}; {', '.join(words)}."


_SHOWN = (
    ("value", "Value won", 2),
    ("clicks", "Clicks", 0),
    ("ecpc", "eCPC", 0),
    ("spent", "Spent", 3),
    ("early", "Stopped early", 3),
)


def _sections(results: Results) -> Iterable[str]:
    rows, shapes = _rows(results), results["shapes"]
    steps = ", ".join(f"{n:,.0f}" for n in distinct(results["learners"], "steps"))
    yield (
        "Second price. Each seed has a log and a training of its own; means with 95 % "
        f"bootstrap intervals over seeds. {steps} gradient steps of every network. What "
        "is given the training file has no seeds."
    )
    yield "![Value won by budget and learner](replay.png)"
    yield section("Verdict", bullets(verdicts(rows)))
    for part in distinct(rows, "part"):
        names = [name for name in _NAMES if values(rows, part, name)]
        lines = [
            [n, len(values(rows, part, n)), *figures(rows, _SHOWN, part=part, learner=n)]
            for n in names
        ]
        head = ["Learner", "Seeds", *(title for _, title, _ in _SHOWN)]
        yield section(f"Budget 1/{part:g}", table(head, lines, "lrrrrrr"))
    lines = [
        [f"1/{row['part']:g}", row["shape"], row["verdict"] or f"{row['missed']:.3f}"]
        for row in shapes
    ]
    yield section(
        "Shapes",
        table(["Budget", "Shape", "Test, or largest shortfall"], lines) if lines else "",
    )
    yield section("How to read it", _NOTES)


_NOTES = """\
- **Value won**: the sum of the values (predicted click-through rates) of the auctions won
  in all test episodes. **Clicks** are those won, **eCPC** is what was paid for a click,
  **Spent** the share of all budgets. An episode is **stopped early** if less than 1 % of
  its budget is left while a tenth of its auctions is to come.
- A budget of 1/8 is an eighth of what all auctions of an episode cost on average, in the
  training file.
- **hindsight bound** knows each episode's auctions and may win parts of one. **RLB** is
  given the histogram of training market prices and the mean value, **both histograms**
  also that of values. **linear** and **PID** are tuned on the training auctions.
- **ours**, **CQL** and **DiscreteIQL** see a log of random bids over the training
  auctions: value, budget and time left, bid, win, payment and click. *Ours without
  shapes* is the same critic with no shape of any part. Settings of CQL and
  DiscreteIQL, and whether budgets are relabelled or as logged, are those that earn most
  in the training auctions. **logger** bids at random.
- **Shapes**: `check_outcomes` on 20 campaigns of a log, and the largest missed
  inequality of the values of *both histograms* between neighbours, as a share of their
  largest."""


def _picture(results: Results) -> Figure | None:
    rows = _rows(results)
    parts = distinct(rows, "part")
    if not parts:
        return None
    figure, axes = subplots(3.6 * len(parts) + 1.4, 4.2, columns=len(parts), sharey=True)
    names = [n for n in _NAMES if any(values(rows, part, n) for part in parts)]
    for axis, part in zip(axes[0], parts, strict=True):
        colours = {learners.OURS: OURS, BOUND: LIMIT}
        lines = [
            Line(name, values(rows, part, name), colours.get(name, BASELINE))
            for name in names
        ]
        dots(axis, lines, digits=2)
        axis.set_title(f"budget 1/{part:g}")
        axis.set_xlabel("value won in the test episodes")
    return figure


register(
    Experiment(
        "replay",
        "auctions of a file, replayed: learners from random bids against RLB",
        parts=PARTS,
        title="Replay of real auctions",
        sections=_sections,
        pictures={"replay.png": _picture},
        defaults={
            "seeds": 3,
            "steps": 1000,
            "workers": 2,
            "test": "",
            "columns": ("click", "market_price", "value"),
            "budgets": (32, 8, 2),
            "impressions": 1000,
        },
        quick={"seeds": 1, "steps": 20, "budgets": (8,)},
        options=[
            Option("--data", metavar="FILE", help="auctions to learn from"),
            Option(
                "--test",
                metavar="FILE",
                help="auctions to bid in; by default the last quarter of the others",
            ),
            Option(
                "--columns",
                type=list_of(str),
                help="of click, market price and value; numbers, from 0, for a file "
                "without a header; click,market_price,value by default",
            ),
            Option(
                "--budgets",
                type=list_of(positive_int),
                help="8 is an eighth of the mean cost of all auctions; 32,8,2 by default",
            ),
            Option(
                "--impressions",
                type=positive_int,
                help="auctions in an episode; 1000 by default",
            ),
        ],
        prepare=_check,
    )
)
