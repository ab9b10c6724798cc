"""Why checkpoints are our own: d3rlpy cannot load what several processes saved.

If this fails, d3rlpy has repaired it.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
import torch

SCRIPT = """
import sys, d3rlpy
from icac_algo import Concave, ConstraintAwareQConfig
from icac_algo.algos import save_checkpoint, load_checkpoint

d3rlpy.distributed.init_process_group("gloo")
algo = d3rlpy.algos.DQNConfig().create(device="cpu:0", enable_ddp=True)
algo.create_impl((3,), 2)
algo.save_model("model.pt")
try:
    algo.load_model("model.pt")
except RuntimeError as error:
    assert "Missing key(s)" in str(error), error
    print("d3rlpy cannot")
ours = ConstraintAwareQConfig(constraint=Concave()).create("cpu:0", enable_ddp=True)
ours.create_impl((3,), 4)
save_checkpoint(ours, "checkpoint.pt")
load_checkpoint("checkpoint.pt", "cpu:0", enable_ddp=True)
print("ours can")
d3rlpy.distributed.destroy_process_group()
"""


@pytest.mark.distributed
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="needs gloo")
def test_only_ours_can_be_loaded_into_the_processes_it_was_saved_from(
    working_folder: pathlib.Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        cwd=working_folder,
        env={
            **os.environ,
            "RANK": "0",
            "WORLD_SIZE": "1",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": "0",
        },
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "can" in line] == [
        "d3rlpy cannot",
        "ours can",
    ]
