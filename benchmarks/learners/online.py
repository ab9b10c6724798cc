"""Learners that bid for themselves: Stable-Baselines3's, and its DQN with a shape.

The budget is as many impressions as the log has.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from icac_algo import Concave

from .learner import BATCH_SIZE, HIDDEN_UNITS, LEARNING_RATE, Learner, registry

#: Environments side by side.
ENVS = 10
PPO_ROLLOUTS, PPO_EPOCHS = 25, 10
_BUFFER = 100_000


def _cosine(start: float) -> Callable[[float], float]:
    """The schedule of all other learners."""
    return lambda remaining: start * 0.5 * (1.0 + math.cos(math.pi * (1.0 - remaining)))


def _dqn_settings(steps: int, impressions: int) -> dict[str, Any]:
    calls = max(1, impressions // ENVS)  # of the environments, all at once
    # Training comes after whole rounds of calls, so that the budget is kept to the last.
    most = max(1, calls // steps)
    every = next(n for n in range(most, 0, -1) if calls % n == 0)
    return {
        "learning_rate": _cosine(LEARNING_RATE),
        "batch_size": BATCH_SIZE,
        "buffer_size": _BUFFER,
        "learning_starts": min(1000, impressions // 10),
        "train_freq": (every, "step"),
        "gradient_steps": max(1, round(steps * every / calls)),
        "exploration_fraction": 0.5,
    }


def _dqn(
    env: Any,
    seed: int,
    steps: int,
    impressions: int,
    final_epsilon: float = 0.2,
    **shape: Any,
) -> Any:
    from stable_baselines3 import DQN

    from icac_algo.sb3 import ConstraintAwareDQN

    return (ConstraintAwareDQN if shape else DQN)(
        "MlpPolicy",
        env,
        seed=seed,
        policy_kwargs={"net_arch": list(HIDDEN_UNITS), **shape},
        exploration_final_eps=final_epsilon,
        **_dqn_settings(steps, impressions),
    )


def _ppo(
    env: Any,
    seed: int,
    steps: int,
    impressions: int,
    entropy: float = 0.003,
    learning_rate: float = LEARNING_RATE,
) -> Any:
    from stable_baselines3 import PPO

    rollout = impressions // (ENVS * PPO_ROLLOUTS)
    return PPO(
        "MlpPolicy",
        env,
        seed=seed,
        device="cpu",
        learning_rate=_cosine(learning_rate),
        n_steps=rollout,
        n_epochs=PPO_EPOCHS,
        batch_size=min(BATCH_SIZE - BATCH_SIZE % ENVS, rollout * ENVS),
        ent_coef=entropy,
        policy_kwargs={"net_arch": list(HIDDEN_UNITS)},
    )


_EPSILONS = {"final_epsilon": (0.05, 0.2, 0.8)}
#: ``make`` takes environments, seed, gradient steps, impressions and tuned values.
ONLINE_LEARNERS: dict[str, Learner] = registry(
    Learner("SB3-DQN (online)", _dqn, kind="online", tuned=_EPSILONS),
    Learner(
        "SB3-PPO (online)",
        _ppo,
        kind="online",
        tuned={"learning_rate": (3e-4, 1e-3, 3e-3), "entropy": (0.001, 0.003, 0.01)},
        policy="actor",
    ),
    Learner(
        "ConstraintAwareDQN (online)",
        functools.partial(_dqn, constraint=Concave()),
        kind="online",
        shape="Concave",
        counted=("concave", False),
        tuned=_EPSILONS,
    ),
)
