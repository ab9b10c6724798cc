"""Copies of a network that follow it: target networks and averages."""

from __future__ import annotations

import torch
from d3rlpy.torch_utility import unwrap_ddp_model
from torch import nn

__all__ = ["Follower", "polyak_update"]

# Set on every copy at once, and never by training.
_FIXED = ("level", "scale")


class Follower:
    """Moves a copy's parameters towards a network's, and copies its buffers.

    d3rlpy's own sync leaves buffers behind, so that with spectral normalization its
    target silently differs from the critic.

    Args:
        copy: the module that follows.
        source: the module that is followed, of the same structure.
    """

    def __init__(self, copy: nn.Module, source: nn.Module):
        copy, source = unwrap_ddp_model(copy), unwrap_ddp_model(source)
        # Looked up once: walking the modules costs more than moving the numbers.
        self._parameters: list[torch.Tensor] = list(copy.parameters())
        self._followed: list[torch.Tensor] = list(source.parameters())
        if len(self._parameters) != len(self._followed):
            raise ValueError("copy and source must have the same structure")
        kept, moving = dict(copy.named_buffers()), dict(source.named_buffers())
        trained = source.state_dict().keys() & {
            name for name in moving if name.rsplit(".", 1)[-1] not in _FIXED
        }
        self._buffers = [(kept[name], moving[name]) for name in sorted(trained)]

    @torch.no_grad()
    def follow(self, tau: float) -> None:
        """One step of Polyak averaging: ``copy += tau (source - copy)``.

        Args:
            tau: in [0, 1]; 1 makes the copy equal.
        """
        torch._foreach_lerp_(self._parameters, self._followed, tau)
        for kept, moved in self._buffers:
            kept.copy_(moved)


def polyak_update(copy: nn.Module, source: nn.Module, tau: float) -> None:
    """One step of a :class:`Follower`, and a copy of all other buffers."""
    Follower(copy, source).follow(tau)
    copy, source = unwrap_ddp_model(copy), unwrap_ddp_model(source)
    with torch.no_grad():
        for kept, moved in zip(copy.buffers(), source.buffers(), strict=True):
            kept.copy_(moved)
