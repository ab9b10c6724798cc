"""One pass over a log's files: every row is checked, and episodes are found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..columns import Array
from ..door import (
    DENSITY,
    EXTRA,
    FLAG,
    PROPENSITY,
    VALUE,
    Rule,
    check_values,
    indices,
)
from ..episodes import BadMark, EpisodeIndex
from .mapping import Mapping
from .shards import Shard

#: Called with the number of rows before, and columns by name.
Sink = Callable[[int, dict[str, Array]], None]

# Of integers that become floats: beyond, two of them may become one.
_EXACT = Rule("from 1 - 2**53 to 2**53 - 1 beside floats", 1.0 - 2**53, 2**53 - 1.0)


def read_rows(
    shards: Sequence[Shard],
    mapping: Mapping,
    types: dict[str, np.dtype[Any]],
    sink: Sink,
    show_progress: bool,
) -> tuple[EpisodeIndex, tuple[int, int] | None]:
    """Episodes, and the least and the largest index, by one checking pass over all."""
    from tqdm.auto import tqdm

    before = np.cumsum([0, *(shard.rows for shard in shards)])
    total = int(before[-1])
    is_index = len(mapping.action) == 1 and types[mapping.action[0]].kind in "iu"
    rules = _rules(mapping, types, is_index)
    seen: list[int] = []
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
            for start, arrays in shard.blocks(mapping):
                # What is logged of no decision need be no action nor propensity.
                is_step = np.ones(len(arrays[mapping.reward]), dtype=bool)
                if mapping.final is not None:
                    is_step = arrays[mapping.final] == 0
                for name, rule in rules:
                    values = arrays[name]
                    if rule in (PROPENSITY, DENSITY):
                        values = np.where(is_step, values, 1)
                    if rule is _EXACT and values.dtype.kind == "f":
                        continue
                    check_values(f"{shard.path}: column {name!r}", values, rule, start)
                if is_index and is_step.any():
                    taken = arrays[mapping.action[0]][is_step]
                    seen += [int(taken.min()), int(taken.max())]
                sink(first + start, arrays)
                episodes.add(first + start, arrays)
                bar.update(len(is_step))
    try:
        return episodes.index(), (min(seen), max(seen)) if seen else None
    except BadMark as error:
        number = int(np.searchsorted(before, error.row, side="right")) - 1
        name, row = getattr(mapping, error.mark), error.row - int(before[number])
        raise ValueError(
            f"{shards[number].path}: column {name!r} {error.reason}, row {row}"
        ) from None


def _rules(
    mapping: Mapping, types: dict[str, np.dtype[Any]], is_index: bool
) -> list[tuple[str, Rule]]:
    """What must hold of which column."""
    rules = [(name, FLAG) for name in mapping.marks.values()]
    rules += [(name, VALUE) for name in (*mapping.observation, mapping.reward)]
    rules += [(name, indices(None) if is_index else VALUE) for name in mapping.action]
    rules += [(name, EXTRA) for name in mapping.extras]
    if mapping.propensity is not None:
        rules.append((mapping.propensity, PROPENSITY if is_index else DENSITY))
    if mapping.episode in types:
        rules.append((mapping.episode, EXTRA))
    for names in (mapping.observation, mapping.action, (mapping.reward,)):
        if np.result_type(*(types[name] for name in names)).kind == "f":
            rules += [(name, _EXACT) for name in names]
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
