"""Table I: all algorithms on one auction, as CSV, report and picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..engine import run_cells, write_rows, write_text
from ..learners import AUCTION_LEARNERS
from .cells import Cell, train_and_measure
from .measures import COLUMNS
from .plots import plot_table1
from .report import table1_report
from .settings import Settings
from .tuning import best_settings

__all__ = ["in_table_order", "run_table1", "write_table1"]


def run_table1(settings: Settings) -> list[dict[str, Any]]:
    """Runs what is missing, then writes table, report and picture.

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
    rows = run_cells(cells, settings.out / "cells", settings.workers, train_and_measure)
    rows = in_table_order(rows)
    explored = _explored(settings) if settings.online else []
    write_table1(rows, explored, settings)
    return rows


def _explored(settings: Settings) -> list[dict[str, Any]]:
    # Imported here: nothing else in the table needs Stable-Baselines3.
    from .online import ONLINE, online_cells, train_online

    cells = online_cells(settings.env, settings.fraction, settings.seeds, settings.steps)
    rows = run_cells(cells, settings.out / "cells", settings.workers, train_online)
    names = list(ONLINE)
    return sorted(rows, key=lambda row: (names.index(row["algorithm"]), row["seed"]))


def write_table1(
    rows: Sequence[dict[str, Any]],
    explored: Sequence[dict[str, Any]],
    settings: Settings,
) -> None:
    """Writes results.csv, report.md, table1.png and, if any, online.csv."""
    write_rows(settings.out / "results.csv", COLUMNS, rows)
    if explored:
        write_rows(settings.out / "online.csv", COLUMNS, explored)
    plot_table1([*rows, *explored], settings.out / "table1.png")
    write_text(settings.out / "report.md", table1_report(rows, settings, explored))


def in_table_order(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows by algorithm as ``AUCTION_LEARNERS`` lists them, then by seed."""
    order = {name: i for i, name in enumerate(AUCTION_LEARNERS)}

    def position(row: dict[str, Any]) -> tuple[int, str, int]:
        name = str(row["algorithm"])
        return order.get(name, order["BC"]), name, int(row["seed"])

    return sorted(rows, key=position)
