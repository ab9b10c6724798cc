"""The three auctions of the regret benchmark, their logs and their exact regret."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from bidclick_gym import Auction, simulate_log
from bidclick_gym.auction import click_probability, expected_reward
from bidclick_gym.evaluators import greedy_bids
from bidclick_gym.logs.datasets import to_replay_buffer
from bidclick_gym.logs.log import Log, subsample_impressions

Array = npt.NDArray[Any]

GRID = 200
IMPRESSIONS = 100_000
# What the logging policy draws before it is clipped to [0, 1] (and, over a list of
# bids, snapped to the nearest one).
LOGGER_MEAN, LOGGER_SPREAD = 0.4, 0.4


def click_columns(log: Log, rows: npt.NDArray[np.int64]) -> tuple[Array, Array, Array]:
    """Query, bid and click of some impressions, given by flat index, each ``(N,)``."""
    x = log.observations[:, :-1, 0].reshape(-1)
    bids = np.asarray(log.bids)[log.actions.reshape(-1)]
    return x[rows], bids[rows], log.clicks.reshape(-1)[rows]


@dataclasses.dataclass(frozen=True)
class Task:
    """One auction."""

    name: str  # as shown
    bids: tuple[float, ...]  # allowed bids, or the two ends of their range
    continuous: bool = False  # whether any bid between the ends is allowed

    @property
    def auction(self) -> Auction:
        return Auction(bids=self.bids)

    def dataset(self, seed: int, fraction: float, as_floats: bool) -> Any:
        """A share of a log of 100,000 impressions, as a replay buffer."""
        if not self.continuous:
            log = simulate_log(self.auction, seed=seed)
            return to_replay_buffer(log, fraction, seed, continuous=as_floats)
        from icac_algo import ColumnarReplayBuffer

        contexts, bids, clicks = self._real_bids(seed)
        kept = self._kept(seed, fraction)
        rewards = clicks - contexts[:, 1] * bids
        return ColumnarReplayBuffer.from_arrays(
            contexts[kept],
            bids[kept, None].astype(np.float32),
            rewards[kept, None].astype(np.float32),
            extras={"click": clicks[kept]},
        )

    def click_columns(self, seed: int, fraction: float) -> tuple[Array, Array, Array]:
        """Query, bid and click of the same impressions, each ``(N,)``."""
        if self.continuous:
            contexts, bids, clicks = self._real_bids(seed)
            kept = self._kept(seed, fraction)
            return contexts[kept, 0], bids[kept], clicks[kept]
        log = simulate_log(self.auction, seed=seed)
        return click_columns(log, subsample_impressions(log, fraction, seed))

    def _real_bids(self, seed: int) -> tuple[Array, Array, Array]:
        rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])
        contexts = self.auction.context_from_uniform(rng.random((IMPRESSIONS, 2)))
        bids = rng.normal(LOGGER_MEAN, LOGGER_SPREAD, IMPRESSIONS)
        bids = bids.clip(self.bids[0], self.bids[-1])
        chance = click_probability(contexts[:, 0].astype(np.float64), bids)
        return contexts, bids, (rng.random(IMPRESSIONS) < chance).astype(np.int64)

    @staticmethod
    def _kept(seed: int, fraction: float) -> npt.NDArray[np.int64]:
        order = np.random.default_rng(seed).permutation(IMPRESSIONS)
        return np.sort(order[: round(fraction * IMPRESSIONS)])

    def regret(self, model: Any) -> float:
        auction = self.auction
        contexts = auction.contexts(GRID)
        if not self.continuous:
            value = auction.value_of_actions(greedy_bids(model, auction, contexts), GRID)
            return auction.optimal_value(GRID) - value
        bids = np.asarray(model.predict(contexts.astype(np.float32))).reshape(-1)
        bids = np.clip(bids.astype(np.float64), self.bids[0], self.bids[-1])
        value = float(expected_reward(contexts[:, 0], contexts[:, 1], bids).mean())
        return auction.optimal_continuous_value(GRID) - value


# Few bids where they hardly matter, many where they do: as price lists are made.
UNEQUAL = tuple(float(b) for b in np.round(np.linspace(0.0, 1.0, 21) ** 1.5, 4))

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("5 bids", (0.0, 0.25, 0.5, 0.75, 1.0)),
        Task("21 unequal bids", UNEQUAL),
        Task("any bid", (0.0, 1.0), continuous=True),
    )
}
