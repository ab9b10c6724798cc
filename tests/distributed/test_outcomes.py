"""Two processes learn one model of outcomes, each from its own part of a log."""

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
import json, sys
import d3rlpy, numpy as np, torch
sys.path.insert(0, sys.argv[1])
from outcome_worlds import QUIET, actions_of, config_of, log_of, positions_of, states
from icac_algo import Outcome

size = int(sys.argv[2]) or None
rank = d3rlpy.distributed.init_process_group("gloo")
torch.set_num_threads(1)
d3rlpy.seed(rank)
# The second process never saw the lowest actions, nor an episode that goes on.
log = log_of(size, rows=120, campaigns=0 if rank else 6, seed=rank, lowest=2 * rank)
config = config_of(
    size, gamma=0.9, n_critics=2, actor="network", batch_size=16,
)
config.outcomes.append(Outcome(weight="0 * action"))
options = {"n_steps_per_epoch": 4, "checkpoint": "checkpoint", **QUIET}
algo = config.create(device="cpu:0", enable_ddp=True)
algo.fit(log, n_steps=4, **options)
algo = config.create(device="cpu:0", enable_ddp=True)
algo.fit(log, n_steps=8, **options)
state = {
    f"{name}.{key}": value.tolist()
    for name, module in algo.impl.modules.get_torch_modules().items()
    for key, value in module.state_dict().items()
}
x, actions = states(5), actions_of(size, 5)
print("RESULT", json.dumps({
    "state": state,
    "value": algo.predict_value(x, actions).tolist(),
    "won": algo.predict_outcome(x, actions, "won").tolist(),
    "support": algo.impl.modules.state.support.tolist(),
    "follows": bool(algo.impl.modules.targ_q_funcs[0].follows),
}))
d3rlpy.distributed.destroy_process_group()
"""


@pytest.mark.parametrize("size", [5, 0])
def test_processes_agree_and_go_on(size: int, tmp_path: pathlib.Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    folder = pathlib.Path(__file__).parents[1] / "icac_algo"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(folder), str(size)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
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
    assert [process.returncode for process in running] == [0, 0], said
    first, second = (
        [line for line in out.splitlines() if line.startswith("RESULT")]
        for out, _ in said
    )
    assert first == second
    assert '"follows": true' in first[0]
    if size:
        # The union of both: all five actions.
        assert '"support": [0.0, 2.0]' in first[0]
