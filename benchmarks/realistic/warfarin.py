"""Doses of warfarin from a log, judged exactly: ``python -m benchmarks warfarin``."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

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
from ..engine.intervals import bootstrap_mean, paired_difference
from ..engine.markdown import bullets, interval, section, table
from ..engine.pictures import BASELINE, LIMIT, Line, dots, subplots
from ..engine.rows import Rows, by_seed, distinct
from .dose_learners import (
    DOSE_LEARNERS,
    FOLDS,
    OURS,
    OURS_OUTCOME,
    STEPS,
    TREES,
    TRIES,
)
from .patients import PatientsError, Split, digest_of, read_patients, reward_of
from .worlds import Array

LOGGER, SINGLE, SIGHTED = (
    "the logger",
    "best single dose",
    "ridge that sees the right dose",
)
_LIMITS = (LOGGER, SINGLE, SIGHTED)
GOAL = -6.0


def _cells(settings: Settings) -> Iterable[Cell]:
    path = settings["data"]
    if path is None:  # --rebuild
        return
    for seed in range(settings.seeds):
        for name in (*_LIMITS, *settings["learners"]):
            yield Cell.of("warfarin", name, seed, data=path)


def _measure(cell: Cell) -> Rows:
    split = Split.of(read_patients(cell["data"]), cell.seed)
    start = time.process_time()
    if cell.learner == LOGGER:
        value = split.logged_value
    elif cell.learner in _LIMITS:
        value = split.value(_limit(split, cell.learner))
    else:
        fit = DOSE_LEARNERS[cell.learner].fit
        (policy,) = fit(split.problem, split.log, cell.seed).values()
        value = split.value(policy(split.judged))
    return [{"value": value, "seconds": time.process_time() - start}]


def _limit(split: Split, name: str) -> Array:
    """Doses of who sees the right ones of the patients to learn from."""
    if name == SINGLE:
        shares = split.problem.candidates
        doses = split.problem.dose(shares)
        values = reward_of(doses, split.right[:, None]).mean(axis=0)
        return np.full(len(split.test), shares[values.argmax()])
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(0.0, 4.0, 9)))
    model.fit(split.log.observations, np.log(split.right))
    return split.problem.share(np.exp(model.predict(split.judged))).clip(0.0, 1.0)


def _check(settings: Settings) -> None:
    try:
        if settings["data"] is None:
            raise PatientsError("a file is needed")
        read_patients(str(settings["data"]))
    except PatientsError as error:
        raise UsageError(f"--data: {error}") from error


def _depends(cell: Cell) -> Any:
    return digest_of(cell["data"]), STEPS if cell.learner.startswith(OURS) else TRIES


# -- report ------------------------------------------------------------------


def values_of(rows: Rows) -> dict[str, dict[int, float]]:
    """By learner and split, the best mean first."""
    found = {
        name: by_seed(rows, "value", learner=name) for name in distinct(rows, "learner")
    }
    return dict(sorted(found.items(), key=lambda one: -bootstrap_mean(one[1]).mean))


def _verdicts(rows: Rows) -> Iterable[str]:
    found = values_of(rows)
    rivals = [name for name in found if name not in (*_LIMITS, OURS, OURS_OUTCOME)]
    for name in (OURS, OURS_OUTCOME):
        if name not in found:
            continue
        mean = bootstrap_mean(found[name])
        word = "**holds**" if mean.mean >= GOAL else "**does not hold**"
        yield f"*{name}*: a mean value of at least {GOAL:g} {word}: {mean.format(2)}."
        for rival in dict.fromkeys([TREES, *rivals[:1]]):
            if rival in found:
                more = paired_difference(found[name], found[rival])
                word = "**holds**" if more.low > 0.0 else "**does not hold**"
                yield f"*{name}*: above *{rival}* {word}: by {more.format(2)}."


def _sections(results: Results) -> Iterable[str]:
    rows = results["warfarin"]
    found = values_of(rows)
    splits = len(distinct(rows, "seed"))
    yield (
        f"{splits} random splits of the patients, three quarters to learn from. Value is "
        "the mean reward of the others at the dose that a learner gives them, exact, for "
        "the file has their right doses; higher is better. Means with 95 % bootstrap "
        "intervals over splits, which share patients; differences are paired by split."
    )
    yield "![Value of every learner](warfarin.png)"
    yield section("Verdict", bullets(_verdicts(rows)))
    lines = []
    for name, values in found.items():
        less = ""
        if name != TREES and found.get(TREES):
            less = paired_difference(values, found[TREES]).format(2)
        seconds = bootstrap_mean(by_seed(rows, "seconds", learner=name)).mean
        shown = f"**{name}**" if name.startswith(OURS) else name
        lines.append([shown, interval(values, 2), less, f"{seconds:.1f}"])
    head = ["Learner", "Value", f"Less *{TREES}*", "Seconds"]
    yield section("Values", table(head, lines, "lrrr"))
    yield section("How to read it", _NOTES)


_NOTES = f"""\
- A learner sees covariates, logged doses and rewards of the patients to learn from. The
  greatest dose of every policy is the 99.5 % quantile of the logged ones; rows above it
  are left out for all.
- **ours** has its defaults and is told that the reward is concave in the dose.
- Models of the reward choose among up to {TRIES} settings by squared error on {FOLDS}
  folds of the training part; all but the ridge may be given what a ridge with quadratic
  terms found: its best dose as a feature, or what it leaves as the target.
- IQL and CQL (21 doses) have the networks, batches, standardised covariates and steps of
  the [realistic logs](../realistic/report.md). A row for each setting is shown; the best
  of them is one chosen with the test patients in view, which favours them.
- Limits: *{SINGLE}* and *{SIGHTED}* learn from the right doses, which no learner sees.
- Seconds are of one core, choice of settings included."""


def _picture(results: Results) -> Figure:
    found = values_of(results["warfarin"])
    figure, axes = subplots(8.0, 0.32 * len(found) + 1.2)

    def colour(name: str) -> str:
        known = DOSE_LEARNERS.get(name)
        return LIMIT if known is None else known.colour

    dots(axes[0, 0], [Line(n, v, colour(n)) for n, v in found.items()], digits=None)
    axes[0, 0].axvline(GOAL, color=BASELINE, linestyle=":")
    axes[0, 0].set_xlabel("mean reward of patients who were not learned from")
    return figure


register(
    Experiment(
        "warfarin",
        "doses of warfarin, from a file that has the right ones",
        parts=[
            Part(
                "warfarin",
                ("learner", "seed", "value", "seconds"),
                _cells,
                _measure,
                _depends,
                arrange=keys_of("learner", "seed", learner=[*_LIMITS, *DOSE_LEARNERS]),
            )
        ],
        title="Doses of warfarin",
        sections=_sections,
        pictures={"warfarin.png": _picture},
        defaults={"seeds": 10, "workers": 2, "learners": tuple(DOSE_LEARNERS)},
        quick={"seeds": 1, "learners": (OURS, "quadratic ridge")},
        options=[
            Option("--data", metavar="FILE", help="a .npy file; docs/real-logs.md"),
            Option(
                "--learners",
                nargs="+",
                choices=tuple(DOSE_LEARNERS),
                metavar="LEARNER",
                help=f"of {'; '.join(DOSE_LEARNERS)}; all by default",
            ),
        ],
        prepare=_check,
    )
)
