"""``BidClickBudget-v0`` in which no agent can break a cap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from ..campaigns import Cap, allowed_by, check_caps
from .budget import BidClickBudgetEnv, campaign_space


class SafeBidding(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Keeps caps whatever an agent asks for.

    A forbidden bid is replaced by the highest allowed one below it; ``step`` says so in
    ``info["capped"]``, and ``info["asked_bid"]`` is still what the agent asked for.  What
    the budget cannot pay is refused by the environment as before.  Windows are counted
    from ``reset``.

    The observation is unchanged.  It does not show what caps leave, so an agent that
    learns here sees a task that is no longer quite Markov.

    Args:
        env: the environment, its observations and actions as they are.
        caps: what is kept, any number of caps.

    Raises:
        TypeError: ``env`` is something else, or ``caps`` are no caps.
        ValueError: ``env`` has its observations or actions transformed.
    """

    def __init__(self, env: gym.Env[Any, Any], caps: Sequence[Cap]):
        if not isinstance(env, gym.Env) or not isinstance(
            env.unwrapped, BidClickBudgetEnv
        ):
            raise TypeError(f"env must be a BidClickBudget-v0, got {env!r}")
        campaign = env.unwrapped.campaign
        spaces = campaign_space(campaign), env.unwrapped.action_space
        if (env.observation_space, env.action_space) != spaces:
            raise ValueError(
                f"env must have the spaces of BidClickBudget-v0, {spaces[0]} and "
                f"{spaces[1]}, got {env.observation_space} and {env.action_space}"
            )
        gym.utils.RecordConstructorArgs.__init__(self, caps=caps)
        gym.Wrapper.__init__(self, env)
        self.campaign, self.caps = campaign, check_caps(caps)
        self._cost: float | None = None
        self._payments: list[float] = []
        self._clicks: list[int] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts an episode, and its windows."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._cost = float(observation[1])
        self._payments, self._clicks = [], []
        return observation, {**info, "capped": False}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Bids what was asked for, or the most below it that the caps allow."""
        if self._cost is None or not self.action_space.contains(action):
            # Refused there, with the reason.
            return self.env.step(action)
        allowed = allowed_by(
            self.caps,
            self.campaign,
            np.array([self._cost]),
            np.array([self._payments]),
            np.array([self._clicks], np.int64),
        )[0]
        counted = int(np.flatnonzero(allowed[: int(action) + 1])[-1])
        observation, reward, terminated, truncated, info = self.env.step(counted)
        self._cost = float(observation[1])
        self._payments.append(info["payment"])
        self._clicks.append(info["click"])
        capped = counted != int(action)
        info = {**info, "asked_bid": self.campaign.bids[int(action)], "capped": capped}
        return observation, reward, terminated, truncated, info
