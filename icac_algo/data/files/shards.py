"""Shards of a log, Parquet, Arrow or Feather files: found, read and checked."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..._util.checks import check_rows
from ..._util.packages import required
from ..columns import Array
from ..episodes import BadMark, EpisodeIndex
from .mapping import Mapping

PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc")

BATCH_ROWS = 1 << 17

PathLike = str | pathlib.Path


def import_pyarrow() -> Any:
    """pyarrow, or an error that says how to get it."""
    return required("pyarrow", "reading and writing tables needs pyarrow", "pyarrow")


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[tuple[Any, bool]]:
    """A reader of the file, and whether it is of Parquet."""
    pa = import_pyarrow()
    if path.suffix in PARQUET:
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            yield file, True
    else:
        options = pa.ipc.IpcReadOptions(use_threads=False)
        with pa.memory_map(str(path)) as source:
            yield pa.ipc.open_file(source, options=options), False


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of a log: its rows, and the numpy type of each value column."""

    path: pathlib.Path
    rows: int
    types: dict[str, np.dtype[Any]]

    @classmethod
    def open(cls, path: pathlib.Path, mapping: Mapping) -> Shard:
        """Reads what a file says of itself; raises ``ValueError`` if it is of no use."""
        pa = import_pyarrow()
        try:
            with _opened(path) as (reader, is_parquet):
                if is_parquet:
                    schema, rows = reader.schema_arrow, reader.metadata.num_rows
                else:
                    schema, batches = reader.schema, range(reader.num_record_batches)
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


def find_shards(
    files: PathLike | Sequence[PathLike], part: tuple[int, int]
) -> list[pathlib.Path]:
    """The files of a log in order: one, a list, or those of a folder by name."""
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


def _read(shard: Shard, names: Sequence[str]) -> Iterator[tuple[int, dict[str, Array]]]:
    """Columns of a shard piece by piece: first row, and arrays by column name."""
    pa = import_pyarrow()
    start = 0
    with _opened(shard.path) as (reader, is_parquet):
        if is_parquet:
            batches = reader.iter_batches(BATCH_ROWS, columns=list(names))
        else:
            kept = map(reader.get_batch, range(reader.num_record_batches))
            batches = (
                batch.select(list(names)).slice(first, BATCH_ROWS)
                for batch in kept
                for first in range(0, batch.num_rows, BATCH_ROWS)
            )
        for batch in batches:
            arrays = {}
            for name in names:
                column = batch.column(batch.schema.get_field_index(name))
                if column.null_count:
                    row = start + int(column.is_null().to_numpy(False).argmax())
                    raise ValueError(
                        f"{shard.path}: column {name!r} lacks a value in row {row}"
                    )
                if pa.types.is_dictionary(column.type):
                    column = column.dictionary_decode()
                arrays[name] = column.to_numpy(zero_copy_only=False)
            yield start, arrays
            start += batch.num_rows


#: Called with the number of rows before, and value columns by name.
Sink = Callable[[int, dict[str, Array]], None]
#: A column, what its values must be, and which of them are not.
Rule = tuple[str, str, Callable[[Array], Any]]


def read_shards(
    shards: Sequence[Shard], mapping: Mapping, sink: Sink, show_progress: bool
) -> tuple[EpisodeIndex, int | None]:
    """Episodes, and the largest index if there is one, by one checking pass over all."""
    from tqdm.auto import tqdm

    before = np.cumsum([0, *(shard.rows for shard in shards)])
    total = int(before[-1])
    action, types = mapping.action[0], shards[0].types
    is_index = types[action].kind in "iub" and len(mapping.action) == 1
    rules = _rules(mapping, types, is_index)
    largest = 0 if is_index else None
    episodes = _Episodes(mapping, total)

    with tqdm(
        total=total,
        unit="row",
        unit_scale=True,
        desc="reading the log",
        disable=not show_progress,
        leave=False,
    ) as bar:
        for shard, first in zip(shards, before.tolist(), strict=False):
            for start, arrays in _read(shard, mapping.all):
                for name, requirement, is_bad in rules:
                    problem = f"{shard.path}: column {name!r} must be {requirement}"
                    check_rows(problem, arrays[name], is_bad(arrays[name]), start)
                if largest is not None:
                    largest = max(largest, int(arrays[action].max(initial=0)))
                sink(first + start, arrays)
                episodes.add(first + start, arrays)
                bar.update(len(arrays[mapping.reward]))
    try:
        return episodes.index(), largest
    except BadMark as error:
        number = int(np.searchsorted(before, error.row, side="right")) - 1
        name, row = getattr(mapping, error.mark), error.row - int(before[number])
        raise ValueError(
            f"{shards[number].path}: column {name!r} {error.reason}, row {row}"
        ) from None


def _rules(
    mapping: Mapping, types: dict[str, np.dtype[Any]], is_index: bool
) -> list[Rule]:
    """What must hold of which column."""
    floats = [name for name in mapping.values if types[name].kind == "f"]
    rules: list[Rule] = [(name, "finite", lambda v: ~np.isfinite(v)) for name in floats]
    if is_index:
        rules.append((mapping.action[0], "an index of at least 0", lambda v: v < 0))
    if mapping.propensity is not None:
        rules.append((mapping.propensity, "in (0, 1]", lambda v: (v <= 0) | (v > 1)))
    for name in mapping.marks.values():
        rules.append((name, "true or false (1 or 0)", lambda v: (v != 0) & (v != 1)))
    return rules


class _Episodes:
    """Finds episodes in rows that come batch by batch."""

    def __init__(self, mapping: Mapping, rows: int):
        self._mapping = mapping
        self._rows = rows
        nothing = np.zeros(0, dtype=np.int64)
        self._marked = {mark: [nothing] for mark in ("terminal", "timeout", "final")}
        self._starts: list[npt.NDArray[np.int64]] = []
        self._ids: list[Array] = []

    def add(self, before: int, arrays: dict[str, Array]) -> None:
        for mark, name in self._mapping.marks.items():
            self._marked[mark].append(np.flatnonzero(arrays[name]) + before)
        if self._mapping.episode is not None and len(arrays[self._mapping.episode]):
            ids = arrays[self._mapping.episode]
            is_new = not self._ids or ids[0] != self._ids[-1][-1]
            changed = np.concatenate([[is_new], ids[1:] != ids[:-1]])
            if changed.any():
                self._starts.append(np.flatnonzero(changed) + before)
                self._ids.append(ids[changed])

    def index(self) -> EpisodeIndex:
        mapping, ends = self._mapping, None
        if mapping.episode is None and not mapping.marks:
            return EpisodeIndex(None, rows=self._rows)
        if mapping.episode is not None:
            starts, ids = np.concatenate(self._starts), np.concatenate(self._ids)
            ends = np.append(starts[1:], self._rows)
            rising = ids[1:] > ids[:-1]
            if not rising.all() and rising.any():
                # Not in order: an id that comes back would be two episodes.
                _, first = np.unique(ids, return_index=True)
                again = np.setdiff1d(np.arange(len(ids)), first)
                if again.size:
                    raise BadMark(
                        "episode",
                        "must hold an episode's rows one after another, but "
                        f"{ids[again[0]]} comes back",
                        int(starts[again[0]]),
                    )
        terminal, timeout, final = map(np.concatenate, self._marked.values())
        return EpisodeIndex.from_marks(self._rows, terminal, timeout, final, ends)
