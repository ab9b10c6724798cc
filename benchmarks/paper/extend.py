"""Going on from published results: more seeds without running the old ones again."""

from __future__ import annotations

import csv
import pathlib
from typing import Any

from ..engine.sweep import finished, keep
from .experiments import PaperSettings, planned

__all__ = ["adopt_published"]

Cells = dict[tuple[Any, ...], list[dict[str, Any]]]

#: What identifies a cell of a part in its published rows.  The other parts are either
#: computed in a moment or, like timings, worth nothing from another machine.
_KEYS = {
    "table1": ("algorithm", "env", "fraction", "seed", "steps"),
    "table2": ("variant", "env", "fraction", "seed", "steps"),
    "policies": ("variant", "seed"),
    "curves": ("algorithm", "seed"),
}


def adopt_published(settings: PaperSettings, published: pathlib.Path) -> int:
    """Keeps published rows as finished cells, where a planned cell has them.

    Rows are taken on trust: they must come from the same code and settings.  Cells that
    are finished in ``settings.out`` already stay as they are.

    Args:
        settings: the run that is to go on.
        published: folder with the CSV files of an earlier run.

    Returns:
        how many cells were adopted.

    Raises:
        FileNotFoundError: the folder has no CSV file of any part that was asked for.
    """
    files = {
        part: published / f"{part}.csv"
        for part in settings.parts
        if part in _KEYS and (published / f"{part}.csv").exists()
    }
    if not files:
        raise FileNotFoundError(
            f"no published rows of {', '.join(settings.parts)} in {published}"
        )
    folder, adopted = settings.out / "cells", 0
    folder.mkdir(parents=True, exist_ok=True)
    for part, path in files.items():
        rows_of = _by_cell(part, path)
        for cell in planned(part, settings):
            rows = rows_of.get(tuple(getattr(cell, name) for name in _KEYS[part]))
            if rows and finished(cell, folder) is None:
                keep(cell, rows, folder)
                adopted += 1
    return adopted


def _by_cell(part: str, path: pathlib.Path) -> Cells:
    rows_of: Cells = {}
    with path.open(newline="") as file:
        for text in csv.DictReader(file):
            row = {name: _exactly(value) for name, value in text.items()}
            rows_of.setdefault(_key(part, row), []).append(row)
    return rows_of


def _key(part: str, row: dict[str, Any]) -> tuple[Any, ...]:
    named = dict(row)
    if part == "table1":
        # One cell of behaviour cloning gives a greedy and a sampled row.
        named["algorithm"] = str(row["algorithm"]).split(" (")[0]
    elif part == "policies":
        # The paper's algorithm is drawn twice, as trained and as projected.
        model = str(row["model"])
        named["variant"] = "paper" if model in ("raw", "projected") else model
    return tuple(named[name] for name in _KEYS[part])


def _exactly(text: str) -> str | int | float | None:
    """The value that was written: an integer stays one, so that rows come out alike."""
    if text == "":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
