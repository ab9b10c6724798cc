"""Processes train one model only if they mean the same by it."""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess
import sys

import pytest
import torch

pytestmark = [
    pytest.mark.distributed,
    pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="needs gloo"),
]

SCRIPT = """
import sys, d3rlpy, numpy as np, torch
from d3rlpy.preprocessing import MinMaxObservationScaler, StandardRewardScaler
from icac_algo import ColumnarReplayBuffer, ConstraintAwareQConfig

case = sys.argv[1]
rank = d3rlpy.distributed.init_process_group("gloo")
d3rlpy.seed(rank)
rng = np.random.default_rng(rank)
# Each process has its own log, over its own range.
size = 5 - rank if case == "sizes" else 5
log = ColumnarReplayBuffer.from_arrays(
    (1 + rank) * rng.random((100, 2)),
    np.arange(100) % size,
    (1 + rank) * rng.random(100),
    action_size=None if case == "sizes" else 5,
)
config = ConstraintAwareQConfig(
    batch_size=8,
    gamma=0.9 - 0.1 * rank if case == "configs" else 0.9,
    observation_scaler=MinMaxObservationScaler(),
    reward_scaler=StandardRewardScaler(),
)
algo = config.create(device="cpu:0", enable_ddp=True)
options = {
    "n_steps_per_epoch": 2,
    "show_progress": False,
    "logger_adapter": d3rlpy.logging.NoopAdapterFactory(),
    "checkpoint": "checkpoint",
}
algo.fit(log, n_steps=2, **options)
if case == "other data":
    rows = np.array(log.to_arrays()["rewards"]).reshape(-1)
    rows[3] += rank  # of the second process only
    log = ColumnarReplayBuffer.from_arrays(
        (1 + rank) * np.random.default_rng(rank).random((100, 2)),
        np.arange(100) % 5, rows, action_size=5,
    )
algo = config.create(device="cpu:0", enable_ddp=True)
algo.fit(log, n_steps=4, **options)
x = np.full((3, 2), 0.4, np.float32)
print("values", config.observation_scaler, algo.predict_value(x, np.arange(3)).tolist())
d3rlpy.distributed.destroy_process_group()
"""


def run(case: str, folder: pathlib.Path) -> list[tuple[int, str, str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, case],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            },
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=300) for process in running]
    return [(p.returncode, *texts) for p, texts in zip(running, said, strict=True)]


def test_scalers_are_the_same_in_all(tmp_path: pathlib.Path) -> None:
    found = run("scalers", tmp_path)
    assert [code for code, _, _ in found] == [0, 0], found
    first, second = (
        [line for line in out.splitlines() if line.startswith("values")]
        for _, out, _ in found
    )
    assert first == second
    assert len(first) == 1


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("sizes", "the same action_size, process 0 has 5 and process 1 has 4"),
        ("configs", "the same config.gamma, process 0 has 0.9 and process 1 has 0.8"),
        ("other data", "was trained on other data"),
    ],
)
def test_differences_are_refused_in_all(
    case: str, message: str, tmp_path: pathlib.Path
) -> None:
    for code, _, error in run(case, tmp_path):
        assert code == 1
        assert message in error
