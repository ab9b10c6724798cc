"""Hyperparameters of the baselines, chosen by the *oracle* return.

No one with only a log could tune like this; it is done so that no one can say the
baselines were starved.  One hyperparameter at a time, each grid widened by its own
ratio until the best value lies inside it, on seeds that the tables do not use.
"""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from ..engine import run_cells, write_rows
from ..learners import AUCTION_LEARNERS
from .cells import Cell, train_and_measure

__all__ = ["RESULTS", "best_settings", "search_all", "tune"]

RESULTS = pathlib.Path(__file__).parents[1] / "results" / "tuning.csv"
SEEDS = (100, 101, 102)
COLUMNS = ("algorithm", "hyperparameters", "seeds", "steps", "mean_regret")
# Where one hyperparameter starts while another is searched.
START = {
    "alpha": 0.01,
    "weight_temp": 100.0,
    "expectile": 0.7,
    "final_epsilon": 0.2,
    "entropy": 0.003,
    "learning_rate": 1e-3,
    "lag": 10.0,
}
MAX_WIDENINGS = 4

Settings = dict[str, float]
Pairs = tuple[tuple[str, float], ...]
Regrets = dict[Pairs, float]


def tune(
    folder: pathlib.Path, steps: int = 5000, workers: int = 2
) -> list[dict[str, object]]:
    """Searches every tuned algorithm and writes ``results/tuning.csv``.

    Args:
        folder: where finished cells are kept.
        steps: gradient steps of each run.
        workers: processes.

    Returns:
        one row for every setting tried.
    """

    def regrets(name: str, tuned: Sequence[Pairs]) -> Sequence[float]:
        cells = [Cell(name, seed=s, steps=steps, tuned=t) for t in tuned for s in SEEDS]
        return [
            row["regret"] for row in run_cells(cells, folder, workers, train_and_measure)
        ]

    grids = {name: entry.tuned for name, entry in AUCTION_LEARNERS.items() if entry.tuned}
    rows = search_all(grids, regrets, steps)
    write_rows(RESULTS, COLUMNS, rows)
    return rows


def search_all(
    grids: Mapping[str, Mapping[str, tuple[float, ...]]],
    regrets: Callable[[str, Sequence[Pairs]], Sequence[float]],
    steps: int,
) -> list[dict[str, object]]:
    """Searches each algorithm's grids.

    Args:
        grids: by algorithm, the values of every hyperparameter to begin with.
        regrets: algorithm and settings to one regret for each setting and seed.
        steps: gradient steps of each run, for the rows.

    Returns:
        one row for every setting tried.
    """
    rows: list[dict[str, object]] = []
    for name, grid in grids.items():
        regret: Regrets = {}

        def evaluate(
            settings: list[Settings], name: str = name, regret: Regrets = regret
        ) -> None:
            keys = [tuple(sorted(s.items())) for s in settings]
            new = [key for key in keys if key not in regret]
            found = np.reshape(regrets(name, new), (-1, len(SEEDS)))
            for key, values in zip(new, found, strict=True):
                regret[key] = float(values.mean())

        search(grid, evaluate, regret)
        for key, value in sorted(regret.items()):
            rows.append(
                {
                    "algorithm": name,
                    "hyperparameters": " ".join(f"{k}={v:g}" for k, v in key),
                    "seeds": len(SEEDS),
                    "steps": steps,
                    "mean_regret": value,
                }
            )
    return rows


def search(
    grids: Mapping[str, tuple[float, ...]],
    evaluate: Callable[[list[Settings]], None],
    regret: Regrets,
) -> Settings:
    """Coordinate-wise search with widening; fills ``regret`` through ``evaluate``."""
    current = {name: START[name] for name in grids}
    for name, grid in grids.items():
        values = list(grid)
        for _ in range(MAX_WIDENINGS + 1):
            evaluate([{**current, name: v} for v in values])
            scores = [regret[tuple(sorted({**current, name: v}.items()))] for v in values]
            best = int(np.argmin(scores))
            wider = list(widened(name, values, best))
            if not wider:
                break
            values = sorted([*values, *wider])
        current[name] = values[best]
    return current


def widened(name: str, values: list[float], best: int) -> Iterator[float]:
    """The next grid value beyond an end at which the best one lies, if there is one."""
    if 0 < best < len(values) - 1:
        return
    low = best == 0
    if name == "lag" and low and values[0] < 2.0:
        return  # targets cannot lag by less than one step
    if name in ("expectile", "final_epsilon"):
        # Between 0 and 1; halve the distance to the end.
        value = values[0] / 2 if low else (1 + values[-1]) / 2
    else:
        ratio = values[1] / values[0] if low else values[-1] / values[-2]
        value = values[0] / ratio if low else values[-1] * ratio
    yield float(f"{value:.3g}")


def best_settings(
    path: pathlib.Path = RESULTS,
) -> dict[str, tuple[tuple[str, float], ...]]:
    """The best setting of every tuned algorithm, read from the recorded search."""
    best: dict[str, tuple[float, tuple[tuple[str, float], ...]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            pairs = (pair.split("=") for pair in row["hyperparameters"].split())
            settings = tuple((k, float(v)) for k, v in pairs)
            regret = float(row["mean_regret"])
            name = row["learner"]
            if name not in best or regret < best[name][0]:
                best[name] = (regret, settings)
    return {name: settings for name, (_, settings) in best.items()}
