"""Wall-clock per ``fit`` step: ours, a bare torch loop of the same arithmetic, d3rlpy."""

from __future__ import annotations

import functools
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
OTHERS = (
    "DQN on d3rlpy's buffer",
    "DQN",
    "DiscreteCQL on d3rlpy's buffer",
    "DiscreteCQL",
)
REWARD, LATER = "the reward", "and what follows"
OUTCOMES, STOPPING = "clicks, a known price", "the reward, looked at by held-out losses"
TASKS = (REWARD, LATER, OUTCOMES, STOPPING)

SIZES = [(h, b) for h in ((64, 64), (256, 256)) for b in (64, 256, 1024)]
CRITICS = (1, 5)


def _compute(settings: Settings) -> Iterator[Row]:
    """Times everything in turn, round after round."""
    quick = settings.quick
    quiet_logs()
    with one_thread(), showing("fit") as show:
        for hidden, batch in [SIZES[1]] if quick else SIZES:
            for task in TASKS:
                several = CRITICS if task == REWARD else (1,)
                steps = 8 if quick else (400 if batch <= 256 and hidden[0] < 256 else 100)
                runs = _runs(task, hidden, batch, several)
                for run in runs.values():
                    run(3 if quick else 50)
                timed = {
                    key: functools.partial(seconds_of, functools.partial(run, steps))
                    for key, run in runs.items()
                }
                for (name, critics), turn, seconds in in_turn(
                    timed, 2 if quick else 9, show
                ):
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
    task: str, hidden: tuple[int, ...], batch: int, several: tuple[int, ...]
) -> dict[tuple[str, int], Callable[[int], None]]:
    """Everything that is timed, built and ready: name and critics to ``run(steps)``."""
    log, _ = bidclick_gym.get_dataset(as_bandit=task != LATER, show_progress=False)
    encoder = VectorEncoderFactory(list(hidden))
    known: dict[str, Any] = {"constraint": Concave()}
    if task == OUTCOMES:
        known = {"outcomes": ["click: monotone; link=logit", "weight=-x1 * action"]}
    runs: dict[tuple[str, int], Callable[[int], None]] = {}
    for critics in several:
        ours = ConstraintAwareQConfig(
            batch_size=batch, critic_encoder_factory=encoder, n_critics=critics, **known
        )
        if task == STOPPING:
            training, held_out = log.split(0.8)
            runs[OURS, critics] = functools.partial(_stopped, ours, training, held_out)
        else:
            runs[OURS, critics] = _runner(ours, log)
        looks = len(held_out) if task == STOPPING else 0
        loop = BareLoop(
            log, hidden, batch, critics, task == LATER, task == OUTCOMES, looks
        )
        runs[BARE, critics] = loop.run
    if task == REWARD and batch >= 256:
        stock = log.to_replay_buffer()
        for name in OTHERS:
            made = getattr(algos, f"{name.split()[0]}Config")
            config = made(batch_size=batch, encoder_factory=encoder)
            runs[name, 1] = _runner(config, stock if name.endswith("buffer") else log)
    return runs


def _runner(config: Any, log: Any) -> Callable[[int], None]:
    algo = config.create(device="cpu:0")
    # One epoch: what is done between two belongs to no step.
    return lambda steps: fit_quietly(algo, log, steps, epochs=1)


def _stopped(config: Any, training: Any, held_out: Any, steps: int) -> None:
    choose_n_steps(
        training, config.create, steps, validation=held_out, show_progress=False
    )
