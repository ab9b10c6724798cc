r"""Projection onto :math:`\{u : A u \ge b\}` with few rows, by trying all its faces.

On the face where the rows ``F`` hold with equality the nearest point is linear in the
values, and so are its slacks and multipliers.  The face whose worst sign is best is the
right one; no tolerance is involved.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..normal_form import is_exporting
from .jacobians import Jacobian

FloatArray = npt.NDArray[np.float64]

# Their slacks and multipliers are one matrix product; beyond, iterations are quicker.
MAX_FACES = 128


def count_faces(matrix: FloatArray) -> int:
    """How many faces there are to try; rows that exclude each other count once."""
    parallel = _opposite_pairs(matrix)
    return int(3 ** len(parallel) * 2 ** (len(matrix) - 2 * len(parallel)))


class Faces:
    """All faces of ``{u : A u >= b}``, ready to project onto."""

    def __init__(self, matrix: FloatArray, bounds: FloatArray):
        # Rows of one length: unequal gaps must not weigh them differently.
        lengths = np.linalg.norm(matrix, axis=1)
        matrix, bounds = matrix / lengths[:, None], bounds / lengths
        count, size = matrix.shape
        opposite = _opposite_pairs(matrix)
        faces = []
        for active in itertools.product((False, True), repeat=count):
            tight = np.flatnonzero(active)
            if any(active[i] and active[j] for i, j in opposite):
                continue
            rows = matrix[tight]
            # Multipliers can always be chosen on independent rows.
            if len(tight) and np.linalg.matrix_rank(rows) < len(tight):
                continue
            gram = rows @ rows.T
            inverse = np.linalg.solve(gram, rows)
            pulled = np.linalg.solve(gram, bounds[tight])
            projector = np.eye(size) - rows.T @ inverse
            offset = rows.T @ pulled
            # Slack of free rows: A (P v + offset) - b.  Multipliers: (G^-1)(b - A v).
            sign, sign_offset = matrix @ projector, matrix @ offset - bounds
            sign[tight], sign_offset[tight] = -inverse, pulled
            faces.append((sign, sign_offset, projector, offset))
        signs, sign_offsets, projectors, offsets = zip(*faces, strict=True)
        self._rows = count
        self._shifted = bool(np.any(sign_offsets))
        sign, offset = np.stack(signs, axis=1), np.stack(sign_offsets, axis=1)
        if self._shifted:
            sign = np.concatenate([sign, offset[:, :, None]], axis=2)
        # (m F, K), rows first: minima then run along the batch, which is far quicker.
        sign = sign.reshape(-1, sign.shape[2])
        self._arrays = (sign, np.stack(projectors), np.stack(offsets))
        self._kept: dict[Any, tuple[torch.Tensor, ...]] = {}

    def project(
        self, values: torch.Tensor, raw: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Jacobian]:
        """The projection of float64 ``(B, K)``, exact up to rounding, and its Jacobian.

        ``raw`` are the values in the dtype they came in: a face chosen in float32 for
        float32 values is wrong by no more than their own rounding.
        """
        raw = values if raw is None else raw
        signs = self._tensors(raw)[0]
        _, projectors, offsets = self._tensors(values)
        if self._shifted:
            raw = torch.nn.functional.pad(raw, (0, 1), value=1.0)
        sign = signs @ raw.T
        # Not len(raw), which a traced graph would take for a constant.
        worst = sign.view(self._rows, -1, raw.shape[0]).amin(dim=0)
        best = worst.max(dim=0).indices
        chosen = projectors.index_select(0, best)
        projected = _times(values, chosen)
        if self._shifted:
            projected += offsets.index_select(0, best)
        return projected, lambda grad: _times(grad.to(chosen), chosen).to(grad.dtype)

    def _tensors(self, like: torch.Tensor) -> tuple[torch.Tensor, ...]:
        key = (like.dtype, like.device)
        if key in self._kept and not is_exporting():
            return self._kept[key]
        made = tuple(
            torch.as_tensor(np.ascontiguousarray(array)).to(like.device, like.dtype)
            for array in self._arrays
        )
        if not is_exporting():
            # A graph's tensors are of no use outside of it.
            self._kept[key] = made
        return made


def _times(values: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Row by row ``values @ matrices``: ``(B, K)`` and ``(B, K, K)`` to ``(B, K)``."""
    return torch.bmm(values[:, None], matrices)[:, 0]


def _opposite_pairs(matrix: FloatArray) -> npt.NDArray[np.intp]:
    """Pairs of rows that are each other's negative: bounds on both sides."""
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.argwhere(np.triu(unit @ unit.T < -1.0 + 1e-12))
