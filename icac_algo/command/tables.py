"""Tables as people have them: CSV, Parquet, Arrow, in files and folders."""

from __future__ import annotations

import difflib
import importlib
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

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
    """The library, or a part of it.

    Raises:
        ImportError: it is not installed; the message says how.
    """
    try:
        return importlib.import_module(f"pyarrow{part and '.'}{part}")
    except ImportError as error:
        raise ImportError(
            'reading tables needs pyarrow: pip install "bidclick-icac[command]"'
        ) from error


def open_tables(paths: Sequence[str]) -> Any:
    """A pyarrow dataset of files and folders of one format.

    Folders are searched; of names such as ``day=2026-01-31`` columns are made.

    Raises:
        ValueError: there is nothing there, or of several formats or none that is known.
        ImportError: pyarrow is missing.
    """
    dataset = pyarrow("dataset")
    if not paths:
        raise ValueError("log must name a file or a folder, got none")
    files = [file for path in paths for file in _files(pathlib.Path(path))]
    suffixes = {_suffix(file) for file in files}
    kinds = {FORMATS[suffix] for suffix in suffixes}
    if len(kinds) > 1:
        raise ValueError(f"log must have files of one format, got {sorted(suffixes)}")
    kind: Any = kinds.pop()
    if suffixes == {".tsv"}:
        options = pyarrow("csv").ParseOptions(delimiter="\t")
        kind = dataset.CsvFileFormat(parse_options=options)
    base = paths[0] if len(paths) == 1 and pathlib.Path(paths[0]).is_dir() else None
    with reading(paths):
        return dataset.dataset(
            [str(file) for file in files],
            format=kind,
            partitioning=dataset.partitioning(flavor="hive"),
            partition_base_dir=base,
        )


def read_columns(paths: Sequence[str], names: Iterable[str], limit: int = 0) -> Any:
    """Columns of tables, as a pyarrow table; the first rows where there is a limit.

    Raises:
        ValueError: one is missing, or a file cannot be read.
    """
    found = open_tables(paths)
    names = list(dict.fromkeys(names))
    check_columns(names, found.schema.names, paths)
    with reading(paths):
        if limit:
            table = found.head(limit, columns=names)
        else:
            table = found.to_table(columns=names)
    if not table.num_rows:
        raise ValueError(f"log {', '.join(paths)} must have rows, has none")
    return table


def check_columns(
    names: Iterable[str], there: Sequence[str], paths: Sequence[str]
) -> None:
    """Raises ``ValueError`` for a column that is not there, with the nearest ones."""
    for name in names:
        if name not in there:
            near = difflib.get_close_matches(name, there, n=3, cutoff=0.4)
            meant = f"; did you mean {' or '.join(near)}?" if near else ""
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


def numbers(table: Any, name: str) -> FloatArray:
    """A column as float64, NaN where it has nothing.

    Raises:
        ValueError: it does not hold numbers.
    """
    arrow = pyarrow()
    column = table[name]
    kind = column.type
    types = arrow.types
    if types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    if types.is_null(kind):
        return np.full(len(column), np.nan)
    is_number = types.is_integer(kind) or types.is_floating(kind)
    if not (is_number or types.is_boolean(kind) or types.is_decimal(kind)):
        first = next((one for one in column.to_pylist() if one is not None), None)
        raise ValueError(f"{name} must hold numbers, holds {kind} such as {first!r}")
    if types.is_boolean(kind):
        column = column.cast(arrow.int8())
    values = column.cast(arrow.float64(), safe=False)
    return np.asarray(values.to_numpy(), np.float64)


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
