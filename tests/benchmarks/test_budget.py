"""Campaigns under a budget: rows, verdicts that flip, pictures, references."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.campaigns.budget import BUDGET
from benchmarks.campaigns.learned import LEARNERS, tune_learners
from benchmarks.campaigns.learned import verdicts as _verdicts
from benchmarks.campaigns.training import TUNED, CampaignBidder, train_learner
from benchmarks.engine import Cell, Origin, Results, Settings, report_of, tuning
from benchmarks.engine.rows import read_rows, write_rows
from benchmarks.engine.tuning import best_settings
from benchmarks.learners import CAMPAIGN_LEARNERS
from benchmarks.learners.campaigns import other_budgets
from bidclick_gym.campaigns import BudgetedCampaign, UnpacedPolicy, simulate

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
    options = {**own, "tune": False, **changes}
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
    # A lag of 10 for ours that know what can be spent, tuned for none.
    ours = {name for name in CAMPAIGN_LEARNERS if "per step" in name}
    assert tuned == set(CAMPAIGN_LEARNERS) - {"BC"} - ours
    cells = LEARNERS.plan(settings_with(fractions=(1.0,)))
    for log in ("unpaced", "paced"):
        chosen = best_settings(TUNED, log=log)
        assert set(chosen) == tuned
        for name, settings in chosen.items():
            assert dict(settings).keys() == CAMPAIGN_LEARNERS[name].tuned.keys()
            mine = [c for c in cells if (c.learner, c["log"]) == (name, log)]
            assert {c["tuned"] for c in mine} == {settings}


@pytest.mark.slow
def test_a_rebuild_makes_report_and_picture_from_rows_alone(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of({OURS: 0.1, RIVAL: 0.5})
    write_rows(tmp_path / "results.csv", LEARNERS.columns, rows)
    Origin("the command", "2025-01-01", "- a version").write(tmp_path)
    main(["budget", "--rebuild", "--out", str(tmp_path)])
    assert "best baseline: -0.4" in capsys.readouterr().out
    text = (tmp_path / "report.md").read_text()
    words = ("`the command`", f"| {OURS} |", "6 seeds")
    for expected in (*words, "- a version"):
        assert expected in text
    assert (tmp_path / "regret.png").read_bytes().startswith(b"\x89PNG")


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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "0"], "must be at least 1"),
        (["--learners", "DQN,SAC"], "argument --learners: must be among BC, DQN"),
        (["--learners", "DQN,DQN"], "argument --learners: must name each once"),
        (["--logs", "both"], "argument --logs: must be among unpaced, paced"),
        (["--fractions", "1,2"], "argument --fractions: must be in"),
        (["--rebuild", "--out", "nothing/here"], "--rebuild needs results in --out"),
    ],
)
def test_bad_words_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["budget", *words])
    assert message in capsys.readouterr().err
