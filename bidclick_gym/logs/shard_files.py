"""What the shards of a log hold, and the folder that they are written to."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import pathlib
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be deleted
    fcntl = None  # type: ignore[assignment]

from .._arrays import AnyArray
from .._optional import import_pyarrow
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


def write_shard(plan: ShardPlan, folder: pathlib.Path, shard: int) -> int:
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


def claim(folder: pathlib.Path, plan: ShardPlan) -> None:
    """Makes the folder this plan's; raises if it holds anything else.

    Deletes what killed writers left in it.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"out must be a folder, got the file {str(folder)!r}")
    folder.mkdir(parents=True, exist_ok=True)
    for part in folder.glob(".*.part"):
        with contextlib.suppress(OSError), part.open("rb+") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()
    path = folder / MANIFEST
    if not path.exists():
        found = sorted(p.name for p in folder.iterdir() if p.suffix != ".part")
        if found:
            raise FileExistsError(
                f"out must be an empty folder or one with a {MANIFEST} of shards, got "
                f"{str(folder)!r} with {found[0]!r} in it"
            )
        # Of two calls at once the first decides what the folder holds.
        with (
            contextlib.suppress(FileExistsError),
            _whole_or_absent(path, _first) as part,
        ):
            part.write_text(json.dumps(plan.manifest(), indent=1) + "\n")
    try:
        held = json.loads(path.read_text())
        held = {field: held[field] for field in dataclasses.asdict(plan)}
    except (ValueError, KeyError, TypeError):
        raise FileExistsError(
            f"out must be an empty folder or one with a {MANIFEST} of shards, got "
            f"{str(folder)!r}, whose {MANIFEST} is of something else"
        ) from None
    for field, value in dataclasses.asdict(plan).items():
        if held[field] != value:
            raise ValueError(
                f"{field} must be {held[field]!r}, which made the shards in "
                f"{str(folder)!r}, got {value!r}; choose another folder for another log"
            )


@contextlib.contextmanager
def _whole_or_absent(
    path: pathlib.Path, publish: Callable[[Any, Any], None] = os.replace
) -> Iterator[pathlib.Path]:
    """A file of another name, which no other writer uses, that becomes ``path``."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        with part.open("wb") as held:
            if fcntl is not None:
                with contextlib.suppress(OSError):  # Not every file system has locks.
                    fcntl.flock(held, fcntl.LOCK_EX)
            yield part
            os.fsync(held.fileno())
            publish(part, path)
    except OSError as error:
        if error.errno is None:
            raise
        # The error of a full disk names no path.
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    finally:
        part.unlink(missing_ok=True)


def _first(part: pathlib.Path, path: pathlib.Path) -> None:
    """Gives a file its name unless another has it: ``FileExistsError`` then."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # Not every file system has links.
        os.replace(part, path)


def package_version() -> str:
    """Version of this package as installed, or ``"unknown"``."""
    try:
        return importlib.metadata.version("bidclick-icac")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
