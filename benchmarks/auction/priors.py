"""Would the log have said so?  Power and false rejections of the prior check.

Shapes that are false in their auction, true ones, and one on the boundary of being true,
on logs simulated afresh, each at three sizes.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import pathlib
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import stats
from sklearn.isotonic import isotonic_regression

from bidclick_gym.auction import MONOTONE_COST_RANGE, Auction, click_probability
from bidclick_gym.behavior import ClippedGaussianPolicy
from bidclick_gym.logs.datasets import to_replay_buffer
from bidclick_gym.logs.log import Log, simulate_log
from icac_algo import (
    Concave,
    Constraint,
    KnownCost,
    Monotone,
    MonotoneConcave,
    check_prior,
)

from ..engine import run_cells, write_png, write_rows, write_text
from .cells import digest_of
from .report import versions

__all__ = ["CASES", "PriorCell", "oracle_power", "run_priors"]

LEVEL = 0.05
FRACTIONS = (1.0, 0.25, 0.0625)
COLUMNS = ("auction", "shape", "fraction", "seed", "verdict", "p_value")


@dataclasses.dataclass(frozen=True)
class Case:
    """A shape on logs of one auction.

    Args:
        auction: ``"BidClick"``, ``"BidClickMonotone"``, or ``"flat"``: clicks that do not
            depend on the bid, at no cost, which is the hardest true case of every shape.
        shape: the shape.
        label: of the table.
        true: whether the auction has the shape.
    """

    auction: str
    shape: Constraint
    label: str
    true: bool


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


@dataclasses.dataclass(frozen=True)
class PriorCell:
    """All cases on the logs of one seed."""

    seed: int

    @property
    def digest(self) -> str:
        """Names the cell's file."""
        return digest_of(
            {"experiment": "priors", "version": 1, **dataclasses.asdict(self)}
        )


def check_all(cell: PriorCell) -> list[dict[str, Any]]:
    """One row for each case and share of the log."""
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
                    "seed": cell.seed,
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


def run_priors(out: pathlib.Path, seeds: int, workers: int, command: str) -> None:
    """Runs what is missing and writes ``results.csv``, ``report.md`` and a picture."""
    cells = [PriorCell(seed) for seed in range(seeds)]
    rows = run_cells(cells, out / "cells", workers, check_all)
    rows.sort(key=lambda row: [row[name] for name in COLUMNS[:4]])
    write_rows(out / "results.csv", COLUMNS, rows)
    write_text(out / "report.md", _report(rows, seeds, command))
    write_png(out / "example.png", _example(), dpi=110)


def _report(rows: list[dict[str, Any]], seeds: int, command: str) -> str:
    lines = [
        "# Would the log have said so?",
        "",
        f"`check_prior` at level {LEVEL:g} on {seeds} logs simulated afresh, at three "
        "shares of 100,000 impressions. Share of logs on which the shape is rejected, "
        "with 95 % Clopper-Pearson intervals. Where the shape is false, that is the "
        "power; where it is true, false rejections. In the flat auction clicks do "
        "not depend on the bid: every inequality holds with nothing to spare.",
        "",
        "| auction | shape | true there | 100 % | 25 % | 6.25 % |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for case in CASES:
        found = [_share(rows, case, fraction) for fraction in FRACTIONS]
        lines.append(
            f"| {case.auction} | {case.label} | {'yes' if case.true else 'no'} | "
            + " | ".join(found)
            + " |"
        )
    oracle = ", ".join(f"{oracle_power(f):.3f} at {f:.4g}" for f in FRACTIONS)
    lines += [
        "",
        "A test that knew the true reward, and so where to look, would have the power "
        f"{oracle} of the log against `Monotone` on BidClick: no test can have more.",
        "",
        "![Monotone, tested on one log of BidClick](example.png)",
        "",
        f"Made by `{command}` with",
        "",
        versions(),
    ]
    return "\n".join(lines) + "\n"


def _share(rows: list[dict[str, Any]], case: Case, fraction: float) -> str:
    verdicts = [
        row["verdict"] == "rejected"
        for row in rows
        if (row["auction"], row["shape"], float(row["fraction"]))
        == (case.auction, case.label, fraction)
    ]
    interval = stats.binomtest(sum(verdicts), len(verdicts)).proportion_ci(0.95)
    return f"{np.mean(verdicts):.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _example() -> Figure:
    log = to_replay_buffer(simulate_log(Auction(), seed=0))
    return check_prior(log, Monotone(), feature_names=["x", "c"]).plot()
