"""Times of projections: every method in turn, then ours over growing K."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

from .projections_methods import IDENTITY, OURS, Runner, local_methods
from .projections_problems import SHAPES, make_problem, solve_trusted
from .rivals_client import NotRun, Rivals, rivals_of

__all__ = ["BATCH", "COLUMNS", "FULL", "QUICK", "Growth", "Plan", "measure_methods"]

BATCH = 256
COLUMNS = (
    *("part", "shape", "size", "batch", "method", "round", "repeats", "seconds"),
    *("error", "residual", "note"),
)

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much is measured.

    Args:
        sizes: numbers of actions at which methods are compared.
        growth: numbers of actions over which ours is followed.
        batch: rows of each projection.
        rounds: how often each method is timed, in turn with the others.
        growth_rounds: the same for growth.
        updates: gradient steps in each round.
        seconds: what one timing should take; faster methods are repeated.
        patience: a shape whose pass takes longer is not followed to larger K.
        checked: rows that are solved by the reference.
    """

    sizes: tuple[int, ...] = (5, 21, 101)
    growth: tuple[int, ...] = (2, 3, 5, 11, 21, 51, 101, 201, 501, 1001)
    batch: int = BATCH
    rounds: int = 7
    growth_rounds: int = 3
    updates: int = 200
    seconds: float = 0.05
    patience: float = 5.0
    checked: int = 32


FULL = Plan()
QUICK = Plan(
    sizes=(5, 11),
    growth=(2, 5, 11),
    rounds=2,
    growth_rounds=2,
    updates=3,
    seconds=0.001,
    checked=4,
)


def measure_methods(shape: str, size: int, plan: Plan, rivals: Rivals) -> list[Row]:
    """All methods on one problem, in turn, with the errors of their solutions.

    Returns:
        a row for each method and round; one without a time where a package did not run.
    """
    problem = make_problem(shape, size, plan.batch)
    reference = solve_trusted(problem, plan.checked)
    runners: dict[str, Runner] = {}
    failed: dict[str, str] = {}
    for name, build in local_methods(problem).items():
        runners[name] = build()
    for package in rivals_of(shape, size):
        try:
            runners[package] = rivals.prepare(package, problem)
        except NotRun as reason:
            failed[package] = str(reason)
    timed, fallen = _in_turn(runners, plan.rounds, plan.seconds)
    failed.update(fallen)
    place = {"part": "projection", "shape": shape, "size": size, "batch": plan.batch}
    blank = dict.fromkeys(COLUMNS)
    rows = [
        {
            **blank,
            **place,
            **row,
            # The identity solves another problem.
            "error": None
            if row["method"] == IDENTITY
            else reference.error_of(runners[row["method"]].solution),
            "residual": reference.residual,
        }
        for row in timed
        if row["method"] not in failed
    ]
    return rows + [
        {**blank, **place, "method": name, "note": reason}
        for name, reason in failed.items()
    ]


def _in_turn(
    runners: Mapping[str, Runner], rounds: int, seconds: float
) -> tuple[list[Row], dict[str, str]]:
    """Rows of all rounds, and why those that fell on the way fell."""
    rows: list[Row] = []
    failed: dict[str, str] = {}
    repeats: dict[str, int] = {}
    # Turn -1 only finds out how often to repeat.
    for turn in range(-1, rounds):
        for name, runner in runners.items():
            if name in failed:
                continue
            try:
                took = runner.seconds(repeats.get(name, 1))
            except NotRun as reason:
                failed[name] = str(reason)
                continue
            if turn < 0:
                repeats[name] = max(1, min(2000, round(seconds / took)))
                continue
            rows.append(
                {
                    "method": name,
                    "round": turn,
                    "repeats": repeats[name],
                    "seconds": took,
                }
            )
    return rows, failed


class Growth:
    """Ours over growing K, all shapes in turn, until one takes too long."""

    def __init__(self, plan: Plan):
        self._plan = plan
        self._slow: dict[str, int] = {}

    def measure(self, size: int) -> list[Row]:
        """A row for each shape and round, and the identity's; sizes in rising order."""
        plan = self._plan
        place = {"part": "growth", "size": size, "batch": plan.batch}
        blank = dict.fromkeys(COLUMNS)
        anything = make_problem("Monotone", size, plan.batch)
        runners: dict[str, Runner] = {IDENTITY: local_methods(anything)[IDENTITY]()}
        rows: list[Row] = []
        for shape in SHAPES:
            if shape in self._slow:
                note = f"over {plan.patience:g} s a pass at K = {self._slow[shape]}"
                rows.append(
                    {**blank, **place, "shape": shape, "method": OURS, "note": note}
                )
                continue
            methods = local_methods(make_problem(shape, size, plan.batch))
            started = time.perf_counter()
            runner = methods[OURS]()
            took = time.perf_counter() - started
            if took <= plan.patience:
                runners[shape] = runner
                continue
            # One pass, the first, is all it gets.
            self._slow[shape] = size
            once = {"method": OURS, "round": 0, "repeats": 1, "seconds": took}
            rows.append({**blank, **place, **once, "shape": shape})
        for row in _in_turn(runners, plan.growth_rounds, plan.seconds)[0]:
            shape = row["method"]
            method = IDENTITY if shape == IDENTITY else OURS
            rows.append({**blank, **place, **row, "shape": shape, "method": method})
        return rows
