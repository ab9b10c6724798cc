"""A learner as tables name it, and what all share: network, optimizer, schedule."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

import d3rlpy
from d3rlpy.models import VectorEncoderFactory
from d3rlpy.optimizers import AdamFactory
from d3rlpy.optimizers.lr_schedulers import CosineAnnealingLRFactory
from d3rlpy.preprocessing import StandardRewardScaler

from icac_algo import ConstraintAwareQConfig

from ..engine.pictures import BASELINE, LIMIT, ONLINE, OURS

LEARNING_RATE = 1e-3
HIDDEN_UNITS = (64, 64)
BATCH_SIZE = 256


@dataclasses.dataclass(frozen=True)
class Learner:
    """One row of a table."""

    name: str  # as shown
    make: Callable[..., Any] | None  # gradient steps and tuned values to a d3rlpy config
    #: ``"ours"`` has a shape; ``"bare"`` is our critic without one; ``"baseline"`` is a
    #: tuned rival; ``"untuned"`` has d3rlpy's own hyperparameters; ``"limit"`` knows what
    #: no learner is told; ``"online"`` chooses its own bids.
    kind: Literal["ours", "bare", "baseline", "untuned", "limit", "online"] = "baseline"
    shape: str = ""  # label of the shape imposed, if any
    #: What its critic obeys, for counting errors: in auctions `ViolationEvaluator`'s
    #: shape and known-cost flag, in campaigns the shapes of `StateViolationEvaluator`.
    counted: tuple[Any, ...] = ()
    continuous: bool = False  # whether it is trained on bids as floats
    #: Hyperparameters chosen by the oracle's regret, with the first grid.
    tuned: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    policy: str = "critic"  # whether the ``"critic"`` or the ``"actor"`` bids
    #: Whether half of its transitions are under other budgets than their own.
    relabelled: bool = False

    @property
    def colour(self) -> str:
        colours = {"ours": OURS, "limit": LIMIT, "online": ONLINE}
        return colours.get(self.kind, BASELINE)

    def config(self, *arguments: Any, **tuned: float) -> Any:
        """What ``make`` makes, its d3rlpy config; ``None`` for the click model."""
        return None if self.make is None else self.make(*arguments, **tuned)


AnyLearner = TypeVar("AnyLearner", bound=Learner)


def registry(*learners: AnyLearner) -> dict[str, AnyLearner]:
    return {learner.name: learner for learner in learners}


def hidden_layers() -> VectorEncoderFactory:
    return VectorEncoderFactory(list(HIDDEN_UNITS))


def shared_settings(steps: int, *parts: str) -> dict[str, Any]:
    """Network, optimizer, cosine schedule and batch size, for a d3rlpy config.

    ``parts`` are its name prefixes; none for configs with one network.
    """

    def optimizer() -> AdamFactory:
        return AdamFactory(lr_scheduler_factory=CosineAnnealingLRFactory(T_max=steps))

    settings: dict[str, Any] = {"batch_size": BATCH_SIZE}
    for part in parts or ("",):
        prefix = f"{part}_" if part else ""
        settings[f"{prefix}encoder_factory"] = hidden_layers()
        if part != "value":
            settings[f"{prefix}optim_factory"] = optimizer()
            settings[f"{prefix}learning_rate"] = LEARNING_RATE
    return settings


def reward_scaler() -> StandardRewardScaler:
    """Centred rewards of spread one half, for every algorithm that learns values.

    Centring helps all of them.  One half keeps every Bellman error of this task inside
    the quadratic part of the Huber loss of d3rlpy's DQN and CQL; at spread 1 they would
    learn something between mean and median.
    """
    return StandardRewardScaler(multiplier=0.5)


def configured(
    kind: Callable[..., Any], *parts: str, **fields: Any
) -> Callable[..., Any]:
    """``make`` of d3rlpy configs: these fields, and what all learners share."""

    def make(steps: int, **tuned: Any) -> Any:
        own = {"reward_scaler": reward_scaler(), **fields, **tuned}
        return kind(**{**shared_settings(steps, *parts), **own})

    return make


def constraint_aware_q(**fields: Any) -> Callable[..., Any]:
    """``make`` of ``ConstraintAwareQ`` with these fields."""
    return configured(ConstraintAwareQConfig, "critic", "actor", **fields)


def fit_quietly(
    model: Any,
    dataset: Any,
    steps: int | Literal["auto"],
    monitor: Callable[..., None] | None = None,
    epochs: int = 5,
    callback: Callable[..., None] | None = None,
) -> None:
    """Trains without output or logs; the monitor is called after each epoch."""
    length = {} if steps == "auto" else {"n_steps_per_epoch": max(1, steps // epochs)}
    with contextlib.redirect_stdout(None):
        model.fit(
            dataset,
            n_steps=steps,
            **length,
            show_progress=False,
            logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
            epoch_callback=monitor,
            callback=callback,
        )


def trained(
    config: Any,
    dataset: Any,
    seed: int,
    steps: int | Literal["auto"],
    epochs: int = 5,
) -> Any:
    d3rlpy.seed(seed)
    algo = config.create(device="cpu:0")
    fit_quietly(algo, dataset, steps, epochs=epochs)
    return algo
