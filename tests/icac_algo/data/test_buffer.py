"""The columnar buffer is the stock buffer, only faster."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import numpy as np
import pytest
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import (
    Episode,
    FIFOBuffer,
    FrameStackTransitionPicker,
    InfiniteBuffer,
    MixedReplayBuffer,
    MultiStepTransitionPicker,
    ReplayBuffer,
    Signature,
    SparseRewardTransitionPicker,
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
        np.testing.assert_array_equal(x, y, err_msg=field)
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


@pytest.mark.parametrize(
    "picker",
    [
        MultiStepTransitionPicker(3, 0.9),
        MultiStepTransitionPicker(50, 0.5),
        FrameStackTransitionPicker(2),
        SparseRewardTransitionPicker(failure_return=-1.0),
    ],
)
@pytest.mark.parametrize("kind", ["pixel", "tuple"])
def test_every_picker_of_d3rlpy_gives_the_same_batches(picker: Any, kind: str) -> None:
    if isinstance(picker, FrameStackTransitionPicker) and kind == "tuple":
        pytest.skip("d3rlpy stacks frames of pictures")
    stock = make(kind, transition_picker=picker)
    fast = ColumnarReplayBuffer.from_replay_buffer(stock)
    for seed in range(10):
        np.random.seed(seed)  # noqa: NPY002
        expected = stock.sample_transition_batch(16)
        np.random.seed(seed)  # noqa: NPY002
        batch = fast.sample_transition_batch(16)
        assert_same(batch, expected)
        for a, b in zip(batch.transitions, expected.transitions, strict=True):
            assert np.array_equal(a.rewards_to_go, b.rewards_to_go)


def test_trajectories_are_those_of_the_stock_buffer() -> None:
    stock = make("vector")
    fast = ColumnarReplayBuffer.from_replay_buffer(stock)
    for seed in range(10):
        np.random.seed(seed)  # noqa: NPY002
        expected = stock.sample_trajectory_batch(8, length=4)
        np.random.seed(seed)  # noqa: NPY002
        batch = fast.sample_trajectory_batch(8, length=4)
        for field in dataclasses.fields(expected):
            a, b = getattr(batch, field.name), getattr(expected, field.name)
            assert np.array_equal(a, b), field.name


def test_a_seed_gives_a_random_stream_of_its_own() -> None:
    twins = [
        ColumnarReplayBuffer.from_replay_buffer(make("vector"), seed=7) for _ in range(2)
    ]
    for _ in range(3):
        np.random.random()  # noqa: NPY002
        before = np.random.get_state()[1]  # type: ignore[index]  # noqa: NPY002
        first, second = (twin.sample_transition_batch(8) for twin in twins)
        assert np.array_equal(first.rewards, second.rewards)
        assert np.array_equal(before, np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002
    state = twins[0].random_state
    expected = twins[0].sample_transition_batch(8).rewards
    twins[1].random_state = state
    assert np.array_equal(twins[1].sample_transition_batch(8).rewards, expected)


def test_a_random_state_needs_a_seed() -> None:
    buffer = ColumnarReplayBuffer.from_replay_buffer(make("vector"))
    assert buffer.random_state is None
    with pytest.raises(ValueError, match="made without a seed"):
        buffer.random_state = {"state": 1}


def test_episodes_are_views_that_d3rlpy_can_read_and_write() -> None:
    stock = make("tuple")
    fast = ColumnarReplayBuffer.from_replay_buffer(stock)
    assert len(fast.episodes) == fast.size() == stock.size()
    for a, b in zip(fast.episodes, stock.episodes, strict=True):
        assert a.terminated == b.terminated
        assert a.transition_count == b.transition_count
        assert np.array_equal(a.rewards, b.rewards)
        assert a.observation_signature == b.observation_signature
    assert fast.dataset_info == stock.dataset_info
    assert [e.size() for e in fast.episodes[1:3]] == [5, 3]
    assert fast.episodes[-1].size() == 6
    with pytest.raises(IndexError):
        fast.episodes[6]
    file = io.BytesIO()
    fast.dump(file)
    for loader in (ColumnarReplayBuffer.load, ReplayBuffer.load):
        file.seek(0)
        again = loader(file, InfiniteBuffer())
        assert again.transition_count == stock.transition_count
    back = fast.to_replay_buffer()
    for a, b in zip(back.episodes, stock.episodes, strict=True):
        assert np.array_equal(a.actions, b.actions)


def test_numbered_transitions_are_those_of_the_stock_buffer() -> None:
    stock = make("vector")
    fast = ColumnarReplayBuffer.from_replay_buffer(stock)
    assert len(fast.buffer) == len(stock.buffer)  # type: ignore[arg-type]
    for i in range(stock.transition_count):
        (a, m), (b, n) = fast.buffer[i], stock.buffer[i]
        assert m == n
        assert np.array_equal(a.rewards, b.rewards)
    with pytest.raises(TypeError, match="append to the replay buffer"):
        fast.buffer.append(stock.episodes[0], 0)


def test_steps_appended_one_by_one_keep_the_stock_buffers_order() -> None:
    """Across several merges of what was appended, and while an episode is open."""
    stock, fast = make("vector"), ColumnarReplayBuffer.from_replay_buffer(make("vector"))
    rng = np.random.default_rng(0)
    for step in range(3000):
        observation, reward = rng.random(3).astype(np.float32), float(step)
        for buffer in (stock, fast):
            buffer.append(observation, step % 4, reward)
            if step % 7 == 6:
                buffer.clip_episode(step % 2 == 0)
        if step % 500 in (3, 6):
            np.random.seed(step)  # noqa: NPY002
            expected = stock.sample_transition_batch(64)
            np.random.seed(step)  # noqa: NPY002
            assert_same(fast.sample_transition_batch(64), expected)
    assert fast.columns.index.transitions > 2000


def test_mixes_with_another_buffer_as_d3rlpys_do() -> None:
    online = ColumnarReplayBuffer.from_replay_buffer(make("vector", seed=1))
    offline = ColumnarReplayBuffer.from_replay_buffer(make("vector", seed=2))
    mixed = MixedReplayBuffer(online, offline, 0.5)
    assert mixed.transition_count == 2 * online.transition_count
    assert len(mixed.sample_transition_batch(10)) == 10


@pytest.mark.parametrize("wrong", [FIFOBuffer(10), "preprocessor"])
def test_what_columns_cannot_do_is_refused(wrong: Any) -> None:
    episodes = make("vector").episodes
    arguments = (
        {"writer_preprocessor": object()}
        if wrong == "preprocessor"
        else {"buffer": wrong}
    )
    with pytest.raises(ValueError, match=r"FIFOBuffer|writer_preprocessor"):
        ColumnarReplayBuffer.from_episode_generator(lambda: episodes, **arguments)


def test_an_empty_buffer_is_refused() -> None:
    empty = ReplayBuffer(
        InfiniteBuffer(),
        observation_signature=Signature([np.dtype(np.float32)], [(3,)]),
        action_signature=Signature([np.dtype(np.int64)], [(1,)]),
        reward_signature=Signature([np.dtype(np.float32)], [(1,)]),
        action_space=ActionSpace.DISCRETE,
        action_size=4,
    )
    with pytest.raises(ValueError, match="at least one episode"):
        ColumnarReplayBuffer.from_replay_buffer(empty)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("n_steps", [2, 9, 40])
def test_multi_step_rewards_are_the_stock_buffers_bit_for_bit(
    kind: Any, n_steps: int
) -> None:
    rng = np.random.default_rng(0)
    rewards = (100 * rng.normal(size=(50, 1))).astype(kind)
    episode = Episode(
        np.zeros((50, 1), np.float32), rng.integers(3, size=(50, 1)), rewards, False
    )
    picker = MultiStepTransitionPicker(n_steps, 0.97)
    stock = ReplayBuffer(InfiniteBuffer(), episodes=[episode], transition_picker=picker)
    fast = ColumnarReplayBuffer.from_replay_buffer(stock)
    np.random.seed(0)  # noqa: NPY002
    expected = stock.sample_transition_batch(200)
    np.random.seed(0)  # noqa: NPY002
    assert_same(fast.sample_transition_batch(200), expected)


@pytest.mark.parametrize("terminated", [True, False])
def test_episodes_of_one_appended_step_are_not_put_together(terminated: bool) -> None:
    buffer = ColumnarReplayBuffer.from_replay_buffer(make("vector"))
    before, episodes = buffer.transition_count, buffer.size()
    for step in range(4):
        buffer.append(np.full(3, step, np.float32), 1, 0.5 + step)
        buffer.clip_episode(terminated)
    # A step that was cut off leads nowhere: there is no transition of it.
    assert buffer.transition_count == before + 4 * terminated
    found = [float(e.rewards[0, 0]) for e in buffer.episodes[episodes:]]
    assert found == [0.5, 1.5, 2.5, 3.5] * terminated
    assert all(e.size() == 1 for e in buffer.episodes[episodes:])


def test_whole_numbers_stay_and_fractions_are_kept_when_both_are_appended() -> None:
    log = ColumnarReplayBuffer.from_arrays(
        np.zeros((20, 1), np.uint8), np.arange(20) % 3, np.ones(20, int)
    )
    for step in range(1200):
        log.append(np.array([step % 7]), 1, 0.25)
        log.clip_episode(True)
    assert log.columns.observations[0].dtype == np.uint8
    assert {float(e.rewards[0, 0]) for e in log.episodes[20:]} == {0.25}
    log.append_episode(
        Episode(np.full((2, 1), 0.5), np.zeros((2, 1), int), np.ones((2, 1)), True)
    )
    assert log.columns.observations[0].read(1219, 1222).tolist() == [[2], [0.5], [0.5]]


def test_what_is_appended_has_the_log_s_shapes() -> None:
    log = ColumnarReplayBuffer.from_replay_buffer(make("tuple"))
    good = [np.zeros(3), np.zeros(2)]
    for observation, action, reward, message in (
        (np.zeros(3), 0, 0.0, "observations must be 2 arrays"),
        ([np.zeros(3)], 0, 0.0, "observations must be 2 arrays"),
        ([np.zeros(3), np.zeros(3)], 0, 0.0, r"observations\[1\] must have shape \(2,\)"),
        (good, [0, 1], 0.0, r"actions must have shape \(1,\)"),
        (good, 0, [0.0, 0.0], r"rewards must have shape \(1,\)"),
        (good, 0, None, "rewards must be numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            log.append(observation, action, reward)
    assert log.transition_count == make("tuple").transition_count


def test_extras_survive_files_and_appending() -> None:
    log = ColumnarReplayBuffer.from_arrays(
        np.zeros((4, 1)),
        [0, 1, 0, 1],
        np.arange(4.0),
        timeouts=[0, 1, 0, 1],
        extras={"propensity": np.array([0.1, 0.2, 0.3, 0.4]), "kind": np.arange(4)},
    )
    file = io.BytesIO()
    log.dump(file)
    file.seek(0)
    again = ColumnarReplayBuffer.load(file)
    file.seek(0)
    assert ReplayBuffer.load(file, InfiniteBuffer()).transition_count == 2
    again.append_episode(log.episodes[0])
    again.append(np.zeros(1), 1, 0.0)
    again.append(np.zeros(1), 1, 0.0)
    again.clip_episode(True)
    extras = again.to_arrays()["extras"]
    expected = [0.1, 0.2, 0.3, 0.4, 0.1, 0.2, np.nan, np.nan]
    assert np.array_equal(extras["propensity"], expected, equal_nan=True)
    assert extras["kind"][:6].tolist() == [0, 1, 2, 3, 0, 1]
