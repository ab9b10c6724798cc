"""``python -m benchmarks budget``."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from bidclick_gym.budget import (
    BudgetedCampaign,
    PacedPolicy,
    UnpacedPolicy,
    simulate,
    solve,
)

from ..files import write_rows, write_text
from ..sweep import run_cells
from .algorithms import LEARNERS
from .cells import (
    COLUMNS,
    LOGGERS,
    BudgetCell,
    CampaignBidder,
    train_and_measure,
    train_on_log,
)
from .pictures import bid_map, draw_bid_maps, draw_regret, draw_spending
from .references import references
from .report import budget_report

__all__ = ["BudgetSettings", "planned", "run_budget"]

#: Learners whose bids are drawn beside the optimum's.
SHOWN = ("DQN", "DQN shaped afterstates")


@dataclasses.dataclass(frozen=True)
class BudgetSettings:
    """What is asked for.

    Args:
        learners: names in ``LEARNERS``.
        logs: names in ``LOGGERS``.
        fractions: shares of the logs.
        seeds: number of seeds, from 0.
        steps: gradient steps.
        workers: processes.
        out: folder of results.
        command: as typed, for the report.
    """

    learners: tuple[str, ...] = tuple(LEARNERS)
    logs: tuple[str, ...] = tuple(LOGGERS)
    fractions: tuple[float, ...] = (1.0, 0.25, 0.0625)
    seeds: int = 20
    steps: int = 8000
    workers: int = 2
    out: pathlib.Path = pathlib.Path("runs/budget")
    command: str = "python -m benchmarks budget"


def planned(settings: BudgetSettings) -> list[BudgetCell]:
    """All cells, seed by seed, so that an early end leaves whole seeds."""
    return [
        BudgetCell(name, log, fraction, seed, settings.steps)
        for seed in range(settings.seeds)
        for log in settings.logs
        for fraction in settings.fractions
        for name in settings.learners
    ]


def run_budget(settings: BudgetSettings) -> list[dict[str, Any]]:
    """Runs what is missing, then writes rows, report and pictures."""
    cells, out = planned(settings), settings.out
    rows = run_cells(cells, out / "cells", settings.workers, train_and_measure)
    names = list(LEARNERS)
    rows.sort(
        key=lambda row: (
            row["log"],
            -row["fraction"],
            names.index(row["learner"]),
            row["seed"],
        )
    )
    write_rows(out / "results.csv", COLUMNS, rows)
    draw_regret(rows, out / "regret.png")
    _draw_policies(settings)
    known = references(BudgetedCampaign())
    write_text(
        out / "report.md", budget_report(rows, known, settings.command, settings.steps)
    )
    return rows


def _draw_policies(settings: BudgetSettings) -> None:
    campaign = BudgetedCampaign()
    solution = solve(campaign)
    log = settings.logs[0]
    shown: dict[str, Any] = {"optimum": solution.greedy}
    for name in SHOWN:
        if name in settings.learners:
            algo, _ = train_on_log(BudgetCell(name, log, steps=settings.steps))
            shown[name] = CampaignBidder(algo, campaign, LEARNERS[name].policy)
    maps = {name: bid_map(policy, campaign) for name, policy in shown.items()}
    draw_bid_maps(maps, solution, settings.out / "bids.png")
    shown["unpaced logger"] = UnpacedPolicy(campaign).probabilities_of
    shown["paced logger"] = PacedPolicy(campaign).probabilities_of
    spending = {
        name: simulate(policy, campaign, 2000, seed=0)["budget_left"]
        for name, policy in shown.items()
    }
    draw_spending(spending, campaign, settings.out / "spending.png")
