"""Damaged, cut and edited tables: one error that names the file, or the rows it has."""

from __future__ import annotations

import pathlib
import pickle
import struct
import subprocess
import sys

import pyarrow as pa
import pytest

from icac_algo import ColumnarReplayBuffer
from icac_algo.data import DamagedFileError

SCRIPT = pathlib.Path(__file__).with_name("damage.py")
sys.path.insert(0, str(SCRIPT.parent))
from damage import FORMATS, ROWS, write_table  # noqa: E402


def try_seeds(folder: pathlib.Path, name: str, first: int, last: int) -> list[str]:
    """What came of each; a process that is killed fails the test."""
    command = [sys.executable, str(SCRIPT), str(folder), name, str(first), str(last)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, (done.stdout[-200:], done.stderr[-2000:])
    lines = done.stdout.splitlines()
    assert len(lines) == last - first
    for line in lines:
        _, how, what = line.split(" ", 2)
        if what.startswith("read "):
            # Text has no length of its own.
            assert what == f"read {ROWS}" or ".csv" in name, line
        else:
            assert what in ("DamagedFileError", "ValueError"), line
            assert how != "cut" or what == "DamagedFileError" or ".csv" in name, line
    return lines


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_three_hundred_damaged_files(name: str, tmp_path: pathlib.Path) -> None:
    lines = try_seeds(tmp_path, name, 0, 300)
    assert sum("DamagedFileError" in line for line in lines) > 60


def test_a_few_damaged_files(tmp_path: pathlib.Path) -> None:
    for name in (".parquet", ".arrow", ".csv.gz"):
        write_table(tmp_path / f"whole{name}")
    command = "import sys; sys.path.insert(0, sys.argv.pop(1)); import damage\n"
    command += "for name in ('.parquet', '.arrow', '.csv.gz'):\n"
    command += "    sys.argv[2:] = [name, '1000', '1012']; damage.main()"
    done = subprocess.run(
        [sys.executable, "-c", command, str(SCRIPT.parent), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ends = {line.split(" ", 2)[2] for line in done.stdout.splitlines()}
    assert ends <= {"DamagedFileError", "ValueError", f"read {ROWS}"}


def edited(path: pathlib.Path, old: int, new: int) -> None:
    content = path.read_bytes()
    assert struct.pack("<q", old) in content
    path.write_bytes(content.replace(struct.pack("<q", old), struct.pack("<q", new)))


@pytest.mark.parametrize("rows", [0, 100, 332, 334, 336, 2**33, 2**62, -1])
def test_an_arrow_file_with_another_number_of_rows(
    rows: int, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "log.arrow"
    table = pa.table({"x": [0.5] * 333, "a": [0] * 333, "r": [1.0] * 333})
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    edited(path, 333, rows)
    with pytest.raises(ValueError, match=r"log\.arrow|has no rows"):
        ColumnarReplayBuffer.from_parquet(
            path, observation="x", action="a", reward="r", show_progress=False
        )


def test_an_arrow_column_that_lies_in_another(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "log.arrow"
    table = pa.table({"x": [0.5] * 8, "a": [0] * 8, "r": [1.0] * 8})
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    edited(path, 128, 0)  # The place of r's values among all: now that of x's.
    with pytest.raises(DamagedFileError, match=r"log\.arrow .* two columns share values"):
        ColumnarReplayBuffer.from_parquet(
            path, observation="x", action="a", reward="r", show_progress=False
        )


def test_the_error_travels_between_processes(tmp_path: pathlib.Path) -> None:
    error = pickle.loads(pickle.dumps(DamagedFileError(tmp_path / "a", "cut")))
    assert (error.path, error.reason) == (tmp_path / "a", "cut")
    assert str(error) == f"{tmp_path / 'a'} cannot be read as a table: cut"
