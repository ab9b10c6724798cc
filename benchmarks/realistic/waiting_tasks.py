"""Logs on which learners are waited for, who learns from each, and how good is enough."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from d3rlpy.algos import DQNConfig

from bidclick_gym import simulate_log
from bidclick_gym.evaluators import greedy_bids
from bidclick_gym.logs.log import subsample_impressions
from icac_algo import Concave, ConstraintAwareQConfig, MonotoneConcave, Outcome

from ..auction.regret import TUNED
from ..auction.regret_tasks import GRID, IMPRESSIONS, TASKS, click_columns
from ..engine.tuning import best_settings
from ..learners import AUCTION_LEARNERS, PRIOR_LEARNERS
from . import dose_learners, sklearn_rivals
from .dose_learners import DOSE_LEARNERS
from .learners import (
    COMPETITORS,
    Policy,
    Training,
    cql_of,
    from_model,
    iql_of,
    listed_of,
    ours_of,
    policy_of,
    told,
)
from .patients import Patients, read_patients
from .sklearn_rivals import of_outcomes
from .worlds import WORLDS, Array, Log, Part, Problem

OURS, OUTCOMES, AUTO = "ours: shape", "ours: outcomes", 'ours: n_steps="auto"'
DQN, CQL, IQL, TREES, LINEAR = "DQN", "CQL", "IQL", "boosted trees", "regression"
#: Rows of what is learned before the clock starts.
FEW = 300
#: Rows of the first-price log.
ROWS = 20_000


@dataclasses.dataclass(frozen=True)
class Task:
    """A log, a regret that is good enough, and who learns."""

    #: Seed, file of patients and whether a few rows do, to a problem (which judges) and
    #: its log.
    open: Callable[[int, str, bool], tuple[Any, Log]]
    #: The regret that is waited for; that of the median of the trees if none.
    threshold: float | None
    #: Problem, log and the auction's gradient steps to what is trained.
    networks: Mapping[str, Callable[[Any, Log, int], Training]]
    #: Problem, log and seed to a policy.
    models: Mapping[str, Callable[[Any, Log, int], Mapping[str, Policy]]]

    @property
    def learners(self) -> list[str]:
        return [*self.networks, *self.models]


class Impressions(Problem):
    """A share of the auction's log: clicks rise ever less with the bid, which costs."""

    name = "auction"
    parts = (Part("click", "logit", rises=1, bends=-1),)

    def __init__(self, seed: int, fraction: float, few: bool):
        self._task, self._seed, self.fraction = TASKS["5 bids"], seed, fraction
        self._kept = FEW / IMPRESSIONS if few else fraction
        self.actions = self._bids = np.array(self._task.bids)
        self.judged = self._task.auction.contexts(GRID)

    @property
    def log(self) -> Log:
        whole = simulate_log(self._task.auction, seed=self._seed)
        rows = subsample_impressions(whole, self._kept, self._seed)
        contexts = whole.observations[:, :-1].reshape(-1, 2)[rows]
        _, bids, clicks = click_columns(whole, rows)
        rewards = self.reward(contexts, bids, {"click": clicks})
        # No learner here reads propensities.
        return Log(contexts, bids, {"click": clicks}, rewards, np.ones(len(rows)))

    def buffer(self, as_floats: bool) -> Any:
        return self._task.dataset(self._seed, self._kept, as_floats)

    def act(self, algo: Any, contexts: Array) -> Array:
        return self._bids[greedy_bids(algo, self._task.auction, contexts)]

    @staticmethod
    def reward(contexts: Array, bids: Array, outcomes: Mapping[str, Array]) -> Array:
        return np.asarray(outcomes["click"] - contexts[:, 1] * bids)

    def regret(self, bids: Array) -> float:
        """Of the bids in the judged contexts, from the auction's known truth."""
        auction, places = self._task.auction, np.searchsorted(self._bids, bids)
        return auction.optimal_value(GRID) - auction.value_of_actions(places, GRID)


def _bidder(
    config: Callable[..., Any], as_floats: bool = False
) -> Callable[[Impressions, Log, int], Training]:
    """A learner of the auction's tables: share of the log and steps to its config."""

    def training(world: Impressions, log: Log, steps: int) -> Training:
        policy = functools.partial(functools.partial, world.act)
        made = config(world.fraction, steps)
        return Training(made, world.buffer(as_floats), steps, policy)

    return training


def _tuned(name: str, fraction: float, steps: int) -> Any:
    best = dict(best_settings(TUNED, fraction=fraction).get(name, ()))
    return PRIOR_LEARNERS[name].config(TASKS["5 bids"].bids, steps, **best)


def _unasked(fraction: float, steps: int) -> Any:
    """What a user writes who knows the outcomes, and no number of steps."""
    clicks = Outcome("click", MonotoneConcave(), link="logit")
    return ConstraintAwareQConfig(outcomes=[clicks, Outcome(weight="-x1 * action")])


def _auction(fraction: float) -> Task:
    tuned = functools.partial(functools.partial, _tuned)

    def opened(seed: int, data: str, few: bool) -> tuple[Any, Log]:
        world = Impressions(seed, fraction, few)
        return world, world.log

    return Task(
        opened,
        0.001,
        {
            OUTCOMES: _bidder(tuned("outcomes: log-odds of a click rise concavely")),
            OURS: _bidder(tuned("concave")),
            AUTO: _bidder(_unasked),
            DQN: _bidder(lambda share, steps: AUCTION_LEARNERS["DQN"].config(steps)),
            CQL: _bidder(tuned("CQL")),
            IQL: _bidder(tuned("IQL"), as_floats=True),
        },
        {
            TREES: from_model(TREES, of_outcomes(sklearn_rivals.TREES)),
            LINEAR: from_model(LINEAR, of_outcomes(sklearn_rivals.LINES)),
        },
    )


def _told(world: Problem, log: Log, steps: int, as_outcomes: bool) -> Training:
    """Ours with its defaults."""
    config, dataset = told(world, log, as_outcomes)
    return Training(config, dataset, steps, functools.partial(policy_of, world))


def _first_price() -> Task:
    def opened(seed: int, data: str, few: bool) -> tuple[Any, Log]:
        world = WORLDS["first price"]
        return world, world.log(FEW if few else ROWS, seed)

    return Task(
        opened,
        None,
        {
            OUTCOMES: lambda world, log, steps: ours_of(world, log),
            OURS: lambda world, log, steps: ours_of(world, log, Concave),
            AUTO: functools.partial(_told, as_outcomes=True),
            DQN: lambda world, log, steps: listed_of(world, log, 1.0, DQNConfig),
            CQL: lambda world, log, steps: cql_of(world, log, 0.3, 1.0),
            IQL: lambda world, log, steps: iql_of(world, log, 100.0, 1.0),
        },
        {
            TREES: COMPETITORS["trees on outcomes"].fit,
            LINEAR: COMPETITORS["linear on outcomes"].fit,
        },
    )


def _warfarin() -> Task:
    def opened(seed: int, data: str, few: bool) -> tuple[Any, Log]:
        table = read_patients(data)
        world = Patients.split(table[:FEW] if few else table, seed)
        return world, world.log

    return Task(
        opened,
        6.3,
        {
            OUTCOMES: functools.partial(_told, as_outcomes=True),
            OURS: functools.partial(_told, as_outcomes=False),
            AUTO: functools.partial(_told, as_outcomes=False),
            DQN: lambda world, log, steps: listed_of(world, log, 1.0, DQNConfig),
            CQL: lambda world, log, steps: cql_of(world, log, 0.01, 1.0),
            IQL: lambda world, log, steps: iql_of(world, log, 30.0, 1.0),
        },
        {
            TREES: DOSE_LEARNERS[dose_learners.TREES].fit,
            LINEAR: DOSE_LEARNERS["quadratic ridge"].fit,
        },
    )


FIRST_PRICE, WARFARIN = "first price", "warfarin"
WAITING_TASKS: dict[str, Task] = {
    "auction, 100 %": _auction(1.0),
    "auction, 25 %": _auction(0.25),
    WARFARIN: _warfarin(),
    FIRST_PRICE: _first_price(),
}
