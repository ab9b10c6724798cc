"""Doses of warfarin: the file at the door, splits, rivals' fits, and the experiment."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from benchmarks.__main__ import main
from benchmarks.engine import EXPERIMENTS, Origin, Results, report_of
from benchmarks.engine.rows import read_rows
from benchmarks.realistic.dose_learners import DOSE_LEARNERS, Guided
from benchmarks.realistic.patients import (
    PatientsError,
    Split,
    read_patients,
    reward_of,
)


def patients(rows: int = 120, features: int = 4, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, features))
    right = np.exp(3.3 + 0.3 * x[:, 0] - 0.2 * x[:, 1])
    spread = 10.0
    dose = np.abs(30.0 + spread * rng.normal(size=rows)) + 0.1
    density = np.exp(-0.5 * ((dose - 30.0) / spread) ** 2) / spread / np.sqrt(2.0 * np.pi)
    return np.column_stack([x, dose, reward_of(dose, right), density, right])


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    np.save(tmp_path / "patients.npy", patients())
    return str(tmp_path / "patients.npy")


def test_a_split_learns_from_some_and_judges_by_the_others(path: str) -> None:
    table = read_patients(path)
    split = Split.of(table, seed=3)
    assert len(split.test) == 30
    # The greatest of 90 doses is above the quantile.
    assert len(split.log) == 89
    learned = {tuple(row) for row in split.log.observations}
    assert learned.isdisjoint(map(tuple, split.judged))
    assert learned <= set(map(tuple, table[:, :4]))
    assert (split.log.actions.min(), split.log.actions.max() <= 1.0) == (0.0, True)
    doses = split.problem.dose(split.log.actions)
    assert np.allclose(reward_of(doses, split.right), split.log.rewards)
    assert np.allclose(split.problem.share(doses), split.log.actions)


def test_values_are_of_the_right_doses(path: str) -> None:
    split = Split.of(read_patients(path), seed=0)
    right = split.problem.share(split.test[:, -1])
    assert split.value(right) == 0.0
    logged = split.problem.share(split.test[:, 4])
    assert split.value(logged) == pytest.approx(split.logged_value)
    assert reward_of(np.array([11.0, 10.0, 14.0]), np.array(10.0)) == pytest.approx(
        [0.0, 0.0, -3.0]
    )


def changed(column: int, value: float, row: int = 7) -> Any:
    table = patients()
    table[row, column] = value
    return table


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (changed(2, np.nan), ["row 7", "column 2", "nan"]),
        (changed(5, 3.0), ["row 7", "column 5", "3.0"]),
        (changed(7, -1.0), ["row 7", "column 7", "-1.0"]),
        (changed(6, 0.0), ["row 7", "column 6", "0.0"]),
        (patients()[:, 0], ["(120,)"]),
        (patients()[:, :4], ["(120, 4)"]),
        (patients()[:3], ["(3, 8)"]),
        (np.array([["a", "b"]]), ["array of numbers"]),
        (np.array([{}], dtype=object), [".npy"]),
    ],
)
def test_a_bad_file_is_named_at_the_door(
    tmp_path: pathlib.Path, table: Any, words: list[str]
) -> None:
    path = tmp_path / "bad.npy"
    np.save(path, table, allow_pickle=True)
    with pytest.raises(PatientsError) as error:
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
    assert f"--data: {path}" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_file_is_needed(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["warfarin", "--out", str(tmp_path / "out")])
    assert "--data" in capsys.readouterr().err.splitlines()[-1]


def test_a_guide_knows_the_best_dose_and_what_is_left() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1.0, 1.0, size=(500, 3))
    best = 0.5 * x[:, 0]
    y = x[:, 1] - x[:, 2] ** 2 + 2.0 * best * x[:, 2]
    guided = Guided(Ridge(1e-6), "dose").fit(x, y)
    seen = guided._seen(x)
    assert np.allclose(seen[:, 3], best, atol=0.02)
    assert np.allclose(seen[:, 4], x[:, 2] - best, atol=0.02)
    assert np.allclose(seen[:, 5], np.abs(seen[:, 4]))
    rest = Guided(Ridge(1e-6), "rest").fit(x, y)
    assert np.allclose(rest.predict(x), y, atol=0.02)
    bare = Guided(Ridge(1e-6)).fit(x, y)
    assert np.abs(bare.predict(x) - y).max() > 0.3


@pytest.mark.parametrize("name", ["quadratic ridge", "kernel ridge"])
def test_models_dose_better_than_the_logger(name: str, tmp_path: pathlib.Path) -> None:
    np.save(tmp_path / "more.npy", patients(500))
    split = Split.of(read_patients(str(tmp_path / "more.npy")), seed=1)
    (policy,) = DOSE_LEARNERS[name].fit(split.problem, split.log, 1).values()
    shares = policy(split.judged)
    assert ((shares >= 0.0) & (shares <= 1.0)).all()
    assert split.value(shares) > 0.5 * split.logged_value


@pytest.mark.parametrize(
    ("ours", "goal", "ahead"),
    [(-5.9, True, True), (-6.1, False, True), (-6.6, False, False)],
)
def test_verdicts_follow_the_figures(ours: float, goal: bool, ahead: bool) -> None:
    figures = {"ours": ours, "HistGradientBoosting": -6.4, "random forest": -6.3}
    rows = [
        {"learner": name, "seed": s, "value": v + 0.01 * s, "seconds": 1.0}
        for name, v in figures.items()
        for s in range(6)
    ]
    results = Results({"warfarin": rows}, Origin("command", "", ""), pathlib.Path())
    text = report_of(EXPERIMENTS["warfarin"], results)
    word = {True: "**holds**", False: "**does not hold**"}
    assert f"at least -6 {word[goal]}" in text
    assert f"above *HistGradientBoosting* {word[ahead]}: by {ours + 6.4:.2f}" in text
    assert f"above *random forest* {word[ours > -6.3]}: by {ours + 6.3:.2f}" in text


@pytest.mark.slow
def test_quick_run_goes_on_and_is_rebuilt(path: str, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    main(["warfarin", "--quick", "--data", path, "--out", str(out)])
    rows = read_rows(out / "warfarin.csv")
    learners = {row["learner"] for row in rows}
    assert {"ours", "quadratic ridge", "the logger"} <= learners
    assert all(row["value"] <= 0.0 for row in rows)
    cells = list((out / "cells").iterdir())
    (out / "warfarin.csv").unlink()
    main(["warfarin", "--quick", "--data", path, "--rebuild", "--out", str(out)])
    assert read_rows(out / "warfarin.csv") == rows
    assert list((out / "cells").iterdir()) == cells
    assert (out / "warfarin.png").exists()
    # The rows alone are enough.
    main(["warfarin", "--rebuild", "--out", str(out)])
    assert "## Verdict" in (out / "report.md").read_text()
