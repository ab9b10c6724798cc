r"""The exact value of any policy under a budget.

A policy maps observations :math:`(x, c, b / B, k / T)` to bids or to their probabilities
:math:`\pi`; the clock is in the observation, so it may depend on time.  With
:math:`a' = a` where the rest of the budget pays for the bid and 0 where it is refused,

.. math:: V^\pi_k(b) = \mathbb{E}_{x, c} \sum_a \pi(a \mid x, c, b, k)
    \left[ p(x, a') - c a' + V^\pi_{k-1}(b - c a') \right], \quad V^\pi_0 = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from .._arrays import AnyArray, Float32Array, FloatArray, IntArray
from .._checks import check_integer
from .campaign import BudgetedCampaign, check_campaign
from .grid import Grid

Policy: TypeAlias = Callable[[Float32Array], Any]


def evaluate(
    policy: Policy, campaign: BudgetedCampaign | None = None, **options: int
) -> float:
    """Expected profit of a whole campaign; arguments and accuracy: `value_function`."""
    return float(value_function(policy, campaign, **options)[-1, -1])


def value_function(
    policy: Policy,
    campaign: BudgetedCampaign | None = None,
    *,
    nodes: int = 16,
    budget_points: int = 1001,
    batch: int = 65_536,
) -> FloatArray:
    """``V^pi_k(b)`` by backward induction on budgets from 0 on, ``(T+1, G)``.

    Values are in units of one click; nothing is sampled.

    Quadrature is not exact where a policy jumps between bids.  Measured on the default
    campaign: the optimum jumps only where two bids are worth the same, so its greedy
    policy is within 1e-4 at 16 nodes.  Greedy policies of random networks (4 inputs, 32
    ReLUs) are off by up to 0.004 at 16 nodes and 0.0002 at 32, against 48; the optimum
    with a network's noise on top by 0.0005 and 0.0002.  From 501 to 1001 and to 2001
    budgets each value changes by less than 2e-4.  A mean over 100,000 simulated campaigns
    has a standard error of 0.010.

    Args:
        policy: observations ``(N, 4)``, float32, to indices of bids, integers ``(N,)``,
            or to probabilities, floats ``(N, K)``.  Called ``T nodes^2 G / batch`` times.
        campaign: what is played; the default campaign if not given.
        nodes: quadrature nodes in each direction of the context, at least 1.
        budget_points: budgets on the grid, at least 2.
        batch: the most observations that the policy is given at once, at least 1.  No
            result depends on it.

    Raises:
        TypeError: ``policy`` is no function, or ``campaign`` no campaign.
        ValueError: a number is too small, or the policy answers with something else.
    """
    campaign = check_arguments(policy, campaign, batch)
    check_integer("nodes", nodes, 1)
    check_integer("budget_points", budget_points, 2)
    grid = Grid(campaign, nodes, budget_points)
    states = campaign.observe(
        grid.x, grid.c[:, None], grid.budgets[:, None, None], campaign.impressions
    ).reshape(-1, 4)
    pair, node = np.divmod(np.arange(len(states)), nodes)
    is_affordable = grid.is_affordable.reshape(-1, len(campaign.bids))
    gains = np.empty(len(states))
    values = np.zeros((campaign.impressions + 1, budget_points))
    for k in range(1, campaign.impressions + 1):
        states[:, 3] = campaign.observe(0.0, 0.0, 0.0, k)[3]
        after = grid.after(values[k - 1]).reshape(is_affordable.shape)
        for start in range(0, len(states), batch):
            rows = slice(start, start + batch)
            # A copy: what a policy writes into its argument must not reach the next.
            answer = ask(policy, states[rows].copy(), len(campaign.bids))
            i, j = pair[rows], node[rows]
            if answer.ndim == 1:
                bid = np.where(is_affordable[i, answer], answer, 0)
                gains[rows] = after[i, bid] + grid.clicks[j, bid]
                continue
            q = after[i] + grid.clicks[j]
            q = np.where(is_affordable[i], q, q[:, :1])
            gains[rows] = (answer * q).sum(axis=1)
        values[k] = grid.mean(gains.reshape(budget_points, nodes, nodes))
    return values


def check_arguments(
    policy: Callable[..., Any], campaign: BudgetedCampaign | None, batch: int
) -> BudgetedCampaign:
    """The campaign, once the policy and the batch are what they should be."""
    if not callable(policy):
        raise TypeError(
            "policy must be a function from observations (N, 4) to bids, "
            f"got {type(policy).__name__}"
        )
    check_integer("batch", batch, 1)
    return check_campaign(campaign)


def check_indices(answer: AnyArray, rows: int, bids: int) -> IntArray:
    """Indices of bids, int64 ``(N,)``."""
    if answer.dtype.kind not in "iu" or answer.shape != (rows,):
        raise ValueError(
            f"policy must return indices of bids, integers of shape ({rows},), "
            f"got {answer.dtype} of shape {answer.shape}"
        )
    outside = (answer < 0) | (answer >= bids)
    if outside.any():
        raise ValueError(
            f"policy must return indices of bids in 0, ..., {bids - 1}, "
            f"got {answer[outside][0]}"
        )
    return answer.astype(np.int64)


def ask(policy: Policy, observations: Float32Array, bids: int) -> AnyArray:
    """What a policy answers: indices, int64 ``(N,)``, or probabilities ``(N, K)``."""
    rows = len(observations)
    answer = np.asarray(policy(observations))
    if answer.ndim < 2 or answer.dtype.kind in "iu":
        return check_indices(answer, rows, bids)
    if answer.dtype.kind != "f" or answer.shape != (rows, bids):
        raise ValueError(
            f"policy must return indices of bids, integers of shape ({rows},), or their "
            f"probabilities, floats of shape ({rows}, {bids}), got {answer.dtype} of "
            f"shape {answer.shape}"
        )
    p = answer.astype(np.float64)
    # Not-a-number fails the comparison; float32 rows sum to 1 within 1e-6.
    total = p.sum(axis=1, keepdims=True)
    bad = ~((p >= 0.0).all(axis=1) & (np.abs(total[:, 0] - 1.0) <= 1e-5))
    if bad.any():
        raise ValueError(
            "policy must return probabilities, at least 0, that sum to 1 in each row, "
            f"got {answer[bad][0]}"
        )
    return np.asarray(p / total)


def chances(policy: Policy, observations: Float32Array, bids: int) -> FloatArray:
    """What a policy answers as probabilities of the bids, ``(N, K)``."""
    answer = ask(policy, observations, bids)
    return np.eye(bids)[answer] if answer.ndim == 1 else answer
