"""Mini-batches as tensors, without the copies that d3rlpy makes on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from d3rlpy.base import LearnableConfig
from d3rlpy.dataset import TransitionMiniBatch
from d3rlpy.torch_utility import TorchMiniBatch

__all__ = ["all_terminal", "to_torch_batch"]


def to_torch_batch(
    batch: TransitionMiniBatch, config: LearnableConfig, device: str
) -> TorchMiniBatch:
    """What d3rlpy's ``TorchMiniBatch.from_batch`` makes, sharing memory on the CPU.

    Args:
        batch: a mini-batch of B transitions; float32 arrays.
        config: whose scalers are applied.
        device: where the tensors live.
    """

    def tensor(array: Any) -> Any:
        if isinstance(array, (list, tuple)):
            return [tensor(part) for part in array]
        # A tensor over read-only memory would be written to behind numpy's back.
        values = array if array.flags.writeable else np.array(array)
        return torch.from_numpy(values).to(device)

    observations = tensor(batch.observations)
    next_observations = tensor(batch.next_observations)
    actions, next_actions = tensor(batch.actions), tensor(batch.next_actions)
    rewards = tensor(batch.rewards)
    if config.observation_scaler:
        observations = config.observation_scaler.transform(observations)
        next_observations = config.observation_scaler.transform(next_observations)
    if config.action_scaler:
        actions = config.action_scaler.transform(actions)
        next_actions = config.action_scaler.transform(next_actions)
    if config.reward_scaler:
        rewards = config.reward_scaler.transform(rewards)
    return TorchMiniBatch(
        observations=observations,
        actions=actions,
        rewards=rewards,
        next_observations=next_observations,
        next_actions=next_actions,
        # None of our algorithms reads them.
        returns_to_go=rewards,
        terminals=tensor(batch.terminals),
        intervals=tensor(batch.intervals),
        device=device,
        numpy_batch=batch,
    )


def all_terminal(batch: TorchMiniBatch) -> bool:
    """Whether no transition of a batch is followed by another.

    Looks at the arrays that a batch was made from, for a tensor on an accelerator would
    have to be waited for.
    """
    if batch.numpy_batch is not None:
        return bool(batch.numpy_batch.terminals.all())
    return bool(batch.terminals.all())
