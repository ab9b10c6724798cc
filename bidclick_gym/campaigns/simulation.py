"""Whole campaigns, many at a time, by the rules of the environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from .._arrays import AnyArray, Float32Array, FloatArray, IntArray
from .._checks import check_integer
from ..auction import click_probability
from ..context_stream import ContextStream
from .campaign import BudgetedCampaign
from .evaluation import Policy, chances, check_arguments, check_indices
from .safety import Cap, check_caps, count_violations

#: Observations ``(N, 4)``, payments and clicks so far, ``(N, t)``, to bids ``(N,)``.
HistoryPolicy: TypeAlias = Callable[[Any, Any, Any], IntArray]
#: The step to query descriptors, costs and, for bids ``(N,)``, which are clicked.
Draw: TypeAlias = Callable[[int], tuple[Any, FloatArray, Callable[[FloatArray], Any]]]


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
        policy: as in `evaluate_all`; probabilities are sampled.
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
        draw = uniform_draws(contexts, u[..., 2])
        played = play(campaign, len(u), draw, decide)
        counted = played["counted"]
        shares = [(counted == bid).sum(axis=1) / steps for bid in range(len(bids))]
        columns = {"bid_shares": np.stack(shares, axis=1), **_sums(played)}
        parts.append({**columns, "budget_left": played["budget_left"]})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def simulate_capped(
    policy: HistoryPolicy,
    caps: Sequence[Cap],
    campaign: BudgetedCampaign | None = None,
    episodes: int = 10_000,
    seed: int = 0,
) -> dict[str, AnyArray]:
    """Plays whole campaigns in the batched environment and counts broken caps.

    Nothing is masked here: what a policy bids is what is bid.

    Args:
        policy: a function from observations ``(N, 4)``, payments ``(N, t)`` and clicks
            ``(N, t)`` so far to bids ``(N,)``: ``SafePolicy.decide``, or ``greedy`` of a
            constrained solution.
        caps: whose violations are counted, kept by the policy or not.
        campaign, episodes, seed: as in `simulate`; all campaigns are played at once.

    Returns:
        What `simulate` returns but ``bid_shares`` and ``budget_left``, and
        ``violations``, int64 ``(episodes, len(caps))``, by `count_violations`.

    Raises:
        TypeError: ``policy`` is no function, a cap no cap or ``campaign`` no campaign.
        ValueError: a number is too small, or the policy answers with something else.
    """
    campaign, caps = check_arguments(policy, campaign, 1), check_caps(caps)
    check_integer("episodes", episodes, 1)
    check_integer("seed", seed, 0)

    def decide(seen: Any, payments: FloatArray, clicks: Any) -> Any:
        # Copies: what a policy writes into its arguments must not reach the history.
        answer = np.asarray(policy(seen, payments.copy(), clicks.copy()))
        return check_indices(answer, len(seen), len(campaign.bids))

    played = play(campaign, episodes, _streamed(campaign, episodes, seed), decide)
    violations = count_violations(caps, played["payments"], played["clicked"])
    return {**_sums(played), "violations": violations}


def uniform_draws(contexts: Float32Array, u: FloatArray) -> Draw:
    """Impressions of contexts ``(N, T, 2)`` and their clicks' uniforms ``(N, T)``."""

    def draw(step: int) -> Any:
        x, c = contexts[:, step].astype(np.float64).T
        return x, c, lambda bid: u[:, step] < click_probability(x, bid)

    return draw


def _streamed(campaign: BudgetedCampaign, episodes: int, seed: int) -> Draw:
    """Impressions as a batch of environments draws them."""
    rng, stream = np.random.default_rng(seed), ContextStream(campaign.auction, episodes)

    def draw(step: int) -> Any:
        stream.advance(rng)
        return stream.x, stream.c.astype(np.float64), lambda bid: bid >= stream.price

    return draw


def _sampled(policy: Policy, bids: int, u: FloatArray) -> HistoryPolicy:
    """A policy without memory; uniforms ``(N, T)`` sample from its probabilities."""

    def decide(seen: Any, payments: FloatArray, clicks: Any) -> Any:
        below = np.cumsum(chances(policy, seen, bids), axis=1)[:, :-1]
        return (u[:, payments.shape[1], None] >= below).sum(axis=1)

    return decide


def play(
    campaign: BudgetedCampaign, episodes: int, draw: Draw, decide: HistoryPolicy
) -> dict[str, AnyArray]:
    """Columns of whole campaigns, ``(N, T)``, and ``budget_left``, ``(N, T + 1)``."""
    steps, bids = campaign.impressions, campaign.auction.bid_array
    payments, left = np.zeros((episodes, steps)), np.empty((episodes, steps + 1))
    clicked, counted = (np.zeros(payments.shape, np.int64) for _ in range(2))
    refused = np.zeros(payments.shape, np.bool_)
    left[:, 0] = campaign.budget
    for step in range(steps):
        x, c, is_clicked = draw(step)
        seen = campaign.observe(x, c, left[:, step], steps - step)
        asked = decide(seen, payments[:, :step], clicked[:, :step])
        refused[:, step] = c * bids[asked] > left[:, step]
        counted[:, step] = np.where(refused[:, step], 0, asked)
        bid = bids[counted[:, step]]
        payments[:, step] = c * bid
        clicked[:, step] = is_clicked(bid)
        left[:, step + 1] = left[:, step] - payments[:, step]
    return {
        "payments": payments,
        "clicked": clicked,
        "counted": counted,
        "refused": refused,
        "budget_left": left,
    }


def _sums(played: dict[str, AnyArray]) -> dict[str, AnyArray]:
    """What each campaign comes to."""
    spend, clicks = played["payments"].sum(axis=1), played["clicked"].sum(axis=1)
    refused = played["refused"].sum(axis=1)
    return {
        "profit": clicks - spend,
        "spend": spend,
        "clicks": clicks,
        "refused": refused,
    }
