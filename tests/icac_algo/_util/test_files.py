"""Files and folders that are written whole or not at all; what killed writers leave."""

from __future__ import annotations

import pathlib
import signal
import subprocess
import sys

import pytest

from icac_algo._util import files
from icac_algo._util.files import collect, locked_folder, replaced, write_whole


def test_what_was_there_stays_until_the_block_succeeds(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(FileNotFoundError), replaced(path) as new:
        new.with_name("b").write_bytes(b"of another name")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with replaced(path) as new:
        new.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_none_or_an_empty_one(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a"
    for content in ("first", "second"):
        try:
            with replaced(path) as new:
                new.mkdir()
                (new / "file").write_text(content)
        except OSError:
            assert content == "second"
    assert (path / "file").read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import importlib.util, os, pathlib, signal, sys
spec = importlib.util.spec_from_file_location("files", sys.argv[3])
files = importlib.util.module_from_spec(spec)
spec.loader.exec_module(files)
path, calls = pathlib.Path(sys.argv[1]), int(sys.argv[2])
count = 0

def counted(name):
    def call(*args, **kwargs):
        global count
        count += 1
        if count > calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return real[name](*args, **kwargs)
    return call

names = ["mkdir", "open", "write", "fsync", "replace", "unlink", "rmdir", "scandir"]
real = {name: getattr(os, name) for name in names}
for name in names:
    setattr(os, name, counted(name))
files.write_whole(path, b"new" * 1000)
print(count)
"""


def test_a_kill_at_any_call_leaves_the_old_or_the_new_one(
    tmp_path: pathlib.Path,
) -> None:
    path = tmp_path / "a"
    seen = set()
    for calls in range(40):
        path.write_bytes(b"old")
        command = [sys.executable, "-c", KILLED, str(path), str(calls), files.__file__]
        ended = subprocess.run(command, capture_output=True, check=False)
        assert path.read_bytes() in (b"old", b"new" * 1000)
        seen.add(path.read_bytes())
        if ended.returncode == 0:
            break
        assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert ended.returncode == 0
    assert len(seen) == 2
    write_whole(path, b"next")
    assert list(tmp_path.iterdir()) == [path]


def test_what_somebody_still_writes_is_not_collected(tmp_path: pathlib.Path) -> None:
    with replaced(tmp_path / "a") as slow:
        slow.write_text("slow")
        write_whole(tmp_path / "b", b"fast")
        with locked_folder(tmp_path, "c-") as kept:
            collect(tmp_path, "c-")
            assert kept.exists()
        collect(tmp_path, "c-", lambda name: name == kept.name)
        assert kept.exists()
        collect(tmp_path, "c-")
        assert not kept.exists()
    assert (tmp_path / "a").read_text() == "slow"


def test_a_folder_that_was_half_collected_is_collected(tmp_path: pathlib.Path) -> None:
    with locked_folder(tmp_path, ".icac-") as full:
        (full / "deep").mkdir()
        (full / "deep" / "file").touch()
    (tmp_path / ".icac-empty").mkdir()
    (tmp_path / ".icac-mine").mkdir()
    (tmp_path / ".icac-mine" / "notes").touch()  # Nothing of ours.
    write_whole(tmp_path / "a", b"")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".icac-mine", "a"]
