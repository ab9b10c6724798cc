"""``python -m benchmarks budget``."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from bidclick_gym.campaigns import (
    BudgetedCampaign,
    PacedPolicy,
    UnpacedPolicy,
    simulate,
    solve,
)

from ..engine import read_rows, run_cells, write_rows, write_text
from ..engine.page import page_of
from ..engine.sweep import finished
from ..learners.campaigns import CAMPAIGN_LEARNERS, GAMMA
from . import choice, contraction, risk, safety
from .cells import (
    COLUMNS,
    LOGGERS,
    BudgetCell,
    CampaignBidder,
    train_and_measure,
    train_on_log,
)
from .pictures import (
    bid_map,
    draw_bid_maps,
    draw_regret,
    draw_spending,
    draw_value_maps,
    value_map,
)
from .references import references
from .report import budget_report, verdicts
from .tuning import best_settings

__all__ = ["PARTS", "BudgetSettings", "planned", "run_budget"]

LEARNING = "learners"
#: Beside the learners' table, each in a file of its own.
EXTRAS: dict[str, Any] = {
    "contraction": contraction,
    "safety": safety,
    "risk": risk,
    "choice": choice,
}
PARTS = (LEARNING, *EXTRAS)
#: Learners whose bids are drawn beside the optimum's.
SHOWN = ("CQL", "Ours shaped afterstates", "Ours shaped afterstates relabelled")


@dataclasses.dataclass(frozen=True)
class BudgetSettings:
    """What is asked for.

    Args:
        parts: names in ``PARTS``.
        learners: names in ``CAMPAIGN_LEARNERS``.
        logs: names in ``LOGGERS``.
        fractions: shares of the logs.
        seeds: number of seeds of the learners' table, from 0.
        extra_seeds: of every other part.
        steps: gradient steps.
        workers: processes.
        rebuild: run nothing; the reports from what is finished in ``out``, or from its
            CSV files.
        out: folder of results.
        command: as typed, for the report.
    """

    parts: tuple[str, ...] = PARTS
    learners: tuple[str, ...] = tuple(CAMPAIGN_LEARNERS)
    logs: tuple[str, ...] = tuple(LOGGERS)
    fractions: tuple[float, ...] = (1.0, 0.25, 0.0625)
    seeds: int = 20
    extra_seeds: int = 5
    steps: int = 2000
    workers: int = 2
    rebuild: bool = False
    out: pathlib.Path = pathlib.Path("runs/budget")
    command: str = "python -m benchmarks budget"


def planned(settings: BudgetSettings) -> list[BudgetCell]:
    """All cells of the learners' table, seed by seed: an early end leaves whole seeds."""
    tuned = best_settings()
    return [
        BudgetCell(name, log, fraction, seed, settings.steps, tuned.get((name, log), ()))
        for seed in range(settings.seeds)
        for log in settings.logs
        for fraction in settings.fractions
        for name in settings.learners
    ]


def run_budget(settings: BudgetSettings) -> list[str]:
    """Runs what is missing, then writes rows, pictures and reports.

    Returns:
        the learners' verdicts.

    Raises:
        BrokenCellsError: cells failed; the report is written without their part.
        FileNotFoundError: a rebuild finds nothing.
    """
    out = settings.out
    if settings.rebuild:
        _keep(_finished_rows(settings), out)
    else:
        if LEARNING in settings.parts:
            _learn(settings)
        for name, part in EXTRAS.items():
            if name in settings.parts:
                part.run(settings.extra_seeds, settings.steps, settings.workers, out)
    rows = read_rows(out / "results.csv") if (out / "results.csv").exists() else []
    sections = [
        part.section(read_rows(out / f"{name}.csv"))
        for name, part in EXTRAS.items()
        if (out / f"{name}.csv").exists()
    ]
    if settings.rebuild and not rows and not sections:
        raise FileNotFoundError(f"nothing to rebuild a report from in {out}")
    text = budget_report(
        rows,
        references(BudgetedCampaign()),
        settings.command,
        settings.steps,
        sections,
    )
    write_text(out / "report.md", text)
    write_text(out / "report.html", page_of(text, out))
    return verdicts(rows)


def _learn(settings: BudgetSettings) -> None:
    cells = planned(settings)
    _keep(
        run_cells(cells, settings.out / "cells", settings.workers, train_and_measure),
        settings.out,
    )
    _draw_policies(settings)


def _finished_rows(settings: BudgetSettings) -> list[dict[str, Any]]:
    """What an interrupted run has come to."""
    kept = (finished(cell, settings.out / "cells") for cell in planned(settings))
    return [row for rows in kept for row in rows or []]


def _keep(rows: list[dict[str, Any]], out: pathlib.Path) -> None:
    """Writes the learners' table and its picture, if there is one."""
    if not rows:
        return
    names = list(CAMPAIGN_LEARNERS)
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


def _draw_policies(settings: BudgetSettings) -> None:
    campaign = BudgetedCampaign()
    solution = solve(campaign)
    log, tuned = settings.logs[0], best_settings()
    shown: dict[str, Any] = {"optimum": solution.greedy}
    worth = {"optimum": value_map(solution.q_values, campaign)}
    for name in SHOWN:
        if name in settings.learners:
            cell = BudgetCell(
                name, log, steps=settings.steps, tuned=tuned.get((name, log), ())
            )
            algo, _ = train_on_log(cell, picker=cell.picker)
            bidder = CampaignBidder(algo, campaign, CAMPAIGN_LEARNERS[name].policy)
            shown[name] = bidder
            worth[name] = value_map(bidder.values(GAMMA), campaign)
    maps = {name: bid_map(policy, campaign) for name, policy in shown.items()}
    draw_bid_maps(maps, campaign, settings.out / "bids.png")
    draw_value_maps(worth, campaign, settings.out / "values.png")
    shown["unpaced logger"] = UnpacedPolicy(campaign).probabilities_of
    shown["paced logger"] = PacedPolicy(campaign).probabilities_of
    spending = {
        name: simulate(policy, campaign, 2000, seed=0)["budget_left"]
        for name, policy in shown.items()
    }
    draw_spending(spending, campaign, settings.out / "spending.png")
