"""Which files a log is: their order, each once, and what their folders say."""

from __future__ import annotations

import os
import pathlib
import re
import socket
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icac_algo import ColumnarReplayBuffer
from icac_algo.data.files.folders import find_files

MAPPING: dict[str, Any] = {"observation": "x", "action": "a", "reward": "r"}


def write(path: pathlib.Path, number: float = 0.0, **columns: Any) -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"x": [number], "a": [0], "r": [1.0], **columns}), path)
    return path


def order(folder: Any, cache: pathlib.Path, **arguments: Any) -> list[list[float]]:
    buffer = ColumnarReplayBuffer.from_parquet(
        folder, cache_folder=cache, show_progress=False, **{**MAPPING, **arguments}
    )
    return buffer.to_arrays()["observations"].tolist()


def test_numbers_in_names_are_numbers(tmp_path: pathlib.Path) -> None:
    for i in (0, 1, 2, 9, 10, 11, 100):
        write(tmp_path / "log" / f"part-{i}.parquet", i)
    found = order(tmp_path / "log", tmp_path / "cache")
    assert found == [[0], [1], [2], [9], [10], [11], [100]]


@settings(max_examples=50, deadline=None)
@given(numbers=st.sets(st.integers(0, 10**12), min_size=1, max_size=12))
def test_any_numbers_in_any_names(
    numbers: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("log")
    for number in numbers:
        (folder / f"a{number}b-{number % 7:04}.csv").touch()
    found = [
        int(re.findall(r"a(\d+)b", p.name)[0]) for p, _ in find_files(folder, (0, 1))
    ]
    assert found == sorted(numbers)


def test_folders_of_keys_are_columns_in_natural_order(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "log"
    for day in (1, 9, 10):
        for part in (2, 10):
            write(
                folder / f"day={day}" / "site=%C3%A9" / f"{part}.parquet",
                day + part / 100,
            )
    write(folder / "_temporary" / "0.parquet")
    (folder / "_SUCCESS").touch()
    write(folder / ".hidden.parquet")
    (folder / "notes").mkdir()
    found = order(folder, tmp_path, observation=["day", "x"], episode="site")
    assert found == [[d, d + p / 100] for d in (1, 9, 10) for p in (2, 10)]
    assert len(order(folder, tmp_path, episode="day")) == 6
    with pytest.raises(ValueError, match="column 'site' must hold numbers, not string"):
        order(folder, tmp_path, observation=["site"])
    write(folder / "day=11" / "site=a" / "1.parquet", day=[11])
    with pytest.raises(ValueError, match=r"day=11.*1\.parquet has two columns 'day'"):
        order(folder, tmp_path, observation=["day"])


def test_a_key_without_a_value_is_refused(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "log" / "day=__HIVE_DEFAULT_PARTITION__" / "1.parquet")
    with pytest.raises(ValueError, match="lacks a value of 'day'"):
        order(tmp_path / "log", tmp_path, episode="day")


def test_other_subfolders_with_tables_are_refused(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "log" / "1.parquet")
    write(tmp_path / "log" / "older" / "deep" / "2.parquet")
    with pytest.raises(ValueError, match="the folder 'older', which holds tables"):
        order(tmp_path / "log", tmp_path)


def test_a_folder_with_the_name_of_a_table(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "log.parquet" / "part-0.parquet", 3.0)
    assert order(tmp_path / "log.parquet", tmp_path) == [[3.0]]
    with pytest.raises(ValueError, match=r"the folder 'log\.parquet'"):
        order(tmp_path, tmp_path / "cache")
    (tmp_path / "log.parquet" / "part-0.parquet").unlink()
    with pytest.raises(ValueError, match=r"the folder 'log\.parquet'"):
        order(tmp_path, tmp_path / "cache")


def test_a_delta_table_is_refused(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "log" / "1.parquet")
    (tmp_path / "log" / "_delta_log").mkdir()
    with pytest.raises(ValueError, match="is a Delta table"):
        order(tmp_path / "log", tmp_path)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_one_file_under_two_names_is_refused(link: Any, tmp_path: pathlib.Path) -> None:
    first = write(tmp_path / "log" / "1.parquet")
    link(first, tmp_path / "log" / "2.parquet")
    with pytest.raises(
        ValueError, match=r"1\.parquet and .*2\.parquet, which are the same"
    ):
        order(tmp_path / "log", tmp_path)
    with pytest.raises(ValueError, match="the same"):
        order([first, tmp_path / "log" / ".." / "log" / "1.parquet"], tmp_path)


def test_links_are_followed(tmp_path: pathlib.Path) -> None:
    kept = write(tmp_path / "blobs" / "1.parquet", 5.0).rename(tmp_path / "blobs" / "1")
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "1.parquet").symlink_to(kept)
    assert order(tmp_path / "log", tmp_path) == [[5.0]]
    (tmp_path / "log" / "2.parquet").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"2\.parquet"):
        order(tmp_path / "log", tmp_path)


def test_folders_that_lead_back_are_refused(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "log" / "1.parquet")
    (tmp_path / "log" / "day=1").symlink_to(tmp_path / "log")
    with pytest.raises(ValueError, match="day=1 leads back to"):
        order(tmp_path / "log", tmp_path)


@pytest.mark.parametrize("name", ["log.parquet", "log.arrow", "log.csv", "log.csv.gz"])
def test_what_is_no_regular_file_is_refused_at_once(
    name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name} must be a regular file"):
        order(tmp_path / name, tmp_path)
    with pytest.raises(ValueError, match=f"{name} must be a regular file"):
        order(tmp_path, tmp_path)
    (tmp_path / name).unlink()
    monkeypatch.chdir(tmp_path)  # Names of sockets must be short.
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        with pytest.raises(ValueError, match=f"{name} must be a regular file"):
            order(name, tmp_path)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(ValueError, match=f"{name} must be a regular file"):
        order(name, tmp_path)


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ("", ValueError),
        ([""], ValueError),
        ("a\0.parquet", ValueError),
        (None, TypeError),
        (b"log.parquet", TypeError),
        ([None], TypeError),
        ([], ValueError),
        ("*.parquet", FileNotFoundError),
        ("~nobody/log.parquet", FileNotFoundError),
    ],
)
def test_names_that_are_none(
    files: Any, kind: type[Exception], tmp_path: pathlib.Path, monkeypatch: Any
) -> None:
    write(tmp_path / "log.parquet")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind):
        order(files, tmp_path)


def test_the_home_folder_is_known(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "log.parquet", 2.0)
    assert order("~/log.parquet", pathlib.Path("~/cache")) == [[2.0]]
    assert (tmp_path / "cache" / "tables").is_dir()
