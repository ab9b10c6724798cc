"""Logs in Parquet, Arrow and Feather files as columns, and back."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from d3rlpy.dataset import DatasetInfo

from ..._util.files import reserve, written_beside
from ..columns import Array, ArrayColumn, Column, Columns, StackedColumn
from ..episodes import EpisodeIndex
from .arrow import MappedColumn, map_file
from .cache import EPISODES, CacheEntry, cache_entry
from .csv import write_csv
from .folders import ARROW, CSV, PARQUET, TABLES, PathLike, ends_with, find_files
from .mapping import Mapping
from .rows import read_rows
from .shards import Shard, common_types, import_pyarrow, reading

Types = dict[str, np.dtype[Any]]
# The columns of a log that have vectors in their rows; others have numbers.
_VECTORS = ("observations", "actions", "rewards")


def open_tables(
    files: PathLike | Sequence[PathLike],
    mapping: Mapping,
    part: tuple[int, int],
    cache_folder: PathLike | None,
    show_progress: bool,
) -> tuple[Columns, tuple[int, int] | None]:
    """A log, its least and largest index; arguments and errors as in ``from_parquet``."""
    import_pyarrow()
    shards = [Shard.open(file, mapping) for file in find_files(files, part)]
    shards = [shard for shard in shards if shard.rows]
    if not shards:
        raise ValueError(f"the log {files} has no rows")
    types = common_types(shards, mapping)
    entry = cache_entry(shards, mapping, cache_folder)
    for _ in range(3):
        if (kept := entry.load()) is not None:
            meta, arrays = kept
            mapped = _map_all(shards, mapping, arrays)
            log = _log(arrays, meta["rows"], mapped, mapping)
            # Frozen, but what it would compute when asked is known already.
            vars(log)["digest"] = meta["digest"]
            return log, meta["actions"] and tuple(meta["actions"])
        _fill(entry, shards, mapping, types, show_progress)
    raise ValueError(f"the log {files} changes while it is read")


def _log(
    arrays: dict[str, Array], rows: int, mapped: dict[str, Column], mapping: Mapping
) -> Columns:
    """The log of an entry's arrays, and of columns that are mapped from its files."""
    columns = {
        **mapped,
        **{n: ArrayColumn(array) for n, array in arrays.items() if n not in EPISODES},
    }
    index = EpisodeIndex(None, rows=rows)
    if EPISODES[0] in arrays:
        ends, terminated, has_final = (np.array(arrays[name]) for name in EPISODES)
        index = EpisodeIndex(ends, terminated, has_final)
    observations, actions, rewards = (columns.pop(part) for part in _VECTORS)
    names = {f"extra_{i}": name for i, name in enumerate(mapping.extras)}
    return Columns(
        observations=[observations],
        actions=actions,
        rewards=rewards,
        index=index,
        extras={names.get(part, part): column for part, column in columns.items()},
        in_memory=False,
    )


def _map_all(
    shards: Sequence[Shard], mapping: Mapping, arrays: dict[str, Array] | None = None
) -> dict[str, Column]:
    """The columns, mapped, if every file allows it; none if arrays hold them already."""
    if arrays is not None and "rewards" in arrays:
        return {}
    files = []
    for shard in shards:
        is_same = all(shard.types[n] == shards[0].types[n] for n in mapping.values)
        if not is_same or not ends_with(shard.path, ARROW):
            return {}
        with reading(shard.path):
            mapped = map_file(shard.path, mapping.values)
        if mapped is None:
            return {}
        files.append(mapped)
    scalars = {name: MappedColumn([f[name] for f in files]) for name in mapping.values}
    return {
        part: StackedColumn([scalars[name] for name in names])
        if part in _VECTORS
        else scalars[names[0]]
        for part, names in mapping.parts.items()
    }


def _fill(
    entry: CacheEntry,
    shards: Sequence[Shard],
    mapping: Mapping,
    types: Types,
    show_progress: bool,
) -> None:
    """Checks all rows; keeps where episodes end, and values that cannot be mapped."""
    rows = sum(shard.rows for shard in shards)
    mapped = _map_all(shards, mapping)
    parts = {} if mapped else mapping.parts
    kinds = {
        part: np.result_type(*(types[name] for name in names))
        for part, names in parts.items()
    }
    size = rows * sum(len(parts[part]) * kinds[part].itemsize for part in parts)
    with entry.replaced(digests=not mapped, size=size) as (folder, meta):
        arrays = {
            part: _new_array(
                folder / f"{part}.npy",
                kinds[part],
                (rows, len(names)) if part in _VECTORS else (rows,),
            )
            for part, names in parts.items()
        }

        def write(start: int, values: dict[str, Any]) -> None:
            for part, names in parts.items():
                array = arrays[part].reshape(rows, len(names))
                for i, name in enumerate(names):
                    array[start : start + len(values[name]), i] = values[name]

        index, seen = read_rows(shards, mapping, types, write, show_progress)
        if not index.is_bandit:
            for name, array in zip(EPISODES, index.arrays(), strict=True):
                path = folder / f"{name}.npy"
                arrays[name] = _new_array(path, array.dtype, array.shape)
                arrays[name][...] = array
        for array in arrays.values():
            array.flush()
        digest = _log(arrays, rows, mapped, mapping).digest
        meta.update(rows=rows, actions=seen, digest=digest, arrays=arrays)


def _new_array(path: pathlib.Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    # numpy's own save forgets what the system said of a full disk.
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    with path.open("r+b") as file:
        reserve(file.fileno(), path.stat().st_size)
    return array


def write_table(
    columns: Columns, info: DatasetInfo, path: pathlib.Path
) -> dict[str, Any]:
    """One file with every row; arguments and errors as in ``to_parquet``."""
    pa = import_pyarrow()
    if not ends_with(path, TABLES):
        raise ValueError(f"file must end with one of {TABLES}, got {path}")
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
        matrix = column.whole()
        names = [f"{role}_{i}" for i in range(matrix.shape[1])]
        names = [role] if len(names) == 1 else names
        mapping[role] = names
        values.update(zip(names, matrix.T, strict=True))
    values["reward"] = columns.rewards.whole()[:, 0]
    index, more = columns.index, {}
    if not index.is_bandit:
        marks = index.marks()
        more["episode"] = index.episode_of(np.arange(index.rows))
        more.update(terminal=marks["terminal"], final=marks["final"])
    mapping.update({name: name for name in more})
    for name, column in columns.extras.items():
        # Infos may be anything; what is read back are finite numbers.
        found = column.whole()
        if column.row_shape not in ((), (1,)) or not np.isfinite(found).all():
            continue
        if name in values or name in more:
            raise ValueError(
                f"extras: {name!r} must have another name in a table, which has a "
                "column of its own of that name"
            )
        more[name] = found.reshape(-1)
        if name == "propensity":
            mapping["propensity"] = name
        else:
            mapping.setdefault("extras", []).append(name)
    values.update(more)
    table = pa.table({name: np.ascontiguousarray(v) for name, v in values.items()})
    with written_beside(path) as beside:
        if ends_with(path, CSV):
            write_csv(table, path, beside)
        elif ends_with(path, PARQUET):
            import pyarrow.parquet as pq

            pq.write_table(table, beside, write_page_checksum=True)
        else:
            with (
                pa.OSFile(beside, "wb") as sink,
                pa.ipc.new_file(sink, table.schema) as w,
            ):
                w.write_table(table)
    return mapping
