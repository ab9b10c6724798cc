"""Cells without training, for tests of the sweep; also a sweep of them as a program.

``python toy_cells.py FOLDER CELLS SECONDS [RAY_ADDRESS]``
"""

from __future__ import annotations

import functools
import os
import pathlib
import sys
import time
from typing import Any

from benchmarks.engine import Cell


def run_toy(cell: Cell, seconds: float = 0.0) -> list[dict[str, Any]]:
    """Sleeps, leaves a mark that it ran, and answers; or fails."""
    if cell.learner == "broken":
        raise RuntimeError(f"seed {cell.seed} is broken on purpose")
    time.sleep(seconds)
    # One byte for each run: a cell that was computed twice has two.
    with open(pathlib.Path(cell["marks"]) / f"{cell.seed}", "ab") as file:
        file.write(b".")
    return [{"seed": cell.seed, "square": cell.seed**2, "pid": os.getpid()}]


def toy_cell(folder: pathlib.Path, seed: int, learner: str = "") -> Cell:
    """A cell that leaves its marks in a folder; the learner ``"broken"`` fails."""
    return Cell.of("toy", learner, seed, marks=str(folder))


def toy_cells(folder: pathlib.Path, n: int) -> list[Cell]:
    """``n`` of them, with a folder of marks."""
    marks = folder / "marks"
    marks.mkdir(parents=True, exist_ok=True)
    return [toy_cell(marks, seed) for seed in range(n)]


def main() -> None:
    from benchmarks.engine.sweep import run_cells

    folder, n, seconds = pathlib.Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    address = sys.argv[4] if len(sys.argv) > 4 else None
    run = functools.partial(run_toy, seconds=seconds)
    rows = run_cells(toy_cells(folder, n), folder / "cells", 2, run, address)
    print(sum(row["square"] for row in rows))


if __name__ == "__main__":
    main()
