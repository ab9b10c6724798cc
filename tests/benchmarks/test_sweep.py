"""A sweep survives what happens to sweeps: broken cells, kills, nodes that go away."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from benchmarks.engine.sweep import BrokenCellsError, finished, run_cells

ROOT = pathlib.Path(__file__).parents[2]
TOY = pathlib.Path(__file__).with_name("toy_cells.py")
sys.path.insert(0, str(TOY.parent))
from toy_cells import run_toy, toy_cell, toy_cells  # noqa: E402

needs_posix = pytest.mark.skipif(os.name == "nt", reason="kills as POSIX does")
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs the group 'benchmarks'"
)


def marks(folder: pathlib.Path) -> dict[int, int]:
    """How often each cell was computed."""
    return {int(p.name): p.stat().st_size for p in (folder / "marks").iterdir()}


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.02)


def is_whole(folder: pathlib.Path, n: int) -> bool:
    """Every cell is there once, readable, with nothing beside it."""
    files = list((folder / "cells").iterdir())
    seeds = sorted(json.loads(f.read_text())["rows"][0]["seed"] for f in files)
    return seeds == list(range(n))


def start(folder: pathlib.Path, n: int, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(TOY), str(folder), str(n), str(seconds)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_one_broken_cell_does_not_stop_the_sweep(tmp_path: pathlib.Path) -> None:
    cells = toy_cells(tmp_path, 5)
    broken = toy_cell(tmp_path / "marks", 7, "broken")
    with pytest.raises(BrokenCellsError, match="seed 7 is broken on purpose") as error:
        run_cells([broken, *cells], tmp_path / "cells", 2, run_toy)
    assert "RuntimeError" in str(error.value)
    assert "1 of 6 cells failed" in str(error.value)
    assert [cell for cell, _ in error.value.failures] == [broken]
    assert all(finished(cell, tmp_path / "cells") for cell in cells)
    # Tried again, and only it.
    with pytest.raises(BrokenCellsError):
        run_cells([broken, *cells], tmp_path / "cells", 2, run_toy)
    assert marks(tmp_path) == dict.fromkeys(range(5), 1)


@pytest.mark.slow
def test_a_broken_cell_ends_the_program_with_an_error(tmp_path: pathlib.Path) -> None:
    script = (
        "import pathlib, sys; sys.path.insert(0, sys.argv[2])\n"
        "from toy_cells import *; from benchmarks.engine.sweep import run_cells\n"
        "if __name__ == '__main__':\n"
        "    folder = pathlib.Path(sys.argv[1]); folder.mkdir(exist_ok=True)\n"
        "    run_cells([toy_cell(folder, 0, 'broken')], folder, 1, run_toy)\n"
    )
    path = tmp_path / "broken.py"
    path.write_text(script)
    result = subprocess.run(
        [sys.executable, str(path), str(tmp_path / "out"), str(TOY.parent)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "broken on purpose" in result.stderr


@pytest.mark.slow
@needs_posix
@pytest.mark.parametrize("victim", ["sweep", "worker"])
def test_killed_in_the_middle_a_rerun_completes(
    tmp_path: pathlib.Path, victim: str
) -> None:
    process = start(tmp_path, 12, 0.3)
    cells = tmp_path / "cells"
    wait_until(lambda: cells.exists() and len(list(cells.glob("*.json"))) >= 3)
    if victim == "sweep":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        pids = {json.loads(f.read_text())["rows"][0]["pid"] for f in cells.glob("*.json")}
        os.kill(pids.pop(), signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode != 0
    if victim == "worker":
        assert "a worker process was killed" in errors
    kept = {f.name: f.read_text() for f in cells.glob("*.json")}
    assert 3 <= len(kept) < 12
    counted = marks(tmp_path)
    again = start(tmp_path, 12, 0.0)
    out, errors = again.communicate()
    assert again.returncode == 0, errors
    assert out.strip() == str(sum(i * i for i in range(12)))
    assert {name: (cells / name).read_text() for name in kept} == kept
    for name in kept:
        seed = json.loads(kept[name])["rows"][0]["seed"]
        assert marks(tmp_path)[seed] == counted[seed] == 1
    assert is_whole(tmp_path, 12)


# -- Ray ---------------------------------------------------------------------


@pytest.fixture
def cluster() -> Iterator[object]:
    """A head that runs nothing and two nodes of one CPU each, on this machine."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(TOY.parent)])
    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False},
    )
    yield made
    ray.shutdown()
    made.shutdown()
    del os.environ["PYTHONPATH"]


@pytest.mark.distributed
@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_a_node_killed_in_the_middle_loses_nothing(
    cluster: object, tmp_path: pathlib.Path
) -> None:
    import threading

    made: object = cluster
    nodes = [made.add_node(num_cpus=1) for _ in range(2)]  # type: ignore[attr-defined]
    address: str = made.address  # type: ignore[attr-defined]
    cells = tmp_path / "cells"

    def kill() -> None:
        wait_until(lambda: cells.exists() and len(list(cells.glob("*.json"))) >= 2)
        made.remove_node(nodes[0], allow_graceful=False)  # type: ignore[attr-defined]

    killer = threading.Thread(target=kill)
    killer.start()
    run = functools.partial(run_toy, seconds=0.4)
    rows = run_cells(toy_cells(tmp_path, 8), cells, 2, run, address)
    killer.join()
    assert [row["square"] for row in rows] == [i * i for i in range(8)]
    assert is_whole(tmp_path, 8)
    # A rerun computes nothing; processes give the same rows.
    before = marks(tmp_path)
    run_cells(toy_cells(tmp_path, 8), cells, 2, run, address)
    assert marks(tmp_path) == before
    other = tmp_path / "processes"
    on_processes = run_cells(toy_cells(other, 8), other / "cells", 2, run_toy)
    assert [r["square"] for r in on_processes] == [r["square"] for r in rows]
