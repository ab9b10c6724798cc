"""Campaigns under a budget: rows, verdicts that flip, pictures, references."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys
from typing import Any

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.campaigns.budget import BUDGET
from benchmarks.campaigns.learned import LEARNERS, tune_learners
from benchmarks.campaigns.learned import verdicts as _verdicts
from benchmarks.campaigns.policies import POLICIES, bid_map, worth_map
from benchmarks.campaigns.training import TUNED, CampaignBidder, train_learner
from benchmarks.engine import Cell, Origin, Results, Settings, report_of, tuning
from benchmarks.engine.page import page_of
from benchmarks.engine.rows import read_rows, select, write_rows
from benchmarks.engine.tuning import best_settings
from benchmarks.learners import CAMPAIGN_LEARNERS
from benchmarks.learners.campaigns import other_budgets
from bidclick_gym.campaigns import BudgetedCampaign, UnpacedPolicy, simulate, solve

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import browser

PUBLISHED = pathlib.Path(__file__).parents[2] / "docs/results/budget"
CAMPAIGN = BudgetedCampaign()
OURS, RIVAL = "Ours bid + state", "DQN"


def rows_of(regret: dict[str, float], seeds: int = 6, **changes: Any) -> Any:
    return [
        {
            **dict.fromkeys(LEARNERS.columns, 0.0),
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


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    return list(_verdicts(rows))


def settings_with(**changes: Any) -> Settings:
    own = {name: BUDGET.defaults[name] for name in ("learners", "logs", "fractions")}
    options = {**own, "extra_seeds": 2, "tune": False, **changes}
    return Settings(pathlib.Path("nowhere"), seeds=2, steps=2000, options=options)


def small(name: str, part: str = "learners", **where: Any) -> Cell:
    where = {"log": "unpaced", "fraction": 0.02, "steps": 20, **where}
    return Cell.of(part, name, **where)


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


@pytest.mark.slow
def test_policies_that_nobody_learns_have_their_exact_values() -> None:
    cells = POLICIES.plan(settings_with(learners=("DQN",)))
    rows = [row for cell in cells for row in POLICIES.measured(cell)]
    found = {r["policy"]: round(r["value"], 3) for r in rows if "value" in r}
    assert found.pop("unpaced logger") == pytest.approx(29.417, abs=2e-3)
    assert found.pop("paced logger") == pytest.approx(30.139, abs=2e-3)
    assert found == {
        "optimum": 30.737,
        "always bid 0.25": 30.168,
        "always bid 0.5": 29.815,
        "best bid of the moment": 29.678,
        "always bid 0.75": 29.246,
        "always bid 1": 28.678,
        "always bid 0": 28.093,
    }
    drawn = [row for row in select(rows, policy="optimum") if "played" in row]
    assert [row["played"] for row in drawn] == list(range(51))
    assert all(row["left_low"] <= row["left"] <= row["left_high"] for row in drawn)
    # With every impression to come, all bids and worths at 41 budgets.
    maps = bid_map(solve(CAMPAIGN).greedy, CAMPAIGN)
    assert drawn[0]["bids"].split() == [f"{bid:g}" for bid in maps[-1]]
    assert [len(row["worth"].split()) for row in drawn[:-1]] == [41] * 50
    assert "bids" not in drawn[-1]


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


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["BC", "DQN", OURS, "Ours shaped afterstates", "Ours shaped afterstates relabelled"],
)
def test_a_row_has_every_column_and_comes_out_alike_twice(name: str) -> None:
    (first,), (second,) = (LEARNERS.measured(small(name)) for _ in range(2))
    assert set(first) == set(LEARNERS.columns)
    del first["train_seconds"], second["train_seconds"]
    assert first == second
    is_ours = CAMPAIGN_LEARNERS[name].kind == "ours"
    assert (first["own_errors"] == 0.0) == is_ours
    assert first["regret"] >= 0.0


def test_refused_bids_are_bids_of_zero_and_only_paid_bids_are_made() -> None:
    algo, _ = train_learner(small("DQN"))
    broke = CAMPAIGN.observe(0.5, 0.3, np.array([0.0, 0.1, 0.2, 4.0]), 10)
    chosen = CampaignBidder(algo)(broke)
    assert (chosen[:3] <= [0, 1, 2]).all()


def test_every_learner_has_a_cell_of_its_own() -> None:
    cells = LEARNERS.plan(settings_with())
    assert len({cell.digest for cell in cells}) == len(cells)
    assert len(cells) == 2 * 2 * 3 * len(CAMPAIGN_LEARNERS)
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)


@pytest.mark.parametrize("part", BUDGET.parts, ids=lambda part: part.name)
def test_every_cell_of_every_part_is_one_of_its_own(part: Any) -> None:
    cells = part.plan(settings_with())
    assert len({cell.digest for cell in cells}) == len(cells)
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)
    assert all(cell.experiment == part.name for cell in cells)


def test_relabelled_rows_learn_from_other_budgets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The largest payment: a bid of 1 at the highest cost.
    assert other_budgets().largest_payment == pytest.approx(0.4 / 4.0)
    given: list[Any] = []
    monkeypatch.setattr(
        "benchmarks.campaigns.training.fit_quietly",
        lambda algo, dataset, *others, **options: given.append(dataset),
    )
    for name in ("Ours afterstates", "Ours afterstates relabelled"):
        train_learner(small(name))
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
    assert "minus *Ours afterstates relabelled*, the same critic without" in bare
    assert "minus *Ours shaped afterstates*, the same learner with budgets" in logged
    assert ": -0.3" in logged


def test_tuning_some_keeps_what_is_known_of_others(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tuning.csv"
    file.write_text(
        "learner,log,hyperparameters,seeds,steps,mean_regret\n"
        "DQN,unpaced,lag=5,3,2000,0.9\n"
        "CQL,unpaced,alpha=0.01 lag=5,3,2000,0.7\n"
        "DQN,paced,lag=7,3,2000,0.8\n"
    )

    def run_cells(cells: Any, *others: Any) -> list[dict[str, float]]:
        assert {cell["fraction"] for cell in cells} == {0.25}
        return [{"regret": cell.tuned["lag"] / 100.0 - 0.1} for cell in cells]

    monkeypatch.setattr(tuning, "run_cells", run_cells)
    monkeypatch.setattr("benchmarks.campaigns.training.TUNED", file)
    only = {"learners": ("DQN", "BC"), "logs": ("unpaced",)}
    tune_learners(settings_with(**only))
    assert "DQN,unpaced,lag=5,3,2000,0.9" in file.read_text()
    tune_learners(settings_with(**only, tune=True))
    lines = file.read_text().splitlines()
    assert "DQN,unpaced,lag=5,3,2000,0.9" not in lines
    assert "CQL,unpaced,alpha=0.01 lag=5,3,2000,0.7" in lines
    assert "DQN,paced,lag=7,3,2000,0.8" in lines
    assert dict(best_settings(file, log="unpaced")["DQN"])["lag"] < 5.0


def test_both_rivals_are_named() -> None:
    regret = {"Ours shaped afterstates": 0.1, "Ours afterstates": 0.2, "CQL": 0.5}
    baseline, bare = verdicts(rows_of(regret))[1:]
    assert "minus *CQL*, the best baseline: -0.4" in baseline
    assert "minus *Ours afterstates*, the same critic without a shape: -0.1" in bare
    assert "closes" in baseline


def test_all_learners_are_tuned_by_the_same_search() -> None:
    tuned = {name for name, learner in CAMPAIGN_LEARNERS.items() if learner.tuned}
    assert tuned == set(CAMPAIGN_LEARNERS) - {"BC"}
    cells = LEARNERS.plan(settings_with(fractions=(1.0,)))
    for log in ("unpaced", "paced"):
        chosen = best_settings(TUNED, log=log)
        assert set(chosen) == tuned
        for name, settings in chosen.items():
            assert dict(settings).keys() == CAMPAIGN_LEARNERS[name].tuned.keys()
            mine = [c for c in cells if (c.learner, c["log"]) == (name, log)]
            assert {c["tuned"] for c in mine} == {settings}


def test_a_page_has_its_pictures_inside(tmp_path: pathlib.Path) -> None:
    shutil.copy(PUBLISHED / "regret.png", tmp_path)
    text = "# A <title>\n\n| a | b |\n|---|---|\n| 1 | **2** |\n\n![x](regret.png)\n"
    page = page_of(text, tmp_path)
    assert "<title>A &lt;title&gt;</title>" in page
    assert '<div class="wide"><table>' in page
    assert page.count("data:image/png;base64,") == 1
    assert 'src="regret.png"' not in page
    with pytest.raises(FileNotFoundError, match=r"other\.png"):
        page_of(text.replace("regret", "other"), tmp_path)


def test_what_the_budget_is_worth() -> None:
    solution = solve(CAMPAIGN, nodes=4, budget_points=41)
    assert bid_map(solution.greedy, CAMPAIGN).shape == (50, 41)
    worth = worth_map(solution.q_values, CAMPAIGN)
    assert (worth[:, 0] == 0.0).all()
    # More money is worth more, with more impressions to come as well.
    assert (np.diff(worth, axis=1) >= -1e-9).all()
    assert worth[-1, -1] == pytest.approx(
        solution.value() - solution.value(0.0), abs=0.05
    )


@pytest.mark.slow
def test_a_rebuild_makes_report_page_and_pictures_from_rows_alone(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of({OURS: 0.1, RIVAL: 0.5})
    write_rows(tmp_path / "results.csv", LEARNERS.columns, rows)
    shutil.copy(PUBLISHED / "policies.csv", tmp_path)
    Origin("the command", "2025-01-01", "- a version").write(tmp_path)
    main(["budget", "--rebuild", "--out", str(tmp_path)])
    assert "best baseline: -0.4" in capsys.readouterr().out
    text = (tmp_path / "report.md").read_text()
    words = ("`the command`", "| optimum | 30.737 |", f"| {OURS} |", "6 seeds")
    for expected in (*words, "| V rises with b | theorem | 0 |", "- a version"):
        assert expected in text
    for name in ("regret", "bids", "spending", "values"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "## Safety" not in text
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4


@pytest.mark.slow
def test_the_published_report_is_that_of_the_published_rows() -> None:
    rows = {
        part.name: read_rows(part.path(PUBLISHED))
        for part in BUDGET.parts
        if part.path(PUBLISHED).exists()
    }
    assert rows.keys() == {part.name for part in BUDGET.parts}
    text = report_of(BUDGET, Results(rows, Origin.read(PUBLISHED), PUBLISHED))
    assert text == (PUBLISHED / "report.md").read_text()


@pytest.mark.browser
@pytest.mark.skipif(
    browser.find() is None and "CI_NEEDS_BROWSER" not in os.environ,
    reason="no Chromium on this machine",
)
@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1280, False)])
def test_the_published_page_renders_and_fits(width: int, dark: bool) -> None:
    assert browser.find() is not None, "this run was promised a browser"
    page = PUBLISHED / "report.html"
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
        (["--learners", "DQN,SAC"], "argument --learners: must be among BC, DQN"),
        (["--learners", "DQN,DQN"], "argument --learners: must name each once"),
        (["--logs", "both"], "argument --logs: must be among unpaced, paced"),
        (["--fractions", "1,2"], "argument --fractions: must be in"),
        (["--extra-seeds", "0"], "argument --extra-seeds: must be at least 1"),
        (["--only", "learning"], "argument --only: must be among learners, policies"),
        (["--rebuild", "--out", "nothing/here"], "--rebuild needs results in --out"),
    ],
)
def test_bad_words_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["budget", *words])
    assert message in capsys.readouterr().err
