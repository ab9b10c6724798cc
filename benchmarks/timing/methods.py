"""Ways to project within this process, each a pass forward and backward."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..engine.timing import seconds_of
from .problems import SHAPES, Problem

OURS = "icac_algo"
IDENTITY = "identity"
SCIPY = "scipy, row by row"
SKLEARN = "scikit-learn, row by row"


@dataclasses.dataclass
class Runner:
    """A method on one problem, built and warm."""

    solution: npt.NDArray[Any]
    seconds: Callable[[int], float]  # repeats to the mean time of a pass, both ways


def local(one_pass: Callable[[], npt.NDArray[Any]]) -> Runner:
    """A pass within this process: forward and backward, to the solution."""

    def seconds(repeats: int) -> float:
        return seconds_of(lambda: [one_pass() for _ in range(repeats)]) / repeats

    return Runner(one_pass(), seconds)


def local_methods(problem: Problem) -> dict[str, Callable[[], Runner]]:
    """What builds each method that can run here; identity first, then ours."""
    project = SHAPES[problem.shape].project
    methods: dict[str, Callable[[], Runner]] = {
        IDENTITY: lambda: local(_torch_pass(problem, lambda q: q * 1.0)),
        OURS: lambda: local(_torch_pass(problem, project)),
    }
    if problem.shape == "Monotone":
        from scipy.optimize import isotonic_regression as of_scipy
        from sklearn.isotonic import isotonic_regression as of_sklearn

        methods[SCIPY] = lambda: local(_pool_pass(problem, lambda row: of_scipy(row).x))
        methods[SKLEARN] = lambda: local(_pool_pass(problem, of_sklearn))
    return methods


def _torch_pass(
    problem: Problem, layer: Callable[[torch.Tensor], torch.Tensor]
) -> Callable[[], npt.NDArray[Any]]:
    q = torch.from_numpy(problem.q.copy()).requires_grad_()
    weights = torch.from_numpy(problem.weights)

    def one_pass() -> npt.NDArray[Any]:
        q.grad = None
        u = layer(q)
        (u * weights).sum().backward()
        return u.detach().numpy()

    return one_pass


def _pool_pass(
    problem: Problem, solve: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
) -> Callable[[], npt.NDArray[Any]]:
    def one_pass() -> npt.NDArray[Any]:
        u = np.stack([solve(row) for row in problem.q])
        # These libraries go forward only; this is what they would have to do.
        pool_average(u, problem.weights)
        return u

    return one_pass


def pool_average(
    solution: npt.NDArray[Any], gradient: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Gradient of isotonic regression: the mean over each run of equal values."""
    starts = np.ones(solution.shape, dtype=bool)
    starts[:, 1:] = solution[:, 1:] != solution[:, :-1]
    first = np.flatnonzero(starts.ravel())
    counts = np.diff(np.append(first, solution.size))
    means = np.add.reduceat(gradient.ravel(), first) / counts
    return np.repeat(means, counts).reshape(solution.shape)
