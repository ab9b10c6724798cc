"""Cells are computed once, kept whole, and the same in every process."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from benchmarks.auction.table1 import TABLE
from benchmarks.engine import Cell
from benchmarks.engine.sweep import BrokenCellsError, finished, run_cells

ROOT = pathlib.Path(__file__).parents[2]


def tiny(learner: str, seed: int = 0, **where: Any) -> Cell:
    place = {"env": "BidClick-v0", "fraction": 0.01, "steps": 5, **where}
    return TABLE.planned_cell(Cell.of("table1", learner, seed, **place))


def without_time(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "train_seconds"} for row in rows]


def test_digest_depends_on_everything() -> None:
    base = tiny("DQN")
    others = [
        tiny("DQN", steps=6),
        tiny("DQN", fraction=0.02),
        tiny("DQN", 1),
        tiny("BC"),
        tiny("DQN", env="BidClickMonotone-v0"),
        tiny("CQL"),
        tiny("CQL", tuned={"alpha": 0.3}),
        dataclasses.replace(base, experiment="other"),
        dataclasses.replace(base, config=base.config.replace("256", "512")),
    ]
    assert len({cell.digest for cell in [base, *others]}) == 10
    assert base.digest == tiny("DQN").digest
    pairs = {"b": 1, "a": 2}, (("a", 2), ("b", 1))
    assert len({Cell.of("x", tuned=tuned) for tuned in pairs}) == 1


def test_rows_are_kept_and_not_computed_again(tmp_path: pathlib.Path) -> None:
    cells = [tiny("ClickModel", s) for s in (0, 1)]
    rows = run_cells(cells, tmp_path, 1, TABLE.measured)
    assert [row["seed"] for row in rows] == [0, 1]
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == 2
    for path in kept:
        content = json.loads(path.read_text())
        content["rows"][0]["return"] = -1.0
        path.write_text(json.dumps(content))
    again = run_cells(cells, tmp_path, 1, TABLE.measured)
    assert [row["return"] for row in again] == [-1.0, -1.0]


@pytest.mark.slow
def test_twin_cells_agree_in_one_process_and_in_another(tmp_path: pathlib.Path) -> None:
    cell = tiny("Ours-KnownCost")
    first, second = TABLE.measured(cell), TABLE.measured(cell)
    elsewhere = run_cells([cell], tmp_path, 1, TABLE.measured)
    assert without_time(first) == without_time(second) == without_time(elsewhere)


@pytest.mark.slow
def test_a_failing_cell_is_an_error_and_leaves_nothing(tmp_path: pathlib.Path) -> None:
    place = {"env": "BidClick-v0", "fraction": 0.01, "steps": 5}
    bad = Cell.of("table1", "CQL", tuned={"alpha": "nonsense"}, **place)
    with pytest.raises(BrokenCellsError, match="1 of 1 cells failed"):
        run_cells([bad], tmp_path, 1, TABLE.measured)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends an interrupt as a terminal does")
def test_interrupted_run_goes_on_where_it_stopped(tmp_path: pathlib.Path) -> None:
    """Ctrl-C after the first cell: it is kept, nothing is half-written, and a rerun
    finishes the rest."""
    out = tmp_path / "run"
    command = [
        sys.executable, "-m", "benchmarks", "table1", "--algorithms",
        "ClickModel,DQN", "--seeds", "2", "--steps", "400", "--fraction", "0.01",
        "--workers", "1", "--out", str(out),
    ]  # fmt: skip
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background makes them ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    cells = out / "cells"
    for _ in range(1200):
        if cells.exists() and list(cells.glob("*.json")):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    done = {p.name: p.read_text() for p in cells.glob("*.json")}
    assert process.returncode == 1, errors
    assert "the same command goes on from there" in errors
    assert 1 <= len(done) < 4
    assert not (out / "results.csv").exists()
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    after = {p.name: p.read_text() for p in cells.glob("*.json")}
    assert len(after) == 4
    assert {name: after[name] for name in done} == done
    assert finished(tiny("DQN", 1, steps=400, tuned=()), cells) is not None
    assert sorted(p.name for p in out.iterdir()) == [
        "cells", "report.md", "results.csv", "run.json", "table1.png",
    ]  # fmt: skip
