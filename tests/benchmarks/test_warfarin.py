"""Doses of warfarin: the file at the door, splits, rivals' fits, and the experiment."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.engine import EXPERIMENTS, Origin, Results, UsageError, report_of
from benchmarks.engine.rows import read_rows
from benchmarks.realistic.dose_learners import DOSE_LEARNERS
from benchmarks.realistic.learners import outcomes_of
from benchmarks.realistic.patients import Patients, loss, read_patients


def patients(rows: int = 120, features: int = 4, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, features))
    right = np.exp(3.3 + 0.3 * x[:, 0] - 0.2 * x[:, 1])
    spread = 10.0
    dose = np.abs(30.0 + spread * rng.normal(size=rows)) + 0.1
    density = np.exp(-0.5 * ((dose - 30.0) / spread) ** 2) / spread / np.sqrt(2.0 * np.pi)
    return np.column_stack([x, dose, -loss(dose, right), density, right])


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    np.save(tmp_path / "patients.npy", patients())
    return str(tmp_path / "patients.npy")


def test_a_split_learns_from_some_and_judges_by_the_others(path: str) -> None:
    table = read_patients(path)
    world = Patients.split(table, seed=3)
    assert len(world.judged) == 30
    # The greatest of 90 doses is above the quantile.
    assert len(world.log) == 89
    learned = {tuple(row) for row in world.log.observations}
    assert learned.isdisjoint(map(tuple, world.judged))
    assert learned <= set(map(tuple, table[:, :4]))
    assert world.log.actions.min() == 0.0
    assert world.log.actions.max() <= 1.0
    doses = world.low + (world.high - world.low) * world.log.actions
    assert np.allclose(-loss(doses, world.right), world.log.rewards)
    assert np.array_equal(world.log.rewards, world.log.outcomes["reward"])


def test_regret_is_that_of_the_right_doses(path: str) -> None:
    world = Patients.split(read_patients(path), seed=0)
    best = (world.best - world.low) / (world.high - world.low)
    assert world.regret(best) == pytest.approx(0.0)
    assert world.regret(best + 0.3) > world.regret(best + 0.2) > 0.0
    found = loss(np.array([11.0, 10.0, 14.0]), np.array(10.0))
    assert found == pytest.approx([0.0, 0.0, 3.0])


def test_the_reward_is_an_outcome_that_is_concave(path: str) -> None:
    (outcome,) = outcomes_of(Patients.split(read_patients(path), seed=0))
    assert outcome.depends_on_action
    assert outcome.shape.shape_set().concave


def changed(column: int, value: float, row: int = 7) -> Any:
    table = patients()
    table[row, column] = value
    return table


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (changed(2, np.nan), ["row 7", "column 2", "nan"]),
        (changed(5, 3.5), ["row 7", "column 5", "got 3.5"]),
        (patients()[:, 0], ["(120,)"]),
        (patients()[:, :4], ["(120, 4)"]),
        (patients()[:3], ["(3, 8)"]),
        (np.array([["a"] * 5] * 8), ["convert"]),
        (np.array([{}], dtype=object), [".npy"]),
    ],
)
def test_a_bad_file_is_named_at_the_door(
    tmp_path: pathlib.Path, table: Any, words: list[str]
) -> None:
    path = tmp_path / "bad.npy"
    np.save(path, table, allow_pickle=True)
    with pytest.raises(UsageError) as error:
        read_patients(str(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize("content", [None, b"", b"one,two\n1,2\n"])
def test_another_file_ends_the_command_in_one_line(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    path = tmp_path / "patients.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as error:
        main(["warfarin", "--data", str(path), "--out", str(tmp_path / "out")])
    assert error.value.code == 2
    assert f"--data {path}" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_file_is_needed(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["warfarin", "--out", str(tmp_path / "out")])
    assert "--data" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", ["quadratic ridge", "kernel ridge"])
def test_models_dose_better_than_the_logger(name: str, tmp_path: pathlib.Path) -> None:
    np.save(tmp_path / "more.npy", patients(500))
    world = Patients.split(read_patients(str(tmp_path / "more.npy")), seed=1)
    (policy,) = DOSE_LEARNERS[name].fit(world, world.log, 1).values()
    shares = policy(world.judged)
    assert ((shares >= 0.0) & (shares <= 1.0)).all()
    assert world.regret(shares) < 0.5 * world.regret(world.logged)


@pytest.mark.parametrize(
    ("ours", "goal", "ahead"),
    [(5.9, True, True), (6.1, False, True), (6.6, False, False)],
)
def test_verdicts_follow_the_figures(ours: float, goal: bool, ahead: bool) -> None:
    figures = {"ours": ours, "HistGradientBoosting": 6.4, "random forest": 6.3}
    where = {"world": "warfarin", "size": 2960.0, "seconds": 1.0}
    rows = [
        {**where, "learner": name, "seed": s, "regret": v + 0.001 * s}
        for name, v in figures.items()
        for s in range(6)
    ]
    results = Results({"warfarin": rows}, Origin("command", "", ""), pathlib.Path())
    text = report_of(EXPERIMENTS["warfarin"], results)
    assert f"at least -6 {'**holds**' if goal else '**does not hold**'}" in text
    word = {True: "is below", False: "**is above**"}
    assert f"{word[ahead]} *HistGradientBoosting*: {ours - 6.4:.2f}" in text
    assert f"{word[ours < 6.3]} *random forest*: {ours - 6.3:.2f}" in text


@pytest.mark.slow
def test_quick_run_goes_on_and_is_rebuilt(path: str, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    main(["warfarin", "--quick", "--data", path, "--out", str(out)])
    rows = read_rows(out / "warfarin.csv")
    learners = {row["learner"] for row in rows}
    assert {"ours", "ours as an outcome", "the logger"} <= learners
    assert all(row["regret"] >= 0.0 for row in rows)
    cells = list((out / "cells").iterdir())
    (out / "warfarin.csv").unlink()
    main(["warfarin", "--quick", "--data", path, "--rebuild", "--out", str(out)])
    assert read_rows(out / "warfarin.csv") == rows
    assert list((out / "cells").iterdir()) == cells
    assert (out / "warfarin.png").exists()
    # The rows alone are enough.
    main(["warfarin", "--rebuild", "--out", str(out)])
    assert "## Verdict" in (out / "report.md").read_text()
