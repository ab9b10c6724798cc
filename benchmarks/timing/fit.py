"""Wall-clock per ``fit`` step: ours, a bare torch loop of the same arithmetic, d3rlpy."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

from d3rlpy import algos
from d3rlpy.models import VectorEncoderFactory

import bidclick_gym
from icac_algo import Concave, ConstraintAwareQConfig, choose_n_steps

from ..engine import Part, Settings, quiet_logs
from ..engine.markdown import section, table
from ..engine.rows import Row, Rows, by_seed, distinct
from ..engine.timing import (
    Target,
    in_turn,
    one_thread,
    ratio,
    seconds_of,
    showing,
    spread,
)
from ..learners import fit_quietly
from .bare import BareLoop

OURS, BARE = "ConstraintAwareQ", "a bare torch loop"
STOCK = "on d3rlpy's buffer"
OTHERS = (f"DQN {STOCK}", "DQN", f"DiscreteCQL {STOCK}", "DiscreteCQL")
REWARD, LATER = "the reward", "the reward and what follows"
OUTCOMES, STOPPING = "clicks, a known price", "the reward, until held-out losses rise"
TASKS = (REWARD, LATER, OUTCOMES, STOPPING)

SIZES = [(h, b) for h in ((64, 64), (256, 256)) for b in (64, 256, 1024)]
#: Where d3rlpy's own are timed as well.
JUDGED = SIZES[1]
SEVERAL = 5


def _compute(settings: Settings) -> Iterator[Row]:
    """Times everything in turn, round after round."""
    quick = settings.quick
    quiet_logs()
    with one_thread(), showing("fit") as show:
        for (hidden, batch), task in itertools.product(
            [JUDGED] if quick else SIZES, TASKS
        ):
            is_large = hidden[0] * batch >= 64 * 1024
            steps, rounds = (8, 2) if quick else (150 if is_large else 600, 7)
            if task == STOPPING and not quick:
                # As many as a search of this log would take at least.
                steps, rounds = 1000 if is_large else 3000, 3
            runs = _runs(task, hidden, batch)
            timed = {}
            for key, run in runs.items():
                run(3 if quick or task == STOPPING else 50)
                timed[key] = functools.partial(seconds_of, functools.partial(run, steps))
            for (name, critics), turn, seconds in in_turn(timed, rounds, show):
                yield {
                    "algorithm": name,
                    "task": task,
                    "critics": critics,
                    "hidden": "x".join(map(str, hidden)),
                    "batch": batch,
                    "round": turn,
                    "steps": steps,
                    "seconds_per_step": seconds / steps,
                }


def _runs(
    task: str, hidden: tuple[int, ...], batch: int
) -> dict[tuple[str, int], Callable[[int], None]]:
    """Everything that is timed, built and ready: name and critics to ``run(steps)``."""
    log, _ = bidclick_gym.get_dataset(as_bandit=task != LATER, show_progress=False)
    encoder = VectorEncoderFactory(list(hidden))
    known: dict[str, Any] = {"constraint": Concave()}
    if task == OUTCOMES:
        known = {"outcomes": ["click: monotone; link=logit", "weight=-x1 * action"]}
    runs: dict[tuple[str, int], Callable[[int], None]] = {}
    for critics in (1, SEVERAL) if task == REWARD else (1,):
        ours = ConstraintAwareQConfig(
            batch_size=batch, critic_encoder_factory=encoder, n_critics=critics, **known
        )
        runs[OURS, critics] = _runner(ours, log)
    looks = 0
    if task == STOPPING:
        training, held_out = log.split(0.8)
        looks = held_out.transition_count
        runs[OURS, 1] = functools.partial(_stopped, ours, training, held_out)
    loop = BareLoop(log, hidden, batch, task == LATER, task == OUTCOMES, looks)
    runs[BARE, 1] = loop.run
    if task == REWARD and (hidden, batch) == JUDGED:
        stock = log.to_replay_buffer()
        for name in OTHERS:
            made = getattr(algos, f"{name.split()[0]}Config")
            config = made(batch_size=batch, encoder_factory=encoder)
            runs[name, 1] = _runner(config, stock if STOCK in name else log)
    return runs


def _runner(config: Any, log: Any) -> Callable[[int], None]:
    algo = config.create(device="cpu:0")
    # One epoch: what is done between two belongs to no step.
    return lambda steps: fit_quietly(algo, log, steps, epochs=1)


def _stopped(config: Any, training: Any, held_out: Any, steps: int) -> None:
    choose_n_steps(
        training, config.create, steps, validation=held_out, show_progress=False
    )


_KEYS = ("algorithm", "task", "critics", "hidden", "batch", "round", "steps")
FIT = Part("fit", (*_KEYS, "seconds_per_step"), compute=_compute, file="speed-fit.csv")


def _times(rows: Rows, algorithm: str, **where: Any) -> dict[int, float]:
    where = {"task": REWARD, "critics": 1, **where}
    return by_seed(rows, "seconds_per_step", "round", algorithm=algorithm, **where)


def targets(rows: Rows) -> list[Target]:
    """What a step is to cost, each as a median over rounds of the ratio of two times."""
    sizes = distinct(rows, "hidden", "batch")

    def worst(task: str) -> float:
        found = (
            ratio(*(_times(rows, n, task=task, hidden=h, batch=b) for n in (OURS, BARE)))
            for h, b in sizes
        )
        return max(found, default=math.nan)

    def judged(*names: str) -> float:
        where = {"hidden": "x".join(map(str, JUDGED[0])), "batch": JUDGED[1]}
        return ratio(*(_times(rows, name, **where) for name in names))

    found = [
        Target(f"{task}: ours / a bare loop, at the worst size", worst(task), 1.1, False)
        for task in TASKS
    ]
    for hidden, batch in sizes:
        where = {"hidden": hidden, "batch": batch}
        cost = ratio(
            _times(rows, OURS, critics=SEVERAL, **where), _times(rows, OURS, **where)
        )
        name = f"{hidden}, batch {batch:,.0f}: {SEVERAL} critics / one"
        found.append(Target(name, cost, 2.5, False))
    stock = judged(OURS, f"DiscreteCQL {STOCK}")
    buffers, plain = judged(f"DQN {STOCK}", "DQN"), judged(OURS, "DQN")
    return [
        *found,
        Target("ours / stock DiscreteCQL, 64x64, batch 256", stock, 0.22, False),
        Target("ours / DQN on our buffer, likewise", plain, 1.25, False),
        Target("DQN on d3rlpy's buffer / on ours", buffers, 3.5, True),
    ]


def report(rows: Rows) -> str:
    sizes = distinct(rows, "hidden", "batch")
    lines = []
    for name, task, critics in distinct(rows, "algorithm", "task", "critics"):
        cells = []
        for hidden, batch in sizes:
            where = {"task": task, "critics": critics, "hidden": hidden, "batch": batch}
            found = _times(rows, name, **where)
            cells.append(spread(found, 1e3) if found else "")
        lines.append((task, name, f"{critics:.0f}", *cells))
    heads = ["Learned", "Algorithm", "Critics"]
    heads += [f"{hidden}, batch {batch:,.0f}" for hidden, batch in sizes]
    return section(
        "Milliseconds for a step of `fit`",
        "The bare loop holds the log as tensors and does the same arithmetic with torch "
        "alone: the same layers, function, loss, Adam, target and average.",
        table(heads, lines, "llr" + "r" * len(sizes)),
    )
