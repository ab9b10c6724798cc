"""How far off-policy estimates can be trusted where the truth is exact.

Coverage: intervals of several policies' values on logs simulated afresh, against the
closed form.  Selection: models trained on one half of a log, chosen by their estimates on
the other, and the regret of the choice.
"""

from __future__ import annotations

import dataclasses
import pathlib
import warnings
from collections.abc import Callable
from typing import Any

import d3rlpy
import numpy as np
import numpy.typing as npt
import torch
from scipy import stats

from bidclick_gym.auction import Auction
from bidclick_gym.evaluators import RegretEvaluator
from bidclick_gym.logs.datasets import to_replay_buffer
from bidclick_gym.logs.log import simulate_log
from icac_algo import (
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    KnownCost,
    Monotone,
    MonotoneConcave,
    Unconstrained,
)
from icac_algo.data import LoggedSteps, logged_steps
from icac_algo.evidence import ESTIMATORS, Comparison, SupportWarning, compare, estimate

from ..engine import bootstrap_mean, run_cells, write_png, write_rows, write_text
from ..learners import fit_quietly
from .cells import digest_of
from .report import versions

__all__ = ["POLICIES", "CoverageCell", "SelectionCell", "run_ope"]

FRACTIONS = (1.0, 0.0625)
SELECTION_FRACTIONS = (1.0, 0.25, 0.0625)
SELECTION_SEEDS = 5
COVERAGE_COLUMNS = (
    "policy", "estimator", "fraction", "seed", "truth", "value", "lower", "upper", "ess"
)  # fmt: skip
SELECTION_COLUMNS = ("fraction", "seed", "candidate", "steps", "estimate", "regret")
Policy = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


def _optimal(observations: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray(Auction().reward_table(observations).argmax(axis=1))


def _softened(observations: npt.NDArray[Any]) -> npt.NDArray[Any]:
    odds = np.exp(Auction().reward_table(observations) / 0.02)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def _highest(observations: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.full(len(observations), 4)


POLICIES: dict[str, Policy] = {
    "optimal": _optimal,
    "softened optimal": _softened,
    "always bid 1": _highest,
}


def true_value(policy: Policy, n: int = 400) -> float:
    """Exact mean reward on the midpoint grid over contexts."""
    auction = Auction()
    contexts = auction.contexts(n)
    chosen = policy(contexts)
    if chosen.ndim == 1:
        chosen = np.eye(len(auction.bids))[chosen]
    return float((chosen * auction.reward_table(contexts)).sum(axis=1).mean())


# -- coverage ------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class CoverageCell:
    """All policies and estimators on the log of one seed."""

    seed: int

    @property
    def digest(self) -> str:
        """Names the cell's file."""
        return digest_of({"experiment": "ope", "version": 1, "seed": self.seed})


def cover(cell: CoverageCell) -> list[dict[str, Any]]:
    """One row for each policy, estimator and share of the log."""
    torch.set_num_threads(1)
    # Not the seeds of published logs.
    log = simulate_log(Auction(), seed=20_000 + cell.seed)
    rows = []
    for fraction in FRACTIONS:
        steps = logged_steps(to_replay_buffer(log, fraction, cell.seed))
        for name, policy in POLICIES.items():
            found = estimate(steps, policy, resamples=400, seed=cell.seed)
            for estimator, value in found.items():
                rows.append(
                    {
                        "policy": name,
                        "estimator": estimator,
                        "fraction": fraction,
                        "seed": cell.seed,
                        "truth": true_value(policy),
                        "value": value.value,
                        "lower": value.lower,
                        "upper": value.upper,
                        "ess": value.effective_sample_size,
                    }
                )
    return rows


# -- selection -----------------------------------------------------------------

CANDIDATES: dict[str, Any] = {
    "Concave": Concave(),
    "MonotoneConcave + known cost": MonotoneConcave(known_cost=KnownCost(feature=1)),
    "Monotone (false here)": Monotone(),
    "no shape": Unconstrained(),
}
TRAINING_SEEDS = 2
CHECKPOINTS = (300, 1500)


@dataclasses.dataclass(frozen=True)
class SelectionCell:
    """One log: train on half of it, choose on the other half."""

    seed: int
    fraction: float
    checkpoints: tuple[int, ...] = CHECKPOINTS

    @property
    def digest(self) -> str:
        """Names the cell's file."""
        settings = {"experiment": "selection", "version": 1, **dataclasses.asdict(self)}
        return digest_of(settings)


def select(cell: SelectionCell) -> list[dict[str, Any]]:
    """One row for each candidate: a shape, a training seed and a checkpoint."""
    torch.set_num_threads(1)
    log = simulate_log(Auction(), seed=30_000 + cell.seed)
    whole = logged_steps(to_replay_buffer(log, cell.fraction, cell.seed))
    half = np.random.default_rng(cell.seed).permutation(len(whole)) < len(whole) // 2
    train, held_out = _part(whole, half), _part(whole, ~half)
    regret = RegretEvaluator(Auction())
    rows = []
    for shape_name, shape in CANDIDATES.items():
        for seed in range(TRAINING_SEEDS):
            trained = 0
            d3rlpy.seed(seed)
            model = ConstraintAwareQConfig(constraint=shape).create(device="cpu:0")
            for steps in cell.checkpoints:
                fit_quietly(model, _buffer(train), steps - trained)
                trained = steps
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", SupportWarning)
                    found = estimate(held_out, model, estimators=("dr",), resamples=1)
                rows.append(
                    {
                        "fraction": cell.fraction,
                        "seed": cell.seed,
                        "candidate": f"{shape_name}, seed {seed}",
                        "steps": steps,
                        "estimate": found["dr"].value,
                        "regret": regret(model),
                    }
                )
    return rows


def _part(steps: LoggedSteps, rows: npt.NDArray[np.bool_]) -> LoggedSteps:
    assert steps.propensities is not None
    return LoggedSteps(
        steps.observations[rows],
        steps.actions[rows],
        steps.rewards[rows],
        steps.propensities[rows],
        np.arange(int(rows.sum())),
        steps.action_size,
    )


def _buffer(steps: LoggedSteps) -> Any:
    return ColumnarReplayBuffer.from_arrays(
        steps.observations,
        steps.actions,
        steps.rewards.astype(np.float32),
        action_size=steps.action_size,
    )


# -- report --------------------------------------------------------------------


def run_ope(
    out: pathlib.Path, seeds: int, workers: int, command: str, quick: bool = False
) -> None:
    """Runs what is missing and writes rows, ``report.md`` and a picture."""
    coverage = run_cells(
        [CoverageCell(seed) for seed in range(seeds)], out / "cells", workers, cover
    )
    fractions = SELECTION_FRACTIONS[-1:] if quick else SELECTION_FRACTIONS
    checkpoints = (20, 40) if quick else CHECKPOINTS
    chosen = run_cells(
        [
            SelectionCell(seed, fraction, checkpoints)
            for seed in range(1 if quick else SELECTION_SEEDS)
            for fraction in fractions
        ],
        out / "cells",
        workers,
        select,
    )
    coverage.sort(key=lambda row: [str(row[name]) for name in COVERAGE_COLUMNS[:4]])
    chosen.sort(key=lambda row: [str(row[name]) for name in SELECTION_COLUMNS[:4]])
    write_rows(out / "coverage.csv", COVERAGE_COLUMNS, coverage)
    write_rows(out / "selection.csv", SELECTION_COLUMNS, chosen)
    example = _example()
    write_png(out / "example.png", example.plot(), dpi=110)
    write_text(out / "report.md", _report(coverage, chosen, example, command))


def _report(
    coverage: list[dict[str, Any]],
    chosen: list[dict[str, Any]],
    example: Comparison,
    command: str,
) -> str:
    seeds = len({row["seed"] for row in coverage})
    lines = [
        "# How far off-policy estimates can be trusted",
        "",
        f"## Coverage of the 95 % intervals, {seeds} logs",
        "",
        "Share of logs whose interval holds the exact value, with 95 % Clopper-Pearson "
        "intervals; error is the root mean square. The direct method's interval knows of "
        "its model's noise, not of its bias.",
        "",
        "| policy | estimator | covered, 100 % of the log | error | "
        "covered, 6.25 % | error |",
        "| --- | --- | --- | ---: | --- | ---: |",
    ]
    for policy in POLICIES:
        for estimator in ESTIMATORS:
            cells = [_covered(coverage, policy, estimator, f) for f in FRACTIONS]
            lines.append(f"| {policy} | {estimator} | {' | '.join(cells)} |")
    candidates = len(CANDIDATES) * TRAINING_SEEDS * len(CHECKPOINTS)
    lines += [
        "",
        "## Choosing a model without a simulator",
        "",
        f"{candidates} candidates (shape, training seed, checkpoint) trained on half of "
        "each log; the doubly robust estimate on the other half chooses one. Mean regret "
        "over logs, with 95 % bootstrap intervals.",
        "",
        "| share of the log | logs | chosen by the estimate | the oracle's choice | "
        "a random choice |",
        "| ---: | ---: | --- | --- | --- |",
    ]
    for fraction in sorted({float(row["fraction"]) for row in chosen}, reverse=True):
        lines.append(_choice(chosen, fraction))
    lines += [
        "",
        "## A comparison, as `compare` prints it",
        "",
        example.table(),
        "",
        "![the same as a picture](example.png)",
        "",
        f"Made by `{command}` with",
        "",
        versions(),
    ]
    return "\n".join(lines) + "\n"


def _covered(
    rows: list[dict[str, Any]], policy: str, estimator: str, fraction: float
) -> str:
    mine = [
        row
        for row in rows
        if (row["policy"], row["estimator"], float(row["fraction"]))
        == (policy, estimator, fraction)
    ]
    inside = [row["lower"] <= row["truth"] <= row["upper"] for row in mine]
    interval = stats.binomtest(sum(inside), len(inside)).proportion_ci(0.95)
    error = np.sqrt(np.mean([(row["value"] - row["truth"]) ** 2 for row in mine]))
    return (
        f"{np.mean(inside):.3f} [{interval.low:.3f}, {interval.high:.3f}] | {error:.5f}"
    )


def _choice(rows: list[dict[str, Any]], fraction: float) -> str:
    by_log: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        if float(row["fraction"]) == fraction:
            by_log.setdefault(int(row["seed"]), []).append(row)
    estimated = [
        max(log, key=lambda r: r["estimate"])["regret"] for log in by_log.values()
    ]
    oracle = [min(r["regret"] for r in log) for log in by_log.values()]
    random = [float(np.mean([r["regret"] for r in log])) for log in by_log.values()]
    figures = [bootstrap_mean(v).format(5) for v in (estimated, oracle, random)]
    return f"| {fraction:.4g} | {len(by_log)} | {' | '.join(figures)} |"


def _example() -> Comparison:
    log = to_replay_buffer(simulate_log(Auction(), seed=0))
    return compare(log, POLICIES)
