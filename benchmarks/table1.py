"""Table I: all algorithms on one auction, as CSV, report and picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .algorithms import ALGORITHMS
from .cells import Cell
from .files import write_rows, write_text
from .measures import COLUMNS
from .plots import plot_table1
from .report import table1_report
from .settings import Settings
from .sweep import run_cells
from .tuning import best_settings

__all__ = ["in_table_order", "run_table1"]


def run_table1(settings: Settings) -> list[dict[str, Any]]:
    """Runs what is missing, then writes results.csv, report.md and table1.png.

    Returns:
        one row for every algorithm and seed.
    """
    tuned = best_settings()
    cells = [
        Cell(
            name,
            settings.env,
            settings.fraction,
            seed,
            settings.steps,
            tuned.get(name, ()),
        )
        for seed in range(settings.seeds)
        for name in settings.algorithms
    ]
    rows = run_cells(cells, settings.out / "cells", settings.workers)
    rows = in_table_order(rows)
    write_rows(settings.out / "results.csv", COLUMNS, rows)
    plot_table1(rows, settings.out / "table1.png")
    write_text(settings.out / "report.md", table1_report(rows, settings))
    return rows


def in_table_order(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows by algorithm as ``ALGORITHMS`` lists them, then by seed."""
    order = {name: i for i, name in enumerate(ALGORITHMS)}

    def position(row: dict[str, Any]) -> tuple[int, str, int]:
        name = str(row["algorithm"])
        return order.get(name, order["BC"]), name, int(row["seed"])

    return sorted(rows, key=position)
