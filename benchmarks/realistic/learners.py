"""Who competes on logs with a known truth: ours, d3rlpy's, trees and linear models."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from d3rlpy.algos import DiscreteCQLConfig, IQLConfig
from d3rlpy.optimizers import AdamWFactory, GPTAdamWFactory
from d3rlpy.optimizers.lr_schedulers import CosineAnnealingLRFactory
from d3rlpy.preprocessing import MinMaxActionScaler, StandardObservationScaler

from icac_algo import (
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    Convex,
    Intersection,
    Monotone,
    MonotoneConcave,
    Outcome,
    Unconstrained,
)

from ..engine.pictures import BASELINE, OURS
from ..learners.learner import (
    BATCH_SIZE,
    LEARNING_RATE,
    configured,
    hidden_layers,
    trained,
)
from .sklearn_rivals import (
    LINES,
    QUADRATIC,
    TREES,
    Fit,
    best_within,
    of_outcomes,
    of_reward,
    on_axis,
)
from .worlds import Array, Log, Part, Problem, World

#: From contexts ``(N, F)`` to actions ``(N,)``.
Policy = Callable[[Array], Array]


def steps_for(rows: int) -> int:
    """Gradient steps of every network: 2,000 for 4,000 rows, 9,600 for 200,000."""
    return 100 * round(20.0 * (rows / 4000.0) ** 0.4)


def decay_for(rows: int) -> float:
    """Weight decay of every network: much for few rows."""
    return 3.0 * min(1.0, (4000.0 / rows) ** 0.7)


@dataclasses.dataclass(frozen=True)
class Competitor:
    """One row of the table; ``fit`` gives policies by what the row is called."""

    name: str
    kind: str  # "ours", "trees", "linear", "offline RL", or "profit" of our own critics
    fit: Callable[[Any, Log, int], Mapping[str, Policy]]

    @property
    def colour(self) -> str:
        return OURS if self.kind == "ours" else BASELINE


def from_model(name: str, fit: Fit) -> Callable[..., Mapping[str, Policy]]:
    def policies(world: Problem, log: Log, seed: int) -> Mapping[str, Policy]:
        model = fit(world, log, seed)
        ends = float(log.actions.min()), float(log.actions.max())
        found: dict[str, Policy] = {
            name: lambda contexts: best_within(world, model, contexts, *ends)
        }
        if covers_less(world, log):
            found[f"{name}, any action"] = lambda contexts: best_within(
                world, model, contexts, -np.inf, np.inf
            )
        return found

    return policies


def covers_less(world: Problem, log: Log) -> bool:
    """Whether whole actions of the list were never taken."""
    return world.actions is not None and len(np.unique(log.actions)) < len(world.actions)


# -- networks ----------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Training:
    """A network to be trained: what it learns from, and how it acts afterwards."""

    config: Any  # d3rlpy's
    dataset: Any  # a replay buffer
    steps: int  # gradient steps
    policy: Callable[[Any], Policy]  # of the trained algorithm

    def run(self, seed: int) -> Any:
        return trained(self.config, self.dataset, seed, self.steps, epochs=1)


def _scaler(log: Log) -> StandardObservationScaler:
    """Centres numbers and leaves 0/1 columns: a rare category is no large number."""
    x = log.observations
    is_flag = ((x == 0.0) | (x == 1.0)).all(axis=0)
    return StandardObservationScaler(
        mean=np.where(is_flag, 0.0, x.mean(axis=0)),
        std=np.where(is_flag, 1.0, x.std(axis=0)),
        eps=0.0,
    )


def _dataset(log: Log, actions: Array, **options: Any) -> ColumnarReplayBuffer:
    return ColumnarReplayBuffer.from_arrays(
        log.observations.astype(np.float32),
        actions,
        log.rewards,
        extras=dict(log.outcomes),
        **options,
    )


def _indices(log: Log, actions: Array) -> Array:
    return np.abs(log.actions[:, None] - actions).argmin(axis=1)


def _shape(part: Part, where: Mapping[str, Any]) -> Any:
    if part.bends < 0 and not part.rises:
        return Concave(**where)
    if part.bends:
        rising = Monotone(), Convex()
        return (
            MonotoneConcave(**where) if part.bends < 0 else Intersection(rising, **where)
        )
    return Monotone(increasing=part.rises > 0, **where)


def outcomes_of(world: Problem) -> list[Outcome]:
    """What a user of the world would write."""
    where = {} if world.actions is None else {"actions": world.actions.tolist()}
    found = []
    for part in world.parts:
        known: dict[str, Any] = {"depends_on_action": False}
        if part.rises or part.bends:
            known = {"shape": _shape(part, where)}
        weight = str(part.weight)
        found.append(
            Outcome(part.column, link=part.link, weight=weight, given=part.given, **known)
        )
    return found


def dataset_of(world: Problem, log: Log) -> ColumnarReplayBuffer:
    """What ours learns from: doses as floats, listed actions as their places."""
    if world.actions is None:
        return _dataset(log, log.actions[:, None].astype(np.float32))
    size = len(world.actions)
    return _dataset(log, _indices(log, world.actions), action_size=size)


def policy_of(world: Problem, algo: Any) -> Policy:
    def act(contexts: Array) -> Array:
        actions = algo.predict(contexts.astype(np.float32)).reshape(len(contexts))
        if world.actions is None:
            return np.asarray(actions, dtype=np.float64)
        return np.asarray(world.actions[actions])

    return act


def told(
    world: Problem, log: Log, as_outcomes: bool
) -> tuple[ConstraintAwareQConfig, ColumnarReplayBuffer]:
    """Our defaults and what is known: the parts, or that their sum is concave."""
    prior: dict[str, Any] = {"constraint": Concave()}
    if as_outcomes:
        prior = {"outcomes": outcomes_of(world)}
    return ConstraintAwareQConfig(gamma=0.0, **prior), dataset_of(world, log)


def ours_of(world: Problem, log: Log, shape: Any = None) -> Training:
    """``ConstraintAwareQ`` of the world's outcomes, or of a shape of profit."""
    where = {} if world.actions is None else {"actions": world.actions.tolist()}
    prior = (
        {"outcomes": outcomes_of(world)}
        if shape is None
        else {"constraint": shape(**where)}
    )
    config = ConstraintAwareQConfig(
        **prior,
        gamma=0.0,
        batch_size=BATCH_SIZE,
        critic_learning_rate=LEARNING_RATE,
        critic_encoder_factory=hidden_layers(),
        actor_encoder_factory=hidden_layers(),
        # Outcomes have the default, which is the same from 4,000 rows on.
        weight_decay=None if shape is None else decay_for(len(log)),
        observation_scaler=_scaler(log),
    )
    dataset, policy = dataset_of(world, log), functools.partial(policy_of, world)
    return Training(config, dataset, steps_for(len(log)), policy)


def _ours(shape: Any = None) -> Callable[..., Mapping[str, Policy]]:
    def policies(world: World, log: Log, seed: int) -> Mapping[str, Policy]:
        algo = ours_of(world, log, shape).run(seed)
        name = "ours" if shape is None else f"{shape.__name__} profit"
        found: dict[str, Policy] = {name: policy_of(world, algo)}
        if shape is None and covers_less(world, log):

            def anywhere(contexts: Array) -> Array:
                x, size = contexts.astype(np.float32), len(world.candidates)
                values = [
                    algo.predict_value(x, np.full(len(x), one)) for one in range(size)
                ]
                return np.asarray(world.candidates[np.argmax(values, axis=0)])

            found[f"{name}, any action"] = anywhere
        return found

    return policies


def _decaying(kind: Any, log: Log, decay: float) -> Any:
    """An optimizer with a share of the decay of all, along a cosine."""
    schedule = CosineAnnealingLRFactory(T_max=steps_for(len(log)))
    rate = decay * decay_for(len(log))
    return kind(weight_decay=rate, lr_scheduler_factory=schedule)


def listed_of(
    world: Problem, log: Log, decay: float, kind: Any = DiscreteCQLConfig, **fields: Any
) -> Training:
    """An algorithm of d3rlpy's that takes a list of actions."""
    actions = world.actions
    if actions is None:
        actions = np.linspace(0.0, 1.0, world.levels)
    steps = steps_for(len(log))
    make = configured(kind, gamma=0.0, observation_scaler=_scaler(log), **fields)
    config = make(steps, optim_factory=_decaying(GPTAdamWFactory, log, decay))
    dataset = _dataset(log, _indices(log, actions), action_size=len(actions))
    low, high = log.actions.min(), log.actions.max()

    def act(algo: Any, contexts: Array) -> Array:
        chosen = actions[algo.predict(contexts.astype(np.float32))]
        return np.asarray(chosen.clip(low, high))

    policy = functools.partial(functools.partial, act)
    return Training(config, dataset, steps, policy)


def cql_of(world: Problem, log: Log, setting: float, decay: float) -> Training:
    return listed_of(world, log, decay, alpha=setting)


def iql_of(world: Problem, log: Log, setting: float, decay: float) -> Training:
    steps = steps_for(len(log))
    config = configured(
        *(IQLConfig, "actor", "critic"),
        value_encoder_factory=hidden_layers(),
        gamma=0.0,
        weight_temp=setting,
        expectile=0.7,
        observation_scaler=_scaler(log),
        action_scaler=MinMaxActionScaler(minimum=[-1.0], maximum=[1.0]),
    )(
        steps,
        actor_optim_factory=_decaying(AdamWFactory, log, decay),
        critic_optim_factory=_decaying(AdamWFactory, log, decay),
    )
    places = on_axis(world, log.actions)
    dataset = _dataset(log, places[:, None].astype(np.float32))

    def act(algo: Any, contexts: Array) -> Array:
        place = algo.predict(contexts.astype(np.float32)).reshape(-1)
        place = place.clip(places.min(), places.max())
        if world.actions is None:
            return np.asarray(place * 0.5 + 0.5, dtype=np.float64)
        axis = on_axis(world, world.actions)
        return np.asarray(world.actions[np.abs(place[:, None] - axis).argmin(axis=1)])

    policy = functools.partial(functools.partial, act)
    return Training(config, dataset, steps, policy)


def variants(
    title: str, make: Callable[..., Training], *settings: tuple[float, float]
) -> Iterator[Competitor]:
    """One row for each: reports compare with the best of them."""

    def fit(
        name: str, given: tuple[float, float], world: Problem, log: Log, seed: int
    ) -> Mapping[str, Policy]:
        training = make(world, log, *given)
        return {name: training.policy(training.run(seed))}

    for setting, decay in settings:
        name = f"{title} {setting:g}, decay {decay:g}"
        of = functools.partial(fit, name, (setting, decay))
        yield Competitor(name, "offline RL", of)


COMPETITORS: dict[str, Competitor] = {
    one.name: one
    for one in (
        Competitor("ours", "ours", _ours()),
        *(
            Competitor(name, kind, from_model(name, fit))
            for name, kind, fit in (
                ("trees on outcomes", "trees", of_outcomes(TREES)),
                ("trees on the reward", "trees", of_reward(TREES)),
                ("linear on outcomes", "linear", of_outcomes(LINES)),
                ("quadratic on the reward", "linear", of_reward(QUADRATIC)),
            )
        ),
        # Alpha and temperature, and the weight decay as a share of that of ours.
        *variants("CQL", cql_of, (0.01, 1.0), (0.01, 0.1), (0.3, 1.0)),
        *variants("IQL", iql_of, (10.0, 1.0), (100.0, 1.0), (100.0, 0.1)),
        Competitor("Concave profit", "profit", _ours(Concave)),
        Competitor("Unconstrained profit", "profit", _ours(Unconstrained)),
    )
}
