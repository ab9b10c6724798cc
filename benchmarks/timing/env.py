"""Impressions per second of the environment, alone and in batches."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from ..engine import Part, Settings
from ..engine.markdown import section, table
from ..engine.rows import Row, Rows, by_seed, distinct
from ..engine.timing import median, showing, spread

SYNC = "SyncVectorEnv"
BATCHED = "gym.make_vec"

#: Environment, sub-environments, horizon, autoreset mode.
CASES: list[tuple[str, int, int, str]] = [
    *((SYNC, n, 1000, "next_step") for n in (1, 64)),
    *((BATCHED, n, 1000, "next_step") for n in (1, 64, 4096)),
    *((BATCHED, n, 1, "next_step") for n in (1, 64, 4096)),
    (BATCHED, 4096, 1, "same_step"),
]
_KEYS = ("environment", "num_envs", "horizon", "autoreset")


def _compute(settings: Settings) -> Iterator[Row]:
    """Times stepping alone; actions are drawn before, reset slots are not counted."""
    with showing("env") as show:
        for turn in range(2 if settings.quick else 5):
            for case in CASES:
                show(", ".join(map(str, case)))
                impressions, seconds = _batched(*case, 0.02 if settings.quick else 1.0)
                yield {
                    **dict(zip(_KEYS, case, strict=True)),
                    "round": turn,
                    "impressions": impressions,
                    "seconds": seconds,
                    "impressions_per_second": impressions / seconds,
                }


def _batched(
    name: str, count: int, horizon: int, mode: str, least: float
) -> tuple[int, float]:
    options: dict[str, Any] = {"horizon": horizon}
    if name == SYNC:
        options["vectorization_mode"] = "sync"
    else:
        # Only the mask that is counted below: the rest of the information is built anew
        # in every step, and building it is not stepping.
        options.update(autoreset_mode=mode, full_info=False)
    env: Any = gym.make_vec("BidClick-v0", num_envs=count, **options)
    actions = np.random.default_rng(0).integers(0, 5, (50, count))
    env.reset(seed=0)
    # Every step of same-step autoreset is an impression; of next-step autoreset, none of
    # the steps after an end is.  Counted while nothing is timed: it never varies.
    impressions, steps = 0, max(50, 2 * (horizon + 1))
    ended = np.zeros(count, dtype=bool)
    for step in range(steps):
        _, _, terminated, truncated, _ = env.step(actions[step % 50])
        impressions += count if mode == "same_step" else int((~ended).sum())
        ended = terminated | truncated
    env.reset(seed=0)
    timed, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < least:
        for step in range(50):
            env.step(actions[step])
        timed += 50
    return round(timed * impressions / steps), spent


ENV = Part(
    "env",
    (*_KEYS, "round", "impressions", "seconds", "impressions_per_second"),
    compute=_compute,
    file="speed-env.csv",
)


def report(rows: Rows) -> str:
    lines = []
    for values in distinct(rows, *_KEYS):
        where = dict(zip(_KEYS, values, strict=True))
        rates = by_seed(rows, "impressions_per_second", "round", **where)
        name, count, horizon, mode = values
        lines.append(
            (
                *(name, f"{count:,.0f}", f"{horizon:,.0f}", mode),
                *(spread(rates, 1e-6), f"{1e9 / median(rates):.3g}"),
            )
        )
    head = ["", "Environments", "Horizon", "Autoreset", "Million a second", "ns each"]
    return section(
        "Impressions a second",
        "Real impressions on one core; slots of a reset are not counted, actions are "
        "drawn beforehand.  `gym.make_vec` runs with `full_info=False`.",
        table(head, lines, "lrrlrr"),
    )
