"""Pieces of Algorithm 1 that only show inside a whole algorithm."""

from __future__ import annotations

import pathlib
from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch
from d3rlpy.models import VectorEncoderFactory
from d3rlpy.preprocessing import MinMaxObservationScaler, StandardRewardScaler

from bidclick_gym import Auction, RegretEvaluator, simulate_log
from bidclick_gym.logs import to_replay_buffer
from icac_algo import (
    Canonical,
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    DiscreteIQLConfig,
    Euclidean,
    Functional,
    KnownCost,
    Monotone,
    MonotoneConcave,
)
from icac_algo.algos.networks import Follower
from icac_algo.critics import Critic, Standardisation
from icac_algo.decisions import best_actions

AUCTION = Auction()


def config(**fields: Any) -> ConstraintAwareQConfig:
    encoder = VectorEncoderFactory([32, 32])
    return ConstraintAwareQConfig(
        critic_encoder_factory=encoder, actor_encoder_factory=encoder, **fields
    )


@pytest.fixture(scope="module")
def dataset() -> ColumnarReplayBuffer:
    return to_replay_buffer(simulate_log(AUCTION, campaigns=20))


def fit(made: Any, dataset: Any, steps: int = 40) -> Any:
    d3rlpy.seed(0)
    algo = made.create(device="cpu:0")
    algo.fit(
        dataset,
        n_steps=steps,
        n_steps_per_epoch=steps,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    return algo


# -- learning ----------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        Functional(),
        *(pytest.param(c, marks=pytest.mark.slow) for c in (Canonical(), Euclidean())),
    ],
    ids=repr,
)
def test_learns_the_auction(kind: Critic, dataset: ColumnarReplayBuffer) -> None:
    algo = fit(config(constraint=Concave(), critic=kind), dataset, 800)
    assert RegretEvaluator(AUCTION, 50)(algo) < 0.015


@pytest.mark.slow
def test_discrete_iql_learns_the_auction(dataset: ColumnarReplayBuffer) -> None:
    made = DiscreteIQLConfig(
        weight_temp=100.0, actor_learning_rate=1e-3, critic_learning_rate=1e-3
    )
    assert RegretEvaluator(AUCTION, 50)(fit(made, dataset, 800)) < 0.015


@pytest.mark.slow
def test_the_actor_learns_what_the_critic_knows(dataset: ColumnarReplayBuffer) -> None:
    made = config(constraint=Concave(), actor="network", greedy="actor")
    algo = fit(made, dataset, 1000)
    assert RegretEvaluator(AUCTION, 50)(algo) < 0.02


# -- switches really differ ----------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {"inner_iterations": 5},
        {"warm_start": False},
        {"implicit_gradient": False},
        {"inner_step": "unit"},
        {"inner_anchor": "target"},
        {"multiplier_learning_rate": 0.0},
        {"multiplier": 10.0},
        {"pull": 0.0},
        {"spectral_norm": True},
    ],
    ids=str,
)
def test_every_switch_changes_what_is_learned(
    changed: dict[str, Any], dataset: ColumnarReplayBuffer
) -> None:
    base = {"multiplier": 0.3}
    critics = (Euclidean(**base), Euclidean(**{**base, **changed}))
    assert not np.array_equal(*(_values_with(critic, dataset) for critic in critics))


def test_every_critic_learns_something_else(dataset: ColumnarReplayBuffer) -> None:
    critics = (Functional(), Functional(n_pieces=2), Canonical(), Euclidean())
    values = [_values_with(critic, dataset) for critic in critics]
    assert len({array.tobytes() for array in values}) == len(critics)


def _values_with(critic: Critic, dataset: ColumnarReplayBuffer) -> Any:
    algo = fit(config(constraint=Monotone(), critic=critic), dataset)
    x = AUCTION.contexts(5).astype(np.float32)
    return algo.predict_value(x, np.full((25, 1), 2))


# -- dual variable -------------------------------------------------------------


def test_the_multiplier_grows_is_capped_and_is_saved(
    dataset: ColumnarReplayBuffer, working_folder: pathlib.Path
) -> None:
    critic = Euclidean(multiplier_learning_rate=1e3, max_multiplier=0.7, pull=0.0)
    made = config(constraint=Monotone(), critic=critic)
    algo = fit(made, dataset)
    assert algo.multiplier == pytest.approx(0.7)
    algo.save("model.d3")
    again = d3rlpy.load_learnable("model.d3", device="cpu:0")
    assert again.multiplier == algo.multiplier


def test_the_multiplier_stays_at_a_step_of_zero(dataset: ColumnarReplayBuffer) -> None:
    made = config(constraint=Monotone(), critic=Euclidean(multiplier_learning_rate=0.0))
    assert fit(made, dataset).multiplier == pytest.approx(0.1)


# -- terminal steps and the average ------------------------------------------------


def chain(continuous: bool = False, episodes: int = 100) -> ColumnarReplayBuffer:
    """Two steps an episode: the first earns 0, the second 1, then it ends."""
    rng = np.random.default_rng(0)
    n = 2 * episodes
    return ColumnarReplayBuffer.from_arrays(
        np.tile(np.float32([[0.0], [1.0]]), (episodes, 1)),
        rng.random((n, 1)).astype(np.float32) if continuous else rng.integers(0, 2, n),
        np.tile(np.float32([0.0, 1.0]), episodes),
        terminals=np.tile([0, 1], episodes),
        action_size=None if continuous else 2,
    )


@pytest.mark.parametrize("continuous", [False, True])
def test_nothing_is_earned_after_a_terminal_step(continuous: bool) -> None:
    d3rlpy.seed(0)
    # d3rlpy's observation after a terminal step is zeros, which is the first state here:
    # a target that went on would turn 0.9 and 1 into 4.7 and 5.3.
    made = config(constraint=Monotone(), gamma=0.9, tau=0.1, critic_learning_rate=3e-3)
    algo = made.create("cpu:0")
    data = chain(continuous)
    algo.build_with_dataset(data)
    for _ in range(200):
        algo.update(data.sample_transition_batch(64))
    states = np.float32([[0.0], [1.0]])
    values = algo.predict_value(states, algo.predict(states))
    assert values == pytest.approx([0.9, 1.0], abs=0.15)


def test_a_window_of_all_updates_deploys_the_mean_of_all_critics() -> None:
    d3rlpy.seed(0)
    algo = config(constraint=Monotone(), average_window=1.0).create("cpu:0")
    data = chain()
    algo.build_with_dataset(data)
    seen = []
    for _ in range(5):
        algo.update(data.sample_transition_batch(64))
        parameters = algo.impl.modules.q_funcs.parameters()
        seen.append(torch.nn.utils.parameters_to_vector(parameters).detach().clone())
    deployed = algo.impl.modules.average_q_funcs.parameters()
    mean = torch.stack(seen).mean(dim=0)
    assert not torch.equal(mean, seen[-1])
    torch.testing.assert_close(torch.nn.utils.parameters_to_vector(deployed), mean)


# -- target network --------------------------------------------------------------


def test_target_equals_critic_after_a_full_polyak_step(
    dataset: ColumnarReplayBuffer,
) -> None:
    """Also with spectral normalization, whose vectors are buffers."""
    critic = Functional(spectral_norm=True)
    algo = fit(config(constraint=Concave(), critic=critic, tau=1.0), dataset)
    modules = algo.impl.modules
    modules.set_eval()
    x = torch.as_tensor(AUCTION.contexts(5), dtype=torch.float32)
    critic, target = modules.q_funcs[0](x), modules.targ_q_funcs[0](x)
    assert torch.equal(critic.q_value, target.q_value)


def test_a_follower_moves_parameters_by_tau_and_copies_buffers() -> None:
    copy, source = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    with torch.no_grad():
        source.weight.fill_(3.0)
        source.running_mean.fill_(5.0)
    Follower(copy, source).follow(0.25)
    assert copy.weight.tolist() == [1.5, 1.5]
    assert copy.running_mean.tolist() == [5.0, 5.0]


# -- ties, level and scale ---------------------------------------------------------


def test_ties_go_to_the_favoured_end() -> None:
    plateau = torch.tensor([[0.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    assert best_actions(plateau, favours_last=True).tolist() == [2, 2]
    assert best_actions(plateau, favours_last=False).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("terminal_share", "expected"), [(1.0, 0.6), (0.0, 6.0), (0.5, 0.6 / 0.55)]
)
def test_level_is_the_discounted_sum_of_the_mean(
    terminal_share: float, expected: float
) -> None:
    made = Standardisation.of_rewards(0.6, 0.5, terminal_share, gamma=0.9)
    assert made.level == pytest.approx(expected)
    assert made.scale == 0.5


@pytest.mark.parametrize(("mean", "scale"), [(0.0, 1.0), (-3.0, 3.0)])
def test_a_constant_reward_still_has_a_scale(mean: float, scale: float) -> None:
    assert Standardisation.of_rewards(mean, 0.0, 1.0, 0.9).scale == scale


def test_policy_does_not_depend_on_the_size_of_rewards() -> None:
    """The same log in another currency gives the same bids."""
    log = simulate_log(AUCTION, campaigns=5)
    choices = []
    for factor in (1.0, 1024.0):
        buffer = to_replay_buffer(log)
        buffer = buffer.replace(rewards=buffer.to_arrays()["rewards"] * factor)
        algo = fit(config(constraint=Concave()), buffer, 60)
        choices.append(algo.predict(AUCTION.contexts(20).astype(np.float32)))
    assert np.mean(choices[0] == choices[1]) > 0.99


def test_known_cost_is_read_in_its_own_units_under_scalers(
    dataset: ColumnarReplayBuffer,
) -> None:
    """Q + c * bid in unscaled units has the shape, whatever the scalers did."""
    shape = MonotoneConcave(known_cost=KnownCost(feature=1))
    made = config(
        constraint=shape,
        observation_scaler=MinMaxObservationScaler(),
        reward_scaler=StandardRewardScaler(multiplier=3.0),
    )
    algo = fit(made, dataset, 200)
    x = AUCTION.contexts(20).astype(np.float32)
    q = np.stack([algo.predict_value(x, np.full((400, 1), a)) for a in range(5)], 1)
    assert algo.reward_scaler is not None
    unscaled = algo.reward_scaler.reverse_transform_numpy(q.astype(np.float64))
    gross = unscaled + x[:, 1:2] * AUCTION.bid_array
    assert np.diff(gross).min() > -1e-5
    assert np.diff(gross, 2).max() < 1e-5
    # Without the cost the values do fall: the known cost is what makes them rise.
    assert np.diff(unscaled).min() < -1e-3


def test_tensorboard_takes_what_fit_logs(
    dataset: ColumnarReplayBuffer, tmp_path: pathlib.Path
) -> None:
    algo = config(constraint=Concave()).create(device="cpu:0")
    algo.fit(
        dataset,
        n_steps=20,
        n_steps_per_epoch=10,
        show_progress=False,
        logger_adapter=d3rlpy.logging.TensorboardAdapterFactory(str(tmp_path)),
    )
    files = [path for path in tmp_path.rglob("events*") if path.is_file()]
    assert any(path.stat().st_size > 0 for path in files)
