r"""Level and scale of Q, estimated from a log.

The shaped critics are fragile when Q is far from zero or spread over a far different
range than a network's outputs, so Q is measured from
:math:`mean(r) / (1 - \gamma (1 - p))`, with ``p`` the share of terminal transitions, in
units of the spread of rewards.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from d3rlpy.dataset import ReplayBufferBase
from d3rlpy.preprocessing import RewardScaler

__all__ = ["Standardisation"]


@dataclasses.dataclass(frozen=True)
class Standardisation:
    """What Q is measured from, and in, in scaled reward units.

    Args:
        level: the expected discounted sum of the mean reward.
        scale: standard deviation of the reward; positive.
    """

    level: float
    scale: float

    @classmethod
    def of_rewards(
        cls, mean: float, std: float, terminal_share: float, gamma: float
    ) -> Standardisation:
        """From moments of the (scaled) rewards."""
        level = mean / (1.0 - gamma * (1.0 - terminal_share))
        # A constant reward has no spread; its own size is the next best unit.
        tiny = 1e-6 * abs(mean)
        scale = std if std > tiny else (abs(mean) or 1.0)
        return cls(level, scale)

    @classmethod
    def of_dataset(
        cls, dataset: ReplayBufferBase, gamma: float, scaler: RewardScaler | None
    ) -> Standardisation:
        """From all rewards of a dataset whose scalers are built."""
        episodes = dataset.episodes
        rewards = np.concatenate([e.rewards for e in episodes]).astype(np.float64)
        if scaler is not None:
            rewards = np.asarray(scaler.transform_numpy(rewards))
        terminals = sum(bool(e.terminated) for e in episodes)
        share = terminals / max(1, dataset.transition_count)
        return cls.of_rewards(
            float(rewards.mean()), float(rewards.std()), min(share, 1.0), gamma
        )

    @classmethod
    def of_batch(
        cls, rewards: torch.Tensor, terminals: torch.Tensor, gamma: float
    ) -> Standardisation:
        """From one (scaled) mini-batch, where no dataset was seen."""
        std = float(rewards.std(correction=0))
        return cls.of_rewards(float(rewards.mean()), std, float(terminals.mean()), gamma)
