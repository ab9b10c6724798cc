"""Impressions per second of the environment, alone and in batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np

__all__ = ["BATCHED", "SINGLE", "SYNC", "measure_env"]

SINGLE = "gym.make, one step at a time"
SYNC = "SyncVectorEnv"
BATCHED = "gym.make_vec"

#: Environment, sub-environments, horizon, autoreset mode.
CASES: list[tuple[str, int, int, str]] = [
    (SINGLE, 1, 1000, "by hand"),
    (SINGLE, 1, 1, "by hand"),
    (SYNC, 64, 1000, "next_step"),
    *((BATCHED, n, 1000, "next_step") for n in (1, 64, 4096)),
    *((BATCHED, n, 1, "next_step") for n in (1, 64, 4096)),
    (BATCHED, 4096, 1, "same_step"),
]


def measure_env(quick: bool, show: Callable[[str], None]) -> list[dict[str, Any]]:
    """Times stepping alone; actions are drawn before, reset slots are not counted.

    Args:
        quick: a few hundredths of a second each.
        show: is told what is being measured.

    Returns:
        one row for each case and round: impressions and seconds.
    """
    return list(_rows(quick, show))


def _rows(quick: bool, show: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    for turn in range(2 if quick else 5):
        for name, count, horizon, mode in CASES:
            show(f"{name}, {count} x horizon {horizon}, {mode}")
            measure = _single if name == SINGLE else _batched
            impressions, seconds = measure(
                name, count, horizon, mode, 0.02 if quick else 1.0
            )
            yield {
                "environment": name,
                "num_envs": count,
                "horizon": horizon,
                "autoreset": mode,
                "round": turn,
                "impressions": impressions,
                "seconds": seconds,
                "impressions_per_second": impressions / seconds,
            }


def _single(
    name: str, count: int, horizon: int, mode: str, least: float
) -> tuple[int, float]:
    env = gym.make("BidClick-v0", horizon=horizon)
    actions = np.random.default_rng(0).integers(0, 5, 1000).tolist()
    env.reset(seed=0)
    impressions, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < least:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        impressions += len(actions)
    return impressions, spent


def _batched(
    name: str, count: int, horizon: int, mode: str, least: float
) -> tuple[int, float]:
    options: dict[str, Any] = {"horizon": horizon}
    if name == SYNC:
        options["vectorization_mode"] = "sync"
    else:
        options["autoreset_mode"] = mode
    env: Any = gym.make_vec("BidClick-v0", num_envs=count, **options)
    actions = np.random.default_rng(0).integers(0, 5, (50, count))
    env.reset(seed=0)
    # Every step of same-step autoreset is an impression; of next-step autoreset, none of
    # the steps after an end is.  Counted while nothing is timed: it never varies.
    impressions, steps = 0, max(50, 2 * (horizon + 1))
    for step in range(steps):
        infos = env.step(actions[step % 50])[-1]
        # Gymnasium's own batch says nothing when all of it was reset.
        played = infos.get("_click", np.zeros(count, dtype=bool))
        impressions += count if mode == "same_step" else int(played.sum())
    env.reset(seed=0)
    timed, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < least:
        for step in range(50):
            env.step(actions[step])
        timed += 50
    return round(timed * impressions / steps), spent
