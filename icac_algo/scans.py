"""Running extremes along the actions.

Written with shifts, in log2(K) steps: ONNX has no cumulative minimum or maximum.
"""

from __future__ import annotations

import torch

__all__ = ["running_maximum", "running_minimum"]


def running_maximum(values: torch.Tensor) -> torch.Tensor:
    """``out[:, i] = max(values[:, :i+1])``, shape ``(B, K)``."""
    shift, size = 1, values.shape[1]
    while shift < size:
        ahead = torch.maximum(values[:, shift:], values[:, :-shift])
        values = torch.cat([values[:, :shift], ahead], dim=1)
        shift *= 2
    return values


def running_minimum(values: torch.Tensor) -> torch.Tensor:
    """``out[:, i] = min(values[:, :i+1])``, shape ``(B, K)``."""
    return -running_maximum(-values)
