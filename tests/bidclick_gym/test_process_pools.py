"""An interrupt never leaves a pool that cannot be shut down."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import operator
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from bidclick_gym.process_pools import completed

pytestmark = pytest.mark.skipif(os.name == "nt", reason="interrupts as a terminal does")


def make_pool() -> concurrent.futures.ProcessPoolExecutor:
    return concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))


@pytest.fixture(autouse=True)
def interrupts_interrupt() -> Iterator[None]:
    """A shell that starts the tests in the background has Ctrl-C ignored in them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_every_task_comes_back_once() -> None:
    with make_pool() as pool:
        found = {t: f.result() for t, f in completed(pool, operator.neg, range(50), 2)}
    assert found == {i: -i for i in range(50)}


def test_a_failing_task_fails_alone() -> None:
    with make_pool() as pool:
        futures = dict(completed(pool, operator.neg, [1, "two", 3], 2))
    assert futures[1].result() == -1
    assert futures[3].result() == -3
    assert isinstance(futures["two"].exception(), TypeError)


@pytest.mark.parametrize("after", [0.0, 0.3, 1.0])
def test_an_interrupt_comes_between_two_results(after: float) -> None:
    before = signal.getsignal(signal.SIGINT)
    pool = make_pool()
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    try:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            timer.start()
            for _ in completed(pool, time.sleep, [0.001] * 20_000, 2):
                pass
    finally:
        timer.join()
        pool.shutdown(wait=True, cancel_futures=True)
    assert signal.getsignal(signal.SIGINT) is before
