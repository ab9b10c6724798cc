"""Every learner on every log and share: exact values, and shapes that its critic has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from matplotlib.figure import Figure

from bidclick_gym.campaigns import BudgetedCampaign, StateViolationEvaluator, solve
from bidclick_gym.campaigns.evaluators import (
    STATE_SHAPES,
    campaign_values,
    fixed_observations,
)

from ..engine import Cell, Part, Settings, keys_of
from ..engine.intervals import paired_difference
from ..engine.markdown import bullets, figures, interval, percent, said, section, table
from ..engine.pictures import Line, dots, subplots
from ..engine.rows import Rows, by_seed, distinct, select
from ..engine.tuning import best_settings, tune
from ..learners.campaigns import CAMPAIGN_LEARNERS, GAMMA, LAG, RELABELLED, other_budgets
from . import training

SHAPES = (*STATE_SHAPES, "concave")
#: States at which shapes are counted; fewer during training, which it would outlast.
STATES, FEWER_STATES = 200, 50
#: Share of the campaigns at which hyperparameters are chosen.
TUNED_AT = 0.25


def _cells(settings: Settings) -> Iterable[Cell]:
    """Seed by seed: an early end leaves whole seeds."""
    tuned = {log: best_settings(training.TUNED, log=log) for log in settings["logs"]}
    for seed in range(settings.seeds):
        for log in settings["logs"]:
            for fraction in settings["fractions"]:
                for name in settings["learners"]:
                    where = {"log": log, "tuned": tuned[log].get(name, ())}
                    where |= {"fraction": fraction, "steps": settings.steps}
                    yield Cell.of("learners", name, seed, **where)


def _measure(cell: Cell) -> Rows:
    campaign, learner = BudgetedCampaign(), CAMPAIGN_LEARNERS[cell.learner]
    has_values = learner.name != "BC"
    counts = {s: StateViolationEvaluator(campaign, s, n=STATES) for s in SHAPES}
    watched = [
        StateViolationEvaluator(campaign, s, n=FEWER_STATES) for s in learner.counted
    ]
    states = fixed_observations(campaign)
    worst = 0.0
    levels: list[float] = []

    def monitor(algo: Any, epoch: int, step: int) -> None:
        nonlocal worst
        if has_values:
            worst = max([worst, *(count(algo) for count in watched)])
            levels.append(float(campaign_values(algo, campaign, states, GAMMA).mean()))

    algo, seconds = training.train_learner(cell, monitor)
    best = solve(campaign, **training.GRID).optimal_value
    logger = training.value(training.LOGGERS[cell["log"]](campaign).probabilities_of)
    own = training.value(training.CampaignBidder(algo, learner.policy))
    errors = {s: count(algo) for s, count in counts.items()} if has_values else {}
    worst = max([worst, *(errors[shape] for shape in learner.counted)])
    return [
        {
            "return": own,
            "regret": best - own,
            "gap_closed": (own - logger) / (best - logger),
            **{f"{shape}_errors": errors.get(shape) for shape in SHAPES},
            "own_errors": worst if learner.counted else None,
            # How far the mean value moved over the second half of the training.
            "value_drift": levels[-1] - levels[len(levels) // 2] if levels else None,
            "train_seconds": seconds,
        }
    ]


LEARNERS = Part(
    "learners",
    (
        *("learner", "log", "fraction", "seed", "steps"),
        *("return", "regret", "gap_closed"),
        *(f"{shape}_errors" for shape in SHAPES),
        *("own_errors", "value_drift", "train_seconds"),
    ),
    _cells,
    _measure,
    training.learner_depends,
    arrange=keys_of("log", "-fraction", "learner", "seed", learner=CAMPAIGN_LEARNERS),
    file="results.csv",
)


def tune_learners(settings: Settings) -> None:
    if settings["tune"]:
        learners = {name: CAMPAIGN_LEARNERS[name] for name in settings["learners"]}
        places = [{"log": log, "fraction": TUNED_AT} for log in settings["logs"]]
        tune(training.TUNED, LEARNERS, learners, places, settings, keys=["log"])


# -- report ------------------------------------------------------------------

_SHOWN = (
    # column, heading, digits
    ("return", "Return", 3),
    ("regret", "Regret", 3),
    ("gap_closed", "Gap closed", 2),
    *((f"{shape}_errors", shape.replace("_", " "), 0) for shape in SHAPES),
    ("own_errors", "Own shapes", 0),
    ("value_drift", "Drift", 3),
)


def verdict_section(rows: Rows) -> str:
    picture = "![Regret of every learner](regret.png)"
    return section("Verdict", bullets(verdicts(rows)), picture)


def learner_section(rows: Rows) -> str:
    steps = " and ".join(f"{int(n):,}" for n in sorted(distinct(rows, "steps")))
    picker = other_budgets()
    return section(
        "Learners",
        *_tables(rows),
        f"""\
Returns are exact, by backward induction. "Gap closed" is the share of the way from the
logger's value to the optimum; below 0 is worse than the logger. Shape columns count
violated inequalities on {STATES} fixed states, where the bid is paid at both ends; "own
shapes" is the largest count over ten looks during training, of the shapes that the
learner has. "Drift" is how far the mean value moved over the second half of the training,
in clicks.""",
        f"""\
All learners: {steps} gradient steps, network, optimizer, schedule, batches and reward
scaling as in Table I, discount {GAMMA:g}. In the log a refused bid is a bid of 0, for all
learners, and every learner chooses among the bids that the rest of the budget can pay.
The lag of the targets, the alpha of CQL, the expectile and the temperature of
DiscreteIQL were chosen by the *oracle's* regret, on three other seeds of each log at a
quarter of its campaigns, our learners by the same search as the baselines:
`benchmarks/results/{training.TUNED.name}`. Chosen: {_tuning(rows)}.""",
        f"""\
Rows that end in "{RELABELLED.strip()}" know that a budget only pays:
{percent(picker.share)} of their transitions are under other budgets than their own,
{percent(picker.ends)} of those with nothing left, as many with as much left as can be
spent. Rows with "per step" also know the most that a payment can be, and read what is
left as a share of what the impressions to come can spend; their lag is {LAG:g}, not
tuned.""",
    )


def _tuning(rows: Rows) -> str:
    return (
        "; ".join(
            f"{name} on the {log} log "
            + ", ".join(f"{key} {value:g}" for key, value in settings)
            for log in training.LOGGERS
            for name, settings in best_settings(training.TUNED, log=log).items()
            if select(rows, learner=name, log=log)
        )
        or "nothing"
    )


def _places(rows: Rows) -> list[tuple[str, float]]:
    """Logs and shares of them, the largest share first."""
    return sorted(distinct(rows, "log", "fraction"), key=lambda key: (key[0], -key[1]))


def _tables(rows: Rows) -> Iterable[str]:
    for log, fraction in _places(rows):
        here = select(rows, log=log, fraction=fraction)
        names = [name for name in CAMPAIGN_LEARNERS if select(here, learner=name)]
        seeds = [len(select(here, learner=name)) for name in names]
        count = " to ".join(str(n) for n in sorted({min(seeds), max(seeds)}))
        lines = [[name, *figures(here, _SHOWN, learner=name)] for name in names]
        yield section(
            f"{log.capitalize()} log, {percent(fraction)} of its campaigns, "
            f"{count} seeds",
            table(["Learner", *(title for _, title, _ in _SHOWN)], lines),
            level=3,
        )


def verdicts(rows: Rows) -> Iterable[str]:
    worst = [row["own_errors"] for row in rows if row["own_errors"] is not None]
    if worst and max(worst) == 0.0:
        yield f"Shapes hold: 0 violations in {len(worst)} trainings, ten looks at each."
    elif worst:
        yield (
            f"Shapes **do not hold**: up to {max(worst):.0f} violations in {len(worst)} "
            "trainings."
        )
    for log, fraction in _places(rows):
        here = select(rows, log=log, fraction=fraction)
        for sentence in _comparisons(here):
            yield f"{log} log, {percent(fraction)}: {sentence}"


def _comparisons(rows: Rows) -> Iterable[str]:
    """Our best against the best baseline, and against itself without what it knows."""
    regret = {name: by_seed(rows, "regret", learner=name) for name in CAMPAIGN_LEARNERS}
    ran = {name: CAMPAIGN_LEARNERS[name] for name, seeds in regret.items() if seeds}

    def mean(name: str) -> float:
        return sum(regret[name].values()) / len(regret[name])

    best = min((n for n, one in ran.items() if one.kind == "ours"), key=mean, default="")
    if not best:
        return
    same = [n for n, one in ran.items() if one.relabelled == ran[best].relabelled]
    closes = interval(by_seed(rows, "gap_closed", learner=best), 2)
    more = f" It closes {closes} of the gap from logger to optimum."
    for rivals, what in (
        ([n for n, one in ran.items() if one.kind == "baseline"], "the best baseline"),
        ([n for n in same if ran[n].kind == "bare"], "the same critic without a shape"),
        (
            [n for n in ran if f"{n}{RELABELLED}" == best],
            "the same learner with budgets as logged",
        ),
    ):
        if rivals:
            rival = min(rivals, key=mean)
            gap = paired_difference(regret[best], regret[rival])
            words = said(
                gap,
                "regret is lower.",
                "regret is **higher**.",
                "**no difference can be told**.",
                "too few seeds to tell.",
            )
            yield (
                f"{words} *{best}* minus *{rival}*, {what}: {gap.format(3)} "
                f"({gap.seeds} seeds).{more}"
            )
            more = ""


def draw(rows: Rows) -> Figure:
    """Regret of every learner on every log and share: means and intervals over seeds."""
    logs = distinct(rows, "log")
    fractions = sorted(distinct(rows, "fraction"), reverse=True)
    names = [name for name in CAMPAIGN_LEARNERS if select(rows, learner=name)]
    figure, axes = subplots(
        2.0 + 2.7 * len(fractions),
        0.9 + (0.6 + 0.3 * len(names)) * len(logs),
        len(logs),
        len(fractions),
        sharex=True,
        sharey=True,
    )
    for i, log in enumerate(logs):
        for axis, fraction in zip(axes[i], fractions, strict=True):
            here = select(rows, log=log, fraction=fraction)
            lines = [
                Line(
                    name,
                    by_seed(here, "regret", learner=name),
                    CAMPAIGN_LEARNERS[name].colour,
                )
                for name in names
            ]
            dots(axis, lines)
            axis.set_title(f"{log} log, {percent(fraction)} of it", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("regret, clicks a campaign")
    return figure
