"""Projects with other people's layers, in an environment of their own.

Their pins and ours exclude each other, so this file is run as a script by another
interpreter; it needs that interpreter's torch and numpy and nothing of ours.  It reads a
request in JSON from each line of its input and answers on its output, one at a time, so
that whoever drives it can time everything in turn.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from typing import IO, Any

import numpy as np
import torch

DISTRIBUTIONS = (
    *("torch", "numpy", "qpth", "cvxpylayers", "cvxpy", "diffcp", "scs"),
    "torchisotonic",
)

Layer = Callable[[torch.Tensor], torch.Tensor]


def _qpth(matrix: Any, bounds: Any) -> Layer:
    """Inequalities ``G z <= h`` and no equalities; float64, or it loses its way."""
    module = importlib.import_module("qpth.qp")
    solve = module.QPFunction(verbose=-1, check_Q_spd=False)
    identity = torch.eye(matrix.shape[1], dtype=torch.float64)
    g, h = torch.from_numpy(-matrix), torch.from_numpy(-bounds)
    none = torch.empty(0, dtype=torch.float64)
    return lambda q: solve(identity, -q.double(), g, h, none, none).to(q.dtype)


def _cvxpylayers(matrix: Any, bounds: Any) -> Layer:
    """Its default solver at its default accuracy, on one thread like everything."""
    cp = importlib.import_module("cvxpy")
    make = importlib.import_module("cvxpylayers.torch").CvxpyLayer
    u, q = cp.Variable(matrix.shape[1]), cp.Parameter(matrix.shape[1])
    problem = cp.Problem(cp.Minimize(0.5 * cp.sum_squares(u - q)), [matrix @ u >= bounds])
    layer = make(problem, parameters=[q], variables=[u])
    threads = {"n_jobs_forward": 1, "n_jobs_backward": 1}

    def solve(values: torch.Tensor) -> torch.Tensor:
        (solution,) = layer(values.double(), solver_args=threads)
        return solution.to(values.dtype)

    return solve


def _torchisotonic(matrix: Any, bounds: Any) -> Layer:
    """Monotone only, so it needs no inequalities; compiles its C++ on first use."""
    isotonic: Layer = importlib.import_module("torchisotonic").isotonic
    return isotonic


LAYERS = {"qpth": _qpth, "cvxpylayers": _cvxpylayers, "torchisotonic": _torchisotonic}


class Pass:
    """A layer on one problem: forward, loss, backward."""

    def __init__(self, package: str, problem: str):
        with np.load(problem) as data:
            self._q = torch.from_numpy(data["q"]).requires_grad_()
            self._weights = torch.from_numpy(data["weights"])
            self._layer = LAYERS[package](data["matrix"], data["bounds"])

    def __call__(self) -> torch.Tensor:
        self._q.grad = None
        u = self._layer(self._q)
        (u * self._weights).sum().backward()
        return u.detach()


# One layer per package and problem: building them is not timed.
_pass = functools.lru_cache(maxsize=None)(Pass)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Saves the solution where asked to, or times ``repeats`` passes."""
    try:
        one_pass = _pass(request["package"], request["problem"])
        if "solution" in request:
            np.save(request["solution"], one_pass().numpy())
            return {}
        started = time.perf_counter()
        for _ in range(request["repeats"]):
            one_pass()
        return {"seconds": (time.perf_counter() - started) / request["repeats"]}
    except Exception as error:
        # Whatever goes wrong over there is a line in the report here.
        text = str(error).strip() or "no message"
        return {"failed": f"{type(error).__name__}: {text.splitlines()[0]}"}


def versions() -> dict[str, str]:
    """Of Python and of all that is installed here of what matters."""
    found = {"Python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Says what is here, then answers until there are no more requests."""
    torch.set_num_threads(1)
    print(json.dumps({"versions": versions()}), file=answers, flush=True)
    for line in requests:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    # Solvers print: what they say must not end up between the answers.
    with os.fdopen(os.dup(1), "w") as channel:
        os.dup2(2, 1)
        serve(sys.stdin, channel)
