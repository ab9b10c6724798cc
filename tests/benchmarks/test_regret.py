"""The regret benchmark: verdicts follow the rows, and the whole path runs."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from benchmarks.auction.regret import RegretCell, publish, train_one
from benchmarks.auction.regret import RegretSettings as Settings
from benchmarks.auction.regret_limit import ParametricLimit
from benchmarks.auction.regret_report import compare, regret_report
from benchmarks.auction.regret_rows import ROWS
from benchmarks.auction.regret_tasks import TASKS
from benchmarks.auction.regret_tuning import best_tuned
from benchmarks.engine import read_rows

OURS, RIVAL = "concave", "IQL"


def rows_with(regret: dict[str, float], seeds: int = 6) -> list[dict[str, Any]]:
    return [
        {
            "task": "5 bids",
            "row": name,
            "fraction": fraction,
            "seed": seed,
            "steps": 10,
            "tuned": "",
            "regret": value * (1.0 + 0.01 * seed),
        }
        for name, value in regret.items()
        for fraction in (1.0, 0.0625)
        for seed in range(seeds)
    ]


@pytest.mark.parametrize(
    ("ours", "holds", "third"),
    [(1e-4, True, "reached"), (4e-4, True, "missed"), (9e-4, False, "missed")],
)
def test_verdict_follows_the_figures(ours: float, holds: bool, third: str) -> None:
    rows = rows_with({OURS: ours, RIVAL: 1e-3})
    comparison = compare(rows, "5 bids", 1.0)
    assert comparison is not None
    assert comparison.halved is holds
    word = "holds" if holds else "does not hold"
    text = regret_report(rows, "command")
    assert f"baseline **{word}**: *concave*" in text
    assert f"One third, the aim: {third}" in text


def test_the_limit_is_no_rival() -> None:
    rows = rows_with({OURS: 1e-3, RIVAL: 4e-3, "ClickModel": 1e-4})
    comparison = compare(rows, "5 bids", 1.0)
    assert comparison is not None
    assert comparison.best_rival == RIVAL
    assert "family **does not hold**: 10.0" in regret_report(rows, "command")
    close = rows_with({OURS: 2e-4, RIVAL: 4e-3, "ClickModel": 1e-4})
    assert "family **holds**: 2.0" in regret_report(close, "command")
    assert compare(rows_with({OURS: 1e-3}), "5 bids", 1.0) is None


def test_the_limit_finds_the_optimum() -> None:
    for task in TASKS.values():
        model = ParametricLimit(task).fit(*task.click_columns(0, 1.0))
        assert 0.0 <= task.regret(model) < 3e-4


@pytest.mark.parametrize("task", list(TASKS))
def test_every_row_trains(task: str) -> None:
    tuned = best_tuned()
    for name, row in ROWS.items():
        if task not in row.tasks:
            continue
        cell = RegretCell(task, name, 0.01, 0, 3, tuned.get((name, 0.0625), ()))
        (result,) = train_one(cell)
        assert np.isfinite(result["regret"])
        assert result["regret"] >= -1e-9


def test_results_come_as_table_picture_and_report(tmp_path: pathlib.Path) -> None:
    rows = rows_with({OURS: 1e-4, RIVAL: 1e-3})
    publish(rows, Settings(out=tmp_path))
    assert len(read_rows(tmp_path / "regret.csv")) == len(rows)
    assert (tmp_path / "regret.png").read_bytes().startswith(b"\x89PNG")
    assert "## Verdict" in (tmp_path / "regret.md").read_text()
