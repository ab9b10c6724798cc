"""The same log, but ...: what is not replaced stays; a split keeps episodes whole."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from d3rlpy.dataset import (
    BasicTrajectorySlicer,
    FrameStackTrajectorySlicer,
    MultiStepTransitionPicker,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from icac_algo import BudgetRelabellingTransitionPicker, ColumnarReplayBuffer


def log(lengths: list[int], final: bool = False) -> ColumnarReplayBuffer:
    rows = sum(lengths)
    ends = np.cumsum(lengths) - 1
    flags = np.zeros(rows)
    # Every other episode ends by timeout; the flag stands before a final row.
    flags[ends - final] = 1
    odd = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    is_final = np.zeros(rows)
    is_final[ends] = final
    number = np.arange(rows, dtype=np.float32)
    return ColumnarReplayBuffer.from_arrays(
        np.stack([number, np.repeat(np.arange(len(lengths)), lengths)], axis=1),
        np.arange(rows) % 3,
        number[:, None] * 2.0,
        terminals=flags * ~odd,
        timeouts=flags * odd,
        final=is_final,
        extras={"propensity": (1.0 + number) / (1.0 + rows)},
        action_size=3,
    )


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(2, 6), min_size=2, max_size=12),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 5),
    final=st.booleans(),
)
def test_every_episode_is_in_one_half_unchanged(
    lengths: list[int], share: float, seed: int, final: bool
) -> None:
    whole = log(lengths, final)
    halves = whole.split(share, seed)
    kept = []
    for half in halves:
        assert half.dataset_info.action_size == 3
        arrays = half.to_arrays()
        rows = arrays["observations"][:, 0].astype(int)
        everything = whole.to_arrays()
        for name in ("actions", "rewards", "terminals", "timeouts", "final"):
            assert np.array_equal(arrays[name], everything[name][rows]), name
        assert np.array_equal(
            arrays["extras"]["propensity"], everything["extras"]["propensity"][rows]
        )
        numbers = arrays["observations"][:, 1].astype(int)
        kept += np.unique(numbers).tolist()
        assert [int((numbers == n).sum()) for n in np.unique(numbers)] == [
            lengths[n] for n in np.unique(numbers)
        ]
    assert sorted(kept) == list(range(len(lengths)))
    assert abs(halves[0].columns.index.episodes - share * len(lengths)) <= 1.0


def test_bandits_split_by_row_and_seeds_are_nested() -> None:
    buffer = ColumnarReplayBuffer.from_arrays(
        np.arange(200, dtype=np.float32)[:, None], np.arange(200) % 2, np.zeros(200)
    )
    small, large = (buffer.split(share, 3)[0] for share in (0.2, 0.6))
    assert (small.transition_count, large.transition_count) == (40, 120)
    of = [set(b.to_arrays()["observations"][:, 0]) for b in (small, large)]
    assert of[0] < of[1]
    again = buffer.split(0.2, 3)[0]
    assert set(again.to_arrays()["observations"][:, 0]) == of[0]
    assert set(buffer.split(0.2, 4)[0].to_arrays()["observations"][:, 0]) != of[0]


@pytest.mark.parametrize("share", [0.0, 1.0, -1, float("nan"), "half"])
def test_a_share_is_between_nothing_and_everything(share: float) -> None:
    with pytest.raises(ValueError, match="share must be a number > 0 and < 1"):
        log([2, 2]).split(share)


def test_one_episode_cannot_be_split() -> None:
    with pytest.raises(ValueError, match="must have two episodes to split, has 1"):
        log([4]).split(0.5)


# -- the same log, but ... ----------------------------------------------------------


PICKER = BudgetRelabellingTransitionPicker(budget_feature=0)
SLICER = FrameStackTrajectorySlicer(2)


def special() -> ColumnarReplayBuffer:
    """A buffer with everything that could get lost."""
    plain = log([3, 2, 4, 5], final=True)
    return ColumnarReplayBuffer(
        plain.columns,
        plain.dataset_info.action_space,
        7,
        transition_picker=PICKER,
        trajectory_slicer=SLICER,
    )


def equal(one: Any, two: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[k], two[k]) for k in one)
    return np.array_equal(one, two)


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({}, set()),
        ({"rewards": np.arange(14.0)}, {"rewards"}),
        ({"transition_picker": MultiStepTransitionPicker(3, 0.9)}, {"picker"}),
        ({"trajectory_slicer": BasicTrajectorySlicer()}, {"slicer"}),
        ({"seed": 3}, {"random_state"}),
    ],
)
def test_what_is_not_replaced_stays(changes: dict[str, Any], changed: set[str]) -> None:
    def held(buffer: ColumnarReplayBuffer) -> dict[str, Any]:
        return {
            **buffer.to_arrays(),
            "info": dataclasses.asdict(buffer.dataset_info),
            "picker": id(buffer.transition_picker),
            "slicer": id(buffer.trajectory_slicer),
            "random_state": buffer.random_state is None,
        }

    before, after = held(special()), held(special().replace(**changes))
    assert {name for name in before if not equal(before[name], after[name])} == changed


def test_columns_are_shared_and_appending_is_not() -> None:
    whole = special()
    other = whole.replace(rewards=np.zeros(14))
    assert other.columns.observations is whole.columns.observations
    assert other.columns.extras is whole.columns.extras
    other.append_episode(whole.episodes[0])
    assert len(other.episodes) == 5
    assert len(whole.episodes) == 4


def test_chosen_episodes_come_in_the_given_order() -> None:
    whole = special()
    some = whole.replace(episodes=[2, 0, 2], rewards=-np.arange(14.0))
    rows = [5, 6, 7, 8, 0, 1, 2, 5, 6, 7, 8]
    found, expected = some.to_arrays(), whole.to_arrays()
    for name in ("observations", "actions", "terminals", "timeouts", "final"):
        assert np.array_equal(found[name], expected[name][rows]), name
    assert np.array_equal(found["rewards"][:, 0], -np.array(rows))
    assert np.array_equal(
        found["extras"]["propensity"], expected["extras"]["propensity"][rows]
    )
    assert some.transition_picker is PICKER
    assert some.trajectory_slicer is SLICER
    assert some.dataset_info == whole.dataset_info
    for half in whole.split(0.5):
        assert half.transition_picker is PICKER
        assert half.trajectory_slicer is SLICER


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"rewards": np.zeros(13)}, ValueError, "rewards must have 14 rows, got 13"),
        ({"rewards": np.zeros((14, 2))}, ValueError, r"rewards .*\(14, 2\)"),
        ({"rewards": [np.nan] * 14}, ValueError, "rewards must be finite, row 0"),
        ({"rewards": ["a"] * 14}, ValueError, "rewards must be numbers"),
        ({"episodes": []}, ValueError, "episodes .* at least one"),
        ({"episodes": [True, False]}, ValueError, "episodes .* bool"),
        ({"episodes": [[0]]}, ValueError, r"episodes .*\(1, 1\)"),
        ({"episodes": [1, 4]}, ValueError, "episodes must be from 0 to 3, got 4"),
        ({"episodes": [-1]}, ValueError, "episodes must be from 0 to 3, got -1"),
        ({"transition_picker": "basic"}, TypeError, "transition_picker .*'basic'"),
        ({"seed": -1}, ValueError, "seed .*-1"),
    ],
)
def test_bad_replacements_are_refused(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        special().replace(**changes)
