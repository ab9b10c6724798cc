"""Logs whose rewards are sums of outcomes, for tests of all that is learned from them."""

from __future__ import annotations

from typing import Any

import d3rlpy
import numpy as np
from d3rlpy.models import VectorEncoderFactory

from icac_algo import (
    ColumnarReplayBuffer,
    ConstraintAwareQConfig,
    Functional,
    MonotoneConcave,
    Outcome,
    Unconstrained,
)

QUIET: dict[str, Any] = {
    "show_progress": False,
    "logger_adapter": d3rlpy.logging.NoopAdapterFactory(),
}


def positions_of(size: int) -> np.ndarray:
    """Unequal positions, from 0 to 2."""
    return 2.0 * np.linspace(0.0, 1.0, size) ** 1.5


def log_of(
    size: int | None = 5,
    rows: int = 300,
    seed: int = 0,
    scale: float = 1.0,
    campaigns: int = 0,
    lowest: int = 0,
    **options: Any,
) -> ColumnarReplayBuffer:
    """A first-price log of won, value and units; ``size`` is None for real actions.

    The reward is ``value * won - action * won + units * (action - x2)``, all in units of
    ``scale`` but for ``won``.  ``campaigns`` is the length of episodes that terminate
    or are cut off in turn; ``lowest`` the lowest index that is ever logged.
    """
    rng = np.random.default_rng(seed)
    x = rng.random((rows, 3)).astype(np.float32)
    if size is None:
        acted: Any = rng.uniform(0.1, 1.9, rows).astype(np.float32)
        bids = acted.astype(np.float64)
    else:
        acted = rng.integers(lowest, size, rows)
        acted[:2] = lowest, size - 1
        bids = positions_of(size)[acted]
    won = (rng.random(rows) < 1.0 / (1.0 + np.exp(1.0 - bids - x[:, 0]))).astype(float)
    value = scale * np.where(won > 0.0, 1.0 + x[:, 1] + rng.normal(0, 0.3, rows), 0.0)
    units = scale * rng.poisson(np.exp(1.0 - bids)).astype(float)
    rewards = value * won - scale * bids * won + units * (bids - x[:, 2])
    if campaigns:
        ends = np.arange(rows) % campaigns == campaigns - 1
        terminal = ends & (np.arange(rows) // campaigns % 2 == 0)
        options |= {"terminals": terminal, "timeouts": ends & ~terminal}
    return ColumnarReplayBuffer.from_arrays(
        x,
        acted if size is not None else acted[:, None],
        rewards,
        extras={"won": won, "value": value, "units": units},
        action_size=size or 1,
        **options,
    )


def outcomes_of(scale: float = 1.0) -> list[Outcome]:
    """What is true of :func:`log_of`."""
    return [
        Outcome("won", MonotoneConcave(), link="logit", weight=f"-{scale!r} * action"),
        Outcome("value", given="won", depends_on_action=False, ignores=[0]),
        Outcome("units", "monotone:increasing=false", link="log", weight="action - x2"),
    ]


def config_of(
    size: int | None = 5, scale: float = 1.0, **fields: Any
) -> ConstraintAwareQConfig:
    """ConstraintAwareQ for :func:`log_of`, small and quick."""
    actions = [0.0, 2.0] if size is None else positions_of(size).tolist()
    defaults: dict[str, Any] = {
        "outcomes": outcomes_of(scale),
        "constraint": Unconstrained(actions=actions),
        "critic": Functional(n_pieces=2),
        "batch_size": 32,
        "gamma": 0.0,
        "critic_encoder_factory": VectorEncoderFactory([16]),
        "actor_encoder_factory": VectorEncoderFactory([16]),
    }
    return ConstraintAwareQConfig(**{**defaults, **fields})


def fitted(config: Any, log: Any, steps: int = 20, **options: Any) -> Any:
    """An algorithm after some steps from a fixed seed."""
    d3rlpy.seed(0)
    algo = config.create(device="cpu:0")
    algo.fit(log, n_steps=steps, **{"n_steps_per_epoch": steps, **QUIET, **options})
    return algo


def actions_of(size: int | None, count: int, seed: int = 3) -> np.ndarray:
    """Actions to ask about, as ``predict_value`` takes them."""
    rng = np.random.default_rng(seed)
    if size is None:
        return rng.uniform(0.0, 2.0, (count, 1)).astype(np.float32)
    return rng.integers(0, size, count)


def composed(algo: Any, x: np.ndarray, actions: np.ndarray, size: int | None) -> Any:
    """The reward of :func:`log_of` made by hand of ``predict_outcome``, unscaled."""
    bids = actions[:, 0].astype(np.float64) if size is None else None
    if bids is None:
        bids = positions_of(size or 1)[actions]
    won, value, units = (
        algo.predict_outcome(x, actions, name) for name in ("won", "value", "units")
    )
    return won * value - won * bids + units * (bids - x[:, 2].astype(np.float64))


def states(count: int, seed: int = 9) -> np.ndarray:
    """Observations to ask about."""
    return np.random.default_rng(seed).random((count, 3)).astype(np.float32)
