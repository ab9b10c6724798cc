"""The columnar buffer is the stock buffer, only faster."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import (
    Episode,
    InfiniteBuffer,
    MultiStepTransitionPicker,
    ReplayBuffer,
    Signature,
)

from icac_algo import ColumnarReplayBuffer

FIELDS = ("actions", "rewards", "next_actions", "terminals", "intervals")


def make(kind: str, seed: int = 0, **arguments: Any) -> ReplayBuffer:
    rng = np.random.default_rng(seed)
    shapes = {"vector": [(3,)], "pixel": [(1, 4, 4)], "tuple": [(3,), (2,)]}[kind]
    dtype = np.uint8 if kind == "pixel" else np.float32
    buffer = ReplayBuffer(
        InfiniteBuffer(),
        observation_signature=Signature([np.dtype(dtype)] * len(shapes), shapes),
        action_signature=Signature([np.dtype(np.int64)], [(1,)]),
        reward_signature=Signature([np.dtype(np.float32)], [(1,)]),
        action_space=ActionSpace.DISCRETE,
        action_size=4,
        **arguments,
    )
    for i, size in enumerate((1, 5, 3, 7, 2, 6)):
        parts = [(100 * rng.random((size, *s))).astype(dtype) for s in shapes]
        buffer.append_episode(
            Episode(
                parts if kind == "tuple" else parts[0],
                rng.integers(0, 4, (size, 1)),
                rng.normal(size=(size, 1)).astype(np.float32),
                terminated=i % 2 == 0,
            )
        )
    return buffer


def assert_same(a: Any, b: Any) -> None:
    for field in FIELDS:
        x, y = getattr(a, field), getattr(b, field)
        assert x.dtype == y.dtype == np.float32
        assert np.array_equal(x, y), field
    for field in ("observations", "next_observations"):
        x, y = getattr(a, field), getattr(b, field)
        pairs = zip(x, y, strict=True) if isinstance(x, list) else [(x, y)]
        assert all(np.array_equal(p, q) for p, q in pairs), field


@pytest.mark.parametrize("kind", ["vector", "pixel", "tuple"])
def test_same_random_state_same_batch(kind: str) -> None:
    stock = make(kind)
    fast = ColumnarReplayBuffer.from_replay_buffer(stock)
    assert fast.transition_count == stock.transition_count
    for seed in range(20):
        np.random.seed(seed)  # noqa: NPY002
        expected = stock.sample_transition_batch(16)
        np.random.seed(seed)  # noqa: NPY002
        batch = fast.sample_transition_batch(16)
        assert_same(batch, expected)
        for a, b in zip(batch.transitions, expected.transitions, strict=True):
            assert np.array_equal(a.rewards_to_go, b.rewards_to_go)


def test_appending_is_seen_by_the_next_batch() -> None:
    fast = ColumnarReplayBuffer.from_replay_buffer(make("vector"))
    fast.sample_transition_batch(4)
    before = fast.transition_count
    marked = np.full((3, 3), -7.0, np.float32)
    fast.append_episode(
        Episode(marked, np.zeros((3, 1), int), np.ones((3, 1), np.float32), True)
    )
    assert fast.transition_count == before + 3
    batch = fast.sample_transition_batch(2000)
    assert (batch.observations == -7.0).any()


def test_step_by_step_appending() -> None:
    fast = ColumnarReplayBuffer.from_replay_buffer(make("vector"))
    before = fast.transition_count
    for step in range(4):
        fast.append(np.full(3, step, np.float32), 1, 0.5)
    fast.clip_episode(True)
    assert fast.transition_count == before + 4
    assert len(fast.sample_transition_batch(8)) == 8


def test_sampling_is_uniform() -> None:
    fast = ColumnarReplayBuffer.from_replay_buffer(make("vector"))
    np.random.seed(0)  # noqa: NPY002
    rewards = fast.sample_transition_batch(40_000).rewards.reshape(-1)
    _, counts = np.unique(rewards, return_counts=True)
    assert len(counts) == fast.transition_count
    expected = 40_000 / fast.transition_count
    assert (np.abs(counts - expected) < 6 * np.sqrt(expected)).all()


def test_another_transition_picker_is_refused() -> None:
    stock = make("vector", transition_picker=MultiStepTransitionPicker(3, 0.99))
    with pytest.raises(ValueError, match="got MultiStepTransitionPicker"):
        ColumnarReplayBuffer.from_replay_buffer(stock)
