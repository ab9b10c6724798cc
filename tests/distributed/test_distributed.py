"""Two real processes: their own shards, one of them killed, and resumed."""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess
import sys
from typing import Any

import d3rlpy
import numpy as np
import pyarrow as pa
import pytest
import torch

from bidclick_gym import Auction, RegretEvaluator, simulate_log
from icac_algo.algos import load_checkpoint

WORKER = pathlib.Path(__file__).with_name("worker.py")

pytestmark = [
    pytest.mark.distributed,
    pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="needs gloo"),
]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A log in four files, two for each process."""
    folder = tmp_path_factory.mktemp("shards")
    for number in range(4):
        log = simulate_log(Auction(), campaigns=10, seed=number)
        table = pa.table(
            {
                "x": log.observations[:, :-1, 0].ravel(),
                "c": log.observations[:, :-1, 1].ravel(),
                "action": log.actions.ravel().astype(np.int8),
                "reward": log.rewards.ravel(),
            }
        )
        with pa.ipc.new_file(str(folder / f"{number}.arrow"), table.schema) as writer:
            writer.write_table(table)
    return folder


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **changes}


def torchrun(*arguments: Any, **changes: str) -> subprocess.CompletedProcess[str]:
    """The command of the documentation."""
    command = [sys.executable, "-m", "torch.distributed.run"]
    command += ["--standalone", "--nproc-per-node", "2", str(WORKER)]
    return subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment(**changes),
    )


def by_hand(*arguments: Any, **changes: str) -> list[tuple[int, str]]:
    """Two processes that nobody stops when the other one dies: code and stderr."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    running = [
        subprocess.Popen(
            [sys.executable, str(WORKER), *map(str, arguments)],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env=environment(
                RANK=str(rank),
                WORLD_SIZE="2",
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=port,
                **changes,
            ),
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=300)[1] for process in running]
    return [(p.returncode, error) for p, error in zip(running, errors, strict=True)]


def outcome(folder: pathlib.Path, rank: int) -> Any:
    return torch.load(folder / f"{rank}.pt", weights_only=True)


def assert_same(a: Any, b: Any, path: str = "") -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    else:
        assert a == b, path


def test_two_processes_learn_what_one_would(
    shards: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    done = torchrun(shards, tmp_path, 1500)
    assert done.returncode == 0, done.stderr
    first, second = (outcome(tmp_path, rank) for rank in range(2))
    # One set of networks, moved by the gradients of both.
    assert_same(first["modules"], second["modules"])
    assert first["grad_step"] == 1500
    assert first["draws"] != second["draws"]
    for algo in (
        d3rlpy.load_learnable(str(tmp_path / "model.d3")),
        load_checkpoint(tmp_path / "checkpoint.pt"),
    ):
        # The log's best constant bid loses .007.
        assert RegretEvaluator(Auction())(algo, None) < 0.005


@pytest.mark.parametrize("variant", [{}, {"EUCLIDEAN": "1"}])
def test_a_killed_run_goes_on_from_its_checkpoint(
    variant: dict[str, str], shards: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    assert all(code == 0 for code, _ in by_hand(shards, whole, 100, **variant))

    (survivor, error), (killed, _) = by_hand(shards, broken, 100, 1, 53, **variant)
    assert killed == -9
    assert survivor == 1
    assert "process 0 of 2 has lost another process of this run" in error
    assert "checkpoint.pt, is of step 40; start all processes again" in error
    assert not (broken / "0.pt").exists()
    assert load_checkpoint(broken / "checkpoint.pt").grad_step == 40

    assert all(code == 0 for code, _ in by_hand(shards, broken, 100, **variant))
    for rank in range(2):
        assert_same(outcome(whole, rank), outcome(broken, rank))


def test_torchrun_reports_who_died(shards: pathlib.Path, tmp_path: pathlib.Path) -> None:
    done = torchrun(shards, tmp_path, 100, 1, 25)
    assert done.returncode != 0
    assert "Signal 9 (SIGKILL)" in done.stderr
    assert load_checkpoint(tmp_path / "checkpoint.pt").grad_step == 20


def test_another_number_of_processes_is_refused(
    shards: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    assert all(code == 0 for code, _ in by_hand(shards, tmp_path, 20))
    alone = subprocess.run(
        [sys.executable, str(WORKER), str(shards), str(tmp_path), "40"],
        capture_output=True,
        text=True,
        check=False,
        env=environment(
            RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="0"
        ),
    )
    assert alone.returncode == 1
    assert "written by 2 processes and can only be continued by as many, got 1" in (
        alone.stderr
    )
