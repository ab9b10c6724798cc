"""``python -m benchmarks shapes``: what a projection costs, and whether it is right."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from d3rlpy.algos import DQNConfig
from d3rlpy.models import VectorEncoderFactory

from bidclick_gym.logs import simulate_log, to_replay_buffer
from icac_algo import ConstraintAwareQConfig, shapes

from ..engine import Experiment, Part, Results, Settings, quiet_logs, register
from ..engine.markdown import section, table
from ..engine.rows import Row, Rows, by_seed, distinct, select
from ..engine.timing import (
    Target,
    growth_exponent,
    in_turn,
    median,
    one_thread,
    ratio,
    seconds_of,
    showing,
    spread,
    targets_table,
)

FloatArray = npt.NDArray[np.float64]
OURS, IDENTITY = "icac_algo", "identity"
OURS_UPDATE, DQN = "ConstraintAwareQ.update", "DQN.update"

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
SIZES, QUICK_SIZES = (3, 5, 11, 21, 51, 101, 201), (5, 11)
BATCH = 256
JUDGED_SIZE, LARGE = 5, 101
#: Rows that are solved by the reference.
CHECKED = 32
#: What one timing should take; faster methods are repeated.
SECONDS = 0.05
MAX_ERROR = 1e-6
MAX_UPDATE = 1.25
MAX_IDENTITY = {name: 4.0 if name == "Monotone" else 6.0 for name in SHAPES}


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
    def of(cls, problem: Problem, count: int = CHECKED) -> Reference:
        solve_qp = importlib.import_module("quadprog").solve_qp
        batch, size = problem.q.shape
        constraint = SHAPES[problem.shape]
        positions = constraint.positions(size)
        matrix, bounds = constraint.inequalities(positions), constraint.bounds(positions)
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


# -- measuring -----------------------------------------------------------------

COLUMNS = (
    *("part", "shape", "size", "batch", "method", "round", "seconds"),
    *("error", "residual"),
)


def _compute(settings: Settings) -> Iterator[Row]:
    quick = settings.quick
    with one_thread(), showing("shapes") as show:
        for size in QUICK_SIZES if quick else SIZES:
            for shape in SHAPES:
                show(f"{shape}, K = {size}")
                yield from measure_methods(Problem.of(shape, size), quick)
        show("updates")
        yield from measure_updates(quick)


def measure_methods(problem: Problem, quick: bool) -> Iterator[Row]:
    """All methods on one problem, in turn, with the errors of their solutions."""
    reference = Reference.of(problem, 4 if quick else CHECKED)
    batch, size = problem.q.shape
    methods, timed, errors = problem.methods(), {}, {}
    for name, one_pass in methods.items():
        # The identity solves another problem.
        error = reference.error_of(one_pass())
        errors[name] = None if name == IDENTITY else error
        most = 1 if quick else round(SECONDS / seconds_of(one_pass))
        timed[name] = functools.partial(_repeated, one_pass, max(1, min(2000, most)))
    for name, turn, seconds in in_turn(timed, 2 if quick else 7):
        yield {
            "part": "projection",
            "shape": problem.shape,
            "size": size,
            "batch": batch,
            "method": name,
            "round": turn,
            "seconds": seconds,
            "error": errors[name],
            "residual": reference.residual,
        }


def _repeated(one_pass: Callable[[], Any], repeats: int) -> float:
    return seconds_of(lambda: [one_pass() for _ in range(repeats)]) / repeats


def measure_updates(quick: bool) -> Iterator[Row]:
    """Updates of ours and of DQN, in turn, on the same batches, drawn beforehand."""
    quiet_logs()
    auction = gym.make("BidClick-v0").unwrapped.auction  # type: ignore[attr-defined]
    dataset = to_replay_buffer(simulate_log(auction, campaigns=10, seed=0))
    batches = [dataset.sample_transition_batch(BATCH) for _ in range(50)]
    encoder = VectorEncoderFactory([64, 64])
    configs: dict[str, Any] = {
        OURS_UPDATE: ConstraintAwareQConfig(
            batch_size=BATCH, critic_encoder_factory=encoder
        ),
        DQN: DQNConfig(batch_size=BATCH, encoder_factory=encoder),
    }
    steps, timed = 3 if quick else 200, {}
    for name, config in configs.items():
        algo = config.create(device="cpu:0")
        algo.build_with_dataset(dataset)
        _update(algo, batches, min(20, steps))
        several = functools.partial(_update, algo, batches, steps)
        timed[name] = functools.partial(seconds_of, several)
    for name, turn, took in in_turn(timed, 2 if quick else 7):
        place = {"part": "update", "size": 5, "batch": BATCH, "method": name}
        yield {**place, "round": turn, "seconds": took / steps}


def _update(algo: Any, batches: Sequence[Any], steps: int) -> None:
    for step in range(steps):
        algo.update(batches[step % len(batches)])


# -- report --------------------------------------------------------------------

RULES = f"""\
All ratios are medians over rounds of two times of the same round, at batch {BATCH} and \
K = {JUDGED_SIZE}; figures at any other size decide nothing.

- Cost: a pass of ours takes at most {MAX_IDENTITY["Monotone"]:g} times a pass of the \
identity for Monotone, {MAX_IDENTITY["Concave"]:g} times for the other shapes.
- Error: ours is within {MAX_ERROR:g} of the reference, as the largest absolute \
difference relative to the row's scale (its largest distance from its mean).
- Update: an update of `ConstraintAwareQ` takes at most {MAX_UPDATE:g} times \
`DQN.update`."""


def targets(rows: Rows) -> list[Target]:
    judged = select(rows, size=JUDGED_SIZE, batch=BATCH)
    found = []
    for shape, bound in MAX_IDENTITY.items():
        cost = ratio(*(_times(judged, shape=shape, method=m) for m in (OURS, IDENTITY)))
        found.append(Target(f"{shape}: ours / identity", cost, bound, False))
    for shape in SHAPES:
        ours = select(judged, shape=shape, method=OURS)
        error = float(ours[0]["error"]) if ours else math.nan
        found.append(Target(f"{shape}: error of ours", error, MAX_ERROR, False))
    cost = ratio(*(_times(judged, method=name) for name in (OURS_UPDATE, DQN)))
    return [*found, Target(f"{OURS_UPDATE} / {DQN}", cost, MAX_UPDATE, False)]


def _times(rows: Rows, **where: Any) -> dict[int, float]:
    return by_seed(rows, "seconds", "round", **where)


def _sections(results: Results) -> Iterable[str]:
    rows = results["shapes"]
    yield (
        "A pass is forward, the loss `(u * weights).sum()` with fixed random weights, "
        "and backward, from float32 to float32, on one thread; all is timed in turn, "
        "round after round."
    )
    yield section("Verdict", RULES, targets_table(targets(rows)))
    compared = select(rows, part="projection")
    yield _growth(compared)
    residual = max(r["residual"] for r in compared if r["residual"] is not None)
    yield (
        f"Errors are against quadprog in float64, on up to {CHECKED} rows of each "
        f"problem, relative to the row's scale; quadprog itself meets the optimality "
        f"conditions to {residual:.1e} of it.  Rows are a random parabola plus noise of "
        "unit size."
    )
    updates = select(rows, part="update")
    yield section(
        "Milliseconds an update",
        "A log of BidClick-v0 (2 features, 5 bids), batches of 256 drawn beforehand; "
        "encoders of [64, 64], all else default: the functional critic over Concave.",
        table(
            ["", "Time"],
            [
                (name, spread(_times(updates, method=name), 1e3))
                for name in distinct(updates, "method")
            ],
            "lr",
        ),
    )


def _growth(rows: Rows) -> str:
    sizes = sorted(distinct(rows, "size"))
    lines = []
    for shape in SHAPES:
        ours = select(rows, shape=shape, method=OURS)
        times = [median(_times(ours, size=size)) for size in sizes]
        large = [i for i, size in enumerate(sizes) if size >= LARGE]
        slope = growth_exponent([sizes[i] for i in large], [times[i] for i in large])
        error = max(row["error"] for row in ours if row["error"] is not None)
        cells = [f"{1e3 * seconds:.3g}" for seconds in times]
        shown = "" if math.isnan(slope) else f"{slope:.2f}"
        lines.append((shape, *cells, shown, f"{error:.1e}"))
    heads = [f"K = {size:,.0f}" for size in sizes]
    return section(
        "Milliseconds a pass",
        f"Batch {BATCH}, median over rounds; the exponent is the slope of log time "
        f"against log K from K = {LARGE}, the error the largest at any size.",
        table(["", *heads, "Exponent", "Error"], lines, "l" + "r" * (len(heads) + 2)),
    )


register(
    Experiment(
        "shapes",
        "the projection layer: time, and error against an exact solver",
        parts=[Part("shapes", COLUMNS, compute=_compute)],
        title="Projection layers",
        sections=_sections,
        quick={},
        report="shapes.md",
    )
)
