"""Running extremes along the actions."""

from __future__ import annotations

import torch

__all__ = ["is_exporting", "running_maximum", "running_minimum"]


def running_maximum(values: torch.Tensor) -> torch.Tensor:
    """``out[:, i] = max(values[:, :i+1])``, shape ``(B, K)``."""
    if not is_exporting():
        return torch.cummax(values, dim=1).values
    # By shifts, in log2(K) steps: ONNX has no cumulative maximum.
    shift, size = 1, values.shape[1]
    while shift < size:
        ahead = torch.maximum(values[:, shift:], values[:, :-shift])
        values = torch.cat([values[:, :shift], ahead], dim=1)
        shift *= 2
    return values


def running_minimum(values: torch.Tensor) -> torch.Tensor:
    """``out[:, i] = min(values[:, :i+1])``, shape ``(B, K)``."""
    if not is_exporting():
        return torch.cummin(values, dim=1).values
    return -running_maximum(-values)


def is_exporting() -> bool:
    """Whether operations are being recorded into a graph, which must be plain ones."""
    tracing = torch._C._get_tracing_state() is not None
    return tracing or torch.compiler.is_compiling() or torch.compiler.is_exporting()
