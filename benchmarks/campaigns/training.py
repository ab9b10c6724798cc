"""A training on a log of campaigns, and what its bidder is worth, exactly."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import d3rlpy
import numpy as np
import numpy.typing as npt
import torch

from bidclick_gym.campaigns import (
    BudgetedCampaign,
    PacedPolicy,
    UnpacedPolicy,
    evaluate,
)
from bidclick_gym.logs import simulate_budget_log, to_replay_buffer
from icac_algo.decisions import MaskedGreedy

from ..engine import Cell
from ..engine.tuning import RESULTS
from ..learners import fit_quietly
from ..learners.campaigns import CAMPAIGN_LEARNERS, other_budgets

TUNED = RESULTS / "tuning_budget.csv"
LOGGERS: dict[str, type[UnpacedPolicy] | type[PacedPolicy]] = {
    "unpaced": UnpacedPolicy,
    "paced": PacedPolicy,
}
#: Of the exact evaluation: within 0.0013 of a grid twice as fine.
GRID = {"nodes": 12, "budget_points": 201}

Observations = npt.NDArray[np.float32]


class CampaignBidder:
    """A trained algorithm as a policy of campaigns: the best bid that can be paid."""

    campaign = BudgetedCampaign()

    def __init__(self, algo: Any, policy: str = "critic"):
        self._algo, self._policy = algo, policy

    def __call__(self, observations: Observations) -> npt.NDArray[np.int64]:
        if self._policy == "critic":
            return MaskedGreedy(self._algo, self._is_paid).predict(observations)
        preferences = self._actor(observations)
        return np.where(self._is_paid(observations), preferences, -np.inf).argmax(axis=1)

    def _is_paid(self, observations: Observations) -> npt.NDArray[np.bool_]:
        _, c, b, _ = self.campaign.read(observations)
        return np.asarray(self.campaign.is_affordable(c, b))

    def _actor(self, observations: Observations) -> npt.NDArray[Any]:
        impl = self._algo.impl
        modules = impl.modules
        network = modules.imitator if hasattr(modules, "imitator") else impl.policy
        with torch.no_grad():
            x = torch.as_tensor(observations, device=impl.device)
            return np.asarray(network(x).logits.cpu().numpy())


def log_of(log: str, seed: int) -> Any:
    """What a learner is given: the campaigns of a log, refused bids as bids of 0.

    Values of a bid then mean that it was paid, and only so are the shapes true of them.
    """
    campaign = BudgetedCampaign()
    logged = simulate_budget_log(campaign, LOGGERS[log](campaign), seed=seed)
    return dataclasses.replace(
        logged, actions=np.where(logged.refused, 0, logged.actions)
    )


def learner_config(cell: Cell) -> Any:
    return CAMPAIGN_LEARNERS[cell.learner].config(cell["steps"], **cell.tuned)


def learner_depends(cell: Cell) -> Any:
    """What the training of a learner depends on beside its coordinates."""
    return [learner_config(cell), other_budgets()]


def train_learner(cell: Cell, monitor: Any = None) -> tuple[Any, float]:
    """Trains the learner of a cell; relabelled ones on other budgets as well."""
    log = log_of(cell["log"], cell.seed)
    dataset = to_replay_buffer(log, cell["fraction"], cell.seed)
    d3rlpy.seed(cell.seed)
    if CAMPAIGN_LEARNERS[cell.learner].relabelled:
        dataset = dataset.replace(transition_picker=other_budgets())
        # The published rows begin here in numpy's stream, two numbers a transition later.
        np.random.random(2 * dataset.transition_count)  # noqa: NPY002
    algo = learner_config(cell).create(device="cpu:0")
    start = time.perf_counter()
    fit_quietly(algo, dataset, cell["steps"], monitor, epochs=10)
    return algo, time.perf_counter() - start


def value(policy: Callable[[Observations], Any]) -> float:
    return evaluate(policy, BudgetedCampaign(), **GRID)
