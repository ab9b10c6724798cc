"""One pass over the rows of a log in files: every value checked, episodes found."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..index import BadMark, EpisodeIndex
from .table_files import Mapping, TableFile, read_batches

__all__ = ["Scan", "scan_tables"]

#: Called with the number of rows before, and value columns by name.
Sink = Callable[[int, dict[str, npt.NDArray[Any]]], None]


@dataclasses.dataclass(frozen=True)
class Scan:
    """What a pass over all rows found.

    Args:
        index: the episodes.
        largest_action: the largest action index; ``None`` for continuous actions.
    """

    index: EpisodeIndex
    largest_action: int | None


def scan_tables(
    files: Sequence[TableFile], mapping: Mapping, sink: Sink, show_progress: bool
) -> Scan:
    """Reads all files once.

    Args:
        files: the files, in order.
        mapping: which column is what.
        sink: is given the values, batch by batch.
        show_progress: whether to show a progress bar over the rows.

    Raises:
        ValueError: a value is missing, not finite or out of range, or rows are marked
            as they must not be; it names file, column and row.
    """
    from tqdm.auto import tqdm

    scanner = _Scanner(files, mapping)
    total = sum(file.rows for file in files)
    with tqdm(
        total=total,
        unit="row",
        unit_scale=True,
        desc="reading the log",
        disable=not show_progress,
        leave=False,
    ) as bar:
        for file, before in zip(files, scanner.before, strict=True):
            for start, arrays in read_batches(file, mapping.all):
                scanner.check_values(file, start, arrays)
                sink(before + start, arrays)
                scanner.find_marks(file, start, before, arrays)
                bar.update(len(arrays[mapping.reward]))
    return scanner.result()


class _Scanner:
    def __init__(self, files: Sequence[TableFile], mapping: Mapping):
        self._files = files
        self._mapping = mapping
        counts = [file.rows for file in files]
        self._total = sum(counts)
        self.before = [int(n) for n in np.cumsum([0, *counts])[:-1]]
        name = mapping.action[0]
        whole = files[0].types[name].kind in "iub" and len(mapping.action) == 1
        self._largest: int | None = 0 if whole else None
        self._marked: dict[str, list[npt.NDArray[np.int64]]] = {
            mark: [] for mark in mapping.marks
        }
        self._last_id: Any = None
        self._starts: list[npt.NDArray[np.int64]] = []
        self._ids: list[npt.NDArray[Any]] = []

    def check_values(
        self, file: TableFile, start: int, arrays: dict[str, npt.NDArray[Any]]
    ) -> None:
        mapping = self._mapping
        for name in mapping.values:
            values = arrays[name]
            if values.dtype.kind == "f":
                self._refuse(file, name, start, values, ~np.isfinite(values), "finite")
        if self._largest is not None:
            name = mapping.action[0]
            values = arrays[name]
            self._refuse(file, name, start, values, values < 0, "an index of at least 0")
            self._largest = max(self._largest, int(values.max(initial=0)))
        if mapping.propensity is not None:
            values = arrays[mapping.propensity]
            outside = (values <= 0) | (values > 1)
            self._refuse(file, mapping.propensity, start, values, outside, "in (0, 1]")

    def find_marks(
        self,
        file: TableFile,
        start: int,
        before: int,
        arrays: dict[str, npt.NDArray[Any]],
    ) -> None:
        for mark, name in self._mapping.marks.items():
            values = arrays[name]
            neither = (values != 0) & (values != 1)
            self._refuse(file, name, start, values, neither, "true or false (1 or 0)")
            self._marked[mark].append(np.flatnonzero(values) + start + before)
        if self._mapping.episode is not None:
            ids = arrays[self._mapping.episode]
            if not len(ids):
                return
            changed = np.concatenate([[True], ids[1:] != ids[:-1]])
            if start + before > 0:
                changed[0] = ids[0] != self._last_id
            self._last_id = ids[-1]
            self._starts.append(np.flatnonzero(changed) + start + before)
            self._ids.append(ids[changed])

    def result(self) -> Scan:
        mapping = self._mapping
        if mapping.episode is None and not mapping.marks:
            return Scan(EpisodeIndex(None, rows=self._total), self._largest)
        marked = {
            mark: np.concatenate(self._marked.get(mark) or [np.zeros(0, dtype=np.int64)])
            for mark in ("terminal", "timeout", "final")
        }
        try:
            index = EpisodeIndex.from_marks(
                self._total,
                marked["terminal"],
                marked["timeout"],
                marked["final"],
                self._ends(),
            )
        except BadMark as error:
            file, row = self._place(error.row)
            name = mapping.marks[error.mark]
            raise ValueError(
                f"{file}: column {name!r} {error.reason}, row {row}"
            ) from None
        return Scan(index, self._largest)

    def _ends(self) -> npt.NDArray[np.int64] | None:
        if self._mapping.episode is None:
            return None
        starts, ids = np.concatenate(self._starts), np.concatenate(self._ids)
        rising = ids[1:] > ids[:-1]
        if not rising.all() and rising.any():
            # Not in order: an id that comes back would be two episodes.
            _, first = np.unique(ids, return_index=True)
            again = np.setdiff1d(np.arange(len(ids)), first)
            if again.size:
                file, row = self._place(int(starts[again[0]]))
                raise ValueError(
                    f"{file}: column {self._mapping.episode!r} must hold an episode's "
                    f"rows one after another, but {ids[again[0]]} comes back in row "
                    f"{row}"
                )
        return np.concatenate([starts[1:], [self._total]])

    def _place(self, row: int) -> tuple[str, int]:
        number = int(np.searchsorted(self.before, row, side="right")) - 1
        while self._files[number].rows == 0:
            number -= 1
        return str(self._files[number].path), row - self.before[number]

    @staticmethod
    def _refuse(
        file: TableFile,
        name: str,
        start: int,
        values: npt.NDArray[Any],
        is_bad: npt.NDArray[np.bool_],
        requirement: str,
    ) -> None:
        if is_bad.any():
            place = int(np.flatnonzero(is_bad)[0])
            raise ValueError(
                f"{file.path}: column {name!r} must be {requirement}, "
                f"row {start + place} has {values[place]}"
            )
