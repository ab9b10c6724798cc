"""Tables as people have them: CSV, Parquet, Arrow, in files and folders."""

from __future__ import annotations

import difflib
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._util.packages import required

FloatArray = npt.NDArray[np.float64]

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "ipc",
    ".feather": "ipc",
    ".ipc": "ipc",
}


def pyarrow(part: str = "") -> Any:
    """The library, or a part of it."""
    name = f"pyarrow.{part}" if part else "pyarrow"
    return required(name, "reading tables needs pyarrow", "'bidclick-icac[command]'")


def open_tables(paths: Sequence[str]) -> Any:
    """A pyarrow dataset of files and folders of one format.

    Folders are searched; of names such as ``day=2026-01-31`` columns are made.
    """
    dataset = pyarrow("dataset")
    if not paths:
        raise ValueError("log must name a file or a folder, got none")
    files = [file for path in paths for file in _files(pathlib.Path(path))]
    different = [file.resolve() for file in files]
    if len(set(different)) < len(files):
        twice = next(one for one in different if different.count(one) > 1)
        raise ValueError(f"log must name each file once, got {twice} twice")
    suffixes = {_suffix(file) for file in files}
    kinds = {FORMATS[suffix] for suffix in suffixes}
    if len(kinds) > 1:
        raise ValueError(f"log must have files of one format, got {sorted(suffixes)}")
    kind: Any = kinds.pop()
    if kind == "csv":
        if len(suffixes) > 1:
            raise ValueError(f"log must have files of one format, got {sorted(suffixes)}")
        kind = _csv(files, "\t" if suffixes == {".tsv"} else ",")
    base = paths[0] if len(paths) == 1 and pathlib.Path(paths[0]).is_dir() else None
    options = {
        "format": kind,
        "partitioning": dataset.partitioning(flavor="hive"),
        "partition_base_dir": base,
    }
    with reading(paths):
        names = [str(file) for file in files]
        found = dataset.dataset(names, **options)
        if len(names) == 1:
            return found
        # Of the first file only; another may have 0.5 where that one has whole numbers.
        parts = [one.physical_schema for one in found.get_fragments()]
        schema = pyarrow().unify_schemas(
            [found.schema, *parts], promote_options="permissive"
        )
        return dataset.dataset(names, schema=schema, **options)


def _csv(files: Sequence[pathlib.Path], delimiter: str) -> Any:
    """CSV whose types are those of whole files, not of a first megabyte."""
    dataset, csv = pyarrow("dataset"), pyarrow("csv")
    size = max(
        file.stat().st_size * (20 if file.suffix == ".gz" else 1) for file in files
    )
    reading = csv.ReadOptions(block_size=min(max(size, 1 << 20), 1 << 30))
    found = dataset.CsvFileFormat(parse_options=csv.ParseOptions(delimiter=delimiter))
    found.default_fragment_scan_options = dataset.CsvFragmentScanOptions(
        read_options=reading
    )
    return found


def read_columns(paths: Sequence[str], names: Iterable[str], limit: int = 0) -> Any:
    """Columns of tables, as a pyarrow table; the first rows where there is a limit."""
    found = open_tables(paths)
    names = list(dict.fromkeys(names))
    check_columns(names, found.schema.names, paths)
    _check_files(found, names)
    with reading(paths):
        if limit:
            table = found.head(limit, columns=names)
        else:
            table = found.to_table(columns=names)
    if not table.num_rows:
        raise ValueError(f"log {', '.join(paths)} must have rows, has none")
    return table


def _check_files(found: Any, names: Sequence[str]) -> None:
    """Refuses files that lack a column of others: Arrow would take it for missing."""
    if len(found.files) > 1:
        parts = {one.path: one.physical_schema.names for one in found.get_fragments()}
        # A folder's name may be a column, too, and is in no file.
        there = set().union(*parts.values())
        for path, part in parts.items():
            check_columns([name for name in names if name in there], part, [path])


def check_columns(
    names: Iterable[str], there: Sequence[str], paths: Sequence[str]
) -> None:
    """Raises ``ValueError`` for a column that is not there, with the nearest ones."""
    for name in names:
        if name not in there:
            near = difflib.get_close_matches(name, there, n=3, cutoff=0.4)
            meant = f"; did you mean {' or '.join(near)}?" if near else "."
            raise ValueError(
                f"{', '.join(paths)} has no column {name!r}{meant} It has "
                f"{', '.join(there)}"
            )


class reading:
    """Errors of pyarrow as one ``ValueError`` that names the files."""

    def __init__(self, paths: Sequence[str]):
        self._paths = paths

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        arrow = pyarrow()
        if isinstance(error, (arrow.ArrowException, OSError, UnicodeDecodeError)):
            said = " ".join(str(error).split())
            raise ValueError(f"{', '.join(self._paths)} cannot be read: {said}") from None


def plain_column(table: Any, name: str) -> Any:
    """A column of values, whether or not it was kept as a dictionary."""
    column = table[name]
    is_coded = pyarrow().types.is_dictionary(column.type)
    return column.cast(column.type.value_type) if is_coded else column


def numbers(table: Any, name: str) -> FloatArray:
    """A column as float64, NaN where it has nothing."""
    arrow = pyarrow()
    column = plain_column(table, name)
    kind, types = column.type, arrow.types
    if types.is_null(kind):
        return np.full(len(column), np.nan)
    is_number = types.is_integer(kind) or types.is_floating(kind)
    if not (is_number or types.is_boolean(kind) or types.is_decimal(kind)):
        raise ValueError(f"{name} must hold numbers, holds {_such_as(column)}")
    if types.is_boolean(kind):
        column = column.cast(arrow.int8())
    values = column.cast(arrow.float64(), safe=False)
    return np.asarray(values.to_numpy(), np.float64)


def _such_as(column: Any) -> str:
    """What a column of another kind holds: bytes are often text of another encoding."""
    kind, types = column.type, pyarrow().types
    if types.is_binary(kind) or types.is_large_binary(kind):
        kind = "bytes, which are no text in UTF-8,"
    return f"{kind} such as {column.drop_null()[0].as_py()!r}"


def _suffix(file: pathlib.Path) -> str:
    # Arrow reads CSV files that are compressed.
    name = file.name.removesuffix(".gz")
    return pathlib.Path(name).suffix.lower()


def _files(path: pathlib.Path) -> list[pathlib.Path]:
    known = ", ".join(FORMATS)
    if path.is_dir():
        found = [
            file
            for file in sorted(path.rglob("*"))
            if file.is_file()
            and _suffix(file) in FORMATS
            and not any(
                part.startswith((".", "_")) for part in file.relative_to(path).parts
            )
        ]
        if not found:
            raise ValueError(f"log {path} must hold files that end with {known}")
        return found
    if not path.exists():
        raise ValueError(f"log {path} does not exist")
    if _suffix(path) not in FORMATS:
        raise ValueError(f"log {path} must end with {known}, or be a folder of such")
    return [path]
