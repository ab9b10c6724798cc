"""What a log's files were converted to: it heals, and many may convert at once."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icac_algo import ColumnarReplayBuffer

ROWS = 3000
MAPPING: dict[str, Any] = {
    "observation": ["x"],
    "action": "a",
    "reward": "r",
    "episode": "ep",
    "show_progress": False,
}


def table(rows: int = ROWS) -> pa.Table:
    steps = np.arange(rows)
    return pa.table({"x": steps / 7, "a": steps % 3, "r": steps / 3, "ep": steps // 5})


@pytest.fixture
def log(tmp_path: pathlib.Path) -> pathlib.Path:
    pq.write_table(table(), tmp_path / "log.parquet")
    return tmp_path / "log.parquet"


def check(log: pathlib.Path, cache: pathlib.Path) -> None:
    buffer = ColumnarReplayBuffer.from_parquet(log, cache_folder=cache, **MAPPING)
    arrays = buffer.to_arrays()
    assert np.array_equal(arrays["rewards"][:, 0], np.arange(ROWS) / 3)
    assert np.array_equal(arrays["observations"][:, 0], np.arange(ROWS) / 7)
    assert buffer.size() == ROWS // 5
    assert len(buffer.episodes[7].rewards) == 5


def size_of(folder: pathlib.Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def broken(cache: pathlib.Path) -> dict[str, Any]:
    """Ways to break an entry."""
    meta = next(cache.rglob("meta.json"))
    text = meta.read_text()
    rewards, ends = next(cache.rglob("rewards.npy")), next(cache.rglob("ends.npy"))
    content, last = rewards.read_bytes(), ends.read_bytes()
    other_ends = np.load(ends)
    other_ends[3] -= 1
    ways: dict[str, Any] = {
        f"meta {new[:9]!r}": lambda new=new: meta.write_text(new)
        for new in ("", "null", "[]", "{}", "3", '"a"', text[:-9], text[1:], "\0" * 99)
    }
    ways |= {
        f"{old} for {new}": lambda old=old, new=new: meta.write_text(
            text.replace(old, new, 1)
        )
        for old, new in (
            ('"rows": 3000', '"rows": 30'),
            ('"rows": 3000', '"rows": null'),
            ('"actions": [0, 2]', '"actions": [0, 9]'),
            ('"files": [', '"files": ["a", '),
            ('"values": "', '"values": "/'),
        )
    }
    ways |= {
        "meta of bytes": lambda: meta.write_bytes(b"\xff\xfe"),
        "no values": lambda: shutil.rmtree(rewards.parent),
        "no array": rewards.unlink,
        "a cut array": lambda: rewards.write_bytes(content[:-1]),
        "an empty array": lambda: rewards.write_bytes(b""),
        "a header alone": lambda: rewards.write_bytes(content[:100]),
        "another shape": lambda: np.save(rewards, np.zeros((ROWS, 2))),
        "another type": lambda: np.save(rewards, np.zeros((ROWS, 1), np.float32)),
        "objects": lambda: np.save(rewards, np.full((ROWS, 1), None), allow_pickle=True),
        "no ends": ends.unlink,
        "cut ends": lambda: ends.write_bytes(last[:-8]),
        "other ends": lambda: np.save(ends, other_ends),
        "a folder for an array": lambda: (rewards.unlink(), rewards.mkdir()),
    }
    return ways


def test_a_broken_entry_heals(log: pathlib.Path, tmp_path: pathlib.Path) -> None:
    cache = tmp_path / "cache"
    check(log, cache)
    whole = size_of(cache)
    for name in broken(cache):
        broken(cache)[name]()
        check(log, cache)
        assert size_of(cache) == whole, name


def test_an_entry_keeps_the_fingerprint(
    log: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from icac_algo.data import columns, fingerprint

    arguments = {**MAPPING, "cache_folder": tmp_path / "cache"}
    first = ColumnarReplayBuffer.from_parquet(log, **arguments)
    again = ColumnarReplayBuffer.from_parquet(log, **arguments)
    arrays = ColumnarReplayBuffer.from_arrays(**first.to_arrays())
    monkeypatch.setattr(columns.Column, "digest", None)  # It is read, not computed.
    assert fingerprint(again) == fingerprint(first)
    monkeypatch.undo()
    assert fingerprint(arrays) == fingerprint(first)


def test_an_arrow_file_is_validated_once(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from icac_algo.data.files import tables

    path = tmp_path / "log.arrow"
    with pa.ipc.new_file(str(path), table().schema) as writer:
        writer.write_table(table())
    check(path, tmp_path / "cache")
    monkeypatch.setattr(tables, "read_rows", None)
    check(path, tmp_path / "cache")


# -- several processes -----------------------------------------------------------------

# Imports once, and makes a process for every line that it reads.
CONVERTERS = """
import os, pathlib, sys
sys.path.insert(0, sys.argv[1])
from test_cache import check
for line in sys.stdin:
    word, *names = line.split()
    if word == "wait":
        print(os.waitpid(int(names[0]), 0)[1], flush=True)
    elif (pid := os.fork()) == 0:
        try:
            check(*map(pathlib.Path, names))
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    else:
        print(pid, flush=True)
"""


@pytest.fixture
def ask() -> Iterator[Callable[..., int]]:
    here = str(pathlib.Path(__file__).parent)
    command = [sys.executable, "-c", CONVERTERS, here]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def answer(*words: object) -> int:
            print(*words, file=process.stdin, flush=True)
            assert process.stdout is not None
            return int(process.stdout.readline())

        yield answer
        process.stdin.close()


@pytest.mark.slow
def test_many_convert_at_once_and_some_are_killed(
    log: pathlib.Path, tmp_path: pathlib.Path, ask: Callable[..., int]
) -> None:
    check(log, tmp_path / "other")
    whole = size_of(tmp_path / "other")
    rng = np.random.default_rng(0)
    for attempt in range(20):
        cache = tmp_path / f"cache-{attempt}"
        pids = [ask("open", log, cache) for _ in range(6)]
        for pid in pids[:3]:
            time.sleep(rng.exponential(0.01))
            os.kill(pid, signal.SIGKILL)
        assert [ask("wait", pid) for pid in pids][3:] == [0, 0, 0]
        # Whoever came first may have collected before the others were killed.
        next(cache.rglob("meta.json")).write_text("null")
        check(log, cache)
        assert size_of(cache) == whole


@pytest.mark.slow
def test_what_killed_converters_left_is_deleted(
    log: pathlib.Path, tmp_path: pathlib.Path, ask: Callable[..., int]
) -> None:
    check(log, tmp_path / "other")
    whole = size_of(tmp_path / "other")
    cache, rng = tmp_path / "cache", np.random.default_rng(1)
    for _ in range(31):
        pid = ask("open", log, cache)
        time.sleep(rng.uniform(0.0, 0.1))
        os.kill(pid, signal.SIGKILL)
        ask("wait", pid)
        for meta in cache.rglob("meta.json"):  # It was faster than the signal.
            meta.unlink()
    check(log, cache)
    assert size_of(cache) == whole
    assert not list(cache.rglob(".*"))
