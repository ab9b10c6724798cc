"""Any small model: its exported graph decides as it does, or the export is refused."""

from __future__ import annotations

from typing import Any

import d3rlpy
import numpy as np
import onnxruntime
import pytest
from d3rlpy.models import VectorEncoderFactory
from hypothesis import given
from hypothesis import strategies as st

from icac_algo import (
    Bounded,
    Canonical,
    Concave,
    ConstraintAwareQConfig,
    Euclidean,
    Functional,
    Intersection,
    KnownCost,
    Monotone,
    MonotoneConcave,
    SlopeBounds,
    StateMonotone,
    Unconstrained,
)
from icac_algo.export import save_graph

from .profile import attempt, times

SHAPES = [
    Unconstrained(),
    Monotone(increasing=False),
    Concave(),
    MonotoneConcave(known_cost=KnownCost(1)),
    SlopeBounds(-1.0, 2.0),
    Bounded(0.0, 1.0),
    Intersection([Concave(), SlopeBounds(-5.0, 5.0)]),
]


@times(0.1)
@given(
    constraint=st.sampled_from(SHAPES),
    critic=st.sampled_from([Functional(n_pieces=2), Canonical(), Euclidean()]),
    size=st.sampled_from([2, 3, 5, 20]),
    n_critics=st.sampled_from([1, 2]),
    by_state=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_graphs(
    tmp_path_factory: pytest.TempPathFactory,
    constraint: Any,
    critic: Any,
    size: int,
    n_critics: int,
    by_state: bool,
    seed: int,
) -> None:
    d3rlpy.seed(seed)
    path = tmp_path_factory.mktemp("graph") / "policy.onnx"

    def export() -> Any:
        algo = ConstraintAwareQConfig(
            constraint=constraint,
            critic=critic,
            n_critics=n_critics,
            state_constraints=[StateMonotone([0])] if by_state else [],
            critic_encoder_factory=VectorEncoderFactory([8]),
        ).create(device="cpu:0")
        algo.create_impl((2,), size)
        save_graph(algo, str(path))
        return algo

    algo, refusal = attempt(export, ValueError)
    if refusal is not None:
        assert refusal
        assert not path.exists()
        return
    session = onnxruntime.InferenceSession(str(path))
    for rows in (1, 3):
        x = np.random.default_rng(seed).random((rows, 2)).astype(np.float32)
        found = session.run(None, {session.get_inputs()[0].name: x})
        chosen = np.asarray(found[0]).ravel().astype(int)
        values = np.stack(
            [algo.predict_value(x, np.full(rows, a)) for a in range(size)], axis=1
        )
        # Another runtime rounds otherwise: as good, where not the same.
        short = values.max(axis=1) - values[np.arange(rows), chosen]
        assert (short <= 1e-5 * max(1.0, np.abs(values).max())).all()
