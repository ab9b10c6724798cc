"""How long one waits: the clock, the threshold, the table and the experiment's path."""

import math
import pathlib
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.auction.regret_tasks import TASKS
from benchmarks.engine import EXPERIMENTS, Origin, Results, report_of
from benchmarks.engine.rows import read_rows
from benchmarks.realistic.learners import Training
from benchmarks.realistic.waiting import looks, watched
from benchmarks.realistic.waiting_report import ends, line_of, waited
from benchmarks.realistic.waiting_tasks import FIRST_PRICE, OUTCOMES, TREES, Impressions


class Toy:
    """A config, its algorithm and its clock: a step takes a second, a look a hundred."""

    now = done = 0.0

    def create(self, device: str) -> "Toy":
        self.now += 7.0
        return self

    def fit(self, _: Any, n_steps: int, n_steps_per_epoch: int, **given: Any) -> None:
        for epoch in range(n_steps // n_steps_per_epoch):
            self.now += n_steps_per_epoch
            self.done += n_steps_per_epoch
            given["epoch_callback"](self, epoch + 1, int(self.done))

    def regret(self, algo: "Toy") -> float:
        self.now += 100.0
        return 1.0 / self.done


def test_the_clock_stands_while_a_training_is_looked_at() -> None:
    toy = Toy()
    training = Training(toy, None, 530, lambda algo: lambda contexts: contexts)
    rows = watched(training, 0, toy.regret, clock=lambda: toy.now)
    assert looks(500) == [50, 100, 150, 200, 300, 400, 500]
    assert [row["step"] for row in rows] == looks(500)
    assert all(row["seconds"] == 7.0 + row["step"] for row in rows)
    assert [row["regret"] for row in rows] == [1.0 / row["step"] for row in rows]


def rows_of(learner: str, *regrets: list[float]) -> list[dict[str, Any]]:
    """One list for each seed; looks are 1, 2, ... seconds after the start."""
    where = {"task": FIRST_PRICE, "learner": learner}
    return [
        {**where, "seed": seed, "step": 50 * k, "seconds": float(k), "regret": value}
        for seed, values in enumerate(regrets)
        for k, value in enumerate(values, 1)
    ]


def test_a_wait_ends_at_the_first_look_that_is_good_enough() -> None:
    rows = rows_of(OUTCOMES, [0.5, 0.1, 0.3], [0.5, 0.4, 0.09], [0.5, 0.4, 0.3])
    assert waited(rows, 0.1) == {0: 2.0, 1: 3.0, 2: math.inf}
    assert ends(rows, "regret") == {0: 0.3, 1: 0.09, 2: 0.3}
    assert line_of(rows, 0.1)[:2] == ["3 [2, never]", "2 of 3"]
    assert line_of(rows, 0.01)[:2] == ["> 3", "0 of 3"]


def test_the_trees_say_what_is_good_enough_in_the_first_price_log() -> None:
    rows = rows_of(OUTCOMES, *[[0.5, 0.1]] * 3) + rows_of(TREES, [0.2], [0.1], [0.4])
    results = Results({"waiting": rows}, Origin("", "", ""), pathlib.Path())
    text = report_of(EXPERIMENTS["waiting"], results)
    assert "to a regret of 0.2\n" in text
    assert f"| **{OUTCOMES}** | 2 [2, 2] | 3 of 3 | 0.100 | 2 |" in text
    assert f"| {TREES} | 1 [1, never] | 2 of 3 |" in text
    assert f"*{OUTCOMES}* after 2 s; {TREES} 0.5 times as long" in text


def test_impressions_are_judged_by_the_truth() -> None:
    world = Impressions(0, 0.01, few=False)
    best = TASKS["5 bids"].auction.reward_table(world.judged).argmax(axis=1)
    assert world.regret(world.actions[best]) == pytest.approx(0.0, abs=1e-12)
    assert len(world.log) == 1000


@pytest.mark.slow
def test_quick_run_has_every_learner(tmp_path: pathlib.Path) -> None:
    main(["waiting", "--quick", "--out", str(tmp_path)])
    rows = read_rows(tmp_path / "waiting.csv")
    assert len({(row["task"], row["learner"]) for row in rows}) == 3 * 8
    assert all(row["regret"] >= 0.0 for row in rows)
    assert (tmp_path / "waiting.png").exists()
