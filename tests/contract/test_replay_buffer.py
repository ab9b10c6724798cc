"""Our buffer under d3rlpy's algorithms: the very training of the stock buffer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch
from d3rlpy import algos
from d3rlpy.dataset import InfiniteBuffer, MultiStepTransitionPicker, ReplayBuffer
from d3rlpy.models import VectorEncoderFactory

from icac_algo import (
    ColumnarReplayBuffer,
    ConstraintAwareQConfig,
    DiscreteIQLConfig,
)

DISCRETE = {
    "DQN": algos.DQNConfig,
    "DoubleDQN": algos.DoubleDQNConfig,
    "DiscreteCQL": algos.DiscreteCQLConfig,
    "DiscreteBC": algos.DiscreteBCConfig,
    "DiscreteBCQ": algos.DiscreteBCQConfig,
    "DiscreteSAC": algos.DiscreteSACConfig,
    "ours": ConstraintAwareQConfig,
    "DiscreteIQL": DiscreteIQLConfig,
}
CONTINUOUS = {
    "CQL": algos.CQLConfig,
    "IQL": algos.IQLConfig,
    "TD3PlusBC": algos.TD3PlusBCConfig,
    "ReBRAC": algos.ReBRACConfig,  # reads next actions
    "CalQL": algos.CalQLConfig,  # reads returns to go
}
ENCODERS = (
    *("encoder_factory", "actor_encoder_factory"),
    *("critic_encoder_factory", "value_encoder_factory"),
    "imitator_encoder_factory",
)


def config(name: str) -> Any:
    make = {**DISCRETE, **CONTINUOUS}[name]
    small = VectorEncoderFactory([8])
    encoders = {key: small for key in ENCODERS if key in make.__dataclass_fields__}
    return make(batch_size=16, **encoders)


def continuous(stock: ReplayBuffer) -> ReplayBuffer:
    rng = np.random.default_rng(0)
    episodes = [
        d3rlpy.dataset.Episode(
            e.observations,
            rng.uniform(-1, 1, (e.size(), 2)).astype(np.float32),
            e.rewards,
            e.terminated,
        )
        for e in stock.episodes
    ]
    return ReplayBuffer(InfiniteBuffer(), episodes=episodes)


def trained(name: str, dataset: Any) -> list[torch.Tensor]:
    d3rlpy.seed(0)
    algo = config(name).create()
    algo.fit(
        dataset,
        n_steps=5,
        n_steps_per_epoch=5,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    modules = algo.impl.modules.get_torch_modules()
    return [p for m in modules.values() for p in m.parameters()]


@pytest.mark.parametrize("name", [*DISCRETE, *CONTINUOUS])
def test_trains_as_on_the_stock_buffer(
    name: str, make_dataset: Callable[..., ReplayBuffer]
) -> None:
    stock = make_dataset()
    if name in CONTINUOUS:
        stock = continuous(stock)
    expected = trained(name, stock)
    found = trained(name, ColumnarReplayBuffer.from_replay_buffer(stock))
    assert len(expected) == len(found) > 0
    for a, b in zip(expected, found, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", ["pixel", "tuple"])
def test_pictures_and_tuples(
    kind: str,
    make_dataset: Callable[..., ReplayBuffer],
    make_config: Callable[..., Any],
    fit_quietly: Callable[..., Any],
) -> None:
    stock = make_dataset(kind)
    fast = ColumnarReplayBuffer.from_replay_buffer(stock)
    one, two = (fit_quietly(make_config("shaped-dqn", kind), d, 5) for d in (stock, fast))
    for a, b in zip(
        one.impl.q_function.parameters(), two.impl.q_function.parameters(), strict=True
    ):
        assert torch.equal(a, b)


def test_multi_step_targets(make_dataset: Callable[..., ReplayBuffer]) -> None:
    stock = make_dataset()
    stock = ReplayBuffer(
        InfiniteBuffer(),
        transition_picker=MultiStepTransitionPicker(3, 0.99),
        episodes=list(stock.episodes),
    )
    fast = ColumnarReplayBuffer.from_replay_buffer(stock)
    for a, b in zip(trained("DQN", stock), trained("DQN", fast), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
