"""What ``python -m benchmarks paper`` runs, part by part, and where its rows go."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from ..auction.cells import Cell, train_and_measure
from ..auction.measures import COLUMNS as TABLE1_COLUMNS
from ..auction.tuning import best_settings
from ..engine import BrokenCellsError, read_rows, run_cells, write_rows
from ..engine.sweep import finished
from ..learners import AUCTION_LEARNERS
from . import PARTS, ablation, cost, curves, policies
from .readings import READINGS, reachable, values_of
from .theory import theory_figures
from .variants import VARIANTS

__all__ = [
    "PaperSettings",
    "Results",
    "Rows",
    "collect_finished",
    "planned",
    "read_results",
    "run_parts",
]

ENVS = ("BidClick-v0", "BidClickMonotone-v0")
TABLE1_FRACTIONS = (1.0, 0.25, 0.0625)
TABLE2_FRACTIONS = (1.0, 0.0625)
_READING_COLUMNS = (
    "reading",
    "best",
    "worst",
    "logger",
    "logger_mode",
    "highest_bid",
    "monotone_share",
    "reachable",
)

Rows = list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class PaperSettings:
    """One run of the paper's experiments.

    Args:
        parts: names in ``PARTS``.
        seeds: of Tables I and II.
        curve_seeds: of the training curves.
        steps: gradient steps.
        workers: processes.
        ray_address: of a Ray cluster, or ``None``.
        quick: the smallest thing that still runs every path.
        out: folder of results.
        command: as typed, for the report.
    """

    parts: tuple[str, ...] = PARTS
    seeds: int = 20
    curve_seeds: int = 5
    steps: int = 5000
    workers: int = 2
    ray_address: str | None = None
    quick: bool = False
    out: pathlib.Path = pathlib.Path("runs/paper")
    command: str = "python -m benchmarks paper"


@dataclasses.dataclass(frozen=True)
class Results:
    """Raw rows of every part, as they are published; empty where a part was not run."""

    theory: Rows = dataclasses.field(default_factory=list)
    readings: Rows = dataclasses.field(default_factory=list)
    table1: Rows = dataclasses.field(default_factory=list)
    table2: Rows = dataclasses.field(default_factory=list)
    curves: Rows = dataclasses.field(default_factory=list)
    cost: Rows = dataclasses.field(default_factory=list)
    policies: Rows = dataclasses.field(default_factory=list)

    def theory_figure(self, name: str) -> float | None:
        """One figure of section III, or ``None``."""
        found = [row["value"] for row in self.theory if row["figure"] == name]
        return float(found[0]) if found else None


def run_parts(settings: PaperSettings) -> Results:
    """Runs what is missing of each part and writes its CSV; other parts stay as they are.

    Raises:
        BrokenCellsError: cells failed; all others are finished and kept.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    failures: list[tuple[Any, str]] = []
    done = total = 0
    for part in settings.parts:
        try:
            rows = _RUN[part](settings)
        except BrokenCellsError as error:
            failures.extend(error.failures)
            done, total = done + error.finished, total + error.total
            continue
        write_rows(settings.out / f"{part}.csv", _COLUMNS[part], rows)
    if failures:
        raise BrokenCellsError(failures, done, total)
    return read_results(settings.out)


def read_results(folder: pathlib.Path) -> Results:
    """The published rows of a folder."""
    found = {}
    for part in PARTS:
        path = folder / f"{part}.csv"
        found[part] = read_rows(path) if path.exists() else []
    return Results(**found)


def collect_finished(settings: PaperSettings) -> Results:
    """Writes the CSV files from the cells there are, without running any."""
    folder = settings.out / "cells"
    for part in settings.parts:
        if part in ("theory", "readings"):
            rows = _RUN[part](settings)
        else:
            kept = [finished(cell, folder) for cell in planned(part, settings)]
            rows = _SORT[part]([row for found in kept for row in found or []])
        write_rows(settings.out / f"{part}.csv", _COLUMNS[part], rows)
    return read_results(settings.out)


# -- plans -------------------------------------------------------------------


def planned(part: str, settings: PaperSettings) -> list[Any]:
    """Cells of a part, seed by seed, so that an early end leaves whole seeds."""
    return _PLANS[part](settings)


def _table1_cells(settings: PaperSettings) -> list[Any]:
    tuned = best_settings()
    fractions = (1.0, 0.0625) if settings.quick else TABLE1_FRACTIONS
    names: Sequence[str] = tuple(AUCTION_LEARNERS)
    if settings.quick:
        names = ("BC", "DQN", "CQL", "IQL", "Ours-paper", "Ours-Concave")
    return [
        Cell(name, env, fraction, seed, settings.steps, tuned.get(name, ()))
        for seed in range(settings.seeds)
        for env in (ENVS[:1] if settings.quick else ENVS)
        for fraction in fractions
        for name in names
    ]


def _table2_cells(settings: PaperSettings) -> list[Any]:
    return [
        ablation.AblationCell(name, env, fraction, seed, settings.steps)
        for seed in range(settings.seeds)
        for env in (ENVS[:1] if settings.quick else ENVS)
        for fraction in (TABLE2_FRACTIONS[:1] if settings.quick else TABLE2_FRACTIONS)
        for name, variant in VARIANTS.items()
        if not variant.same_as
    ]


def _curve_cells(settings: PaperSettings) -> list[Any]:
    names = ("DQN", "CQL", "Ours-paper") if settings.quick else curves.CURVES
    return [
        curves.CurveCell(name, seed, settings.steps)
        for seed in range(settings.curve_seeds)
        for name in names
    ]


def _cost_cells(settings: PaperSettings) -> list[Any]:
    return [cost.CostCell(2, 5) if settings.quick else cost.CostCell()]


def _policy_cells(settings: PaperSettings) -> list[Any]:
    return [policies.PolicyCell(name, 0, settings.steps) for name in policies.MODELS]


# -- running -----------------------------------------------------------------


def _theory(settings: PaperSettings) -> Rows:
    return [{"figure": k, "value": v} for k, v in theory_figures().items()]


def _readings(settings: PaperSettings) -> Rows:
    rows = []
    for reading in READINGS:
        values = values_of(reading)
        rows.append(
            {
                "reading": reading.name,
                **dataclasses.asdict(values),
                "reachable": ", ".join(row.name for row in reachable(values)),
            }
        )
    return rows


def _sweep(part: str, run: Callable[[Any], Rows]) -> Callable[[PaperSettings], Rows]:
    def sweep(settings: PaperSettings) -> Rows:
        # Timing is worth nothing beside other work.
        alone = part == "cost"
        rows = run_cells(
            planned(part, settings),
            settings.out / "cells",
            1 if alone else settings.workers,
            run,
            None if alone else settings.ray_address,
        )
        return _SORT[part](rows)

    return sweep


def _by(*keys: str) -> Callable[[Rows], Rows]:
    return lambda rows: sorted(rows, key=lambda row: tuple(row[key] for key in keys))


_PLANS: dict[str, Callable[[PaperSettings], list[Any]]] = {
    "table1": _table1_cells,
    "table2": _table2_cells,
    "curves": _curve_cells,
    "cost": _cost_cells,
    "policies": _policy_cells,
}
_RUN: dict[str, Callable[[PaperSettings], Rows]] = {
    "theory": _theory,
    "readings": _readings,
    "table1": _sweep("table1", train_and_measure),
    "table2": _sweep("table2", ablation.train_variant),
    "curves": _sweep("curves", curves.train_and_watch),
    "cost": _sweep("cost", cost.time_all),
    "policies": _sweep("policies", policies.train_and_draw),
}
_SORT: dict[str, Callable[[Rows], Rows]] = {
    "table1": _by("env", "fraction", "algorithm", "seed"),
    "table2": _by("env", "fraction", "variant", "critic", "seed"),
    "curves": _by("algorithm", "seed", "step"),
    "cost": _by("algorithm", "round"),
    "policies": _by("kind", "model", "seed", "x", "c", "bid"),
}
_COLUMNS: dict[str, Sequence[str]] = {
    "theory": ("figure", "value"),
    "readings": _READING_COLUMNS,
    "table1": TABLE1_COLUMNS,
    "table2": ablation.COLUMNS,
    "curves": curves.COLUMNS,
    "cost": cost.COLUMNS,
    "policies": policies.COLUMNS,
}
