"""Logs of replayed auctions: what a bidder sees of them, as a replay buffer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import gymnasium as gym
import numpy as np

from .._arrays import AnyArray, Float32Array, FloatArray
from .._checks import check_integer, check_seed
from .._optional import needed
from ..campaigns import Policy, chances
from ..envs import BidReplayEnv, BidReplayVectorEnv
from .log import campaign_seeds

if TYPE_CHECKING:
    from icac_algo import ColumnarReplayBuffer

#: A generator and observations, ``(N, d)``, to bids and their densities, each ``(N,)``.
BidPolicy: TypeAlias = Callable[
    [np.random.Generator, Float32Array], tuple[FloatArray, FloatArray]
]


def simulate_replay_log(
    env: gym.Env[Any, Any],
    policy: Policy | BidPolicy | None = None,
    campaigns: int = 100,
    seed: int | np.random.SeedSequence = 0,
) -> ColumnarReplayBuffer:
    """Logs campaigns of replayed auctions, all at once, as a replay buffer for d3rlpy.

    The log holds what a bidder sees: no market price of an auction that he lost.  Its
    actions are the bids that counted.  So a bid that was capped at what was left stands
    in it as what it was capped at, and the same would have come of it under any larger
    budget, as ``BudgetRelabellingTransitionPicker`` needs it.

    Further columns are ``won``, ``payment``, ``asked_bid``, ``click`` if the auctions
    have clicks, and for lists of bids ``propensity``: the logger's probability of the bid
    that counted, which that of all bids that would have been capped at it is part of.
    Where an action is the bid itself, ``density`` is that of the bid that was asked for.

    Args:
        env: what is logged, ``gym.make("BidReplay-v0", ...)``; it is left as it is.
            Campaigns start by its ``order`` and end as terminal.
        policy: the logger, for a list of bids a function of observations ``(N, d)`` that
            returns probabilities ``(N, K)``, or indices ``(N,)``; else one of a generator
            and observations that returns bids and their densities, each ``(N,)``.  Any
            bid is equally likely if not given.
        campaigns: how many, at least 1.
        seed: of where they start and of bids.

    Raises:
        TypeError: ``env`` is another environment.
        ValueError: ``campaigns`` or ``seed`` is too small, or the policy returns
            something else or a bid that is not allowed.
        ImportError: d3rlpy is missing.
    """
    with needed("d3rlpy", "icac"):
        import icac_algo
    one = getattr(env, "unwrapped", env)
    if not isinstance(one, BidReplayEnv):
        raise TypeError(f'env must be gym.make("BidReplay-v0", ...), got {env!r}')
    envs = one.many(check_integer("campaigns", campaigns, 1))
    check_seed(seed)
    seeds, bid_seed = campaign_seeds(seed, 1)
    rng = np.random.default_rng(bid_seed)
    observations, _ = envs.reset(seed=int(seeds[0]))
    left = np.full(envs.num_envs, envs.budget)
    steps = []
    for _ in range(envs.horizon):
        asked, chance = _asked(envs, policy, rng, observations)
        following, rewards, _, _, info = envs.step(asked)
        bid = info["bid"]
        step = {name: info[name] for name in ("won", "payment", "asked_bid")}
        if "click" in info:
            step["click"] = info["click"]
        if envs.bids is None:
            step.update(actions=bid.astype(np.float32), density=chance)
        else:
            bids, rows = np.asarray(envs.bids), np.arange(len(bid))
            counted = np.searchsorted(bids, bid)
            highest = np.searchsorted(bids, left, side="right") - 1
            # All that is above the highest bid that can be paid is capped at it.
            above = np.cumsum(chance[:, ::-1], axis=1)[:, ::-1].clip(max=1.0)
            chosen = np.where(
                counted == highest, above[rows, counted], chance[rows, counted]
            )
            step.update(actions=counted, propensity=chosen)
        steps.append({"observations": observations, "rewards": rewards, **step})
        observations, left = following, info["budget_left"]
    columns = {n: np.stack([step[n] for step in steps], axis=1) for n in steps[0]}
    columns = {n: c.reshape(-1, *c.shape[2:]) for n, c in columns.items()}
    last = np.zeros((envs.num_envs, envs.horizon), dtype=np.bool_)
    last[:, -1] = True
    return icac_algo.ColumnarReplayBuffer.from_arrays(
        columns.pop("observations"),
        columns.pop("actions")[:, None],
        columns.pop("rewards").astype(np.float32),
        terminals=last.reshape(-1),
        extras=columns,
        # Stated, not detected: a small log may lack the highest bid.
        action_size=1 if envs.bids is None else len(envs.bids),
    )


def _asked(
    envs: BidReplayVectorEnv, policy: Any, rng: np.random.Generator, seen: Float32Array
) -> tuple[AnyArray, FloatArray]:
    """Actions, and their densities, ``(N,)``, or probabilities of all, ``(N, K)``."""
    count = envs.num_envs
    if envs.bids is not None:
        number = len(envs.bids)
        chance = np.full((count, number), 1.0 / number)
        if policy is not None:
            chance = chances(policy, seen, number)
        edges = np.cumsum(chance, axis=1)[:, :-1]
        return (rng.random(count)[:, None] >= edges).sum(axis=1), chance
    high = envs.single_action_space.high[0]
    bids, density = high * rng.random(count), np.full(count, 1.0 / high)
    if policy is not None:
        bids, density = (np.asarray(part) for part in policy(rng, seen))
    if bids.shape != (count,) or density.shape != (count,):
        raise ValueError(
            f"policy must return bids and densities of shape ({count},), got shapes "
            f"{bids.shape} and {density.shape}"
        )
    return bids.astype(np.float32)[:, None], density
