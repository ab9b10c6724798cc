"""The reference that explores: its budget, its rows, its search."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

pytest.importorskip("stable_baselines3")

from benchmarks.__main__ import main
from benchmarks.auction.measures import COLUMNS
from benchmarks.auction.online import LOG_IMPRESSIONS, ONLINE, TUNED, train_online
from benchmarks.engine import Cell
from benchmarks.engine.rows import read_rows, select
from benchmarks.engine.tuning import best_settings
from benchmarks.learners import ENVS, ONLINE_LEARNERS, PPO_ROLLOUTS, online


def tiny(name: str, seed: int = 0, fraction: float = 0.0025) -> Cell:
    return Cell.of("online", name, seed, env="BidClick-v0", fraction=fraction, steps=4)


def trained(cell: Cell) -> dict[str, Any]:
    (row,) = ONLINE.measured(cell)
    return row


@pytest.mark.parametrize("name", ONLINE_LEARNERS)
def test_a_row_has_every_column_and_comes_out_alike_twice(name: str) -> None:
    first, second = (trained(tiny(name)) for _ in range(2))
    assert set(first) == set(COLUMNS)
    assert first["algorithm"] == name
    assert (first["residual"] is None) == ("PPO" in name)
    assert (first["constraint_errors"] is None) == (not ONLINE_LEARNERS[name].shape)
    for row in (first, second):
        del row["train_seconds"]
    assert first == second
    other = trained(tiny(name, seed=1))
    assert other["violation_magnitude"] != first["violation_magnitude"]


@pytest.mark.parametrize("name", ONLINE_LEARNERS)
@pytest.mark.parametrize("fraction", [1.0, 0.25, 0.0625, 0.01])
def test_what_is_asked_of_the_environments_is_the_stated_budget(
    name: str, fraction: float
) -> None:
    impressions = round(LOG_IMPRESSIONS * fraction)
    assert impressions % ENVS == 0
    if "PPO" in name:
        assert impressions % (ENVS * PPO_ROLLOUTS) == 0
        return
    settings = online._dqn_settings(5000, impressions)
    calls = impressions // ENVS
    updates = calls / settings["train_freq"][0] * settings["gradient_steps"]
    assert updates == pytest.approx(5000, rel=0.25)


def test_another_number_of_impressions_is_an_error() -> None:
    cell = tiny("SB3-DQN (online)", fraction=0.00255)
    with pytest.raises(RuntimeError, match="used 300 impressions of 255"):
        train_online(cell)


def test_the_learning_rate_falls_as_for_all_other_rows() -> None:
    rate = online._cosine(1e-3)
    assert rate(1.0) == pytest.approx(1e-3)
    assert rate(0.5) == pytest.approx(5e-4)
    assert rate(0.0) == pytest.approx(0.0, abs=1e-12)


def test_the_shape_is_obeyed_online_and_a_free_dqn_is_caught() -> None:
    shaped = trained(tiny("ConstraintAwareDQN (online)"))
    free = trained(tiny("SB3-DQN (online)"))
    assert shaped["constraint_errors"] == shaped["concavity_errors"] == 0
    assert free["concavity_errors"] > 0


def test_recorded_search_has_its_best_value_inside_the_grid() -> None:
    best = best_settings(TUNED)
    assert sorted(best) == sorted(ONLINE_LEARNERS)
    rows = read_rows(TUNED)
    for name, settings in best.items():
        assert dict(settings).keys() == ONLINE_LEARNERS[name].tuned.keys()
        for key, value in settings:
            tried = {
                float(pair.split("=")[1])
                for row in select(rows, learner=name)
                for pair in row["hyperparameters"].split()
                if pair.split("=")[0] == key
            }
            assert min(tried) < value < max(tried), (name, key)


@pytest.mark.slow
def test_the_table_shows_them_and_keeps_them_apart(tmp_path: pathlib.Path) -> None:
    words = "table1 --algorithms DQN --seeds 1 --steps 4 --fraction 0.0025 --workers 1"
    main([*words.split(), "--online", "--out", str(tmp_path)])
    assert [r["algorithm"] for r in read_rows(tmp_path / "results.csv")] == ["DQN"]
    rows = read_rows(tmp_path / "online.csv")
    assert [r["algorithm"] for r in rows] == list(ONLINE_LEARNERS)
    text = (tmp_path / "report.md").read_text()
    assert "What if you could explore?" in text
    assert "250 times" in text
    for name in ONLINE_LEARNERS:
        assert f"| {name} |" in text
    main([*words.split(), "--no-online", "--out", str(tmp_path / "offline")])
    assert not (tmp_path / "offline" / "online.csv").exists()
    assert "explore" not in (tmp_path / "offline" / "report.md").read_text()
