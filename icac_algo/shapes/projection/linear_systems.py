"""The linear systems of the interior point method: dense, or banded for long rows.

Every inequality looks at up to three neighbouring actions, so ``A A'`` in the order of
the actions is a band.  A short row is solved dense, all of a batch at once; a long one on
the CPU by LAPACK's banded Cholesky, row by row.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import LinAlgError, solveh_banded

FloatArray = npt.NDArray[np.float64]
Solve = Callable[[torch.Tensor], torch.Tensor]

# From here on a banded solve for each row beats a dense one for all of them.
_LARGEST_DENSE = 96


class DenseSystem:
    """Solves with the Gram matrix ``G = A A'`` of ``A``, ``(m, K)``."""

    def __init__(self, matrix: torch.Tensor):
        self._matrix = matrix
        self._gram = matrix @ matrix.T

    def apply(self, values: torch.Tensor) -> torch.Tensor:
        """``A v`` for each row, ``(B, K)`` to ``(B, m)``."""
        return values @ self._matrix.T

    def transpose(self, multipliers: torch.Tensor) -> torch.Tensor:
        """``A' mu`` for each row, ``(B, m)`` to ``(B, K)``."""
        return multipliers @ self._matrix

    def gram(self, multipliers: torch.Tensor) -> torch.Tensor:
        """``G mu`` for each row, ``(B, m)``."""
        return multipliers @ self._gram

    def factor(self, diagonal: torch.Tensor) -> Solve:
        """What solves ``(G + diag(d)) x = rhs`` for positive ``d``, ``(B, m)``."""
        system = self._gram + torch.diag_embed(diagonal)
        factor = torch.linalg.cholesky_ex(system)[0]
        return lambda rhs: torch.cholesky_solve(rhs[:, :, None], factor)[:, :, 0]

    def solve_active(self, active: torch.Tensor, rhs: torch.Tensor) -> torch.Tensor:
        """Multipliers, zero off the active rows, with ``G mu = rhs`` on them.

        With active rows that depend on each other, the solution of least norm.
        """
        mask = active.to(rhs.dtype)
        masked = self._gram * mask[:, :, None] * mask[:, None, :]
        system = masked + torch.diag_embed(1.0 - mask)
        target = (rhs * mask)[:, :, None]
        solution, info = torch.linalg.solve_ex(system, target)
        if bool((info != 0).any()) or not bool(torch.isfinite(solution).all()):
            solution = torch.linalg.pinv(system, hermitian=True) @ target
        return solution[:, :, 0]


class BandedSystem:
    """As :class:`DenseSystem`, with banded solves on the CPU; rows in any order."""

    def __init__(self, matrix: FloatArray, device: torch.device):
        middle = (np.abs(matrix) @ np.arange(matrix.shape[1])) / np.abs(matrix).sum(1)
        self._order = np.argsort(middle, kind="stable")
        self._back = np.argsort(self._order)
        ordered = matrix[self._order]
        gram = ordered @ ordered.T
        rows, columns = np.nonzero(np.abs(gram) > 0.0)
        self._width = int(np.abs(rows - columns).max())
        # Lower form: band[d, i] = G[i + d, i].
        self._band = np.zeros((self._width + 1, len(gram)))
        for d in range(self._width + 1):
            self._band[d, : len(gram) - d] = np.diagonal(gram, -d)
        self._columns, self._weights = _sparse_rows(matrix, device)
        self._rows_of, self._weights_of = _sparse_rows(matrix.T, device)

    def apply(self, values: torch.Tensor) -> torch.Tensor:
        return (values[:, self._columns] * self._weights).sum(dim=2)

    def transpose(self, multipliers: torch.Tensor) -> torch.Tensor:
        return (multipliers[:, self._rows_of] * self._weights_of).sum(dim=2)

    def gram(self, multipliers: torch.Tensor) -> torch.Tensor:
        return self.apply(self.transpose(multipliers))

    def factor(self, diagonal: torch.Tensor) -> Solve:
        added = diagonal.cpu().numpy()[:, self._order]
        bands = np.repeat(self._band[None], len(added), axis=0)
        bands[:, 0] += added
        return functools.partial(self._solve, bands)

    def solve_active(self, active: torch.Tensor, rhs: torch.Tensor) -> torch.Tensor:
        masks = active.cpu().numpy()[:, self._order].astype(np.float64)
        bands = np.repeat(self._band[None], len(masks), axis=0)
        count = masks.shape[1]
        for d in range(self._width + 1):
            bands[:, d, : count - d] *= masks[:, d:] * masks[:, : count - d]
        bands[:, 0] += 1.0 - masks
        return self._solve(bands, rhs * active)

    def _solve(self, bands: FloatArray, rhs: torch.Tensor) -> torch.Tensor:
        targets = rhs.cpu().numpy()[:, self._order]
        solution = np.stack(list(map(_solve_band, bands, targets)))
        return torch.as_tensor(solution[:, self._back]).to(rhs)


LinearSystem = DenseSystem | BandedSystem


def make_system(matrix: FloatArray, device: torch.device) -> LinearSystem:
    """The system that suits the number of inequalities and the device."""
    if device.type == "cpu" and len(matrix) > _LARGEST_DENSE:
        return BandedSystem(matrix, device)
    return DenseSystem(torch.as_tensor(matrix).to(device))


def _solve_band(band: FloatArray, target: FloatArray) -> FloatArray:
    try:
        return np.asarray(solveh_banded(band, target, lower=True, check_finite=False))
    except LinAlgError:
        # Rows that depend on each other, up to rounding: the least that makes it
        # positive definite.  Signs, checked by the caller, tell whether it was too much.
        band = band.copy()
        band[0] += 1e-13 * band[0].max()
        try:
            return np.asarray(solveh_banded(band, target, lower=True, check_finite=False))
        except LinAlgError:
            return np.full_like(target, np.nan)


def _sparse_rows(
    matrix: FloatArray, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns and weights of the nonzeros of each row, padded: ``(m, n)`` each."""
    most = max(1, int((matrix != 0.0).sum(axis=1).max()))
    columns = np.argsort(matrix == 0.0, axis=1, kind="stable")[:, :most]
    weights = np.take_along_axis(matrix, columns, axis=1)
    return torch.as_tensor(columns).to(device), torch.as_tensor(weights).to(device)
