"""Whatever cannot be written says so, leaves nothing half-written and keeps what was.

The disks are real: a small file system in memory that is filled to the last page, or
mounted again for reading only.  Where mounting is refused, these tests are skipped.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import json
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import d3rlpy
import gymnasium as gym
import minari
import numpy as np
import pytest
from matplotlib.figure import Figure

import benchmarks
import bidclick_gym
from benchmarks.__main__ import main as benchmarks_main
from benchmarks.auction.measures import COLUMNS
from benchmarks.engine import Origin, run_cells
from benchmarks.engine.files import write_bytes, write_text
from benchmarks.engine.pictures import write_png
from benchmarks.engine.rows import read_rows, write_rows
from benchmarks.engine.sweep import finished, keep
from bidclick_gym.logs import write_shards
from icac_algo import ColumnarReplayBuffer, ConstraintAwareQConfig
from icac_algo.algos import save_checkpoint
from icac_algo.data.files import cache
from icac_algo.export import save, save_graph
from icac_algo.sb3 import ConstraintAwareDQN

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
from toy_cells import run_toy, toy_cell  # noqa: E402

# Minari warns of every field that was left out.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:minari.*")

PAGE = 4096
ROWS = 6000


class Disk:
    """A file system of 24 MB that can be filled and write-protected."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, left: int) -> None:
        """Leaves ``left`` bytes, whole pages."""
        block = bytes(PAGE)
        with self._ballast.open("wb", buffering=0) as file:
            with contextlib.suppress(OSError):
                while True:
                    file.write(256 * block)
            with contextlib.suppress(OSError):
                while True:
                    file.write(block)
            file.truncate(file.tell() - left)

    def free(self) -> None:
        self._ballast.unlink()

    def protect(self) -> None:
        subprocess.run(["mount", "-o", "remount,ro", self.folder], check=True)

    def unprotect(self) -> None:
        subprocess.run(["mount", "-o", "remount,rw", self.folder], check=True)

    def files(self) -> dict[str, bytes]:
        """What is on it; no hidden file or folder may be."""
        found = [p for p in self.folder.rglob("*") if p != self._ballast]
        assert not [p for p in found if p.name.startswith(".")], found
        return {
            str(p.relative_to(self.folder)): p.read_bytes() for p in found if p.is_file()
        }


@pytest.fixture
def disk(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a file system")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    yield Disk(folder)
    monkeypatch.undo()
    subprocess.run(["umount", "-l", str(folder)], check=True)


# -- everything that writes --------------------------------------------------------


def buffer(version: int = 0, episodes: bool = False) -> ColumnarReplayBuffer:
    rng = np.random.default_rng(version)
    ends = np.arange(ROWS) % 4 == 3 if episodes else None
    return ColumnarReplayBuffer.from_arrays(
        rng.random((ROWS, 2)).astype(np.float32),
        rng.integers(0, 3, ROWS),
        rng.random(ROWS).astype(np.float32),
        timeouts=ends,
        action_size=3,
    )


def algo(version: int) -> Any:
    d3rlpy.seed(version)
    made = ConstraintAwareQConfig().create(device="cpu:0")
    made.build_with_dataset(buffer())
    return made


def sb3_model(version: int) -> ConstraintAwareDQN:
    env = gym.make("BidClick-v0")
    return ConstraintAwareDQN(
        "MlpPolicy", env, seed=version, buffer_size=10, device="cpu"
    )


def rows(version: int) -> list[dict[str, Any]]:
    return [{"row": i, "value": f"{version}" * 20} for i in range(1000)]


def figure(version: int) -> Figure:
    made = Figure()
    noise = np.random.default_rng(version).random((200, 200))
    made.add_subplot().imshow(noise)
    return made


def as_table(folder: pathlib.Path, version: int) -> None:
    write_rows(folder / "results.csv", ["row", "value"], rows(version))


def published(folder: pathlib.Path, version: int) -> None:
    found = read_rows(ROOT / "docs" / "results" / "BidClick-v0" / "results.csv")
    kept = [row for row in found if row["seed"] != version]
    write_rows(folder / "results.csv", COLUMNS, kept)
    Origin("a command", "2025-01-01", "- a version").write(folder)
    benchmarks_main(["table1", "--rebuild", "--out", str(folder)])


def to_table(suffix: str) -> Callable[[pathlib.Path, int], Any]:
    return lambda folder, version: buffer(version).to_parquet(folder / f"log{suffix}")


def table_cache(suffix: str) -> Callable[[pathlib.Path, int], Any]:
    def write(folder: pathlib.Path, version: int) -> None:
        file = pathlib.Path(f"log{suffix}").absolute()
        mapping = buffer(version, episodes=True).to_parquet(file)
        ColumnarReplayBuffer.from_parquet(file, cache_folder=folder, **mapping)

    return write


def to_minari(folder: pathlib.Path, version: int) -> None:
    source = bidclick_gym.simulate_log(bidclick_gym.Auction(), campaigns=2, seed=version)
    steps = np.arange(2002) % 1001 == 1000
    cut = np.roll(steps, -1)
    log = ColumnarReplayBuffer.from_arrays(
        source.observations.reshape(2002, -1),
        np.hstack([source.actions, np.zeros((2, 1), int)]).reshape(-1),
        np.hstack([source.rewards, np.zeros((2, 1))]).reshape(-1).astype(np.float32),
        timeouts=cut,
        final=steps,
        action_size=5,
    )
    log.to_minari(f"bids/mine-v{version}")


def a_cell(folder: pathlib.Path, version: int) -> None:
    keep(toy_cell(folder, 0), rows(version), folder)


Writer = Callable[[pathlib.Path, int], Any]
WRITERS: dict[str, Writer] = {
    "bytes": lambda f, v: write_bytes(f / "a", bytes([v]) * 20_000),
    "text": lambda f, v: write_text(f / "a.md", f"{v}" * 20_000),
    "rows": as_table,
    "png": lambda f, v: write_png(f / "a.png", figure(v)),
    "cell": a_cell,
    "checkpoint": lambda f, v: save_checkpoint(algo(v), f / "a.pt"),
    "algo": lambda f, v: algo(v).save(str(f / "a.d3")),
    "parameters": lambda f, v: algo(v).save_model(str(f / "a.pt")),
    "policy": lambda f, v: algo(v).save_policy(str(f / "a.pt")),
    "graph": lambda f, v: save_graph(algo(v), f / "a.pt"),
    "model": lambda f, v: save(algo(v), f / "model", overwrite=True),
    "SB3": lambda f, v: sb3_model(v).save(f / "a"),
    "parquet": to_table(".parquet"),
    "arrow": to_table(".arrow"),
    "cache of values": table_cache(".parquet"),
    "cache of episodes": table_cache(".arrow"),
    "minari": to_minari,
    "dataset": lambda f, v: bidclick_gym.get_dataset(log_seed=v, show_progress=False),
}


@pytest.mark.parametrize("left", [0, 2 * PAGE])
@pytest.mark.parametrize("name", sorted(WRITERS))
def test_a_full_disk(name: str, left: int, disk: Disk) -> None:
    write = WRITERS[name]
    disk.fill(left)
    with pytest.raises(OSError, match="No space left") as caught:
        write(disk.folder, 0)
    assert str(disk.folder) in str(caught.value)
    assert disk.files() == {}
    disk.free()
    write(disk.folder, 0)
    before = disk.files()
    disk.fill(left)
    with pytest.raises(OSError, match="No space left"):
        write(disk.folder, 1)
    assert disk.files() == before
    disk.free()
    write(disk.folder, 1)
    assert disk.files() != before


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_a_disk_for_reading_only(name: str, disk: Disk) -> None:
    write = WRITERS[name]
    write(disk.folder, 0)
    before = disk.files()
    disk.protect()
    with pytest.raises(OSError, match="Read-only file system") as caught:
        write(disk.folder, 1)
    assert str(disk.folder) in str(caught.value)
    disk.unprotect()
    assert disk.files() == before


@pytest.mark.parametrize("name", sorted(WRITERS.keys() - {"minari", "dataset"}))
def test_a_file_in_the_place_of_the_folder(name: str, tmp_path: pathlib.Path) -> None:
    place = tmp_path / "results"
    place.write_text("mine")
    with pytest.raises(OSError, match="results"):
        WRITERS[name](place, 0)
    assert place.read_text() == "mine"
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


@pytest.mark.slow
def test_table1_on_a_full_disk(disk: Disk) -> None:
    published(disk.folder, 0)
    before = disk.files()
    disk.fill(0)
    with pytest.raises(OSError, match=r"No space left.*results\.csv"):
        published(disk.folder, 1)
    assert disk.files() == before


@pytest.mark.slow
def test_onnx_on_a_full_disk(disk: Disk) -> None:
    file = disk.folder / "a.onnx"
    file.write_bytes(b"mine")
    disk.fill(2 * PAGE)
    with pytest.raises(OSError, match=r"No space left.*a\.onnx"):
        save_graph(algo(0), file)
    assert disk.files() == {"a.onnx": b"mine"}


def test_a_disk_that_fills_between_the_question_and_the_writing(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mapped files whose pages cannot be had would end the process, not raise."""
    monkeypatch.setattr(cache, "require_space", lambda *_: None)
    disk.fill(2 * PAGE)
    with pytest.raises(OSError, match=r"No space left.*set cache_folder"):
        WRITERS["cache of values"](disk.folder, 0)
    assert disk.files() == {}


def test_minari_that_fails_half_way_leaves_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storages = importlib.import_module("minari.dataset._storages.hdf5_storage")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    with monkeypatch.context() as patch:
        patch.setattr(storages.HDF5Storage, "update_episodes", full)
        with pytest.raises(OSError, match="No space left"):
            to_minari(tmp_path, 0)
    assert list((tmp_path / "minari").iterdir()) == []
    to_minari(tmp_path, 0)
    with pytest.raises(
        ValueError, match=r"dataset_id must not be taken, got .bids/mine-v0"
    ):
        to_minari(tmp_path, 0)
    assert list(minari.list_local_datasets()) == ["bids/mine-v0"]
    assert minari.load_dataset("bids/mine-v0").total_steps == 2000


# -- what goes on when there is space ----------------------------------------------


@pytest.mark.parametrize("format", ["arrow", "parquet"])
def test_shards_go_on_where_the_disk_was_full(
    format: str, disk: Disk, tmp_path: pathlib.Path
) -> None:
    options: dict[str, Any] = {"shard_size": 1000, "workers": 1, "format": format}
    reference = write_shards(tmp_path / "reference", 4000, **options)
    sizes = [p.stat().st_size for p in sorted(reference.glob("shard-*"))]
    out = disk.folder / "log"
    disk.fill(0)
    with pytest.raises(OSError, match="No space left on device"):
        write_shards(out, 4000, **options)
    assert disk.files() == {}
    pages = sum(-(-size // PAGE) for size in sizes[:2]) + 1
    disk.fill((pages + 2) * PAGE)
    with pytest.raises(OSError, match=f"'{out}/shard-00002.{format}'"):
        write_shards(out, 4000, **options)
    kept = disk.files()
    assert sorted(kept) == [
        "log/manifest.json",
        f"log/shard-00000.{format}",
        f"log/shard-00001.{format}",
    ]
    disk.free()
    write_shards(out, 4000, **options)
    now = disk.files()
    assert {name: now[name] for name in kept} == kept
    for path in reference.iterdir():
        assert now[f"log/{path.name}"] == path.read_bytes()


@pytest.mark.slow
def test_a_sweep_stops_keeps_what_is_finished_and_goes_on(
    disk: Disk, tmp_path: pathlib.Path
) -> None:
    cells = [toy_cell(tmp_path, seed) for seed in range(6)]
    folder = disk.folder / "cells"
    disk.fill(2 * PAGE)
    with pytest.raises(SystemExit, match=r"cannot be written: .*No space left") as stop:
        run_cells(cells, folder, 1, run_toy)
    # A text is printed, and the process ends with 1.
    assert "2 cells are kept" in str(stop.value.code)
    kept = disk.files()
    assert len(kept) == 2
    disk.free()
    assert [row["square"] for row in run_cells(cells, folder, 1, run_toy)] == [
        seed**2 for seed in range(6)
    ]
    now = disk.files()
    assert {name: now[name] for name in kept} == kept
    for cell in cells:
        assert finished(cell, folder)
    for name in kept:
        # One byte for each time that it was computed.
        seed = json.loads(now[name])["rows"][0]["seed"]
        assert (tmp_path / str(seed)).read_bytes() == b"."


# -- and nothing else writes ---------------------------------------------------------

#: Files of a moment: between processes, and what is measured.
OWN_SCRATCH = {
    "engine/files.py",
    "engine/pictures.py",
    "timing/scale.py",
}


def writes(call: ast.Call) -> bool:
    """Whether a call writes a file by itself."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if isinstance(call.func, ast.Name):
        name = "open" if call.func.id == "open" else ""
    if name == "open":
        values = [*call.args, *(word.value for word in call.keywords)]
        modes = [v.value for v in values if isinstance(v, ast.Constant)]
        return any(isinstance(m, str) and set(m) & set("wax+") for m in modes)
    methods = {"write_text", "write_bytes", "savefig", "save", "savez", "to_csv", "dump"}
    return name in methods


def test_every_result_goes_through_one_writer() -> None:
    assert benchmarks.__file__ is not None
    folder = pathlib.Path(benchmarks.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        calls = [
            n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)
        ]
        found = [call.lineno for call in calls if writes(call)]
        name = path.relative_to(folder).as_posix()
        assert not found or name in OWN_SCRATCH, f"{path}:{found}"
