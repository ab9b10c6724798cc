"""The same defaults everywhere: comparisons with fixed counts, and the experiment."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.defaults.places import PLACES, WARFARIN
from benchmarks.defaults.steps import STEPS, comparisons
from benchmarks.engine import EXPERIMENTS, Origin, Results, Settings, report_of
from benchmarks.engine.rows import read_rows

CHEAP = "pricing"


def rows(auto: float, place: str = CHEAP) -> list[dict[str, Any]]:
    """The best fixed count is 1,000 steps, with a regret of 0.1."""
    fixed = [
        {"learner": "fixed", "seed": seed, "steps": float(steps), "regret": regret}
        for seed in range(100, 106)
        for steps, regret in zip(STEPS, (0.4, 0.2, 0.1, 0.15, 0.2, 0.3), strict=True)
    ]
    # A seed that only one of both has does not count.
    own = [
        {"learner": "auto", "seed": seed, "steps": 900.0 + seed, "regret": auto}
        for seed in range(100, 107)
    ]
    return [{"place": place, "seconds": 1.0, **row} for row in (*fixed, *own)]


def test_the_best_count_is_that_of_the_least_mean() -> None:
    (found,) = comparisons(rows(0.12)).values()
    assert found.best == 1000.0
    assert sorted(found.auto) == list(range(100, 106))
    assert found.ratio(found.best).mean == pytest.approx(1.2)
    assert found.ratio(250.0).mean == pytest.approx(0.3)


@pytest.mark.parametrize(("auto", "holds"), [(0.1, True), (0.12, False)])
def test_verdicts_follow_the_figures(auto: float, holds: bool) -> None:
    found = [*rows(0.105, "dosing"), *rows(auto)]
    results = Results({"defaults": found}, Origin("command", "", ""), pathlib.Path())
    text = report_of(EXPERIMENTS["defaults"], results)
    assert f"{'**holds**' if holds else '**does not hold**'}." in text
    assert (f"{CHEAP}: 1.20 times" in text) != holds


def test_warfarin_is_left_out_without_its_file() -> None:
    assert set(WARFARIN) < set(PLACES)
    experiment = EXPERIMENTS["defaults"]
    (part,) = experiment.parts
    assert part.cells is not None
    for data, places in (("patients.npy", set(PLACES)), (None, {*PLACES} - {*WARFARIN})):
        settings = Settings(pathlib.Path(), seeds=2, options={"data": data})
        assert {cell["place"] for cell in part.cells(settings)} == places


@pytest.mark.slow
def test_quick_run_compares(tmp_path: pathlib.Path) -> None:
    main(["defaults", "--quick", "--out", str(tmp_path)])
    found = read_rows(tmp_path / "defaults.csv")
    assert {row["learner"] for row in found} == {"auto", "fixed"}
    assert all(row["regret"] >= 0.0 for row in found)
    assert (tmp_path / "defaults.png").exists()
    assert "## Verdict" in (tmp_path / "report.md").read_text()
