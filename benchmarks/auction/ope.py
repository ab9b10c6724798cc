"""How far off-policy estimates can be trusted where the truth is exact.

Coverage: intervals of several policies' values, and of how their rewards are distributed,
on logs simulated afresh, against closed forms.  Selection: models trained on one half of
a log, chosen by their estimates on the other, and the regret of the choice.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import d3rlpy
import numpy as np
import numpy.typing as npt
import torch

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

from ..engine import Cell, Experiment, Part, Results, Settings, register
from ..engine.markdown import interval, percent, plural, section, share, table
from ..engine.rows import Rows, distinct, select
from ..learners import fit_quietly
from . import campaign_coverage, distribution_coverage

FRACTIONS = (1.0, 0.0625)
SELECTION_FRACTIONS = (1.0, 0.25, 0.0625)
SELECTION_SEEDS = 5
CHECKPOINTS = (300, 1500)
Policy = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]


def _softened(observations: npt.NDArray[Any]) -> npt.NDArray[Any]:
    odds = np.exp(Auction().reward_table(observations) / 0.02)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def _highest(observations: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.full(len(observations), 4)


POLICIES: dict[str, Policy] = {
    "optimal": campaign_coverage.optimal,
    "softened optimal": _softened,
    "always bid 1": _highest,
}


# -- coverage ------------------------------------------------------------------


def cover(cell: Cell) -> Rows:
    """One row for each policy, estimator and share of the log of one seed."""
    torch.set_num_threads(1)
    # Not the seeds of published logs.
    log = simulate_log(Auction(), seed=20_000 + cell.seed)
    rows = []
    for fraction in FRACTIONS:
        steps = logged_steps(to_replay_buffer(log, fraction, cell.seed))
        for name, policy in POLICIES.items():
            found = estimate(steps, policy, seed=cell.seed)
            for estimator, value in found.items():
                rows.append(
                    {
                        "policy": name,
                        "estimator": estimator,
                        "fraction": fraction,
                        "truth": campaign_coverage.value_of(policy),
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


def _selection_cells(settings: Settings) -> list[Cell]:
    quick = settings.quick
    return [
        Cell.of(
            "selection",
            seed=seed,
            fraction=fraction,
            checkpoints=(20, 40) if quick else CHECKPOINTS,
        )
        for seed in range(1 if quick else SELECTION_SEEDS)
        for fraction in (SELECTION_FRACTIONS[-1:] if quick else SELECTION_FRACTIONS)
    ]


def _candidates(cell: Cell) -> dict[str, ConstraintAwareQConfig]:
    return {
        name: ConstraintAwareQConfig(constraint=shape)
        for name, shape in CANDIDATES.items()
    }


def choose(cell: Cell) -> Rows:
    """Trains on half of a log and chooses on the other half.

    One row for each candidate: a shape, a training seed and a checkpoint.
    """
    torch.set_num_threads(1)
    log = simulate_log(Auction(), seed=30_000 + cell.seed)
    whole = logged_steps(to_replay_buffer(log, cell["fraction"], cell.seed))
    half = np.random.default_rng(cell.seed).permutation(len(whole)) < len(whole) // 2
    train, held_out = _part(whole, half), _part(whole, ~half)
    regret = RegretEvaluator(Auction())
    rows = []
    for name, config in _candidates(cell).items():
        for seed in range(TRAINING_SEEDS):
            trained = 0
            d3rlpy.seed(seed)
            model = config.create(device="cpu:0")
            for steps in cell["checkpoints"]:
                fit_quietly(model, _buffer(train), steps - trained)
                trained = steps
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", SupportWarning)
                    found = estimate(held_out, model, estimators=("dr",))
                rows.append(
                    {
                        "candidate": f"{name}, seed {seed}",
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


def _sections(results: Results) -> Iterable[str]:
    coverage, chosen = results["coverage"], results["selection"]
    if coverage:
        logs = plural(len(distinct(coverage, "seed")), "log")
        head = ["policy", "estimator"]
        for fraction in FRACTIONS:
            head += [f"covered, {percent(fraction)} of the log", "error"]
        lines = []
        for policy in POLICIES:
            for estimator in ESTIMATORS:
                line = [policy, estimator]
                for fraction in FRACTIONS:
                    line += _covered(coverage, policy, estimator, fraction)
                lines.append(line)
        yield section(
            f"Coverage of the 95 % intervals, {logs}",
            "Share of logs whose interval holds the exact value, with 95 % "
            "Clopper-Pearson intervals; error is the root mean square. The direct "
            "method's interval knows of its model's noise, not of its bias.",
            table(head, lines, "lllrlr"),
        )
    yield from campaign_coverage.sections(results)
    yield from distribution_coverage.sections(results)
    if chosen:
        count = len(distinct(chosen, "candidate", "steps"))
        yield section(
            "Choosing a model without a simulator",
            f"{count} candidates (shape, training seed, checkpoint) trained on half of "
            "each log; the doubly robust estimate on the other half chooses one. Mean "
            "regret over logs, with 95 % bootstrap intervals.",
            table(
                [
                    "share of the log",
                    "logs",
                    "chosen by the estimate",
                    "the oracle's choice",
                    "a random choice",
                ],
                [
                    _choice(select(chosen, fraction=fraction))
                    for fraction in sorted(distinct(chosen, "fraction"), reverse=True)
                ],
                "rrlll",
            ),
        )
    yield section(
        "A comparison, as `compare` prints it",
        _example().table(),
        "![the same as a picture](example.png)",
    )


def _covered(rows: Rows, policy: str, estimator: str, fraction: float) -> list[str]:
    mine = select(rows, policy=policy, estimator=estimator, fraction=fraction)
    error = np.sqrt(np.mean([(row["value"] - row["truth"]) ** 2 for row in mine]))
    inside = (row["lower"] <= row["truth"] <= row["upper"] for row in mine)
    return [share(inside), f"{error:.5f}"]


def _choice(rows: Rows) -> list[object]:
    logs = [select(rows, seed=seed) for seed in distinct(rows, "seed")]
    regrets = [
        [max(log, key=lambda row: row["estimate"])["regret"] for log in logs],
        [min(row["regret"] for row in log) for log in logs],
        [float(np.mean([row["regret"] for row in log])) for log in logs],
    ]
    fraction = rows[0]["fraction"]
    return [f"{fraction:.4g}", len(logs), *(interval(r, 5) for r in regrets)]


@functools.cache
def _example() -> Comparison:
    return compare(to_replay_buffer(simulate_log(Auction(), seed=0)), POLICIES)


def _arrange(*columns: str) -> Callable[[Rows], Rows]:
    """As text: so the published rows are sorted."""
    return lambda rows: sorted(rows, key=lambda row: [str(row[c]) for c in columns])


register(
    Experiment(
        "ope",
        "off-policy estimates: coverage, and what choosing by them costs",
        parts=[
            Part(
                "coverage",
                (
                    "policy",
                    "estimator",
                    "fraction",
                    "seed",
                    "truth",
                    "value",
                    "lower",
                    "upper",
                    "ess",
                ),
                lambda settings: [
                    Cell.of("coverage", seed=seed) for seed in range(settings.seeds)
                ],
                cover,
                arrange=_arrange("policy", "estimator", "fraction", "seed"),
            ),
            campaign_coverage.PART,
            distribution_coverage.PART,
            Part(
                "selection",
                ("fraction", "seed", "candidate", "steps", "estimate", "regret"),
                _selection_cells,
                choose,
                _candidates,
                arrange=_arrange("fraction", "seed", "candidate", "steps"),
            ),
        ],
        title="How far off-policy estimates can be trusted",
        sections=_sections,
        pictures={"example.png": lambda results: _example().plot()},
        defaults={"seeds": 200, "workers": 2},
        quick={"seeds": 2},
    )
)
