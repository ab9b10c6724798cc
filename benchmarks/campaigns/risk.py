"""Bidders who fear bad campaigns: learned from quantiles, against the exact frontier.

Critics learn the distribution of what is still to come; a bidder takes the bid whose
worst share of that is best.  Mean and CVaR of whole campaigns are exact for every policy,
and so is the frontier between the two.
"""

from __future__ import annotations

import pathlib

from ..engine import run_cells, write_rows
from .risk_cells import COLUMNS, LEARNERS, WEIGHTS, ExactCell, RiskCell, measure
from .risk_report import draw_risk, section

__all__ = ["measure", "planned", "run", "section"]


def planned(seeds: int, steps: int) -> list[RiskCell | ExactCell]:
    """All cells: what is exact, then seed by seed."""
    cells: list[RiskCell | ExactCell] = [
        *(ExactCell(name) for name in ("optimum", "unpaced logger", "paced logger")),
        *(ExactCell("frontier", weight) for weight in WEIGHTS),
    ]
    cells += [RiskCell(name, seed, steps) for seed in range(seeds) for name in LEARNERS]
    return cells


def run(seeds: int, steps: int, workers: int, out: pathlib.Path) -> None:
    """Runs what is missing; writes ``risk.csv`` and ``risk.png``."""
    rows = run_cells(planned(seeds, steps), out / "cells", workers, measure)
    write_rows(out / "risk.csv", COLUMNS, rows)
    draw_risk(rows, out / "risk.png")
