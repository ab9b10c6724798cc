"""How much regret each prior saves: ``python -m benchmarks regret``."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.figure import Figure

from ..engine import Cell, Experiment, Option, Part, Results, Settings, keys_of, register
from ..engine.intervals import Interval, bootstrap_mean, paired_difference
from ..engine.markdown import bullets, percent, section, table
from ..engine.pictures import Line, dots, subplots
from ..engine.rows import Rows, by_seed, distinct, select
from ..engine.tuning import RESULTS, best_settings, tune
from ..learners import CLICK_MODEL, PRIOR_LEARNERS, ClickModel, trained
from .regret_tasks import TASKS

FRACTIONS = (1.0, 0.25, 0.0625)
TUNED = RESULTS / "regret_tuning.csv"
MAIN_TASK = "5 bids"
HALF, SIXTH = 0.5, 1.0 / 6.0
LIMIT_FACTOR = 3.0
SCARCE = 0.0625


def _cells(settings: Settings) -> Iterable[Cell]:
    """Those that matter most first, so that an early end loses least."""
    half, side = (settings.seeds + 1) // 2, min(settings.seeds, 5)
    # Tuned on five bids; the same values serve the other tasks.
    tuned = {fraction: best_settings(TUNED, fraction=fraction) for fraction in FRACTIONS}
    for seed in range(settings.seeds):
        for name, learner in PRIOR_LEARNERS.items():
            tasks = [MAIN_TASK] if learner.main or seed < half else []
            if seed < side:
                tasks += [task for task in learner.tasks if task != MAIN_TASK]
            for task in tasks:
                for fraction in FRACTIONS:
                    best = tuned[fraction].get(name, ())
                    where = {"task": task, "fraction": fraction, "tuned": best}
                    yield Cell.of("regret", name, seed, steps=settings.steps, **where)


def _config(cell: Cell) -> Any:
    learner = PRIOR_LEARNERS[cell.learner]
    return learner.config(TASKS[cell["task"]].bids, cell["steps"], **cell.tuned)


def _depends(cell: Cell) -> Any:
    return _config(cell), TASKS[cell["task"]]


def train_one(cell: Cell) -> Rows:
    task, learner = TASKS[cell["task"]], PRIOR_LEARNERS[cell.learner]
    if learner.kind == "limit":
        model: Any = ClickModel(task.bids, task.continuous).fit(
            *task.click_columns(cell.seed, cell["fraction"])
        )
    else:
        dataset = task.dataset(cell.seed, cell["fraction"], learner.continuous)
        model = trained(_config(cell), dataset, cell.seed, cell["steps"])
    return [{"regret": task.regret(model)}]


REGRET = Part(
    "regret",
    ("task", "row", "fraction", "seed", "steps", "tuned", "regret"),
    _cells,
    train_one,
    _depends,
    learner="row",
    arrange=keys_of(
        *("task", "-fraction", "row", "seed"), task=TASKS, row=PRIOR_LEARNERS
    ),
)


def _tune(settings: Settings) -> None:
    if settings["tune"]:
        places = [{"task": MAIN_TASK, "fraction": fraction} for fraction in FRACTIONS]
        tune(TUNED, REGRET, PRIOR_LEARNERS, places, settings, keys=["fraction"])


# -- report ------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Our best row against the best baseline at one task and share of the log."""

    best_ours: str  # the one with the smallest mean, of ours
    best_rival: str  # the same, of the baselines
    ours: Interval  # its regret over the seeds that both have
    rival: Interval  # the other's
    difference: Interval  # ours minus the rival's, paired by seed

    @property
    def ratio(self) -> float:
        return self.ours.mean / self.rival.mean

    @property
    def halved(self) -> bool:
        """At most half the regret, and surely less: the paired interval is below 0."""
        return self.ratio <= HALF and self.difference.high < 0.0


def compare(rows: Rows, task: str, fraction: float) -> Comparison | None:
    def best_of(kind: str) -> tuple[str, dict[int, float]] | None:
        found = {
            name: by_seed(rows, "regret", task=task, row=name, fraction=fraction)
            for name, learner in PRIOR_LEARNERS.items()
            if learner.kind == kind
        }
        ran = [(name, seeds) for name, seeds in found.items() if seeds]
        return min(ran, key=lambda one: bootstrap_mean(one[1]).mean, default=None)

    ours, rival = best_of("ours"), best_of("baseline")
    if ours is None or rival is None:
        return None
    shared = sorted(ours[1].keys() & rival[1].keys())
    return Comparison(
        ours[0],
        rival[0],
        bootstrap_mean([ours[1][seed] for seed in shared]),
        bootstrap_mean([rival[1][seed] for seed in shared]),
        paired_difference(ours[1], rival[1]),
    )


def _sections(results: Results) -> Iterable[str]:
    rows = results["regret"]
    fractions = sorted(distinct(rows, "fraction"), reverse=True)
    steps = " and ".join(f"{int(n):,}" for n in sorted(distinct(rows, "steps")))
    yield (
        "`BidClick-v0`, whole log of 100,000 impressions and shares of it; every seed "
        f"draws its own log, share and training of {steps} steps, with the network, "
        "optimizer, schedule and batch that all rows share. Regret is exact; means with "
        "95 % bootstrap percentile intervals over seeds, as many as each cell says."
    )
    yield "![Regret by prior and share of the log](regret.png)"
    yield section("Verdict", bullets(_verdicts(rows, fractions)))
    head = ["Row", *(f"{percent(fraction)} of the log" for fraction in fractions)]
    for task in TASKS:
        lines = [
            [one.label, *(_shown(rows, task, name, fraction) for fraction in fractions)]
            for name, one in PRIOR_LEARNERS.items()
            if select(rows, task=task, row=name)
        ]
        if lines:
            yield section(task.capitalize(), table(head, lines))
    yield section("How to read it", _NOTES)


def _shown(rows: Rows, task: str, name: str, fraction: float) -> str:
    seeds = by_seed(rows, "regret", task=task, row=name, fraction=fraction)
    if not seeds:
        return ""
    return f"{bootstrap_mean(seeds).format(5)} ({len(seeds)})"


def _verdicts(rows: Rows, fractions: Sequence[float]) -> Iterable[str]:
    for task, fraction in itertools.product(TASKS, fractions):
        found = compare(rows, task, fraction)
        if found is None:
            continue
        word = "**holds**" if found.halved else "**does not hold**"
        sixth = "reached" if found.ratio <= SIXTH else "missed"
        yield (
            f"{task.capitalize()}, {percent(fraction)} of the log: at most half the "
            f"regret of the best oracle-tuned baseline {word}: *{found.best_ours}* "
            f"{found.ours.mean:.5f}, *{found.best_rival}* {found.rival.mean:.5f}, "
            f"{found.ratio:.2f} times; paired difference {found.difference.format(5)} "
            f"over {found.difference.seeds} seeds. One sixth, the aim: {sixth}."
        )
    limit = by_seed(rows, "regret", task=MAIN_TASK, row=CLICK_MODEL, fraction=SCARCE)
    found = compare(rows, MAIN_TASK, SCARCE)
    if limit and found is not None:
        known = bootstrap_mean(limit)
        factor = found.ours.mean / known.mean
        word = "**holds**" if factor <= LIMIT_FACTOR else "**does not hold**"
        yield (
            f"At {percent(SCARCE)} of the log, at most {LIMIT_FACTOR:g} times the limit "
            f"of maximum likelihood in the true parametric family {word}: "
            f"{factor:.1f} times ({known.format(5)})."
        )


_NOTES = """\
- *ClickModel* is maximum likelihood in the auction's true family, with the cost known: a
  limit, not a rival.
- IQL (d3rlpy's own, continuous, snapped to the nearest bid where bids are a list) and CQL
  are tuned by the oracle's regret at each share on other seeds
  (`benchmarks/results/regret_tuning.csv`); the values found on five bids serve the other
  tasks. *DQN with bid input* is d3rlpy's DQN whose critic sees the bid as a number.
- Rows marked "ours" are `ConstraintAwareQ` with its defaults but for what it knows; "..."
  adds to the row before. The best of several rows is picked by the
  same seeds that it is shown on, ours and the baselines' alike.
- *Any bid*: bids are real numbers in the log and in the policy; regret is to the best
  real bid, `V* = 0.63453`."""


def _picture(results: Results) -> Figure:
    """Regret of every row on five bids, one panel for each share of the log."""
    rows = select(results["regret"], task=MAIN_TASK)
    fractions = sorted(distinct(rows, "fraction"), reverse=True)
    names = [name for name in PRIOR_LEARNERS if select(rows, row=name)]
    figure, axes = subplots(
        4.2 * len(fractions) + 2.0,
        0.42 * len(names) + 1.6,
        columns=len(fractions),
        sharey=True,
    )
    for axis, fraction in zip(axes[0], fractions, strict=True):
        lines = [
            Line(
                PRIOR_LEARNERS[name].label,
                by_seed(rows, "regret", row=name, fraction=fraction),
                PRIOR_LEARNERS[name].colour,
            )
            for name in names
        ]
        # A logarithmic axis cannot show zero.
        dots(axis, lines, smallest=1e-6)
        axis.set_xscale("log")
        axis.set_title(f"{percent(fraction)} of the log")
        axis.set_xlabel("regret (log scale)")
    figure.suptitle("Regret on BidClick-v0: means and 95 % intervals over seeds")
    return figure


register(
    Experiment(
        "regret",
        "what each prior saves, at three shares of the log",
        parts=[REGRET],
        title="How much regret each prior saves",
        sections=_sections,
        pictures={"regret.png": _picture},
        defaults={"seeds": 20, "steps": 5000, "workers": 2},
        quick={"seeds": 1, "steps": 200},
        options=[
            Option(
                "--tune",
                action="store_true",
                help="first choose the baselines' hyperparameters again",
            )
        ],
        report="regret.md",
        prepare=_tune,
    )
)
