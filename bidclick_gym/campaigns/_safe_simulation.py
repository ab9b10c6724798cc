"""Whole campaigns under caps, and a count of broken caps that trusts no mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..logs.log import check_integer
from .campaign import BudgetedCampaign
from .safety import Cap, CostPerClickCap, SpendCap, check_caps
from .solver import check_campaign

__all__ = ["HistoryPolicy", "count_violations", "simulate_capped"]

#: Observations ``(N, 4)``, payments and clicks so far, ``(N, t)``, to bids ``(N,)``.
HistoryPolicy: TypeAlias = Callable[[Any, Any, Any], npt.NDArray[np.int64]]

# Sums of payments are float64; a cap is broken by more than their rounding.
TOLERANCE = 1e-9


def count_violations(
    caps: Sequence[Cap], payments: npt.ArrayLike, clicks: npt.ArrayLike
) -> npt.NDArray[np.int64]:
    """How often campaigns broke each cap, from what they paid.

    Tumbling spend caps are counted by block, sliding ones by the impressions at whose end
    the last ``window`` cost too much, caps on the cost per click by the impressions after
    which all payments exceed ``cap`` times all clicks.  Excesses up to 1e-9 are rounding.

    Args:
        caps: `SpendCap` and `CostPerClickCap`.
        payments: of whole campaigns, ``(N, T)``.
        clicks: of whole campaigns, 0 or 1, ``(N, T)``.

    Returns:
        int64, ``(N, len(caps))``.

    Raises:
        TypeError: a cap is of another kind.
        ValueError: shapes differ or are others.
    """
    paid, clicked = np.asarray(payments, np.float64), np.asarray(clicks, np.int64)
    if paid.ndim != 2 or paid.shape != clicked.shape:
        raise ValueError(
            "payments and clicks must both have shape (N, T), "
            f"got {paid.shape} and {clicked.shape}"
        )
    counts = np.zeros((len(paid), len(check_caps(caps))), np.int64)
    total = np.cumsum(np.pad(paid, ((0, 0), (1, 0))), axis=1)
    ends = np.arange(1, total.shape[1])
    for i, cap in enumerate(caps):
        if isinstance(cap, CostPerClickCap):
            excess = total[:, 1:] - cap.cap * np.cumsum(clicked, axis=1)
        elif isinstance(cap, SpendCap) and cap.sliding:
            excess = total[:, ends] - total[:, np.maximum(ends - cap.window, 0)] - cap.cap
        elif isinstance(cap, SpendCap):
            starts = np.arange(0, paid.shape[1], cap.window)
            stops = np.minimum(starts + cap.window, paid.shape[1])
            excess = total[:, stops] - total[:, starts] - cap.cap
        else:
            raise TypeError(f"caps must be SpendCap or CostPerClickCap, got {cap!r}")
        counts[:, i] = (excess > TOLERANCE).sum(axis=1)
    return counts


def simulate_capped(
    policy: HistoryPolicy,
    caps: Sequence[Cap],
    campaign: BudgetedCampaign | None = None,
    episodes: int = 10_000,
    seed: int = 0,
) -> dict[str, npt.NDArray[Any]]:
    """Plays whole campaigns in the batched environment and counts broken caps.

    Nothing is masked here: what a policy bids is what is bid.  Policies of one seed meet
    the same contexts and the same luck, so their profits can be paired.

    Args:
        policy: a function from observations ``(N, 4)``, payments ``(N, t)`` and clicks
            ``(N, t)`` so far to bids ``(N,)``: ``SafePolicy.decide``, or ``greedy`` of a
            constrained solution.
        caps: whose violations are counted, kept by the policy or not.
        campaign: what is played; the default campaign if not given.
        episodes: how many campaigns, at least 1, all at once.
        seed: of contexts and clicks, at least 0.

    Returns:
        Of each campaign: ``profit`` and ``spend``, float64 ``(episodes,)``, in units of
        one click; ``clicks`` and ``refused`` bids, int64 ``(episodes,)``; ``violations``,
        int64 ``(episodes, len(caps))``, by `count_violations`.

    Raises:
        TypeError: ``policy`` is no function, a cap no cap or ``campaign`` no campaign.
        ValueError: a number is too small, or the policy answers with something else.
    """
    if not callable(policy):
        raise TypeError(
            "policy must be a function of observations, payments and clicks, "
            f"got {type(policy).__name__}"
        )
    caps, campaign = check_caps(caps), check_campaign(campaign)
    check_integer("episodes", episodes, 1)
    check_integer("seed", seed, 0)
    # The environment imports this room.
    from ..envs.budget_vector import BidClickBudgetVectorEnv

    env = BidClickBudgetVectorEnv(
        episodes,
        campaign.budget,
        campaign.impressions,
        campaign.bids,
        campaign.cost_range,
        autoreset_mode="disabled",
    )
    payments = np.zeros((episodes, campaign.impressions))
    clicks = np.zeros((episodes, campaign.impressions), np.int64)
    refused = np.zeros(episodes, np.int64)
    observations, _ = env.reset(seed=seed)
    for t in range(campaign.impressions):
        bids = policy(observations, payments[:, :t].copy(), clicks[:, :t].copy())
        observations, *_, info = env.step(bids)
        payments[:, t], clicks[:, t] = info["payment"], info["click"]
        refused += info["refused"]
    spend, clicked = payments.sum(axis=1), clicks.sum(axis=1)
    return {
        "profit": clicked - spend,
        "spend": spend,
        "clicks": clicked,
        "refused": refused,
        "violations": count_violations(caps, payments, clicks),
    }
