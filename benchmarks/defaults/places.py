"""Logs on which the same defaults are tried, and the exact regret of what is learned."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from bidclick_gym.campaigns import BudgetedCampaign, solve
from bidclick_gym.logs import to_replay_buffer
from icac_algo import Concave, ConstraintAwareQConfig, MonotoneConcave, Outcome

from ..auction.regret_tasks import TASKS
from ..campaigns import training
from ..learners.campaigns import (
    COST,
    GAMMA,
    LAG,
    afterstates,
    largest_payment,
    other_budgets,
)
from ..realistic.learners import policy_of, told
from ..realistic.patients import Patients, read_patients
from ..realistic.worlds import WORLDS

#: Rows of realistic logs.
ROWS = 4000
#: Our defaults and what is known, the log, and the regret of an algorithm.
Problem = tuple[ConstraintAwareQConfig, Any, Callable[[Any], float]]

_PAID_CLICKS = [
    Outcome("click", MonotoneConcave(), link="logit"),
    Outcome(weight=f"-x{COST} * action"),
]


def _realistic(
    seed: int, data: str, name: str, as_outcomes: bool = True, rows: int = ROWS
) -> Problem:
    world: Any
    if name in WORLDS:
        world = WORLDS[name]
        log = world.log(rows, seed)
    else:
        world = Patients.split(read_patients(data), seed)
        log = world.log
    judged = world.judged
    return (
        *told(world, log, as_outcomes),
        lambda algo: world.regret(policy_of(world, algo)(judged)),
    )


def _auction(seed: int, data: str, fraction: float, as_outcomes: bool) -> Problem:
    task = TASKS["5 bids"]
    prior: dict[str, Any] = {"constraint": Concave()}
    if as_outcomes:
        prior = {"outcomes": _PAID_CLICKS}
    dataset = task.dataset(seed, fraction, as_floats=False)
    return ConstraintAwareQConfig(**prior), dataset, task.regret


def _campaigns(seed: int, data: str) -> Problem:
    """Afterstates with budgets relabelled, discount and lag as in the tables."""
    critic = afterstates(MonotoneConcave(), largest_payment=largest_payment())
    config = ConstraintAwareQConfig(
        outcomes=_PAID_CLICKS, critic=critic, gamma=GAMMA, tau=1.0 / LAG
    )
    dataset = to_replay_buffer(training.log_of("unpaced", seed), 0.0625, seed)
    best = solve(BudgetedCampaign(), **training.GRID).optimal_value
    return (
        config,
        dataset.replace(transition_picker=other_budgets()),
        lambda algo: best - training.value(training.CampaignBidder(algo)),
    )


WARFARIN = ("warfarin, concave", "warfarin, as an outcome")
#: From a seed and the file of patients to a problem.
PLACES: dict[str, Callable[[int, str], Problem]] = {
    **{name: functools.partial(_realistic, name=name) for name in WORLDS},
    **{
        f"auction {shown}, {prior}": functools.partial(
            _auction, fraction=fraction, as_outcomes=prior == "outcomes"
        )
        for fraction, shown in ((1.0, "100 %"), (0.0625, "6.25 %"), (0.01, "1 %"))
        for prior in ("concave", "outcomes")
    },
    "campaigns 6.25 %": _campaigns,
    **{
        name: functools.partial(
            _realistic, name="warfarin", as_outcomes=name == WARFARIN[1]
        )
        for name in WARFARIN
    },
}
#: What a quick run tries.
QUICK: dict[str, Callable[[int, str], Problem]] = {
    "pricing, 100 rows": functools.partial(_realistic, name="pricing", rows=100)
}
