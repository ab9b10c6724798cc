"""Doses of warfarin from a log, judged exactly: ``python -m benchmarks warfarin``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from icac_algo import ConstraintAwareQConfig

from ..engine import Cell, Experiment, Option, Part, Results, Settings, keys_of, register
from ..engine.intervals import bootstrap_mean
from ..engine.markdown import bullets, said, section
from ..engine.rows import Rows, distinct
from .dose_learners import DOSE_LEARNERS, TREES, TREES_ON_RIDGE, TRIES
from .patients import Patients, digest_of, read_patients
from .realistic import against, best_of, draw_regrets, fitted, regrets, table_of

#: What was asked for.
MOST_REGRET = 6.0


def _cells(settings: Settings) -> Iterable[Cell]:
    if settings["data"] is None:  # with --rebuild
        return
    names = list(DOSE_LEARNERS)[: 6 if settings.quick else None]
    for seed in range(settings.seeds):
        for name in names:
            yield Cell.of("warfarin", name, seed, data=settings["data"])


def _measure(cell: Cell) -> Rows:
    table = read_patients(cell["data"])
    world = Patients.split(table, cell.seed)
    rows = fitted(DOSE_LEARNERS[cell.learner], world, world.log, cell.seed)
    where = {"world": world.name, "size": len(table) - len(world.judged)}
    return [{**where, **row} for row in rows]


def _check(settings: Settings) -> None:
    read_patients(str(settings["data"]))


def _depends(cell: Cell) -> Any:
    ours = DOSE_LEARNERS[cell.learner].kind == "ours"
    return digest_of(cell["data"]), ConstraintAwareQConfig() if ours else TRIES


def _verdicts(rows: Rows, size: float) -> Iterable[str]:
    found = regrets(rows, "warfarin", size)
    rivals = [n for n, one in DOSE_LEARNERS.items() if one.kind not in ("ours", "limit")]
    for name, one in DOSE_LEARNERS.items():
        if one.kind != "ours" or name not in found:
            continue
        mean = bootstrap_mean(found[name])
        word = "**holds**" if mean.mean <= MOST_REGRET else "**does not hold**"
        yield f"*{name}*: a value of at least -{MOST_REGRET:g} {word}: {mean.format(2)}."
        for rival in dict.fromkeys([TREES, TREES_ON_RIDGE, best_of(found, rivals)]):
            if rival in found:
                less = against(found, name, rival)[1]
                yield f"*{name}* {said(less)} *{rival}*: {less.format(2)}."


def _sections(results: Results) -> Iterable[str]:
    rows = results["warfarin"]
    (size,) = distinct(rows, "size")
    yield (
        "Random splits of the patients, three quarters to learn from. Regret is that of "
        "the others at the dose that a learner gives them, exact, for the file has their "
        "right doses, which earn 0: it is the mean reward without its sign. Means with "
        "95 % bootstrap intervals over splits, which share patients; differences are "
        "paired by split."
    )
    yield "![Regret of every learner](warfarin.png)"
    yield section("Verdict", bullets(_verdicts(rows, size)))
    yield section("Regret", table_of(rows, "warfarin", size, (TREES,), digits=2))
    yield section("How to read it", _NOTES)


_NOTES = f"""\
- A learner sees covariates, logged doses and rewards of the patients to learn from. The
  greatest dose of every policy is the 99.5 % quantile of the logged ones; rows above it
  are left out for all. The single dose and the ridge that see right doses are limits.
- **ours** has its defaults and knows that the reward is concave in the dose. Models of
  the reward choose among up to {TRIES} settings by squared error on three folds of the
  patients to learn from; *on a ridge* also see what a quadratic ridge predicts.
- IQL and CQL (of 21 doses) have networks, batches, scaled covariates, steps and decays of
  the realistic logs. The best of their settings is the best by these very patients, which
  favours them.
- Seconds are of one core, choice of settings included."""

register(
    Experiment(
        "warfarin",
        "doses of warfarin, from a file that has the right ones",
        parts=[
            Part(
                "warfarin",
                ("world", "size", "learner", "seed", "regret", "seconds"),
                _cells,
                _measure,
                _depends,
                arrange=keys_of("learner", "seed", learner=DOSE_LEARNERS),
            )
        ],
        title="Doses of warfarin",
        sections=_sections,
        pictures={
            "warfarin.png": lambda results: draw_regrets(results["warfarin"], "linear")
        },
        defaults={"seeds": 10, "workers": 2},
        quick={"seeds": 1},
        options=[Option("--data", metavar="FILE", help="a .npy file; docs/real-logs.md")],
        prepare=_check,
    )
)
