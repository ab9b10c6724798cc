"""Logs whose mean rewards are known, of a few actions or of any number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from icac_algo.data import LoggedSteps
from icac_algo.data.steps import number_steps

#: Mean rewards of five actions: rising, with diminishing returns, from 0 to 1.5.
CURVE = np.array([0.0, 0.5, 0.8, 1.0, 1.1])
EVEN = np.full(5, 0.2)
#: What a logger does who never tries the second and the last.
GAPS = np.array([0.4, 0.0, 0.3, 0.3, 0.0])


def action_log(
    count: int,
    chances: Any = EVEN,
    noise: float = 0.3,
    seed: int = 0,
    curve: Any = CURVE,
    slope: float = 0.5,
    **changes: Any,
) -> LoggedSteps:
    """Rewards ``curve[a] + slope * (x0 - 1/2)`` and noise; propensities are logged."""
    rng = np.random.default_rng(seed)
    x = rng.random((count, 2)).astype(np.float32)
    actions = rng.choice(len(curve), count, p=chances)
    rewards = np.asarray(curve)[actions] + slope * (x[:, 0] - 0.5)
    columns: dict[str, Any] = {
        "observations": x,
        "actions": actions,
        "rewards": rewards + noise * rng.normal(size=count),
        "propensities": np.asarray(chances)[actions],
        "episodes": np.arange(count),
        "action_size": len(curve),
    }
    return LoggedSteps(**{**columns, **changes})


def smooth(x: Any, a: Any) -> Any:
    """A mean reward, concave in the action with its top at 0.3 + 0.4 x."""
    return 1.0 - (a - 0.3 - 0.4 * x) ** 2


def number_log(
    count: int,
    reward: Callable[[Any, Any], Any] = smooth,
    noise: float = 0.2,
    seed: int = 0,
    ends: Sequence[float] = (0.0, 1.0),
    logged: bool = True,
) -> LoggedSteps:
    """Actions are any number between the ends; higher ones where x0 is higher."""
    rng = np.random.default_rng(seed)
    x = rng.random((count, 1)).astype(np.float32)
    # Density 1 + (2 u - 1) (x - 1/2) of u in [0, 1], by inversion.
    tilt = x[:, 0].astype(np.float64) - 0.5
    uniform = rng.random(count)
    root = np.sqrt((1.0 - tilt) ** 2 + 4.0 * tilt * uniform)
    share = 2.0 * uniform / (1.0 - tilt + root)
    low, high = ends
    density = (1.0 + tilt * (2.0 * share - 1.0)) / (high - low)
    actions = low + (high - low) * share
    rewards = reward(x[:, 0], actions) + noise * rng.normal(size=count)
    return number_steps(
        x, actions, rewards, density if logged else None, np.arange(count)
    )
