"""Table I on both auctions, at three shares of the log."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..auction.table1 import TABLE, table1_cells
from ..engine import Cell, Settings, keys_of
from ..learners import AUCTION_LEARNERS

ENVS = ("BidClick-v0", "BidClickMonotone-v0")
FRACTIONS = (1.0, 0.25, 0.0625)
_QUICK = ("BC", "DQN", "CQL", "IQL", "Ours-paper", "Ours-Concave")


def _cells(settings: Settings) -> Iterable[Cell]:
    if settings.quick:
        return table1_cells(settings, ENVS[:1], FRACTIONS[::2], _QUICK)
    return table1_cells(settings, ENVS, FRACTIONS, AUCTION_LEARNERS)


TABLE1_PART = dataclasses.replace(
    TABLE,
    cells=_cells,
    arrange=keys_of("env", "fraction", "algorithm", "seed"),
    file="table1.csv",
)
