"""Logs too long for memory: files of many campaigns, written by many processes."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import pathlib
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from .._arrays import AnyArray
from .._checks import check_choice, check_integer
from .._optional import import_pyarrow, needed, progress_bar
from ..auction import MONOTONE_COST_RANGE, Auction
from .log import HORIZON, simulate_log

AUCTIONS = {
    "BidClick-v0": Auction(),
    "BidClickMonotone-v0": Auction(cost_range=MONOTONE_COST_RANGE),
}
FORMATS = ("arrow", "parquet")
COLUMNS = {
    "x": "float32",
    "c": "float32",
    "action": "int8",
    "bid": "float32",
    "reward": "float32",
    "propensity": "float32",
    "click": "int8",
    "campaign": "int32",
}

MANIFEST = "manifest.json"
#: Their names have five digits.
MOST_SHARDS = 100_000
#: Of a shard; a process holds a whole one, some 100 bytes a row.
MOST_ROWS = 100_000_000


def write_shards(
    out: str | os.PathLike[str],
    impressions: int,
    *,
    env_id: str = "BidClick-v0",
    seed: int = 0,
    workers: int | None = None,
    shard_size: int = 1_000_000,
    format: str = "arrow",
    progress: bool = False,
) -> pathlib.Path:
    """Writes the paper's log at any length, as one file for each ``shard_size`` rows.

    A row is an impression: the context ``x, c``, the index ``action`` and value ``bid``
    of the bid, the ``reward`` in units of one click, the logger's ``propensity``, whether
    there was a ``click`` and the number of its ``campaign``.  Campaigns have 1,000
    impressions, the last one perhaps fewer, and end by timeout: no row is terminal.
    Shard ``i`` is ``simulate_log(auction, seed=SeedSequence(seed, spawn_key=(i,)))``,
    so its bytes depend on neither the number of workers nor what ran before.

    Shards that a folder already holds are kept, which makes an interrupted call go on
    where it stopped; a shard has its name only once it is whole.  ``manifest.json``, in
    the same folder, says what made them and lists all that there will be.

    Args:
        out: the folder, made if missing.
        impressions: rows of all shards together, from 1 to 100,000 shards of them.
        env_id: ``"BidClick-v0"`` or ``"BidClickMonotone-v0"``.
        seed: of contexts, bids and clicks, at least 0.
        workers: processes, one for each core if not given.  They are spawned: a script
            calls this under ``if __name__ == "__main__":``.
        shard_size: rows of a shard, a multiple of 1,000 and at most 100 million; a
            process holds some 100 bytes of memory for each.
        format: ``"arrow"``, uncompressed and one record batch a shard, which can be
            memory mapped; or ``"parquet"``.
        progress: whether to show a bar, where tqdm is installed.

    Returns:
        The folder.

    Raises:
        ValueError: an argument is out of bounds, or differs from the manifest.
        FileExistsError: the folder holds files of something else, or is a file.
        OSError: a file cannot be written; whole shards stay, and the same call goes on.
        ImportError: pyarrow is missing.
    """
    check_choice("env_id", env_id, tuple(AUCTIONS))
    check_choice("format", format, FORMATS)
    check_integer("impressions", impressions, 1)
    check_integer("seed", seed, 0)
    check_integer("shard_size", shard_size, 1)
    if shard_size % HORIZON:
        raise ValueError(
            f"shard_size must be a multiple of {HORIZON}, the impressions of a campaign, "
            f"got {shard_size!r}"
        )
    if shard_size > MOST_ROWS:
        raise ValueError(f"shard_size must be at most {MOST_ROWS}, got {shard_size}")
    # Campaigns are numbered in 32 bits.
    most = min(MOST_SHARDS * shard_size, HORIZON << 31)
    if impressions > most:
        raise ValueError(
            f"impressions must be at most {most} in shards of {shard_size}, "
            f"got {impressions}"
        )
    workers = (os.cpu_count() or 1) if workers is None else workers
    check_integer("workers", workers, 1)
    if "\0" in str(out):
        raise ValueError(f"out must be a folder without null characters, got {out!r}")
    folder = pathlib.Path(out)
    import_pyarrow()
    plan = ShardPlan(
        env_id, int(impressions), int(seed), int(shard_size), format, package_version()
    )
    _claim(folder, plan)
    missing = [i for i in range(plan.shards) if not (folder / plan.file(i)).exists()]
    bar = {
        "total": plan.impressions,
        "initial": plan.impressions - sum(map(plan.rows, missing)),
        "unit": " impressions",
        "unit_scale": True,
    }
    with progress_bar(progress, **bar) as advance:
        for shard in _written(plan, folder, missing, min(workers, len(missing))):
            advance(plan.rows(shard))
    return folder


@dataclasses.dataclass(frozen=True)
class ShardPlan:
    """All that decides what the shards hold, to the last byte."""

    env_id: str
    impressions: int
    seed: int
    shard_size: int
    format: str
    version: str

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.impressions // self.shard_size)

    def file(self, shard: int) -> str:
        """Name of a whole shard's file."""
        return f"shard-{shard:05d}.{self.format}"

    def rows(self, shard: int) -> int:
        """Impressions in a shard; the last one may have fewer."""
        return min(self.shard_size, self.impressions - shard * self.shard_size)

    def manifest(self) -> dict[str, Any]:
        """What ``manifest.json`` says: the plan, what it implies and every shard."""
        auction = AUCTIONS[self.env_id]
        return {
            **dataclasses.asdict(self),
            "horizon": HORIZON,
            "bids": auction.bids,
            "cost_range": auction.cost_range,
            "columns": COLUMNS,
            "shards": [
                {"file": self.file(shard), "impressions": self.rows(shard)}
                for shard in range(self.shards)
            ],
        }


def package_version() -> str:
    """Version of this package as installed, or ``"unknown"``."""
    try:
        return importlib.metadata.version("bidclick-icac")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _claim(folder: pathlib.Path, plan: ShardPlan) -> None:
    """Makes the folder this plan's; raises if it holds anything else."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"out must be a folder, got the file {str(folder)!r}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MANIFEST
    wanted = f"out must be an empty folder or one with a {MANIFEST} of shards, got "
    if not path.exists():
        found = sorted(p.name for p in folder.iterdir() if p.suffix != ".part")
        if found:
            raise FileExistsError(f"{wanted}{str(folder)!r} with {found[0]!r} in it")
        with _whole_or_absent(path) as part:
            part.write_text(json.dumps(plan.manifest(), indent=1) + "\n")
    try:
        held = json.loads(path.read_text())
        held = {field: held[field] for field in dataclasses.asdict(plan)}
    except (ValueError, KeyError, TypeError):
        raise FileExistsError(
            f"{wanted}{str(folder)!r}, whose {MANIFEST} is of something else"
        ) from None
    for field, value in dataclasses.asdict(plan).items():
        if held[field] != value:
            raise ValueError(
                f"{field} must be {held[field]!r}, which made the shards in "
                f"{str(folder)!r}, got {value!r}; choose another folder for another log"
            )


def _written(
    plan: ShardPlan, folder: pathlib.Path, missing: list[int], workers: int
) -> Iterator[int]:
    """Writes shards and yields their numbers as they become whole."""
    if workers <= 1:
        yield from (_write_shard(plan, folder, shard) for shard in missing)
        return
    with needed("joblib", "tables"):
        import joblib
    parallel = joblib.Parallel(
        workers,
        batch_size=1,
        return_as="generator_unordered",
        initializer=leave_with_parent,
        initargs=(os.getpid(),),
    )
    run = joblib.delayed(_write_shard)
    yield from parallel(run(plan, folder, shard) for shard in missing)


def leave_with_parent(parent: int) -> None:
    """Ends this worker when its parent ends, and not by a Ctrl-C of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _write_shard(plan: ShardPlan, folder: pathlib.Path, shard: int) -> int:
    """Simulates and writes one shard, and returns its number."""
    pa = import_pyarrow()
    columns = _columns(plan, shard)
    batch = pa.record_batch(
        [pa.array(column) for column in columns.values()], names=list(columns)
    )
    path = folder / plan.file(shard)
    with _whole_or_absent(path) as part, pa.OSFile(str(part), "wb") as sink:
        if plan.format == "arrow":
            with pa.ipc.new_file(sink, batch.schema) as writer:
                writer.write_batch(batch)
        else:
            import pyarrow.parquet

            pyarrow.parquet.write_table(pa.Table.from_batches([batch]), sink)
    return shard


def _columns(plan: ShardPlan, shard: int) -> dict[str, AnyArray]:
    rows = plan.rows(shard)
    first_campaign = shard * plan.shard_size // HORIZON
    log = simulate_log(
        AUCTIONS[plan.env_id],
        campaigns=-(-rows // HORIZON),
        seed=np.random.SeedSequence(plan.seed, spawn_key=(shard,)),
    )
    contexts = log.observations[:, :-1].reshape(-1, 2)
    actions = log.actions.reshape(-1)
    columns: dict[str, Any] = {
        "x": contexts[:, 0],
        "c": contexts[:, 1],
        "action": actions,
        "bid": np.asarray(log.bids, dtype=np.float32)[actions],
        "reward": log.rewards.reshape(-1),
        "propensity": log.propensities.reshape(-1),
        "click": log.clicks.reshape(-1),
        "campaign": first_campaign + np.arange(len(actions)) // HORIZON,
    }
    return {
        name: np.ascontiguousarray(columns[name][:rows], dtype=dtype)
        for name, dtype in COLUMNS.items()
    }


@contextlib.contextmanager
def _whole_or_absent(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A hidden file that becomes ``path`` if the block succeeds."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        if error.errno is None:
            raise
        # The error of a full disk names no path.
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    finally:
        part.unlink(missing_ok=True)
