"""The actor: the closed form over discrete actions, and the network that learns it."""

from __future__ import annotations

import pathlib
from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch
from d3rlpy.models import VectorEncoderFactory

from icac_algo import (
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    Euclidean,
    Functional,
    Monotone,
)
from icac_algo.export import save_graph

K = 5
X = np.random.default_rng(1).random((200, 2)).astype(np.float32)


def dataset() -> ColumnarReplayBuffer:
    rng = np.random.default_rng(0)
    x, actions = rng.random((2_000, 2)).astype(np.float32), rng.integers(0, K, 2_000)
    best = 4.0 * x[:, 0]
    return ColumnarReplayBuffer.from_arrays(
        x,
        actions,
        -0.1 * (actions - best) ** 2 + 0.1 * rng.normal(size=2_000),
        terminals=np.ones(2_000, bool),
        action_size=K,
    )


def trained(steps: int = 60, **fields: Any) -> Any:
    encoder = VectorEncoderFactory([32, 32])
    config = ConstraintAwareQConfig(
        critic_encoder_factory=encoder,
        actor_encoder_factory=encoder,
        batch_size=64,
        **{"constraint": Concave(), **fields},
    )
    d3rlpy.seed(0)
    algo = config.create(device="cpu:0")
    algo.fit(
        dataset(),
        n_steps=steps,
        n_steps_per_epoch=max(1, steps),
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    return algo


def values_of(algo: Any) -> Any:
    columns = [algo.predict_value(X, np.full(len(X), action)) for action in range(K)]
    return np.stack(columns, axis=1).astype(np.float64)


def chances_of(algo: Any) -> Any:
    algo.impl.modules.set_eval()
    with torch.no_grad():
        return algo.impl.probabilities(torch.as_tensor(X)).double().numpy()


def softmax(scores: Any) -> Any:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def scale_of(algo: Any) -> float:
    return float(algo.impl.modules.q_funcs[0].scale)


@pytest.mark.parametrize("critic", [Functional(), Euclidean()], ids=repr)
@pytest.mark.parametrize("alpha", [1e-3, 0.3, 30.0])
def test_the_closed_form_is_the_softmax_of_what_is_shown(
    critic: Any, alpha: float
) -> None:
    algo = trained(critic=critic, entropy_temperature=alpha)
    expected = softmax(values_of(algo) / (alpha * scale_of(algo)))
    assert chances_of(algo) == pytest.approx(expected, abs=1e-4)


def test_it_maximises_value_and_entropy() -> None:
    algo = trained(entropy_temperature=0.3)
    q, best = values_of(algo) / scale_of(algo), chances_of(algo)

    def objective(chances: Any) -> Any:
        return (chances * (q - 0.3 * np.log(chances))).sum(axis=1)

    rng = np.random.default_rng(2)
    for _ in range(20):
        other = softmax(np.log(best) + 0.3 * rng.normal(size=best.shape))
        assert (objective(best) >= objective(other)).all()


def test_no_temperature_is_greedy_ties_included() -> None:
    algo = trained(steps=0, constraint=Monotone(), critic=Euclidean(),
                   entropy_temperature=0.0)  # fmt: skip
    for q_funcs in (algo.impl.modules.q_funcs, algo.impl.modules.average_q_funcs):
        with torch.no_grad():
            q_funcs[0]._fc.weight.zero_()
            q_funcs[0]._fc.bias.copy_(torch.arange(K, 0.0, -1.0))
    assert np.array_equal(chances_of(algo), np.eye(K)[algo.predict(X)])
    assert np.array_equal(algo.sample_action(X), algo.predict(X))
    assert (algo.predict(X) == K - 1).all()


@pytest.mark.parametrize("alpha", [5e-324, 1e-30])
def test_tiny_temperatures_stay_numbers(alpha: float) -> None:
    chances = chances_of(trained(entropy_temperature=alpha))
    assert np.array_equal(chances, np.eye(K)[chances.argmax(axis=1)])


def test_actions_are_drawn_with_these_chances() -> None:
    algo = trained(entropy_temperature=1.0)
    d3rlpy.seed(3)
    drawn = np.stack([algo.sample_action(X) for _ in range(300)])
    counts = np.stack([(drawn == action).mean(axis=0) for action in range(K)], axis=1)
    assert np.abs(counts - chances_of(algo)).mean() < 0.03


def test_without_a_network_there_is_nothing_of_it() -> None:
    algo = trained(steps=5)
    assert algo.impl.modules.policy is None
    assert algo.impl.modules.actor_optim is None
    assert "policy" not in algo.impl.modules.get_torch_modules()
    with pytest.raises(NotImplementedError):
        _ = algo.impl.policy


def test_the_critic_does_not_depend_on_the_actor() -> None:
    closed, learned = trained(), trained(actor="network")
    assert np.array_equal(values_of(closed), values_of(learned))


def test_the_network_approaches_the_closed_form() -> None:
    """Beside a critic that stands still, from nearly even chances."""
    distances = []
    for steps in (0, 100, 600):
        algo = trained(
            steps,
            actor="network",
            actor_learning_rate=3e-3,
            critic_learning_rate=1e-12,
            entropy_temperature=0.03,
        )
        expected = softmax(values_of(algo) / (0.03 * scale_of(algo)))
        distances.append(np.abs(chances_of(algo) - expected).sum(axis=1).mean() / 2.0)
    assert distances[0] > 0.2
    assert distances[1] < 0.3 * distances[0]
    assert distances[2] < 0.03 * distances[0]


@pytest.mark.parametrize("actor", ["softmax", "network", "network-sampled"])
def test_saved_copied_and_exported(actor: str, tmp_path: pathlib.Path) -> None:
    algo = trained(actor=actor, greedy="actor", entropy_temperature=0.3)
    expected = chances_of(algo)
    algo.save(str(tmp_path / "model.d3"))
    again = d3rlpy.load_learnable(str(tmp_path / "model.d3"), device="cpu:0")
    assert np.array_equal(chances_of(again), expected)
    copy = trained(steps=0, actor=actor, greedy="actor", entropy_temperature=0.3)
    copy.copy_policy_from(algo)
    copy.copy_policy_optim_from(algo)
    assert np.array_equal(chances_of(copy), expected)
    save_graph(algo, tmp_path / "graph.pt")
    actions, _, _, chances = torch.jit.load(tmp_path / "graph.pt")(torch.as_tensor(X))
    assert np.array_equal(actions.numpy(), algo.predict(X))
    assert chances.detach().numpy() == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(algo.predict(X), expected.argmax(axis=1))


def test_actors_of_two_kinds_are_not_copied() -> None:
    closed, learned = trained(steps=0), trained(steps=0, actor="network")
    for one, other in ((closed, learned), (learned, closed)):
        with pytest.raises(ValueError, match="as its actor"):
            one.copy_policy_from(other)
