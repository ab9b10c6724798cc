"""Would the log have said so?  Power and false rejections of the prior check.

Shapes that are false in their auction, true ones, and one on the boundary of being true,
on logs simulated afresh, each at three sizes.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import stats
from sklearn.isotonic import isotonic_regression

from bidclick_gym.auction import MONOTONE_COST_RANGE, Auction, click_probability
from bidclick_gym.behavior import ClippedGaussianPolicy
from bidclick_gym.logs.datasets import to_replay_buffer
from bidclick_gym.logs.log import Log, simulate_log
from icac_algo import Concave, KnownCost, Monotone, MonotoneConcave, check_prior
from icac_algo.shapes import Constraint

from ..engine import Cell, Experiment, Part, Results, keys_of, register
from ..engine.markdown import percent, plural, share, table
from ..engine.rows import Rows, distinct, select
from .prior_worlds import LEVEL, SHAPES, WORLDS, check_world

FRACTIONS = (1.0, 0.25, 0.0625)


@dataclasses.dataclass(frozen=True)
class Case:
    """A shape on logs of one auction.

    In the ``"flat"`` one clicks do not depend on the bid, at no cost, which is the
    hardest true case of every shape.
    """

    auction: str  # "BidClick", "BidClickMonotone" or "flat"
    shape: Constraint
    label: str  # of the table
    true: bool  # whether the auction has the shape


_COST = KnownCost(feature=1)
CASES = (
    Case("BidClick", Monotone(), "Monotone", False),
    Case("BidClick", MonotoneConcave(), "MonotoneConcave", False),
    Case("BidClick", Concave(), "Concave", True),
    Case("BidClick", Monotone(known_cost=_COST), "Monotone + known cost", True),
    Case(
        "BidClick",
        MonotoneConcave(known_cost=_COST),
        "MonotoneConcave + known cost",
        True,
    ),
    Case("BidClickMonotone", Monotone(), "Monotone", True),
    Case("BidClickMonotone", Concave(), "Concave", True),
    Case("flat", Monotone(), "Monotone", True),
    Case("flat", Concave(), "Concave", True),
)


def check_all(cell: Cell) -> Rows:
    """All cases on the logs of one seed: a row for each case and share of the log."""
    torch.set_num_threads(1)
    rows = []
    for case in CASES:
        log = _log(case.auction, cell.seed)
        for fraction in FRACTIONS:
            buffer = to_replay_buffer(log, fraction, cell.seed)
            check = check_prior(buffer, case.shape, level=LEVEL)
            rows.append(
                {
                    "auction": case.auction,
                    "shape": case.label,
                    "fraction": fraction,
                    "verdict": check.verdict,
                    "p_value": check.p_value,
                }
            )
    return rows


@functools.lru_cache(maxsize=3)
def _log(auction: str, seed: int) -> Log:
    # Not the seeds of published logs: those have been looked at.
    seed = 10_000 + seed
    if auction == "BidClick":
        return simulate_log(Auction(), seed=seed)
    log = simulate_log(Auction(cost_range=MONOTONE_COST_RANGE), seed=seed)
    if auction == "BidClickMonotone":
        return log
    chance = click_probability(log.observations[:, :-1, 0], 0.5)
    drawn = np.random.default_rng(seed).random(chance.shape) < chance
    return dataclasses.replace(log, rewards=drawn.astype(log.rewards.dtype))


def oracle_power(fraction: float, contexts: int = 60) -> float:
    r"""Power against ``Monotone`` on ``BidClick-v0`` if the violation were known.

    The most powerful direction weighs the distance of the true reward to the shape,
    nearest in the metric of the noise; its noncentrality is
    :math:`n\,E_s \sum_k \frac{e_k}{\sigma_k^2} (Q - \Pi Q)_k^2`.
    """
    auction = Auction()
    policy = ClippedGaussianPolicy()
    points = auction.contexts(contexts)
    rewards = auction.reward_table(points)
    clicks = click_probability(points[:, :1], auction.bid_array)
    weights = policy.probabilities / (clicks * (1.0 - clicks))
    gaps = [
        float(w @ (q - isotonic_regression(q, sample_weight=w)) ** 2)
        for q, w in zip(rewards, weights, strict=True)
    ]
    steps = fraction * 100_000
    return float(
        stats.norm.cdf(math.sqrt(steps * np.mean(gaps)) - stats.norm.ppf(1.0 - LEVEL))
    )


def _sections(results: Results) -> Iterable[str]:
    rows = results["priors"]
    logs = plural(len(distinct(rows, "seed")), "log")
    yield (
        f"`check_prior` at level {LEVEL:g} on {logs} simulated afresh, at three shares "
        "of 100,000 impressions. Share of logs on which the shape is rejected, with 95 % "
        "Clopper-Pearson intervals. Where the shape is false, that is the power; where "
        "it is true, false rejections. In the flat auction clicks do not depend on the "
        "bid: every inequality holds with nothing to spare."
    )
    yield table(
        ["auction", "shape", "true there", *(percent(f) for f in FRACTIONS)],
        [
            [
                case.auction,
                case.label,
                "yes" if case.true else "no",
                *(
                    share(
                        row["verdict"] == "rejected"
                        for row in select(
                            rows,
                            auction=case.auction,
                            shape=case.label,
                            fraction=fraction,
                        )
                    )
                    for fraction in FRACTIONS
                ),
            ]
            for case in CASES
        ],
    )
    yield (
        "A test that knew the true reward, and so where to look, has this power against "
        "`Monotone` on BidClick, and no test can have more:"
    )
    yield table(
        [f"{percent(fraction)} of the log" for fraction in FRACTIONS],
        [[f"{oracle_power(fraction):.3f}" for fraction in FRACTIONS]],
    )
    yield "![Monotone, tested on one log of BidClick](example.png)"
    yield from _worlds(results)


def _worlds(results: Results) -> Iterable[str]:
    rows = results["worlds"]
    if not rows:
        return
    logs = plural(len(distinct(rows, "seed")), "log")
    yield (
        f"## Categories, rare clicks, heavy tails, episodes\n\nShares of {logs} on which "
        "each shape is rejected. All shapes are true, with nothing to spare, but in the "
        "last row, where rewards fall by 1 standard deviation in one of 40 categories; "
        '"found there" is how often the worst inequality was in that category. "Cannot '
        'tell" is counted too: an episode is one piece of evidence.'
    )
    lines = []
    for name, world in WORLDS.items():
        mine = select(rows, world=name)
        shares = [
            share(row["verdict"] == "rejected" for row in select(mine, shape=shape))
            for shape in SHAPES
        ]
        unknown = share(row["verdict"] == "cannot tell" for row in mine)
        found = ""
        if world.fall:
            monotone = select(mine, shape="Monotone")
            found = share(row["region"] == "feature 0 = 1" for row in monotone)
        lines.append([name, f"{world.steps:,}", *shares, unknown, found])
    yield table(["log", "steps", *SHAPES, "cannot tell", "found there"], lines)


def _example(results: Results) -> Figure:
    log = to_replay_buffer(simulate_log(Auction(), seed=0))
    return check_prior(log, Monotone(), feature_names=["x", "c"]).plot()


register(
    Experiment(
        "priors",
        "power and false rejections of the prior check",
        parts=[
            Part(
                "priors",
                ("auction", "shape", "fraction", "seed", "verdict", "p_value"),
                lambda settings: [
                    Cell.of("priors", "", s) for s in range(settings.seeds)
                ],
                check_all,
                arrange=keys_of("auction", "shape", "fraction", "seed"),
                file="results.csv",
            ),
            Part(
                "worlds",
                ("world", "shape", "seed", "verdict", "p_value", "region"),
                lambda settings: [
                    Cell.of("worlds", "", s, world=world)
                    for s in range(settings.seeds)
                    for world in WORLDS
                ],
                check_world,
                config=lambda cell: WORLDS[str(cell["world"])],
                arrange=keys_of("world", "shape", "seed"),
            ),
        ],
        title="Would the log have said so?",
        sections=_sections,
        pictures={"example.png": _example},
        defaults={"seeds": 200, "workers": 2},
        quick={"seeds": 3},
    )
)
