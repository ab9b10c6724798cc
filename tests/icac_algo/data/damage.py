"""Damages tables at random and opens them; run as a program, since it may be killed.

``python damage.py FOLDER FORMAT FIRST LAST`` prints a line for each seed: how the file
was damaged, and what came of opening it.
"""

from __future__ import annotations

import pathlib
import struct
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

ROWS = 501
MAPPING: dict[str, Any] = {
    "observation": ["x", "c"],
    "action": "bid",
    "reward": "profit",
    "propensity": "propensity",
    "episode": "campaign",
    "terminal": "over",
}
FORMATS = (".parquet", ".arrow", "-zstd.arrow", ".feather", ".csv", ".csv.gz")


def table() -> pa.Table:
    rng = np.random.default_rng(0)
    rows = np.arange(ROWS)
    return pa.table(
        {
            "x": rng.random(ROWS, dtype=np.float32),
            "c": rng.random(ROWS),
            "bid": rng.integers(0, 5, ROWS).astype(np.int8),
            "profit": rng.normal(size=ROWS),
            "propensity": rng.uniform(0.1, 1.0, ROWS).astype(np.float32),
            "campaign": pa.array([f"c{i:03}" for i in rows // 10]).dictionary_encode(),
            "over": rows % 20 == 9,
            "unused": [f"word {i}" for i in range(ROWS)],
        }
    )


def write_table(path: pathlib.Path) -> None:
    whole = table()
    if path.suffix == ".parquet":
        pq.write_table(whole, path, row_group_size=200)
    elif ".csv" in path.name:
        plain = whole.set_column(
            5, "campaign", whole["campaign"].combine_chunks().dictionary_decode()
        )
        with pa.output_stream(str(path), compression="detect") as sink:
            pa.csv.write_csv(plain, sink)
    else:
        compression = "lz4" if path.suffix == ".feather" else None
        compression = "zstd" if "zstd" in path.name else compression
        options = pa.ipc.IpcWriteOptions(compression=compression)
        with pa.ipc.new_file(str(path), whole.schema, options=options) as writer:
            writer.write_table(whole, max_chunksize=200)


def damaged(content: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """The content changed in one way, and the way."""
    data, size = bytearray(content), len(content)
    how = str(
        rng.choice(
            [
                "flip",
                "flips",
                "head",
                "tail",
                "cut",
                "count",
                "count",
                "zero",
                "noise",
                "longer",
                "swap",
                "insert",
            ]
        )
    )
    at = int(rng.integers(size))
    length = min(int(rng.integers(1, 200)), size - at)
    if how == "flip":
        data[at] ^= 1 << int(rng.integers(8))
    elif how == "flips":
        for place in rng.integers(size, size=20):
            data[place] ^= 1 << int(rng.integers(8))
    elif how in ("head", "tail"):  # Where formats keep what they say of themselves.
        at = int(rng.integers(min(2000, size)))
        data[at if how == "head" else size - 1 - at] = int(rng.integers(256))
    elif how == "cut":
        del data[at:]
    elif how == "count":
        # Counts, lengths and offsets: small whole numbers, somewhere.
        places = [
            i
            for i in range(0, size - 8, 4)
            if 0 < struct.unpack_from("<q", data, i)[0] < 1 << 16
        ]
        if places:
            place = int(rng.choice(places))
            old = struct.unpack_from("<q", data, place)[0]
            new = [old + 1, old - 1, old + 8, 2 * old, 2**33, 2**62, 0, -1]
            struct.pack_into("<q", data, place, int(rng.choice(new)))
    elif how == "zero":
        data[at : at + length] = bytes(length)
    elif how == "noise":
        data[at : at + length] = rng.bytes(length)
    elif how == "longer":
        data += rng.bytes(length)
    elif how == "swap":
        other = int(rng.integers(size - length + 1))
        block = data[at : at + length]
        data[at : at + length] = data[other : other + length]
        data[other : other + length] = block
    else:
        data[at:at] = rng.bytes(length)
    return how, bytes(data)


def outcome(path: pathlib.Path, cache: pathlib.Path) -> str:
    """``read`` and the number of rows, or the kind of error."""
    from icac_algo import ColumnarReplayBuffer

    for _ in range(2):  # The second time from the cache.
        try:
            buffer = ColumnarReplayBuffer.from_parquet(
                path, cache_folder=cache, show_progress=False, **MAPPING
            )
        except ValueError as error:
            kind = type(error).__name__
            return (
                kind if path.name in str(error) else f"{kind} without the file: {error}"
            )
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        arrays = buffer.to_arrays()
    return f"read {len(arrays['rewards'])}"


def main() -> None:
    folder, name = pathlib.Path(sys.argv[1]), sys.argv[2]
    whole = folder / f"whole{name}"
    if not whole.exists():
        write_table(whole)
    content = whole.read_bytes()
    for seed in range(int(sys.argv[3]), int(sys.argv[4])):
        how, changed = damaged(content, np.random.default_rng(seed))
        path = folder / f"log-{seed}{name}"
        path.write_bytes(changed)
        print(seed, how, end=" ", flush=True)
        print(outcome(path, folder / "cache").replace("\n", " "), flush=True)
        path.unlink()


if __name__ == "__main__":
    main()
