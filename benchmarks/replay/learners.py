"""Learners from a log of random bids, who never see a market price that they lost to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import d3rlpy
import numpy as np
import numpy.typing as npt

from bidclick_gym.logs import simulate_replay_log
from icac_algo import (
    Afterstates,
    BudgetRelabellingTransitionPicker,
    ColumnarReplayBuffer,
    ConstraintAwareQConfig,
    DiscreteIQLConfig,
    Monotone,
    MonotoneConcave,
    Outcome,
    Unconstrained,
)
from icac_algo.critics import ClippedStandardObservationScaler
from icac_algo.shapes import Constraint

from ..learners.learner import configured, hidden_layers, trained
from .market import BUDGET, CLOCK, LOG_VALUE, VALUE, Bidder, Market

#: Gradient steps by which targets lag: values travel back over a whole episode.
_LAG = 10.0
_AMOUNTS = 16


@dataclasses.dataclass(frozen=True)
class Task:
    """An episode's budget in a market, and the bids among which learners choose."""

    market: Market
    budget: float

    @property
    def bids(self) -> npt.NDArray[np.float64]:
        """0, and from a 150th of the highest price to it in equal ratios."""
        highest = self.market.highest
        return np.append(0.0, np.geomspace(highest / 150.0, highest, 28))

    def log(self, seed: int, ample: bool) -> ColumnarReplayBuffer:
        """Random bids over all training auctions, under an ample budget or this one.

        What is left of it is in shares of this budget; that of transitions is drawn
        anew where it was ample.
        """
        market, bids = self.market, self.bids
        impressions, train = market.impressions, market.train
        own = impressions * bids[-1] if ample else self.budget
        env = market.environment(train, own, bids=bids.tolist())
        log = simulate_replay_log(env, None, len(train) // impressions, seed)
        if not ample:
            return log
        parts = log.to_arrays()
        parts["observations"] = parts["observations"].copy()
        parts["observations"][:, BUDGET] *= own / self.budget
        picker = BudgetRelabellingTransitionPicker(
            budget_feature=BUDGET,
            clock_feature=CLOCK,
            tick=1.0 / impressions,
            largest_payment=bids[-1] / self.budget,
            share=1.0,
        )
        return ColumnarReplayBuffer.from_arrays(
            **parts, action_size=len(bids), transition_picker=picker
        )

    def bidder(self, algo: Any) -> Bidder:
        """Greedy for a learner's values."""
        return lambda seen: self.bids[algo.predict(seen)]


def outcomes(task: Task, shape: Constraint) -> list[Outcome]:
    """What a bid brings: a win, which pays the value, and a payment if it wins."""
    shape = dataclasses.replace(shape, actions=task.bids.tolist())
    return [
        Outcome("won", shape, link="logit", weight=f"x{VALUE}"),
        Outcome("payment", shape, link="log", weight="0.0", given="won"),
    ]


def ours(task: Task, shaped: bool) -> Callable[..., Any]:
    """``make`` of our config, with the shapes or without any."""
    impressions, budget = task.market.impressions, task.budget
    # From a small payment to more than can be left.
    amounts = np.geomspace(task.market.highest / 30.0 / budget, 8.0, _AMOUNTS)
    critic = Afterstates(
        value_shape=MonotoneConcave() if shaped else Unconstrained(),
        context=[LOG_VALUE],
        budget_feature=BUDGET,
        clock_feature=CLOCK,
        spend=1.0 / budget,
        tick=1.0 / impressions,
        payment="payment",
        amounts=amounts.tolist(),
    )
    return configured(
        *(ConstraintAwareQConfig, "critic", "actor"),
        outcomes=outcomes(task, Monotone() if shaped else Unconstrained()),
        critic=critic,
        gamma=1.0,
        tau=1.0 / _LAG,
        reward_scaler=None,
    )


def scaler(log: ColumnarReplayBuffer) -> ClippedStandardObservationScaler:
    """Shares as they are drawn, values and their logarithms as they are."""
    seen = log.to_arrays()["observations"].astype(np.float64)
    mean, std = seen.mean(axis=0), seen.std(axis=0)
    for share in (BUDGET, CLOCK):
        mean[share], std[share] = 0.5, 0.3
    return ClippedStandardObservationScaler(mean=mean, std=std, eps=0.0)


def cql(alpha: float, **fields: Any) -> Callable[..., Any]:
    return configured(
        d3rlpy.algos.DiscreteCQLConfig,
        alpha=alpha,
        gamma=1.0,
        target_update_interval=round(_LAG),
        **fields,
    )


def iql(temperature: float, **fields: Any) -> Callable[..., Any]:
    return configured(
        *(DiscreteIQLConfig, "actor", "critic"),
        value_encoder_factory=hidden_layers(),
        weight_temp=temperature,
        expectile=0.7,
        gamma=1.0,
        tau=1.0 / _LAG,
        **fields,
    )


#: Rivals: how each is made, of what setting, and whether from the ample log, relabelled.
#: The one that earns most in the training auctions counts.
SETTINGS: dict[str, list[tuple[Callable[..., Any], float, bool]]] = {
    "CQL": [(cql, 0.01, True), (cql, 0.01, False)],
    "DiscreteIQL": [(iql, 1000.0, True), (iql, 30.0, False)],
}
OURS, BARE, LOGGER = "ours", "ours without shapes", "logger"
LEARNERS = (OURS, BARE, *SETTINGS, LOGGER)


def fit(task: Task, name: str, seed: int, steps: int) -> tuple[Bidder, str]:
    """A learner's bidder, and which setting it has."""
    if name == LOGGER:
        rng = np.random.default_rng(seed)
        return (lambda seen: rng.choice(task.bids, len(seen))), ""
    if name not in SETTINGS:
        config = ours(task, shaped=name == OURS)(steps)
        return task.bidder(trained(config, task.log(seed, True), seed, steps, 1)), ""
    found: list[tuple[float, str, Bidder]] = []
    logs = {ample: task.log(seed, ample) for ample in (True, False)}
    for make, setting, ample in SETTINGS[name]:
        config = make(setting, observation_scaler=scaler(logs[ample]))(steps)
        bidder = task.bidder(trained(config, logs[ample], seed, steps, 1))
        earned = task.market.play(bidder, task.market.train, task.budget)["value"]
        words = f"{setting:g} {'relabelled' if ample else 'as logged'}"
        found.append((earned, words, bidder))
    _, words, best = max(found, key=lambda one: one[0])
    return best, words
