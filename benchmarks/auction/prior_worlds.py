"""Logs in which a shape is true, just so or but for one category, to try the check on.

Rewards do not depend on the action in the true ones: every inequality of every shape
holds with nothing to spare, which is the hardest true case.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from icac_algo import (
    ColumnarReplayBuffer,
    Concave,
    Monotone,
    MonotoneConcave,
    SlopeBounds,
    check_prior,
)

from ..engine import Cell
from ..engine.rows import Rows

LEVEL = 0.05
ACTIONS = 5
CATEGORIES = 40
SHAPES = {
    "Monotone": Monotone(),
    "Concave": Concave(),
    "MonotoneConcave": MonotoneConcave(),
    "SlopeBounds": SlopeBounds(0.0, 1.0),
}


@dataclasses.dataclass(frozen=True)
class World:
    """How logs of one kind come to be.

    Rewards are ``"normal"``, ``"binary"`` (rare), ``"heavy"`` (Student's t with 2.5
    degrees of freedom) or ``"skewed"`` (log-normal).
    """

    features: int = 2  # how many, uniform; 0 for one of 40 categories, one-hot
    rewards: str = "normal"
    episode: int = 1  # its steps; the action's effect varies between episodes
    uneven: bool = False  # whether some actions are rare
    logged: bool = False  # whether propensities are in the log
    steps: int = 6_000
    fall: float = 0.0  # of the reward over all actions, in the first category alone

    def log(self, seed: int) -> ColumnarReplayBuffer:
        """A log of its own for each seed."""
        rng = np.random.default_rng(seed)
        count = self.steps
        odds = np.array([0.05, 0.15, 0.3, 0.3, 0.2] if self.uneven else [0.2] * ACTIONS)
        if self.features:
            observations = rng.random((count, self.features))
            level, first = observations[:, 0], np.zeros(count, dtype=bool)
        else:
            category = rng.integers(0, CATEGORIES, count)
            observations = np.eye(CATEGORIES)[category]
            level, first = category / CATEGORIES, category == 0
        actions = rng.choice(ACTIONS, count, p=odds)
        position = actions / (ACTIONS - 1)
        mean = level - self.fall * first * position
        if self.rewards == "binary":
            rewards = (rng.random(count) < 0.02 + 0.1 * mean).astype(float)
        elif self.rewards == "heavy":
            rewards = rng.standard_t(2.5, count) + mean
        elif self.rewards == "skewed":
            rewards = np.exp(1.5 * rng.normal(size=count) + mean)
        else:
            rewards = rng.normal(size=count) + mean
        ends = np.arange(count) % self.episode == self.episode - 1
        if self.episode > 1:
            slopes, levels = rng.normal(size=(2, count // self.episode))
            episode = np.arange(count) // self.episode
            rewards += 2.0 * slopes[episode] * position + levels[episode]
        return ColumnarReplayBuffer.from_arrays(
            observations.astype(np.float32),
            actions,
            rewards,
            terminals=ends if self.episode > 1 else None,
            extras={"propensity": odds[actions]} if self.logged else None,
            action_size=ACTIONS,
        )


WORLDS = {
    "2 features": World(),
    "20 features": World(features=20),
    "2 features, rare clicks": World(rewards="binary"),
    "2 features, heavy tails": World(rewards="heavy"),
    "2 features, skewed, rare actions": World(rewards="skewed", uneven=True, logged=True),
    "40 categories": World(features=0),
    "40 categories, rare clicks, rare actions": World(
        features=0, rewards="binary", uneven=True, logged=True
    ),
    "120 episodes of 50 steps": World(episode=50),
    "10 episodes of 600 steps": World(episode=600),
    "40 categories, false in one": World(features=0, steps=40_000, fall=1.0),
}


def check_world(cell: Cell) -> Rows:
    """All shapes on one log: a row for each."""
    torch.set_num_threads(1)
    log = WORLDS[str(cell["world"])].log(cell.seed)
    rows = []
    for name, shape in SHAPES.items():
        check = check_prior(log, shape, level=LEVEL)
        region = check.worst.region if check.worst else ""
        rows.append(
            {
                "shape": name,
                "verdict": check.verdict,
                "p_value": check.p_value,
                "region": region,
            }
        )
    return rows
