"""Columns of uncompressed Arrow files, memory-mapped where they lie."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

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
    batches = [batch for batch in arrow_batches(reader) if batch.num_rows]
    counts = np.array([batch.num_rows for batch in batches], dtype=np.int64)
    starts = np.cumsum(counts) - counts
    mapped = {}
    for name in names:
        if name not in reader.schema.names:  # It stands in a folder's name.
            return None
        kind = reader.schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            return None
        dtype = np.dtype(kind.to_pandas_dtype())
        offsets = []
        for batch in batches:
            column = batch.column(batch.schema.get_field_index(name))
            values = column.buffers()[1]
            inside = first <= values.address and values.address + values.size <= last
            place = values.address - first + column.offset * dtype.itemsize
            if column.null_count or not inside or place % dtype.itemsize:
                return None
            offsets.append(place // dtype.itemsize)
        usable = len(raw) - len(raw) % dtype.itemsize
        mapped[name] = MappedFile(
            raw[:usable].view(dtype), starts, np.array(offsets, dtype=np.int64), counts
        )
    return mapped


def arrow_batches(reader: Any) -> Iterator[Any]:
    """The record batches of an Arrow file; an error if one is longer than its values."""
    for number in range(reader.num_record_batches):
        batch = reader.get_batch(number)
        batch.validate()
        yield batch


def check_places(source: Any, reader: Any) -> None:
    """Raises ``ValueError`` if values lie in two columns, or in none.

    Of what a file says of itself that is what can be compared with something else in it.
    """
    import pyarrow as pa

    source.seek(0)
    whole = source.read_buffer()
    spans = []
    for batch in arrow_batches(reader):
        for column in batch.columns:
            buffers = [b for b in column.buffers() if b is not None and b.size]
            # Values that were compressed lie elsewhere in memory.
            spans += [
                (b.address, b.address + b.size)
                for b in buffers
                if whole.address <= b.address < whole.address + whole.size
            ]
            is_plain = pa.types.is_integer(column.type) or pa.types.is_floating(
                column.type
            )
            # Buffers are padded to multiples of 8 or of 64 bytes.
            size = buffers[-1].size if is_plain and buffers else 0
            if size >= column.nbytes + (8 if size % 64 else 64):
                raise ValueError("a record batch has more values than rows")
    starts, ends = np.array(sorted(spans), dtype=np.uint64).reshape(-1, 2).T
    if (starts[1:] < ends[:-1]).any():
        raise ValueError("two columns share values")
    # Between the magic bytes and the footer lies the same as a stream.
    source.seek(8)
    options = pa.ipc.IpcReadOptions(included_fields=[0], use_threads=False)
    listed = 0
    with contextlib.suppress(Exception):  # What follows need not be one.
        for _ in pa.ipc.open_stream(source, options=options):
            listed += 1
    if listed > reader.num_record_batches:
        raise ValueError("its footer does not list all record batches")
