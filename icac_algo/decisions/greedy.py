"""The best of a list of actions, and the one rule for ties."""

from __future__ import annotations

import torch

__all__ = ["best_actions"]


def best_actions(values: torch.Tensor, favours_last: bool) -> torch.Tensor:
    """The best action of each row, ties to the highest (or lowest) action, ``(B,)``."""
    if favours_last:
        return values.shape[1] - 1 - values.flip(1).argmax(dim=1)
    return values.argmax(dim=1)
