"""Runs cells, each once, on processes or on a Ray cluster.

A finished cell is a small JSON file named by the digest of everything it depends on.
It is written beside and renamed, so it is there whole or not at all, and is never
computed twice: kill the sweep, a worker or a node, and the same command goes on.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import pathlib
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError
from tqdm.auto import tqdm

from bidclick_gym.logs.shards import leave_with_parent

from .cell import Cell
from .files import write_text
from .rows import Rows

Run = Callable[[Cell], Rows]


class BrokenCellsError(SystemExit):
    """Some cells failed; all others are finished and kept."""

    def __init__(self, failures: Sequence[tuple[Cell, str]], finished: int, total: int):
        self.failures = tuple(failures)
        self.finished, self.total = finished, total
        parts = [f"{cell}\n{text}" for cell, text in failures]
        parts.append(
            f"{len(failures)} of {total} cells failed (tracebacks above); {finished} are "
            "done and kept, the same command tries the rest again"
        )
        # A text as the code of SystemExit is printed, and the process ends with 1.
        super().__init__("\n\n".join(parts))


def finished(cell: Cell, folder: pathlib.Path) -> Rows | None:
    """The rows of a cell that was run before, or ``None``."""
    path = folder / f"{cell.digest}.json"
    if not path.exists():
        return None
    rows: Rows = json.loads(path.read_text())["rows"]
    return rows


def run_cells(
    cells: Iterable[Cell],
    folder: pathlib.Path,
    workers: int,
    run: Run,
    ray_address: str | None = None,
) -> Rows:
    """Runs the cells that are not finished yet and returns the rows of all.

    Interrupting keeps what is finished; the same call goes on from there.  Cells run on
    processes of one thread each, or on Ray.  Cells that fail are raised after all others
    were run; a finished cell that cannot be kept, as on a full disk, ends the sweep.
    """
    cells = list(cells)
    folder.mkdir(parents=True, exist_ok=True)
    todo = [cell for cell in cells if finished(cell, folder) is None]
    failures: list[tuple[Cell, str]] = []
    with tqdm(total=len(cells), initial=len(cells) - len(todo), unit="cell") as bar:
        outcomes = (
            _on_processes(todo, workers, run)
            if ray_address is None
            else _on_ray(todo, ray_address, run)
        )
        try:
            # Rows travel to this process, the only one that writes: a cluster's nodes
            # need not share its disk.
            for cell, rows, error in outcomes:
                if rows is None:
                    failures.append((cell, error))
                    tqdm.write(f"failed: {cell}")
                else:
                    _keep_or_stop(cell, rows, folder, len(cells))
                bar.set_postfix_str(getattr(cell, "learner", ""))
                bar.update()
        except KeyboardInterrupt:
            done = sum(finished(cell, folder) is not None for cell in todo)
            bar.close()
            raise SystemExit(
                f"interrupted; {done} of {len(todo)} open cells are done and kept, "
                "the same command goes on from there"
            ) from None
        finally:
            outcomes.close()
    kept = [finished(cell, folder) for cell in cells]
    if failures:
        done = sum(cell_rows is not None for cell_rows in kept)
        raise BrokenCellsError(failures, done, len(cells))
    return [row for cell_rows in kept for row in cell_rows or []]


def keep(cell: Cell, rows: Rows, folder: pathlib.Path) -> None:
    """Writes the rows of a finished cell, whole or not at all."""
    path = folder / f"{cell.digest}.json"
    content = {"cell": dataclasses.asdict(cell), "rows": rows}
    write_text(path, json.dumps(content, indent=1))


def _keep_or_stop(cell: Cell, rows: Rows, folder: pathlib.Path, total: int) -> None:
    try:
        keep(cell, rows, folder)
    except OSError as error:
        # To go on would be to lose one result after the other.
        done = len(list(folder.glob("*.json")))
        raise SystemExit(
            f"a finished cell cannot be written: {error}\n{done} cells are kept in "
            f"{folder} ({total} were asked for); the same command goes on from there"
        ) from error


# -- where cells run ---------------------------------------------------------

#: A cell, and its rows or else the traceback.
Outcome = tuple[Cell, Rows | None, str]


def _attempt(run: Run, cell: Cell) -> Outcome:
    import torch

    torch.set_num_threads(1)
    quiet_logs()
    try:
        return cell, run(cell), ""
    except Exception:
        return cell, None, traceback.format_exc()


def _on_processes(
    todo: Sequence[Cell], workers: int, run: Run
) -> Generator[Outcome, None, None]:
    # Closed early, as by Ctrl-C, it ends its workers in the middle of their cells.
    parallel = joblib.Parallel(
        workers,
        batch_size=1,
        return_as="generator_unordered",
        initializer=leave_with_parent,
        initargs=(os.getpid(),),
    )
    attempt = joblib.delayed(_attempt)
    try:
        with warnings.catch_warnings():
            # Of what is cancelled the sweep speaks itself.
            warnings.filterwarnings("ignore", ".*have been cancelled")
            yield from parallel(attempt(run, cell) for cell in todo)
    except TerminatedWorkerError:
        raise SystemExit(
            "a worker process was killed (out of memory?); finished cells are kept, the "
            "same command goes on from there"
        ) from None


def _on_ray(
    todo: Sequence[Cell], address: str, run: Run
) -> Generator[Outcome, None, None]:
    if not todo:
        return
    try:
        import ray
    except ImportError:
        raise SystemExit(
            "--ray needs the package ray: pip install -c constraints.txt "
            "--group benchmarks"
        ) from None
    was_running = ray.is_initialized()
    if not was_running:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)

    # A node that dies takes its cells along; Ray starts them again on another.
    @ray.remote(num_cpus=1, max_retries=10)
    def attempt(cell: Cell) -> Outcome:
        return _attempt(run, cell)

    try:
        pending = {attempt.remote(cell): cell for cell in todo}
        while pending:
            (ready, *_), _ = ray.wait(list(pending), num_returns=1)
            cell = pending.pop(ready)
            try:
                yield ray.get(ready)
            except ray.exceptions.RayError:
                yield cell, None, traceback.format_exc()
    finally:
        if not was_running:
            ray.shutdown()


def quiet_logs() -> None:
    """Leaves only errors of d3rlpy's log."""
    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR)
    )
