"""The reference that explores: its budget, its rows, its search."""

from __future__ import annotations

import csv
import math
import pathlib
from typing import Any

import pytest

pytest.importorskip("stable_baselines3")

from benchmarks.__main__ import main
from benchmarks.auction import online
from benchmarks.auction.measures import COLUMNS
from benchmarks.auction.online import (
    ONLINE,
    TUNED,
    OnlineCell,
    online_cells,
    train_online,
    tune_online,
)
from benchmarks.auction.tuning import best_settings
from benchmarks.engine import read_rows

TINY = {"fraction": 0.0025, "steps": 4}


@pytest.mark.parametrize("name", ONLINE)
def test_a_row_has_every_column_and_comes_out_alike_twice(name: str) -> None:
    (first,), (second,) = (train_online(OnlineCell(name, **TINY)) for _ in range(2))
    assert tuple(first) == COLUMNS
    assert first["algorithm"] == name
    assert (first["residual"] is None) == ("PPO" in name)
    assert (first["constraint_errors"] is None) == (not ONLINE[name].constraint)
    for row in (first, second):
        del row["train_seconds"]
    assert first == second
    (other,) = train_online(OnlineCell(name, seed=1, **TINY))
    assert other["violation_magnitude"] != first["violation_magnitude"]


@pytest.mark.parametrize("name", ONLINE)
@pytest.mark.parametrize("fraction", [1.0, 0.25, 0.0625, 0.01])
def test_what_is_asked_of_the_environments_is_the_stated_budget(
    name: str, fraction: float
) -> None:
    impressions = round(online.LOG_IMPRESSIONS * fraction)
    assert impressions % ONLINE[name].n_envs == 0
    if "PPO" in name:
        assert impressions % (online.PPO_ENVS * online.PPO_ROLLOUTS) == 0
        return
    settings = online._dqn_settings(5000, impressions)
    calls = impressions // online.DQN_ENVS
    updates = calls / settings["train_freq"][0] * settings["gradient_steps"]
    assert updates == pytest.approx(5000, rel=0.25)


def test_another_number_of_impressions_is_an_error() -> None:
    cell = OnlineCell("SB3-DQN (online)", fraction=0.00255, steps=4)
    with pytest.raises(RuntimeError, match="used 300 impressions of 255"):
        train_online(cell)


def test_the_learning_rate_falls_as_for_all_other_rows() -> None:
    rate = online._cosine(1e-3)
    assert rate(1.0) == pytest.approx(1e-3)
    assert rate(0.5) == pytest.approx(5e-4)
    assert rate(0.0) == pytest.approx(0.0, abs=1e-12)


def test_the_shape_is_obeyed_online_and_a_free_dqn_is_caught() -> None:
    shaped = train_online(OnlineCell("ConstraintAwareDQN (online)", **TINY))[0]
    free = train_online(OnlineCell("SB3-DQN (online)", **TINY))[0]
    assert shaped["constraint_errors"] == shaped["concavity_errors"] == 0
    assert free["concavity_errors"] > 0


def test_recorded_search_has_its_best_value_inside_the_grid() -> None:
    best = best_settings(TUNED)
    assert sorted(best) == sorted(ONLINE)
    with TUNED.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name, settings in best.items():
        assert dict(settings).keys() == ONLINE[name].tuned.keys()
        for key, value in settings:
            tried = {
                float(pair.split("=")[1])
                for row in rows
                if row["algorithm"] == name
                for pair in row["hyperparameters"].split()
                if pair.split("=")[0] == key
            }
            assert min(tried) < value < max(tried), (name, key)


def test_search_asks_for_other_seeds_and_records_what_it_tried(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[OnlineCell] = []

    def pretend(cells: Any, folder: Any, workers: int, run: Any) -> Any:
        asked.extend(cells)
        optimum = {"final_epsilon": 0.2, "entropy": 0.003, "learning_rate": 1e-3}
        return [
            {"regret": sum(abs(math.log(v / optimum[k])) for k, v in cell.tuned)}
            for cell in cells
        ]

    monkeypatch.setattr(online, "run_cells", pretend)
    monkeypatch.setattr(online, "TUNED", tmp_path / "tuned.csv")
    tune_online(tmp_path, steps=7, workers=1)
    used = {cell.seed for cell in asked}
    assert used.isdisjoint({c.seed for c in online_cells("BidClick-v0", 1.0, 20, 5)})
    assert {cell.steps for cell in asked} == {7}
    best = best_settings(tmp_path / "tuned.csv")
    assert dict(best["SB3-PPO (online)"]) == {"entropy": 0.003, "learning_rate": 1e-3}


def test_the_table_shows_them_and_keeps_them_apart(tmp_path: pathlib.Path) -> None:
    words = "table1 --algorithms DQN --seeds 1 --steps 4 --fraction 0.0025 --workers 1"
    main([*words.split(), "--online", "--out", str(tmp_path)])
    assert [r["algorithm"] for r in read_rows(tmp_path / "results.csv")] == ["DQN"]
    rows = read_rows(tmp_path / "online.csv")
    assert [r["algorithm"] for r in rows] == list(ONLINE)
    text = (tmp_path / "report.md").read_text()
    assert "What if you could explore?" in text
    assert "250 times" in text
    for name in ONLINE:
        assert f"| {name} |" in text
    main([*words.split(), "--no-online", "--out", str(tmp_path / "offline")])
    assert not (tmp_path / "offline" / "online.csv").exists()
    assert "explore" not in (tmp_path / "offline" / "report.md").read_text()
