"""Section III's statements, by exact computation and by counterexample.

Value functions live on five ordered states; ``prox`` acts along them.  Nothing is
trained, everything is float64, and the same every time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from icac_algo import Concave, Monotone, SlopeBounds, algos
from icac_algo.shapes import Constraint

from ..engine import Part

FloatArray = npt.NDArray[np.float64]
SIZE = 5
GAMMA = 0.99
_POSITIONS = np.linspace(0.0, 1.0, SIZE)
_LAMBDAS = (1.0, 0.1, 0.01, 0.001)
# Where each state leads is convex in the state, and its best straight line has slope
# 1.0667.
_EXPANDING = np.array(
    [
        [1.0, 0.0, 0.0, 0.0, 0.0],
        [1.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 2 / 3, 1 / 3, 0.0, 0.0],
        [0.0, 0.0, 1 / 3, 2 / 3, 0.0],
        [0.0, 0.0, 0.0, 0.0, 1.0],
    ]
)


def theory_figures() -> dict[str, float]:
    """All figures that claims about section III are judged by, by name."""
    return {
        **_firmness(),
        **_contraction(),
        **_expansion(),
        **_small_lambda(),
        **_symmetry(),
        **_unit_step(),
        **_finite_lambda(),
    }


def _firmness() -> dict[str, float]:
    """Smallest ``<Px - Py, x - y> / |Px - Py|^2`` of random pairs; firm means >= 1."""
    x, y = (_random_values(4096, seed) for seed in (0, 1))
    smallest = np.inf
    for constraint in (Monotone(), Concave(), SlopeBounds(-1.0, 1.0)):
        for operator in (_exact(constraint), _proximal(constraint, 1.0)):
            apart = operator(x) - operator(y)
            square = (apart**2).sum(axis=1)
            ratio = (apart * (x - y)).sum(axis=1) / np.maximum(square, 1e-300)
            smallest = min(smallest, float(ratio[square > 1e-12].min()))
    return {"firmness": smallest}


def _contraction() -> dict[str, float]:
    """Largest growth of the sup-norm distance by ``P(gamma v)``, over gamma.

    Every state leads to itself, so ``T v = r + gamma v`` shrinks every distance by gamma
    and what remains is the projection's own doing.
    """
    x, y = _random_values(20_000, 2), _random_values(20_000, 3)
    found = {}
    for name, constraint in (
        ("monotone", Monotone()),
        ("slope bounds", SlopeBounds(-1.0, 1.0)),
        ("concave", Concave()),
    ):
        project = _exact(constraint)
        before = np.abs(x - y).max(axis=1)
        after = np.abs(project(GAMMA * x) - project(GAMMA * y)).max(axis=1)
        found[f"sup-norm growth, {name}"] = float((after / before).max())
    # The projection's Jacobian where all is pooled onto a line has the largest row sum.
    line = np.stack([np.ones(SIZE), _POSITIONS], axis=1)
    onto_line = line @ np.linalg.pinv(line)
    worst = np.sign(onto_line[0])
    convex = 100.0 * (_POSITIONS - 0.5) ** 2
    pair = np.stack([convex, convex + worst])
    moved = _exact(Concave())(GAMMA * pair)
    found["sup-norm growth, concave, worst pair"] = float(
        np.abs(moved[0] - moved[1]).max()
    )
    # Every state leads to one: T is then no L2 contraction either.
    to_first = np.zeros((SIZE, SIZE))
    to_first[:, 0] = 1.0
    found["L2 growth of T"] = float(GAMMA * np.linalg.norm(to_first, 2))
    return found


def _expansion() -> dict[str, float]:
    """One MDP, no reward: 0 is a fixed point, and a straight line runs away from it."""
    project = _exact(Concave())
    v = _POSITIONS[None] - _POSITIONS.mean()
    start = _spread(v)
    for _ in range(50):
        v = project(GAMMA * v @ _EXPANDING.T)
    concave_growth = _spread(v) / start
    project, ends = _exact(Monotone()), []
    for seed in range(8):
        v = _random_values(1, 10 + seed)
        for _ in range(3000):
            v = project(_POSITIONS[None] + GAMMA * v @ _EXPANDING.T)
        ends.append(v)
    spread = max(float(np.abs(v - ends[0]).max()) for v in ends)
    return {
        "concave: growth in 50 sweeps": concave_growth,
        "monotone: distance of fixed points": spread,
    }


def _small_lambda() -> dict[str, float]:
    """Distance of the fixed point at each lambda to the optimum without a penalty."""
    generator = np.random.default_rng(5)
    reward = generator.normal(size=(1, SIZE))
    transition = generator.dirichlet(np.ones(SIZE), size=SIZE)
    gamma = 0.9
    optimum = np.linalg.solve(np.eye(SIZE) - gamma * transition, reward[0])
    found = {}
    for multiplier in _LAMBDAS:
        operator = _proximal(Monotone(), multiplier)
        v = np.zeros((1, SIZE))
        for _ in range(500):
            v = operator(reward + gamma * v @ transition.T)
        found[f"distance to v*, lambda {multiplier:g}"] = float(
            np.abs(v[0] - optimum).max()
        )
    return found


def _symmetry() -> dict[str, float]:
    """Of ``I - gamma P + lambda H``, P random, where every inequality is violated."""
    transition = np.random.default_rng(6).dirichlet(np.ones(SIZE) * 0.3, size=SIZE)
    matrix, _ = Monotone().shape_set().inequalities(_POSITIONS)
    jacobian = np.eye(SIZE) - GAMMA * transition + 0.1 * 2.0 * matrix.T @ matrix
    uneven = np.abs(jacobian - jacobian.T).max() / np.abs(jacobian).max()
    # With every state leading to one, not even x'Mx is positive.
    to_first = np.zeros((SIZE, SIZE))
    to_first[:, 0] = 1.0
    single = np.eye(SIZE) - GAMMA * to_first
    without = np.eye(SIZE) + 0.1 * 2.0 * matrix.T @ matrix
    return {
        "asymmetry": float(uneven),
        "asymmetry without gamma P": float(np.abs(without - without.T).max()),
        "smallest curvature": float(np.linalg.eigvalsh((single + single.T) / 2.0)[0]),
    }


def _unit_step() -> dict[str, float]:
    """Lambdas above which a unit step stops converging, and runs away, by bisection."""
    matrix, _ = Monotone().shape_set().inequalities(_POSITIONS)
    lipschitz = algos.penalty_lipschitz(torch.as_tensor(matrix))
    anchor, rows = torch.as_tensor(_random_values(64, 7)), torch.as_tensor(matrix)

    def distance(multiplier: float, iterations: int, step: float) -> float:
        limit = torch.as_tensor(_proximal(Monotone(), multiplier)(anchor.numpy()))
        u = algos.proximal_iterations(anchor, anchor, rows, multiplier, iterations, step)
        return float((u - limit).abs().max())

    converges = _bisect(
        lambda multiplier: distance(multiplier, 2000, 1.0) < 1e-6, 0.0, 1.0
    )
    bounded = _bisect(lambda multiplier: distance(multiplier, 2000, 1.0) < 1e6, 0.0, 2.0)
    return {
        "1 / L": 1.0 / lipschitz,
        "unit step: stops converging": converges,
        "unit step: diverges": bounded,
        "scaled step at lambda 100": distance(
            100.0, 20_000, algos.inner_step_size(lipschitz, 100.0)
        ),
    }


def _finite_lambda() -> dict[str, float]:
    """Violations that are left at large lambda: fewer never, smaller always."""
    matrix, _ = Monotone().shape_set().inequalities(_POSITIONS)
    rows, found = torch.as_tensor(matrix), {}
    anchor = torch.as_tensor(_random_values(256, 8))
    before = int((anchor @ rows.T < 0.0).sum())
    found["violations, lambda 0"] = float(before)
    for multiplier in (1.0, 100.0, 10_000.0):
        u = torch.as_tensor(_proximal(Monotone(), multiplier)(anchor.numpy()))
        found[f"violations, lambda {multiplier:g}"] = float((u @ rows.T < 0.0).sum())
        found[f"C(u), lambda {multiplier:g}"] = float(algos.penalty(u, rows).mean())
    return found


# -- parts -------------------------------------------------------------------

Operator = Callable[[FloatArray], FloatArray]


def _exact(constraint: Constraint) -> Operator:
    return lambda v: np.asarray(constraint.project(torch.as_tensor(v)))


def _proximal(constraint: Constraint, multiplier: float) -> Operator:
    """The proximal map at finite lambda to rounding: Newton steps on the active set."""
    matrix, bounds = constraint.shape_set().inequalities(_POSITIONS)

    def prox(v: FloatArray) -> FloatArray:
        u = v.copy()
        for _ in range(50):
            active = (u @ matrix.T < bounds).astype(np.float64)
            system = np.eye(SIZE) + 2.0 * multiplier * np.einsum(
                "bm,mi,mj->bij", active, matrix, matrix
            )
            rhs = v + 2.0 * multiplier * (active * bounds) @ matrix
            solved = np.linalg.solve(system, rhs[..., None])[..., 0]
            if np.array_equal(solved @ matrix.T < bounds, active.astype(bool)):
                return np.asarray(solved)
            u = solved
        # Where Newton's active sets cycle, gradient steps do not.
        rows, floor = torch.as_tensor(matrix), torch.as_tensor(bounds)
        step = algos.inner_step_size(algos.penalty_lipschitz(rows), multiplier)
        anchor = torch.as_tensor(v)
        return np.asarray(
            algos.proximal_iterations(
                anchor, anchor, rows, multiplier, 100_000, step, floor
            )
        )

    return prox


def _bisect(holds: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(16):
        middle = (low + high) / 2.0
        low, high = (middle, high) if holds(middle) else (low, middle)
    return (low + high) / 2.0


def _random_values(rows: int, seed: int) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(rows, SIZE))


def _spread(v: FloatArray) -> float:
    return float(v.max() - v.min())


THEORY_PART = Part(
    "theory",
    ("figure", "value"),
    compute=lambda settings: [
        {"figure": name, "value": value} for name, value in theory_figures().items()
    ],
)
