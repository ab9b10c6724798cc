"""Seconds to a policy that is good enough: ``python -m benchmarks waiting``."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable
from typing import Any

import d3rlpy
from threadpoolctl import threadpool_limits

from ..engine import Cell, Experiment, Option, Part, Settings, keys_of, register
from ..engine.rows import Rows
from ..learners import fit_quietly, trained
from .learners import Training
from .patients import digest_of, read_patients
from .waiting_report import LEARNERS, picture_of, sections_of
from .waiting_tasks import AUTO, WAITING_TASKS, WARFARIN

#: Steps between which a training may be looked at.
EVERY = 50
#: The first seed, of a log and a training; our defaults were found on others.
FIRST_SEED = 100
#: Seeds of what searches for steps itself: it takes minutes.
AUTO_SEEDS = 3


def looks(steps: int) -> list[int]:
    """When a training is looked at: steps that grow by about the root of two."""
    grown = (EVERY * 2.0 ** (k / 2.0) for k in range(64))
    rounded = (EVERY * round(step / EVERY) for step in grown)
    return sorted({*(step for step in rounded if step < steps), steps})


def watched(
    training: Training,
    seed: int,
    regret_of: Callable[[Any], float],
    clock: Callable[[], float] = time.process_time,
) -> Rows:
    """Seconds of training and the regret at each look, during which the clock stands."""
    steps = max(EVERY, training.steps // EVERY * EVERY)
    at, paused = set(looks(steps)), 0.0
    rows: Rows = []

    def look(algo: Any, epoch: int, step: int) -> None:
        nonlocal paused
        stopped = clock()
        if step in at:
            seconds = stopped - started - paused
            rows.append({"step": step, "seconds": seconds, "regret": regret_of(algo)})
        paused += clock() - stopped

    d3rlpy.seed(seed)
    started = clock()
    algo = training.config.create(device="cpu:0")
    fit_quietly(algo, training.dataset, steps, look, epochs=steps // EVERY)
    return rows


def _run(cell: Cell, few: bool, most: int) -> Rows:
    """The rows of a cell on its log or a few rows of it, of so many steps at most."""
    task = WAITING_TASKS[cell["task"]]
    world, log = task.open(cell.seed, cell["data"], few)

    def regret_of(policy: Any) -> float:
        return float(world.regret(policy(world.judged)))

    if cell.learner in task.models:
        started = time.process_time()
        policy = next(iter(task.models[cell.learner](world, log, cell.seed).values()))
        seconds = time.process_time() - started
        return [{"step": None, "seconds": seconds, "regret": regret_of(policy)}]
    training = task.networks[cell.learner](world, log, cell["steps"])
    # On a few rows the search would take as long as on many.
    if cell.learner == AUTO and not few:
        started = time.process_time()
        algo = trained(training.config, training.dataset, cell.seed, "auto")
        seconds = time.process_time() - started
        regret = regret_of(training.policy(algo))
        return [{"step": algo.grad_step, "seconds": seconds, "regret": regret}]
    training = dataclasses.replace(training, steps=min(training.steps, most))
    return watched(training, cell.seed, lambda algo: regret_of(training.policy(algo)))


def _measure(cell: Cell) -> Rows:
    with threadpool_limits(1):
        if cell.learner in WAITING_TASKS[cell["task"]].networks:
            # What the first training of a process imports is not waited for at others.
            _run(cell, few=True, most=EVERY)
        return _run(cell, cell["few"], cell["steps"])


def _cells(settings: Settings) -> Iterable[Cell]:
    """Seed by seed: an early end leaves whole seeds."""
    for seed in range(FIRST_SEED, FIRST_SEED + settings.seeds):
        for name, task in WAITING_TASKS.items():
            data = settings["warfarin"] if name == WARFARIN else ""
            where = {"task": name, "data": data, "few": settings.quick}
            names = task.learners if data is not None else []
            for learner in names:
                if learner == AUTO and seed >= FIRST_SEED + AUTO_SEEDS:
                    continue
                yield Cell.of("waiting", learner, seed, steps=settings.steps, **where)


def _depends(cell: Cell) -> Any:
    """The file, and the config that a learner has on a few rows."""
    task, data = WAITING_TASKS[cell["task"]], cell["data"]
    config = None
    if cell.learner in task.networks:
        world, log = task.open(cell.seed, data, True)
        config = task.networks[cell.learner](world, log, cell["steps"]).config
    return digest_of(data) if data else None, config


def _check(settings: Settings) -> None:
    if settings["warfarin"] is not None:
        read_patients(settings["warfarin"])


register(
    Experiment(
        "waiting",
        "seconds from a log to a policy that is good enough",
        parts=[
            Part(
                "waiting",
                ("task", "learner", "seed", "step", "seconds", "regret"),
                _cells,
                _measure,
                _depends,
                arrange=keys_of(
                    *("task", "learner", "seed", "seconds"),
                    task=WAITING_TASKS,
                    learner=LEARNERS,
                ),
            )
        ],
        title="How long one waits for a policy",
        sections=sections_of,
        pictures={"waiting.png": picture_of},
        defaults={"seeds": 10, "steps": 5000, "workers": 2},
        quick={"seeds": 1, "steps": 100},
        options=[
            Option("--warfarin", metavar="FILE", help="of patients; docs/real-logs.md")
        ],
        prepare=_check,
    )
)
