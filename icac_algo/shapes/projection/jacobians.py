"""A projection with its generalised Jacobian, itself a projection, for autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

#: What a gradient ``(B, K)`` becomes on its way back; symmetric.
Jacobian = Callable[[torch.Tensor], torch.Tensor]
#: Values ``(B, K)`` to their projection and its Jacobian.
Method = Callable[[torch.Tensor], tuple[torch.Tensor, Jacobian]]


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, method: Method) -> torch.Tensor:
        projected, ctx.jacobian = method(values)
        return projected

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        return ctx.jacobian(grads[0]), None


def differentiable(values: torch.Tensor, method: Method) -> torch.Tensor:
    """Applies a method; without a gradient to track, as plain torch operations."""
    if values.requires_grad and torch.is_grad_enabled():
        projected: torch.Tensor = _Project.apply(values, method)
        return projected
    return method(values)[0]


def pool_average(joined: torch.Tensor) -> Jacobian:
    """The projection onto values that are constant over pools."""
    rows, gaps = joined.shape
    size = gaps + 1
    starts = torch.ones((rows, size), dtype=torch.bool, device=joined.device)
    starts[:, 1:] = ~joined
    # Pools numbered through the whole batch: every row starts a new one.
    pools = starts.reshape(-1).cumsum(0) - 1

    def average(grad: torch.Tensor) -> torch.Tensor:
        flat = grad.reshape(-1)
        sums = torch.zeros_like(flat).index_add_(0, pools, flat)
        counts = torch.zeros_like(flat).index_add_(0, pools, torch.ones_like(flat))
        return (sums / counts.clamp(min=1.0))[pools].reshape(rows, size)

    return average


def run_average(starts: npt.NDArray[np.int64]) -> Jacobian:
    """As :func:`pool_average`, of rows one after the other, by the starts of pools."""

    def average(grad: torch.Tensor) -> torch.Tensor:
        flat = grad.detach().cpu().reshape(-1).numpy()
        counts = np.diff(starts, append=len(flat))
        means = np.add.reduceat(flat, starts) / counts
        return torch.from_numpy(np.repeat(means, counts)).to(grad).reshape(grad.shape)

    return average
