"""Rows to project onto shapes, and trusted solutions of some of them."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from icac_algo import shapes

FloatArray = npt.NDArray[np.float64]
BATCH = 256
OURS, IDENTITY = "icac_algo", "identity"
#: Dynamic programming over two bounds on slopes takes minutes at more actions.
LARGEST = {"SlopeBounds(-1, 1)": 201}
#: Rows that are solved by the reference, and how many where they are long.
CHECKED, CHECKED_LONG, LONG = 32, 3, 1001

# Actions are equidistant on [0, 1]: at every K some bounds bind and some do not.
SHAPES: dict[str, shapes.Constraint] = {
    "Monotone": shapes.Monotone(),
    "SlopeBounds(-1, 1)": shapes.SlopeBounds(-1.0, 1.0),
    "Bounded(-1, 1)": shapes.Bounded(-1.0, 1.0),
    "Concave": shapes.Concave(),
    "Convex": shapes.Convex(),
    "MonotoneConcave": shapes.MonotoneConcave(),
    "Concave and SlopeBounds(-5, 5)": shapes.Intersection(
        [shapes.Concave(), shapes.SlopeBounds(-5.0, 5.0)]
    ),
}


@dataclasses.dataclass(frozen=True)
class Problem:
    """One batch to project onto a shape, and a loss on the result."""

    shape: str  # a name in ``SHAPES``
    q: npt.NDArray[np.float32]  # ``(B, K)``
    weights: npt.NDArray[np.float32]  # of the loss ``(u * weights).sum()``

    @classmethod
    def of(cls, shape: str, size: int, batch: int = BATCH) -> Problem:
        """A random parabola over the actions plus noise of unit size in each row.

        The rows depend on ``size`` and ``batch`` only, so all shapes project the same.
        """
        rng = np.random.default_rng([size, batch])
        x = np.linspace(0.0, 1.0, size)
        slope, bend = rng.normal(size=(2, batch, 1)) * 2.0
        q = slope * x + bend * (x - 0.5) ** 2 + rng.normal(size=(batch, size))
        weights = rng.normal(size=(batch, size))
        return cls(shape, q.astype(np.float32), weights.astype(np.float32))

    def inequalities(self) -> tuple[FloatArray, FloatArray]:
        """The shape as ``A u >= b``, ``(m, K)`` and ``(m,)``."""
        constraint = SHAPES[self.shape]
        positions = constraint.positions(self.q.shape[1])
        return constraint.inequalities(positions), constraint.bounds(positions)

    def methods(self) -> dict[str, Callable[[], npt.NDArray[Any]]]:
        """Passes forward and backward, to the solution."""
        return {
            IDENTITY: functools.partial(self._passed, lambda q: q * 1.0),
            OURS: functools.partial(self._passed, SHAPES[self.shape].project),
        }

    def _passed(self, layer: Callable[[torch.Tensor], torch.Tensor]) -> npt.NDArray[Any]:
        q = torch.from_numpy(self.q).requires_grad_()
        u = layer(q)
        (u * torch.from_numpy(self.weights)).sum().backward()
        return u.detach().numpy()


@dataclasses.dataclass(frozen=True)
class Reference:
    """Trusted solutions of some rows of a problem, by quadprog's active set method."""

    rows: npt.NDArray[np.int64]  # which, ``(n,)``
    values: FloatArray  # ``(n, K)``
    scales: FloatArray  # size of each row, its largest distance from its mean, ``(n, 1)``
    residual: float  # largest violation of the optimality conditions, of the row's scale

    @classmethod
    def of(cls, problem: Problem, count: int | None = None) -> Reference:
        solve_qp = importlib.import_module("quadprog").solve_qp
        batch, size = problem.q.shape
        matrix, bounds = problem.inequalities()
        count = count or (CHECKED_LONG if size >= LONG else CHECKED)
        # It stops at an absolute residual: it gets rows of one length.
        lengths = np.linalg.norm(matrix, axis=1)
        matrix, bounds = matrix / lengths[:, None], bounds / lengths
        rows = np.unique(np.linspace(0, batch - 1, min(count, batch)).astype(np.int64))
        q = problem.q[rows].astype(np.float64)
        scales = np.abs(q - q.mean(axis=1, keepdims=True)).max(axis=1, keepdims=True)
        identity, columns = np.eye(size), np.ascontiguousarray(matrix.T)
        values, residual = np.empty_like(q), 0.0
        for i, row in enumerate(q):
            found = solve_qp(identity, row, columns, bounds)
            values[i], multipliers = found[0], found[4]
            slack = matrix @ values[i] - bounds
            violations = (
                -slack.min(),
                -multipliers.min(),
                np.abs(slack * multipliers).max() / scales[i, 0],
                np.abs(values[i] - row - columns @ multipliers).max(),
            )
            residual = max(residual, float(max(violations) / scales[i, 0]))
        return cls(rows, values, scales, residual)

    def error_of(self, solution: npt.NDArray[Any]) -> float:
        """Largest absolute error of a ``(B, K)`` solution, relative to its row."""
        errors = np.abs(solution[self.rows].astype(np.float64) - self.values)
        return float((errors / self.scales).max())
