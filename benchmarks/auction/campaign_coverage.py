"""How often intervals over few campaigns hold the truth.

Campaigns differ in size, in their contexts and in what a click is worth; a click's value
is lognormal.  The expected reward of a bid stays the auction's, so the truth is exact.
"""

from __future__ import annotations

import collections
import functools
from typing import Any

import d3rlpy
import numpy as np
import numpy.typing as npt
import torch
from d3rlpy.algos import DQNConfig
from d3rlpy.models import VectorEncoderFactory
from d3rlpy.ope import FQEConfig

from bidclick_gym.auction import Auction, click_probability
from icac_algo import ColumnarReplayBuffer
from icac_algo.data import LoggedSteps
from icac_algo.evidence import ESTIMATORS, BanditLog, fitted_q_estimate

from ..engine import Cell, Part, Results, Settings
from ..engine.markdown import section, share, table
from ..engine.rows import Rows, distinct, select

CAMPAIGNS = (2, 3, 4, 5, 10, 50)
CAMPAIGNS_OF_FQE = (5, 10, 50)
ROWS = 200  # of a campaign, in the mean
LOGS_OF_A_CELL = 25
#: Sizes of campaigns, and whether the log has propensities.
SETTINGS = (("equal", "logged"), ("unequal", "logged"), ("unequal", "estimated"))
GAMMA = 0.5
LEVEL = 0.95
FQE = "fitted Q"
_EFFECT = 0.3  # standard deviation of the logarithm of a campaign's value of a click
_COLUMNS = ("sizes", "propensities", "campaigns", "estimator", "of", "seed", "logs")


def optimal(observations: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray(Auction().reward_table(observations).argmax(axis=1))


def logger(observations: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Prefers what is good, and leaves a chance to every bid."""
    odds = np.exp(Auction().reward_table(observations) / 0.2)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def value_of(policy: Any, n: int = 400) -> float:
    """Exact mean reward on the midpoint grid over contexts."""
    auction = Auction()
    contexts = auction.contexts(n).astype(np.float32)
    chosen = policy(contexts)
    chosen = np.eye(len(auction.bids))[chosen] if chosen.ndim == 1 else chosen
    return float((chosen * auction.reward_table(contexts)).sum(axis=1).mean())


def draw(
    rng: np.random.Generator,
    campaigns: int,
    sizes: str = "equal",
    propensities: str = "logged",
    own_contexts: bool = True,
) -> LoggedSteps:
    """A log of so many campaigns."""
    auction = Auction()
    counts = np.full(campaigns, ROWS)
    if sizes == "unequal":
        counts = np.maximum(20, (rng.lognormal(-0.5, 1.0, campaigns) * ROWS).astype(int))
    campaign = np.repeat(np.arange(campaigns), counts)
    count = len(campaign)
    uniform = rng.random((count, 2))
    if own_contexts:
        # Half of them are near the campaign's centre; over campaigns all are alike.
        near = (rng.random(campaigns)[campaign] + 0.3 * uniform[:, 0]) % 1.0
        uniform[:, 0] = np.where(rng.random(count) < 0.5, near, uniform[:, 0])
    contexts = auction.context_from_uniform(uniform)
    chances = logger(contexts)
    actions = (chances.cumsum(axis=1) < rng.random(count)[:, None]).sum(axis=1)
    actions = np.minimum(actions, len(auction.bids) - 1)
    bids = auction.bid_array[actions]
    clicks = rng.random(count) < click_probability(contexts[:, 0], bids)
    # Both have the mean 1.
    worth = rng.lognormal(-0.5, 1.0, count)
    worth *= rng.lognormal(-(_EFFECT**2) / 2.0, _EFFECT, campaigns)[campaign]
    return LoggedSteps(
        contexts,
        actions,
        clicks * worth - contexts[:, 1] * bids,
        chances[np.arange(count), actions] if propensities == "logged" else None,
        campaign,
        len(auction.bids),
    )


def cells(settings: Settings) -> list[Cell]:
    logs = min(settings.seeds, LOGS_OF_A_CELL)
    places = [
        ("", count, {"sizes": sizes, "propensities": propensities})
        for sizes, propensities in SETTINGS
        for count in CAMPAIGNS
    ]
    where = {"sizes": "equal", "propensities": "not needed"}
    places += [(FQE, count, where) for count in CAMPAIGNS_OF_FQE]
    return [
        Cell.of("campaigns", learner, part, logs=logs, campaigns=count, **where)
        for learner, count, where in places
        for part in range(-(-settings.seeds // LOGS_OF_A_CELL))
    ]


def measure(cell: Cell) -> Rows:
    """A row for each estimator: how many logs' intervals hold the truth."""
    torch.set_num_threads(1)
    held: collections.Counter[tuple[str, str]] = collections.Counter()
    missing: collections.Counter[tuple[str, str]] = collections.Counter()
    widths: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    for number in range(cell["logs"]):
        seed = cell.seed * cell["logs"] + number
        if cell.learner == FQE:
            ends = _fitted_q(np.random.default_rng(seed), cell["campaigns"], seed)
        else:
            where = (cell["campaigns"], cell["sizes"], cell["propensities"])
            ends = _estimated(draw(np.random.default_rng(seed), *where), seed)
        for key, (lower, upper, truth) in ends.items():
            held[key] += lower <= truth <= upper
            missing[key] += np.isnan(lower)
            widths[key].append(upper - lower)
    return [
        {
            "estimator": key[0],
            "of": key[1],
            "held": int(held[key]),
            "without": int(missing[key]),
            "width": float(np.median(values)),
        }
        for key, values in widths.items()
    ]


Ends = dict[tuple[str, str], tuple[float, float, float]]


def _estimated(steps: LoggedSteps, seed: int) -> Ends:
    truth, logged = _truths()
    log = BanditLog(steps, seed)
    judged = log.judge(optimal, ESTIMATORS)
    found: Ends = {}
    for estimator, ratio in judged.ratios.items():
        value = log.interval(ratio, LEVEL)
        lift = log.interval(ratio, LEVEL, minus=log.logger)
        found[estimator, "value"] = (value.lower, value.upper, truth)
        found[estimator, "lift"] = (lift.lower, lift.upper, truth - logged)
    return found


@functools.cache
def _truths() -> tuple[float, float]:
    return value_of(optimal), value_of(logger)


@functools.cache
def _policy() -> tuple[Any, float]:
    """A greedy policy, and what it is worth."""
    d3rlpy.seed(0)
    config = DQNConfig(encoder_factory=VectorEncoderFactory([16]))
    algo = config.create(device="cpu:0")
    algo.build_with_dataset(_buffer(draw(np.random.default_rng(0), 3)))
    return algo, value_of(algo.predict)


def _buffer(steps: LoggedSteps) -> ColumnarReplayBuffer:
    return ColumnarReplayBuffer.from_arrays(
        steps.observations,
        steps.actions,
        steps.rewards,
        timeouts=np.diff(steps.episodes, append=-1) != 0,
        action_size=steps.action_size,
    )


def _fitted_q(rng: np.random.Generator, campaigns: int, seed: int) -> Ends:
    algo, value = _policy()
    # What comes next must not depend on what a state does not say.
    steps = draw(rng, campaigns, own_contexts=False)
    found = fitted_q_estimate(
        _buffer(steps),
        algo,
        gamma=GAMMA,
        n_steps=50,
        config=FQEConfig(
            learning_rate=5e-3,
            batch_size=128,
            encoder_factory=VectorEncoderFactory([32]),
            target_update_interval=20,
        ),
        seed=seed,
        show_progress=False,
    )
    truth = value / (1.0 - GAMMA)
    return {(FQE, "value"): (found.lower, found.upper, truth)}


def sections(results: Results) -> list[str]:
    rows = results["campaigns"]
    if not rows:
        return []
    head = ["sizes", "propensities", "estimator", "of"]
    head += [f"{count} campaigns" for count in CAMPAIGNS]
    lines = []
    for sizes, propensities, estimator, of in distinct(
        rows, "sizes", "propensities", "estimator", "of"
    ):
        where = {
            "sizes": sizes,
            "propensities": propensities,
            "estimator": estimator,
            "of": of,
        }
        line = [sizes, propensities, estimator, of]
        line += [held(select(rows, **where, campaigns=count)) for count in CAMPAIGNS]
        lines.append(line)
    logs = int(sum(row["logs"] for row in select(rows, **where, campaigns=50)))
    return [
        section(
            f"Few campaigns, {logs} logs",
            "Share of logs whose 95 % interval holds the exact value, the optimal "
            "policy's or its lift over the logger, with 95 % Clopper-Pearson intervals. "
            f"A campaign has {ROWS} impressions in the mean; rewards are clicks times a "
            "lognormal value, times a lognormal value of the campaign, less costs. "
            "Unequal sizes are lognormal. Fitted Q evaluation discounts by "
            f"{GAMMA:g}.",
            table(head, lines, "llll" + "r" * len(CAMPAIGNS)),
        )
    ]


def held(rows: Rows) -> str:
    logs = int(sum(row["logs"] for row in rows))
    if not logs:
        return "not run"
    if sum(row["without"] for row in rows) == logs:
        return "no interval"
    held = sum(row["held"] for row in rows)
    return share(number < held for number in range(logs))


PART = Part(
    "campaigns",
    (*_COLUMNS, "held", "without", "width"),
    cells,
    measure,
    arrange=lambda rows: sorted(
        rows, key=lambda row: [str(row[c]).rjust(12) for c in _COLUMNS]
    ),
)
