"""Logs too long for memory: files of many campaigns, written by many processes."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from .._checks import check_choice, check_integer
from .._optional import import_pyarrow, needed
from .log import HORIZON
from .shard_files import (
    AUCTIONS,
    FORMATS,
    MOST_ROWS,
    MOST_SHARDS,
    ShardPlan,
    claim,
    package_version,
    write_shard,
)


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
    the same folder, says what made them and lists all that there will be.  Several calls
    for the same log may write to a folder at once; each writes whatever it finds missing.

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
    if workers is None:
        workers = _cores()
    check_integer("workers", workers, 1)
    if "\0" in str(out):
        raise ValueError(f"out must be a folder without null characters, got {out!r}")
    folder = pathlib.Path(out)
    import_pyarrow()
    plan = ShardPlan(
        env_id, int(impressions), int(seed), int(shard_size), format, package_version()
    )
    claim(folder, plan)
    missing = [i for i in range(plan.shards) if not (folder / plan.file(i)).exists()]
    done = plan.impressions - sum(map(plan.rows, missing))
    with _progress_bar(progress, plan.impressions, done) as advance:
        for shard in _written(plan, folder, missing, min(workers, len(missing))):
            advance(plan.rows(shard))
    return folder


def _written(
    plan: ShardPlan, folder: pathlib.Path, missing: list[int], workers: int
) -> Iterator[int]:
    """Writes shards and yields their numbers as they become whole."""
    if workers <= 1:
        for shard in missing:
            yield write_shard(plan, folder, shard)
        return
    with needed("joblib", "tables"):
        import joblib
    run = joblib.delayed(write_shard)
    parallel = joblib.Parallel(
        workers,
        batch_size=1,
        return_as="generator_unordered",
        initializer=_leave_with_parent,
        initargs=(os.getpid(),),
    )
    with _interrupts_for_us_alone():
        written = parallel(run(plan, folder, shard) for shard in missing)
    yield from written


@contextlib.contextmanager
def _interrupts_for_us_alone() -> Iterator[None]:
    """Processes started here do not see Ctrl-C: this process ends them by itself."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # A blocked signal stays blocked in a child, also while it still imports.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave_with_parent(parent: int) -> None:
    """Ends this worker soon after its parent was killed outright."""
    # What blocked it at the start may be undone by Python's own trackers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _progress_bar(show: bool, total: int, done: int) -> Iterator[Callable[[int], Any]]:
    try:
        if not show:
            raise ImportError
        from tqdm import tqdm
    except ImportError:
        yield lambda rows: None
        return
    with tqdm(total=total, initial=done, unit=" impressions", unit_scale=True) as bar:
        yield bar.update


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
