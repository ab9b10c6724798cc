"""What trained critics and policies look like, as rows: pictures need no model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from bidclick_gym import Auction, simulate_log
from bidclick_gym.evaluators import action_values, greedy_bids
from bidclick_gym.logs.datasets import to_replay_buffer
from icac_algo import Canonical, Concave

from ..auction.table1 import tuned_config
from ..engine import Cell, Part, Settings, keys_of
from ..engine.rows import Rows
from ..learners import constraint_aware_q, trained
from .critic_views import CriticView
from .variants import VARIANTS

#: Contexts whose Q is drawn over the bid: ``(x, c)``.
CONTEXTS = ((0.1, 0.22), (0.5, 0.30), (0.9, 0.38))
#: Points of a policy map in each dimension.
MAP = 24
_FIELDS = ("kind", "model", "x", "c", "bid", "value")


def _cells(settings: Settings) -> Iterable[Cell]:
    # The paper's algorithm gives two critics.
    for name in ("paper", "canonical", "IQL", "CQL"):
        yield Cell.of("policies", name, steps=settings.steps)


def _config(cell: Cell) -> Any:
    if cell.learner == "paper":
        return VARIANTS["full"].make(cell["steps"])
    if cell.learner == "canonical":
        make = constraint_aware_q(constraint=Concave(), critic=Canonical())
        return make(cell["steps"])
    return tuned_config(cell.learner, cell["steps"])


def _measure(cell: Cell) -> Rows:
    """Rows ``"q"`` (a value for each bid) and ``"map"`` (the bid in each context)."""
    auction, name = Auction(), cell.learner
    log = simulate_log(auction, seed=cell.seed)
    dataset = to_replay_buffer(log, continuous=name == "IQL")
    algo = trained(_config(cell), dataset, cell.seed, cell["steps"])
    models = {name: algo}
    if name == "paper":
        models = {"raw": CriticView(algo, "raw"), "projected": CriticView(algo, "exact")}
    contexts, grid = np.array(CONTEXTS), auction.contexts(MAP)
    rows = []
    for model_name, model in models.items():
        values = action_values(model, auction, contexts)
        bids = auction.bid_array[greedy_bids(model, auction, grid)]
        points: list[tuple[Any, ...]] = [
            ("q", model_name, float(x), float(c), float(bid), float(value))
            for (x, c), of_context in zip(contexts, values, strict=True)
            for bid, value in zip(auction.bid_array, of_context, strict=True)
        ]
        points += [
            ("map", model_name, float(x), float(c), float(bid), None)
            for (x, c), bid in zip(grid, bids, strict=True)
        ]
        rows += [dict(zip(_FIELDS, point, strict=True)) for point in points]
    return rows


POLICIES_PART = Part(
    "policies",
    ("kind", "model", "seed", "x", "c", "bid", "value"),
    _cells,
    _measure,
    _config,
    arrange=keys_of("kind", "model", "seed", "x", "c", "bid"),
)
