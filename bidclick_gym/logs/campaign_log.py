"""Logs of campaigns under a budget as columns, simulated at once."""

from __future__ import annotations

import dataclasses

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from .._checks import check_integer, check_seed
from ..auction import click_probability
from ..campaigns import BudgetedCampaign, CampaignPolicy, UnpacedPolicy
from .log import Log, campaign_seeds

__all__ = ["BUDGET_CAMPAIGNS", "BudgetLog", "simulate_budget_log"]

BUDGET_CAMPAIGNS = 2000


@dataclasses.dataclass(frozen=True)
class BudgetLog(Log):
    """Logged campaigns under a budget as columns; ``M`` campaigns of ``T`` impressions.

    Columns are those of :class:`~bidclick_gym.logs.Log`, with observations float32 of
    shape ``(M, T + 1, 4)``, and one more.  ``actions`` and ``propensities`` are of the
    bids that were asked for, refused or not.

    Args:
        refused: whether the rest of the budget could not pay the bid, which then
            counted as 0; bool, ``(M, T)``.
    """

    refused: npt.NDArray[np.bool_]


def simulate_budget_log(
    campaign: BudgetedCampaign,
    policy: CampaignPolicy | None = None,
    campaigns: int = BUDGET_CAMPAIGNS,
    seed: int | np.random.SeedSequence = 0,
) -> BudgetLog:
    """Logs campaigns under a budget, all of them at once.

    Each campaign equals, bit for bit, ``env.reset(seed=...)`` with its seed and one
    ``env.step`` for each action: the environment draws the same uniforms in the same
    order.

    Args:
        campaign: what is logged.
        policy: the logger; :class:`~bidclick_gym.campaigns.UnpacedPolicy` if not
            given.
        campaigns: how many, at least 1.
        seed: as in :func:`~bidclick_gym.logs.simulate_log`.

    Raises:
        ValueError: ``campaigns`` or ``seed`` is too small, or the policy bids in another
            campaign.
    """
    check_integer("campaigns", campaigns, 1)
    check_seed(seed)
    policy = policy or UnpacedPolicy(campaign)
    if policy.campaign != campaign:
        raise ValueError(
            f"policy must bid in the campaign that is logged, {campaign}, "
            f"got one for {policy.campaign}"
        )
    seeds, bid_seed = campaign_seeds(seed, campaigns)
    rng = np.random.default_rng(bid_seed)
    contexts, click_uniforms = _uniforms(campaign, seeds)
    bids, steps = campaign.auction.bid_array, campaign.impressions

    observations = np.empty((campaigns, steps + 1, 4), dtype=np.float32)
    actions = np.empty((campaigns, steps), dtype=np.int64)
    rewards = np.empty((campaigns, steps))
    propensities = np.empty((campaigns, steps))
    clicks = np.empty((campaigns, steps), dtype=np.int64)
    refused = np.empty((campaigns, steps), dtype=np.bool_)
    rows = np.arange(campaigns)
    budget_left = np.full(campaigns, campaign.budget)
    for t in range(steps + 1):
        x, c = contexts[:, t].astype(np.float64).T
        observations[:, t] = campaign.observe(x, c, budget_left, steps - t)
        if t == steps:
            break
        asked = policy.sample(rng, observations[:, t])
        probabilities = policy.probabilities_of(observations[:, t])
        refused[:, t] = c * bids[asked] > budget_left
        bid = np.where(refused[:, t], 0.0, bids[asked])
        actions[:, t] = asked
        propensities[:, t] = probabilities[rows, asked]
        clicks[:, t] = click_uniforms[:, t] < click_probability(x, bid)
        rewards[:, t] = clicks[:, t] - c * bid
        budget_left = budget_left - c * bid
    return BudgetLog(
        observations=observations,
        actions=actions,
        rewards=rewards,
        propensities=propensities,
        clicks=clicks,
        refused=refused,
        seeds=seeds,
        bids=campaign.bids,
    )


def _uniforms(
    campaign: BudgetedCampaign, seeds: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Contexts ``(M, T + 1, 2)`` and the uniforms of clicks ``(M, T)``."""
    count = 3 * campaign.impressions
    # An impression draws for its click and then for the context after it.
    drawn = np.stack(
        [gym.utils.seeding.np_random(int(seed))[0].random(2 + count) for seed in seeds]
    )
    steps = drawn[:, 2:].reshape(len(seeds), campaign.impressions, 3)
    contexts = np.concatenate([drawn[:, None, :2], steps[:, :, 1:]], axis=1)
    return campaign.auction.context_from_uniform(contexts), steps[:, :, 0]
