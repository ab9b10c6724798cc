"""Logs of the auction as columns: simulated at once, subsampled, fingerprinted."""

from __future__ import annotations

import dataclasses
import hashlib

import gymnasium as gym
import numpy as np

from .._arrays import Float32Array, FloatArray, IntArray
from .._checks import check_integer, check_number, check_seed
from ..auction import Auction, click_probability
from ..behavior import ClippedGaussianPolicy

CAMPAIGNS = 100
HORIZON = 1000


@dataclasses.dataclass(frozen=True)
class Log:
    """Logged impressions as columns; ``M`` campaigns of ``H`` impressions.

    Args:
        observations: float32, shape ``(M, H + 1, 2)``; the last one of a campaign is
            what followed its last impression.
        actions: bid indices, int64, shape ``(M, H)``.
        rewards: float64, shape ``(M, H)``, in units of one click.
        propensities: the logger's probability of the action, float64, ``(M, H)``.
        clicks: 0 or 1, int64, ``(M, H)``.
        seeds: what each campaign's ``env.reset(seed=...)`` was given, ``(M,)``.
        bids: the allowed bids, shape ``(K,)``.
    """

    observations: Float32Array
    actions: IntArray
    rewards: FloatArray
    propensities: FloatArray
    clicks: IntArray
    seeds: IntArray
    bids: tuple[float, ...]

    @property
    def impressions(self) -> int:
        """Number of logged impressions, ``M * H``."""
        return int(self.actions.size)


def simulate_campaign(
    auction: Auction, actions: IntArray, seed: int
) -> tuple[Float32Array, FloatArray, IntArray]:
    """Plays bid indices ``(H,)`` through one episode of ``BidClickEnv``, all at once.

    The result equals, bit for bit, ``env.reset(seed=seed)`` followed by one
    ``env.step`` for each action: the environment draws the same uniforms in the same
    order.

    Returns:
        observations ``(H + 1, 2)``, rewards ``(H,)``, clicks ``(H,)``.
    """
    observations, u = episode_draws(auction, seed, len(actions))
    x, c = observations[:-1].astype(np.float64).T
    bids = auction.bid_array[actions]
    clicks = (u < click_probability(x, bids)).astype(np.int64)
    return observations, clicks - c * bids, clicks


def episode_draws(
    auction: Auction, seed: int, steps: int
) -> tuple[Float32Array, FloatArray]:
    """Contexts ``(steps + 1, 2)`` and uniforms of clicks ``(steps,)`` of an episode."""
    u = gym.utils.seeding.np_random(seed)[0].random(2 + 3 * steps)
    # An impression draws for its click and then for the context after it.
    per_step = u[2:].reshape(steps, 3)
    contexts = np.concatenate([u[None, :2], per_step[:, 1:]])
    return auction.context_from_uniform(contexts), per_step[:, 0]


def simulate_log(
    auction: Auction,
    policy: ClippedGaussianPolicy | None = None,
    campaigns: int = CAMPAIGNS,
    horizon: int = HORIZON,
    seed: int | np.random.SeedSequence = 0,
) -> Log:
    """Logs ``campaigns * horizon`` impressions of a logging policy.

    Args:
        auction: the auction to log.
        policy: the logger; the paper's clipped Gaussian over the auction's bids if not
            given.
        campaigns: episodes, at least 1.
        horizon: impressions in each, at least 1.
        seed: of contexts, bids and clicks, an integer of at least 0.  A
            ``SeedSequence``, which is left as it is, gives campaigns seeds of 63 bits
            instead of 32, so that those of many logs do not meet.

    Raises:
        ValueError: a count or the seed is too small, or the policy's bids differ from
            the auction's.
    """
    check_integer("campaigns", campaigns, 1)
    check_integer("horizon", horizon, 1)
    check_seed(seed)
    policy = policy or ClippedGaussianPolicy(bids=auction.bids)
    if policy.bids != auction.bids:
        raise ValueError(
            f"policy must bid on the auction's bids {auction.bids}, got {policy.bids}"
        )
    seeds, bid_seed = campaign_seeds(seed, campaigns)
    actions = policy.sample(np.random.default_rng(bid_seed), campaigns * horizon)
    actions = actions.reshape(campaigns, horizon)
    played = [
        simulate_campaign(auction, row, int(s))
        for row, s in zip(actions, seeds, strict=True)
    ]
    return Log(
        observations=np.stack([p[0] for p in played]),
        actions=actions,
        rewards=np.stack([p[1] for p in played]),
        propensities=policy.probabilities[actions],
        clicks=np.stack([p[2] for p in played]),
        seeds=seeds,
        bids=auction.bids,
    )


def campaign_seeds(
    seed: int | np.random.SeedSequence, campaigns: int
) -> tuple[IntArray, np.random.SeedSequence]:
    """Environment seeds of a log's campaigns, ``(M,)``, and the seed of its bids."""
    if isinstance(seed, np.random.SeedSequence):
        # Spawning counts a sequence's children: a copy keeps the caller's as it was.
        root = np.random.SeedSequence(
            seed.entropy, spawn_key=seed.spawn_key, pool_size=seed.pool_size
        )
        env_seeds, bid_seed = root.spawn(2)
        seeds = (env_seeds.generate_state(campaigns, np.uint64) >> 1).astype(np.int64)
    else:
        env_seeds, bid_seed = np.random.SeedSequence(seed).spawn(2)
        seeds = env_seeds.generate_state(campaigns).astype(np.int64)
    return seeds, bid_seed


def fingerprint(log: Log) -> str:
    """SHA-256 over every column's bytes, little-endian; equal logs, equal digests."""
    digest = hashlib.sha256()
    for field in dataclasses.fields(log):
        column = np.ascontiguousarray(getattr(log, field.name))
        column = column.astype(column.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{field.name}{column.dtype.str}{column.shape}".encode())
        digest.update(column.tobytes())
    return digest.hexdigest()


def subsample_impressions(log: Log, fraction: float, seed: int = 0) -> IntArray:
    """Flat indices of the impressions that a fraction keeps, in logged order.

    Raises:
        ValueError: ``fraction`` is not in (0, 1] or keeps nothing, or ``seed`` is not an
            integer of at least 0.
    """
    return nested_subsample(log.impressions, fraction, seed)


def nested_subsample(count: int, fraction: float, seed: int) -> IntArray:
    """Indices of a share of ``count`` items, in order; a prefix of one permutation."""
    check_number("fraction", fraction, 0.0, 1.0, open=True)
    check_integer("seed", seed, 0)
    size = round(fraction * count)
    if size < 1:
        raise ValueError(
            f"fraction={fraction!r} keeps none of {count} items; "
            f"it must be at least {1 / count:g}"
        )
    return np.sort(np.random.default_rng(seed).permutation(count)[:size])
