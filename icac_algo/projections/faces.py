r"""Projection onto :math:`\{u : A u \ge b\}` with few rows, by trying all its faces.

On the face where the rows ``F`` hold with equality the nearest point is linear in the
values, and so are its slacks and multipliers.  The face whose worst sign is best is the
right one; no tolerance is involved.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .jacobians import Jacobian

__all__ = ["MAX_FACES", "count_faces", "project_by_faces"]

FloatArray = npt.NDArray[np.float64]

# Their slacks and multipliers are one matrix product; beyond, iterations are quicker.
MAX_FACES = 128


@dataclasses.dataclass(frozen=True)
class _Faces:
    """For F faces of m rows over K values.

    Args:
        signs: values to slacks of free rows and multipliers of tight ones, ``(K, F m)``.
        sign_offsets: what is added, ``(F m,)``.
        projectors: onto each face, ``(F, K, K)``.
        offsets: what is added, ``(F, K)``.
    """

    signs: torch.Tensor
    sign_offsets: torch.Tensor
    projectors: torch.Tensor
    offsets: torch.Tensor


def count_faces(matrix: FloatArray) -> int:
    """How many faces there are to try; rows that exclude each other count once."""
    parallel = _opposite_pairs(matrix)
    return int(3 ** len(parallel) * 2 ** (len(matrix) - 2 * len(parallel)))


def project_by_faces(
    values: torch.Tensor, matrix: FloatArray, bounds: FloatArray
) -> tuple[torch.Tensor, Jacobian]:
    """The projection, feasible up to rounding, and its Jacobian.

    Args:
        values: ``(B, K)``.
        matrix: ``A``, ``(m, K)``.
        bounds: ``b``, ``(m,)``.
    """
    faces = _faces(
        matrix.tobytes(), bounds.tobytes(), matrix.shape, values.dtype, values.device
    )
    signs = torch.addmm(faces.sign_offsets, values, faces.signs)
    worst = signs.view(len(values), len(faces.offsets), len(matrix)).amin(dim=2)
    best = worst.argmax(dim=1)
    projectors = faces.projectors[best]
    projected = torch.baddbmm(faces.offsets[best][:, None], values[:, None], projectors)[
        :, 0
    ]

    def jacobian(grad: torch.Tensor) -> torch.Tensor:
        return torch.bmm(grad[:, None], projectors.to(grad.dtype))[:, 0]

    return projected, jacobian


@functools.lru_cache(maxsize=64)
def _faces(
    matrix_bytes: bytes,
    bounds_bytes: bytes,
    shape: tuple[int, int],
    dtype: torch.dtype,
    device: torch.device,
) -> _Faces:
    matrix = np.frombuffer(matrix_bytes, dtype=np.float64).reshape(shape)
    bounds = np.frombuffer(bounds_bytes, dtype=np.float64)
    # Rows of one length: unequal gaps between actions must not weigh them differently.
    lengths = np.linalg.norm(matrix, axis=1)
    matrix, bounds = matrix / lengths[:, None], bounds / lengths
    count, size = shape
    opposite = _opposite_pairs(matrix)
    signs, sign_offsets, projectors, offsets = [], [], [], []
    for active in itertools.product((False, True), repeat=count):
        tight = np.flatnonzero(active)
        if any(active[i] and active[j] for i, j in opposite):
            continue
        rows = matrix[tight]
        # Multipliers can always be chosen on independent rows.
        if len(tight) and np.linalg.matrix_rank(rows) < len(tight):
            continue
        inverse = np.linalg.inv(rows @ rows.T) @ rows if len(tight) else rows
        pulled = (
            np.linalg.solve(rows @ rows.T, bounds[tight]) if len(tight) else np.zeros(0)
        )
        projector = np.eye(size) - rows.T @ inverse
        offset = rows.T @ pulled
        # Slack of free rows: A (P v + offset) - b.  Multipliers: (G^-1)(b - A v).
        sign, sign_offset = matrix @ projector, matrix @ offset - bounds
        sign[tight], sign_offset[tight] = -inverse, pulled
        signs.append(sign)
        sign_offsets.append(sign_offset)
        projectors.append(projector)
        offsets.append(offset)

    def tensor(array: Any) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(array)).to(device, dtype)

    return _Faces(
        signs=tensor(np.concatenate(signs).T),
        sign_offsets=tensor(np.concatenate(sign_offsets)),
        projectors=tensor(np.stack(projectors)),
        offsets=tensor(np.stack(offsets)),
    )


def _opposite_pairs(matrix: FloatArray) -> list[tuple[int, int]]:
    """Pairs of rows that are each other's negative: bounds on both sides."""
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    products = unit @ unit.T
    first, second = np.nonzero(np.triu(products < -1.0 + 1e-12))
    return [(int(i), int(j)) for i, j in zip(first, second, strict=True)]
