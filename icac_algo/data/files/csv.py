"""Delimited text: cells are read as text, and what they hold is told block by block."""

from __future__ import annotations

import bisect
import pathlib
from collections.abc import Sequence
from typing import Any

# A block must hold the longest row.
_BLOCK = 1 << 22


def open_csv(path: pathlib.Path, names: Sequence[str] = ()) -> Any:
    """A reader of record batches: of these columns as text, or of all as they seem."""
    import pyarrow as pa
    import pyarrow.csv

    return pa.csv.open_csv(
        str(path),
        pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK),
        # Without the second, a quoted line break at a block's end breaks the row.
        pa.csv.ParseOptions(delimiter=_delimiter(path), newlines_in_values=True),
        pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=list(names),
            strings_can_be_null=True,
        ),
    )


def write_csv(table: Any, path: pathlib.Path, beside: str) -> None:
    """Writes a table as ``path`` is to be, compressed if its name says so."""
    import pyarrow as pa
    import pyarrow.csv

    options = pa.csv.WriteOptions(delimiter=_delimiter(path))
    with pa.output_stream(beside, compression="detect") as sink:
        pa.csv.write_csv(table, sink, options)


def _delimiter(path: pathlib.Path) -> str:
    return "\t" if ".tsv" in path.name.lower()[-7:] else ","


def from_text(column: Any, is_id: bool) -> tuple[Any, int | None]:
    """A block's cells as integers, floats or booleans, and the first that cannot be.

    Ids are integers or text: as floats, two might become one.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    column = pc.utf8_trim_whitespace(column)
    for kind in (pa.int64(),) if is_id else (pa.int64(), pa.float64(), pa.bool_()):
        try:
            numbers = column.cast(kind)
        except pa.ArrowInvalid:
            continue
        is_float = pa.types.is_floating(kind)
        return numbers, _first_rounded(column, numbers) if is_float else None
    return column, None if is_id else _first_word(column)


def _first_rounded(column: Any, numbers: Any) -> int | None:
    """The first integer that its float does not equal."""
    import pyarrow.compute as pc

    large = pc.greater_equal(pc.abs(numbers), float(1 << 53))
    whole = pc.match_substring_regex(column, "^[+-]?[0-9]+$")
    for row in pc.indices_nonzero(pc.and_(large, whole)).to_pylist():
        if int(column[row].as_py()) != int(numbers[row].as_py()):
            return row
    return None


def _first_word(column: Any) -> int:
    import pyarrow as pa

    def has_word(row: int) -> bool:
        try:
            column.slice(0, row + 1).cast(pa.float64())
        except pa.ArrowInvalid:
            return True
        return False

    return bisect.bisect_left(range(len(column)), True, key=has_word)
