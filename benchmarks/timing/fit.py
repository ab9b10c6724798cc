"""Wall-clock per ``fit`` step: d3rlpy on its own buffer, on ours, ours, and the floor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["FLOOR", "OURS", "measure_fit"]

OURS = "ConstraintAwareQ"
FLOOR = "bare loop"
BASELINES = ("DQN", "DiscreteCQL", "DiscreteBC", "IQL")

SHAPES = [((64, 64), 256), ((64, 64), 1024), ((256, 256), 256), ((256, 256), 1024)]
QUICK_SHAPES = [((64, 64), 256)]


def measure_fit(quick: bool, show: Callable[[str], None]) -> list[dict[str, Any]]:
    """Times every algorithm in turn, round after round.

    Args:
        quick: one shape, two rounds of a few steps.
        show: is told what is being measured.

    Returns:
        one row for each algorithm, buffer, shape and round: seconds per step.
    """
    import torch

    from ..engine import quiet_logs

    quiet_logs()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return list(_rows(quick, show))
    finally:
        torch.set_num_threads(before)


def _rows(quick: bool, show: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    for hidden, batch in QUICK_SHAPES if quick else SHAPES:
        steps = 5 if quick else (200 if batch <= 256 else 50)
        runners = _runners(hidden, batch)
        for run in runners.values():
            run(3 if quick else 20)
        for turn in range(2 if quick else 5):
            for (name, buffer), run in runners.items():
                show(f"{name} on {buffer}, {list(hidden)}, batch {batch}")
                started = time.perf_counter()
                run(steps)
                yield {
                    "algorithm": name,
                    "buffer": buffer,
                    "hidden": "x".join(map(str, hidden)),
                    "batch": batch,
                    "round": turn,
                    "steps": steps,
                    "seconds_per_step": (time.perf_counter() - started) / steps,
                }


def _runners(
    hidden: tuple[int, ...], batch: int
) -> dict[tuple[str, str], Callable[[int], None]]:
    """Everything that is timed, built and ready: name and buffer to ``run(steps)``."""
    from d3rlpy import algos
    from d3rlpy.models import VectorEncoderFactory

    import bidclick_gym
    from icac_algo import Concave, ConstraintAwareQConfig

    from ..learners import fit_quietly

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
    runners[FLOOR, "none"] = _bare(hidden, batch, ours)
    return runners


def _bare(hidden: tuple[int, ...], batch: int, dataset: Any) -> Callable[[int], None]:
    import torch

    from .bare_loop import BareLoop

    drawn = [dataset.sample_transition_batch(batch) for _ in range(50)]
    batches = [
        (
            torch.from_numpy(b.observations),
            torch.from_numpy(b.actions).long(),
            torch.from_numpy(b.rewards),
        )
        for b in drawn
    ]
    loop = BareLoop(hidden, dataset.dataset_info.action_size, 0.6, 0.5)

    def run(steps: int) -> None:
        for step in range(steps):
            loop.update(*batches[step % len(batches)])

    return run
