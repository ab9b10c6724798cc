"""Logs in Parquet, Arrow and Feather files as columns, and back."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from d3rlpy.dataset import DatasetInfo

from ..._util.files import reserve, written_beside
from ..columns import ArrayColumn, Column, Columns, StackedColumn
from ..episodes import EpisodeIndex
from .arrow import MappedColumn, map_file
from .cache import CacheEntry, cache_entry
from .mapping import Mapping
from .shards import (
    ARROW,
    PARQUET,
    PathLike,
    Shard,
    find_shards,
    import_pyarrow,
    read_shards,
)

_EPISODES = ("ends", "terminated", "has_final")


def open_tables(
    files: PathLike | Sequence[PathLike],
    mapping: Mapping,
    part: tuple[int, int],
    cache_folder: PathLike | None,
    show_progress: bool,
) -> tuple[Columns, int | None]:
    """A log and its largest index; arguments and errors as in ``from_parquet``."""
    shards = [Shard.open(path, mapping) for path in find_shards(files, part)]
    first = shards[0]
    for shard in shards[1:]:
        for name, kind in shard.types.items():
            if kind != first.types[name]:
                raise ValueError(
                    f"{shard.path}: column {name!r} is {kind}, but in {first.path} it is "
                    f"{first.types[name]}"
                )
    shards = [shard for shard in shards if shard.rows]
    if not shards:
        raise ValueError(f"the log {files} has no rows")
    entry = cache_entry(shards, mapping, cache_folder)
    columns = _map_all(shards, mapping)
    if entry.meta() is None:
        _fill(entry, shards, mapping, columns is None, show_progress)
    meta = entry.meta()
    assert meta is not None
    if columns is None:
        columns = {
            part: ArrayColumn(np.load(entry.folder / f"{part}.npy", mmap_mode="r"))
            for part in _columns_of_parts(mapping)
        }
    index = EpisodeIndex(None, rows=meta["rows"])
    if meta["has_episodes"]:
        index = EpisodeIndex(
            *(np.load(entry.folder / f"{name}.npy") for name in _EPISODES)
        )
    log = Columns(
        observations=[columns.pop("observations")],
        actions=columns.pop("actions"),
        rewards=columns.pop("rewards"),
        index=index,
        extras=columns,
        in_memory=False,
    )
    return log, meta["largest_action"]


def _columns_of_parts(mapping: Mapping) -> dict[str, Sequence[str]]:
    """The columns of a table that make up each column of the log."""
    parts: dict[str, Sequence[str]] = {
        "observations": mapping.observation,
        "actions": mapping.action,
        "rewards": [mapping.reward],
    }
    if mapping.propensity is not None:
        parts["propensity"] = [mapping.propensity]
    return parts


def _map_all(shards: Sequence[Shard], mapping: Mapping) -> dict[str, Column] | None:
    """The columns of the log, mapped, if every file allows it."""
    files = []
    for shard in shards:
        is_arrow = shard.path.suffix in ARROW
        mapped = map_file(shard.path, mapping.values) if is_arrow else None
        if mapped is None:
            return None
        files.append(mapped)
    scalars = {name: MappedColumn([f[name] for f in files]) for name in mapping.values}
    columns: dict[str, Column] = {
        part: StackedColumn([scalars[name] for name in names])
        for part, names in _columns_of_parts(mapping).items()
    }
    if mapping.propensity is not None:
        columns["propensity"] = scalars[mapping.propensity]
    return columns


def _fill(
    entry: CacheEntry,
    shards: Sequence[Shard],
    mapping: Mapping,
    with_values: bool,
    show_progress: bool,
) -> None:
    """Checks all rows; keeps where episodes end, and values as ``.npy`` if asked to."""
    rows = sum(shard.rows for shard in shards)
    parts = _columns_of_parts(mapping) if with_values else {}
    # Booleans are stored as numbers.
    small = np.dtype(np.int8)
    kinds = {n: small if t.kind == "b" else t for n, t in shards[0].types.items()}
    types = {
        part: np.result_type(*(kinds[name] for name in names))
        for part, names in parts.items()
    }
    size = rows * sum(len(parts[part]) * types[part].itemsize for part in parts)
    with entry.replaced(digests=with_values, size=size) as (folder, meta):
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

        index, largest = read_shards(shards, mapping, write, show_progress)
        for array in arrays.values():
            array.flush()
        has_episodes = not index.is_bandit
        meta.update(rows=rows, has_episodes=has_episodes, largest_action=largest)
        if has_episodes:
            for name, array in zip(_EPISODES, index.arrays(), strict=True):
                _new_array(folder / f"{name}.npy", array.dtype, array.shape)[...] = array


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
    if "propensity" in columns.extras:
        more["propensity"] = columns.extras["propensity"].whole()
    values.update(more)
    mapping.update({name: name for name in more})
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
