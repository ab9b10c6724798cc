"""Rows of results: CSV files, and figures looked up in them."""

from __future__ import annotations

import csv
import io
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .files import write_text

Row = dict[str, Any]
Rows = list[Row]


def read_rows(path: pathlib.Path) -> Rows:
    """Rows of a CSV file: numbers where they are numbers, ``None`` where empty."""
    with path.open(newline="") as file:
        return [{k: _value(v) for k, v in row.items()} for row in csv.DictReader(file)]


def _value(text: str) -> str | float | None:
    if text == "":
        return None
    try:
        return float(text)
    except ValueError:
        return text


def write_rows(
    path: pathlib.Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]
) -> None:
    """Replaces a CSV file as a whole; ``None`` becomes an empty field."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, buffer.getvalue())


def select(rows: Iterable[Row], **where: Any) -> Rows:
    """The rows whose columns have these values."""
    return [row for row in rows if all(row[k] == v for k, v in where.items())]


def by_seed(
    rows: Iterable[Row], column: str, key: str = "seed", **where: Any
) -> dict[int, float]:
    """One figure for each seed of the rows at ``where``; empty fields are left out."""
    return {
        int(row[key]): float(row[column])
        for row in select(rows, **where)
        if row[column] is not None
    }


def distinct(rows: Iterable[Row], *columns: str) -> list[Any]:
    """The values of a column, or tuples of several, each once, as they come."""
    found = (tuple(row[column] for column in columns) for row in rows)
    unique = dict.fromkeys(found)
    return [values[0] if len(columns) == 1 else values for values in unique]
