"""Hyperparameters chosen by the *oracle's* regret, on seeds that no table uses.

No one with only a log could tune like this; it is done so that no one can say the
baselines were starved.  One hyperparameter at a time, each grid widened by its own
ratio until the best value lies inside it.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .cell import Cell, worded
from .experiment import Part, Settings
from .rows import Rows, read_rows, select, write_rows
from .sweep import run_cells

#: Folder of recorded searches.
RESULTS = pathlib.Path(__file__).parents[1] / "results"
SEEDS = (100, 101, 102)
#: Where one hyperparameter starts while another is searched.
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

Grid = Mapping[str, Sequence[float]]
#: Values of hyperparameters, sorted by name.
Pairs = tuple[tuple[str, float], ...]


def tune(
    path: pathlib.Path,
    part: Part,
    learners: Mapping[str, Any],
    places: Sequence[Mapping[str, Any]],
    settings: Settings,
    keys: Sequence[str] = (),
) -> Rows:
    """Searches every tuned learner's grid at every place and records all it tried."""
    columns = ("learner", *keys, "hyperparameters", "seeds", "steps", "mean_regret")
    grids = {name: one.tuned for name, one in learners.items() if one.tuned}
    searched = {
        (name, *(place[key] for key in keys)) for name in grids for place in places
    }
    rows = [
        {**row, "seeds": int(row["seeds"]), "steps": int(row["steps"])}
        for row in (read_rows(path) if path.exists() else [])
        if (row["learner"], *(row[key] for key in keys)) not in searched
    ]

    def regrets_of(
        name: str, place: Mapping[str, Any], tried: Sequence[Pairs]
    ) -> list[float]:
        """The mean regret of settings of one learner at one place."""
        where = {"steps": settings.steps, **place}
        cells = [
            part.planned_cell(Cell.of(part.name, name, seed, tuned=pairs, **where))
            for pairs in tried
            for seed in SEEDS
        ]
        found = run_cells(cells, settings.out / "tuning", settings.workers, part.measured)
        regrets = np.reshape([row["regret"] for row in found], (-1, len(SEEDS)))
        return [float(mean) for mean in regrets.mean(axis=1)]

    for place in places:
        for name, grid in grids.items():
            tried: dict[Pairs, float] = {}
            search(grid, functools.partial(regrets_of, name, place), tried)
            rows += [
                {
                    "learner": name,
                    **{key: place[key] for key in keys},
                    "hyperparameters": worded(pairs),
                    "seeds": len(SEEDS),
                    "steps": settings.steps,
                    "mean_regret": regret,
                }
                for pairs, regret in sorted(tried.items())
            ]
    write_rows(path, columns, rows)
    return rows


def search(
    grid: Grid,
    regrets: Callable[[Sequence[Pairs]], Sequence[float]],
    tried: dict[Pairs, float],
) -> dict[str, float]:
    """Coordinate-wise search with widening; records in ``tried`` what it asks for."""
    current = {name: START[name] for name in grid}
    for name in grid:
        values = list(grid[name])
        for _ in range(MAX_WIDENINGS + 1):
            settings = [tuple(sorted({**current, name: v}.items())) for v in values]
            new = [pairs for pairs in settings if pairs not in tried]
            tried.update(zip(new, regrets(new), strict=True))
            best = int(np.argmin([tried[pairs] for pairs in settings]))
            wider = list(widened(name, values, best))
            if not wider:
                break
            values = sorted([*values, *wider])
        current[name] = values[best]
    return current


def widened(name: str, values: Sequence[float], best: int) -> Iterator[float]:
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


def best_settings(path: pathlib.Path, **place: Any) -> dict[str, Pairs]:
    """The best setting of every tuned learner at a place, from a recorded search."""
    rows = select(read_rows(path), **place) if path.exists() else []
    best: dict[str, tuple[float, Pairs]] = {}
    for row in rows:
        pairs = tuple(
            (name, float(value))
            for name, value in (p.split("=") for p in row["hyperparameters"].split())
        )
        name, found = row["learner"], (row["mean_regret"], pairs)
        if name not in best or found[0] < best[name][0]:
            best[name] = found
    return {name: pairs for name, (_, pairs) in best.items()}
