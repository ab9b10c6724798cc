r"""Exact Euclidean projections onto shapes, as pure torch functions.

A shape is a cone :math:`\{v : A v \ge 0\}` that contains the constants.  All functions
are batched over the first dimension and differentiable; float64 input is advised.
"""

from __future__ import annotations

import functools
import warnings
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..scans import running_maximum

__all__ = [
    "MAX_ENUMERATED",
    "project_onto_cone",
    "project_onto_monotone",
]

FloatArray = npt.NDArray[np.float64]

# Up to this many inequalities all 2^m faces are tried at once, which is closed form.
MAX_ENUMERATED = 6
# Row blocks that keep the batched linear solves of the interior point method small.
_INTERIOR_ROWS = 1024
_MAX_INTERIOR_ITERATIONS = 200
# On rows of unit scale, in float64.
_INTERIOR_TOLERANCE = 1e-12
_NOTICEABLE_GAP = 1e-6


# -- exact projections -------------------------------------------------------


def project_onto_monotone(values: torch.Tensor, increasing: bool = True) -> torch.Tensor:
    r"""Isotonic regression: the nearest rising (or falling) values, ``(B, K)``.

    The min-max formula :math:`u_i = \max_{j \le i} \min_{k \ge i} mean(v_j..v_k)`.
    Its output is monotone for *any* rounding of the means.  Differentiable; the
    gradient is the average over the pool.
    """
    if not increasing:
        return project_onto_monotone(values.flip(1)).flip(1)
    size = values.shape[1]
    # Means of differences from the first value: cumulative sums of small numbers.
    first = values[:, :1]
    sums = torch.cumsum(values - first, dim=1)
    result: list[torch.Tensor] = []
    for j in range(size):
        total = sums[:, j:] - (sums[:, j - 1 : j] if j else 0.0)
        counts = torch.arange(1, size - j + 1, device=values.device, dtype=values.dtype)
        means = total / counts
        lower = -running_maximum(-means.flip(1)).flip(1)
        for i in range(j, size):
            piece = lower[:, i - j]
            if j == 0:
                result.append(piece)
            else:
                result[i] = torch.maximum(result[i], piece)
    return torch.stack(result, dim=1) + first


def project_onto_cone(values: torch.Tensor, matrix: FloatArray) -> torch.Tensor:
    r"""Euclidean projection onto :math:`\{u : A u \ge 0\}`, ``(B, K)`` to ``(B, K)``.

    For up to 6 inequalities in closed form, by trying all faces; beyond, an interior
    point method finds the face and a linear solve the point on it.  Differentiable: the
    Jacobian is the projection onto the active face.

    Args:
        values: finite, ``(B, K)``; float64 is advised.
        matrix: ``A``, rows linearly independent, ``(m, K)``.

    Returns:
        the projections, feasible up to rounding.
    """
    if len(matrix) == 0:
        return values
    # Rows of one length: unequal gaps between actions must not weigh them differently.
    matrix = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    if len(matrix) <= MAX_ENUMERATED:
        return _project_by_faces(values, matrix)
    blocks = values.split(_INTERIOR_ROWS)
    return torch.cat([_project_by_interior_point(block, matrix) for block in blocks])


def _project_by_faces(values: torch.Tensor, matrix: FloatArray) -> torch.Tensor:
    key = (matrix.tobytes(), matrix.shape)
    projectors_np, multipliers_np = _faces(*key)
    options: dict[str, Any] = {"device": values.device, "dtype": values.dtype}
    projectors = torch.as_tensor(projectors_np, **options)  # (F, K, K)
    multipliers = torch.as_tensor(multipliers_np, **options)  # (F, m, K)
    a = torch.as_tensor(matrix, **options)
    # (B, F, K): the candidate on each face; the right one has slack and multipliers
    # of the right sign.  Picking the largest worst sign needs no tolerance.
    candidates = torch.einsum("fij,bj->bfi", projectors, values)
    slack = (candidates @ a.T).amin(dim=2)
    force = torch.einsum("fij,bj->bfi", multipliers, values).amin(dim=2)
    best = torch.minimum(slack, force).argmax(dim=1)
    index = best[:, None, None].expand(-1, 1, values.shape[1])
    return candidates.gather(1, index)[:, 0]


@functools.lru_cache(maxsize=64)
def _faces(data: bytes, shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    matrix = np.frombuffer(data, dtype=np.float64).reshape(shape)
    m, k = shape
    projectors, multipliers = [], []
    for active in product((False, True), repeat=m):
        rows = matrix[list(active)]
        inverse = np.linalg.inv(rows @ rows.T) @ rows
        projectors.append(np.eye(k) - rows.T @ inverse)
        full = np.zeros((m, k))
        full[list(active)] = -inverse
        multipliers.append(full)
    # On the face without active rows every multiplier is absent, hence fine: a zero
    # row never is the worst unless it ties, which is the boundary between two faces.
    return np.stack(projectors), np.stack(multipliers)


class _ProjectByInteriorPoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        gram = matrix @ matrix.T
        slack_of_values = values @ matrix.T
        multipliers, slack = _interior_point(gram, slack_of_values)
        active = multipliers > slack
        ctx.save_for_backward(active, matrix)
        # Knowing the face, the projection is one linear solve.  Where that solve does
        # not confirm the face (a tie), the interior point itself is the answer.
        exact = _solve_active(active, gram, -slack_of_values)
        confirmed = torch.minimum(
            exact.amin(dim=1), (slack_of_values + exact @ gram).amin(dim=1)
        )
        multipliers = torch.where(confirmed[:, None] >= -1e-9, exact, multipliers)
        return values + multipliers @ matrix

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        (grad,) = grads
        active, matrix = ctx.saved_tensors
        multipliers = _solve_active(active, matrix @ matrix.T, -(grad @ matrix.T))
        return grad + multipliers @ matrix, None


def _project_by_interior_point(values: torch.Tensor, matrix: FloatArray) -> torch.Tensor:
    a = torch.as_tensor(matrix, device=values.device, dtype=values.dtype)
    # Cones that contain the constants: level and scale can be taken out of each row,
    # which makes the tolerances below relative to the row.
    level = values.mean(dim=1, keepdim=True).detach()
    scale = (values - level).abs().amax(dim=1, keepdim=True).detach()
    scale = torch.where(scale > 0.0, scale, torch.ones_like(scale))
    projected: torch.Tensor = _ProjectByInteriorPoint.apply((values - level) / scale, a)
    return projected * scale + level


def _solve_active(
    active: torch.Tensor, gram: torch.Tensor, rhs: torch.Tensor
) -> torch.Tensor:
    """Multipliers ``(B, m)``, zero off the active rows, with ``gram @ them = rhs`` on."""
    mask = active.to(rhs.dtype)
    masked = gram * mask[:, :, None] * mask[:, None, :]
    system = masked + torch.diag_embed(1.0 - mask)
    return torch.linalg.solve(system, (rhs * mask)[:, :, None])[:, :, 0]


def _interior_point(
    gram: torch.Tensor, slack_of_values: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Multipliers and slacks ``(B, m)`` of ``s = A v + G mu``, both >= 0, ``s mu = 0``.

    Mehrotra's predictor-corrector (Nocedal and Wright, "Numerical Optimization",
    section 16.6), all rows at once.
    """
    count = gram.shape[0]
    slack = slack_of_values.abs().clamp(min=1.0)
    multipliers = torch.ones_like(slack)
    previous_gap = torch.full_like(slack[:, :1], torch.inf)
    for _ in range(_MAX_INTERIOR_ITERATIONS):
        infeasibility = slack_of_values + multipliers @ gram - slack
        gap = (multipliers * slack).sum(dim=1, keepdim=True) / count
        worst = torch.maximum(infeasibility.abs().amax(dim=1, keepdim=True), gap)
        # Rows that are done stand still: near the boundary their systems degenerate.
        running = worst >= _INTERIOR_TOLERANCE
        if not bool(running.any()):
            break
        system = gram + torch.diag_embed(slack / multipliers)
        factor = torch.linalg.cholesky_ex(system)[0]

        def direction(complement: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            rhs = -infeasibility - complement / multipliers  # noqa: B023
            d_mu = torch.cholesky_solve(rhs[:, :, None], factor)[:, :, 0]  # noqa: B023
            return d_mu, infeasibility + d_mu @ gram  # noqa: B023

        d_mu, d_slack = direction(multipliers * slack)
        step = torch.minimum(
            _to_boundary(multipliers, d_mu), _to_boundary(slack, d_slack)
        )
        after = (multipliers + step * d_mu) * (slack + step * d_slack)
        centring = (after.sum(dim=1, keepdim=True) / count / gap.clamp(min=1e-300)) ** 3
        # A short predictor step or a gap that hardly fell says that the row is far off
        # the central path: go back to it before trusting second-order terms, or the
        # method can cycle.
        off_path = (step < 0.1) | (gap > 0.7 * previous_gap)
        previous_gap = gap
        centring = torch.where(off_path, centring.clamp(min=0.3), centring)
        second_order = torch.where(off_path, 0.0, d_mu * d_slack)
        d_mu, d_slack = direction(multipliers * slack + second_order - centring * gap)
        step = 0.995 * torch.minimum(
            _to_boundary(multipliers, d_mu), _to_boundary(slack, d_slack)
        )
        sound = running & torch.isfinite(d_mu + d_slack).all(dim=1, keepdim=True)
        if not bool(sound.any()):
            break
        multipliers = torch.where(sound, multipliers + step * d_mu, multipliers)
        slack = torch.where(sound, slack + step * d_slack, slack)
    short = int((worst > _NOTICEABLE_GAP).sum())
    if short:
        warnings.warn(
            f"{short} of {len(slack)} projections stopped up to {float(worst.max()):.1e} "
            "short of the nearest point (of unit-scale values); actions that nearly "
            "coincide make the problem ill-conditioned",
            RuntimeWarning,
            stacklevel=2,
        )
    return multipliers, slack


def _to_boundary(point: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Longest step in [0, 1] that keeps each row positive, ``(B, 1)``."""
    ratio = torch.where(direction < 0.0, -point / direction, torch.inf)
    return ratio.amin(dim=1, keepdim=True).clamp(max=1.0)
