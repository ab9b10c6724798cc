"""Policies that are worth knowing beside learned ones, valued exactly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from bidclick_gym.auction import expected_reward
from bidclick_gym.campaigns import (
    BudgetedCampaign,
    PacedPolicy,
    UnpacedPolicy,
    evaluate,
    solve,
)

__all__ = ["Reference", "references"]

Policy = Callable[[npt.NDArray[np.float32]], Any]

NODES, BUDGET_POINTS = 16, 1001


@dataclasses.dataclass(frozen=True)
class Reference:
    """One policy.

    Args:
        name: as shown.
        value: expected profit of a whole campaign.
    """

    name: str
    value: float


def references(campaign: BudgetedCampaign) -> list[Reference]:
    """The optimum, the loggers, constant bids and the bid that is best for the moment."""
    best = solve(campaign, nodes=NODES, budget_points=BUDGET_POINTS).optimal_value
    found = [Reference("optimum", best)]
    for name, policy in _policies(campaign):
        value = evaluate(policy, campaign, nodes=NODES, budget_points=BUDGET_POINTS)
        found.append(Reference(name, value))
    return sorted(found, key=lambda reference: -reference.value)


def _policies(campaign: BudgetedCampaign) -> Iterator[tuple[str, Policy]]:
    yield "paced logger", PacedPolicy(campaign).probabilities_of
    yield "unpaced logger", UnpacedPolicy(campaign).probabilities_of
    for i, bid in enumerate(campaign.bids):
        yield f"always bid {bid:g}", _constant(i)
    yield "best bid of the moment", _myopic(campaign)


def _constant(index: int) -> Policy:
    def policy(observations: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        return np.full(len(observations), index)

    return policy


def _myopic(campaign: BudgetedCampaign) -> Policy:
    def policy(observations: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        x, c, _, _ = campaign.read(observations)
        rewards = expected_reward(x[:, None], c[:, None], campaign.auction.bid_array)
        return rewards.argmax(axis=1)

    return policy
