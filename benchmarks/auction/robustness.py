"""Does the shape help where its critics used to be fragile?

``Concave``, and outcomes that state the click, against the same network, training and
defaults without a shape, over many bids, reward sizes, and campaigns where bootstrapping
matters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np

from bidclick_gym import Auction, RegretEvaluator, simulate_log
from bidclick_gym.logs.datasets import to_replay_buffer
from icac_algo import (
    Canonical,
    Concave,
    ConstraintAwareQConfig,
    Functional,
    MonotoneConcave,
    Outcome,
    Unconstrained,
)

from ..engine import Cell, Experiment, Part, Results, Settings, register
from ..engine.intervals import paired_difference
from ..engine.markdown import interval, plural, table
from ..engine.rows import Rows, by_seed, distinct
from ..learners import hidden_layers, trained


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One way to make the task harder for a shaped critic."""

    bids: int = 5  # number of equidistant bids in [0, 1]
    reward_factor: float = 1.0  # what all logged rewards are multiplied by
    campaigns: bool = False  # of 1,000 impressions, whose values bootstrap


SCENARIOS: dict[str, Scenario] = {
    "5 bids": Scenario(),
    "21 bids": Scenario(bids=21),
    "101 bids": Scenario(bids=101),
    "rewards x 0.001": Scenario(reward_factor=0.001),
    "rewards x 1,000": Scenario(reward_factor=1000.0),
    "campaigns, gamma 0.99": Scenario(campaigns=True),
}
VARIANTS = ("Unconstrained", "functional", "canonical", "outcomes")


def _cells(settings: Settings) -> Iterable[Cell]:
    for seed in range(settings.seeds):
        for scenario in SCENARIOS:
            for variant in VARIANTS:
                yield Cell.of(
                    "robustness", variant, seed, scenario=scenario, steps=settings.steps
                )


def _outcomes(scenario: Scenario) -> list[Outcome]:
    """The click on its log-odds and its known cost, in the scenario's rewards."""
    bids = np.linspace(0.0, 1.0, scenario.bids).tolist()
    factor = scenario.reward_factor
    shape = MonotoneConcave(actions=bids)
    return [
        Outcome("click", shape, link="logit", weight=str(factor)),
        Outcome(weight=f"-{factor} * x1 * action"),
    ]


def _config(cell: Cell) -> ConstraintAwareQConfig:
    if cell.learner == "outcomes":
        return ConstraintAwareQConfig(
            outcomes=_outcomes(SCENARIOS[cell["scenario"]]),
            critic_encoder_factory=hidden_layers(),
        )
    is_free = cell.learner == "Unconstrained"
    return ConstraintAwareQConfig(
        constraint=Unconstrained() if is_free else Concave(),
        critic=Canonical() if cell.learner == "canonical" else Functional(),
        critic_encoder_factory=hidden_layers(),
    )


def _depends(cell: Cell) -> Any:
    return _config(cell), SCENARIOS[cell["scenario"]]


def _measure(cell: Cell) -> Rows:
    scenario = SCENARIOS[cell["scenario"]]
    auction = Auction(bids=tuple(np.linspace(0.0, 1.0, scenario.bids)))
    log = simulate_log(auction, seed=cell.seed)
    log = dataclasses.replace(log, rewards=log.rewards * scenario.reward_factor)
    dataset = to_replay_buffer(log, as_bandit=not scenario.campaigns)
    algo = trained(_config(cell), dataset, cell.seed, cell["steps"])
    return [{"regret": RegretEvaluator(auction)(algo)}]


def _sections(results: Results) -> Iterable[str]:
    rows = results["robustness"]
    seeds = plural(len(distinct(rows, "seed")), "seed")
    steps = int(rows[0]["steps"])
    yield (
        f"Regret on `BidClick-v0`, {seeds} (each its own log and training), "
        f"{steps:,} steps with the defaults of `ConstraintAwareQConfig` and two hidden "
        "layers of 64 units. Means with 95 % bootstrap percentile intervals; "
        '"difference" is to the unconstrained critic, paired by seed (below 0: the shape '
        "helps). *Functional* and *canonical* critics are concave in profit; *outcomes* "
        "states that clicks rise concavely on the log-odds, and their known cost."
    )
    lines = []
    for scenario in SCENARIOS:
        free, *shaped = (
            by_seed(rows, "regret", scenario=scenario, variant=variant)
            for variant in VARIANTS
        )
        line = [scenario, interval(free, 5)]
        for regret in shaped:
            line += [interval(regret, 5), paired_difference(regret, free).format(5)]
        lines.append(line)
    head = [VARIANTS[0]]
    for variant in VARIANTS[1:]:
        head += [variant, "difference"]
    yield table(["Scenario", *head], lines)


register(
    Experiment(
        "robustness",
        "shapes against none: many bids, reward sizes, campaigns",
        parts=[
            Part(
                "robustness",
                ("scenario", "variant", "seed", "steps", "regret"),
                _cells,
                _measure,
                _depends,
                learner="variant",
            ),
        ],
        title="Shapes against the same critic without one",
        sections=_sections,
        defaults={"seeds": 5, "steps": 3000, "workers": 2},
        quick={"seeds": 1, "steps": 200},
        report="robustness.md",
    )
)
