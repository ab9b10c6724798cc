"""The processes of one training run: who this one is, and what all of them say."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import torch.distributed
from d3rlpy.base import LearnableConfig
from d3rlpy.dataset import DatasetInfo
from d3rlpy.preprocessing.base import Scaler

from ..export import differences


def is_distributed() -> bool:
    """Whether this is one of several processes that train together."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def rank() -> int:
    """The number of this process, from 0."""
    return torch.distributed.get_rank() if is_distributed() else 0


def world_size() -> int:
    """How many processes there are."""
    return torch.distributed.get_world_size() if is_distributed() else 1


def from_all_processes(value: Any) -> list[Any]:
    """What every process gives, in their order; all must call this."""
    if not is_distributed():
        return [value]
    values: list[Any] = [None] * world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def agree_on_config(config: LearnableConfig, info: DatasetInfo) -> None:
    """Takes over the first process's scalers, and compares all else; all must call this.

    Scalers that each process fits to its own data would make networks of one set of
    weights mean something else in each.  Where processes differ, all raise.
    """
    own = {
        "config": json.loads(config.serialize()),
        "observation_shape": str(info.observation_signature.shape),
        "action_space": info.action_space.name,
        "action_size": int(info.action_size),
    }
    first, *others = from_all_processes(own)
    for number, other in enumerate(others, 1):
        for name, a, b in differences(first, other):
            if "_scaler.params." not in name:
                raise ValueError(
                    f"all processes must have the same {name}, process 0 has {a!r} and "
                    f"process {number} has {b!r} (a dataset is given its action_size, or "
                    "counts the actions in it)"
                )
    agreed = type(config).deserialize(json.dumps(first["config"]))
    _take_over_scalers(config, agreed)


def _take_over_scalers(part: Any, agreed: Any) -> None:
    # In place: a config and a factory in it may share a scaler.
    for field in dataclasses.fields(part):
        own, theirs = getattr(part, field.name), getattr(agreed, field.name)
        if isinstance(own, Scaler):
            own.__init__(
                **{f.name: getattr(theirs, f.name) for f in dataclasses.fields(own)}
            )
        elif dataclasses.is_dataclass(own):
            _take_over_scalers(own, theirs)
