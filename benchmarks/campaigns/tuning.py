"""Hyperparameters of every learner of campaigns, chosen by the *oracle's* regret.

For each log, at a quarter of its campaigns, on seeds that the tables do not use; the same
search, rule and budget for our learners as for the baselines.
"""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Sequence

from ..auction.tuning import SEEDS, Pairs, search_all
from ..engine import run_cells, write_rows
from ..learners.campaigns import CAMPAIGN_LEARNERS
from .cells import LOGGERS, BudgetCell, train_and_measure

__all__ = ["FRACTION", "RESULTS", "best_settings", "tune_budget"]

RESULTS = pathlib.Path(__file__).parents[1] / "results" / "tuning_budget.csv"
COLUMNS = ("log", "algorithm", "hyperparameters", "seeds", "steps", "mean_regret")
#: Share of the campaigns at which settings are chosen.
FRACTION = 0.25


def tune_budget(
    folder: pathlib.Path,
    steps: int,
    workers: int = 2,
    learners: Sequence[str] = tuple(CAMPAIGN_LEARNERS),
    logs: Sequence[str] = tuple(LOGGERS),
    path: pathlib.Path = RESULTS,
) -> list[dict[str, object]]:
    """Searches tuned learners and writes ``results/tuning_budget.csv``.

    Args:
        folder: where finished cells are kept.
        steps: gradient steps of each run.
        workers: processes.
        learners: names in ``CAMPAIGN_LEARNERS``.
        logs: names in ``LOGGERS``.
        path: the file; what it says of other learners and logs is kept.

    Returns:
        its rows, one for every log, learner and setting tried.
    """
    grids = {
        name: CAMPAIGN_LEARNERS[name].tuned
        for name in learners
        if CAMPAIGN_LEARNERS[name].tuned
    }
    rows: list[dict[str, object]] = []
    if path.exists():
        with path.open(newline="") as file:
            rows += [
                dict(row)
                for row in csv.DictReader(file)
                if row["algorithm"] not in grids or row["log"] not in logs
            ]
    for log in logs:

        def regrets(name: str, tuned: Sequence[Pairs], log: str = log) -> list[float]:
            cells = [
                BudgetCell(name, log, FRACTION, seed, steps, settings)
                for settings in tuned
                for seed in SEEDS
            ]
            found = run_cells(cells, folder, workers, train_and_measure)
            return [row["regret"] for row in found]

        rows += [{"log": log, **row} for row in search_all(grids, regrets, steps)]
    names = list(CAMPAIGN_LEARNERS)
    order = list(LOGGERS)
    # Stable: settings of one learner stay in the order of the search.
    rows.sort(
        key=lambda row: (
            order.index(str(row["log"])),
            names.index(str(row["algorithm"])),
        )
    )
    write_rows(path, COLUMNS, rows)
    return rows


def best_settings(path: pathlib.Path = RESULTS) -> dict[tuple[str, str], Pairs]:
    """The best setting by learner and log, read from the recorded search."""
    best: dict[tuple[str, str], tuple[float, Pairs]] = {}
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            key = row["algorithm"], row["log"]
            pairs = (pair.split("=") for pair in row["hyperparameters"].split())
            found = float(row["mean_regret"]), tuple((k, float(v)) for k, v in pairs)
            best[key] = min(best.get(key, found), found)
    return {key: settings for key, (_, settings) in best.items()}
