"""Logs on which the same defaults are tried, and the exact regret of what is learned."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from bidclick_gym.campaigns import BudgetedCampaign, solve
from bidclick_gym.logs import to_replay_buffer
from icac_algo import Concave, ConstraintAwareQConfig, MonotoneConcave, Outcome

from ..auction.regret_tasks import TASKS
from ..campaigns import training
from ..learners.auction import COST_FEATURE
from ..learners.campaigns import (
    COST,
    GAMMA,
    LAG,
    afterstates,
    largest_payment,
    other_budgets,
)
from ..realistic import dose_learners
from ..realistic.learners import dataset_of, outcomes_of, policy_of
from ..realistic.patients import Split, read_patients
from ..realistic.worlds import WORLDS

#: Rows of realistic logs.
ROWS = 4000


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is learned from, with our defaults, and how it is judged."""

    config: ConstraintAwareQConfig
    dataset: Any
    regret: Callable[[Any], float]  # of an algorithm


#: From a seed and the file of patients to a problem.
Place = Callable[[int, str], Problem]


def _realistic(seed: int, data: str, name: str) -> Problem:
    world = WORLDS[name]
    log = world.log(ROWS, seed)
    return Problem(
        ConstraintAwareQConfig(outcomes=outcomes_of(world), gamma=0.0),
        dataset_of(world, log),
        lambda algo: world.regret(policy_of(world, algo)(world.judged)),
    )


def _auction(seed: int, data: str, fraction: float, as_outcome: bool) -> Problem:
    task = TASKS["5 bids"]
    prior: dict[str, Any] = {"constraint": Concave()}
    if as_outcome:
        clicks = Outcome("click", MonotoneConcave(), link="logit")
        prior = {"outcomes": [clicks, Outcome(weight=f"-x{COST_FEATURE} * action")]}
    dataset = task.dataset(seed, fraction, as_floats=False)
    return Problem(ConstraintAwareQConfig(**prior), dataset, task.regret)


def _campaigns(seed: int, data: str) -> Problem:
    """Outcomes and afterstates, with budgets relabelled; targets lag as in the tables."""
    config = ConstraintAwareQConfig(
        outcomes=[
            Outcome("click", MonotoneConcave(), link="logit"),
            Outcome(weight=f"-x{COST} * action"),
        ],
        critic=afterstates(MonotoneConcave(), largest_payment=largest_payment()),
        gamma=GAMMA,
        tau=1.0 / LAG,
    )
    dataset = to_replay_buffer(training.log_of("unpaced", seed), 0.0625, seed)
    best = solve(BudgetedCampaign(), **training.GRID).optimal_value
    return Problem(
        config,
        dataset.replace(transition_picker=other_budgets()),
        lambda algo: best - training.value(training.CampaignBidder(algo)),
    )


def _warfarin(seed: int, data: str, as_outcome: bool) -> Problem:
    split = Split.of(read_patients(data), seed)
    config, dataset = dose_learners.told(split.problem, split.log, as_outcome)

    # The right dose earns 0.
    def regret(algo: Any) -> float:
        return -split.value(dose_learners.policy_of(split.problem, algo)(split.judged))

    return Problem(config, dataset, regret)


WARFARIN = ("warfarin, concave", "warfarin, as an outcome")
PLACES: dict[str, Place] = {
    **{
        f"{name}, {ROWS:,} rows": functools.partial(_realistic, name=name)
        for name in WORLDS
    },
    **{
        f"auction, {100.0 * fraction:g} %, {prior}": functools.partial(
            _auction, fraction=fraction, as_outcome=prior == "outcomes"
        )
        for fraction in (0.0625, 0.01)
        for prior in ("concave", "outcomes")
    },
    "campaigns, 6.25 %": _campaigns,
    **{
        name: functools.partial(_warfarin, as_outcome=name == WARFARIN[1])
        for name in WARFARIN
    },
}
