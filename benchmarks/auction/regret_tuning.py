"""The baselines' hyperparameters in the regret benchmark, by the *oracle's* regret.

At every share of the log of its own, on seeds that the tables do not use.
"""

from __future__ import annotations

import csv
import pathlib
from typing import Any

import numpy as np

from ..engine import run_cells, write_rows
from .tuning import START, widened

__all__ = ["RESULTS", "best_tuned", "tune_regret"]

RESULTS = pathlib.Path(__file__).parents[1] / "results" / "regret_tuning.csv"
COLUMNS = ("row", "fraction", "hyperparameters", "seeds", "steps", "mean_regret")
MAX_WIDENINGS = 3

Key = tuple[tuple[str, float], ...]


def tune_regret(
    folder: pathlib.Path, seeds: int = 2, steps: int = 5000, workers: int = 2
) -> list[dict[str, Any]]:
    """One hyperparameter after the other; writes ``results/regret_tuning.csv``."""
    from .regret import FRACTIONS, RegretCell, train_one
    from .regret_rows import ROWS

    found: list[dict[str, Any]] = []
    for name, row in ROWS.items():
        for fraction in FRACTIONS if row.tuned else ():
            regret: dict[Key, float] = {}

            def evaluate(
                keys: list[Key],
                name: str = name,
                fraction: float = fraction,
                regret: dict[Key, float] = regret,
            ) -> None:
                new = [key for key in keys if key not in regret]
                cells = [
                    RegretCell("5 bids", name, fraction, 100 + seed, steps, key)
                    for key in new
                    for seed in range(seeds)
                ]
                rows = run_cells(cells, folder, workers, train_one)
                values = np.reshape([r["regret"] for r in rows], (-1, seeds))
                regret.update(zip(new, values.mean(axis=1).tolist(), strict=True))

            chosen = {grid_name: START[grid_name] for grid_name, _ in row.tuned}
            for parameter, grid in row.tuned:
                values = list(grid)
                for _ in range(MAX_WIDENINGS + 1):
                    keys = [
                        tuple(sorted({**chosen, parameter: value}.items()))
                        for value in values
                    ]
                    evaluate(keys)
                    best = int(np.argmin([regret[key] for key in keys]))
                    wider = list(widened(parameter, values, best))
                    if not wider:
                        break
                    values = sorted([*values, *wider])
                chosen[parameter] = values[best]
            found += [
                {
                    "row": name,
                    "fraction": fraction,
                    "hyperparameters": " ".join(f"{k}={v:g}" for k, v in key),
                    "seeds": seeds,
                    "steps": steps,
                    "mean_regret": value,
                }
                for key, value in sorted(regret.items())
            ]
    write_rows(RESULTS, COLUMNS, found)
    return found


def best_tuned(path: pathlib.Path = RESULTS) -> dict[tuple[str, float], Key]:
    """The best setting of every tuned row at every share, from the recorded search."""
    best: dict[tuple[str, float], tuple[float, Key]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            pairs = (pair.split("=") for pair in row["hyperparameters"].split())
            key = tuple((name, float(value)) for name, value in pairs)
            of, regret = (row["row"], float(row["fraction"])), float(row["mean_regret"])
            if of not in best or regret < best[of][0]:
                best[of] = (regret, key)
    return {of: key for of, (_, key) in best.items()}
