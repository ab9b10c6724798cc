"""What is learned of each part, against the action: curves beside the truth."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from matplotlib.figure import Figure

from ..engine import Cell, Part, Results, Settings
from ..engine.pictures import subplots
from ..engine.rows import Rows, distinct, select
from .learners import decay_for, ours_of, steps_for
from .worlds import WORLDS

#: Judged contexts that are drawn.
CONTEXTS = (0, 1, 2)
SIZE, SEED = 20_000, 100
REWARD = "reward"


def _cells(settings: Settings) -> Iterable[Cell]:
    size = min(SIZE, max(settings["rows"]))
    return [Cell.of("components", "ours", SEED, world=w, size=size) for w in WORLDS]


def _measure(cell: Cell) -> Rows:
    """Learned and true means of every part, and of the reward, at every action."""
    world = WORLDS[cell["world"]]
    log = world.log(cell["size"], cell.seed)
    algo = ours_of(world, log).run(cell.seed)
    rows = []
    for context in CONTEXTS:
        actions = world.candidates
        x = np.repeat(world.judged[context : context + 1], len(actions), axis=0)
        seen = x.astype(np.float32)
        taken = np.arange(len(actions))
        if world.actions is None:
            taken = actions[:, None].astype(np.float32)
        truth = {**world.means(x, actions), REWARD: world.value(x, actions)}
        learned = {
            part.column: algo.predict_outcome(seen, taken, part.column)
            for part in world.parts
        }
        learned[REWARD] = algo.predict_value(seen, taken)
        for name, values in learned.items():
            for action, value, true in zip(actions, values, truth[name], strict=True):
                rows.append(
                    {
                        "context": context,
                        "outcome": name,
                        "action": float(action),
                        "learned": float(value),
                        "truth": float(true),
                        "logged_low": float(log.actions.min()),
                        "logged_high": float(log.actions.max()),
                    }
                )
    return rows


COMPONENTS = Part(
    "components",
    (
        *("world", "size", "context", "outcome", "action"),
        *("learned", "truth", "logged_low", "logged_high"),
    ),
    _cells,
    _measure,
    lambda cell: (steps_for(cell["size"]), decay_for(cell["size"])),
)


def draw(results: Results) -> Figure:
    """One row for each world: its parts, and the reward that they add up to."""
    rows = results["components"]
    worlds = distinct(rows, "world")
    most = max(len(distinct(select(rows, world=w), "outcome")) for w in worlds)
    figure, axes = subplots(3.4 * most, 2.6 * len(worlds), len(worlds), most)
    for line, world in zip(axes, worlds, strict=True):
        names = distinct(select(rows, world=world), "outcome")
        for axis, name in zip(line, names, strict=False):
            inside: list[float] = []
            for context in CONTEXTS:
                found = select(rows, world=world, outcome=name, context=context)
                low, high = (float(found[0][f"logged_{end}"]) for end in ("low", "high"))
                actions = [float(row["action"]) for row in found]
                inside += [
                    float(row[kind])
                    for row in found
                    for kind in ("truth", "learned")
                    if low <= float(row["action"]) <= high
                ]
                for kind, style, width in (("truth", "-", 5.0), ("learned", "-", 1.5)):
                    axis.plot(
                        actions,
                        [float(row[kind]) for row in found],
                        style,
                        color=f"C{context}",
                        linewidth=width,
                        alpha=0.3 if kind == "truth" else 1.0,
                    )
            # Beyond the log a curve may go anywhere.
            margin = 0.08 * (max(inside) - min(inside))
            axis.set_ylim(min(inside) - margin, max(inside) + margin)
            axis.axvspan(low, high, color="0.93", zorder=0)
            axis.set_title(f"{world}: {name}", fontsize=9)
            if world in ("first price", "second price"):
                axis.set_xscale("log")
        for axis in line[len(names) :]:
            axis.axis("off")
        line[0].set_xlabel("action")
    figure.suptitle(
        f"Learned from {int(rows[0]['size']):,} rows (thin) and the truth (broad), three "
        "contexts; shaded: actions that were logged",
        fontsize=10,
    )
    return figure
