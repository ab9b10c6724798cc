r"""Contraction in practice: do values run away where the theory gives no guarantee?

``max`` over bids and the Bellman operator contract in the sup norm; a projection onto a
shape does not stretch it for difference constraints (`Monotone`), and may for `Concave`
(docs/paper-claims.md has the counterexample).  Here both are trained, with the paper's
projection and with ours, with targets that lag and with none, and it is looked at where
the mean value goes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from bidclick_gym.campaigns import BudgetedCampaign, solve
from bidclick_gym.campaigns.evaluators import campaign_values, fixed_observations
from icac_algo import Euclidean, Functional, shapes

from ..engine import Cell, Part, Settings
from ..engine.intervals import Interval, paired_difference
from ..engine.markdown import bullets, interval, percent, said, section, table
from ..engine.pictures import subplots
from ..engine.rows import Rows, distinct, select
from ..learners.campaigns import COST, GAMMA, ours
from .training import GRID, train

#: Shape, and whether its Euclidean projection is known not to stretch the sup norm.
SHAPES: dict[str, tuple[shapes.Constraint, bool]] = {
    "none": (shapes.Unconstrained(), True),
    "monotone": (shapes.Monotone(known_cost=shapes.KnownCost(feature=COST)), True),
    "concave": (shapes.Concave(), False),
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


def _cells(settings: Settings) -> Iterable[Cell]:
    log = {"log": "unpaced", "fraction": FRACTION, "steps": settings.steps}
    for seed in range(settings["extra_seeds"]):
        for shape in SHAPES:
            for projection in PROJECTIONS:
                # Without a shape there is nothing to project.
                if shape == "none" and projection != "functional":
                    continue
                for lag in LAGS:
                    where = {"projection": projection, "lag": lag, **log}
                    yield Cell.of("contraction", shape, seed, **where)


def _config(cell: Cell) -> Any:
    constraint, _ = SHAPES[cell.learner]
    make = ours(constraint=constraint, critic=PROJECTIONS[cell["projection"]])
    return make(cell["steps"], lag=cell["lag"])


def _measure(cell: Cell) -> Rows:
    campaign = BudgetedCampaign()
    states = fixed_observations(campaign)
    best = float(solve(campaign, **GRID).q_values(states).max(axis=1).mean())
    rows: Rows = []

    def look(algo: Any, epoch: int, step: int) -> None:
        values = campaign_values(algo, campaign, states, GAMMA)
        value = float(values.max(axis=1).mean())
        rows.append({"step": step, "value": value, "excess": value - best})

    train(cell, _config(cell), look, epochs=LOOKS)
    return rows


CONTRACTION = Part(
    "contraction",
    ("shape", "projection", "lag", "fraction", "seed", "step", "value", "excess"),
    _cells,
    _measure,
    _config,
    learner="shape",
)


# -- report ------------------------------------------------------------------

Setting = tuple[str, str, float]
#: By seed, ``(looks, 2)``: step and excess.
Paths = dict[int, npt.NDArray[np.float64]]


def _paths(rows: Rows) -> dict[Setting, Paths]:
    found: dict[Setting, Paths] = {}
    for shape, projection, lag in distinct(rows, "shape", "projection", "lag"):
        mine = select(rows, shape=shape, projection=projection, lag=lag)
        found[shape, projection, lag] = {
            int(seed): np.array(
                sorted((row["step"], row["excess"]) for row in select(mine, seed=seed))
            )
            for seed in distinct(mine, "seed")
        }
    return found


def _largest(paths: Paths) -> dict[int, float]:
    found = {seed: float(np.abs(path[:, 1]).max()) for seed, path in paths.items()}
    return {seed: e if math.isfinite(e) else math.inf for seed, e in found.items()}


def contraction_section(rows: Rows) -> str:
    lines = []
    for (shape, projection, lag), paths in _paths(rows).items():
        largest = _largest(paths)
        excess = [path[:, 1] for path in paths.values()]
        lines.append(
            [
                shape,
                "yes" if SHAPES[shape][1] else "**no**",
                projection,
                "none" if lag == 1.0 else f"lag {lag:g} steps",
                interval([e[-1] for e in excess], 2),
                interval(largest, 2),
                interval([e[-1] - e[len(e) // 2] for e in excess], 2),
                f"{sum(e > AWAY for e in largest.values())} of {len(largest)}",
            ]
        )
    head = ["Shape", "Sup-norm safe", "Projection", "Targets", "Excess at the end"]
    return section(
        "Contraction in practice",
        bullets(verdicts(rows)),
        "![Excess of the mean value over the optimum's during training](contraction.png)",
        table([*head, "Largest on the way", "Drift", "Ran away"], lines),
        f"""\
`ConstraintAwareQ` without afterstates on {percent(FRACTION)} of the unpaced log's
campaigns. *Excess*: mean over fixed states of the largest value, minus the optimum's, in
clicks; *drift*: its change over the second half of the training; *ran away*: trainings in
which it once left [-{AWAY:g}, {AWAY:g}]. "Sup-norm safe" says whether the projection onto
the shape is known not to stretch the sup norm; a *functional* critic projects nothing, it
has no values outside its shape.""",
    )


def verdicts(rows: Rows) -> Iterable[str]:
    largest = {key: _largest(paths) for key, paths in _paths(rows).items()}
    for projection in PROJECTIONS:
        for lag in LAGS:
            safe = largest.get(("monotone", projection, lag))
            unsafe = largest.get(("concave", projection, lag))
            if safe and unsafe:
                gap = paired_difference(unsafe, safe)
                lagging = f"targets that lag {lag:g}"
                targets = "no target network" if lag == 1.0 else lagging
                yield (
                    f"{_said(gap, 'strays further', 'strays less')}: Concave minus "
                    f"Monotone, {projection}, {targets}, largest excess "
                    f"{gap.format(2)} clicks ({gap.seeds} seeds)."
                )
    for (shape, projection, lag), excess in largest.items():
        without = largest.get((shape, projection, 1.0))
        if lag != 1.0 and without:
            gap = paired_difference(excess, without)
            worse, helps = "a target network makes it worse", "a target network helps"
            yield (
                f"{_said(gap, worse, helps)}: {shape}, {projection}, lag {lag:g} minus "
                f"none, {gap.format(2)} clicks."
            )


def _said(gap: Interval, more: str, less: str) -> str:
    less, more = (f"The interval says: {words}" for words in (less, more))
    return said(gap, less, more, "**No difference can be told**", "Too few seeds to tell")


def draw(rows: Rows) -> Figure:
    """The excess of every training, one panel for each shape and projection."""
    found = _paths(rows)
    panels = list(dict.fromkeys((shape, projection) for shape, projection, _ in found))
    figure, (axes,) = subplots(2.6 * len(panels), 2.8, columns=len(panels), sharey=True)
    for axis, (shape, projection) in zip(axes, panels, strict=True):
        for colour, lag in zip(("tab:red", "tab:blue"), LAGS, strict=True):
            label = "no target network" if lag == 1.0 else f"lag {lag:g} steps"
            for seen in found.get((shape, projection, lag), {}).values():
                axis.plot(seen[:, 0], seen[:, 1], color=colour, linewidth=1, label=label)
                label = ""
        axis.axhline(0.0, color="black", linewidth=0.8)
        # Linear near the truth, so that what runs away does not hide the rest.
        axis.set_yscale("symlog", linthresh=2.0)
        title = "no shape" if shape == "none" else f"{shape}, {projection}"
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("gradient steps")
    axes[0].set_ylabel("mean value - optimum's, clicks")
    axes[0].legend(fontsize=7, frameon=False)
    return figure
