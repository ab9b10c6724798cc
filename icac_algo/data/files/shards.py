"""One file of a log, whatever its format: what it holds, block by block."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..._util.packages import required
from ..columns import Array
from .arrow import arrow_batches, check_places
from .csv import from_text, open_csv
from .folders import CSV, PARQUET, FoundFile, ends_with
from .mapping import Mapping

BATCH_ROWS = 1 << 17


class DamagedFileError(ValueError):
    """A file that cannot be read: cut off, changed, or something else than its name says.

    ``path`` is the file, ``reason`` what its reader said.
    """

    def __init__(self, path: pathlib.Path, reason: object):
        super().__init__(path, reason)
        self.path, self.reason = path, str(reason)

    def __str__(self) -> str:
        return f"{self.path} cannot be read as a table: {self.reason}"


def import_pyarrow() -> Any:
    """pyarrow, or an error that says how to get it."""
    return required("pyarrow", "reading and writing tables needs pyarrow", "pyarrow")


@contextlib.contextmanager
def reading(path: pathlib.Path) -> Iterator[None]:
    """Turns all that a reader says of a damaged file into ``DamagedFileError``."""
    try:
        yield
    except DamagedFileError:
        raise
    except Exception as error:  # pyarrow raises eight kinds, memory errors among them.
        path.open("rb").close()  # What forbids to open it is no damage.
        raise DamagedFileError(path, error) from error


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of a log: its rows, and the Arrow type of each column that is used."""

    path: pathlib.Path
    rows: int
    types: dict[str, Any]
    keys: dict[str, Any]  # columns whose one value stands in a folder's name

    @classmethod
    def open(cls, file: FoundFile, mapping: Mapping) -> Shard:
        """Reads what a file says of itself; raises ``ValueError`` if it is of no use."""
        pa = import_pyarrow()
        path, folders = file
        with reading(path):
            schema, rows = _described(path)
            columns = schema.names
        for name in mapping.all:
            found = columns.count(name) + (name in folders)
            if found != 1:
                trouble = "two columns" if found else "no column"
                raise ValueError(
                    f"{path} has {trouble} {name!r}; its columns are "
                    f"{[*columns, *folders]}"
                )
        keys = {n: _key(path, n, folders[n]) for n in mapping.all if n in folders}
        types = {n: schema.field(n).type for n in mapping.all if n not in keys}
        types.update({name: pa.scalar(value).type for name, value in keys.items()})
        for name, kind in types.items():
            if pa.types.is_dictionary(kind):
                types[name] = kind.value_type
        if ends_with(path, CSV):
            rows, text = _types_of_text(
                path, [n for n in types if n not in keys], mapping
            )
            types.update(text)
        for name, kind in types.items():
            is_id = name == mapping.episode and name not in mapping.values
            if not _is_number(kind) and not (is_id and _is_id(kind)):
                wanted = "numbers, text or times" if is_id else "numbers"
                raise ValueError(
                    f"{path}: column {name!r} must hold {wanted}, not {kind}"
                )
        return cls(path, rows, types, keys)

    def blocks(self, mapping: Mapping) -> Iterator[tuple[int, dict[str, Array]]]:
        """Its columns piece by piece: first row, and arrays by column name.

        Raises ``DamagedFileError``, and ``ValueError`` for a missing value.
        """
        start = 0
        names = [name for name in mapping.all if name not in self.keys]
        for rows, columns in _columns(self.path, names, mapping):
            arrays = {name: np.full(rows, value) for name, value in self.keys.items()}
            for name, column in columns.items():
                if column.null_count:
                    row = start + int(column.is_null().to_numpy(False).argmax())
                    raise ValueError(
                        f"{self.path}: column {name!r} lacks a value in row {row}"
                    )
                arrays[name] = column.to_numpy(zero_copy_only=False)
            yield start, arrays
            start += rows
        if start != self.rows:
            reason = f"it holds {start} rows, and says that it holds {self.rows}"
            raise DamagedFileError(self.path, reason)


def common_types(shards: Sequence[Shard], mapping: Mapping) -> dict[str, np.dtype[Any]]:
    """The numpy type in which each column of values holds what it holds in every file.

    Raises ``ValueError`` if episodes have ids of two kinds.
    """
    types = {}
    for name in mapping.all:
        kinds = [shard.types[name] for shard in shards]
        if all(map(_is_number, kinds)):
            # Booleans are stored as numbers.
            dtypes = [np.dtype(kind.to_pandas_dtype()) for kind in kinds]
            types[name] = np.result_type(
                *(np.int8 if d.kind == "b" else d for d in dtypes)
            )
            is_same = types[name].kind != "f" or all(d.kind == "f" for d in dtypes)
        else:
            is_same = (
                len({"text" if _is_text(kind) else str(kind) for kind in kinds}) == 1
            )
        if name == mapping.episode and not is_same:
            other = next(s for s in shards if s.types[name] != kinds[0])
            raise ValueError(
                f"{other.path}: column {name!r} is {other.types[name]}, but in "
                f"{shards[0].path} it is {kinds[0]}"
            )
    return types


def _key(path: pathlib.Path, name: str, value: str) -> int | float | str:
    """What a folder's name says of its rows, as a number if it is one."""
    if value in ("", "__HIVE_DEFAULT_PARTITION__"):
        raise ValueError(f"{path}: its folder lacks a value of {name!r}")
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(value)
    return value


@functools.cache
def _is_number(kind: Any) -> bool:
    types = import_pyarrow().types
    return types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)


def _is_text(kind: Any) -> bool:
    types = import_pyarrow().types
    return types.is_string(kind) or types.is_large_string(kind)


def _is_id(kind: Any) -> bool:
    types = import_pyarrow().types
    return _is_text(kind) or types.is_timestamp(kind) or types.is_date(kind)


def _described(path: pathlib.Path) -> tuple[Any, int]:
    """The schema and the number of rows that a file says it has; 0 for text."""
    pa = import_pyarrow()
    if ends_with(path, CSV):
        with open_csv(path) as text:
            return text.schema, 0
    if ends_with(path, PARQUET):
        with _parquet(path) as file:
            rows = file.metadata.num_rows
            groups = map(file.metadata.row_group, range(file.num_row_groups))
            if rows != sum(group.num_rows for group in groups):
                raise ValueError("it says two numbers of rows")
            return file.schema_arrow, rows
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        return reader.schema, sum(batch.num_rows for batch in arrow_batches(reader))


def _types_of_text(
    path: pathlib.Path, names: Sequence[str], mapping: Mapping
) -> tuple[int, dict[str, Any]]:
    """The number of rows, and the type in which every block of a column can be held."""
    pa = import_pyarrow()
    ladder = [pa.bool_(), pa.int64(), pa.float64(), pa.string()]
    total, level = 0, dict.fromkeys(names, 0)
    for rows, columns in _columns(path, names, mapping):
        total += rows
        for name, column in columns.items():
            level[name] = max(level[name], ladder.index(column.type))
    return total, {name: ladder[step] for name, step in level.items()}


def _columns(
    path: pathlib.Path, names: Sequence[str], mapping: Mapping
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of each piece, and its columns as pyarrow's arrays of numbers or ids."""
    pa = import_pyarrow()
    start = 0
    for batch in _record_batches(path, names):
        columns = {}
        for name in names:
            column = batch.column(batch.schema.get_field_index(name))
            if pa.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            if ends_with(path, CSV):
                text = column
                is_id = name == mapping.episode and name not in mapping.values
                column, bad = from_text(text, is_id)
                if bad is not None:
                    raise ValueError(
                        f"{path}: column {name!r} must hold numbers, and no integer that "
                        f"a float would round, row {start + bad} has {text[bad]}"
                    )
            columns[name] = column
        yield batch.num_rows, columns
        start += batch.num_rows


def _record_batches(path: pathlib.Path, names: Sequence[str]) -> Iterator[Any]:
    """A table piece by piece, each of them whole and right in itself."""
    pa = import_pyarrow()
    with reading(path), contextlib.ExitStack() as stack:
        if ends_with(path, CSV):
            batches = stack.enter_context(open_csv(path, names))
        elif ends_with(path, PARQUET):
            file = stack.enter_context(_parquet(path))
            batches = file.iter_batches(BATCH_ROWS, columns=list(names))
        else:
            source = stack.enter_context(pa.memory_map(str(path)))
            reader = pa.ipc.open_file(source)
            check_places(source, reader)
            options = pa.ipc.IpcReadOptions(
                included_fields=[reader.schema.get_field_index(name) for name in names],
                use_threads=False,
            )
            batches = arrow_batches(pa.ipc.open_file(source, options=options))
        for batch in batches:
            batch.validate(full=True)
            for first in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(first, BATCH_ROWS)


def _parquet(path: pathlib.Path) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(path, page_checksum_verification=True)
