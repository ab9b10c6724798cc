"""The linear systems of the interior point method, all rows of a batch in one band.

Every inequality looks at up to three neighbouring actions, so ``A A'`` in the order of
the actions is a band, and so are all rows one after the other: one call of LAPACK's
banded Cholesky, on the CPU.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import LinAlgError, solveh_banded

FloatArray = npt.NDArray[np.float64]
Solve = Callable[[torch.Tensor], torch.Tensor]


class LinearSystem:
    """Solves with the Gram matrix ``G = A A'`` of ``A``, ``(m, K)``, in any order."""

    def __init__(self, matrix: FloatArray, device: torch.device):
        middle = (np.abs(matrix) @ np.arange(matrix.shape[1])) / np.abs(matrix).sum(1)
        self._order = np.argsort(middle, kind="stable")
        self._back = np.argsort(self._order)
        ordered = matrix[self._order]
        gram = ordered @ ordered.T
        rows, columns = np.nonzero(np.abs(gram) > 0.0)
        # Lower form: band[d, i] = G[i + d, i].
        self._band = np.zeros((int(np.abs(rows - columns).max()) + 1, len(gram)))
        for d in range(len(self._band)):
            self._band[d, : len(gram) - d] = np.diagonal(gram, -d)
        self._columns, self._weights = _sparse_rows(matrix, device)
        self._rows_of, self._weights_of = _sparse_rows(matrix.T, device)

    def apply(self, values: torch.Tensor) -> torch.Tensor:
        """``A v`` for each row, ``(B, K)`` to ``(B, m)``."""
        return (values[:, self._columns] * self._weights).sum(dim=2)

    def transpose(self, multipliers: torch.Tensor) -> torch.Tensor:
        """``A' mu`` for each row, ``(B, m)`` to ``(B, K)``."""
        return (multipliers[:, self._rows_of] * self._weights_of).sum(dim=2)

    def gram(self, multipliers: torch.Tensor) -> torch.Tensor:
        """``G mu`` for each row, ``(B, m)``."""
        return self.apply(self.transpose(multipliers))

    def factor(self, diagonal: torch.Tensor) -> Solve:
        """What solves ``(G + diag(d)) x = rhs`` for positive ``d``, ``(B, m)``."""
        added = diagonal.cpu().numpy()[:, self._order]
        bands = np.repeat(self._band[:, None], len(added), axis=1)
        bands[0] += added
        return functools.partial(self._solve, bands)

    def solve_active(self, active: torch.Tensor, rhs: torch.Tensor) -> torch.Tensor:
        """Multipliers, zero off the active rows, with ``G mu = rhs`` on them."""
        masks = active.cpu().numpy()[:, self._order].astype(np.float64)
        bands = np.repeat(self._band[:, None], len(masks), axis=1)
        count = masks.shape[1]
        for d in range(len(bands)):
            bands[d, :, : count - d] *= masks[:, d:] * masks[:, : count - d]
        bands[0] += 1.0 - masks
        return self._solve(bands, rhs * active)

    def _solve(self, bands: FloatArray, rhs: torch.Tensor) -> torch.Tensor:
        targets = rhs.detach().cpu().numpy()[:, self._order]
        try:
            flat = _solve_band(bands.reshape(len(bands), -1), targets.reshape(-1))
            solution = flat.reshape(targets.shape)
        except LinAlgError:
            # One row spoils all that follow.
            rows = zip(bands.swapaxes(0, 1), targets, strict=True)
            solution = np.stack([_solve_nearly(*row) for row in rows])
        return torch.as_tensor(solution[:, self._back]).to(rhs)


def _solve_band(band: FloatArray, target: FloatArray) -> FloatArray:
    solution = solveh_banded(band, target, lower=True, check_finite=False)
    if not np.isfinite(solution).all():
        raise LinAlgError("not finite")
    return np.asarray(solution)


def _solve_nearly(band: FloatArray, target: FloatArray) -> FloatArray:
    """The solution, or that of the least that makes a band positive definite.

    Inequalities may depend on each other, up to rounding; signs, checked by the caller,
    tell whether it was too much.
    """
    for added in (0.0, 1e-13):
        more = np.zeros_like(band)
        more[0] = added * band[0].max()
        with contextlib.suppress(LinAlgError):
            return _solve_band(band + more, target)
    return np.full_like(target, np.nan)


def _sparse_rows(
    matrix: FloatArray, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns and weights of the nonzeros of each row, padded: ``(m, n)`` each."""
    most = max(1, int((matrix != 0.0).sum(axis=1).max()))
    columns = np.argsort(matrix == 0.0, axis=1, kind="stable")[:, :most]
    weights = np.take_along_axis(matrix, columns, axis=1)
    return torch.as_tensor(columns).to(device), torch.as_tensor(weights).to(device)
