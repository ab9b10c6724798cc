r"""Contraction in practice: do values run away where the theory gives no guarantee?

``max`` over bids and the Bellman operator contract in the sup norm; a projection onto a
shape does not stretch it for difference constraints (`Monotone`), and may for `Concave`
(docs/paper-claims.md has the counterexample).  Here both are trained, with the paper's
projection and with ours, with targets that lag and with none, and it is looked at where
the mean value goes.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bidclick_gym.campaigns import BudgetedCampaign, solve
from bidclick_gym.campaigns.evaluators import campaign_values, fixed_observations
from icac_algo import (
    Concave,
    Euclidean,
    Functional,
    KnownCost,
    Monotone,
    Unconstrained,
)
from icac_algo.shapes import Constraint

from ..auction.cells import digest_of
from ..auction.verdicts import MIN_SEEDS
from ..engine import bootstrap_mean, paired_difference, run_cells, write_png, write_rows
from ..learners.campaigns import COST, GAMMA, ours
from .cells import BUDGET_POINTS, NODES, train_on_log

__all__ = ["COLUMNS", "ContractionCell", "measure", "planned", "run", "section"]

COLUMNS = ("shape", "projection", "lag", "fraction", "seed", "step", "value", "excess")

#: Shape, and whether its Euclidean projection is known not to stretch the sup norm.
SHAPES: dict[str, tuple[Constraint, bool]] = {
    "none": (Unconstrained(), True),
    "monotone": (Monotone(known_cost=KnownCost(feature=COST)), True),
    "concave": (Concave(), False),
}
PROJECTIONS = {"euclidean": Euclidean(), "functional": Functional()}
#: Gradient steps by which targets lag; 1 is no target network.
LAGS = (1.0, 10.0)
FRACTION = 0.0625
#: Looks at the values during a training.
LOOKS = 20
#: An excess beyond this, in clicks, is called running away: the most that a campaign can
#: earn is its number of impressions, 50, and the optimum earns 31.
AWAY = 20.0


@dataclasses.dataclass(frozen=True)
class ContractionCell:
    """One training whose values are watched.

    Args:
        shape: a name in ``SHAPES``.
        projection: how the critic obeys it.
        lag: gradient steps by which targets lag; 1 is no target network.
        seed: draws the log, its share and the training.
        steps: gradient steps.
        log: which one, a name in ``LOGGERS``.
        fraction: share of its campaigns.
    """

    shape: str
    projection: str
    lag: float
    seed: int = 0
    steps: int = 2000
    log: str = "unpaced"
    fraction: float = FRACTION

    @property
    def algorithm(self) -> str:
        """What a progress bar shows."""
        return f"{self.shape}, {self.projection}, lag {self.lag:g}"

    @property
    def digest(self) -> str:
        """Name of the cell's file."""
        made = self.config().serialize_to_dict()
        return digest_of({"contraction": 1, "config": made, **dataclasses.asdict(self)})

    def config(self) -> Any:
        """The d3rlpy config."""
        constraint, _ = SHAPES[self.shape]
        make = ours(constraint=constraint, critic=PROJECTIONS[self.projection])
        return make(self.steps, lag=self.lag)


def measure(cell: ContractionCell) -> list[dict[str, Any]]:
    """One row for every look."""
    campaign = BudgetedCampaign()
    states = fixed_observations(campaign)
    solution = solve(campaign, nodes=NODES, budget_points=BUDGET_POINTS)
    best = float(solution.q_values(states).max(axis=1).mean())
    rows: list[dict[str, Any]] = []

    def look(algo: Any, epoch: int, step: int) -> None:
        values = campaign_values(algo, campaign, states, GAMMA)
        value = float(values.max(axis=1).mean())
        rows.append(
            {
                "shape": cell.shape,
                "projection": cell.projection,
                "lag": cell.lag,
                "fraction": cell.fraction,
                "seed": cell.seed,
                "step": step,
                "value": value,
                "excess": value - best,
            }
        )

    train_on_log(cell, look, epochs=LOOKS)
    return rows


def planned(seeds: int, steps: int) -> list[ContractionCell]:
    """All cells, seed by seed."""
    return [
        ContractionCell(shape, projection, lag, seed=seed, steps=steps)
        for seed in range(seeds)
        for shape in SHAPES
        for projection in PROJECTIONS
        # Without a shape there is nothing to project.
        if shape != "none" or projection == "functional"
        for lag in LAGS
    ]


def run(seeds: int, steps: int, workers: int, out: pathlib.Path) -> None:
    """Runs what is missing; writes ``contraction.csv`` and ``contraction.png``."""
    rows = run_cells(planned(seeds, steps), out / "cells", workers, measure)
    write_rows(out / "contraction.csv", COLUMNS, rows)
    _draw(rows, out / "contraction.png")


Setting = tuple[str, str, float]


def _paths(
    rows: Sequence[dict[str, Any]],
) -> dict[Setting, dict[int, np.ndarray[Any, Any]]]:
    """By setting and seed, ``(looks, 2)``: step and excess."""
    found: dict[Setting, dict[int, list[tuple[float, float]]]] = {}
    for row in rows:
        key = str(row["shape"]), str(row["projection"]), float(row["lag"])
        by_seed = found.setdefault(key, {})
        look = float(row["step"]), float(row["excess"])
        by_seed.setdefault(int(row["seed"]), []).append(look)
    return {
        key: {seed: np.array(sorted(looks)) for seed, looks in by_seed.items()}
        for key, by_seed in found.items()
    }


def _largest(path: np.ndarray[Any, Any]) -> float:
    excess = float(np.abs(path[:, 1]).max())
    return excess if math.isfinite(excess) else math.inf


def section(rows: Sequence[dict[str, Any]]) -> str:
    """The part of the report, from the rows alone."""
    paths = _paths(rows)
    lines = [
        "| Shape | Sup-norm safe | Projection | Targets | Excess at the end | "
        "Largest on the way | Drift | Ran away |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for key, by_seed in paths.items():
        shape, projection, lag = key
        ends = bootstrap_mean([p[-1, 1] for p in by_seed.values()])
        largest = bootstrap_mean([_largest(p) for p in by_seed.values()])
        drift = bootstrap_mean([p[-1, 1] - p[len(p) // 2, 1] for p in by_seed.values()])
        away = sum(_largest(p) > AWAY for p in by_seed.values())
        safe = "yes" if SHAPES[shape][1] else "**no**"
        targets = "none" if lag == 1.0 else f"lag {lag:g} steps"
        lines.append(
            f"| {shape} | {safe} | {projection} | {targets} | {ends.format(2)} | "
            f"{largest.format(2)} | {drift.format(2)} | {away} of {len(by_seed)} |"
        )
    said = "\n".join(f"- {line}" for line in verdicts(rows))
    table = "\n".join(lines)
    return f"""## Contraction in practice

{said}

![Excess of the mean value over the optimum's during training](contraction.png)

{table}

`ConstraintAwareQ` without afterstates on {100.0 * FRACTION:g} % of the unpaced log's
campaigns. *Excess*: mean over fixed states of the largest value, minus the optimum's, in
clicks; *drift*: its change over the second half of the training; *ran away*: trainings in
which it once left [-{AWAY:g}, {AWAY:g}]. "Sup-norm safe" says whether the projection onto
the shape is known not to stretch the sup norm; a *functional* critic projects nothing, it
has no values outside its shape.
"""


def verdicts(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Sentences, each decided by the figures it quotes."""
    paths = _paths(rows)
    lines = []
    for projection in PROJECTIONS:
        for lag in LAGS:
            safe = paths.get(("monotone", projection, lag))
            unsafe = paths.get(("concave", projection, lag))
            if not safe or not unsafe:
                continue
            gap = paired_difference(
                {seed: _largest(p) for seed, p in unsafe.items()},
                {seed: _largest(p) for seed, p in safe.items()},
            )
            targets = "no target network" if lag == 1.0 else f"targets that lag {lag:g}"
            what = f"Concave minus Monotone, {projection}, {targets}"
            lines.append(
                f"{_said(gap, 'strays further', 'strays less')}: {what}, "
                f"largest excess {gap.format(2)} clicks ({gap.seeds} seeds)."
            )
    for (shape, projection, lag), path in paths.items():
        without = paths.get((shape, projection, 1.0))
        if lag == 1.0 or not without:
            continue
        gap = paired_difference(
            {seed: _largest(p) for seed, p in path.items()},
            {seed: _largest(p) for seed, p in without.items()},
        )
        lines.append(
            f"{_said(gap, 'a target network makes it worse', 'a target network helps')}: "
            f"{shape}, {projection}, lag {lag:g} minus none, {gap.format(2)} clicks."
        )
    return lines


def _said(gap: Any, more: str, less: str) -> str:
    if gap.seeds < MIN_SEEDS:
        return "Too few seeds to tell"
    if gap.low > 0.0:
        return f"The interval says: {more}"
    if gap.high < 0.0:
        return f"The interval says: {less}"
    return "**No difference can be told**"


def _draw(rows: Sequence[dict[str, Any]], path: pathlib.Path) -> None:
    paths = _paths(rows)
    settings = list(dict.fromkeys((shape, projection) for shape, projection, _ in paths))
    figure = Figure(figsize=(2.6 * len(settings), 2.8), layout="constrained")
    axes = figure.subplots(1, len(settings), sharey=True, squeeze=False)[0]
    for axis, (shape, projection) in zip(axes, settings, strict=True):
        for color, lag in zip(("tab:red", "tab:blue"), LAGS, strict=True):
            label = "no target network" if lag == 1.0 else f"lag {lag:g} steps"
            for seen in paths.get((shape, projection, lag), {}).values():
                axis.plot(seen[:, 0], seen[:, 1], color=color, linewidth=1, label=label)
                label = ""
        axis.axhline(0.0, color="black", linewidth=0.8)
        # Linear near the truth, so that what runs away does not hide the rest.
        axis.set_yscale("symlog", linthresh=2.0)
        title = "no shape" if shape == "none" else f"{shape}, {projection}"
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("gradient steps")
    axes[0].set_ylabel("mean value - optimum's, clicks")
    axes[0].legend(fontsize=7, frameon=False)
    write_png(path, figure)
