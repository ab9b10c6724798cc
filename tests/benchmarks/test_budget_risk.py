"""Risk in campaigns: rows, verdicts that flip, bidders, the frontier."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from benchmarks.campaigns.risk import (
    LEARNERS,
    LEVELS,
    RISK,
    WEIGHTS,
    draw,
    risk_section,
)
from benchmarks.campaigns.risk import verdicts as _verdicts
from benchmarks.campaigns.training import CampaignBidder, train
from benchmarks.engine import Cell, Settings
from benchmarks.engine.rows import read_rows, write_rows
from bidclick_gym.campaigns import BudgetedCampaign
from icac_algo.decisions import CVaR, MaskedGreedy, greedy_actions

CAMPAIGN = BudgetedCampaign()
NAME = "DQN concave quantiles"


def row_of(policy: str, mean: float, cvar: float, **about: Any) -> dict[str, Any]:
    values = {"mean": mean, "std": 3.0, "cvar_0.1": cvar}
    others = {"cvar_0.25": cvar + 1.6, "cvar_0.5": cvar + 3.2}
    return {**dict.fromkeys(RISK.columns), "policy": policy, **values, **others, **about}


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


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    return list(_verdicts(rows))


def cell_of(name: str, **where: Any) -> Cell:
    small = {"log": "unpaced", "fraction": 0.02, "steps": 20, "nodes": 2}
    return Cell.of("risk", name, **{**small, "budget_points": 21, **where})


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


def test_cells_are_exact_policies_and_learners() -> None:
    options = {"extra_seeds": 2}
    cells = RISK.plan(Settings(pathlib.Path(), steps=100, options=options))
    assert len(cells) == 3 + len(WEIGHTS) + 2 * len(LEARNERS)


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNERS)
def test_learners_give_a_row_for_each_level_and_the_same_twice(name: str) -> None:
    first, second = (RISK.measured(cell_of(name)) for _ in range(2))
    for rows in (first, second):
        assert [row["level"] for row in rows] == list(LEVELS)
        for row in rows:
            assert set(row) == set(RISK.columns) - {"weight"}
            assert row["cvar_0.1"] < row["cvar_0.25"] < row["cvar_0.5"] < row["mean"]
            assert row.pop("train_seconds") > 0.0
    assert first == second


def test_bidders_are_greedy_among_the_bids_that_can_be_paid() -> None:
    cell = cell_of("DQN shaped afterstate quantiles")
    assert RISK.config is not None
    algo, _ = train(cell, RISK.config(cell))
    rng = np.random.default_rng(0)
    x, c, b = rng.random(300), rng.uniform(0.2, 0.4, 300), rng.uniform(0.5, 4.0, 300)
    rich = CAMPAIGN.observe(x, c, b, 10)
    for level in (0.1, 0.5, 1.0):
        chosen = CampaignBidder(algo, level=level)(rich)
        assert np.array_equal(chosen, greedy_actions(algo, rich, CVaR(level)))
    poor = CAMPAIGN.observe(x, c, 0.3 * b, 10)
    for level in (0.1, 1.0):
        assert CAMPAIGN.is_affordable(c, 0.3 * b)[
            np.arange(300), CampaignBidder(algo, level=level)(poor)
        ].all()

    def is_paid(observations: Any) -> Any:
        _, cost, left, _ = CAMPAIGN.read(observations)
        return CAMPAIGN.is_affordable(cost, left)

    by_mean = MaskedGreedy(algo, is_paid).predict(poor)
    assert np.array_equal(CampaignBidder(algo, level=1.0)(poor), by_mean)


def test_exact_policies_are_what_they_say() -> None:
    grid: dict[str, Any] = {"nodes": 4, "budget_points": 21}
    cells = (
        Cell.of("risk", "optimum", **grid),
        Cell.of("risk", "frontier", weight=0.0, **grid),
        Cell.of("risk", "paced logger", **grid),
    )
    (optimum,), (free,), (paced,) = (RISK.measured(cell) for cell in cells)
    assert free["mean"] == pytest.approx(optimum["mean"], abs=1e-6)
    assert paced["mean"] < optimum["mean"]
    assert (free["policy"], free["weight"], free["seed"]) == ("frontier", 0.0, None)


def test_rows_of_a_file_give_a_section_and_a_picture(tmp_path: pathlib.Path) -> None:
    write_rows(tmp_path / "risk.csv", RISK.columns, rows_of(0.1))
    rows = read_rows(tmp_path / "risk.csv")
    assert verdicts(rows) == verdicts(rows_of(0.1))
    text = risk_section(rows)
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
    figure = draw(rows)
    labels = figure.axes[0].get_legend_handles_labels()[1]
    assert labels == ["frontier", NAME, "unpaced logger", "paced logger"]
