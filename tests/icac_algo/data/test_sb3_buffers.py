"""Stable-Baselines3 replay buffers: in, and back without loss."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from icac_algo import ColumnarReplayBuffer

pytest.importorskip("stable_baselines3")

from stable_baselines3.common.buffers import (
    DictReplayBuffer,
    ReplayBuffer,
)

BOX = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)


def fill(
    size: int, steps: int, environments: int, kind: str = "box", **options: Any
) -> tuple[Any, list[tuple[float, float, float, bool, bool]]]:
    """A buffer, and (observation, action, successor, terminal, timeout) of every step.

    Environment ``e`` counts from ``1000 e``; its episodes last 4 steps and end in turn
    by termination and by timeout, and the next one begins at a higher number.
    """
    space: gym.Space[Any] = BOX
    buffer_class: Any = ReplayBuffer
    actions: gym.Space[Any] = gym.spaces.Discrete(5)
    if kind == "dict":
        space = gym.spaces.Dict({"a": BOX, "b": gym.spaces.Box(-9e9, 9e9, (1,))})
        buffer_class = DictReplayBuffer
    if kind == "continuous":
        actions = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    buffer = buffer_class(
        size, space, actions, device="cpu", n_envs=environments, **options
    )
    log = []
    value = 1000.0 * np.arange(environments)

    def observe(v: Any) -> Any:
        both = np.stack([v, -v], axis=1).astype(np.float32)
        return {"a": both, "b": both[:, :1] / 2} if kind == "dict" else both

    for step in range(steps):
        done = step % 4 == 3
        timeout = done and step % 8 == 7
        action = (value % 5).astype(int)
        given: Any = action
        if kind == "continuous":
            given = np.stack([action, -action], axis=1) / 10.0
        infos = [{"TimeLimit.truncated": timeout}] * environments
        buffer.add(
            observe(value),
            observe(value + 1),
            given,
            value / 7,
            np.full(environments, done),
            infos,
        )
        log += [
            (float(v), float(a), float(v + 1), done and not timeout, timeout)
            for v, a in zip(value, action, strict=True)
        ]
        value = value + (5 if done else 1)
    return buffer, log


def transitions(buffer: ColumnarReplayBuffer) -> list[tuple[float, ...]]:
    found = []
    for i in range(buffer.transition_count):
        t = buffer.transition_picker(*buffer.buffer[i])
        first = t.observation[0] if isinstance(t.observation, list) else t.observation
        after = (
            t.next_observation[0]
            if isinstance(t.next_observation, list)
            else t.next_observation
        )
        found.append((float(first[0]), float(after[0]), t.terminal, float(t.reward[0])))
    return sorted(found)


@pytest.mark.parametrize("kind", ["box", "dict", "continuous"])
@pytest.mark.parametrize(("size", "steps"), [(60, 10), (20, 20), (30, 33)])
def test_every_transition_is_there(kind: str, size: int, steps: int) -> None:
    """Also of a ring that was overwritten in the middle of an episode."""
    environments = 3
    source, log = fill(size, steps, environments, kind)
    buffer = ColumnarReplayBuffer.from_sb3(source)
    kept = log[-min(len(log), (size // environments) * environments) :]
    expected = sorted(
        (v, 0.0 if terminal else after, float(terminal), float(np.float32(v / 7)))
        for v, _, after, terminal, _ in kept
    )
    assert transitions(buffer) == expected


def test_the_memory_saving_layout() -> None:
    options = {"optimize_memory_usage": True, "handle_timeout_termination": False}
    source, log = fill(50, 10, 1, **options)
    buffer = ColumnarReplayBuffer.from_sb3(source)
    # Without timeouts SB3 holds every end for a terminal one.
    ends = sum(terminal or timeout for *_, terminal, timeout in log)
    assert buffer.columns.index.terminals == ends
    assert buffer.transition_count == len(log)


@pytest.mark.parametrize("kind", ["box", "dict", "continuous"])
def test_round_trip_without_loss(kind: str) -> None:
    source, _ = fill(50, 19, 2, kind)
    once = ColumnarReplayBuffer.from_sb3(source)
    back = once.to_sb3()
    twice = ColumnarReplayBuffer.from_sb3(back)
    assert twice.dataset_info.action_size == once.dataset_info.action_size
    first, second = once.to_arrays(), twice.to_arrays()
    for name in ("actions", "rewards", "terminals", "timeouts", "final"):
        assert np.array_equal(first[name], second[name]), name
    parts = zip(
        *(
            a["observations"] if kind == "dict" else [a["observations"]]
            for a in (first, second)
        ),
        strict=True,
    )
    for a, b in parts:
        assert np.array_equal(a, b)
    assert back.size() == once.transition_count
    batch = back.sample(8)
    assert batch.rewards.shape == (8, 1)


def test_an_unknown_last_observation_is_zero_in_sb3() -> None:
    buffer = ColumnarReplayBuffer.from_arrays(
        np.arange(1.0, 7.0)[:, None].astype(np.float32),
        [0, 1, 0, 1, 0, 1],
        np.ones(6),
        terminals=[0, 0, 1, 0, 0, 0],
    )
    sb3 = buffer.to_sb3()
    assert sb3.observations.ravel().tolist() == [1, 2, 3, 4, 5]
    assert sb3.next_observations.ravel().tolist() == [2, 3, 0, 5, 6]
    assert sb3.dones.ravel().tolist() == [0, 0, 1, 0, 1]
    assert sb3.timeouts.ravel().tolist() == [0, 0, 0, 0, 1]


def test_an_empty_buffer_is_refused() -> None:
    with pytest.raises(ValueError, match="buffer is empty"):
        ColumnarReplayBuffer.from_sb3(
            ReplayBuffer(10, BOX, gym.spaces.Discrete(2), device="cpu")
        )


@pytest.mark.parametrize("environments", [1, 3])
@pytest.mark.parametrize("steps", [7, 8, 11, 16])
def test_the_seam_of_a_full_ring_that_saves_memory(environments: int, steps: int) -> None:
    size = 8 * environments
    options = {"optimize_memory_usage": True, "handle_timeout_termination": False}
    source, log = fill(size, steps, environments, **options)
    buffer = ColumnarReplayBuffer.from_sb3(source)
    # The oldest observation of a full ring was overwritten.
    kept = log[-environments * (min(steps, 8) - (steps >= 8)) :]
    expected = sorted(
        (v, 0.0 if done else after, float(done), float(np.float32(v / 7)))
        for v, _, after, *ends in kept
        for done in [any(ends)]
    )
    assert transitions(buffer) == expected
    # What was observed after an end was overwritten too, unless nothing came since.
    _, terminated, has_final = buffer.columns.index.arrays()
    assert (has_final | terminated).all()
    assert (has_final & terminated).sum() <= environments * (steps % 4 == 0)


def test_booleans_are_stored_as_numbers() -> None:
    log = ColumnarReplayBuffer.from_arrays(
        np.array([[True], [False], [True]]), [0, 1, 0], np.zeros(3), terminals=[0, 0, 1]
    )
    assert log.to_sb3().observations.ravel().tolist() == [1, 0, 1]
