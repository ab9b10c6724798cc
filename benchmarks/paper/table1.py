"""Table I on both auctions, at three shares of the log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..auction.measures import COLUMNS
from ..auction.table1 import TUNED_OFFLINE, train_and_measure
from ..engine import Cell, Part, Settings, keys_of
from ..engine.tuning import best_settings
from ..learners import AUCTION_LEARNERS

ENVS = ("BidClick-v0", "BidClickMonotone-v0")
FRACTIONS = (1.0, 0.25, 0.0625)
_QUICK = ("BC", "DQN", "CQL", "IQL", "Ours-paper", "Ours-Concave")


def _cells(settings: Settings) -> Iterable[Cell]:
    tuned = best_settings(TUNED_OFFLINE)
    for seed in range(settings.seeds):
        for env in ENVS[:1] if settings.quick else ENVS:
            for fraction in FRACTIONS[::2] if settings.quick else FRACTIONS:
                for name in _QUICK if settings.quick else AUCTION_LEARNERS:
                    yield Cell.of(
                        "table1",
                        name,
                        seed,
                        env=env,
                        fraction=fraction,
                        steps=settings.steps,
                        tuned=tuned.get(name, ()),
                    )


def _config(cell: Cell) -> Any:
    return AUCTION_LEARNERS[cell.learner].config(cell["steps"], **cell.tuned)


TABLE1_PART = Part(
    "table1",
    COLUMNS,
    _cells,
    train_and_measure,
    _config,
    learner="algorithm",
    arrange=keys_of("env", "fraction", "algorithm", "seed"),
)
