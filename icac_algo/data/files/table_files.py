"""Parquet, Arrow and Feather files of a log: found, checked, and read in batches."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "ARROW",
    "PARQUET",
    "Mapping",
    "TableFile",
    "find_files",
    "import_pyarrow",
    "read_batches",
]

PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc")

BATCH_ROWS = 1 << 17

PathLike = str | pathlib.Path


def import_pyarrow() -> Any:
    """pyarrow, or an error that says how to get it."""
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(
            "reading and writing tables needs pyarrow: pip install pyarrow"
        ) from error
    return pyarrow


@dataclasses.dataclass(frozen=True)
class Mapping:
    """Which column plays which part; fields as in ``from_parquet``."""

    observation: tuple[str, ...]
    action: tuple[str, ...]
    reward: str
    propensity: str | None = None
    episode: str | None = None
    terminal: str | None = None
    timeout: str | None = None
    final: str | None = None

    @classmethod
    def of(
        cls, observation: str | Sequence[str], action: str | Sequence[str], **others: Any
    ) -> Mapping:
        """Checks the arguments of ``from_parquet``.

        Raises:
            ValueError: an argument is no column name, or a list is empty.
        """
        for name, given in others.items():
            needed = name == "reward"
            if not isinstance(given, str) and (needed or given is not None):
                raise ValueError(f"{name} must be a column name, got {given!r}")
        return cls(
            _column_names("observation", observation),
            _column_names("action", action),
            **others,
        )

    @property
    def marks(self) -> dict[str, str]:
        """The columns that mark rows, by what they mark."""
        marks = {name: getattr(self, name) for name in ("terminal", "timeout", "final")}
        return {name: column for name, column in marks.items() if column is not None}

    @property
    def values(self) -> list[str]:
        """The columns that hold values."""
        names = [*self.observation, *self.action, self.reward]
        return names if self.propensity is None else [*names, self.propensity]

    @property
    def all(self) -> list[str]:
        """Every column, once."""
        ends = [] if self.episode is None else [self.episode]
        return list(dict.fromkeys([*self.values, *ends, *self.marks.values()]))


def _column_names(argument: str, given: str | Sequence[str]) -> tuple[str, ...]:
    names: tuple[str, ...] = (given,) if isinstance(given, str) else ()
    if isinstance(given, (list, tuple)):
        names = tuple(given)
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"{argument} must be a column name or a list of them, got {given!r}"
        )
    if len(set(names)) < len(names):
        raise ValueError(f"{argument} names a column twice: {list(names)}")
    return names


@dataclasses.dataclass(frozen=True)
class TableFile:
    """One file of a log, its columns checked.

    Args:
        path: where it is.
        rows: how many rows it has.
        types: numpy type of each value column.
    """

    path: pathlib.Path
    rows: int
    types: dict[str, np.dtype[Any]]

    @classmethod
    def open(cls, path: pathlib.Path, mapping: Mapping) -> TableFile:
        """Reads what a file says of itself.

        Raises:
            ValueError: it cannot be read, or lacks a column, or a column is of a type
                that cannot be used.
        """
        pa = import_pyarrow()
        try:
            if path.suffix in PARQUET:
                import pyarrow.parquet as pq

                with pq.ParquetFile(path) as file:
                    schema, rows = file.schema_arrow, file.metadata.num_rows
            else:
                with pa.memory_map(str(path)) as source:
                    reader = pa.ipc.open_file(source)
                    schema = reader.schema
                    batches = range(reader.num_record_batches)
                    rows = sum(reader.get_batch(i).num_rows for i in batches)
        except pa.ArrowInvalid as error:
            raise ValueError(f"{path} cannot be read as a table: {error}") from error
        types = {}
        for name in mapping.all:
            if schema.names.count(name) != 1:
                trouble = "two columns" if name in schema.names else "no column"
                raise ValueError(
                    f"{path} has {trouble} {name!r}; its columns are {schema.names}"
                )
            kind = schema.field(name).type
            number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
            if not number and not pa.types.is_boolean(kind) and name in mapping.values:
                raise ValueError(f"{path}: column {name!r} must hold numbers, not {kind}")
            if name in mapping.values:
                types[name] = np.dtype(kind.to_pandas_dtype())
        return cls(path, rows, types)


def find_files(
    files: PathLike | Sequence[PathLike], part: tuple[int, int]
) -> list[pathlib.Path]:
    """The files of a log in order: one, a list, or those of a folder by name.

    Raises:
        FileNotFoundError: one does not exist, or a folder holds none.
        ValueError: a file is of another kind, or ``part`` is out of range.
    """
    given = [files] if isinstance(files, (str, pathlib.Path)) else files
    if not isinstance(given, (list, tuple)) or not all(
        isinstance(path, (str, pathlib.Path)) for path in given
    ):
        raise TypeError(f"files must be a path or a list of paths, got {files!r}")
    known = (*PARQUET, *ARROW)
    found: list[pathlib.Path] = []
    for path in map(pathlib.Path, given):
        if path.is_dir():
            inside = sorted(
                p for p in path.iterdir() if p.suffix in known and p.name[0] not in "._"
            )
            if not inside:
                raise FileNotFoundError(f"the folder {path} holds no {known} file")
            found.extend(inside)
        elif not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}")
        elif path.suffix not in known:
            raise ValueError(f"a file must end with one of {known}, got {path}")
        else:
            found.append(path)
    if not found:
        raise ValueError(f"files must name at least one file, got {files!r}")
    twice = sorted({str(path) for path in found if found.count(path) > 1})
    if twice:
        raise ValueError(f"files must name each file once, got {twice[0]} twice")
    pair = isinstance(part, (list, tuple)) and [type(n) for n in part] == [int, int]
    number, count = part if pair else (0, 0)
    if not 0 <= number < count <= len(found):
        raise ValueError(
            "part must be (i, n) with 0 <= i < n and n at most the number of files, "
            f"{len(found)}; got {part!r}"
        )
    return [path.resolve() for path in found[number::count]]


def read_batches(
    file: TableFile, names: Sequence[str]
) -> Iterator[tuple[int, dict[str, npt.NDArray[Any]]]]:
    """Columns of a file piece by piece: first row, and arrays by column name.

    Raises:
        ValueError: a value is missing.
    """
    pa = import_pyarrow()
    start = 0
    for batch in _record_batches(file, names):
        arrays = {}
        for name in names:
            column = batch.column(batch.schema.get_field_index(name))
            if column.null_count:
                row = start + int(np.flatnonzero(column.is_null().to_numpy(False))[0])
                raise ValueError(
                    f"{file.path}: column {name!r} lacks a value in row {row}"
                )
            if pa.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            arrays[name] = column.to_numpy(zero_copy_only=False)
        yield start, arrays
        start += batch.num_rows


def _record_batches(file: TableFile, names: Sequence[str]) -> Iterator[Any]:
    pa = import_pyarrow()
    if file.path.suffix in PARQUET:
        import pyarrow.parquet as pq

        with pq.ParquetFile(file.path) as table:
            yield from table.iter_batches(BATCH_ROWS, columns=list(names))
        return
    options = pa.ipc.IpcReadOptions(use_threads=False)
    with pa.memory_map(str(file.path)) as source:
        reader = pa.ipc.open_file(source, options=options)
        for i in range(reader.num_record_batches):
            batch = reader.get_batch(i).select(list(names))
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)
