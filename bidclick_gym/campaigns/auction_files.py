"""Files of auctions, in the forms that people have, as :class:`Auctions`."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from .._arrays import FloatArray
from .._checks import check_choice
from .._optional import import_pyarrow
from .auctions import Auctions, check_column

#: A column by its name, or by its number, from 0, in a file that has no header.
Column: TypeAlias = str | int

#: The usual columns of each form, by what they are.
_FORMS: dict[str, dict[str, Column]] = {
    "columns": {"market_price": "market_price", "value": "value", "click": "click"},
    "ipinyou-log": {"market_price": "payprice", "click": "click"},
    "ipinyou-yzx": {"market_price": "market_price", "click": "click"},
    "auctionnet": {
        "market_price": "leastWinningCost",
        "value": "pValue",
        "click": "conversionAction",
        "advertiser": "advertiserNumber",
        "period": "deliveryPeriodIndex",
        "step": "timeStepIndex",
        "pv": "pvIndex",
    },
}
_YZX = r"^(?P<click>\S+) (?P<market_price>\S+)(?P<features>(?: \d+:1)*)\s*$"
_BLOCK = 1 << 22


def read_auctions(
    file: str | os.PathLike[str],
    form: str = "columns",
    *,
    market_price: Column | None = None,
    value: Column | npt.ArrayLike | None = None,
    click: Column | None = None,
    features: Sequence[Column] = (),
    advertiser: int | None = None,
) -> Auctions:
    """Auctions from a file in one of the forms that people have.

    =========== =========================================== ================ ========
    ``form``    What it is                                  Market price     Value
    =========== =========================================== ================ ========
    columns     CSV, TSV (also ``.gz``) or Parquet          market_price     value
    ipinyou-log ``train.log.txt`` of make-ipinyou-data,     payprice         none
                tabs and a header
    ipinyou-yzx ``train.yzx.txt`` of it, lines              the second cell  none
                ``click price index:1 index:1 ...``
    auctionnet  ``period-N.csv`` of AuctionNet, rows of     leastWinningCost pValue
                one advertiser in the order of auctions
    =========== =========================================== ================ ========

    Where a form has no value and none is given, each win is worth 1.  Clicks are those of
    the column ``click``; in AuctionNet those of ``conversionAction``, which are 0
    wherever the advertiser lost when the file was made.

    .. code-block:: python

        read_auctions("mine.csv", value="pctr", features=["hour"])
        read_auctions("no-header.tsv", click=0, market_price=1, value=2)
        read_auctions("1458/train.log.txt", "ipinyou-log", value=predicted)  # an array
        read_auctions("period-7.csv", "auctionnet", advertiser=3)

    Args:
        file: its path.  Text is UTF-8; tabs part the cells of ``columns`` if the first
            line has one, else commas.
        form: one of the above.
        market_price: its column, if it has another name than the usual one.  A number,
            from 0, says that the file has no header; then all columns are numbers.
        value: its column, or values, ``(N,)``, one for each auction that is read.
        click: its column.  A file of ``columns`` need not have the usual one.
        features: columns of what else a bidder sees.
        advertiser: whose rows of an AuctionNet file; needed if it has several.

    Raises:
        ValueError: the file is empty, lacks a column, or a line has another number of
            cells or a value that is not allowed; the message names file, line (from 1;
            the row from 0 in Parquet) and column.
        FileNotFoundError: there is no such file.
        ImportError: pyarrow is missing.
    """
    check_choice("form", form, tuple(_FORMS))
    if advertiser is not None and form != "auctionnet":
        raise ValueError(f"advertiser must be None for form {form!r}, got {advertiser!r}")
    path, usual = pathlib.Path(file), dict(_FORMS[form])
    given: dict[str, Any] = {"market_price": market_price, "value": value, "click": click}
    given.update({f"feature {i}": column for i, column in enumerate(features)})
    values = None if value is None or isinstance(value, (str, int)) else value
    if values is not None:
        given.pop("value"), usual.pop("value", None)
    given = {role: column for role, column in given.items() if column is not None}
    numbered = any(isinstance(column, int) for column in given.values())
    named = any(isinstance(column, str) for column in given.values())
    if numbered and (named or form != "columns" or not {*usual} - {"click"} <= {*given}):
        raise ValueError(
            "columns must be names, or, in a file of form 'columns' without a header, "
            f"all numbers, market_price and value among them, got {given}"
        )
    wanted = given if numbered else {**usual, **given}
    parts, owners = [], set[float]()
    for where, block in _blocks(path, form, wanted, click is None):
        for role, column in block.items():
            check_column(role, column, where, f"column {wanted[role]!r}")
        if form == "auctionnet":
            owners.update(np.unique(block["advertiser"]).tolist())
            mine = (block["advertiser"] == advertiser) | (advertiser is None)
            block = {name: column[mine] for name, column in block.items()}
        parts.append(block)
    if owners and (len(owners) > 1 if advertiser is None else advertiser not in owners):
        raise ValueError(
            f"advertiser must be one of those in {path}, {sorted(owners)}, "
            f"got {advertiser!r}"
        )
    if not any(len(part["market_price"]) for part in parts):
        raise ValueError(f"{path} must have auctions, has none")
    columns = {n: np.concatenate([part[n] for part in parts]) for n in parts[0]}
    if form == "auctionnet":
        order = np.lexsort([columns[name] for name in ("pv", "step", "period")])
        columns = {name: column[order] for name, column in columns.items()}
    seen = [columns[f"feature {i}"] for i in range(len(features))]
    worth = columns.get("value", np.ones(len(columns["market_price"])))
    return Auctions(
        columns["market_price"],
        worth if values is None else values,  # type: ignore[arg-type]
        np.column_stack(seen) if seen else None,
        columns.get("click"),
    )


def _blocks(
    path: pathlib.Path, form: str, wanted: dict[str, Any], may_lack_click: bool
) -> Iterator[tuple[Callable[[int], str], dict[str, FloatArray]]]:
    """Pieces of a table, by what columns are, and what says where a row of them is."""
    pa = import_pyarrow()
    torn: list[Any] = []
    numbered = isinstance(wanted["market_price"], int)
    try:
        names, batches = _opened(path, form, numbered, torn)
        if form == "columns" and may_lack_click and wanted.get("click") not in names:
            wanted.pop("click", None)
        for column in wanted.values():
            if names.count(column) != 1:
                raise ValueError(f"{path} must have one column {column!r}, has {names}")
        unit, start = "line", 1 if numbered or form == "ipinyou-yzx" else 2
        if path.suffix == ".parquet":
            unit, start = "row", 0
        for batch in batches(sorted({names.index(c) for c in wanted.values()})):

            def where(row: int, start: int = start) -> str:
                return f"{path}, {unit} {start + row}"

            if form == "ipinyou-yzx":
                batch = _cells(batch, where)
            yield (
                where,
                {role: _numbers(batch, column, where) for role, column in wanted.items()},
            )
            start += batch.num_rows
    except pa.ArrowInvalid as error:
        if not torn:
            raise ValueError(f"{path}: {error}") from None
        row = torn[-1]
        raise ValueError(
            f"{path}, line {row.number}: must have {row.expected_columns} cells, got "
            f"{row.actual_columns}"
        ) from None


def _opened(
    path: pathlib.Path, form: str, numbered: bool, torn: list[Any]
) -> tuple[list[Any], Callable[[list[int]], Any]]:
    """Names of a table's columns, and what reads some of them batch by batch.

    Of text all cells are read as text; a row of another length goes to ``torn``.
    """
    import pyarrow as pa
    from pyarrow import csv

    if path.suffix == ".parquet":
        from pyarrow.parquet import ParquetFile

        table = ParquetFile(path)
        names = table.schema_arrow.names
        return names, lambda at: table.iter_batches(columns=[names[i] for i in at])

    def tear(row: Any) -> str:
        torn.append(row)
        return "error"

    with pa.input_stream(str(path), compression="detect") as source:
        tabs = b"\t" in source.read(_BLOCK).split(b"\n", 1)[0]
    read = csv.ReadOptions(
        use_threads=False,
        block_size=_BLOCK,
        autogenerate_column_names=numbered,
        column_names=["line"] if form == "ipinyou-yzx" else None,
    )
    parse = csv.ParseOptions(
        # No such character is in a line of yzx: the whole of it is one cell.
        delimiter="\x01" if form == "ipinyou-yzx" else "\t" if tabs else ",",
        quote_char='"' if form == "columns" else False,
        ignore_empty_lines=False,
        invalid_row_handler=tear,
    )
    names = csv.open_csv(str(path), read, parse).schema.names

    def batches(at: list[int]) -> Any:
        chosen = names if form == "ipinyou-yzx" else [names[i] for i in at]
        types = dict.fromkeys(chosen, pa.string())
        convert = csv.ConvertOptions(column_types=types, include_columns=chosen)
        return csv.open_csv(str(path), read, parse, convert)

    if form == "ipinyou-yzx":
        return ["click", "market_price"], batches
    return list(range(len(names))) if numbered else names, batches


def _cells(batch: Any, where: Callable[[int], str]) -> Any:
    """Lines of yzx as a batch of their first two cells."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lines = batch.column(0)
    cells = pc.extract_regex(lines, _YZX)
    if cells.null_count:
        row = pc.index(cells.is_null(), True).as_py()
        raise ValueError(
            f"{where(row)}: must be 'click price index:1 index:1 ...', got "
            f"{lines[row].as_py()[:80]!r}"
        )
    return pa.RecordBatch.from_struct_array(cells)


def _numbers(batch: Any, name: Column, where: Callable[[int], str]) -> FloatArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    column = batch.column(f"f{name}" if isinstance(name, int) else name)
    if pa.types.is_string(column.type):
        column = pc.utf8_trim_whitespace(column)
    try:
        return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        for row in range(len(column)):
            try:
                column[row].cast(pa.float64())
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                raise ValueError(
                    f"{where(row)}: column {name!r} must be a number, got "
                    f"{column[row].as_py()!r}"
                ) from None
        raise
