"""One learner on one log of campaigns, trained and measured exactly."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bidclick_gym.campaigns import (
    BudgetedCampaign,
    PacedPolicy,
    StateViolationEvaluator,
    UnpacedPolicy,
    evaluate,
    solve,
)
from bidclick_gym.campaigns.evaluators import (
    STATE_SHAPES,
    campaign_values,
    fixed_observations,
)
from bidclick_gym.logs import simulate_budget_log
from icac_algo import BudgetRelabellingTransitionPicker
from icac_algo.decisions import MaskedGreedy

from ..auction.cells import digest_of
from ..learners import fit_quietly
from ..learners.campaigns import CAMPAIGN_LEARNERS, GAMMA, other_budgets

__all__ = [
    "COLUMNS",
    "LOGGERS",
    "BudgetCell",
    "CampaignBidder",
    "LoggedTraining",
    "log_of",
    "train_and_measure",
    "train_on_log",
]

LOGGERS: dict[str, type[UnpacedPolicy] | type[PacedPolicy]] = {
    "unpaced": UnpacedPolicy,
    "paced": PacedPolicy,
}
SHAPES = (*STATE_SHAPES, "concave")
COLUMNS = (
    "learner",
    "log",
    "fraction",
    "seed",
    "steps",
    "return",
    "regret",
    "gap_closed",
    *(f"{shape}_errors" for shape in SHAPES),
    "own_errors",
    "value_drift",
    "train_seconds",
)
#: Grid of the exact evaluation: within .0013 of one twice as fine.
NODES, BUDGET_POINTS = 12, 201
#: States at which shapes are counted.
STATES = 200
#: Raise when training or measuring changes.
FORMAT = 2


class LoggedTraining(Protocol):
    """What a training on a log of campaigns needs to know."""

    @property
    def log(self) -> str: ...

    @property
    def fraction(self) -> float: ...

    @property
    def seed(self) -> int: ...

    @property
    def steps(self) -> int: ...

    def config(self) -> Any:
        """The d3rlpy config."""


@dataclasses.dataclass(frozen=True)
class BudgetCell:
    """What to run.

    Args:
        learner: a name in ``CAMPAIGN_LEARNERS``.
        log: a name in ``LOGGERS``.
        fraction: share of the log's 2,000 campaigns.
        seed: draws the log, its share and the training.
        steps: gradient steps.
        tuned: hyperparameters, as sorted pairs.
    """

    learner: str
    log: str = "unpaced"
    fraction: float = 1.0
    seed: int = 0
    steps: int = 2000
    tuned: tuple[tuple[str, float], ...] = ()

    @property
    def algorithm(self) -> str:
        """What a progress bar shows."""
        return self.learner

    @property
    def digest(self) -> str:
        """Name of the cell's file."""
        config = self.config()
        made = {"type": config.get_type(), "params": config.serialize_to_dict()}
        told = {"budget": FORMAT, "config": made, **dataclasses.asdict(self)}
        if self.picker is not None:
            told["picker"] = dataclasses.asdict(self.picker)
        return digest_of(told)

    def config(self) -> Any:
        """The d3rlpy config."""
        return CAMPAIGN_LEARNERS[self.learner].config(self.steps, **dict(self.tuned))

    @property
    def picker(self) -> BudgetRelabellingTransitionPicker | None:
        """What draws other budgets, for learners that are given such."""
        return other_budgets() if CAMPAIGN_LEARNERS[self.learner].relabelled else None


class CampaignBidder:
    """A trained algorithm as a policy of campaigns: the best bid that can be paid.

    Args:
        algo: a fitted d3rlpy algorithm of bid indices.
        campaign: what is played.
        policy: whether the ``"critic"`` or the ``"actor"`` is asked.
    """

    def __init__(self, algo: Any, campaign: BudgetedCampaign, policy: str = "critic"):
        self._algo = algo
        self._campaign = campaign
        self._policy = policy

    def __call__(self, observations: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        if self._policy == "critic":
            return MaskedGreedy(self._algo, self._is_paid).predict(observations)
        preferences = self._actor(observations)
        return np.where(self._is_paid(observations), preferences, -np.inf).argmax(axis=1)

    def values(
        self, gamma: float
    ) -> Callable[[npt.NDArray[np.float32]], npt.NDArray[Any]]:
        """The critic's value of every bid, in clicks, observations to ``(N, K)``."""

        def of(observations: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
            values = campaign_values(self._algo, self._campaign, observations, gamma)
            return np.where(self._is_paid(observations), values, values[:, :1])

        return of

    def _is_paid(self, observations: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        _, c, b, _ = self._campaign.read(observations)
        return np.asarray(self._campaign.is_affordable(c, b))

    def _actor(self, observations: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        import torch

        impl = self._algo.impl
        with torch.no_grad():
            x = torch.as_tensor(observations, device=impl.device)
            modules = impl.modules
            network = modules.imitator if hasattr(modules, "imitator") else impl.policy
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


def train_on_log(
    cell: LoggedTraining,
    monitor: Any = None,
    epochs: int = 10,
    picker: BudgetRelabellingTransitionPicker | None = None,
) -> tuple[Any, float]:
    """The trained algorithm, and how many seconds it took.

    Args:
        cell: what is trained on what.
        monitor: called with the algorithm, the epoch and the step, ``epochs`` times.
        epochs: how often.
        picker: draws other budgets than those of the log.
    """
    import d3rlpy

    from bidclick_gym.logs.datasets import to_replay_buffer

    dataset = to_replay_buffer(log_of(cell.log, cell.seed), cell.fraction, cell.seed)
    if picker is not None:
        dataset = dataset.replace(transition_picker=picker)
    d3rlpy.seed(cell.seed)
    if picker is not None:
        # The published rows begin here in numpy's stream, two numbers a transition later.
        np.random.random(2 * dataset.transition_count)  # noqa: NPY002
    algo = cell.config().create(device="cpu:0")
    start = time.perf_counter()
    fit_quietly(algo, dataset, cell.steps, monitor, epochs=epochs)
    return algo, time.perf_counter() - start


def train_and_measure(cell: BudgetCell) -> list[dict[str, Any]]:
    """One row."""
    campaign, learner = BudgetedCampaign(), CAMPAIGN_LEARNERS[cell.learner]
    has_values = learner.name != "BC"
    counts = {s: StateViolationEvaluator(campaign, s, n=STATES) for s in SHAPES}
    # During training fewer states are looked at: it would take longer than the training.
    watched = [StateViolationEvaluator(campaign, s, n=50) for s in learner.counted]
    states = fixed_observations(campaign)
    worst = 0.0
    levels: list[float] = []

    def monitor(algo: Any, epoch: int, step: int) -> None:
        nonlocal worst
        if not has_values:
            return
        worst = max([worst, *(count(algo) for count in watched)])
        levels.append(float(campaign_values(algo, campaign, states, GAMMA).mean()))

    algo, seconds = train_on_log(cell, monitor, picker=cell.picker)
    best = solve(campaign, nodes=NODES, budget_points=BUDGET_POINTS).optimal_value
    logger = logger_value(cell.log)
    value = _value(CampaignBidder(algo, campaign, learner.policy), campaign)
    errors = {s: count(algo) for s, count in counts.items()} if has_values else {}
    worst = max([worst, *(errors[shape] for shape in learner.counted)])
    return [
        {
            "learner": cell.learner,
            "log": cell.log,
            "fraction": cell.fraction,
            "seed": cell.seed,
            "steps": cell.steps,
            "return": value,
            "regret": best - value,
            "gap_closed": (value - logger) / (best - logger),
            **{f"{shape}_errors": errors.get(shape) for shape in SHAPES},
            "own_errors": worst if learner.counted else None,
            # How far the mean value moved over the second half of the training.
            "value_drift": levels[-1] - levels[len(levels) // 2] if levels else None,
            "train_seconds": seconds,
        }
    ]


@functools.lru_cache
def logger_value(log: str) -> float:
    """The exact value of the policy that wrote a log."""
    campaign = BudgetedCampaign()
    return _value(LOGGERS[log](campaign).probabilities_of, campaign)


def _value(policy: Any, campaign: BudgetedCampaign) -> float:
    return evaluate(policy, campaign, nodes=NODES, budget_points=BUDGET_POINTS)
