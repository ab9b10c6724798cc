"""Layers that others offer for linear inequalities, and what each costs and breaks.

A layer takes float32 rows ``(B, K)`` and, for a pass backward, weights of a linear loss.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..engine.rows import Row
from ..engine.timing import seconds_of
from .hunt import hunt

FloatArray = npt.NDArray[np.float64]
Layer = Callable[..., npt.NDArray[Any]]
#: Seconds that a hunt may take.
HUNT_LIMIT = 2.0
CHECKS, ROUNDS = 24_576, 3
#: What float32 may hide, as a share of the row's largest value.
ROUNDING = 1e-6
COLUMNS = (
    *("shape", "size", "batch", "method", "round", "seconds", "error"),
    *("checks", "violations", "beyond", "largest", "note"),
)


class NotOffered(Exception):
    """The layer is not made for such a shape."""


def through_torch(layer: Callable[[torch.Tensor], torch.Tensor]) -> Layer:
    """A layer of torch, forward and backward."""

    def passed(q: npt.NDArray[Any], weights: Any = None) -> npt.NDArray[Any]:
        rows = torch.from_numpy(q)
        if weights is None:
            with torch.no_grad():
                return layer(rows).numpy()
        u = layer(rows.requires_grad_())
        (u * torch.from_numpy(weights)).sum().backward()
        return u.detach().numpy()

    return passed


def _qpth(matrix: FloatArray, bounds: FloatArray, batch: int) -> Layer:
    solve = importlib.import_module("qpth.qp").QPFunction(verbose=-1, check_Q_spd=False)
    rows, least = torch.from_numpy(-matrix), torch.from_numpy(-bounds)
    square, none = torch.eye(matrix.shape[1], dtype=torch.float64), torch.empty(0)
    return through_torch(
        lambda q: solve(square, -q.double(), rows, least, none, none).float()
    )


def _cvxpylayers(matrix: FloatArray, bounds: FloatArray, batch: int) -> Layer:
    cvxpy = importlib.import_module("cvxpy")
    u, v = cvxpy.Variable(matrix.shape[1]), cvxpy.Parameter(matrix.shape[1])
    aim = cvxpy.Minimize(0.5 * cvxpy.sum_squares(u - v))
    problem = cvxpy.Problem(aim, [matrix @ u >= bounds])
    made = importlib.import_module("cvxpylayers.torch").CvxpyLayer(problem, [v], [u])
    return through_torch(lambda q: made(q.double())[0].float())


def _moreau(matrix: FloatArray, bounds: FloatArray, batch: int) -> Layer:
    moreau = importlib.import_module("moreau")
    sparse = importlib.import_module("scipy.sparse").csr_array
    parts = [sparse(np.eye(matrix.shape[1])), sparse(-matrix)]
    pattern = [torch.from_numpy(a).long() for p in parts for a in (p.indptr, p.indices)]
    solver = importlib.import_module("moreau.torch").Solver(
        *matrix.shape[::-1],
        *pattern,
        cones=moreau.Cones(num_nonneg_cones=len(matrix)),
        settings=moreau.Settings(device="cpu", batch_size=batch, enable_grad=True),
    )
    values = [torch.from_numpy(p.data).expand(batch, -1) for p in parts]
    least = torch.from_numpy(-bounds).expand(batch, -1)
    return through_torch(lambda q: solver.solve(*values, -q.double(), least).x.float())


def _pinet(matrix: FloatArray, bounds: FloatArray, batch: int) -> Layer:
    jax, pinet = importlib.import_module("jax"), importlib.import_module("pinet")
    put = jax.numpy.asarray
    inequalities = pinet.AffineInequalityConstraint(
        put(matrix[None], dtype="float32"),
        put(bounds[None, :, None], dtype="float32"),
        put(np.full((1, len(bounds), 1), np.inf), dtype="float32"),
    )
    project = pinet.Project(ineq_constraint=inequalities)
    steps = pinet.Constants.PROJECTION_DEFAULT_MAX_ITER

    @jax.jit  # type: ignore[untyped-decorator]
    def forward(q: Any) -> Any:
        instance = pinet.ProjectionInstance(x=q[:, :, None])
        return project.call(y_raw=instance, n_iter=steps)[0].x[:, : q.shape[1], 0]

    @jax.jit  # type: ignore[untyped-decorator]
    def both(q: Any, weights: Any) -> Any:
        u, back = jax.vjp(forward, q)
        return u, back(weights)

    def passed(q: npt.NDArray[Any], weights: Any = None) -> npt.NDArray[Any]:
        if weights is None:
            return np.asarray(forward(put(q)))
        return np.asarray(jax.block_until_ready(both(put(q), put(weights)))[0])

    return passed


def _hardnet(matrix: FloatArray, bounds: FloatArray, batch: int) -> Layer:
    """Min and Azizan (2024), equation of HardNet-Aff."""
    half, upper = len(matrix) // 2, np.full(len(matrix), np.inf)
    if half and np.array_equal(matrix[half:], -matrix[:half]):
        # Bounds on both sides are one row.
        matrix, bounds, upper = matrix[:half], bounds[:half], -bounds[half:]
    if np.linalg.matrix_rank(matrix) < len(matrix):
        raise NotOffered("its inequalities depend on each other")
    rows, inverse, low, high = (
        torch.from_numpy(a).float()
        for a in (matrix.T.copy(), np.linalg.pinv(matrix).T.copy(), bounds, upper)
    )

    def layer(q: torch.Tensor) -> torch.Tensor:
        at = q @ rows
        return q + (torch.relu(low - at) - torch.relu(at - high)) @ inverse

    return through_torch(layer)


def _torchisotonic(matrix: FloatArray, bounds: FloatArray, batch: int) -> Layer:
    steps = np.diff(np.eye(matrix.shape[1]), axis=0) / math.sqrt(2.0)
    if bounds.any() or matrix.shape != steps.shape or not np.allclose(matrix, steps):
        raise NotOffered("rising values only")
    return through_torch(importlib.import_module("torchisotonic").isotonic)


RIVALS: dict[str, Callable[[FloatArray, FloatArray, int], Layer]] = {
    "qpth": _qpth,
    "cvxpylayers": _cvxpylayers,
    "moreau": _moreau,
    "pinet": _pinet,
    "HardNet-Aff": _hardnet,
    "torchisotonic": _torchisotonic,
}


def measure(
    at: Row, make: Callable[[int], Layer], problem: Any, reference: Any, quick: bool
) -> Iterator[Row]:
    """Time, error and violations of one layer; why not, where it has none."""
    matrix, bounds = problem.inequalities()
    lengths = np.linalg.norm(matrix, axis=1)
    q, weights = problem.q, problem.weights
    batch, size = q.shape
    try:
        layer = make(batch)
        error = reference.error_of(layer(q.copy(), weights))
    except (ImportError, NotOffered) as why:
        missing = isinstance(why, ImportError)
        yield {**at, "note": "not installed" if missing else str(why)}
        return

    beyond = 0

    def violation(points: FloatArray) -> FloatArray:
        whole = np.resize(points, (-(-len(points) // batch) * batch, size))
        blocks = np.split(whole.astype(np.float32), len(whole) // batch)
        u = np.concatenate([layer(block) for block in blocks])[: len(points)]
        largest = np.abs(points).max(axis=1)
        # Divided at the end: the difference of equal values is then exactly 0.
        excess = (bounds - u.astype(np.float64) @ matrix.T) / lengths
        found = excess.max(axis=1) / np.maximum(largest, 1e-6)
        nonlocal beyond
        beyond += int(np.count_nonzero(~(found <= ROUNDING)))
        return np.asarray(found)

    layer(q.copy())
    forward = seconds_of(lambda: layer(q.copy()))
    most = batch if quick else int(HUNT_LIMIT / forward) * batch
    ends = np.full(size, 3.0)
    found = hunt(violation, -ends, ends, max(batch, min(CHECKS, most)), 0)
    shown = {"checks": found.checks, "violations": found.violations}
    for turn in range(1 if quick else ROUNDS):
        seconds = seconds_of(lambda: layer(q.copy(), weights))
        more = {**shown, "beyond": beyond, "largest": found.largest, "error": error}
        yield {**at, **more, "round": turn, "seconds": seconds, "note": ""}
