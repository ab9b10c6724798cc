"""Columns of uncompressed Arrow files, memory-mapped where they lie."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..columns import Array, Column


@dataclasses.dataclass(frozen=True)
class MappedFile:
    """Where one column's values lie in one mapped Arrow file."""

    values: Array  # the whole file as an array of the column's type
    # Of each record batch: first row, where that row's value is, number of rows.
    starts: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]

    def take(self, rows: npt.NDArray[np.int64]) -> Array:
        """Values of rows of this file, in any order."""
        if len(self.starts) == 1:
            return self.values[rows + self.offsets[0]]
        batch = np.searchsorted(self.starts, rows, side="right") - 1
        return self.values[rows - self.starts[batch] + self.offsets[batch]]


class MappedColumn(Column):
    """A scalar column over mapped files, in order."""

    def __init__(self, files: Sequence[MappedFile]):
        self._files = files
        self._starts = np.cumsum([0, *(file.counts.sum() for file in files)])
        self._batches = [
            file.values[offset : offset + count]
            for file in files
            for offset, count in zip(file.offsets, file.counts, strict=True)
        ]
        self._batch_starts = np.cumsum([0, *map(len, self._batches)])
        super().__init__(files[0].values.dtype, (), int(self._starts[-1]))

    def take(self, rows: npt.NDArray[np.int64]) -> Array:
        if len(self._files) == 1:
            return self._files[0].take(rows)
        # File by file, in order: each is asked once.
        order = np.argsort(rows)
        ordered = rows[order]
        cuts = np.searchsorted(ordered, self._starts)
        taken = np.empty(len(rows), dtype=self.dtype)
        for number in np.flatnonzero(np.diff(cuts)).tolist():
            some = slice(cuts[number], cuts[number + 1])
            local = ordered[some] - self._starts[number]
            taken[order[some]] = self._files[number].take(local)
        return taken

    def read(self, start: int, stop: int) -> Array:
        first = int(np.searchsorted(self._batch_starts, start, side="right")) - 1
        last = int(np.searchsorted(self._batch_starts, stop))
        pairs = zip(
            self._batches[first:last], self._batch_starts[first:last], strict=True
        )
        pieces = [batch[max(0, start - row) : stop - row] for batch, row in pairs]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def map_file(path: pathlib.Path, names: Sequence[str]) -> dict[str, MappedFile] | None:
    """Maps columns of numbers of an Arrow IPC (Feather version 2) file.

    ``None`` if their values do not lie in the file as they are (compressed, bit-packed,
    or with missing values).
    """
    import pyarrow as pa

    source = pa.memory_map(str(path))
    reader = pa.ipc.open_file(source)
    source.seek(0)
    whole = source.read_buffer()
    first, last = whole.address, whole.address + whole.size
    raw = np.frombuffer(whole, dtype=np.uint8)
    batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
    batches = [batch for batch in batches if batch.num_rows]
    counts = np.array([batch.num_rows for batch in batches], dtype=np.int64)
    starts = np.cumsum(counts) - counts
    mapped = {}
    for name in names:
        kind = reader.schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            return None
        dtype = np.dtype(kind.to_pandas_dtype())
        offsets = []
        for batch in batches:
            column = batch.column(batch.schema.get_field_index(name))
            values = column.buffers()[1]
            inside = first <= values.address < last
            place = values.address - first + column.offset * dtype.itemsize
            if column.null_count or not inside or place % dtype.itemsize:
                return None
            offsets.append(place // dtype.itemsize)
        usable = len(raw) - len(raw) % dtype.itemsize
        mapped[name] = MappedFile(
            raw[:usable].view(dtype), starts, np.array(offsets, dtype=np.int64), counts
        )
    return mapped
