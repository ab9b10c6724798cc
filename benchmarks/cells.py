"""Cells: one algorithm on one log with one seed, trained and measured.

A finished cell is a small JSON file named by the digest of everything it depends on.
It is written beside and renamed, so it is there whole or not at all, and is never
computed twice.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import logging
import multiprocessing
import os
import pathlib
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from tqdm.auto import tqdm

__all__ = ["Cell", "digest_of", "finished", "fit_quietly", "run_cells"]

AnyCell = TypeVar("AnyCell", bound="HasDigest")

# Part of every digest: raise it when training or measuring changes.
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Cell:
    """What to run.

    Args:
        algorithm: a name in ``benchmarks.algorithms.ALGORITHMS``.
        env: Gymnasium id of the auction.
        fraction: share of the log of 100,000 impressions.
        seed: draws the log, its subsample and the training.
        steps: gradient steps.
        tuned: hyperparameters beyond the shared settings, as sorted pairs.
    """

    algorithm: str
    env: str = "BidClick-v0"
    fraction: float = 1.0
    seed: int = 0
    steps: int = 5000
    tuned: tuple[tuple[str, float], ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        """All that the result depends on, as JSON types."""
        from .algorithms import ALGORITHMS

        make = ALGORITHMS[self.algorithm].make
        config = None
        if make is not None:
            made = make(self.steps, **dict(self.tuned))
            config = {"type": made.get_type(), "params": made.serialize_to_dict()}
        return {"format": FORMAT, "config": config, **dataclasses.asdict(self)}

    @property
    def digest(self) -> str:
        """Name of the cell's file."""
        return digest_of(self.settings)


def digest_of(settings: dict[str, Any]) -> str:
    """A short name for all that a result depends on."""
    text = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class HasDigest(Protocol):
    """Anything that can be run once and named by what it depends on."""

    @property
    def digest(self) -> str:
        """Name of its file."""


def finished(cell: HasDigest, folder: pathlib.Path) -> list[dict[str, Any]] | None:
    """The rows of a cell that was run before, or ``None``."""
    path = folder / f"{cell.digest}.json"
    if not path.exists():
        return None
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"]
    return rows


def run_cells(
    cells: Iterable[AnyCell],
    folder: pathlib.Path,
    workers: int = 2,
    run: Callable[[AnyCell], list[dict[str, Any]]] | None = None,
) -> list[dict[str, Any]]:
    """Runs the cells that are not finished yet and returns the rows of all.

    Interrupting keeps what is finished; the same call goes on from there.

    Args:
        cells: what to run.
        folder: where finished cells are kept; made if missing.
        workers: processes, each on one thread.
        run: what turns a cell into rows; training and measuring by default.

    Returns:
        rows in the order of ``cells``.
    """
    cells = list(cells)
    folder.mkdir(parents=True, exist_ok=True)
    todo = [cell for cell in cells if finished(cell, folder) is None]
    with tqdm(total=len(cells), initial=len(cells) - len(todo), unit="cell") as bar:
        if todo:
            _run_in_processes(todo, folder, workers, run, bar)
    rows = [finished(cell, folder) for cell in cells]
    return [row for cell_rows in rows for row in cell_rows or []]


def _run_in_processes(
    todo: Sequence[HasDigest],
    folder: pathlib.Path,
    workers: int,
    run: Callable[[Any], list[dict[str, Any]]] | None,
    bar: Any,
) -> None:
    # Spawned: torch's threads do not survive a fork.
    pool = concurrent.futures.ProcessPoolExecutor(
        max_workers=workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
    )
    futures = {pool.submit(_run_one, cell, folder, run): cell for cell in todo}
    try:
        for future in concurrent.futures.as_completed(futures):
            future.result()
            bar.set_postfix_str(_title(futures[future]))
            bar.update()
    except BaseException as error:
        for future in futures:
            future.cancel()
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)
        if isinstance(error, KeyboardInterrupt):
            bar.close()
            done = sum(finished(cell, folder) is not None for cell in todo)
            raise SystemExit(
                f"interrupted; {done} of {len(todo)} open cells are done and kept, "
                "the same command goes on from there"
            ) from None
        raise
    pool.shutdown()


def _start_worker() -> None:
    # Ctrl-C is for the parent, which ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    torch.set_num_threads(1)
    quiet_logs()


def quiet_logs() -> None:
    """Leaves only warnings of d3rlpy's log."""
    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR)
    )


def _title(cell: Any) -> str:
    return str(getattr(cell, "algorithm", None) or getattr(cell, "variant", ""))


def _run_one(
    cell: Any, folder: pathlib.Path, run: Callable[[Any], list[dict[str, Any]]] | None
) -> None:
    rows = (run or train_and_measure)(cell)
    path = folder / f"{cell.digest}.json"
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    beside.write_text(
        json.dumps({"cell": dataclasses.asdict(cell), "rows": rows}, indent=1)
    )
    os.replace(beside, path)


def fit_quietly(
    model: Any,
    dataset: Any,
    steps: int,
    monitor: Callable[..., None] | None = None,
    epochs: int = 5,
) -> None:
    """Trains without output or logs; calls the monitor after each epoch."""
    import d3rlpy

    with contextlib.redirect_stdout(None):
        model.fit(
            dataset,
            n_steps=steps,
            n_steps_per_epoch=max(1, steps // epochs),
            show_progress=False,
            logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
            epoch_callback=monitor,
        )


def train_and_measure(cell: Cell) -> list[dict[str, Any]]:
    """Draws the log, trains, and measures; one row, or two for behaviour cloning."""
    import d3rlpy
    import gymnasium as gym

    from bidclick_gym import simulate_log
    from bidclick_gym.dataset import to_replay_buffer
    from bidclick_gym.logs import subsample_impressions

    from .algorithms import ALGORITHMS
    from .click_model import ClickModel
    from .measures import ConstraintMonitor, measure

    entry = ALGORITHMS[cell.algorithm]
    auction = gym.make(cell.env).unwrapped.auction  # type: ignore[attr-defined]
    log = simulate_log(auction, seed=cell.seed)
    d3rlpy.seed(cell.seed)
    start = time.perf_counter()
    if entry.make is None:
        kept = subsample_impressions(log, cell.fraction, cell.seed)
        model: Any = ClickModel(auction).fit(log, kept)
        monitor = ConstraintMonitor(auction, None)
    else:
        dataset = to_replay_buffer(
            log, cell.fraction, cell.seed, continuous=entry.continuous
        )
        model = entry.make(cell.steps, **dict(cell.tuned)).create(device="cpu:0")
        monitor = ConstraintMonitor(auction, entry.counted_shape)
        start = time.perf_counter()
        fit_quietly(model, dataset, cell.steps, monitor)
    seconds = time.perf_counter() - start
    row = {
        "algorithm": entry.name,
        "constraint": entry.constraint,
        "env": cell.env,
        "fraction": cell.fraction,
        "seed": cell.seed,
        "steps": cell.steps,
    }
    return [
        {**row, **measured, "train_seconds": seconds}
        for measured in measure(model, auction, monitor.errors, entry.name)
    ]
