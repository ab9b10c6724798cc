"""Masked choices are the best of what is allowed."""

from __future__ import annotations

from typing import Any

import d3rlpy
import numpy as np
import numpy.typing as npt
import pytest
from d3rlpy.algos import DQNConfig, IQLConfig
from hypothesis import given, settings
from hypothesis import strategies as st

from icac_algo import ColumnarReplayBuffer
from icac_algo.decisions import MaskedGreedy

ACTIONS = np.tile(np.arange(3), 120)
OBSERVATIONS = np.random.default_rng(0).random((360, 2)).astype(np.float32)


def make() -> Any:
    return DQNConfig(learning_rate=1e-2, batch_size=64, gamma=0.9).create("cpu:0")


@pytest.fixture(scope="module")
def algo() -> Any:
    d3rlpy.seed(0)
    algo = make()
    log = ColumnarReplayBuffer.from_arrays(
        OBSERVATIONS, ACTIONS, ACTIONS.astype(np.float32)
    )
    algo.build_with_dataset(log)
    return algo


@settings(deadline=None, max_examples=15)
@given(bits=st.lists(st.integers(1, 7), min_size=8, max_size=8))
def test_masked_choices_are_the_best_allowed_ones(algo: Any, bits: list[int]) -> None:
    mask = np.array([[bit >> k & 1 for k in range(3)] for bit in bits], bool)
    x = OBSERVATIONS[:8]
    greedy = MaskedGreedy(algo, lambda observations: mask)
    values = greedy.values(x)
    chosen = greedy.predict(x)
    assert mask[np.arange(8), chosen].all()
    for row in range(8):
        assert values[row, chosen[row]] == values[row, mask[row]].max()
        assert values[row, 1] == pytest.approx(
            algo.predict_value(x[row : row + 1], np.array([1]))[0], abs=1e-6
        )


def test_a_mask_that_allows_everything_decides_as_the_algorithm(algo: Any) -> None:
    greedy = MaskedGreedy(
        algo, lambda observations: np.ones((len(observations), 3), bool)
    )
    assert (greedy.predict(OBSERVATIONS) == algo.predict(OBSERVATIONS)).all()


def masked(algo: Any, answer: Any) -> npt.NDArray[np.int64]:
    return MaskedGreedy(algo, lambda observations: answer).predict(OBSERVATIONS[:2])


def test_masks_that_do_not_fit_are_refused(algo: Any) -> None:
    with pytest.raises(ValueError, match=r"bools of shape \(2, 3\), got float64"):
        masked(algo, np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"bools of shape \(2, 3\)"):
        masked(algo, np.ones((3, 3), bool))
    with pytest.raises(ValueError, match="row 1 has none"):
        masked(algo, np.array([[True, False, False], [False, False, False]]))


def test_what_has_no_discrete_values_is_refused(algo: Any) -> None:
    with pytest.raises(ValueError, match="built or fitted"):
        MaskedGreedy(make(), masked)
    with pytest.raises(TypeError, match="mask must be a function"):
        MaskedGreedy(algo, 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="algo must be"):
        MaskedGreedy(3, masked)
    continuous = IQLConfig().create("cpu:0")
    continuous.create_impl((2,), 1)
    with pytest.raises(ValueError, match="discrete actions"):
        MaskedGreedy(continuous, masked)
