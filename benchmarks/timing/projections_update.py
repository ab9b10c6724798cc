"""A whole ``ConstraintAwareQ.update`` against d3rlpy's ``DQN.update`` plus an actor."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

from .projections_measure import COLUMNS, Plan

__all__ = ["ACTOR", "DQN", "OURS_UPDATE", "measure_updates"]

OURS_UPDATE = "ConstraintAwareQ.update"
DQN = "DQN.update"
ACTOR = "actor only"
_HIDDEN = (64, 64)
_DRAWN = 50
_WARM = 20


def measure_updates(plan: Plan) -> list[dict[str, Any]]:
    """Times all three in turn, on the same batches, which are drawn beforehand.

    Returns:
        a row for each and round: seconds of one update.
    """
    updates = _updates(plan.batch)
    for update in updates.values():
        for step in range(min(_WARM, plan.updates)):
            update(step)
    rows = []
    for turn in range(plan.rounds):
        for name, update in updates.items():
            started = time.perf_counter()
            for step in range(plan.updates):
                update(step)
            rows.append(
                {
                    **dict.fromkeys(COLUMNS),
                    "part": "update",
                    "size": 5,
                    "batch": plan.batch,
                    "method": name,
                    "round": turn,
                    "repeats": plan.updates,
                    "seconds": (time.perf_counter() - started) / plan.updates,
                }
            )
    return rows


def _updates(batch_size: int) -> dict[str, Callable[[int], object]]:
    """One update each, by name, given the number of the step."""
    import gymnasium as gym
    from d3rlpy.algos import DQNConfig
    from d3rlpy.models import VectorEncoderFactory

    from bidclick_gym import simulate_log
    from bidclick_gym.logs.datasets import to_replay_buffer
    from icac_algo import ConstraintAwareQConfig

    from ..engine import quiet_logs

    quiet_logs()
    auction = gym.make("BidClick-v0").unwrapped.auction  # type: ignore[attr-defined]
    dataset = to_replay_buffer(simulate_log(auction, campaigns=10, seed=0))
    batches = [dataset.sample_transition_batch(batch_size) for _ in range(_DRAWN)]
    updates: dict[str, Callable[[int], object]] = {}
    encoder = VectorEncoderFactory(list(_HIDDEN))
    configs: dict[str, Any] = {
        OURS_UPDATE: ConstraintAwareQConfig(
            batch_size=batch_size,
            critic_encoder_factory=encoder,
            actor_encoder_factory=encoder,
            actor="network",
        ),
        DQN: DQNConfig(batch_size=batch_size, encoder_factory=encoder),
    }
    for name, config in configs.items():
        algo = config.create(device="cpu:0")
        algo.build_with_dataset(dataset)
        updates[name] = functools.partial(_update, algo, batches)
    step_of_actor = _actor(dataset.dataset_info.action_size)
    observations = [batch.observations for batch in batches]
    updates[ACTOR] = lambda step: step_of_actor(observations[step % _DRAWN])
    return updates


def _update(algo: Any, batches: Sequence[Any], step: int) -> object:
    return algo.update(batches[step % len(batches)])


def _actor(actions: int) -> Callable[[Any], float]:
    """A categorical policy: forward, loss over all actions, backward, Adam.

    Adam in its fused form, as ours has it: the slower form would make the target easier.
    """
    import torch
    import torch.nn.functional as F
    from torch import nn

    network = nn.Sequential(
        *(nn.Linear(2, _HIDDEN[0]), nn.ReLU()),
        *(nn.Linear(_HIDDEN[0], _HIDDEN[1]), nn.ReLU()),
        nn.Linear(_HIDDEN[1], actions),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)

    def step(observations: Any) -> float:
        x = torch.from_numpy(observations)
        with torch.no_grad():
            # Stands for the critic's values, which cost the actor nothing.
            q = x[:, :1].expand(-1, actions)
        log_probs = F.log_softmax(network(x), dim=1)
        loss = (log_probs.exp() * (0.01 * log_probs - q)).sum(dim=1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
