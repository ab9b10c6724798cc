"""How long one waits: what is said and drawn of the rows."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from ..engine import Results
from ..engine.intervals import bootstrap_mean
from ..engine.markdown import bullets, section, table
from ..engine.pictures import OURS as BLUE
from ..engine.pictures import paths, subplots
from ..engine.rows import Rows, distinct, select
from ..engine.timing import median
from .waiting_tasks import (
    AUTO,
    CQL,
    DQN,
    IQL,
    LINEAR,
    OURS,
    OUTCOMES,
    TREES,
    WAITING_TASKS,
)

#: In the order of tables, with their colours.
LEARNERS = {
    OUTCOMES: BLUE,
    OURS: "tab:cyan",
    AUTO: "navy",
    DQN: "tab:orange",
    CQL: "tab:red",
    IQL: "tab:purple",
    TREES: "tab:green",
    LINEAR: "0.3",
}


def waited(rows: Rows, threshold: float) -> dict[int, float]:
    """Seconds by seed until the first look that meets a threshold; never is infinite."""
    return {
        seed: min(
            (r["seconds"] for r in select(rows, seed=seed) if r["regret"] <= threshold),
            default=math.inf,
        )
        for seed in distinct(rows, "seed")
    }


def ends(rows: Rows, column: str) -> dict[int, float]:
    """A column at the last look of each seed."""
    last = {row["seed"]: row for row in sorted(rows, key=lambda row: row["seconds"])}
    return {int(seed): float(row[column]) for seed, row in last.items()}


def threshold_of(rows: Rows, task: str) -> float:
    """The regret that is waited for at a task."""
    given = WAITING_TASKS[task].threshold
    trees = select(rows, task=task, learner=TREES)
    return median(ends(trees, "regret")) if given is None else given


def line_of(rows: Rows, threshold: float) -> list[str]:
    """Of one learner: seconds to the threshold, who got there, where and when it ends."""
    found, total = list(waited(rows, threshold).values()), ends(rows, "seconds")
    there = sum(math.isfinite(seconds) for seconds in found)

    def shown(seconds: float, otherwise: str) -> str:
        return f"{seconds:.2g}" if math.isfinite(seconds) else otherwise

    over = f"> {median(total):.2g}"
    wait = shown(median(found), over)
    if there:
        wait += f" [{shown(min(found), over)}, {shown(max(found), 'never')}]"
    digits = 2 - math.floor(math.log10(max(threshold, 1e-6)))
    regret = bootstrap_mean(ends(rows, "regret")).format(digits)
    return [wait, f"{there} of {len(found)}", regret, f"{median(total):.2g}"]


def _of_learners(rows: Rows, task: str) -> dict[str, Rows]:
    found = {name: select(rows, task=task, learner=name) for name in LEARNERS}
    return {name: one for name, one in found.items() if one}


def _verdicts(rows: Rows) -> Iterable[str]:
    """At each task, the median wait for ours beside that for every rival."""
    for task in distinct(rows, "task"):
        threshold = threshold_of(rows, task)
        waits = {
            name: median(waited(one, threshold))
            for name, one in _of_learners(rows, task).items()
        }
        ours = min((OUTCOMES, OURS), key=lambda name: waits.get(name, math.inf))
        if waits.get(ours, math.inf) == math.inf:
            yield f"{task.capitalize()}: ours is not there at the median seed."
            continue
        ratios = ", ".join(
            f"{name} {'never' if wait == math.inf else f'{wait / waits[ours]:.2g} times'}"
            for name, wait in waits.items()
            if name not in (OUTCOMES, OURS)
        )
        yield (
            f"{task.capitalize()}, regret {threshold:.3g}: *{ours}* after "
            f"{waits[ours]:.2g} s; {ratios} as long."
        )


def sections_of(results: Results) -> Iterable[str]:
    rows = results["waiting"]
    yield (
        "Seconds of one core from a log in memory to a policy whose exact regret is at "
        "most a threshold: to the first look that meets it, at steps that grow by the "
        "root of two, during which the clock stands. Building networks and all checks "
        "count, imports do not. Medians [lowest, highest] over seeds, each with a log "
        "and a training of its own; a seed that is never there counts as infinite."
    )
    yield "![Regret against seconds](waiting.png)"
    yield section("Verdict", bullets(_verdicts(rows)))
    head = ["Learner", "Seconds to it", "There", "Regret at the end", "Seconds in all"]
    for task in distinct(rows, "task"):
        threshold = threshold_of(rows, task)
        lines = [
            [f"**{name}**" if name in (OUTCOMES, OURS, AUTO) else name, *line]
            for name, one in _of_learners(rows, task).items()
            for line in [line_of(one, threshold)]
        ]
        said = f"{task.capitalize()}, to a regret of {threshold:.3g}"
        yield section(said, table(head, lines, "lrrrr"))
    yield section("How to read it", _NOTES)


_NOTES = f"""\
- *{OUTCOMES}* knows the parts: clicks whose log-odds rise concavely and a known cost;
  wins that rise and what they are worth; the reward of a dose as one concave outcome.
  *{OURS}*: the reward is concave, in the first-price log a prior that is not quite true.
  *{AUTO}* is what a user runs who does not know how long to train (with outcomes but
  for doses, all defaults); its seconds hold the search for steps and settings.
- All learn from the same buffer in memory, on which a step of d3rlpy's learners takes a
  third to a half of what it takes on their own.
- In the auction networks, optimizers, schedules and steps are those of the table of
  regrets, CQL and IQL tuned by the oracle; in the other logs those of their tables, with
  the setting of CQL and of IQL that was best there. Rates fall to 0 along a cosine over
  the budget; ours have a constant rate but in the auction.
- Trees and regressions are fitted once, choice of settings included, and have no policy
  before: of clicks (or wins and values), logistic regression with products; of doses, a
  quadratic ridge. Clicks in the auction *are* a logistic regression.
- The threshold of the first-price log is the median regret of the trees; that of doses is
  an outcome of -6.3 of patients who were not learned from. A look that meets a threshold
  may be followed by looks that do not, for all learners alike."""


def picture_of(results: Results) -> Figure:
    """Regret against seconds, a panel for each task."""
    rows = results["waiting"]
    tasks = distinct(rows, "task")
    figure, axes = subplots(4.4 * len(tasks), 4.6, columns=len(tasks))
    for axis, task in zip(axes[0], tasks, strict=True):
        runs = {}
        for name, one in _of_learners(rows, task).items():
            seeds = [select(one, seed=seed) for seed in distinct(one, "seed")]
            seconds = [[row["seconds"] for row in seed] for seed in seeds]
            # A logarithmic axis cannot show zero.
            regrets = [[max(row["regret"], 1e-6) for row in seed] for seed in seeds]
            if len(seconds[0]) > 1:
                runs[name] = np.median(seconds, axis=0), np.array(regrets)
            else:
                marker = {"color": LEARNERS[name], "label": name, "alpha": 0.6}
                axis.plot(np.ravel(seconds), np.ravel(regrets), "o", **marker)
        paths(axis, runs, LEARNERS, band=1.0)
        axis.axhline(threshold_of(rows, task), color="black", linestyle="--", linewidth=1)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_title(task)
        axis.set_xlabel("seconds of one core")
        axis.get_legend().remove()
    handles, names = axes[0, 0].get_legend_handles_labels()
    shown = dict(zip(names, handles, strict=True))
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=len(shown))
    axes[0, 0].set_ylabel("regret")
    return figure
