"""One process of a training run, as ``torchrun`` starts it.

    worker.py SHARDS OUT STEPS [KILL_RANK KILL_STEP]

Trains on its own shards with a checkpoint every 20 steps, and writes what it ended with
to ``OUT/RANK.pt``.  The process ``KILL_RANK`` kills itself after ``KILL_STEP`` steps.
"""

from __future__ import annotations

import os
import pathlib
import signal
import sys
from typing import Any

import d3rlpy
import torch
from d3rlpy.models import VectorEncoderFactory
from d3rlpy.preprocessing import StandardRewardScaler

from icac_algo import (
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    Euclidean,
    Functional,
)


def main(
    shards: str, out: str, steps: str, kill_rank: str = "-1", kill_step: str = "0"
) -> None:
    rank = d3rlpy.distributed.init_process_group("gloo")
    torch.set_num_threads(1)
    d3rlpy.seed(rank)
    dataset = ColumnarReplayBuffer.from_parquet(
        shards,
        observation=["x", "c"],
        action="action",
        reward="reward",
        action_size=5,
        part=(rank, torch.distributed.get_world_size()),
        cache_folder=pathlib.Path(out) / "cache",
        show_progress=False,
        seed=rank,
    )
    config = ConstraintAwareQConfig(
        constraint=Concave(),
        critic_encoder_factory=VectorEncoderFactory([32, 32]),
        actor_encoder_factory=VectorEncoderFactory([32, 32]),
        batch_size=64,
        gamma=0.9,
        reward_scaler=StandardRewardScaler(mean=0.6, std=0.5),
        actor="network-sampled",  # draws from torch's random numbers
        critic=Euclidean(spectral_norm=True)
        if "EUCLIDEAN" in os.environ
        else Functional(),
    )
    algo: Any = config.create(device="cpu:0", enable_ddp=True)

    def die(_: Any, __: int, step: int) -> None:
        if rank == int(kill_rank) and step == int(kill_step):
            os.kill(os.getpid(), signal.SIGKILL)

    algo.fit(
        dataset,
        n_steps=int(steps),
        n_steps_per_epoch=20,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        checkpoint=pathlib.Path(out) / "checkpoint.pt",
        callback=die,
    )
    state = {
        name: module.state_dict()
        for name, module in algo.impl.modules.get_torch_modules().items()
    }
    draws = [torch.rand(1).item(), dataset.sample_transition_batch(3).rewards.tolist()]
    final = {"modules": state, "grad_step": algo.grad_step, "draws": draws}
    torch.save(final, pathlib.Path(out) / f"{rank}.pt")
    if rank == 0:
        algo.save(str(pathlib.Path(out) / "model.d3"))
    d3rlpy.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
