"""The projection benchmark: its checks, its verdicts, and the whole path at toy size."""

from __future__ import annotations

import io
import json
import pathlib
import sys
import types
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.engine import EXPERIMENTS, Origin, Results, report_of
from benchmarks.engine.rows import read_rows
from benchmarks.timing import projections, rivals_server
from benchmarks.timing.methods import IDENTITY, OURS, SCIPY, SKLEARN, pool_average
from benchmarks.timing.problems import SHAPES, make_problem, solve_trusted
from benchmarks.timing.projection_report import BATCH, DQN, OURS_UPDATE, targets
from benchmarks.timing.projections import COLUMNS, QUICK, Growth, Plan, measure_methods
from benchmarks.timing.rivals import NOT_GIVEN, RIVALS, Rivals, RivalsPythonError
from icac_algo import Monotone

# -- answers -----------------------------------------------------------------


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("size", [5, 21])
def test_the_reference_meets_the_optimality_conditions(shape: str, size: int) -> None:
    problem = make_problem(shape, size, 8)
    reference = solve_trusted(problem, 4)
    assert reference.residual < 1e-12
    assert len(reference.rows) == 4
    # Something binds: an answer that is the input would be told from a projection.
    assert reference.error_of(problem.q) > 1e-3


def test_errors_are_relative_to_the_row() -> None:
    problem = make_problem("Concave", 5, 8)
    reference = solve_trusted(problem, 8)
    wrong = reference.values.copy()
    wrong[3, 2] += 0.5 * reference.scales[3, 0]
    assert reference.error_of(reference.values) == 0.0
    assert reference.error_of(wrong) == pytest.approx(0.5)


def test_pool_averages_are_the_gradient() -> None:
    problem = make_problem("Monotone", 9, 16)
    q = torch.from_numpy(problem.q).requires_grad_()
    u = Monotone().project(q)
    (u * torch.from_numpy(problem.weights)).sum().backward()
    assert q.grad is not None
    found = pool_average(u.detach().numpy(), problem.weights)
    np.testing.assert_allclose(found, q.grad.numpy(), rtol=1e-4, atol=1e-5)


# -- verdicts ----------------------------------------------------------------


def made_rows(
    ours: float, identity: float, rival: float, error: float, update: float
) -> list[dict[str, Any]]:
    blank = dict.fromkeys(COLUMNS)
    at = {"size": 5, "batch": BATCH, "repeats": 1, "residual": 0.0}
    times = {OURS: ours, IDENTITY: identity, "qpth": rival, "cvxpylayers": rival}
    rows: list[dict[str, Any]] = []
    for turn in range(3):
        rows += [
            {
                **blank,
                **at,
                "part": "projection",
                "shape": shape,
                "method": method,
                "round": turn,
                "seconds": seconds,
                "error": error,
            }
            for shape in SHAPES
            for method, seconds in times.items()
        ]
        rows += [
            {**blank, **at, "part": "update", "method": m, "round": turn, "seconds": s}
            for m, s in ((OURS_UPDATE, update), (DQN, 1.0))
        ]
    return rows


def verdicts(rows: list[dict[str, Any]], word: str) -> set[str]:
    return {target.verdict for target in targets(rows) if word in target.name}


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ((3.9, 1.0, 200.0, 1e-7, 1.2), ["reached"] * 4),
        ((6.1, 1.0, 200.0, 1e-5, 1.3), ["missed"] * 4),
        ((3.9, 1.0, 190.0, 1e-7, 1.0), ["reached", "reached", "missed", "reached"]),
        # Fast, but wrong.
        ((3.9, 1.0, 900.0, 2e-6, 1.0), ["reached", "missed", "missed", "reached"]),
    ],
)
def test_verdicts_follow_the_rows(
    figures: tuple[float, float, float, float, float], words: list[str]
) -> None:
    rows = made_rows(*figures)
    found = [
        verdicts(rows, name) for name in ("ours / identity", "error of", "/ ours", "DQN")
    ]
    assert found == [{word} for word in words]


def test_monotone_has_less_to_spend() -> None:
    rows = made_rows(5.0, 1.0, 900.0, 0.0, 1.0)
    found = {t.name: t.verdict for t in targets(rows)}
    assert found["Monotone: ours / identity"] == "missed"
    assert found["Concave: ours / identity"] == "reached"


@pytest.mark.parametrize(("key", "value"), [("size", 21), ("batch", 16)])
def test_other_sizes_decide_nothing(key: str, value: int) -> None:
    rows = [{**row, key: value} for row in made_rows(1.0, 1.0, 99.0, 0.0, 1.0)]
    assert {target.verdict for target in targets(rows)} == {"not measured"}


# -- rivals ------------------------------------------------------------------


def test_without_an_interpreter_rivals_are_not_run() -> None:
    with Rivals(None) as rivals:
        rows = measure_methods("Monotone", 5, QUICK, rivals)
    idle = {row["method"]: row["note"] for row in rows if row["seconds"] is None}
    assert idle == dict.fromkeys(RIVALS, NOT_GIVEN)
    timed = {row["method"]: row["error"] for row in rows if row["seconds"] is not None}
    assert timed.pop(IDENTITY) is None
    assert set(timed) == {OURS, SCIPY, SKLEARN}
    assert max(timed.values()) < 1e-6


@pytest.mark.parametrize("python", ["/no/such/python", "/bin/true"])
def test_a_bad_interpreter_is_named(python: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(RivalsPythonError, match="--rivals-python must be"):
        Rivals(python)
    with pytest.raises(SystemExit) as ended:
        main(["shapes", "--rivals-python", python, "--out", str(tmp_path / "out")])
    assert "--rivals-python must be a Python interpreter" in str(ended.value.code)
    assert python in str(ended.value.code)
    assert not (tmp_path / "out").exists()


def test_the_script_answers_line_by_line(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package: Any = types.ModuleType("torchisotonic")
    package.isotonic = Monotone().project
    monkeypatch.setitem(sys.modules, "torchisotonic", package)
    monkeypatch.setitem(sys.modules, "qpth.qp", None)
    problem = make_problem("Monotone", 5, 8)
    data = str(tmp_path / "problem.npz")
    np.savez(
        data,
        q=problem.q,
        weights=problem.weights,
        matrix=problem.matrix,
        bounds=problem.bounds,
    )
    solution = str(tmp_path / "solution.npy")
    requests = [
        {"package": "torchisotonic", "problem": data, "solution": solution},
        {"package": "torchisotonic", "problem": data, "repeats": 2},
        {"package": "qpth", "problem": data, "repeats": 2},
    ]
    answers = io.StringIO()
    before = torch.get_num_threads()
    rivals_server.serve(io.StringIO("\n".join(map(json.dumps, requests))), answers)
    torch.set_num_threads(before)
    hello, saved, timed, failed = map(json.loads, answers.getvalue().splitlines())
    assert hello["versions"]["numpy"] == np.__version__
    assert saved == {}
    assert solve_trusted(problem, 8).error_of(np.load(solution)) < 1e-6
    assert timed["seconds"] > 0.0
    assert failed["failed"].startswith("ModuleNotFoundError")


# -- the whole path ------------------------------------------------------------


def test_slow_shapes_are_not_followed() -> None:
    plan = Plan(growth_rounds=1, seconds=1e-4, batch=4, patience=0.0)
    growth = Growth(plan)
    first, second = growth.measure(3), growth.measure(5)
    assert {row["shape"] for row in first if row["seconds"]} == {*SHAPES, IDENTITY}
    assert {row["note"] for row in second if row["shape"] in SHAPES} == {
        "over 0 s a pass at K = 3"
    }


@pytest.mark.slow
def test_the_command_at_toy_size(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """This interpreter stands in for the rivals': what it lacks is "not run"."""
    out = tmp_path / "out"
    main(["shapes", "--quick", "--out", str(out), "--rivals-python", sys.executable])
    report = (out / "shapes.md").read_text()
    assert "| reached |" in capsys.readouterr().out
    assert "Toy rounds" in report
    assert f"`python -m benchmarks shapes --quick --out {out}" in report
    rows = read_rows(out / "shapes.csv")
    parts = {row["part"] for row in rows}
    assert parts == {"rival", "projection", "growth", "update"}
    assert {row["shape"] for row in rows if row["method"] == OURS} == set(SHAPES)
    errors = [row["error"] for row in rows if row["part"] == "projection"]
    assert max(e for e in errors if e is not None) < 1e-6
    for row in rows:
        assert (row["seconds"] is None) == (row["note"] is not None)
    versions = {row["method"]: row["note"] for row in rows if row["part"] == "rival"}
    assert f"torch {versions['torch']}" in report
    # The picture and the verdicts can be had again from the rows.
    again = report_of(
        EXPERIMENTS["shapes"], Results({"shapes": rows}, Origin.read(out), out)
    )
    assert again == report
    assert (out / "shapes.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in out.iterdir()) == [
        *("run.json", "shapes.csv", "shapes.md", "shapes.png"),
    ]


def test_an_interrupted_run_says_so_in_one_line(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(projections, "measure_methods", interrupt)
    with pytest.raises(SystemExit) as ended:
        main(["shapes", "--quick", "--out", str(tmp_path / "out")])
    assert ended.value.code == "interrupted; nothing was written"
    assert not (tmp_path / "out" / "shapes.csv").exists()
