"""Greedy actions and values of every critic and shape after a short seeded training.

``critics.json`` was recorded before a critic became a field of its own.  Three entries
are of a later day: several critics of ``MonotoneConcave`` with a known cost, whose
targets now break ties as ``predict`` does; quantiles of afterstates, whose networks are
no longer drawn after one that was thrown away; and IQL's two convex critics, which once
raised.  Of a later day still are the functional and canonical critics of shapes with
bounds, and of ``StateLipschitz``: what they learn is measured in the spread of rewards,
and no longer in the width of a bound.
"""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Callable
from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch
from d3rlpy.algos import DiscreteCQLConfig, DQNConfig
from d3rlpy.models import VectorEncoderFactory
from d3rlpy.preprocessing import StandardRewardScaler

import bidclick_gym
from bidclick_gym.logs.datasets import to_replay_buffer
from icac_algo import (
    Afterstates,
    Bounded,
    Canonical,
    Concave,
    ConstraintAwareQConfig,
    Convex,
    DiscreteIQLConfig,
    Euclidean,
    Functional,
    Intersection,
    KnownCost,
    Monotone,
    MonotoneConcave,
    ShapedIQLConfig,
    ShapedQFunctionFactory,
    SlopeBounds,
    StateLipschitz,
    StateMonotone,
    Unconstrained,
)

pytestmark = pytest.mark.slow

RECORDED = json.loads(pathlib.Path(__file__).with_name("critics.json").read_text())
STEPS = 150
#: Of the larger of 1 and the largest value: other machines round otherwise.
TOLERANCE = 2e-6

SHAPES: dict[str, Any] = {
    "Unconstrained": Unconstrained(),
    "Monotone": Monotone(),
    "MonotoneFalling": Monotone(increasing=False),
    "Concave": Concave(),
    "Convex": Convex(),
    "MonotoneConcave": MonotoneConcave(),
    "MonotoneConcave+cost": MonotoneConcave(known_cost=KnownCost(feature=1)),
    "SlopeBounds": SlopeBounds(-0.4, 1.0),
    "Bounded": Bounded(0.0, 1.0),
    "Intersection": Intersection([MonotoneConcave(), SlopeBounds(0.0, 1.0)]),
}
CRITICS = {
    "functional": Functional(),
    "canonical": Canonical(),
    "euclidean": Euclidean(),
}
SWITCHES: dict[str, dict[str, Any]] = {
    "literal": {
        "inner_anchor": "target",
        "implicit_gradient": False,
        "warm_start": False,
        "pull": 0.0,
    },
    "unit": {"inner_step": "unit", "pull": 0.0, "multiplier": 0.01},
    "fixed": {
        "multiplier_learning_rate": 0.0,
        "multiplier": 10.0,
        "inner_iterations": 5,
    },
}
BUDGET = Afterstates(known_cost=KnownCost(1), spend=0.25, tick=1 / 50)


def _encoders(*parts: str) -> dict[str, Any]:
    encoder = VectorEncoderFactory([16, 16])
    return {"batch_size": 64, **{f"{part}encoder_factory": encoder for part in parts}}


def ours(**fields: Any) -> Any:
    return ConstraintAwareQConfig(**_encoders("critic_"), **fields)


def plugged(make: Any, factory: Any, **fields: Any) -> Any:
    return make(q_func_factory=factory, **_encoders(""), **fields)


def iql(make: Any, **fields: Any) -> Any:
    return make(**_encoders("actor_", "critic_", "value_"), **fields)


def _makers() -> dict[str, tuple[str, Callable[[], Any]]]:
    """Name to the data that an entry learns from and what makes its config."""
    shaped, make = ShapedQFunctionFactory, functools.partial
    made: dict[str, tuple[str, Callable[[], Any]]] = {}
    for name, shape in SHAPES.items():
        for kind, critic in CRITICS.items():
            for data in ("bandit", "campaign"):
                made[f"caq/{name}/{kind}/{data}"] = (
                    data,
                    make(ours, constraint=shape, critic=critic),
                )
            made[f"cql/{name}/{kind}"] = (
                "bandit",
                lambda s=shape, c=critic: plugged(DiscreteCQLConfig, shaped(s, c)),
            )
            made[f"cql-qr/{name}/{kind}"] = (
                "bandit",
                lambda s=shape, c=critic: plugged(
                    DiscreteCQLConfig, shaped(s, c, n_quantiles=8)
                ),
            )
        up_down = [StateMonotone([0]), StateMonotone([1], increasing=False)]
        scaler = StandardRewardScaler()
        for kind, data, fields in (
            ("caq-continuous", "continuous", {}),
            ("caq-ensemble", "campaign", {"n_critics": 3}),
            ("caq-states", "campaign", {"state_constraints": up_down}),
            ("caq-lipschitz", "campaign", {"state_constraints": [StateLipschitz(2.0)]}),
            ("caq-scaled", "bandit", {"reward_scaler": scaler}),
        ):
            made[f"{kind}/{name}"] = data, make(ours, constraint=shape, **fields)
        made[f"iql/{name}"] = (
            "continuous",
            lambda s=shape: iql(ShapedIQLConfig, q_func_factory=shaped(s)),
        )
    for name, switches in SWITCHES.items():
        made[f"caq/Monotone/euclidean-{name}/bandit"] = (
            "bandit",
            make(ours, constraint=Monotone(), critic=Euclidean(**switches)),
        )
    spectral = Functional(spectral_norm=True)
    budget = make(shaped, MonotoneConcave(), BUDGET)
    return {
        **made,
        "caq/Concave/spectral": ("bandit", make(ours, critic=spectral)),
        "caq/Concave/last": ("bandit", make(ours, average_window=0.0)),
        "diql": ("bandit", make(iql, DiscreteIQLConfig)),
        "diql/Concave": (
            "bandit",
            make(iql, DiscreteIQLConfig, q_func_factory=shaped(Concave())),
        ),
        "caq/afterstates": (
            "budget",
            make(ours, constraint=MonotoneConcave(), critic=BUDGET, gamma=0.999),
        ),
        "dqn/afterstates": (
            "budget",
            make(plugged, DQNConfig, budget(), gamma=0.999),
        ),
        "dqn/afterstates-qr": (
            "budget",
            make(plugged, DQNConfig, budget(n_quantiles=8), gamma=0.999),
        ),
    }


MAKERS = _makers()


@functools.cache
def dataset(name: str) -> Any:
    if name == "budget":
        return bidclick_gym.get_dataset("bidclick/budget-logged-v0", show_progress=False)[
            0
        ]
    log = bidclick_gym.simulate_log(
        bidclick_gym.Auction(), campaigns=10, horizon=500, seed=0
    )
    return to_replay_buffer(
        log, as_bandit=name != "campaign", continuous=name == "continuous"
    )


def observations(name: str) -> Any:
    if name == "budget":
        x, rest = np.linspace(0.0, 1.0, 4), np.linspace(0.0, 1.0, 8)
        columns = [
            np.tile(x, 8),
            np.tile(np.linspace(0.2, 0.4, 4), 8),
            np.repeat(rest, 4),
            np.repeat(np.linspace(0.1, 1.0, 8), 4),
        ]
    else:
        grid = np.meshgrid(np.linspace(0, 1, 6), np.linspace(0.2, 0.4, 5), indexing="ij")
        columns = [axis.reshape(-1) for axis in grid]
    return np.stack(columns, axis=1).astype(np.float32)[RECORDED["rows"]]


def answers(name: str) -> dict[str, Any]:
    data, make = MAKERS[name]
    torch.set_num_threads(1)
    try:
        d3rlpy.seed(0)
        algo = make().create(device="cpu:0")
        d3rlpy.seed(0)
        algo.fit(
            dataset(data),
            n_steps=STEPS,
            n_steps_per_epoch=STEPS,
            show_progress=False,
            logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        )
    except ValueError as error:
        return {"error": type(error).__name__}
    x, continuous = observations(data), data == "continuous"
    actions = [np.full((len(x), 1), bid, np.float32) for bid in np.linspace(0, 1, 5)]
    if not continuous:
        actions = [np.full(len(x), action) for action in range(5)]
    values = np.stack([algo.predict_value(x, each) for each in actions], axis=1)
    return {
        "actions": algo.predict(x).reshape(-1).tolist(),
        "values": values.astype(float).round(6).tolist(),
    }


@pytest.mark.parametrize("name", MAKERS)
def test_critics_learn_what_they_learned(name: str) -> None:
    found, expected = answers(name), RECORDED["entries"][name]
    assert found.get("error") == expected.get("error")
    if "error" in expected:
        return
    values = np.array(expected["values"])
    tolerance = TOLERANCE * max(1.0, np.abs(values).max())
    assert np.array(found["values"]) == pytest.approx(values, abs=tolerance)
    if MAKERS[name][0] == "continuous":
        # Of a flat top golden section finds some point.
        assert found["actions"] == pytest.approx(expected["actions"], abs=1e-3)
    else:
        assert found["actions"] == expected["actions"]


def test_every_entry_is_run() -> None:
    assert set(MAKERS) == set(RECORDED["entries"])
