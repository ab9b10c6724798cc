"""Whatever config is accepted can be written, read and gone on with."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from typing import Any

import d3rlpy
import numpy as np
import pytest
from d3rlpy.models.encoders import VectorEncoderFactory
from d3rlpy.optimizers import AdamFactory, SGDFactory
from d3rlpy.optimizers.lr_schedulers import (
    CosineAnnealingLRFactory,
    WarmupSchedulerFactory,
)
from d3rlpy.preprocessing import (
    ClipRewardScaler,
    MinMaxObservationScaler,
    MultiplyRewardScaler,
    StandardObservationScaler,
    StandardRewardScaler,
)
from hypothesis import given, settings
from hypothesis import strategies as st

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
    ShapedIQLConfig,
    ShapedQFunctionFactory,
    SlopeBounds,
    StateMonotone,
)
from icac_algo.algos import load_checkpoint, save_checkpoint
from icac_algo.export import load, save

RNG = np.random.default_rng(0)
LOG = ColumnarReplayBuffer.from_arrays(
    RNG.random((40, 2)).astype(np.float32), RNG.integers(0, 3, 40), RNG.random(40)
)
CONTEXTS = RNG.random((5, 2)).astype(np.float32)


def floats(value: float) -> st.SearchStrategy[Any]:
    """A number in every form that numpy has for it."""
    kinds = (float, np.float64, np.float32, np.float16, np.longdouble, np.array)
    return st.sampled_from(kinds).map(lambda kind: kind(value))


def integers(value: int) -> st.SearchStrategy[Any]:
    kinds = (int, np.int64, np.int8, np.uint16, np.array)
    return st.sampled_from(kinds).map(lambda kind: kind(value))


def flags(value: bool) -> st.SearchStrategy[Any]:
    return st.sampled_from((bool, np.bool_, np.array)).map(lambda kind: kind(value))


def numbers(*values: float) -> st.SearchStrategy[Any]:
    kinds = (list, tuple, np.array, lambda v: [np.float32(x) for x in v])
    return st.sampled_from(kinds).map(lambda kind: kind(values))


def counts(*values: int) -> st.SearchStrategy[Any]:
    kinds = (list, tuple, np.array, lambda v: [np.int16(x) for x in v])
    return st.sampled_from(kinds).map(lambda kind: kind(values))


ENCODERS = st.builds(
    VectorEncoderFactory,
    hidden_units=counts(4, 3),
    use_layer_norm=flags(True),
    dropout_rate=st.none() | floats(0.125),
)
SCHEDULERS = st.one_of(
    st.none(),
    st.builds(WarmupSchedulerFactory, warmup_steps=integers(5)),
    st.builds(CosineAnnealingLRFactory, T_max=integers(9), eta_min=floats(0.0)),
)
OPTIMIZERS = st.one_of(
    st.builds(
        AdamFactory,
        weight_decay=floats(0.125),
        betas=numbers(0.875, 0.96875),
        clip_grad_norm=st.none() | floats(0.5),
        lr_scheduler_factory=SCHEDULERS,
    ),
    st.builds(SGDFactory, momentum=floats(0.5), nesterov=flags(True)),
)
OBSERVATIONS = st.one_of(
    st.none(),
    st.builds(MinMaxObservationScaler, minimum=numbers(0, 0), maximum=numbers(1, 2)),
    st.builds(
        StandardObservationScaler,
        mean=numbers(0.5, 0.25),
        std=numbers(1, 2),
        eps=floats(0.25),
    ),
    st.builds(StandardObservationScaler),
)
REWARDS = st.one_of(
    st.none(),
    st.builds(StandardRewardScaler, mean=floats(0.5), std=floats(0.25)),
    st.builds(MultiplyRewardScaler, multiplier=floats(2.0)),
)
SHAPES = st.one_of(
    st.builds(
        Concave,
        known_cost=st.builds(KnownCost, integers(1), floats(0.5)),
        actions=st.none() | numbers(0.0, 0.25, 1.0),
    ),
    st.builds(Monotone, increasing=flags(False)),
    st.builds(SlopeBounds, floats(-2.0), st.none() | floats(3.0)),
)
CRITICS = st.one_of(
    st.builds(Functional, n_pieces=integers(3)),
    st.builds(Canonical, spectral_norm=flags(True)),
    st.builds(Euclidean, multiplier=floats(0.5), inner_iterations=integers(2)),
)
SHARED = {
    "batch_size": integers(8),
    "gamma": floats(0.5),
    "critic_learning_rate": floats(0.0078125),
    "actor_learning_rate": floats(0.0078125),
    "critic_optim_factory": OPTIMIZERS,
    "actor_optim_factory": OPTIMIZERS,
    "critic_encoder_factory": ENCODERS,
    "actor_encoder_factory": ENCODERS,
    "observation_scaler": OBSERVATIONS,
    "reward_scaler": REWARDS,
    "n_critics": integers(2),
    "tau": floats(0.5),
}
CONFIGS = st.one_of(
    st.builds(
        ConstraintAwareQConfig,
        **SHARED,
        share_encoder=flags(True),
        constraint=SHAPES,
        critic=CRITICS,
        average_window=floats(0.25),
        actor=st.sampled_from(["softmax", "network", np.str_("network-sampled")]),
        entropy_temperature=floats(0.5),
    ),
    st.builds(
        ConstraintAwareQConfig,
        **SHARED,
        constraint=SHAPES,
        state_constraints=st.builds(
            StateMonotone, features=counts(0), increasing=flags(True)
        ).map(lambda one: (one,)),
    ),
    st.builds(
        DiscreteIQLConfig,
        **SHARED,
        value_encoder_factory=ENCODERS,
        expectile=floats(0.75),
        max_weight=floats(64.0),
        q_func_factory=st.builds(
            ShapedQFunctionFactory, SHAPES, level=floats(0.5), scale=floats(2.0)
        ),
    ),
)


def fit(config: Any, steps: int, file: pathlib.Path) -> Any:
    algo = config.create()
    algo.fit(
        LOG,
        n_steps=steps,
        n_steps_per_epoch=1,
        checkpoint=file,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    return algo


@settings(max_examples=15, deadline=None)
@given(CONFIGS)
def test_every_accepted_config_can_be_written_and_read(config: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        fit(config, 1, folder / "checkpoint")
        algo = fit(config, 2, folder / "checkpoint")
        assert algo.grad_step == 2
        save_checkpoint(algo, folder / "again", LOG)
        algo.save(str(folder / "model.d3"))
        algo.save_model(str(folder / "model.pt"))
        algo.load_model(str(folder / "model.pt"))
        for back in (
            load(save(algo, folder / "model")),
            load_checkpoint(folder / "checkpoint"),
            load_checkpoint(folder / "again"),
            d3rlpy.load_learnable(str(folder / "model.d3")),
        ):
            assert back.config.serialize() == config.serialize()
            assert np.array_equal(back.predict(CONTEXTS), algo.predict(CONTEXTS))


def test_fields_that_are_set_later_are_cast_by_create() -> None:
    config = ConstraintAwareQConfig()
    config.batch_size = np.int64(8)
    config.critic_optim_factory.weight_decay = np.float64(0.5)
    assert type(config.create().config.batch_size) is int
    assert type(config.critic_optim_factory.weight_decay) is float


@dataclasses.dataclass()
class Unknown(VectorEncoderFactory):
    """A kind of encoder that d3rlpy was not told of."""

    @staticmethod
    def get_type() -> str:
        return "unknown"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gamma": np.nan}, "gamma must be a finite number"),
        ({"batch_size": True}, "batch_size must be an integer"),
        ({"batch_size": np.float64(8)}, "batch_size must be an integer"),
        ({"share_encoder": 1}, "share_encoder must be True or False"),
        (
            {"critic_optim_factory": AdamFactory(weight_decay=np.inf)},
            "critic_optim_factory.weight_decay must be a finite number",
        ),
        (
            {"critic_optim_factory": AdamFactory(betas="ab")},  # type: ignore[arg-type]
            "critic_optim_factory.betas must be a list",
        ),
        (
            {"actor_encoder_factory": VectorEncoderFactory([8.5])},  # type: ignore[list-item]
            r"actor_encoder_factory.hidden_units\[0\] must be an integer, got 8.5",
        ),
        (
            {"critic_encoder_factory": VectorEncoderFactory([8, 0])},
            r"critic_encoder_factory.hidden_units must be .* got \[8, 0\]",
        ),
        ({"actor_encoder_factory": Unknown()}, "registered with d3rlpy"),
        (
            {"observation_scaler": MinMaxObservationScaler(np.array([0, np.nan]))},
            "observation_scaler.minimum must be finite numbers",
        ),
        ({"reward_scaler": ClipRewardScaler(low=np.nan)}, "reward_scaler.low must be"),
        ({"reward_scaler": MultiplyRewardScaler(True)}, "reward_scaler.multiplier must"),
        ({"constraint": 3}, "constraint must be a shape"),
        ({"state_constraints": 3}, "state_constraints must be a list"),
    ],
)
def test_what_cannot_be_written_is_refused_by_name(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ConstraintAwareQConfig(**fields)


def test_the_continuous_config_casts_too() -> None:
    config = ShapedIQLConfig(gamma=np.float32(0.5), n_critics=np.int8(2))
    config.create()
    assert ShapedIQLConfig.deserialize(config.serialize()) == config
    config.expectile = np.nan
    with pytest.raises(ValueError, match="expectile must be a finite number"):
        config.create()
