"""Campaigns under a budget: rows, verdicts that flip, pictures, references."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import sys
from typing import Any

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.campaigns.cells import (
    COLUMNS,
    BudgetCell,
    CampaignBidder,
    train_and_measure,
    train_on_log,
)
from benchmarks.campaigns.pictures import (
    bid_map,
    draw_bid_maps,
    draw_regret,
    draw_spending,
    draw_value_maps,
    value_map,
)
from benchmarks.campaigns.references import Reference, references
from benchmarks.campaigns.report import budget_report, verdicts
from benchmarks.campaigns.run import BudgetSettings, planned
from benchmarks.campaigns.tuning import best_settings, tune_budget
from benchmarks.engine.page import page_of
from benchmarks.learners.campaigns import CAMPAIGN_LEARNERS, other_budgets
from bidclick_gym.campaigns import BudgetedCampaign, UnpacedPolicy, simulate, solve

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import browser

CAMPAIGN = BudgetedCampaign()
OURS, RIVAL = "Ours bid + state", "DQN"


def rows_of(regret: dict[str, float], seeds: int = 6, **changes: Any) -> Any:
    return [
        {
            **dict.fromkeys(COLUMNS, 0.0),
            "learner": name,
            "log": "paced",
            "fraction": 0.25,
            "seed": seed,
            "steps": 10,
            "return": 30.7 - value,
            "regret": value * (1.0 + 0.01 * seed),
            "own_errors": 0.0 if CAMPAIGN_LEARNERS[name].kind == "ours" else None,
            **changes,
        }
        for name, value in regret.items()
        for seed in range(seeds)
    ]


def test_verdicts_flip_with_the_winner() -> None:
    better = "\n".join(verdicts(rows_of({OURS: 0.1, RIVAL: 0.5})))
    worse = "\n".join(verdicts(rows_of({OURS: 0.5, RIVAL: 0.1})))
    same = "\n".join(verdicts(rows_of({OURS: 0.3, RIVAL: 0.3})))
    few = "\n".join(verdicts(rows_of({OURS: 0.1, RIVAL: 0.5}, seeds=3)))
    assert "regret is lower. *Ours bid + state* minus *DQN*, the best baseline" in better
    assert "regret is **higher**" in worse
    assert "**no difference can be told**" in same
    assert "too few seeds to tell" in few


def test_verdicts_flip_with_a_violation() -> None:
    rows = rows_of({OURS: 0.1, RIVAL: 0.5})
    assert "Shapes hold: 0 violations in 6 trainings" in verdicts(rows)[0]
    rows[2]["own_errors"] = 3.0
    assert "**do not hold**: up to 3 violations" in verdicts(rows)[0]


def test_references_are_the_exact_values() -> None:
    found = {r.name: round(r.value, 3) for r in references(CAMPAIGN)}
    assert found["optimum"] == 30.737
    assert found["always bid 0.25"] == 30.168
    assert found["always bid 0.5"] == 29.815
    assert found["always bid 0"] == 28.093
    assert found["best bid of the moment"] == 29.678
    assert found["unpaced logger"] == pytest.approx(29.417, abs=2e-3)


def test_budgets_only_fall_and_are_those_of_the_policy() -> None:
    policy = UnpacedPolicy(CAMPAIGN).probabilities_of
    left = simulate(policy, CAMPAIGN, 500, 0)["budget_left"]
    assert left.shape == (500, 51)
    assert (left[:, 0] == 4.0).all()
    assert (np.diff(left) <= 0.0).all()
    assert left.min() >= 0.0
    # Before the budget runs short: mean bid times mean cost.
    spent = 5 * 0.3 * (UnpacedPolicy(CAMPAIGN).bidder.probabilities @ CAMPAIGN.bids)
    assert 4.0 - left[:, 5].mean() == pytest.approx(spent, rel=0.05)


@pytest.mark.parametrize(
    "name",
    ["BC", "DQN", OURS, "Ours shaped afterstates", "Ours shaped afterstates relabelled"],
)
def test_a_row_has_every_column_and_comes_out_alike_twice(name: str) -> None:
    cell = BudgetCell(name, fraction=0.02, steps=20)
    (first,), (second,) = (train_and_measure(cell) for _ in range(2))
    assert tuple(first) == COLUMNS
    del first["train_seconds"], second["train_seconds"]
    assert first == second
    is_ours = CAMPAIGN_LEARNERS[name].kind == "ours"
    assert (first["own_errors"] == 0.0) == is_ours
    assert first["regret"] >= 0.0


def test_refused_bids_are_bids_of_zero_and_only_paid_bids_are_made() -> None:
    algo, _ = train_on_log(BudgetCell("DQN", fraction=0.02, steps=20))
    broke = CAMPAIGN.observe(0.5, 0.3, np.array([0.0, 0.1, 0.2, 4.0]), 10)
    chosen = CampaignBidder(algo, CAMPAIGN)(broke)
    assert (chosen[:3] <= [0, 1, 2]).all()


def test_every_learner_has_a_cell_of_its_own() -> None:
    settings = BudgetSettings(seeds=2)
    cells = planned(settings)
    assert len({cell.digest for cell in cells}) == len(cells)
    assert len(cells) == 2 * 2 * 3 * len(CAMPAIGN_LEARNERS)
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)
    longer = dataclasses.replace(cells[0], steps=9)
    assert longer.digest != cells[0].digest


def test_relabelled_rows_learn_from_other_budgets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logged, relabelled = (
        BudgetCell(name, fraction=0.02, steps=20)
        for name in ("Ours afterstates", "Ours afterstates relabelled")
    )
    assert logged.picker is None
    assert relabelled.picker == other_budgets()
    # The largest payment: a bid of 1 at the highest cost.
    assert other_budgets().largest_payment == pytest.approx(0.4 / 4.0)
    given: list[Any] = []
    monkeypatch.setattr(
        "benchmarks.campaigns.cells.fit_quietly",
        lambda algo, dataset, *others, **options: given.append(dataset),
    )
    for cell in (logged, relabelled):
        train_on_log(cell, picker=cell.picker)
    assert given[0].transition_picker != other_budgets()
    assert given[1].transition_picker == other_budgets()


def test_what_relabelling_does_is_said() -> None:
    regret = {
        "Ours shaped afterstates": 0.4,
        "Ours shaped afterstates relabelled": 0.1,
        "Ours afterstates": 0.05,
        "Ours afterstates relabelled": 0.2,
    }
    bare, logged = verdicts(rows_of(regret))[1:]
    assert "minus *Ours afterstates relabelled*, the same critic told no" in bare
    assert "minus *Ours shaped afterstates*, the same learner with budgets" in logged
    assert ": -0.3" in logged


def test_tuning_some_keeps_what_is_known_of_others(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tuning.csv"
    file.write_text(
        "log,algorithm,hyperparameters,seeds,steps,mean_regret\n"
        "unpaced,DQN,lag=5,3,2000,0.9\n"
        "unpaced,CQL,alpha=0.01 lag=5,3,2000,0.7\n"
        "paced,DQN,lag=7,3,2000,0.8\n"
    )

    def run_cells(cells: Any, *others: Any) -> list[dict[str, float]]:
        return [{"regret": dict(cell.tuned)["lag"] / 100.0 - 0.1} for cell in cells]

    monkeypatch.setattr("benchmarks.campaigns.tuning.run_cells", run_cells)
    tune_budget(tmp_path, 2000, learners=("DQN", "BC"), logs=("unpaced",), path=file)
    lines = file.read_text().splitlines()
    assert "unpaced,DQN,lag=5,3,2000,0.9" not in lines
    assert lines.index("unpaced,CQL,alpha=0.01 lag=5,3,2000,0.7") == len(lines) - 2
    assert lines[-1] == "paced,DQN,lag=7,3,2000,0.8"
    assert dict(best_settings(file)["DQN", "unpaced"])["lag"] < 5.0


def test_both_rivals_are_named() -> None:
    regret = {"Ours shaped afterstates": 0.1, "Ours afterstates": 0.2, "CQL": 0.5}
    baseline, bare = verdicts(rows_of(regret))[1:]
    assert "minus *CQL*, the best baseline: -0.4" in baseline
    assert "minus *Ours afterstates*, the same critic told no shape: -0.1" in bare
    assert "closes" in baseline


def test_all_learners_are_tuned_by_the_same_search() -> None:
    tuned = {name for name, learner in CAMPAIGN_LEARNERS.items() if learner.tuned}
    assert tuned == set(CAMPAIGN_LEARNERS) - {"BC"}
    chosen = best_settings()
    assert set(chosen) == {(name, log) for name in tuned for log in ("unpaced", "paced")}
    for (name, log), settings in chosen.items():
        assert dict(settings).keys() == CAMPAIGN_LEARNERS[name].tuned.keys()
        cell = BudgetCell(name, log, steps=2000, tuned=settings)
        assert cell in planned(BudgetSettings(fractions=(1.0,), seeds=1))


def test_a_page_has_its_pictures_inside(tmp_path: pathlib.Path) -> None:
    draw_regret(rows_of({OURS: 0.1}), tmp_path / "regret.png")
    text = "# A <title>\n\n| a | b |\n|---|---|\n| 1 | **2** |\n\n![x](regret.png)\n"
    page = page_of(text, tmp_path)
    assert "<title>A &lt;title&gt;</title>" in page
    assert '<div class="wide"><table>' in page
    assert page.count("data:image/png;base64,") == 1
    assert 'src="regret.png"' not in page
    with pytest.raises(FileNotFoundError, match=r"other\.png"):
        page_of(text.replace("regret", "other"), tmp_path)


def test_report_and_pictures(tmp_path: pathlib.Path) -> None:
    rows = rows_of({OURS: 0.1, RIVAL: 0.5})
    known = [Reference("optimum", 30.737)]
    text = budget_report(rows, known, "the command", 8000, ["## Another part\n"])
    for words in ("the command", "| optimum | 30.737 |", f"| {OURS} |", "6 seeds"):
        assert words in text
    assert "## Another part" in text
    solution = solve(CAMPAIGN, nodes=4, budget_points=41)
    draw_regret(rows, tmp_path / "regret.png")
    maps = {"optimum": bid_map(solution.greedy, CAMPAIGN)}
    assert maps["optimum"].shape == (50, 41)
    draw_bid_maps(maps, CAMPAIGN, tmp_path / "bids.png")
    worth = value_map(solution.q_values, CAMPAIGN)
    assert (worth[:, 0] == 0.0).all()
    # More money is worth more, with more impressions to come as well.
    assert (np.diff(worth, axis=1) >= -1e-9).all()
    assert worth[-1, -1] == pytest.approx(
        solution.value() - solution.value(0.0), abs=0.05
    )
    draw_value_maps({"optimum": worth}, CAMPAIGN, tmp_path / "values.png")
    left = {"optimum": simulate(solution.greedy, CAMPAIGN, 20, 0)["budget_left"]}
    draw_spending(left, CAMPAIGN, tmp_path / "spending.png")
    for name in ("regret", "bids", "spending", "values"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(
    browser.find() is None and "CI_NEEDS_BROWSER" not in os.environ,
    reason="no Chromium on this machine",
)
@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1280, False)])
def test_the_published_page_renders_and_fits(width: int, dark: bool) -> None:
    assert browser.find() is not None, "this run was promised a browser"
    page = pathlib.Path(__file__).parents[2] / "docs/results/budget/report.html"
    found = browser.measure(page, width, dark)
    assert found["width"] <= width
    assert found["outside"] == []
    assert found["requests"] == []
    assert len(found["images"]) >= 4
    for name, natural, shown in found["images"]:
        assert natural > 0, name
        assert 100 < shown <= width, name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "0"], "must be at least 1"),
        (["--learners", "DQN,SAC"], "--learners must name each once"),
        (["--learners", "DQN,DQN"], "--learners must name each once"),
        (["--logs", "both"], "--logs must name each once, of unpaced, paced"),
        (["--fractions", "1,2"], "must be in"),
        (["--only", "learning"], "--only must name each once, of learners, contraction"),
        (["--rebuild", "--out", "/nowhere/at/all"], "nothing to rebuild a report from"),
    ],
)
def test_bad_words_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["budget", *words])
    assert message in capsys.readouterr().err
