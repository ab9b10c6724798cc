"""Flat arrays in, flat arrays out, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import MDPDataset

from icac_algo import ColumnarReplayBuffer


def log(rows: int = 6) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "observations": rng.random((rows, 2)),
        "actions": np.arange(rows) % 3,
        "rewards": rng.random(rows),
        "terminals": np.arange(rows) % 6 == 2,
        "timeouts": np.arange(rows) % 6 == 5,
    }


def test_the_same_episodes_as_d3rlpys_mdp_dataset() -> None:
    arrays = log(20)
    arrays["timeouts"][-1] = True
    ours = ColumnarReplayBuffer.from_arrays(**arrays)
    stock = MDPDataset(
        arrays["observations"],
        arrays["actions"],
        arrays["rewards"],
        arrays["terminals"].astype(float),
        arrays["timeouts"].astype(float),
    )
    assert ours.transition_count == stock.transition_count
    assert ours.dataset_info.action_space == stock.dataset_info.action_space
    assert ours.dataset_info.action_size == stock.dataset_info.action_size
    for a, b in zip(ours.episodes, stock.episodes, strict=True):
        assert a.terminated == b.terminated
        assert np.array_equal(a.observations, b.observations)
        assert np.array_equal(a.actions, b.actions)


@pytest.mark.parametrize("kind", ["vector", "pixel", "tuple", "continuous"])
def test_round_trip(kind: str) -> None:
    arrays = log(12)
    rng = np.random.default_rng(1)
    if kind == "pixel":
        arrays["observations"] = rng.integers(0, 256, (12, 1, 4, 4)).astype(np.uint8)
    if kind == "tuple":
        arrays["observations"] = [rng.random((12, 2)), rng.random((12, 3, 3))]
    if kind == "continuous":
        arrays["actions"] = rng.random((12, 2))
    arrays["final"] = np.arange(12) == 3
    arrays["extras"] = {"propensity": rng.random(12)}
    buffer = ColumnarReplayBuffer.from_arrays(**arrays)
    back = buffer.to_arrays()
    again = ColumnarReplayBuffer.from_arrays(**back).to_arrays()
    for one in (back, again):
        assert np.array_equal(
            one["actions"].reshape(arrays["actions"].shape), arrays["actions"]
        )
        for name in ("terminals", "timeouts", "final"):
            assert np.array_equal(one[name], arrays[name]), name
        assert np.array_equal(one["extras"]["propensity"], arrays["extras"]["propensity"])
        assert one["rewards"].dtype == np.float64
        assert np.array_equal(one["rewards"][:, 0], arrays["rewards"])
        parts = one["observations"] if kind == "tuple" else [one["observations"]]
        given = arrays["observations"] if kind == "tuple" else [arrays["observations"]]
        for a, b in zip(parts, given, strict=True):
            assert np.array_equal(a, b)


def test_a_known_last_observation_is_the_successor_of_a_cut_off_step() -> None:
    buffer = ColumnarReplayBuffer.from_arrays(
        np.arange(4.0)[:, None],
        [0, 1, 1, 0],
        np.ones(4),
        timeouts=[0, 0, 1, 0],
        final=[0, 0, 0, 1],
    )
    assert buffer.transition_count == 3
    transition = buffer.transition_picker(*buffer.buffer[2])
    assert transition.observation[0] == 2.0
    assert transition.next_observation[0] == 3.0
    assert transition.terminal == 0.0
    batch = buffer.sample_transition_batch(50)
    assert np.array_equal(batch.next_observations, batch.observations + 1.0)
    assert not batch.terminals.any()


def test_without_flags_every_row_is_a_bandits() -> None:
    arrays = log()
    del arrays["terminals"], arrays["timeouts"]
    buffer = ColumnarReplayBuffer.from_arrays(**arrays)
    assert buffer.size() == buffer.transition_count == 6
    assert buffer.sample_transition_batch(9).terminals.all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rewards": [0.0, np.nan] * 3}, "rewards must be finite, row 1 has nan"),
        ({"observations": np.full((6, 2), np.inf)}, "observations must be finite, row 0"),
        ({"observations": np.zeros(6)}, r"observations must have shape \(R, \.\.\.\)"),
        ({"observations": np.zeros((0, 2))}, "at least one row"),
        ({"observations": np.array([["a"]] * 6)}, "observations must be numbers, got an"),
        (
            {"actions": [0] * 5},
            "actions must have 6 rows, got 5",
        ),
        ({"actions": [-1] * 6}, "actions must be from 0 to 1048575, row 0 has -1"),
        ({"actions": np.zeros((6, 1, 1))}, r"actions must have shape \(R,\) or \(R, n\)"),
        ({"action_size": 2}, "actions must be from 0 to 1, row 2 has 2"),
        ({"rewards": np.zeros((6, 2))}, r"rewards must have shape \(R,\) or \(R, 1\)"),
        ({"terminals": [2] * 6}, "terminals must be 0 or 1, row 0 has 2"),
        ({"terminals": [1] * 5}, "terminals must have 6 rows, got 5"),
        ({"timeouts": [0, 0, 1, 0, 0, 0]}, "must not both be set"),
        ({"final": [1, 0, 0, 0, 0, 0]}, "final must be set only on the row after"),
        (
            {"terminals": None, "timeouts": None, "final": [0] * 6},
            "final needs terminals",
        ),
        ({"extras": {"propensity": [1.0]}}, "propensity must have 6 rows, got 1"),
        (
            {"actions": np.arange(6) / 2, "action_space": ActionSpace.DISCRETE},
            r"actions must be whole numbers, row 1 has 0\.5",
        ),
        (
            {"actions": np.zeros((6, 2)), "action_size": 3},
            "action_size must be 2, the width of actions, got 3",
        ),
    ],
)
def test_bad_input_is_refused_by_name(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ColumnarReplayBuffer.from_arrays(**{**log(), **changed})
