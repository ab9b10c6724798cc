"""What the contracts run over: algorithms by name, and small datasets of every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch
from d3rlpy.algos import DiscreteCQLConfig, DQNConfig
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import Episode, InfiniteBuffer, ReplayBuffer, Signature
from d3rlpy.models import PixelEncoderFactory, VectorEncoderFactory
from d3rlpy.models.encoders import EncoderFactory, register_encoder_factory
from torch import nn

from icac_algo import (
    Canonical,
    Concave,
    ConstraintAwareQConfig,
    DiscreteIQLConfig,
    Euclidean,
    Functional,
    KnownCost,
    Monotone,
    MonotoneConcave,
    ShapedQFunctionFactory,
    Unconstrained,
)

ACTIONS = 5
SHAPES: dict[str, Any] = {"vector": (3,), "pixel": (1, 16, 16), "tuple": ((3,), (2,))}


class _TupleEncoder(nn.Module):
    """Concatenates the parts of a tuple observation."""

    def __init__(self, sizes: list[int]):
        super().__init__()
        self._fc = nn.Linear(sum(sizes), 16)

    def forward(self, x: Any) -> torch.Tensor:
        return torch.relu(self._fc(torch.cat(list(x), dim=1)))


class _TupleEncoderFactory(EncoderFactory):
    def create(self, observation_shape: Any) -> Any:
        return _TupleEncoder([shape[0] for shape in observation_shape])

    @staticmethod
    def get_type() -> str:
        return "contract_tuple"


register_encoder_factory(_TupleEncoderFactory)


def encoder_for(kind: str) -> Any:
    if kind == "pixel":
        return PixelEncoderFactory(filters=[[4, 4, 2]], feature_size=16)
    return _TupleEncoderFactory() if kind == "tuple" else VectorEncoderFactory([16, 16])


def _ours(**fields: Any) -> Callable[[str], Any]:
    def make(kind: str) -> Any:
        factories = {
            f"{p}_encoder_factory": encoder_for(kind) for p in ("actor", "critic")
        }
        return ConstraintAwareQConfig(batch_size=32, **factories, **fields)

    return make


def _discrete_iql(kind: str) -> Any:
    factories = {f"{p}_encoder_factory": encoder_for(kind) for p in ("actor", "critic")}
    return DiscreteIQLConfig(
        batch_size=32, value_encoder_factory=encoder_for(kind), **factories
    )


def _shaped(config: type, **fields: Any) -> Callable[[str], Any]:
    def make(kind: str) -> Any:
        return config(
            batch_size=32,
            encoder_factory=encoder_for(kind),
            q_func_factory=ShapedQFunctionFactory(**fields),
        )

    return make


COST = KnownCost(feature=1, coefficient=0.5)
UNEVEN = [0.0, 0.1, 0.5, 0.6, 2.0]

MAKERS: dict[str, Callable[[str], Any]] = {
    "functional": _ours(constraint=Concave()),
    "functional-cost": _ours(constraint=MonotoneConcave(known_cost=COST, actions=UNEVEN)),
    "functional-falling": _ours(constraint=Monotone(increasing=False)),
    "canonical": _ours(constraint=MonotoneConcave(), critic=Canonical()),
    "canonical-uneven": _ours(constraint=Concave(actions=UNEVEN), critic=Canonical()),
    "functional-curvature": _ours(
        constraint=Concave(curvature=(-0.5, -0.1), actions=UNEVEN)
    ),
    "canonical-curvature": _ours(
        constraint=MonotoneConcave(curvature=(-0.5, 0.0)), critic=Canonical()
    ),
    "euclidean": _ours(constraint=Monotone(), critic=Euclidean()),
    "euclidean-concave": _ours(
        constraint=Concave(), critic=Euclidean(inner_iterations=3, pull=0.0)
    ),
    "euclidean-literal": _ours(
        constraint=Monotone(known_cost=COST),
        critic=Euclidean(
            inner_anchor="target", implicit_gradient=False, warm_start=False
        ),
        actor="network-sampled",
    ),
    "spectral-norm": _ours(constraint=Concave(), critic=Functional(spectral_norm=True)),
    "ensemble": _ours(constraint=Monotone(), n_critics=3),
    "shared-encoder": _ours(n_critics=2, share_encoder=True),
    "actor-greedy": _ours(
        constraint=Concave(), actor="network", greedy="actor", average_window=0.0
    ),
    "greedy-for-the-softmax": _ours(constraint=Concave(), greedy="actor"),
    "unconstrained": _ours(constraint=Unconstrained()),
    "discrete-iql": _discrete_iql,
    "shaped-dqn": _shaped(DQNConfig, constraint=Monotone()),
    "shaped-cql": _shaped(DiscreteCQLConfig, constraint=Concave(), critic=Canonical()),
}
NEEDS_VECTORS = {"functional-cost", "euclidean-literal"}


@pytest.fixture(params=sorted(MAKERS))
def name(request: pytest.FixtureRequest) -> str:
    """An algorithm variant."""
    return str(request.param)


@pytest.fixture(scope="session")
def make_config() -> Callable[..., Any]:
    """Name and observation kind to a config."""
    return lambda name, kind="vector": MAKERS[name](kind)


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., ReplayBuffer]:
    """Observation kind to a small replay buffer of campaigns, some of them cut off."""
    return _dataset


def _dataset(
    kind: str = "vector", seed: int = 0, reward_size: float = 1.0
) -> ReplayBuffer:
    rng = np.random.default_rng(seed)
    shape = SHAPES[kind]

    def observations(n: int) -> Any:
        if kind == "pixel":
            return rng.integers(0, 256, (n, *shape)).astype(np.uint8)
        if kind == "tuple":
            return [rng.random((n, *s)).astype(np.float32) for s in shape]
        return rng.random((n, *shape)).astype(np.float32)

    sample = observations(1)
    parts = sample if isinstance(sample, list) else [sample]
    buffer = ReplayBuffer(
        InfiniteBuffer(),
        observation_signature=Signature(
            [p.dtype for p in parts], [p.shape[1:] for p in parts]
        ),
        action_signature=Signature([np.dtype(np.int64)], [(1,)]),
        reward_signature=Signature([np.dtype(np.float32)], [(1,)]),
        action_space=ActionSpace.DISCRETE,
        action_size=ACTIONS,
    )
    for i in range(12):
        n = 10
        actions = rng.integers(0, ACTIONS, (n, 1))
        # Falls in the action and is convex: no shape fits it.
        rewards = reward_size * (rng.normal(size=(n, 1)) + (actions - 2.0) ** 2 - actions)
        buffer.append_episode(
            Episode(observations(n), actions, rewards.astype(np.float32), bool(i % 2))
        )
    return buffer


@pytest.fixture(scope="session")
def batch_of() -> Callable[..., Any]:
    """Observation kind and size to a batch of raw observations."""

    def batch(kind: str, n: int, seed: int = 1) -> Any:
        rng = np.random.default_rng(seed)
        shape = SHAPES[kind]
        if kind == "pixel":
            return rng.integers(0, 256, (n, *shape)).astype(np.uint8)
        if kind == "tuple":
            return [rng.random((n, *s)).astype(np.float32) for s in shape]
        return rng.random((n, *shape)).astype(np.float32)

    return batch


@pytest.fixture(scope="session")
def trained(
    make_config: Callable[..., Any], make_dataset: Callable[..., ReplayBuffer]
) -> Callable[..., Any]:
    """Name and observation kind to an algorithm after 30 updates; made once each."""
    made: dict[tuple[str, str], Any] = {}

    def get(name: str, kind: str = "vector") -> Any:
        if (name, kind) not in made:
            made[name, kind] = fit(make_config(name, kind), make_dataset(kind))
        return made[name, kind]

    return get


def fit(config: Any, dataset: ReplayBuffer, steps: int = 30, **arguments: Any) -> Any:
    d3rlpy.seed(0)
    algo = config.create(device="cpu:0")
    defaults: dict[str, Any] = {
        "n_steps_per_epoch": steps,
        "show_progress": False,
        "logger_adapter": d3rlpy.logging.NoopAdapterFactory(),
    }
    algo.fit(dataset, n_steps=steps, **{**defaults, **arguments})
    return algo


@pytest.fixture(scope="session")
def fit_quietly() -> Callable[..., Any]:
    """Config and dataset to an algorithm that was fitted without output."""
    return fit


@pytest.fixture(scope="session")
def needs_vectors() -> set[str]:
    """Variants whose shape reads an observation feature."""
    return NEEDS_VECTORS


@pytest.fixture(scope="session")
def n_actions() -> int:
    """Number of actions in every contract dataset."""
    return ACTIONS
