"""Wall-clock per ``fit`` step: d3rlpy on its own buffer and on ours, and ours."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from d3rlpy import algos
from d3rlpy.models import VectorEncoderFactory

import bidclick_gym
from icac_algo import Concave, ConstraintAwareQConfig

from ..engine import Part, Settings, quiet_logs
from ..engine.markdown import section, table
from ..engine.rows import Row, Rows, by_seed, distinct, select
from ..engine.timing import (
    in_turn,
    one_thread,
    ratio,
    seconds_of,
    showing,
    spread,
)
from ..learners import fit_quietly

OURS = "ConstraintAwareQ"
BASELINES = ("DQN", "DiscreteCQL", "DiscreteBC", "IQL")

SHAPES = [((64, 64), 256), ((64, 64), 1024), ((256, 256), 256), ((256, 256), 1024)]
QUICK_SHAPES = [((64, 64), 256)]


def _compute(settings: Settings) -> Iterator[Row]:
    """Times every algorithm in turn, round after round."""
    quick = settings.quick
    quiet_logs()
    with one_thread(), showing("fit") as show:
        for hidden, batch in QUICK_SHAPES if quick else SHAPES:
            steps = 5 if quick else (200 if batch <= 256 else 50)
            runners = _runners(hidden, batch)
            for run in runners.values():
                run(3 if quick else 20)
            timed = {
                key: functools.partial(seconds_of, functools.partial(run, steps))
                for key, run in runners.items()
            }
            for (name, buffer), turn, seconds in in_turn(timed, 2 if quick else 5, show):
                yield {
                    "algorithm": name,
                    "buffer": buffer,
                    "hidden": "x".join(map(str, hidden)),
                    "batch": batch,
                    "round": turn,
                    "steps": steps,
                    "seconds_per_step": seconds / steps,
                }


def _runners(
    hidden: tuple[int, ...], batch: int
) -> dict[tuple[str, str], Callable[[int], None]]:
    """Everything that is timed, built and ready: name and buffer to ``run(steps)``."""
    ours, _ = bidclick_gym.get_dataset(show_progress=False)
    ours_continuous, _ = bidclick_gym.get_dataset(continuous=True, show_progress=False)
    buffers = {
        "ours": (ours, ours_continuous),
        "d3rlpy's": (ours.to_replay_buffer(), ours_continuous.to_replay_buffer()),
    }
    encoder = VectorEncoderFactory(list(hidden))

    def config(name: str) -> Any:
        if name == "IQL":
            return algos.IQLConfig(
                batch_size=batch,
                actor_encoder_factory=encoder,
                critic_encoder_factory=encoder,
                value_encoder_factory=encoder,
            )
        made = getattr(algos, f"{name}Config")
        return made(batch_size=batch, encoder_factory=encoder)

    def runner(algo: Any, dataset: Any) -> Callable[[int], None]:
        # One epoch: what is done between two belongs to no step.
        return lambda steps: fit_quietly(algo, dataset, steps, epochs=1)

    runners: dict[tuple[str, str], Callable[[int], None]] = {}
    for name in BASELINES:
        for buffer, datasets in buffers.items():
            algo = config(name).create(device="cpu:0")
            runners[name, buffer] = runner(algo, datasets[name == "IQL"])
    mine = ConstraintAwareQConfig(
        constraint=Concave(), batch_size=batch, critic_encoder_factory=encoder
    )
    runners[OURS, "ours"] = runner(mine.create(device="cpu:0"), ours)
    return runners


FIT = Part(
    "fit",
    ("algorithm", "buffer", "hidden", "batch", "round", "steps", "seconds_per_step"),
    compute=_compute,
    file="speed-fit.csv",
)


def ratio_of(rows: Rows, first: tuple[str, str], second: tuple[str, str]) -> float:
    """Median over rounds, of a step of one in units of the other's, 64x64, batch 256."""
    small = select(rows, hidden="64x64", batch=256)
    return ratio(
        *(
            by_seed(small, "seconds_per_step", "round", algorithm=name, buffer=buffer)
            for name, buffer in (first, second)
        )
    )


def report(rows: Rows) -> str:
    shapes = distinct(rows, "hidden", "batch")
    lines = []
    for name, buffer in distinct(rows, "algorithm", "buffer"):
        cells = []
        for hidden, batch in shapes:
            where = {"algorithm": name, "buffer": buffer, "hidden": hidden}
            found = by_seed(rows, "seconds_per_step", "round", batch=batch, **where)
            cells.append(spread(found, 1e3))
        lines.append((name, buffer, *cells))
    heads = [f"{hidden}, batch {batch:,.0f}" for hidden, batch in shapes]
    return section(
        "Milliseconds for a step of `fit`",
        table(["Algorithm", "Buffer", *heads], lines, "ll" + "r" * len(heads)),
    )
