"""Bad data and bad fields are refused at the door, with the name, what and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import d3rlpy
import numpy as np
import pytest
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import Episode, InfiniteBuffer, ReplayBuffer, Signature
from d3rlpy.models.q_functions import QRQFunctionFactory
from d3rlpy.preprocessing import ClipRewardScaler, MinMaxActionScaler

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
    KnownCost,
    Monotone,
    MonotoneConcave,
    ShapedQFunctionFactory,
)

CONFIGS = [ConstraintAwareQConfig, DiscreteIQLConfig]
Factory = Callable[..., Any]


def fit(config: Any, dataset: ReplayBuffer) -> None:
    config.create(device="cpu:0").fit(
        dataset,
        n_steps=1,
        n_steps_per_epoch=1,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )


def buffer_of(
    episodes: list[Episode], action_size: int = 5, space: Any = ActionSpace.DISCRETE
) -> ReplayBuffer:
    buffer = ReplayBuffer(
        InfiniteBuffer(),
        observation_signature=Signature([np.dtype(np.float32)], [(3,)]),
        action_signature=Signature([np.dtype(np.int64)], [(1,)]),
        reward_signature=Signature([np.dtype(np.float32)], [(1,)]),
        action_space=space,
        action_size=action_size,
    )
    for episode in episodes:
        buffer.append_episode(episode)
    return buffer


def episode(**changes: Any) -> Episode:
    columns = {
        "observations": np.zeros((4, 3), np.float32),
        "actions": np.array([[0], [1], [2], [4]]),
        "rewards": np.zeros((4, 1), np.float32),
    }
    return Episode(**{**columns, **changes}, terminated=True)


@pytest.mark.parametrize("make", CONFIGS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", ["observations", "rewards"])
def test_values_that_are_not_finite(make: Factory, bad: float, column: str) -> None:
    array = getattr(episode(), column).copy()
    array[2, 0] = bad
    dataset = buffer_of([episode(), episode(**{column: array})])
    with pytest.raises(ValueError, match=f"{column} must be finite, episode 1"):
        fit(make(), dataset)


@pytest.mark.parametrize("make", CONFIGS)
def test_an_empty_dataset(make: Factory) -> None:
    with pytest.raises(ValueError, match="with transitions, got an empty one"):
        fit(make(), buffer_of([]))


def continuous_buffer(actions: Any, action_size: int = 1) -> ReplayBuffer:
    column = np.asarray(actions, np.float32)
    return buffer_of([episode(actions=column)], action_size, ActionSpace.CONTINUOUS)


def test_discrete_iql_refuses_continuous_actions() -> None:
    with pytest.raises(ValueError, match="DiscreteIQL needs discrete actions"):
        fit(DiscreteIQLConfig(), continuous_buffer([[0.0], [0.5], [1.0], [0.2]]))


@pytest.mark.parametrize(
    ("constraint", "bad", "ends"),
    [
        (Concave(), -0.01, "from 0 to 1,"),
        (Concave(), 1.01, "from 0 to 1,"),
        (Concave(), np.nan, "from 0 to 1,"),
        (Concave(actions=[0.25, 0.5, 0.75]), 0.8, r"from 0\.25 to 0\.75,"),
    ],
)
def test_continuous_actions_out_of_range(constraint: Any, bad: float, ends: str) -> None:
    inside = episode(actions=np.full((4, 1), 0.5, np.float32))
    outside = episode(actions=np.array([[0.5], [0.5], [bad], [0.5]], np.float32))
    dataset = buffer_of([inside, outside], 1, ActionSpace.CONTINUOUS)
    with pytest.raises(
        ValueError, match=f"actions must be {ends} .* episode 1, row 2 has"
    ):
        fit(ConstraintAwareQConfig(constraint=constraint), dataset)


def test_ends_of_the_range_are_actions_in_spite_of_float32() -> None:
    config = ConstraintAwareQConfig(constraint=Concave(actions=[0.1, 0.7]))
    fit(config, continuous_buffer([[0.1], [0.7], [0.3], [0.7]]))


def test_several_continuous_actions() -> None:
    dataset = continuous_buffer(np.full((4, 2), 0.5), action_size=2)
    with pytest.raises(ValueError, match="over one action, the action space has 2"):
        fit(ConstraintAwareQConfig(), dataset)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"critic": Canonical()}, r"need critic=Functional\(\), got Canonical"),
        ({"critic": Euclidean()}, r"need critic=Functional\(\), got Euclidean"),
        ({"critic": Afterstates()}, r"need critic=Functional\(\), got Afterstates"),
        ({"actor": "network-sampled"}, "actor='network', .* got 'network-sampled'"),
        (
            {"constraint": Monotone(known_cost=KnownCost(feature=3))},
            "feature must be below the observation size 3",
        ),
    ],
)
def test_what_only_lists_of_actions_have(fields: dict[str, Any], message: str) -> None:
    algo = ConstraintAwareQConfig(**fields).create(device="cpu:0")
    dataset = continuous_buffer([[0.0], [0.5], [1.0], [0.2]])
    with pytest.raises(ValueError, match=message):
        algo.fit(dataset, n_steps=1)
    assert algo.impl is None


@pytest.mark.parametrize(
    ("build", "given", "message"),
    [
        ("continuous", "discrete", "built for continuous actions, got discrete"),
        ("discrete", "continuous", "built for discrete actions, got continuous"),
    ],
)
def test_a_model_keeps_its_kind_of_action(build: str, given: str, message: str) -> None:
    datasets = {
        "discrete": buffer_of([episode()]),
        "continuous": continuous_buffer([[0.0], [0.5], [1.0], [0.2]]),
    }
    algo = ConstraintAwareQConfig().create(device="cpu:0")
    algo.build_with_dataset(datasets[build])
    with pytest.raises(ValueError, match=message):
        algo.fit(datasets[given], n_steps=1)


def test_an_action_scaler_is_for_continuous_actions() -> None:
    config = ConstraintAwareQConfig(action_scaler=MinMaxActionScaler())
    with pytest.raises(ValueError, match="action_scaler is for continuous actions"):
        fit(config, buffer_of([episode()]))


@pytest.mark.parametrize("make", CONFIGS)
@pytest.mark.parametrize("action", [-1, 5])
def test_actions_out_of_range(make: Factory, action: int) -> None:
    actions = np.array([[0], [1], [2], [action]])
    with pytest.raises(ValueError, match="actions must be from 0 to 4, episode 0"):
        fit(make(), buffer_of([episode(actions=actions)]))


def test_action_count_that_does_not_fit() -> None:
    config = ConstraintAwareQConfig(constraint=Monotone(actions=[0.0, 0.5, 1.0]))
    with pytest.raises(ValueError, match="names 3 actions but the action space has 5"):
        fit(config, buffer_of([episode()]))


@pytest.mark.parametrize(
    "shape", [Monotone(), Concave(), Convex(), MonotoneConcave(), Bounded(0.0, 1.0)]
)
@pytest.mark.parametrize("critic", [Functional(), Canonical(), Euclidean()], ids=repr)
def test_two_actions_are_enough_for_every_shape(shape: Any, critic: Any) -> None:
    few = buffer_of([episode(actions=np.array([[0], [1], [0], [1]]))], 2)
    fit(ConstraintAwareQConfig(constraint=shape, critic=critic), few)


def test_one_action_is_not_a_choice() -> None:
    one = buffer_of([episode(actions=np.zeros((4, 1), int))], 1)
    with pytest.raises(ValueError, match="Concave needs at least 2 actions"):
        fit(ConstraintAwareQConfig(constraint=Concave()), one)


def test_offset_feature_out_of_range() -> None:
    config = ConstraintAwareQConfig(constraint=Monotone(known_cost=KnownCost(feature=3)))
    with pytest.raises(ValueError, match="feature must be below the observation size 3"):
        fit(config, buffer_of([episode()]))


def test_offset_with_a_reward_scaler_that_is_not_affine() -> None:
    config = ConstraintAwareQConfig(
        constraint=Monotone(known_cost=KnownCost(feature=1)),
        reward_scaler=ClipRewardScaler(-1.0, 1.0),
    )
    with pytest.raises(ValueError, match=r"affine and rising, got ClipRewardScaler"):
        fit(config, buffer_of([episode()]))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("critic_learning_rate", 0.0),
        ("critic_learning_rate", float("nan")),
        ("actor_learning_rate", -1e-3),
        ("tau", 0.0),
        ("tau", 1.5),
        ("gamma", 1.01),
        ("gamma", -0.1),
        ("n_critics", 0),
        ("batch_size", 2.5),
        ("average_window", 1.5),
        ("entropy_temperature", -1.0),
        ("critic", "euclidean"),
        ("critic", Functional),
        ("share_encoder", 1),
        ("greedy", "policy"),
        ("actor", "sampled"),
        ("constraint", "wavy"),
        ("compile_graph", True),
    ],
)
def test_bad_fields_are_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        ConstraintAwareQConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("multiplier", -0.1),
        ("multiplier", 1e9),
        ("multiplier_learning_rate", -1.0),
        ("max_multiplier", float("inf")),
        ("inner_iterations", 0),
        ("pull", -1.0),
        ("inner_step", "newton"),
        ("inner_anchor", "data"),
        ("warm_start", 1),
        ("implicit_gradient", "yes"),
        ("spectral_norm", None),
    ],
)
def test_bad_switches_are_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        Euclidean(**{field: value})


def test_a_field_made_bad_later_is_refused_by_create_and_fit() -> None:
    config = ConstraintAwareQConfig()
    config.critic_learning_rate = -1.0
    with pytest.raises(
        ValueError, match=r"critic_learning_rate must be a number > 0, got -1\.0"
    ):
        config.create()
    config = ConstraintAwareQConfig(critic=Functional())
    config.critic.n_pieces = 0  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="n_pieces must be an integer >= 1, got 0"):
        config.create()
    algo = ConstraintAwareQConfig().create(device="cpu:0")
    algo.config.tau = 7.0
    with pytest.raises(ValueError, match="tau"):
        algo.fit(buffer_of([episode()]), n_steps=1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("expectile", 1.0),
        ("weight_temp", -1.0),
        ("n_critics", 0),
        ("compile_graph", True),
        ("q_func_factory", QRQFunctionFactory()),
        ("q_func_factory", None),
    ],
)
def test_bad_fields_of_discrete_iql(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        DiscreteIQLConfig(**{field: value})


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(TypeError, match="lerning_rate"):
        ConstraintAwareQConfig(lerning_rate=1e-3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("critic", "euclidean", r"critic must be .* got 'euclidean'"),
        ("constraint", "wavy", "constraint must be .* got 'wavy'"),
        ("n_quantiles", 1, "n_quantiles must be an integer >= 2, or None.* got 1"),
        ("level", float("nan"), "level must be a finite number.* got nan"),
        ("scale", 0.0, r"scale must be a number > 0, got 0\.0"),
        ("scale", float("inf"), "scale must be a finite number, got inf"),
    ],
)
def test_bad_fields_of_the_plug_in(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ShapedQFunctionFactory(**{field: value})


def test_nothing_is_built_when_data_is_refused() -> None:
    algo = ConstraintAwareQConfig().create(device="cpu:0")
    rewards = np.full((4, 1), np.nan, np.float32)
    with pytest.raises(ValueError, match="rewards"):
        algo.fit(buffer_of([episode(rewards=rewards)]), n_steps=1)
    assert algo.impl is None


def test_configs_compare_and_copy() -> None:
    config = ConstraintAwareQConfig(constraint=Monotone())
    assert dataclasses.replace(config) == config
    assert config != ConstraintAwareQConfig(constraint=Concave())
