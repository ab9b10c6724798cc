"""Critics stacked into one network say and learn what each of them would alone."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch
from d3rlpy.models import VectorEncoderFactory

from icac_algo import (
    Canonical,
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    Euclidean,
    Functional,
)
from icac_algo.critics import Trunk, make_function
from icac_algo.critics import trunk as trunk_of
from icac_algo.shapes import KnownCost, as_shape

N, K = 600, 5


def log(continuous: bool = False) -> ColumnarReplayBuffer:
    rng = np.random.default_rng(0)
    actions = rng.random((N, 1)) if continuous else rng.integers(K, size=(N, 1))
    x = rng.random((N, 2)).astype(np.float32)
    click = (rng.random(N) < 0.5).astype(np.float64)
    ends = np.arange(N) % 3 == 2
    return ColumnarReplayBuffer.from_arrays(
        observations=x,
        actions=actions,
        rewards=click,
        terminals=ends,
        extras={"click": click},
        seed=0,
    )


CASES = {
    "functional": ({"constraint": "monotone+concave"}, False),
    "bounded": ({"constraint": "slope_bounds:lower=-1,upper=1"}, False),
    "a known cost": ({"constraint": Concave(known_cost=KnownCost(1))}, False),
    "canonical": ({"constraint": "concave", "critic": Canonical()}, False),
    "decay": ({"constraint": "concave", "weight_decay": 1.0}, False),
    "continuous": ({"constraint": "concave", "actor": "network"}, True),
    "outcomes": ({"outcomes": ["click: monotone; link=logit"]}, False),
    "any number": ({"outcomes": ["click: monotone; link=logit"]}, True),
}


def fitted(case: str, stacked: bool, n_critics: int = 3, steps: int = 20) -> Any:
    fields, continuous = CASES[case]
    d3rlpy.seed(0)
    algo = ConstraintAwareQConfig(
        n_critics=n_critics,
        batch_size=32,
        critic_encoder_factory=VectorEncoderFactory([8, 8]),
        gamma=0.9,
        **fields,
    ).create()
    data = log(continuous)
    algo.build_with_dataset(data)
    if not stacked:
        algo.impl._trunk = algo.impl._target_trunk = None
    algo.fit(
        data,
        n_steps=steps,
        n_steps_per_epoch=steps,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    return algo


def weights(algo: Any) -> torch.Tensor:
    modules = algo.impl.modules
    return torch.cat(
        [
            p.detach().reshape(-1)
            for copies in (modules.q_funcs, modules.targ_q_funcs, modules.average_q_funcs)
            for p in copies.parameters()
        ]
    )


@pytest.mark.parametrize("n_critics", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_stacked_they_learn_what_each_would_alone(case: str, n_critics: int) -> None:
    both = [fitted(case, stacked, n_critics) for stacked in (True, False)]
    assert both[0].impl._trunk is not None
    torch.testing.assert_close(*map(weights, both), rtol=1e-3, atol=1e-5)
    # Adam does not see by how much a loss is multiplied.
    batch = log(CASES[case][1]).sample_transition_batch(32)
    losses = [algo.update(batch) for algo in both]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


@pytest.mark.parametrize("large", [0, 2**23])
def test_coordinates_are_those_of_each(
    large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Large matrices are multiplied one at a time.
    monkeypatch.setattr(trunk_of, "_LARGE", large)
    algo = fitted("functional", stacked=True)
    q_funcs, x = algo.impl.modules.q_funcs, torch.rand(7, 2)
    trunk = Trunk.of(q_funcs)
    assert trunk is not None
    each = torch.cat([q_func.coordinates(x) for q_func in q_funcs])
    torch.testing.assert_close(trunk.coordinates(x), each)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))]
)
def test_a_copy_learns_with_parameters_of_its_own(copied: Any) -> None:
    modules = fitted("functional", stacked=True).impl.modules.q_funcs
    trunk = Trunk.of(modules)
    assert trunk is not None
    for p in modules.parameters():
        p.grad = None
    x = torch.rand(7, 2)
    trunk.coordinates(x)
    other_modules, other = copied((modules, trunk))
    with torch.no_grad():
        for p in other_modules.parameters():
            p.add_(0.1)
    each = torch.cat([q_func.coordinates(x) for q_func in other_modules])
    found = other.coordinates(x)
    torch.testing.assert_close(found, each)
    found.sum().backward()
    other.collect_gradients()
    assert all(p.grad is not None for p in other_modules.parameters())
    assert all(p.grad is None for p in modules.parameters())
    assert not torch.allclose(found, trunk.coordinates(x))


def test_a_loaded_model_goes_on_from_what_was_loaded(tmp_path: Any) -> None:
    first, second = (fitted("functional", stacked=True, steps=n) for n in (20, 5))
    first.save_model(tmp_path / "model.pt")
    second.load_model(tmp_path / "model.pt")
    batch = log().sample_transition_batch(32)
    for algo in (first, second):
        algo.update(batch)
    torch.testing.assert_close(weights(first), weights(second), rtol=0.0, atol=0.0)


@pytest.mark.parametrize(
    ("fields", "encoder"),
    [
        ({}, VectorEncoderFactory([8], dropout_rate=0.1)),
        ({}, VectorEncoderFactory([8], use_layer_norm=True)),
        ({"share_encoder": True}, VectorEncoderFactory([8])),
        ({"critic": Functional(spectral_norm=True)}, VectorEncoderFactory([8])),
    ],
)
def test_other_networks_are_called_one_by_one(fields: Any, encoder: Any) -> None:
    algo = ConstraintAwareQConfig(
        n_critics=2, critic_encoder_factory=encoder, batch_size=8, **fields
    ).create()
    algo.build_with_dataset(log())
    assert algo.impl._trunk is None
    assert algo.update(log().sample_transition_batch(8))["critic_loss"] > 0.0


def test_a_proximal_layer_sees_each_critic() -> None:
    algo = ConstraintAwareQConfig(n_critics=2, critic=Euclidean(), batch_size=8).create()
    algo.build_with_dataset(log())
    assert algo.update(log().sample_transition_batch(8))["critic_loss"] > 0.0


@pytest.mark.parametrize("straightness", [0.0, 5.0])
@pytest.mark.parametrize("shape", ["monotone", "concave", "monotone+concave", "convex"])
def test_the_gradient_of_pieces_at_one_action_is_that_of_all(
    shape: str, straightness: float
) -> None:
    positions = torch.linspace(0.0, 2.0, K, dtype=torch.float64)
    function = make_function(as_shape(shape), positions, straightness=straightness)
    function = function.double()
    coordinates = torch.randn(7, function.n_coordinates, dtype=torch.float64)
    index = torch.randint(K, (7, 1))
    found = []
    for at_one in (True, False):
        c = coordinates.clone().requires_grad_()
        every = function(c) if not at_one else None
        values = (
            function.at_index(c, index, None) if every is None else every.gather(1, index)
        )
        values.square().sum().backward()
        assert c.grad is not None
        found.append((values.detach(), c.grad))
    torch.testing.assert_close(found[0], found[1])
    c = coordinates.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda c: function.at_index(c, index, None), (c,))
