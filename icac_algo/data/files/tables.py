"""Logs in Parquet, Arrow and Feather files as columns, and back."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from d3rlpy.dataset import DatasetInfo

from ..._util.files import reserve, written_beside
from ..columns import ArrayColumn, Column, Columns, StackedColumn
from ..index import EpisodeIndex
from .arrow import MappedColumn, MappedFile, map_file
from .table_cache import CacheEntry, cache_entry
from .table_files import (
    ARROW,
    PARQUET,
    Mapping,
    PathLike,
    TableFile,
    find_files,
    import_pyarrow,
)
from .table_scan import scan_tables

__all__ = ["Mapping", "open_tables", "write_table"]

_EPISODES = ("ends", "terminated", "has_final")


def open_tables(
    files: PathLike | Sequence[PathLike],
    mapping: Mapping,
    part: tuple[int, int],
    cache_folder: PathLike | None,
    show_progress: bool,
) -> tuple[Columns, int | None]:
    """Columns of a log in files, and its largest action index if they are indices.

    Arguments and errors as in :meth:`ColumnarReplayBuffer.from_parquet`.
    """
    tables = [TableFile.open(path, mapping) for path in find_files(files, part)]
    _check_alike(tables)
    tables = [table for table in tables if table.rows]
    if not tables:
        raise ValueError(f"the log {files} has no rows")
    entry = cache_entry(tables, mapping, cache_folder)
    meta = entry.meta()
    mapped = _map_all(tables, mapping)
    if meta is None:
        if mapped is None:
            _convert(entry, tables, show_progress)
        else:
            _examine(entry, tables, show_progress)
        meta = entry.meta()
        assert meta is not None
    if mapped is None:
        values = {
            name: ArrayColumn(np.load(entry.folder / f"{name}.npy", mmap_mode="r"))
            for name in meta["columns"]
        }
        columns = _columns(values, mapping, entry, meta)
    else:
        columns = _columns(_assemble(mapped, mapping), mapping, entry, meta)
    return columns, meta["largest_action"]


def _check_alike(tables: Sequence[TableFile]) -> None:
    first = tables[0]
    for table in tables[1:]:
        for name, kind in table.types.items():
            if kind != first.types[name]:
                raise ValueError(
                    f"{table.path}: column {name!r} is {kind}, but in {first.path} it is "
                    f"{first.types[name]}"
                )


def _map_all(
    tables: Sequence[TableFile], mapping: Mapping
) -> dict[str, MappedColumn] | None:
    """The value columns, mapped, if every file allows it."""
    files: list[dict[str, MappedFile]] = []
    for table in tables:
        if table.path.suffix not in ARROW:
            return None
        mapped = map_file(table.path, mapping.values)
        if mapped is None:
            return None
        files.append(mapped)
    return {name: MappedColumn([f[name] for f in files]) for name in mapping.values}


class _Matrix:
    """A scalar column as one of rows of one value, as actions and rewards are."""

    def __init__(self, column: Column):
        self._column = column

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._column.dtype

    @property
    def row_shape(self) -> tuple[int, ...]:
        return (1,)

    def __len__(self) -> int:
        return len(self._column)

    def take(self, rows: Any) -> Any:
        return self._column.take(rows)[:, None]

    def read(self, start: int, stop: int) -> Any:
        return self._column.read(start, stop)[:, None]


def _assemble(scalars: dict[str, MappedColumn], mapping: Mapping) -> dict[str, Column]:
    def stacked(names: Sequence[str]) -> Column:
        if len(names) == 1:
            return _Matrix(scalars[names[0]])
        return StackedColumn([scalars[name] for name in names])

    columns = {
        "observations": stacked(mapping.observation),
        "actions": stacked(mapping.action),
        "rewards": stacked([mapping.reward]),
    }
    if mapping.propensity is not None:
        columns["propensity"] = scalars[mapping.propensity]
    return columns


def _columns(
    values: Any, mapping: Mapping, entry: CacheEntry, meta: dict[str, Any]
) -> Columns:
    index = EpisodeIndex(None, rows=meta["rows"])
    if meta["has_episodes"]:
        index = EpisodeIndex(
            *(np.load(entry.folder / f"{name}.npy") for name in _EPISODES)
        )
    extras = {} if mapping.propensity is None else {"propensity": values["propensity"]}
    return Columns(
        observations=[values["observations"]],
        actions=values["actions"],
        rewards=values["rewards"],
        index=index,
        extras=extras,
        source=str(entry.files[0].parent),
    )


# -- the first time ----------------------------------------------------------


def _examine(entry: CacheEntry, tables: Sequence[TableFile], show_progress: bool) -> None:
    """Checks mapped files once and keeps where their episodes end."""
    with entry.replaced(digests=False) as (folder, meta):
        scan = scan_tables(tables, entry.mapping, lambda *_: None, show_progress)
        _keep_episodes(folder, meta, scan.index)
        meta["largest_action"] = scan.largest_action


def _convert(entry: CacheEntry, tables: Sequence[TableFile], show_progress: bool) -> None:
    """Writes the values of files that cannot be mapped as ``.npy`` files that can."""
    mapping, rows = entry.mapping, sum(table.rows for table in tables)
    parts: dict[str, Sequence[str]] = {
        "observations": mapping.observation,
        "actions": mapping.action,
        "rewards": [mapping.reward],
    }
    if mapping.propensity is not None:
        parts["propensity"] = [mapping.propensity]
    types = {
        part: np.result_type(*(_stored(tables[0].types[name]) for name in names))
        for part, names in parts.items()
    }
    entry.check_space(
        rows * sum(len(names) * types[part].itemsize for part, names in parts.items())
    )
    with entry.replaced(digests=True) as (folder, meta):
        arrays = {
            part: _new_array(
                folder / f"{part}.npy",
                types[part],
                (rows,) if part == "propensity" else (rows, len(names)),
            )
            for part, names in parts.items()
        }

        def write(start: int, values: dict[str, Any]) -> None:
            for part, names in parts.items():
                array = arrays[part].reshape(rows, len(names))
                for i, name in enumerate(names):
                    array[start : start + len(values[name]), i] = values[name]

        scan = scan_tables(tables, mapping, write, show_progress)
        for array in arrays.values():
            array.flush()
        _keep_episodes(folder, meta, scan.index)
        meta["largest_action"] = scan.largest_action
        meta["columns"] = list(parts)


def _new_array(path: pathlib.Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    # numpy's own save forgets what the system said of a full disk.
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    with path.open("r+b") as file:
        reserve(file.fileno(), path.stat().st_size)
    return array


def _stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.int8) if dtype.kind == "b" else dtype


def _keep_episodes(
    folder: pathlib.Path, meta: dict[str, Any], index: EpisodeIndex
) -> None:
    meta["rows"] = index.rows
    meta["has_episodes"] = not index.is_bandit
    if meta["has_episodes"]:
        for name, array in zip(_EPISODES, index.arrays(), strict=True):
            _new_array(folder / f"{name}.npy", array.dtype, array.shape)[...] = array


# -- back to a file ----------------------------------------------------------


def write_table(
    columns: Columns, info: DatasetInfo, path: pathlib.Path
) -> dict[str, Any]:
    """One file with every row; arguments and errors as in ``to_parquet``."""
    pa = import_pyarrow()
    if path.suffix not in (*PARQUET, *ARROW):
        raise ValueError(f"file must end with one of {(*PARQUET, *ARROW)}, got {path}")
    if columns.is_tuple or len(columns.observations[0].row_shape) != 1:
        raise ValueError(
            "a table holds observations that are vectors, got rows of shape "
            f"{[part.row_shape for part in columns.observations]}"
        )
    mapping: dict[str, Any] = {"reward": "reward", "action_size": info.action_size}
    if columns.actions.dtype.kind == "f":
        del mapping["action_size"]
    values: dict[str, Any] = {}
    for role, column in (
        ("observation", columns.observations[0]),
        ("action", columns.actions),
    ):
        matrix = column.read(0, len(column))
        names = [f"{role}_{i}" for i in range(matrix.shape[1])]
        names = [role] if len(names) == 1 else names
        mapping[role] = names
        values.update(zip(names, matrix.T, strict=True))
    values["reward"] = columns.rewards.read(0, len(columns.rewards))[:, 0]
    if not columns.index.is_bandit:
        values.update(_marks(columns.index))
        mapping.update({name: name for name in ("episode", "terminal", "final")})
    if "propensity" in columns.extras:
        propensity = columns.extras["propensity"]
        values["propensity"] = propensity.read(0, len(propensity))
        mapping["propensity"] = "propensity"
    table = pa.table({name: np.ascontiguousarray(v) for name, v in values.items()})
    with written_beside(path) as beside:
        if path.suffix in PARQUET:
            import pyarrow.parquet as pq

            pq.write_table(table, beside)
        else:
            with (
                pa.OSFile(beside, "wb") as sink,
                pa.ipc.new_file(sink, table.schema) as w,
            ):
                w.write_table(table)
    return mapping


def _marks(index: EpisodeIndex) -> dict[str, Any]:
    ends, terminated, has_final = index.arrays()
    terminal = np.zeros(index.rows, dtype=bool)
    final = terminal.copy()
    terminal[(ends - 1 - has_final)[terminated]] = True
    final[ends[has_final] - 1] = True
    sizes = np.diff(ends, prepend=0)
    return {
        "episode": np.repeat(np.arange(len(ends)), sizes),
        "terminal": terminal,
        "final": final,
    }
