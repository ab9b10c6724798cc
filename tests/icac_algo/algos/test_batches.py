"""Batches drawn ahead are those drawn one at a time."""

# ruff: noqa: NPY002  (numpy's own stream is what is tested)
from __future__ import annotations

from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch
from d3rlpy.dataset import MultiStepTransitionPicker

from icac_algo import (
    BudgetRelabellingTransitionPicker,
    ColumnarReplayBuffer,
    ConstraintAwareQConfig,
)
from icac_algo.algos.batches import to_torch_batch, training_batches

N = 500


def log(seed: int | None = None, width: int = 3, **options: Any) -> ColumnarReplayBuffer:
    rng = np.random.default_rng(1)
    return ColumnarReplayBuffer.from_arrays(
        observations=rng.normal(size=(N, width)).astype(np.float32),
        actions=rng.integers(4, size=(N, 1)),
        rewards=rng.normal(size=N),
        terminals=np.arange(N) % 7 == 6,
        extras={"click": rng.integers(2, size=N)},
        seed=seed,
        **options,
    )


CONFIG = ConstraintAwareQConfig(
    observation_scaler=d3rlpy.preprocessing.StandardObservationScaler(
        mean=np.ones(3), std=np.full(3, 2.0)
    ),
    reward_scaler=d3rlpy.preprocessing.ConstantShiftRewardScaler(0.5),
)


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("picker", [None, MultiStepTransitionPicker(3, 0.9)])
@pytest.mark.parametrize("watched", [False, True])
def test_ahead_they_are_the_same(seed: int | None, picker: Any, watched: bool) -> None:
    size, count, buffer = 16, 70, log(seed, transition_picker=picker)
    np.random.seed(0)
    ahead = list(training_batches(buffer, size, count, CONFIG, "cpu:0", watched))
    following = np.random.random()
    np.random.seed(0)
    source = log(seed, transition_picker=picker)
    assert len(ahead) == count
    for batch in ahead:
        numpy_batch = source.sample_transition_batch(size)
        alone = to_torch_batch(numpy_batch, CONFIG, "cpu:0")
        for name in ("observations", "actions", "rewards", "next_observations"):
            assert torch.equal(getattr(batch, name), getattr(alone, name)), name
        assert torch.equal(batch.terminals, alone.terminals)
        assert torch.equal(batch.intervals, alone.intervals)
        assert batch.is_terminal == bool(numpy_batch.terminals.all())
        assert batch.column is not None
        assert alone.column is not None
        assert torch.equal(batch.column("click"), alone.column("click"))
    assert np.random.random() == following
    if seed is not None:
        assert source.random_state == buffer.random_state


def test_a_callback_that_draws_random_numbers_sees_numpys_stream_as_it_was() -> None:
    seen: list[list[float]] = []
    for buffer in (log(), log().to_replay_buffer()):
        d3rlpy.seed(0)
        drawn: list[float] = []
        ConstraintAwareQConfig(batch_size=16).create().fit(
            buffer,
            n_steps=5,
            n_steps_per_epoch=5,
            callback=lambda algo, epoch, step: drawn.append(np.random.random()),  # noqa: B023
            show_progress=False,
            logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        )
        seen.append(drawn)
    assert seen[0] == seen[1]


def test_large_observations_are_drawn_a_batch_at_a_time(monkeypatch: Any) -> None:
    buffer, sizes = log(width=200), []
    draw = buffer.sample_transition_batch
    monkeypatch.setattr(
        buffer, "sample_transition_batch", lambda n: sizes.append(n) or draw(n)
    )
    config = ConstraintAwareQConfig()
    list(training_batches(buffer, 2000, 3, config, "cpu:0", False))
    assert sizes == [2000] * 3
    sizes.clear()
    list(training_batches(buffer, 8, 3, config, "cpu:0", False))
    assert sizes == [24]


def test_budgets_are_relabelled_a_batch_at_a_time() -> None:
    """What is drawn for a batch follows its rows in the stream of random numbers."""
    picker = BudgetRelabellingTransitionPicker(budget_feature=2, limit=5.0)
    ahead, alone = (log(3, transition_picker=picker) for _ in range(2))
    config = ConstraintAwareQConfig()
    for batch in training_batches(ahead, 16, 5, config, "cpu:0", False):
        expected = to_torch_batch(alone.sample_transition_batch(16), config, "cpu:0")
        assert torch.equal(batch.observations, expected.observations)


def test_targets_discount_by_how_far_each_transition_reaches() -> None:
    buffer = log(3, transition_picker=MultiStepTransitionPicker(3, 0.9))
    algo = ConstraintAwareQConfig(batch_size=64, gamma=0.9).create()
    algo.build_with_dataset(buffer)
    (batch,) = training_batches(buffer, 64, 1, algo.config, "cpu:0", False)
    assert len(batch.intervals.unique()) > 1
    value = algo.impl.best_target_value(batch.next_observations)
    expected = 0.9**batch.intervals * (1.0 - batch.terminals) * value + batch.rewards
    torch.testing.assert_close(algo.impl.bellman_target(batch), expected)
