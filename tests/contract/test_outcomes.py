"""The contract of every algorithm, kept by one that learns outcomes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from icac_algo import ColumnarReplayBuffer, Monotone, Outcome, Unconstrained

from .test_algorithms import (  # noqa: F401
    test_an_interrupted_save_leaves_the_old_file,
    test_build_with_env,
    test_copies_q_function_policy_and_optimizers,
    test_every_trained_parameter_moves,
    test_fit_reports_finite_metrics_and_fitter_yields_epochs,
    test_from_json,
    test_predicts_for_every_observation_kind,
    test_same_seed_same_result,
    test_scalers_change_no_interface,
    test_update_returns_floats,
)
from .test_export import test_torchscript  # noqa: F401

Factory = Callable[..., Any]
VARIANTS: dict[str, dict[str, Any]] = {
    "outcomes": {},
    "outcomes-ensemble": {"n_critics": 2, "share_encoder": True},
    "outcomes-actor": {"actor": "network", "greedy": "actor"},
}


@pytest.fixture(params=sorted(VARIANTS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def make_config(make_config: Factory) -> Factory:
    """As every other algorithm's, but with outcomes."""

    def make(name: str, kind: str = "vector") -> Any:
        return dataclasses.replace(
            make_config("functional", kind),
            constraint=Unconstrained(),
            outcomes=[
                Outcome("flag", Monotone(), link="logit", weight="2 - action"),
                Outcome("rest", depends_on_action=False, given="flag"),
                Outcome("other"),
            ],
            # An interrupted save is tried with an algorithm of this name.
            **VARIANTS.get(name, {}),
        )

    return make


@pytest.fixture(scope="session")
def make_dataset(make_dataset: Factory) -> Factory:
    """As every other algorithm's, with columns that make the reward."""

    def make(*args: Any, **kwargs: Any) -> ColumnarReplayBuffer:
        plain = ColumnarReplayBuffer.from_replay_buffer(make_dataset(*args, **kwargs))
        arrays = plain.to_arrays()
        rewards = arrays["rewards"][:, 0].astype(np.float64)
        flag = (np.arange(len(rewards)) % 3 == 0).astype(float)
        rest = flag * rewards / 2.0
        position = arrays["actions"][:, 0] / 4.0
        arrays["extras"] = {
            "flag": flag,
            "rest": rest,
            "other": rewards - rest - (2.0 - position) * flag,
        }
        size = plain.dataset_info.action_size
        return ColumnarReplayBuffer.from_arrays(**arrays, action_size=size)

    return make


@pytest.fixture(scope="session")
def trained(make_config: Factory, make_dataset: Factory, fit_quietly: Factory) -> Factory:
    made: dict[tuple[str, str], Any] = {}

    def get(name: str, kind: str = "vector") -> Any:
        if (name, kind) not in made:
            made[name, kind] = fit_quietly(make_config(name, kind), make_dataset(kind))
        return made[name, kind]

    return get
