"""Risk in campaigns: rows, verdicts that flip, bidders, the frontier."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np
import pytest

from benchmarks.campaigns import risk
from benchmarks.campaigns.cells import train_on_log
from benchmarks.campaigns.risk import measure, planned, section
from benchmarks.campaigns.risk_cells import (
    COLUMNS,
    LEARNERS,
    LEVELS,
    WEIGHTS,
    ExactCell,
    RiskBidder,
    RiskCell,
)
from benchmarks.campaigns.risk_report import verdicts
from benchmarks.engine import read_rows
from bidclick_gym.campaigns import BudgetedCampaign
from icac_algo.decisions import CVaR, MaskedGreedy, greedy_actions

CAMPAIGN = BudgetedCampaign()
NAME = "DQN concave quantiles"


def row_of(policy: str, mean: float, cvar: float, **about: Any) -> dict[str, Any]:
    values = {"mean": mean, "std": 3.0, "cvar_0.1": cvar}
    others = {"cvar_0.25": cvar + 1.6, "cvar_0.5": cvar + 3.2}
    return {**dict.fromkeys(COLUMNS), "policy": policy, **values, **others, **about}


def rows_of(change: float, seeds: int = 6, noise: float = 0.01) -> list[dict[str, Any]]:
    """Rows whose CVaR .1 at the lowest level is better by ``change``."""
    rows = [row_of("optimum", 30.7, 24.9), row_of("unpaced logger", 29.4, 23.0)]
    rows.append(row_of("paced logger", 30.1, 24.0))
    rows += [
        row_of("frontier", 30.7 - 0.4 * w, 24.9 + 0.2 * w, weight=w) for w in WEIGHTS
    ]
    for seed in range(seeds):
        for level in LEVELS:
            cvar = 24.0 + change * (level == LEVELS[0]) + noise * (seed % 3)
            cvar += noise * (seed % 2) * (level == LEVELS[0])
            about = {"level": level, "seed": seed, "steps": 100}
            rows.append(row_of(NAME, 30.0, cvar, **about))
    return rows


def test_verdicts_flip_with_the_figures() -> None:
    raised, lowered, same, few = (
        verdicts(rows)[1]
        for rows in (
            rows_of(0.125),
            rows_of(-0.1),
            rows_of(-0.005),
            rows_of(0.1, seeds=3),
        )
    )
    assert "raises CVaR" in raised
    # .125 and half of the noise, of .2.
    assert "65 % of the exact gain" in raised
    assert "**lowers** CVaR" in lowered
    assert "**no difference can be told**" in same
    assert "wider than the exact gain" not in same
    assert "wider than the exact gain" in verdicts(rows_of(-0.2, noise=0.4))[1]
    assert "too few seeds to tell" in few


def test_the_exact_gain_is_that_of_the_rows() -> None:
    rows = rows_of(0.1)
    assert "is 25.100, 0.200 more than that of the best mean" in verdicts(rows)[0]
    assert "costs 0.400 of the mean" in verdicts(rows)[0]


def test_every_cell_is_one_of_its_own() -> None:
    cells = planned(2, 100)
    assert len({cell.digest for cell in cells}) == len(cells)
    assert len(cells) == 3 + len(WEIGHTS) + 2 * len(LEARNERS)
    longer = dataclasses.replace(cells[-1], steps=101)
    assert longer.digest != cells[-1].digest
    assert all(cell.algorithm for cell in cells)


@pytest.mark.parametrize("name", LEARNERS)
def test_learners_give_a_row_for_each_level_and_the_same_twice(name: str) -> None:
    cell = RiskCell(name, steps=20, fraction=0.02, nodes=2, budget_points=21)
    first, second = measure(cell), measure(cell)
    for rows in (first, second):
        assert [row["level"] for row in rows] == list(LEVELS)
        for row in rows:
            assert tuple(row) == COLUMNS
            assert row["cvar_0.1"] < row["cvar_0.25"] < row["cvar_0.5"] < row["mean"]
            assert row.pop("train_seconds") > 0.0
    assert first == second


def test_bidders_are_greedy_among_the_bids_that_can_be_paid() -> None:
    cell = RiskCell("DQN shaped afterstate quantiles", steps=20, fraction=0.02)
    algo, _ = train_on_log(cell)
    rng = np.random.default_rng(0)
    x, c, b = rng.random(300), rng.uniform(0.2, 0.4, 300), rng.uniform(0.5, 4.0, 300)
    rich = CAMPAIGN.observe(x, c, b, 10)
    for level in (0.1, 0.5, 1.0):
        chosen = RiskBidder(algo, CAMPAIGN, level)(rich)
        assert np.array_equal(chosen, greedy_actions(algo, rich, CVaR(level)))
    poor = CAMPAIGN.observe(x, c, 0.3 * b, 10)
    for level in (0.1, 1.0):
        assert CAMPAIGN.is_affordable(c, 0.3 * b)[
            np.arange(300), RiskBidder(algo, CAMPAIGN, level)(poor)
        ].all()

    def is_paid(observations: Any) -> Any:
        _, cost, left, _ = CAMPAIGN.read(observations)
        return CAMPAIGN.is_affordable(cost, left)

    by_mean = MaskedGreedy(algo, is_paid).predict(poor)
    assert np.array_equal(RiskBidder(algo, CAMPAIGN, 1.0)(poor), by_mean)


def test_exact_policies_are_what_they_say() -> None:
    grid = {"nodes": 4, "budget_points": 21}
    (optimum,) = measure(ExactCell("optimum", **grid))
    (free,) = measure(ExactCell("frontier", 0.0, **grid))
    (paced,) = measure(ExactCell("paced logger", **grid))
    assert free["mean"] == pytest.approx(optimum["mean"], abs=1e-6)
    assert paced["mean"] < optimum["mean"]
    assert (free["policy"], free["weight"], free["seed"]) == ("frontier", 0.0, None)


def test_a_run_leaves_rows_a_picture_and_a_section(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(cells: Any, folder: pathlib.Path, *_: Any) -> Any:
        assert folder == tmp_path / "cells"
        assert len(cells) == len(planned(6, 100))
        return rows_of(0.1)

    monkeypatch.setattr(risk, "run_cells", measured)
    risk.run(6, 100, 1, tmp_path)
    assert (tmp_path / "risk.png").read_bytes().startswith(b"\x89PNG")
    rows = read_rows(tmp_path / "risk.csv")
    assert verdicts(rows) == verdicts(rows_of(0.1))
    text = section(rows)
    assert text.startswith("## Risk\n")
    for words in (
        "](risk.png)",
        "| optimum of the mean | 30.700 | 24.900 |",
        "| frontier, weight 0.25 | 30.600 | 24.950 |",
        f"| {NAME} | 0.1 | 30.000 | 24.1",
        "100 gradient steps",
        "6 seeds",
    ):
        assert words in text
