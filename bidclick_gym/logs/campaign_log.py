"""Logs of campaigns under a budget as columns, simulated at once."""

from __future__ import annotations

import dataclasses

import numpy as np

from .._arrays import BoolArray, Float32Array, FloatArray, IntArray
from .._checks import check_integer, check_seed
from ..campaigns import BudgetedCampaign, CampaignPolicy, UnpacedPolicy, play
from .log import Log, campaign_seeds, episode_draws

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

    refused: BoolArray


def simulate_budget_log(
    campaign: BudgetedCampaign,
    policy: CampaignPolicy | None = None,
    campaigns: int = BUDGET_CAMPAIGNS,
    seed: int | np.random.SeedSequence = 0,
) -> BudgetLog:
    """Logs campaigns under a budget, all of them at once.

    Each campaign equals its episode of the environment, bit for bit, as in
    :func:`~bidclick_gym.logs.simulate_campaign`.

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
    rows, last = np.arange(campaigns), campaign.impressions
    drawn = [episode_draws(campaign.auction, int(s), last) for s in seeds]
    contexts, click_uniforms = map(np.stack, zip(*drawn, strict=True))
    seen: list[Float32Array] = []
    asked: list[IntArray] = []
    propensities: list[FloatArray] = []

    def decide(step: int, observations: Float32Array) -> IntArray:
        bids = policy.sample(rng, observations)
        seen.append(observations)
        asked.append(bids)
        propensities.append(policy.probabilities_of(observations)[rows, bids])
        return bids

    played = play(campaign, contexts, click_uniforms, decide)
    x, c = contexts[:, last].T
    seen.append(campaign.observe(x, c, played["budget_left"][:, last], 0))
    return BudgetLog(
        observations=np.stack(seen, axis=1),
        actions=np.stack(asked, axis=1),
        rewards=played["clicked"] - played["payments"],
        propensities=np.stack(propensities, axis=1),
        clicks=played["clicked"],
        refused=played["refused"],
        seeds=seeds,
        bids=campaign.bids,
    )
