"""Projections onto bounds on slopes, float64 ``(B, K)``: isotonic regression and more."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import isotonic_regression

from ..normal_form import is_exporting, running_maximum
from .jacobians import Jacobian, pool_average, run_average

FloatArray = npt.NDArray[np.float64]

# On an accelerator, up to here K x K means of a row are quicker than going to the CPU.
_LONGEST_AT_ONCE = 24
# Multipliers of a pool below this share of the row's scale are rounding: a tie.
_TIE = 1e-13
# So many rows are regressed as one: each doubling costs all of them a digit of base two.
_ROWS = 256


def project_onto_rising(values: torch.Tensor) -> tuple[torch.Tensor, Jacobian]:
    """Isotonic regression: the nearest rising values and the Jacobian, ``(B, K)``.

    By scipy's pool adjacent violators on the CPU; what is exported, and short rows on
    other devices, by the min-max formula.
    """
    size = values.shape[1]
    if is_exporting() or (values.device.type != "cpu" and size <= _LONGEST_AT_ONCE):
        projected = _by_min_max(values)
        excess = torch.cumsum(values - projected, dim=1)[:, :-1]
        scale = (values - values[:, :1]).abs().amax(dim=1, keepdim=True)
        return projected, pool_average(excess > _TIE * size * scale)
    least, most = torch.aminmax(values.detach(), dim=1, keepdim=True)
    # Sums of small numbers: the level of a row costs digits.
    rows = (values.detach() - least).cpu().numpy()
    scaled = rows / (most - least).clamp(min=1e-300).cpu().numpy()
    starts = [
        block * _ROWS * size + _pools(scaled[block * _ROWS : (block + 1) * _ROWS])
        for block in range(-(-len(rows) // _ROWS))
    ]
    average = run_average(starts[0] if len(starts) == 1 else np.concatenate(starts))
    return average(torch.from_numpy(rows)).to(values) + least, average


def _pools(rows: FloatArray) -> npt.NDArray[np.int64]:
    """Where pools start in rows between 0 and 1, one after the other.

    Each above the last, they are one long row, which costs one call.
    """
    fit = isotonic_regression((rows + _steps(*rows.shape)).reshape(-1))
    starts: npt.NDArray[np.int64] = fit.blocks[:-1]
    return starts


@functools.lru_cache(maxsize=16)
def _steps(rows: int, size: int) -> FloatArray:
    """What lifts each row above the last, ``(B, K)``; within a row, ties are no pools."""
    return 1.001 * np.arange(rows)[:, None] + 6e-14 * np.arange(size)


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


def project_onto_steps(
    values: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor
) -> tuple[torch.Tensor, Jacobian]:
    r"""The nearest values with steps in finite bounds ``(K-1,)``, and the Jacobian.

    Dynamic programming over :math:`f_i(x) = \frac12 (x - v_i)^2 + \min f_{i-1}(y)` over
    :math:`l_{i-1} \le x - y \le u_{i-1}`.  The derivative of :math:`f_i` rises and is
    piecewise linear.  The minimum shifts what is left of its zero by ``l``, what is right
    of it by ``u`` and is flat between; so each step adds two knots, and a last pass
    backwards clips every minimiser to what its successor allows.
    """
    # From the first value on: the level of a row costs digits.
    first = values[:, :1]
    minimisers = _minimisers(values - first, lower, upper)
    size = values.shape[1]
    projected = [minimisers[:, -1]]
    joined = []
    for i in range(size - 2, -1, -1):
        free, after = minimisers[:, i], projected[-1]
        here = torch.minimum(torch.maximum(free, after - upper[i]), after - lower[i])
        joined.append(here != free)
        projected.append(here)
    return (
        torch.stack(projected[::-1], dim=1) + first,
        pool_average(torch.stack(joined[::-1], dim=1)),
    )


def _minimisers(
    values: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor
) -> torch.Tensor:
    """Where each :math:`f_i` is smallest, ``(B, K)``."""
    rows, size = values.shape
    # The derivative is base_slope x + base left of all knots and changes its slope by
    # ``turns`` at them.
    knots = values.new_zeros((rows, 0))
    turns = values.new_zeros((rows, 0))
    base = -values[:, :1]
    zero = values[:, :1]
    found = [zero]
    # Slopes of the derivative are counts of values, exact in floating point.
    for i in range(size - 1):
        is_left = knots < zero
        place = is_left.sum(dim=1, keepdim=True)
        slope_at_zero = i + 1.0 + torch.where(is_left, turns, 0.0).sum(1, keepdim=True)
        flat = torch.cat([zero + lower[i], zero + upper[i]], dim=1)
        bend = torch.cat([-slope_at_zero, slope_at_zero], dim=1)
        knots = _inserted(knots + lower[i], knots + upper[i], flat, place)
        turns = _inserted(turns, turns, bend, place)
        base = base - (i + 1) * lower[i] - values[:, i + 1 : i + 2]
        zero = _zero(knots, turns, base, float(i + 2))
        found.append(zero)
    return torch.cat(found, dim=1)


def _inserted(
    left: torch.Tensor, right: torch.Tensor, pair: torch.Tensor, place: torch.Tensor
) -> torch.Tensor:
    """``left`` before ``place``, then the pair, then ``right``: ``(B, m + 2)``."""
    index = torch.arange(left.shape[1] + 2, device=left.device)
    before = torch.nn.functional.pad(left, (0, 2))
    after = torch.nn.functional.pad(right, (2, 0))
    middle = torch.where(index == place, pair[:, :1], pair[:, 1:])
    return torch.where(
        index < place, before, torch.where(index < place + 2, middle, after)
    )


def _zero(
    knots: torch.Tensor, turns: torch.Tensor, base: torch.Tensor, base_slope: float
) -> torch.Tensor:
    """Where the derivative crosses zero, ``(B, 1)``; knots are sorted."""
    slopes = base_slope + torch.cumsum(turns, dim=1)  # to the right of each knot
    steps = slopes[:, :-1] * knots.diff(dim=1)
    first = base_slope * knots[:, :1] + base
    at_knots = torch.cat([first, first + torch.cumsum(steps, dim=1)], dim=1)
    # The last knot at or below zero starts the piece with the crossing.
    below = (at_knots <= 0.0).sum(dim=1, keepdim=True)
    index = (below - 1).clamp(min=0)
    knot, value = knots.gather(1, index), at_knots.gather(1, index)
    slope = slopes.gather(1, index)
    inside = knot - value / torch.where(slope > 0.0, slope, torch.ones_like(slope))
    return torch.where(below > 0, inside, -base / base_slope)
