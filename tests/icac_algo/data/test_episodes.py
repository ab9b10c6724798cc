"""The index against d3rlpy's own episodes and pickers, over random logs."""

from __future__ import annotations

import numpy as np
import pytest
from d3rlpy.dataset import Episode, MultiStepTransitionPicker
from hypothesis import given
from hypothesis import strategies as st

from icac_algo.data.episodes import BadMark, EpisodeIndex

lengths = st.lists(
    st.tuples(st.integers(1, 6), st.booleans(), st.booleans()), min_size=1, max_size=8
)


def build(episodes: list[tuple[int, bool, bool]]) -> EpisodeIndex:
    """From (steps, terminated, has a final row) of each episode."""
    steps, terminated, final = (
        np.array(column) for column in zip(*episodes, strict=True)
    )
    return EpisodeIndex(np.cumsum(steps + final), terminated, final)


@given(lengths, st.integers(1, 7))
def test_transitions_are_those_of_d3rlpy(
    episodes: list[tuple[int, bool, bool]], n_steps: int
) -> None:
    index = build(episodes)
    picker = MultiStepTransitionPicker(n_steps, 1.0)
    expected, first = [], 0
    for steps, terminated, final in episodes:
        # A cut-off episode shows d3rlpy its last observation as a step.
        shown = steps + (final and not terminated)
        numbers = np.arange(first, first + shown, dtype=np.float32)
        episode = Episode(
            numbers[:, None], np.zeros((shown, 1)), numbers[:, None], terminated
        )
        for place in range(episode.transition_count):
            picked = picker(episode, place)
            expected.append(
                (first + place, picked.terminal, picked.interval, picked.next_observation)
            )
        first += steps + final
    assert index.transitions == len(expected)
    assert index.rows == first
    assert index.episodes == len(episodes)
    if not expected:
        return
    rows = index.rows_of(np.arange(index.transitions))
    after = index.successors(rows, n_steps)
    assert rows.tolist() == [e[0] for e in expected]
    assert after.terminal.tolist() == [bool(e[1]) for e in expected]
    assert after.interval.tolist() == [e[2] for e in expected]
    alive = ~after.terminal
    successors = np.array([e[3][0] for e in expected])
    assert after.rows[alive].tolist() == successors[alive].tolist()


@given(lengths)
def test_marks_and_arrays_give_the_index_back(
    episodes: list[tuple[int, bool, bool]],
) -> None:
    index = build(episodes)
    ends, terminated, final = index.arrays()
    last = ends - 1 - final
    marks = (last[terminated], last[~terminated], (ends - 1)[final])
    for known_ends in (None, ends):
        again = EpisodeIndex.from_marks(index.rows, *marks, known_ends)
        for a, b in zip(again.arrays(), index.arrays(), strict=True):
            assert np.array_equal(a, b)
    for number in range(index.episodes):
        start, stop, _, _ = index.episode(number)
        assert set(np.asarray(index.episode_of(np.arange(start, stop)))) == {number}


def test_a_bandit_log_needs_no_memory() -> None:
    explicit = EpisodeIndex(np.arange(1, 1001), np.ones(1000, dtype=bool))
    assert explicit.is_bandit
    index = EpisodeIndex(None, rows=10**12)
    assert index.transitions == index.episodes == index.terminals == 10**12
    rows = np.array([0, 10**12 - 1])
    assert np.array_equal(index.rows_of(rows), rows)
    assert index.successors(rows).terminal.all()


def test_a_row_without_a_transition_is_refused() -> None:
    index = build([(3, False, False)])
    with pytest.raises(IndexError, match="after an episode's last transition"):
        index.successors(np.array([2]))


@pytest.mark.parametrize(
    ("terminal", "timeout", "final", "ends", "message"),
    [
        ([1], [1], [], None, r"terminal and timeout must not both be set: row 1"),
        ([0], [], [], [3], r"terminal must be set only on an episode's last step: row 0"),
        ([], [1], [], [3], r"timeout must be set only on an episode's last step: row 1"),
        ([2], [], [1], None, r"final must be set only on the row after .*: row 1"),
        ([], [], [0], [3], r"final must be set only on the row after .*: row 0"),
        ([2], [], [2], [3], r"final must be set only on the row after .*: row 2"),
    ],
)
def test_contradicting_marks_are_refused(
    terminal: list[int],
    timeout: list[int],
    final: list[int],
    ends: list[int] | None,
    message: str,
) -> None:
    marks = (np.array(rows, dtype=np.int64) for rows in (terminal, timeout, final))
    with pytest.raises(BadMark, match=message):
        EpisodeIndex.from_marks(3, *marks, None if ends is None else np.array(ends))
