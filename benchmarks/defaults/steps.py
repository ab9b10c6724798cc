"""How long to train, found from the log, against fixed counts of gradient steps."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Iterable
from typing import Any

import d3rlpy
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from icac_algo import ConstraintAwareQConfig

from ..engine import Cell, Experiment, Option, Part, Results, Settings, keys_of, register
from ..engine.intervals import Interval, bootstrap_mean, paired_difference
from ..engine.markdown import bullets, interval, section, table
from ..engine.pictures import BASELINE, OURS, paths, subplots
from ..engine.rows import Rows, by_seed, distinct, select
from ..learners import fit_quietly, trained
from ..realistic.patients import digest_of, read_patients
from .places import PLACES, QUICK, WARFARIN

AUTO, FIXED = "auto", "fixed"
#: Fixed counts of gradient steps.
STEPS = (250, 500, 1000, 2000, 4000, 8000)
#: By how much more regret than that of the best fixed count was asked for.
ALLOWED = 1.1
#: The first seed, of a log and a training; defaults were found on others.
FIRST_SEED = 100


def _cells(settings: Settings) -> Iterable[Cell]:
    """Seed by seed: an early end leaves whole seeds."""
    counts, places = (STEPS[:2], QUICK) if settings.quick else (STEPS, PLACES)
    for seed in range(FIRST_SEED, FIRST_SEED + settings.seeds):
        for place in places:
            if settings["data"] is None and place in WARFARIN:
                continue
            where = {
                "place": place,
                "data": settings["data"] if place in WARFARIN else "",
            }
            yield Cell.of("defaults", "", seed, longest=counts[-1], **where)


def _measure(cell: Cell) -> Rows:
    """What is found, then fixed counts of steps with the settings that were found."""
    place = {**PLACES, **QUICK}[cell["place"]]
    config, dataset, regret_of = place(cell.seed, cell["data"])
    rows: Rows = []

    def look(algo: Any, epoch: int, step: int) -> None:
        if step in STEPS:
            rows.append({"learner": FIXED, "steps": step, "regret": regret_of(algo)})

    start = time.process_time()
    auto = trained(config, dataset, cell.seed, "auto")
    found = {"seconds": time.process_time() - start, "decay": auto.config.weight_decay}
    row = {"learner": AUTO, "steps": auto.grad_step, "regret": regret_of(auto), **found}
    d3rlpy.seed(cell.seed)
    algo = copy.deepcopy(auto.config).create(device="cpu:0")
    # The longest training passes the shorter ones.
    longest = cell["longest"]
    fit_quietly(algo, dataset, longest, look, epochs=longest // STEPS[0])
    return [row, *rows]


# -- report ------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What was found at one place against fixed counts, of the seeds that both have."""

    auto: dict[int, float]  # regret by seed
    chosen: list[float]  # steps
    fixed: dict[float, dict[int, float]]  # regret by steps and seed

    @property
    def best(self) -> float:
        """The fixed count of the least mean regret."""
        return min(self.fixed, key=lambda n: bootstrap_mean(self.fixed[n]).mean)

    def ratio(self, steps: float) -> Interval:
        """Of the mean regrets; the interval is of the paired difference."""
        mean = bootstrap_mean(self.fixed[steps]).mean
        found = paired_difference(self.auto, self.fixed[steps])
        middle, low, high = (1.0 + v / mean for v in (found.mean, found.low, found.high))
        return Interval(middle, low, high, found.seeds)


def comparisons(rows: Rows) -> dict[str, Comparison]:
    found = {}
    for place in distinct(rows, "place"):
        auto = select(rows, place=place, learner=AUTO)
        fixed = select(rows, place=place, learner=FIXED)
        shared = set(distinct(auto, "seed")) & set(distinct(fixed, "seed"))
        auto, fixed = ([r for r in of if r["seed"] in shared] for of in (auto, fixed))
        if shared:
            found[place] = Comparison(
                by_seed(auto, "regret"),
                [row["steps"] for row in auto],
                {n: by_seed(fixed, "regret", steps=n) for n in distinct(fixed, "steps")},
            )
    return found


def _verdicts(rows: Rows) -> Iterable[str]:
    found = {place: one.ratio(one.best) for place, one in comparisons(rows).items()}
    worse = [place for place, ratio in found.items() if ratio.mean > ALLOWED]
    word = "**does not hold**" if worse else "**holds**"
    yield f"None worse than the best fixed count by more than 10 % {word}."
    for place in worse:
        yield f"{place}: {found[place].format(2)} times the regret of the best count."


def _sections(results: Results) -> Iterable[str]:
    rows = results["defaults"]
    yield (
        'Our defaults, and nothing tuned, on every log: `n_steps="auto"` against fixed '
        "counts of gradient steps with the same settings. Regret is exact. A seed draws "
        "the log, or the split, and the training; one training passes all fixed counts. "
        "*Best* is the fixed count of the least mean regret on the seeds shown, which "
        "nobody could know; the interval is the 95 % bootstrap of the paired difference."
    )
    yield "![Regret against steps](defaults.png)"
    yield section("Verdict", bullets(_verdicts(rows)))
    lines = []
    for place, one in comparisons(rows).items():
        chosen = f"{min(one.chosen):,.0f} to {max(one.chosen):,.0f}"
        best, ratio = f"{one.best:,.0f}", one.ratio(one.best).format(2)
        each = " ".join(f"{one.ratio(n).mean:.2f}" for n in one.fixed)
        regret = interval(one.auto, 4)
        lines.append([place, len(one.auto), regret, chosen, best, ratio, each])
    counts = ", ".join(f"{n:,}" for n in STEPS)
    head = ["Log", "Seeds", "Regret", "Steps chosen", "Best", "Times its regret"]
    yield section("Table", table([*head, f"... that of {counts}"], lines, "lrrrrrl"))


def _picture(results: Results) -> Figure:
    found = comparisons(results["defaults"])
    columns = min(4, len(found))
    lines = -(-len(found) // columns)
    figure, axes = subplots(3.4 * columns, 2.7 * lines, lines, columns)
    for axis in axes.flat[len(found) :]:
        axis.axis("off")
    for axis, (place, one) in zip(axes.flat, found.items(), strict=False):
        runs = [[values[s] for values in one.fixed.values()] for s in one.auto]
        fixed = {"fixed": (np.array(list(one.fixed)), np.array(runs))}
        paths(axis, fixed, {"fixed": BASELINE})
        axis.plot(one.chosen, list(one.auto.values()), "o", color=OURS, label="auto")
        axis.axhline(bootstrap_mean(one.auto).mean, color=OURS, linewidth=1)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks(list(STEPS[::2]), [f"{n:,}" for n in STEPS[::2]])
        axis.xaxis.set_minor_formatter(NullFormatter())
        if (legend := axis.get_legend()) is not None:
            legend.remove()
        axis.set_title(place, fontsize=9)
    axes[0, 0].legend(fontsize=8, frameon=False)
    figure.supxlabel("gradient steps", fontsize=9)
    figure.supylabel("regret", fontsize=9)
    return figure


def _check(settings: Settings) -> None:
    if settings["data"] is not None:
        read_patients(settings["data"])


def _depends(cell: Cell) -> Any:
    return digest_of(cell["data"]) if cell["data"] else None, ConstraintAwareQConfig()


register(
    Experiment(
        "defaults",
        "the same defaults on every log: steps found from it, against fixed counts",
        parts=[
            Part(
                "defaults",
                ("place", "learner", "seed", "steps", "decay", "regret", "seconds"),
                _cells,
                _measure,
                _depends,
                arrange=keys_of(
                    "place", "learner", "seed", "steps", place=[*PLACES, *QUICK]
                ),
            )
        ],
        title="The same defaults everywhere",
        sections=_sections,
        pictures={"defaults.png": _picture},
        defaults={"seeds": 3, "workers": 2},
        quick={"seeds": 1},
        options=[Option("--data", metavar="FILE", help="of warfarin; docs/real-logs.md")],
        prepare=_check,
    )
)
