r"""Isotonic regression: the nearest rising values.

Short rows by the min-max formula, all at once; long ones by scipy's pool adjacent
violators, row by row on the CPU.  (The package ``torchisotonic`` does this on an
accelerator, but needs a C++ compiler on the user's machine.)
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import isotonic_regression

from ..scans import is_exporting, running_maximum
from .jacobians import Jacobian, pool_average

__all__ = ["project_onto_rising"]

# Up to here K x K means of a row are quicker than a call for each row.
_LONGEST_AT_ONCE = 24
# Multipliers of a pool below this share of the row's scale are rounding: a tie.
_TIE = 1e-13


def project_onto_rising(values: torch.Tensor) -> tuple[torch.Tensor, Jacobian]:
    """The nearest rising values and the Jacobian, float64 ``(B, K)``."""
    size = values.shape[1]
    if size <= _LONGEST_AT_ONCE or is_exporting():
        projected = _by_min_max(values)
        excess = torch.cumsum(values - projected, dim=1)[:, :-1]
        scale = (values - values[:, :1]).abs().amax(dim=1, keepdim=True)
        return projected, pool_average(excess > _TIE * size * scale)
    rows = values.detach().cpu().numpy()
    projected_rows = np.empty_like(rows)
    joined = np.ones((len(rows), size), dtype=bool)
    for i, row in enumerate(rows):
        # Sums of small numbers: the level of a row costs digits.
        fit = isotonic_regression(row - row[0])
        projected_rows[i] = fit.x + row[0]
        joined[i, fit.blocks[:-1]] = False
    projected = torch.as_tensor(projected_rows).to(values)
    return projected, pool_average(torch.as_tensor(joined[:, 1:]).to(values.device))


def _by_min_max(values: torch.Tensor) -> torch.Tensor:
    r""":math:`u_i = \max_{j \le i} \min_{k \ge i} mean(v_j..v_k)`."""
    size = values.shape[1]
    first = values[:, :1]
    sums = torch.cumsum(values - first, dim=1)
    before = torch.cat([torch.zeros_like(first), sums[:, :-1]], dim=1)
    index = torch.arange(size, device=values.device)
    counts = (index[None, :] - index[:, None] + 1).clamp(min=1)
    means = (sums[:, None, :] - before[:, :, None]) / counts  # (B, j, k)
    early = (index[None, :] < index[:, None])[None]
    means = torch.where(early, torch.inf, means)
    rows = means.reshape(-1, size)
    least = -running_maximum(-rows.flip(1)).flip(1).reshape(means.shape)  # over k >= i
    least = torch.where(early, -torch.inf, least)
    return least.amax(dim=1) + first
