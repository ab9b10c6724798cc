"""A split keeps episodes whole, rows with their columns, and nothing twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icac_algo import ColumnarReplayBuffer


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
