"""The projection benchmark: its checks, its verdicts, and the whole path at toy size."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.engine import EXPERIMENTS, Origin, Results, report_of
from benchmarks.engine.rows import read_rows
from benchmarks.rivals import comparison, layers
from benchmarks.rivals.problems import BATCH, IDENTITY, OURS, SHAPES, Problem, Reference
from benchmarks.timing.projections import COLUMNS, measure_methods, targets

PUBLISHED = pathlib.Path(__file__).parents[3] / "docs/results/shapes"


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("size", [5, 21])
def test_the_reference_meets_the_optimality_conditions(shape: str, size: int) -> None:
    problem = Problem.of(shape, size, 8)
    reference = Reference.of(problem, 4)
    assert reference.residual < 1e-12
    assert len(reference.rows) == 4
    # Something binds: an answer that is the input would be told from a projection.
    assert reference.error_of(problem.q) > 1e-3


def test_errors_are_relative_to_the_row() -> None:
    reference = Reference.of(Problem.of("Concave", 5, 8), 8)
    wrong = reference.values.copy()
    wrong[3, 2] += 0.5 * reference.scales[3, 0]
    assert reference.error_of(reference.values) == 0.0
    assert reference.error_of(wrong) == pytest.approx(0.5)


def test_every_method_is_timed_and_right() -> None:
    rows = list(measure_methods(Problem.of("Monotone", 5, 16), quick=True))
    errors = {row["method"]: row["error"] for row in rows}
    assert errors.pop(IDENTITY) is None
    assert set(errors) == {OURS}
    assert max(errors.values()) < 1e-6
    assert all(row["seconds"] > 0.0 for row in rows)


def made_rows(ours: float, identity: float, error: float) -> list[dict[str, Any]]:
    blank = dict.fromkeys(COLUMNS)
    at = {**blank, "size": 5, "batch": BATCH, "residual": 0.0}
    rows: list[dict[str, Any]] = []
    for turn in range(3):
        projection = {**at, "part": "projection", "round": turn, "error": error}
        rows += [
            {**projection, "shape": shape, "method": method, "seconds": seconds}
            for shape in SHAPES
            for method, seconds in ((OURS, ours), (IDENTITY, identity))
        ]
    return rows


def verdicts(rows: list[dict[str, Any]], word: str) -> set[str]:
    return {target.verdict for target in targets(rows) if word in target.name}


@pytest.mark.parametrize(
    ("figures", "word"),
    [((3.9, 1.0, 1e-7), "reached"), ((6.1, 1.0, 1e-5), "missed")],
)
def test_verdicts_follow_the_rows(figures: tuple[float, float, float], word: str) -> None:
    rows = made_rows(*figures)
    found = [verdicts(rows, name) for name in ("ours / identity", "error of")]
    assert found == [{word}] * 2


def test_monotone_has_less_to_spend() -> None:
    found = {t.name: t.verdict for t in targets(made_rows(5.0, 1.0, 0.0))}
    assert found["Monotone: ours / identity"] == "missed"
    assert found["Concave: ours / identity"] == "reached"


@pytest.mark.parametrize(("key", "value"), [("size", 21), ("batch", 16)])
def test_other_sizes_decide_nothing(key: str, value: int) -> None:
    rows = [{**row, key: value} for row in made_rows(1.0, 1.0, 0.0)]
    assert {target.verdict for target in targets(rows)} == {"not measured"}


def measured(name: str, shape: str, size: int = 5) -> dict[str, Any]:
    problem = Problem.of(shape, size, 16)
    make = comparison.makers(problem)[name]
    at = dict.fromkeys(layers.COLUMNS)
    found = layers.measure(at, make, problem, Reference.of(problem, 4), quick=True)
    return next(iter(found))


@pytest.mark.parametrize("shape", comparison.COMPARED)
def test_ours_breaks_no_shape_beyond_the_rounding_of_its_dtype(shape: str) -> None:
    row = measured(OURS, shape)
    assert row["error"] < 1e-6
    assert row["checks"] == 16
    assert row["beyond"] == 0
    if shape == "Monotone":
        assert row["violations"] == 0


def test_hardnet_is_feasible_but_not_the_nearest_point() -> None:
    row = measured("HardNet-Aff", "SlopeBounds(-1, 1)")
    assert row["beyond"] == 0
    assert row["error"] > 1e-3


def test_a_layer_that_does_nothing_is_found_out() -> None:
    problem = Problem.of("Monotone", 5, 16)
    nothing = layers.through_torch(lambda q: q * 1.0)
    row = next(
        iter(
            layers.measure({}, lambda _: nothing, problem, Reference.of(problem, 4), True)
        )
    )
    assert row["error"] > 1e-3
    assert row["beyond"] == row["violations"] > 0
    assert row["largest"] > 0.1


def test_what_is_not_offered_or_not_installed_is_named() -> None:
    assert measured("torchisotonic", "Concave")["note"] == "rising values only"
    assert measured("HardNet-Aff", "Monotone")["note"] == ""

    def missing(batch: int) -> layers.Layer:
        raise ImportError("no such package")

    problem = Problem.of("Monotone", 5, 16)
    reference = Reference.of(problem, 4)
    rows = list(layers.measure({"seconds": None}, missing, problem, reference, True))
    assert [row["note"] for row in rows] == ["not installed"]


@pytest.mark.slow
def test_the_command_at_toy_size(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    main(["shapes", "--quick", "--out", str(out)])
    report = (out / "shapes.md").read_text()
    assert "| reached |" in capsys.readouterr().out
    assert f"`python -m benchmarks shapes --quick --out {out}" in report
    rows = read_rows(out / "shapes.csv")
    assert {row["part"] for row in rows} == {"projection"}
    assert {row["shape"] for row in rows if row["method"] == OURS} == set(SHAPES)
    errors = [row["error"] for row in rows if row["part"] == "projection"]
    assert max(e for e in errors if e is not None) < 1e-6


def test_the_published_report_is_that_of_the_published_rows() -> None:
    rows = {name: read_rows(PUBLISHED / f"{name}.csv") for name in ("shapes", "rivals")}
    results = Results(rows, Origin.read(PUBLISHED), PUBLISHED)
    text = report_of(EXPERIMENTS["shapes"], results)
    assert text == (PUBLISHED / "shapes.md").read_text()
