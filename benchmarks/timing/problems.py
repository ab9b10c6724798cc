"""What ``python -m benchmarks shapes`` projects, and answers that can be trusted."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from icac_algo import shapes

FloatArray = npt.NDArray[np.float64]

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
    """One batch to project onto ``{v: matrix v >= bounds}``, and a loss on the result."""

    shape: str  # a name in ``SHAPES``
    q: npt.NDArray[np.float32]  # float32 ``(B, K)``
    weights: npt.NDArray[np.float32]  # of the loss ``(u * weights).sum()``
    matrix: FloatArray  # float64 ``(m, K)``, rows of length one
    bounds: FloatArray  # float64 ``(m,)``

    @property
    def size(self) -> int:
        return self.q.shape[1]


def make_problem(shape: str, size: int, batch: int) -> Problem:
    """A random parabola over the actions plus noise of unit size in each row.

    The rows depend on ``size`` and ``batch`` only, so all shapes project the same.
    """
    rng = np.random.default_rng([size, batch])
    x = np.linspace(0.0, 1.0, size)
    slope, bend = rng.normal(size=(2, batch, 1)) * 2.0
    q = slope * x + bend * (x - 0.5) ** 2 + rng.normal(size=(batch, size))
    weights = rng.normal(size=(batch, size))
    constraint = SHAPES[shape]
    positions = constraint.positions(size)
    matrix, bounds = constraint.inequalities(positions), constraint.bounds(positions)
    # Some solvers stop at an absolute residual: give them rows of one length.
    lengths = np.linalg.norm(matrix, axis=1)
    return Problem(
        shape,
        q.astype(np.float32),
        weights.astype(np.float32),
        matrix / lengths[:, None],
        bounds / lengths,
    )


@dataclasses.dataclass(frozen=True)
class Reference:
    """Trusted solutions of some rows of a problem."""

    rows: npt.NDArray[np.int64]  # which, ``(n,)``
    values: FloatArray  # float64 ``(n, K)``
    scales: FloatArray  # size of each row, its largest distance from its mean, ``(n, 1)``
    residual: float  # largest violation of the optimality conditions, of the row's scale

    def error_of(self, solution: npt.NDArray[Any]) -> float:
        """Largest absolute error of a ``(B, K)`` solution, relative to its row."""
        errors = np.abs(solution[self.rows].astype(np.float64) - self.values)
        return float((errors / self.scales).max())


def solve_trusted(problem: Problem, count: int) -> Reference:
    """Solves equally spaced rows by quadprog's active set method, in float64."""
    solve_qp = importlib.import_module("quadprog").solve_qp
    batch, size = problem.q.shape
    rows = np.unique(np.linspace(0, batch - 1, min(count, batch)).astype(np.int64))
    q = problem.q[rows].astype(np.float64)
    scales = np.abs(q - q.mean(axis=1, keepdims=True)).max(axis=1, keepdims=True)
    identity, columns = np.eye(size), np.ascontiguousarray(problem.matrix.T)
    values, residual = np.empty_like(q), 0.0
    for i, row in enumerate(q):
        found = solve_qp(identity, row, columns, problem.bounds)
        values[i], multipliers = found[0], found[4]
        slack = problem.matrix @ values[i] - problem.bounds
        violations = (
            -slack.min(),
            -multipliers.min(),
            np.abs(slack * multipliers).max() / scales[i, 0],
            np.abs(values[i] - row - columns @ multipliers).max(),
        )
        residual = max(residual, float(max(violations) / scales[i, 0]))
    return Reference(rows, values, scales, residual)
