"""What memory a process takes: its anonymous pages, not those mapped from files."""

from __future__ import annotations

import gc
import pathlib
import threading
from typing import Any


def anonymous_bytes() -> int:
    """Anonymous memory of this process; pages mapped from files are not in it."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no RssAnon; this measurement needs Linux")


class Memory(threading.Thread):
    """Above what there was before a ``with`` block, sampled every ten milliseconds."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = self.kept_bytes = 0
        self._done = threading.Event()

    def __enter__(self) -> Memory:
        gc.collect()
        self._before = anonymous_bytes()
        self.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._done.set()
        self.join()

    def run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._done.wait(0.01)
            self.kept_bytes = anonymous_bytes() - self._before
            self.peak_bytes = max(self.peak_bytes, self.kept_bytes)
