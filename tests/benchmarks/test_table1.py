"""The report says what the rows say."""

from __future__ import annotations

import csv
import functools
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmarks.__main__ import main
from benchmarks.auction.measures import COLUMNS
from benchmarks.auction.table1 import TUNED_OFFLINE
from benchmarks.auction.verdicts import table1_verdicts
from benchmarks.engine import Cell, Origin, Part, Settings, tuning
from benchmarks.engine.intervals import bootstrap_mean, paired_difference
from benchmarks.engine.rows import read_rows, select, write_rows
from benchmarks.engine.tuning import best_settings, search, widened
from benchmarks.learners import AUCTION_LEARNERS, Learner
from bidclick_gym import Auction
from bidclick_gym.auction import MONOTONE_COST_RANGE

OURS, RIVAL = "Ours-Concave", "IQL"


def rows_with(regret: dict[str, float], **changes: Any) -> list[dict[str, Any]]:
    best = Auction().optimal_value(200)
    rows = []
    for name, value in regret.items():
        shaped = AUCTION_LEARNERS[name].counted
        for seed in range(5):
            noisy = value * (1.0 + 0.01 * seed)
            rows.append(
                {
                    **dict.fromkeys(COLUMNS, 0.0),
                    "algorithm": name,
                    "constraint": AUCTION_LEARNERS[name].shape,
                    "env": "BidClick-v0",
                    "fraction": 1.0,
                    "seed": seed,
                    "steps": 10,
                    "return": best - noisy,
                    "regret": noisy,
                    "constraint_errors": 0.0 if shaped else None,
                    **changes,
                }
            )
    return rows


@pytest.fixture(scope="module", autouse=True)
def integrals_are_made_once() -> Iterator[None]:
    """Means over all contexts of one auction are the same in every test."""
    names = ("optimal_value", "monotone_share", "falling_pairs")
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(Auction, name, functools.cache(getattr(Auction, name)))
        yield


def verdict(rows: list[dict[str, Any]], auction: Auction | None = None) -> str:
    return "\n".join(table1_verdicts(rows, auction or Auction()))


def test_verdict_flips_with_the_winner() -> None:
    better = verdict(rows_with({OURS: 1e-4, RIVAL: 1e-3}))
    worse = verdict(rows_with({OURS: 1e-3, RIVAL: 1e-4}))
    same = verdict(rows_with({OURS: 1e-3, RIVAL: 1e-3}))
    assert "*Ours-Concave*, is below" in better
    assert "**is above**" in worse
    assert "**cannot be told from**" in same


def test_no_verdict_on_a_handful_of_seeds() -> None:
    rows = [r for r in rows_with({OURS: 1e-4, RIVAL: 1e-3}) if r["seed"] < 2]
    assert "with too few seeds to tell" in verdict(rows)


def test_verdict_flips_with_a_violation() -> None:
    assert "Exactness of *Ours-Concave* (Concave) holds" in verdict(
        rows_with({OURS: 1e-4, RIVAL: 1e-3})
    )
    broken = rows_with({OURS: 1e-4, RIVAL: 1e-3}, constraint_errors=3.0)
    assert "**does not hold**: at most 3 violated" in verdict(broken)


def test_verdict_flips_with_the_ratio_to_default_settings() -> None:
    names = {OURS: 1e-4, RIVAL: 1e-3}
    assert "It is at most one tenth of that of *CQL-default*" in verdict(
        rows_with({**names, "CQL-default": 1e-2})
    )
    assert "**more than** one tenth of that of *CQL-default*" in verdict(
        rows_with({**names, "CQL-default": 5e-4})
    )


def test_verdict_knows_where_the_premise_is_true() -> None:
    rows = rows_with({"Ours-Monotone": 1e-4, RIVAL: 1e-3})
    assert "*monotone* is false here" in verdict(rows)
    assert "given the false prior" in verdict(rows)
    true = verdict(rows, Auction(cost_range=MONOTONE_COST_RANGE))
    assert "*monotone* is true here" in true
    assert "*Ours-Monotone*, is below" in true


def test_paper_returns_are_compared_with_the_attainable_optimum() -> None:
    text = verdict(rows_with({OURS: 1e-4, RIVAL: 1e-3}))
    assert "4 of its 4 returns exceed 0.6336" in text
    rows = rows_with({OURS: 1e-4, RIVAL: 1e-3})
    cheaper, cheapest = (0.05, 0.10), (0.0, 0.01)
    assert "1 of its 4 returns exceed" in verdict(rows, Auction(cost_range=cheaper))
    assert "are attainable" in verdict(rows, Auction(cost_range=cheapest))


def test_the_click_model_is_not_a_rival() -> None:
    text = verdict(rows_with({OURS: 1e-4, RIVAL: 1e-3, "ClickModel": 1e-6}))
    assert "best oracle-tuned baseline, *IQL*" in text


def test_report_and_picture_are_made_of_stored_rows_alone(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_with({OURS: 1e-4, RIVAL: 1e-3, "ClickModel": 0.0})
    write_rows(tmp_path / "results.csv", COLUMNS, rows)
    with pytest.raises(SystemExit, match="2"):
        main(["table1", "--rebuild", "--out", str(tmp_path)])
    assert f"--rebuild needs results in --out, got {tmp_path}" in capsys.readouterr().err
    Origin("the command", "2025-01-01", "- a version").write(tmp_path)
    main(["table1", "--rebuild", "--out", str(tmp_path)])
    text = (tmp_path / "report.md").read_text()
    for name in (OURS, RIVAL, "ClickModel", "the command", "0.851 ± 0.006", "a version"):
        assert name in text
    assert "explore" not in text
    picture = (tmp_path / "table1.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    explored = [{**row, "algorithm": "SB3-DQN (online)"} for row in rows[:5]]
    write_rows(tmp_path / "online.csv", COLUMNS, explored)
    main(["table1", "--rebuild", "--out", str(tmp_path)])
    text = (tmp_path / "report.md").read_text()
    assert "What if you could explore?" in text
    assert "| SB3-DQN (online) |" in text
    assert (tmp_path / "table1.png").read_bytes() != picture


@pytest.mark.slow
def test_command_writes_every_column(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    words = "table1 --algorithms BC,ClickModel --seeds 1 --steps 5 --fraction 0.01"
    main([*words.split(), "--workers", "1", "--out", str(out)])
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [r["algorithm"] for r in rows] == [
        "BC (greedy)",
        "BC (sampled)",
        "ClickModel",
    ]
    assert rows[0]["residual"] == rows[0]["constraint_errors"] == ""
    assert float(rows[2]["regret"]) < 0.02


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--env", "CartPole-v1"], "--env: must be among"),
        (["--algorithms", "SAC"], "--algorithms: must be among"),
        (["--fraction", "0"], "must be in"),
        (["--seeds", "0"], "must be at least 1"),
    ],
)
def test_bad_command_lines(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["table1", *words])
    assert message in capsys.readouterr().err


# -- intervals and tuning ----------------------------------------------------


def test_interval_covers_and_is_repeatable() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(100):
        interval = bootstrap_mean(rng.normal(size=20))
        hits += interval.low <= 0.0 <= interval.high
    assert hits >= 85
    data = rng.normal(size=8)
    assert bootstrap_mean(data) == bootstrap_mean(data)
    assert bootstrap_mean([2.0, 2.0]).format(1) == "2.0"


def test_interval_is_scipys_at_95_percent() -> None:
    data = np.random.default_rng(0).normal(size=20)
    expected = stats.bootstrap(
        (data,),
        np.mean,
        confidence_level=0.95,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    interval = bootstrap_mean(data)
    assert (interval.low, interval.high) == (expected.low, expected.high)


def test_paired_difference_uses_common_seeds() -> None:
    gap = paired_difference({0: 1.0, 1: 2.0, 2: 9.0}, {0: 0.5, 1: 1.5})
    assert (gap.mean, gap.seeds) == (0.5, 2)
    with pytest.raises(ValueError, match="no seed in common"):
        paired_difference({0: 1.0}, {1: 1.0})


def test_recorded_tuning_has_its_best_value_inside_the_grid() -> None:
    tuned = [name for name, entry in AUCTION_LEARNERS.items() if entry.tuned]
    assert sorted(best_settings(TUNED_OFFLINE)) == sorted(tuned)
    rows = read_rows(TUNED_OFFLINE)
    for name, best in best_settings(TUNED_OFFLINE).items():
        for key, value in best:
            tried = {
                float(pair.split("=")[1])
                for row in select(rows, learner=name)
                for pair in row["hyperparameters"].split()
                if pair.split("=")[0] == key
            }
            assert min(tried) < value < max(tried), (name, key)


def test_search_widens_until_the_best_is_inside() -> None:
    tried: dict[Any, float] = {}

    def regrets(settings: Any) -> list[float]:
        return [abs(np.log10(dict(pairs)["alpha"] / 3.0)) for pairs in settings]

    assert search({"alpha": (0.01, 0.03, 0.1)}, regrets, tried) == {"alpha": 3.7}
    assert max(key[0][1] for key in tried) > 3.7


def test_the_tuner_asks_for_other_seeds_and_keeps_what_it_does_not_search(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Cell] = []

    def pretend(cells: Any, folder: Any, workers: int, run: Any) -> Any:
        asked.extend(cells)
        return [{"regret": abs(np.log10(cell.tuned["alpha"] / 0.02))} for cell in cells]

    monkeypatch.setattr(tuning, "run_cells", pretend)
    path = tmp_path / "tuned.csv"
    part = Part("toy", ("learner", "seed", "regret"), measure=list)

    def search_at(fractions: list[float], alphas: tuple[float, ...]) -> None:
        places = [{"fraction": fraction} for fraction in fractions]
        learners = {"CQL": Learner("CQL", None, tuned={"alpha": alphas})}
        settings = Settings(tmp_path, steps=7)
        tuning.tune(path, part, learners, places, settings, keys=["fraction"])

    search_at([1.0, 0.25], (0.01, 0.02, 0.03))
    assert {(cell.seed, cell["steps"]) for cell in asked} == {
        (seed, 7) for seed in tuning.SEEDS
    }
    assert not set(tuning.SEEDS) & set(range(100))
    search_at([0.25], (0.003, 0.01, 0.03))
    assert best_settings(path, fraction=1.0) == {"CQL": (("alpha", 0.02),)}
    assert best_settings(path, fraction=0.25) == {"CQL": (("alpha", 0.03),)}


def test_widening_of_a_share_stays_between_zero_and_one() -> None:
    assert list(widened("expectile", [0.5, 0.7, 0.9], 2)) == [0.95]
    assert list(widened("expectile", [0.5, 0.7, 0.9], 0)) == [0.25]
    assert list(widened("expectile", [0.5, 0.7, 0.9], 1)) == []
