"""Cells without training, for tests of the sweep; also a sweep of them as a program.

``python toy_cells.py FOLDER CELLS SECONDS [RAY_ADDRESS]``
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import sys
import time
from typing import Any


@dataclasses.dataclass(frozen=True)
class ToyCell:
    """Sleeps, leaves a mark that it ran, and answers; or fails."""

    seed: int
    marks: str
    seconds: float = 0.0
    fails: bool = False

    @property
    def digest(self) -> str:
        return f"toy{self.seed}"


def run_toy(cell: ToyCell) -> list[dict[str, Any]]:
    if cell.fails:
        raise RuntimeError(f"seed {cell.seed} is broken on purpose")
    time.sleep(cell.seconds)
    # One byte for each run: a cell that was computed twice has two.
    with open(pathlib.Path(cell.marks) / f"{cell.seed}", "ab") as file:
        file.write(b".")
    return [{"seed": cell.seed, "square": cell.seed**2, "pid": os.getpid()}]


def toy_cells(folder: pathlib.Path, n: int, seconds: float = 0.0) -> list[ToyCell]:
    marks = folder / "marks"
    marks.mkdir(parents=True, exist_ok=True)
    return [ToyCell(seed, str(marks), seconds) for seed in range(n)]


def main() -> None:
    from benchmarks.engine.sweep import run_cells

    folder, n, seconds = pathlib.Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    address = sys.argv[4] if len(sys.argv) > 4 else None
    rows = run_cells(
        toy_cells(folder, n, seconds), folder / "cells", 2, run_toy, ray_address=address
    )
    print(sum(row["square"] for row in rows))


if __name__ == "__main__":
    main()
