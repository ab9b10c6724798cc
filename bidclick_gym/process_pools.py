"""Results of a process pool as they come, whenever Ctrl-C comes.

``concurrent.futures.as_completed`` holds the locks of all futures for a moment; an
interrupt in that moment leaves one locked, and shutting the pool down waits for it
forever.  Here an interrupt never breaks into the bookkeeping: it waits in the queue that
results come through.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import queue
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, TypeVar

__all__ = ["completed"]

Task = TypeVar("Task")
#: Submitted and not done, for each worker: enough that none waits for the next.
_AHEAD = 2


def completed(
    pool: concurrent.futures.ProcessPoolExecutor,
    run: Callable[[Any], Any],
    tasks: Iterable[Task],
    workers: int,
) -> Generator[tuple[Task, concurrent.futures.Future[Any]], None, None]:
    """Runs ``run(task)`` for every task; yields tasks with their futures as they end.

    Args:
        pool: where to run.
        run: a function that can be pickled.
        tasks: taken one by one, as workers become free.
        workers: of the pool.

    Raises:
        KeyboardInterrupt: Ctrl-C came, between two results.
    """
    done: queue.SimpleQueue[concurrent.futures.Future[Any] | None] = queue.SimpleQueue()
    pending: dict[concurrent.futures.Future[Any], Task] = {}
    remaining = iter(tasks)

    def submit(count: int) -> None:
        with _interrupts_wait():
            for task in itertools.islice(remaining, count):
                future = pool.submit(run, task)
                pending[future] = task
                future.add_done_callback(done.put)

    with _interrupts_go_into(done):
        submit(_AHEAD * workers)
        while pending:
            future = done.get()
            if future is None:
                raise KeyboardInterrupt
            yield pending.pop(future), future
            submit(1)


@contextlib.contextmanager
def _interrupts_go_into(done: queue.SimpleQueue[Any]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Putting is the one thing that a signal handler may safely do with a queue.
    before = signal.signal(signal.SIGINT, lambda *_: done.put(None))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Blocks Ctrl-C; also for the processes that are started meanwhile, for good.

    It reaches the whole process group; the parent alone decides what it means.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
