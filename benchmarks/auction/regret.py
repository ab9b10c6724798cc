"""How much regret each prior saves: ``python -m benchmarks regret``."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from ..engine import run_cells, write_rows, write_text
from ..learners import fit_quietly
from .cells import digest_of
from .regret_plot import plot_ladder
from .regret_report import regret_report
from .regret_rows import ROWS
from .regret_tasks import TASKS
from .regret_tuning import best_tuned

__all__ = ["FRACTIONS", "RegretCell", "RegretSettings", "run_regret"]

FRACTIONS = (1.0, 0.25, 0.0625)
COLUMNS = ("task", "row", "fraction", "seed", "steps", "tuned", "regret")


@dataclasses.dataclass(frozen=True)
class RegretCell:
    """One training run.

    Args:
        task: a name in ``TASKS``.
        row: a name in ``ROWS``.
        fraction: share of the log of 100,000 impressions.
        seed: draws the log, the share and the training.
        steps: gradient steps.
        tuned: hyperparameters beyond the shared settings, as sorted pairs.
    """

    task: str
    row: str
    fraction: float
    seed: int
    steps: int
    tuned: tuple[tuple[str, float], ...] = ()

    @property
    def digest(self) -> str:
        """Name of the cell's file."""
        make = ROWS[self.row].make
        config = None
        if make is not None:
            made = make(TASKS[self.task], self.steps, **dict(self.tuned))
            config = {"type": made.get_type(), "params": made.serialize_to_dict()}
        task = dataclasses.asdict(TASKS[self.task])
        return digest_of({"config": config, "of": task, **dataclasses.asdict(self)})

    @property
    def algorithm(self) -> str:
        """What a progress bar shows."""
        return self.row


@dataclasses.dataclass(frozen=True)
class RegretSettings:
    """What one run of the benchmark covers.

    Args:
        seeds: of the rows that decide verdicts; the others run on the first half.
        side_seeds: of every row over other bids than the five.
        steps: gradient steps of each run.
        workers: processes.
        out: where results go.
        command: as typed, for the report.
    """

    seeds: int = 20
    side_seeds: int = 5
    steps: int = 5000
    workers: int = 2
    out: pathlib.Path = pathlib.Path("runs/regret")
    command: str = "python -m benchmarks regret"


def run_regret(settings: RegretSettings) -> list[dict[str, Any]]:
    """Runs what is missing, then writes regret.csv, regret.md and regret.png."""
    cells = planned_cells(settings)
    rows = run_cells(cells, settings.out / "cells", settings.workers, train_one)
    return publish(rows, settings)


def publish(rows: list[dict[str, Any]], settings: RegretSettings) -> list[dict[str, Any]]:
    """Writes table and picture of the rows there are."""
    order = {name: i for i, name in enumerate(ROWS)}
    tasks = {name: i for i, name in enumerate(TASKS)}
    rows = sorted(
        rows,
        key=lambda r: (tasks[r["task"]], -r["fraction"], order[r["row"]], r["seed"]),
    )
    write_rows(settings.out / "regret.csv", COLUMNS, rows)
    plot_ladder(rows, settings.out / "regret.png")
    write_text(settings.out / "regret.md", regret_report(rows, settings.command))
    return rows


def planned_cells(settings: RegretSettings) -> list[RegretCell]:
    """Every run, those that matter most first, so that an early end loses least."""
    tuned = best_tuned()
    cells: list[RegretCell] = []

    def add(task: str, name: str, seed: int) -> None:
        for fraction in FRACTIONS:
            # Tuned on five bids; the same values serve the other tasks.
            chosen = tuned.get((name, fraction), ())
            cells.append(RegretCell(task, name, fraction, seed, settings.steps, chosen))

    half = (settings.seeds + 1) // 2
    first = next(iter(TASKS))
    for seed in range(settings.seeds):
        for name, row in ROWS.items():
            if row.main or seed < half:
                add(first, name, seed)
            if seed < settings.side_seeds:
                for task in row.tasks:
                    if task != first:
                        add(task, name, seed)
    return cells


def train_one(cell: RegretCell) -> list[dict[str, Any]]:
    """Trains one competitor on one log; one row with its exact regret."""
    import d3rlpy

    task, row = TASKS[cell.task], ROWS[cell.row]
    if row.make is None:
        from .regret_limit import ParametricLimit

        model: Any = ParametricLimit(task).fit(
            *task.click_columns(cell.seed, cell.fraction)
        )
    else:
        dataset = task.dataset(cell.seed, cell.fraction, row.learned_on_floats)
        d3rlpy.seed(cell.seed)
        config = row.make(task, cell.steps, **dict(cell.tuned))
        model = config.create(device="cpu:0")
        fit_quietly(model, dataset, cell.steps)
    named = dataclasses.asdict(cell)
    named["tuned"] = " ".join(f"{name}={value:g}" for name, value in cell.tuned)
    return [{**named, "regret": task.regret(model)}]
