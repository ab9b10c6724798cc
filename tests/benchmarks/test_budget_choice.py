"""Choices from the log: rows, rules, verdicts that flip, the picture."""

from __future__ import annotations

import pathlib
from typing import Any

import d3rlpy
import numpy as np
import pytest

from benchmarks.campaigns.candidates import DUAL, TASKS
from benchmarks.campaigns.choice import CHOICE, RULES, SCORES
from benchmarks.campaigns.choice_report import choice_section, draw
from benchmarks.campaigns.choice_report import verdicts as _verdicts
from benchmarks.engine import Cell, Settings
from benchmarks.engine.rows import read_rows, write_rows
from benchmarks.learners import fit_quietly
from benchmarks.paper.critic_views import CriticView
from bidclick_gym import simulate_log
from bidclick_gym.auction import Auction
from bidclick_gym.logs import to_replay_buffer


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    return list(_verdicts(rows))


def rows_of(
    task: str,
    chosen: str,
    regret: dict[str, float],
    seeds: int = 6,
    fraction: float = 0.25,
    **rules: str,
) -> list[dict[str, Any]]:
    """Rows in which every rule chooses ``chosen`` but for those given."""
    return [
        {
            **dict.fromkeys(CHOICE.columns),
            "task": task,
            "fraction": fraction,
            "seed": seed,
            "steps": 10.0,
            "candidate": name,
            "is_false": int(candidate.is_false),
            "regret": regret.get(name, 1.0) * (1.0 + 0.01 * seed),
            "final_lambda": 3.0 if name == DUAL else None,
            "error": None if candidate.is_rival else 0.25,
            "difference": None if candidate.is_rival else 0.0,
            "own_error": None if candidate.is_rival else 0.25,
            "rejected": int(candidate.is_false) if candidate.shape is not None else None,
            **{
                rule: None if candidate.is_rival else int(rules.get(rule, chosen) == name)
                for rule in RULES
            },
        }
        for seed in range(seeds)
        for name, candidate in TASKS[task].candidates.items()
    ]


def said(*args: Any, **options: Any) -> str:
    return "\n".join(verdicts(rows_of(*args, **options)))


def test_the_choice_is_compared_with_the_oracle() -> None:
    regret = {"both MonotoneConcave": 0.2, "budget Convex": 0.25, "clicks Convex": 0.6}
    # At stake: 1 - .2, so .25 is within a tenth of it and .6 is not.
    good = said("campaign", "both MonotoneConcave", regret)
    assert good.count("as good as the oracle") == 2
    assert "**" not in good
    near = said("campaign", "budget Convex", regret)
    assert near.count("as good as the oracle") == 2
    bad = said("campaign", "clicks Convex", regret)
    assert bad.count("loses **more than 10 %** of what is at stake") == 2
    own = said("campaign", "both MonotoneConcave", regret, by_own="clicks Convex")
    assert own.count("loses **more than 10 %**") == 1
    few = said("campaign", "clicks Convex", regret, seeds=4)
    assert few.count("too few seeds to tell") == 2


def test_what_cannot_be_told_is_said_so() -> None:
    regret = {"both MonotoneConcave": 0.2, "budget Convex": 0.2}
    rows = rows_of("campaign", "both MonotoneConcave", regret)
    for row in rows:
        # On every third log it loses a quarter of what is at stake.
        if row["candidate"] == "both MonotoneConcave" and row["seed"] % 3 == 0:
            row["regret"] += 0.2
    assert "\n".join(verdicts(rows)).count("**it cannot be told**") == 2


def test_false_shapes_are_counted() -> None:
    none = said("shape", "Concave", {"Concave": 0.1})
    assert none.count("no false shape is taken: 0 of 6") == 3
    often = said("shape", "Concave", {"Concave": 0.1}, by_prior="Monotone")
    assert often.count("a false shape is taken **too often**: 6 of 6") == 1
    assert often.count("no false shape is taken") == 2
    rows = rows_of("shape", "Concave", {"Concave": 0.1}, seeds=20)
    for row in rows:
        if row["seed"] == 0:
            row["by_error"] = int(row["candidate"] == "Convex")
    assert "a false shape is rarely taken: 1 of 20" in "\n".join(verdicts(rows))


def test_the_dual_update_is_a_rival() -> None:
    better = said("lambda", "lambda 10", {"lambda 10": 0.001, DUAL: 0.002})
    worse = said("lambda", "lambda 10", {"lambda 10": 0.003, DUAL: 0.002})
    same = said("lambda", "lambda 10", {"lambda 10": 0.002, DUAL: 0.002})
    assert "the chosen lambda has less regret" in better
    assert "ends at lambda = 3.00" in better
    assert "the chosen lambda has **more** regret" in worse
    assert "**no difference can be told**" in same
    assert "false shape" not in better


def test_report_and_picture_come_from_the_rows_of_the_csv(tmp_path: pathlib.Path) -> None:
    lambdas = dict.fromkeys(TASKS["lambda"].candidates, 0.002)
    rows = [
        *rows_of("lambda", "lambda 10", {**lambdas, "lambda 10": 0.001}),
        *rows_of("shape", "Concave", {"Concave": 0.001}),
        *rows_of("shape", "Concave", {"Concave": 0.001}, fraction=0.0625),
        *rows_of("campaign", "clicks Convex", {"clicks Convex": 0.2}),
    ]
    write_rows(tmp_path / "choice.csv", CHOICE.columns, CHOICE.arrange(rows))
    read = read_rows(tmp_path / "choice.csv")
    text = choice_section(read)
    assert text.startswith("## The penalty or the shape chosen from the log\n")
    assert "![Regret of the candidates, and what each rule chooses](choice.png)" in text
    assert text.count("\n### ") == 4
    assert text.index("25 % of the log") < text.index("6.25 % of the log")
    assert all(line in text for line in verdicts(rows))
    assert "| oracle | 0.0010" in text
    assert "| Monotone | **no** |" in text
    figure = draw(read)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[0] == "The paper's lambda, single impressions, 25 % of the log, 6 seeds"
    assert len(titles) == 4


def test_single_impressions_take_a_third_of_the_steps() -> None:
    options = {"extra_seeds": 2}
    cells = CHOICE.plan(Settings(pathlib.Path(), steps=300, options=options))
    parts = sum(len(t.fractions) * (1 + len(t.candidates)) for t in TASKS.values())
    assert len(cells) == 2 * parts
    steps = {(cell["task"] == "campaign", cell["steps"]) for cell in cells}
    assert steps == {(True, 300), (False, 100)}


@pytest.mark.slow
@pytest.mark.parametrize("task", list(TASKS))
def test_scores_come_out_alike_twice_and_every_rule_chooses_once(task: str) -> None:
    cell = Cell.of("choice", SCORES, task=task, fraction=0.02, steps=4)
    first, second = (CHOICE.measured(cell) for _ in range(2))
    assert first == second
    assert [row["candidate"] for row in first] == [
        name for name, c in TASKS[task].candidates.items() if not c.is_rival
    ]
    asked = RULES if task == "shape" else RULES[:3]
    for rule in RULES:
        taken = [row[rule] for row in first]
        assert (sum(taken) == 1) if rule in asked else set(taken) == {None}
    low = min(first, key=lambda row: row["error"])
    assert low["by_lowest"] == 1
    assert low["difference"] == 0.0
    if task == "shape":
        left = [row["candidate"] for row in first if not row["rejected"]]
        assert first[[row["by_prior"] for row in first].index(1)]["candidate"] == left[0]
        both = first[[row["by_both"] for row in first].index(1)]
        assert both["candidate"] in left


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "part"),
    [("lambda", DUAL), ("shape", "Convex"), ("campaign", "budget Convex")],
)
def test_a_training_is_measured_and_joined_to_its_scores(task: str, part: str) -> None:
    cell = Cell.of("choice", part, task=task, fraction=0.02, steps=4)
    (row,) = CHOICE.measured(cell)
    assert row["regret"] > 0.0
    assert row["is_false"] == int(task != "lambda")
    assert ("final_lambda" in row) == (task == "lambda")
    score = {k: row[k] for k in ("task", "fraction", "seed", "steps", "candidate")}
    (whole,) = CHOICE.arrange([{**score, "error": 0.5}, row])
    assert tuple(whole) == CHOICE.columns
    assert (whole["error"], whole["regret"]) == (0.5, row["regret"])


def test_the_proximal_critic_is_what_is_deployed() -> None:
    dataset = to_replay_buffer(simulate_log(Auction(), seed=0), 0.01, 0)
    d3rlpy.seed(0)
    algo = TASKS["lambda"].candidates["lambda 100"].make(30).create("cpu:0")
    fit_quietly(algo, dataset, 30)
    x = Auction().contexts(8).astype(np.float32)
    bids = np.arange(len(x)) % 5
    values = algo.predict_value(x, bids)
    assert (values == CriticView(algo, "proximal").predict_value(x, bids)).all()
    assert (values != CriticView(algo, "raw").predict_value(x, bids)).any()
    assert algo.multiplier == 100.0
