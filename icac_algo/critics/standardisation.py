r"""Level and scale of Q, estimated from a log.

The shaped critics are fragile when Q is far from zero or spread over a far different
range than a network's outputs, so Q is measured from
:math:`mean(r) / (1 - \gamma (1 - p))`, with ``p`` the share of terminal transitions, in
units of the spread of rewards.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from d3rlpy.dataset import ReplayBufferBase
from d3rlpy.preprocessing import ObservationScaler, RewardScaler

from ..data import ColumnarReplayBuffer, blocks


@dataclasses.dataclass(frozen=True)
class Standardisation:
    """What Q is measured from, and in, in scaled reward units."""

    level: float  # the expected discounted sum of the mean reward
    scale: float  # standard deviation of the reward; positive
    mean: float  # of the reward
    #: Of features, what is taken from each: its mean, or 0 of a flag; none where nothing
    #: is linear in them.
    middle: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()  # what each is divided by: its deviation, or 1

    @property
    def numbers(self) -> list[float]:
        """What a critic's ``standardise`` takes."""
        return [self.level, self.scale, *self.middle, *self.spread]

    @classmethod
    def of_rewards(
        cls, mean: float, std: float, terminal_share: float, gamma: float
    ) -> Standardisation:
        """From moments of the (scaled) rewards."""
        ending = 1.0 - gamma * (1.0 - terminal_share)
        if ending <= 0.0:
            raise ValueError(
                "gamma must be below 1 where no episode terminates, got a discount of 1"
            )
        level = mean / ending
        # A constant reward has no spread; its own size is the next best unit.
        tiny = 1e-6 * abs(mean)
        scale = std if std > tiny else (abs(mean) or 1.0)
        return cls(level, scale, mean)

    @classmethod
    def of_dataset(
        cls, dataset: ReplayBufferBase, gamma: float, scaler: RewardScaler | None
    ) -> Standardisation:
        """From all rewards of a dataset whose scalers are built."""
        moments = Moments()
        for block, _, _ in blocks(dataset, "rewards"):
            rewards = block.astype(np.float32).astype(np.float64)
            if scaler is not None:
                rewards = np.asarray(scaler.transform_numpy(rewards))
            moments.add(rewards)
        share = _terminals(dataset) / max(1, dataset.transition_count)
        spread = math.sqrt(moments.variance)
        return cls.of_rewards(moments.mean, spread, min(share, 1.0), gamma)

    def with_features(
        self, dataset: ReplayBufferBase, size: int, scaler: ObservationScaler | None
    ) -> Standardisation:
        """With the units of a dataset's observations, vectors ``(size,)``."""
        found = FeatureMoments(size)
        for block, _, _ in blocks(dataset, "observations"):
            block = block.astype(np.float32)
            found.add(block if scaler is None else scaler.transform_numpy(block))
        return dataclasses.replace(self, middle=found.middle, spread=found.spread)

    @classmethod
    def of_batch(
        cls, rewards: torch.Tensor, terminals: torch.Tensor, gamma: float
    ) -> Standardisation:
        """From one (scaled) mini-batch, where no dataset was seen."""
        std = float(rewards.std(correction=0))
        # A batch without an end does not mean that there is none.
        share = max(float(terminals.mean()), 1.0 / len(rewards))
        return cls.of_rewards(float(rewards.mean()), std, share, gamma)


class Moments:
    """Count, mean and variance of arrays that come one after another."""

    def __init__(self) -> None:
        self.count, self.mean, self._squares = 0, 0.0, 0.0

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """Takes the numbers of an array in."""
        if not values.size:
            return
        gap, total = float(values.mean()) - self.mean, self.count + values.size
        self._squares += float(values.var()) * values.size
        self._squares += gap**2 * self.count * values.size / total
        self.mean += gap * values.size / total
        self.count = total

    @property
    def variance(self) -> float:
        """Of all numbers so far."""
        return self._squares / max(self.count, 1)


class FeatureMoments:
    """Mean and spread of features, ``(N, d)`` in pieces; flags stay 0 and 1.

    A rare category that is divided by its spread would become a huge number.
    """

    def __init__(self, size: int):
        self._moments = [Moments() for _ in range(size)]
        self._is_flag = np.ones(size, dtype=bool)

    def add(self, features: npt.NDArray[Any]) -> None:
        """Takes rows in."""
        features = np.asarray(features, np.float64)
        self._is_flag &= ((features == 0.0) | (features == 1.0)).all(axis=0)
        for moments, column in zip(self._moments, features.T, strict=True):
            moments.add(column)

    @property
    def middle(self) -> tuple[float, ...]:
        """What is taken from each."""
        pairs = zip(self._moments, self._is_flag, strict=True)
        return tuple(0.0 if is_flag else m.mean for m, is_flag in pairs)

    @property
    def spread(self) -> tuple[float, ...]:
        """What each is then divided by."""
        found = []
        for moments, is_flag in zip(self._moments, self._is_flag, strict=True):
            std = math.sqrt(moments.variance)
            # Of a constant only rounding is left.
            varies = std > 1e-6 * abs(moments.mean)
            found.append(std if varies and not is_flag else 1.0)
        return tuple(found)


def _terminals(dataset: ReplayBufferBase) -> int:
    if isinstance(dataset, ColumnarReplayBuffer):
        return dataset.columns.index.terminals
    return sum(bool(episode.terminated) for episode in dataset.episodes)
