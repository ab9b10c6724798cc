"""Named logs of campaigns under a budget, as ``datasets`` stores them."""

from __future__ import annotations

import dataclasses

import gymnasium as gym

from ..campaigns.behavior import PacedPolicy, UnpacedPolicy
from ..campaigns.campaign import DEFAULT_IMPRESSIONS, BudgetedCampaign
from ._minari_files import LogSpec, Recording
from .campaign_log import BUDGET_CAMPAIGNS, simulate_budget_log

__all__ = ["BUDGET_DATASETS", "BudgetLogSpec", "check_whole_campaigns", "recording"]


@dataclasses.dataclass(frozen=True)
class BudgetLogSpec(LogSpec):
    """What a named dataset of campaigns is a log of.

    Args:
        policy: what logged it, made for the campaign.
        algorithm: its name for ``minari show``.
    """

    policy: type[UnpacedPolicy] | type[PacedPolicy]
    algorithm: str


BUDGET_DATASETS: dict[str, BudgetLogSpec] = {
    "bidclick/budget-logged-v0": BudgetLogSpec(
        "BidClickBudget-v0",
        "Campaigns under a budget logged by a clipped Gaussian bidder that does not "
        "look at it: 2,000 of 50 impressions, with propensities, clicks and refusals.",
        UnpacedPolicy,
        "clipped Gaussian bidder, mean 0.4, std 0.4",
    ),
    "bidclick/budget-paced-v0": BudgetLogSpec(
        "BidClickBudget-v0",
        "Campaigns under a budget logged by a bidder that paces its spending: "
        "2,000 of 50 impressions, with propensities, clicks and refusals.",
        PacedPolicy,
        "pacing bidder, temperature 0.1, floor 0.02",
    ),
}


def recording(name: str, log_seed: int) -> Recording:
    """The log of that name and how it is stored."""
    spec = BUDGET_DATASETS[name]
    campaign = BudgetedCampaign()
    return Recording(
        spec=spec,
        env=gym.make(spec.env_id),
        simulate=lambda: simulate_budget_log(
            campaign, spec.policy(campaign), seed=log_seed
        ),
        shape=(BUDGET_CAMPAIGNS, DEFAULT_IMPRESSIONS),
        terminates=True,
        algorithm=spec.algorithm,
        log_seed=log_seed,
    )


def check_whole_campaigns(as_bandit: bool | None, continuous: bool) -> None:
    """Refuses to tear a campaign under a budget apart.

    Raises:
        ValueError: ``as_bandit`` or ``continuous`` is true.
    """
    if as_bandit:
        raise ValueError(
            "as_bandit must be left out or False for campaigns under a budget, whose "
            f"impressions share it, got {as_bandit!r}"
        )
    if continuous:
        raise ValueError(
            "continuous must be False for campaigns under a budget, which bid by index, "
            f"got {continuous!r}"
        )
