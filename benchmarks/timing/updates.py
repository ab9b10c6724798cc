"""What an update of ours costs beside one of DQN."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
from d3rlpy.algos import DQNConfig
from d3rlpy.models import VectorEncoderFactory

from bidclick_gym.logs import simulate_log, to_replay_buffer
from icac_algo import ConstraintAwareQConfig

from ..engine import quiet_logs
from ..engine.rows import Row
from ..engine.timing import in_turn, seconds_of

BATCH = 256
OURS_UPDATE, DQN = "ConstraintAwareQ.update", "DQN.update"


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
