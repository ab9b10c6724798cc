"""Does the shape help where its critics used to be fragile?

``Concave`` against the same network, training and defaults without a shape, over many
bids, reward sizes, and campaigns where bootstrapping matters.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np

from ..engine.files import write_rows, write_text
from ..engine.intervals import bootstrap_mean, paired_difference
from ..engine.sweep import run_cells
from .cells import digest_of, fit_quietly

__all__ = ["SCENARIOS", "RobustnessCell", "Scenario", "run_robustness"]


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One way to make the task harder for a shaped critic.

    Args:
        bids: number of equidistant bids in [0, 1].
        reward_factor: what all logged rewards are multiplied by.
        campaigns: keep campaigns of 1,000 impressions together, so that values
            bootstrap with ``gamma = 0.99``.
    """

    bids: int = 5
    reward_factor: float = 1.0
    campaigns: bool = False


SCENARIOS: dict[str, Scenario] = {
    "5 bids": Scenario(),
    "21 bids": Scenario(bids=21),
    "101 bids": Scenario(bids=101),
    "rewards x 0.001": Scenario(reward_factor=0.001),
    "rewards x 1,000": Scenario(reward_factor=1000.0),
    "campaigns, gamma 0.99": Scenario(campaigns=True),
}
VARIANTS = ("Unconstrained", "functional", "canonical")
COLUMNS = ("scenario", "variant", "seed", "steps", "regret")


@dataclasses.dataclass(frozen=True)
class RobustnessCell:
    """One training run.

    Args:
        scenario: a name in ``SCENARIOS``.
        variant: ``"Unconstrained"`` or the projection that ``Concave`` uses.
        seed: draws the log and the training.
        steps: gradient steps.
    """

    scenario: str
    variant: str
    seed: int
    steps: int

    @property
    def digest(self) -> str:
        """Name of the cell's file."""
        scenario = dataclasses.asdict(SCENARIOS[self.scenario])
        return digest_of({"robustness": scenario, **dataclasses.asdict(self)})


def run_robustness(
    folder: pathlib.Path, seeds: int = 5, steps: int = 3000, workers: int = 2
) -> list[dict[str, Any]]:
    """Runs what is missing, then writes robustness.csv and robustness.md."""
    cells = [
        RobustnessCell(scenario, variant, seed, steps)
        for seed in range(seeds)
        for scenario in SCENARIOS
        for variant in VARIANTS
    ]
    rows = run_cells(cells, folder / "cells", workers, train_one)
    write_rows(folder / "robustness.csv", COLUMNS, rows)
    write_text(folder / "robustness.md", robustness_report(rows, seeds, steps))
    return rows


def train_one(cell: RobustnessCell) -> list[dict[str, Any]]:
    """Trains one variant in one scenario; one row with its exact regret."""
    import d3rlpy
    from d3rlpy.models import VectorEncoderFactory

    from bidclick_gym import Auction, RegretEvaluator, simulate_log
    from bidclick_gym.logs.datasets import to_replay_buffer
    from icac_algo import (
        Canonical,
        Concave,
        ConstraintAwareQConfig,
        Functional,
        Unconstrained,
    )

    from ..learners.algorithms import HIDDEN_UNITS

    scenario = SCENARIOS[cell.scenario]
    auction = Auction(bids=tuple(np.linspace(0.0, 1.0, scenario.bids)))
    log = simulate_log(auction, seed=cell.seed)
    log = dataclasses.replace(log, rewards=log.rewards * scenario.reward_factor)
    dataset = to_replay_buffer(log, as_bandit=not scenario.campaigns)
    free = cell.variant == "Unconstrained"
    config = ConstraintAwareQConfig(
        constraint=Unconstrained() if free else Concave(),
        critic=Canonical() if cell.variant == "canonical" else Functional(),
        critic_encoder_factory=VectorEncoderFactory(list(HIDDEN_UNITS)),
    )
    d3rlpy.seed(cell.seed)
    algo = config.create(device="cpu:0")
    fit_quietly(algo, dataset, cell.steps)
    return [{**dataclasses.asdict(cell), "regret": RegretEvaluator(auction)(algo)}]


def robustness_report(rows: list[dict[str, Any]], seeds: int, steps: int) -> str:
    """Regret by scenario, and the paired difference to the unconstrained critic."""
    lines = [
        "| Scenario | Unconstrained | functional | difference | canonical | difference |",
        "|---|---|---|---|---|---|",
    ]
    for scenario in SCENARIOS:
        regret = {
            variant: {
                int(r["seed"]): float(r["regret"])
                for r in rows
                if r["scenario"] == scenario and r["variant"] == variant
            }
            for variant in VARIANTS
        }
        free = regret["Unconstrained"]
        cells = [scenario, bootstrap_mean(list(free.values())).format(5)]
        for variant in VARIANTS[1:]:
            cells.append(bootstrap_mean(list(regret[variant].values())).format(5))
            cells.append(paired_difference(regret[variant], free).format(5))
        lines.append(f"| {' | '.join(cells)} |")
    table = "\n".join(lines)
    return f"""# Concave against the same critic without a shape

`python -m benchmarks robustness --seeds {seeds} --steps {steps}`

Regret on `BidClick-v0`, {seeds} seeds (each its own log and training), {steps:,} steps
with the defaults of `ConstraintAwareQConfig` and two hidden layers of 64 units. Means
with 95 % bootstrap percentile intervals; "difference" is to the unconstrained critic,
paired by seed (below 0: the shape helps).

{table}
"""
