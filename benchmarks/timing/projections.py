"""``python -m benchmarks shapes``: what a projection costs, and whether it is right."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
from d3rlpy.algos import DQNConfig
from d3rlpy.models import VectorEncoderFactory

from bidclick_gym.logs import simulate_log, to_replay_buffer
from icac_algo import ConstraintAwareQConfig

from ..engine import Experiment, Option, Part, Settings, quiet_logs, register
from ..engine.rows import Row, Rows
from ..engine.timing import in_turn, one_thread, seconds_of, showing
from .methods import IDENTITY, OURS, Runner, local_methods
from .problems import SHAPES, make_problem, solve_trusted
from .projection_report import BATCH, CHECKED, DQN, OURS_UPDATE, PATIENCE, draw, sections
from .rivals import NotRun, Rivals, RivalsPythonError, rivals_of

COLUMNS = (
    *("part", "shape", "size", "batch", "method", "round", "repeats", "seconds"),
    *("error", "residual", "note"),
)
_BLANK = dict.fromkeys(COLUMNS)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much is measured."""

    sizes: tuple[int, ...] = (5, 21, 101)
    #: Numbers of actions over which ours is followed.
    growth: tuple[int, ...] = (2, 3, 5, 11, 21, 51, 101, 201, 501, 1001)
    batch: int = BATCH  # rows of each projection
    rounds: int = 7  # how often each method is timed, in turn with the others
    growth_rounds: int = 3  # the same for growth
    updates: int = 200  # gradient steps in each round
    seconds: float = 0.05  # what one timing should take; faster methods are repeated
    patience: float = PATIENCE  # seconds of a pass beyond which K grows no further
    checked: int = CHECKED  # rows that are solved by the reference


FULL = Plan()
QUICK = Plan(
    sizes=(5, 11),
    growth=(2, 5, 11),
    rounds=2,
    growth_rounds=2,
    updates=3,
    seconds=0.001,
    checked=4,
)


def measure(plan: Plan, rivals: Rivals) -> Iterator[Row]:
    """Every measurement, and the versions of what the other interpreter has."""
    for name, version in rivals.versions.items():
        yield {**_BLANK, "part": "rival", "method": name, "note": version}
    growth = Growth(plan)
    with showing("shapes") as show:
        for size in plan.sizes:
            for shape in SHAPES:
                show(f"{shape}, K = {size}")
                yield from measure_methods(shape, size, plan, rivals)
        for size in plan.growth:
            show(f"growth, K = {size}")
            yield from growth.measure(size)
        show("updates")
        yield from measure_updates(plan)


def measure_methods(shape: str, size: int, plan: Plan, rivals: Rivals) -> Rows:
    """All methods on one problem, in turn, with the errors of their solutions."""
    problem = make_problem(shape, size, plan.batch)
    reference = solve_trusted(problem, plan.checked)
    runners: dict[str, Runner] = {}
    failed: dict[str, str] = {}
    for name, build in local_methods(problem).items():
        runners[name] = build()
    for package in rivals_of(shape, size):
        try:
            runners[package] = rivals.prepare(package, problem)
        except NotRun as reason:
            failed[package] = str(reason)
    timed, fallen = _timed(runners, plan.rounds, plan.seconds)
    failed.update(fallen)
    place = {"part": "projection", "shape": shape, "size": size, "batch": plan.batch}
    rows = []
    for row in timed:
        if row["method"] in failed:
            continue
        # The identity solves another problem.
        error = None
        if row["method"] != IDENTITY:
            error = reference.error_of(runners[row["method"]].solution)
        measured = {"error": error, "residual": reference.residual}
        rows.append({**_BLANK, **place, **row, **measured})
    return rows + [
        {**_BLANK, **place, "method": name, "note": reason}
        for name, reason in failed.items()
    ]


def _timed(
    runners: Mapping[str, Runner], rounds: int, seconds: float
) -> tuple[Rows, dict[str, str]]:
    """Rows of all rounds, and why those that fell on the way fell."""
    rows: Rows = []
    failed: dict[str, str] = {}
    repeats: dict[str, int] = {}
    # Turn -1 only finds out how often to repeat.
    for turn in range(-1, rounds):
        for name, runner in runners.items():
            if name in failed:
                continue
            try:
                took = runner.seconds(repeats.get(name, 1))
            except NotRun as reason:
                failed[name] = str(reason)
                continue
            if turn < 0:
                repeats[name] = max(1, min(2000, round(seconds / took)))
                continue
            named = {"method": name, "round": turn, "repeats": repeats[name]}
            rows.append({**named, "seconds": took})
    return rows, failed


class Growth:
    """Ours over growing K, all shapes in turn, until one takes too long."""

    def __init__(self, plan: Plan):
        self._plan = plan
        self._slow: dict[str, int] = {}

    def measure(self, size: int) -> Rows:
        """A row for each shape and round, and the identity's; sizes in rising order."""
        plan = self._plan
        place = {**_BLANK, "part": "growth", "size": size, "batch": plan.batch}
        anything = make_problem("Monotone", size, plan.batch)
        runners: dict[str, Runner] = {IDENTITY: local_methods(anything)[IDENTITY]()}
        rows: Rows = []
        for shape in SHAPES:
            named: Row = {**place, "shape": shape, "method": OURS}
            if shape in self._slow:
                note = f"over {plan.patience:g} s a pass at K = {self._slow[shape]}"
                rows.append({**named, "note": note})
                continue
            build = local_methods(make_problem(shape, size, plan.batch))[OURS]
            started = time.perf_counter()
            runner = build()
            took = time.perf_counter() - started
            if took <= plan.patience:
                runners[shape] = runner
                continue
            # One pass, the first, is all it gets.
            self._slow[shape] = size
            rows.append({**named, "round": 0, "repeats": 1, "seconds": took})
        for row in _timed(runners, plan.growth_rounds, plan.seconds)[0]:
            shape = row["method"]
            method = IDENTITY if shape == IDENTITY else OURS
            rows.append({**place, **row, "shape": shape, "method": method})
        return rows


# -- a whole update ------------------------------------------------------------

_DRAWN = 50
_WARM = 20


def measure_updates(plan: Plan) -> Rows:
    """Updates of ours and of DQN, in turn, on the same batches, drawn beforehand."""
    quiet_logs()
    auction = gym.make("BidClick-v0").unwrapped.auction  # type: ignore[attr-defined]
    dataset = to_replay_buffer(simulate_log(auction, campaigns=10, seed=0))
    batches = [dataset.sample_transition_batch(plan.batch) for _ in range(_DRAWN)]
    encoder = VectorEncoderFactory([64, 64])
    configs: dict[str, Any] = {
        OURS_UPDATE: ConstraintAwareQConfig(
            batch_size=plan.batch, critic_encoder_factory=encoder
        ),
        DQN: DQNConfig(batch_size=plan.batch, encoder_factory=encoder),
    }
    timed = {}
    for name, config in configs.items():
        algo = config.create(device="cpu:0")
        algo.build_with_dataset(dataset)
        update = functools.partial(_update, algo, batches)
        update(min(_WARM, plan.updates))
        several = functools.partial(update, plan.updates)
        timed[name] = functools.partial(seconds_of, several)
    return [
        {
            **_BLANK,
            **{"part": "update", "size": 5, "batch": plan.batch, "method": name},
            **{"round": turn, "repeats": plan.updates, "seconds": took / plan.updates},
        }
        for name, turn, took in in_turn(timed, plan.rounds)
    ]


def _update(algo: Any, batches: Sequence[Any], steps: int) -> None:
    for step in range(steps):
        algo.update(batches[step % len(batches)])


def _compute(settings: Settings) -> Iterator[Row]:
    try:
        with one_thread(), Rivals(settings["rivals_python"]) as rivals:
            yield from measure(QUICK if settings.quick else FULL, rivals)
    except KeyboardInterrupt:
        raise SystemExit("interrupted; nothing was written") from None


def _check_rivals(settings: Settings) -> None:
    """Ends the command before anything is written if the interpreter is none."""
    try:
        Rivals(settings["rivals_python"]).close()
    except RivalsPythonError as error:
        raise SystemExit(str(error)) from None


register(
    Experiment(
        "shapes",
        "the projection layer: time and error, against other solvers",
        parts=[Part("shapes", COLUMNS, compute=_compute)],
        title="Projection layers",
        sections=sections,
        pictures={"shapes.png": draw},
        quick={},
        options=[
            Option(
                "--rivals-python",
                metavar="PATH",
                help="interpreter of an environment with qpth, cvxpylayers and "
                "torchisotonic; without it they are not run",
            )
        ],
        report="shapes.md",
        prepare=_check_rivals,
    )
)
