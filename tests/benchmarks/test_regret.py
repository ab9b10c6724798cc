"""The regret benchmark: verdicts follow the rows, and the whole path runs."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.auction.regret import REGRET, TUNED, compare
from benchmarks.auction.regret_tasks import TASKS
from benchmarks.engine import EXPERIMENTS, Cell, Origin, Results, report_of
from benchmarks.engine.rows import write_rows
from benchmarks.engine.tuning import best_settings
from benchmarks.learners import PRIOR_LEARNERS, ClickModel

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


def regret_report(rows: list[dict[str, Any]]) -> str:
    results = Results({"regret": rows}, Origin("command", "", ""), pathlib.Path())
    return report_of(EXPERIMENTS["regret"], results)


@pytest.mark.parametrize(
    ("ours", "holds", "sixth"),
    [(1e-4, True, "reached"), (4e-4, True, "missed"), (9e-4, False, "missed")],
)
def test_verdict_follows_the_figures(ours: float, holds: bool, sixth: str) -> None:
    rows = rows_with({OURS: ours, RIVAL: 1e-3})
    comparison = compare(rows, "5 bids", 1.0)
    assert comparison is not None
    assert comparison.halved is holds
    word = "holds" if holds else "does not hold"
    text = regret_report(rows)
    assert f"baseline **{word}**: *concave*" in text
    assert f"One sixth, the aim: {sixth}" in text


def test_the_limit_is_no_rival() -> None:
    rows = rows_with({OURS: 1e-3, RIVAL: 4e-3, "ClickModel": 1e-4})
    comparison = compare(rows, "5 bids", 1.0)
    assert comparison is not None
    assert comparison.best_rival == RIVAL
    assert "family **does not hold**: 10.0" in regret_report(rows)
    close = rows_with({OURS: 2e-4, RIVAL: 4e-3, "ClickModel": 1e-4})
    assert "family **holds**: 2.0" in regret_report(close)
    assert compare(rows_with({OURS: 1e-3}), "5 bids", 1.0) is None


def test_the_limit_finds_the_optimum() -> None:
    for task in TASKS.values():
        model = ClickModel(task.bids, task.continuous).fit(*task.click_columns(0, 1.0))
        assert 0.0 <= task.regret(model) < 3e-4


@pytest.mark.parametrize("task", list(TASKS))
def test_every_row_trains(task: str) -> None:
    tuned = best_settings(TUNED, fraction=0.0625)
    for name, learner in PRIOR_LEARNERS.items():
        if task not in learner.tasks:
            continue
        cell = Cell.of(
            "regret",
            name,
            task=task,
            fraction=0.01,
            steps=3,
            tuned=tuned.get(name, ()),
        )
        (result,) = REGRET.measured(cell)
        assert set(result) == set(REGRET.columns)
        assert np.isfinite(result["regret"])
        assert result["regret"] >= -1e-9


def test_results_come_as_table_picture_and_report(tmp_path: pathlib.Path) -> None:
    rows = rows_with({OURS: 1e-4, RIVAL: 1e-3})
    write_rows(tmp_path / "regret.csv", REGRET.columns, rows)
    Origin("the command", "2025-01-01", "- a version").write(tmp_path)
    main(["regret", "--rebuild", "--out", str(tmp_path)])
    assert (tmp_path / "regret.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "regret.md").read_text()
    assert "## Verdict" in text
    assert "`the command`" in text
