"""The processes of one training run: who this one is, and what all of them say."""

from __future__ import annotations

from typing import Any

import torch.distributed


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
