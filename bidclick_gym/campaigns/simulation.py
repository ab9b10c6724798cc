"""Whole campaigns, many at a time, by the rules of the environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from .._arrays import AnyArray, Float32Array, FloatArray, IntArray
from .._checks import check_integer
from ..auction import click_probability
from .campaign import BudgetedCampaign
from .evaluation import Policy, chances, check_arguments

#: The step and its observations, ``(N, 4)``, to bids, ``(N,)``.
Decide: TypeAlias = Callable[[int, Float32Array], IntArray]


def simulate(
    policy: Policy,
    campaign: BudgetedCampaign | None = None,
    episodes: int = 10_000,
    seed: int = 0,
    *,
    batch: int = 10_000,
) -> dict[str, AnyArray]:
    """Plays whole campaigns, many at a time, by the rules of the environment.

    The first campaigns of a longer run are those of a shorter one, and policies of one
    seed meet the same contexts and the same luck, so their profits can be paired.

    Args:
        policy: as in `value_function`; probabilities are sampled.
        campaign: what is played; the default campaign if not given.
        episodes: how many campaigns, at least 1.
        seed: of contexts, clicks and sampled bids, at least 0.
        batch: campaigns that are played at once, at least 1.  No result depends on it.

    Returns:
        Of each campaign: ``profit`` and ``spend``, float64 ``(episodes,)``, in units of
        one click; ``clicks`` and ``refused`` bids, int64 ``(episodes,)``; ``bid_shares``,
        float64 ``(episodes, K)``, the shares of impressions in which each bid counted,
        refused ones as a bid of 0; ``budget_left``, float64 ``(episodes, T + 1)``, before
        each impression and at the end.

    Raises:
        TypeError: ``policy`` is no function, or ``campaign`` no campaign.
        ValueError: a number is too small, or the policy answers with something else.
    """
    campaign = check_arguments(policy, campaign, batch)
    check_integer("episodes", episodes, 1)
    check_integer("seed", seed, 0)
    rng, steps, bids = np.random.default_rng(seed), campaign.impressions, campaign.bids
    parts = []
    for start in range(0, episodes, batch):
        # Of each impression: for x, for c, for the click and for a sampled bid.
        u = rng.random((min(batch, episodes - start), steps, 4))
        decide = _sampled(policy, len(bids), u[..., 3])
        contexts = campaign.auction.context_from_uniform(u[..., :2])
        played = play(campaign, contexts, u[..., 2], decide)
        counted = played["counted"]
        shares = [(counted == bid).sum(axis=1) / steps for bid in range(len(bids))]
        spend, clicks = played["payments"].sum(axis=1), played["clicked"].sum(axis=1)
        parts.append(
            {
                "bid_shares": np.stack(shares, axis=1),
                "profit": clicks - spend,
                "spend": spend,
                "clicks": clicks,
                "refused": played["refused"].sum(axis=1),
                "budget_left": played["budget_left"],
            }
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _sampled(policy: Policy, bids: int, u: FloatArray) -> Decide:
    """A policy whose bids uniforms ``(N, T)`` sample from its probabilities."""

    def decide(step: int, seen: Float32Array) -> IntArray:
        below = np.cumsum(chances(policy, seen, bids), axis=1)[:, :-1]
        return (u[:, step, None] >= below).sum(axis=1)

    return decide


def play(
    campaign: BudgetedCampaign, contexts: Float32Array, u: FloatArray, decide: Decide
) -> dict[str, AnyArray]:
    """Columns of whole campaigns, ``(N, T)``, and ``budget_left``, ``(N, T + 1)``.

    Impressions are those of contexts ``(N, T, 2)``; uniforms ``(N, T)`` are of clicks.
    """
    steps, bids = campaign.impressions, campaign.auction.bid_array
    episodes = len(contexts)
    payments, left = np.zeros((episodes, steps)), np.empty((episodes, steps + 1))
    clicked, counted = (np.zeros(payments.shape, np.int64) for _ in range(2))
    refused = np.zeros(payments.shape, np.bool_)
    left[:, 0] = campaign.budget
    for step in range(steps):
        x, c = contexts[:, step].astype(np.float64).T
        asked = decide(step, campaign.observe(x, c, left[:, step], steps - step))
        refused[:, step] = c * bids[asked] > left[:, step]
        counted[:, step] = np.where(refused[:, step], 0, asked)
        bid = bids[counted[:, step]]
        payments[:, step] = c * bid
        clicked[:, step] = u[:, step] < click_probability(x, bid)
        left[:, step + 1] = left[:, step] - payments[:, step]
    return {
        "payments": payments,
        "clicked": clicked,
        "counted": counted,
        "refused": refused,
        "budget_left": left,
    }
