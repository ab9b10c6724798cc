"""Logs of more rows than are held at once: read in blocks, or drawn from."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icac_algo import ColumnarReplayBuffer, Convex, Monotone
from icac_algo.data import steps
from icac_algo.data.episodes import EpisodeIndex
from icac_algo.evidence import check_prior, estimate

ROWS = 12_000


def log(rows: int = ROWS, episode: int = 30, final: bool = False) -> ColumnarReplayBuffer:
    """Rewards rise ever less with the action; half of the contexts are drawn to it."""
    draws = np.random.default_rng(0)
    x = draws.random((rows, 2), np.float32)
    chances = np.where(x[:, :1] > 0.5, [0.2, 0.3, 0.5], [0.5, 0.3, 0.2])
    actions = (draws.random((rows, 1)) > chances.cumsum(axis=1)).sum(axis=1)
    ends = (np.arange(rows) + 1) % episode == 0
    return ColumnarReplayBuffer.from_arrays(
        x,
        actions,
        np.sqrt(actions) + x[:, 1] + draws.normal(0.0, 0.5, rows),
        timeouts=np.roll(ends, -1) if final else ends,
        final=ends if final else None,
        extras={"propensity": chances[np.arange(rows), actions]},
    )


@pytest.mark.parametrize("final", [False, True])
def test_blocks_estimate_what_the_whole_does(
    final: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def policy(x: Any) -> Any:
        return np.where(x[:, 1] > 0.3, 2, 0)

    whole = estimate(log(final=final), policy, as_bandit=True)
    monkeypatch.setattr(steps, "ROWS_AT_ONCE", 2_500)
    blocks = estimate(log(final=final), policy, as_bandit=True)
    for (name, one), other in zip(whole.items(), blocks.values(), strict=True):
        # No model, no difference; models of fewer rows differ by less than noise.
        share = 1e-12 if "ips" in name else 0.1
        width = one.upper - one.lower
        for field in ("value", "lower", "upper"):
            assert abs(getattr(one, field) - getattr(other, field)) <= share * width
        assert other.episodes == one.episodes == ROWS // 30
        assert vars(other.support) == pytest.approx(vars(one.support), rel=1e-12)
        assert (other.propensities, other.problems) == (one.propensities, one.problems)


def test_decisions_of_their_own_are_left_out_with_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = estimate(log(episode=1), 2, estimators=("ips",))["ips"]
    monkeypatch.setattr(steps, "ROWS_AT_ONCE", ROWS // 2)
    blocks = estimate(log(episode=1), 2, estimators=("ips",))["ips"]
    assert blocks.episodes == whole.episodes == ROWS
    assert blocks.value == pytest.approx(whole.value, rel=1e-12)
    # Of independent rows groups say as much: 2,000 have an error of 3 % in the width.
    assert blocks.upper - blocks.lower == pytest.approx(
        whole.upper - whole.lower, rel=0.06
    )


@pytest.mark.slow
def test_memory_does_not_grow_with_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "ROWS_AT_ONCE", 4_000)

    def peak(rows: int) -> int:
        buffer = log(rows)
        tracemalloc.start()
        estimate(buffer, 2, as_bandit=True)
        check_prior(buffer, Monotone())
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(4_000)
    assert peak(48_000) < 1.5 * peak(12_000)


def test_shapes_are_checked_on_whole_episodes_by_chance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert check_prior(log(), Monotone()).sampled_from is None
    monkeypatch.setattr(steps, "ROWS_AT_ONCE", 6_000)
    found = check_prior(log(), Monotone())
    assert (found.steps, found.episodes, found.sampled_from) == (6_000, 200, ROWS)
    assert "6,000 logged steps in 200 episodes drawn from 12,000 rows" in str(found)
    assert found.verdict == "not rejected"
    assert check_prior(log(), Convex()).rejected
    drawn = [log(), *(steps.sampled(log(), None, seed) for seed in (0, 0, 1))]
    rewards = [one.to_arrays()["rewards"].reshape(-1, 30).tolist() for one in drawn]
    assert rewards[1] == rewards[2] != rewards[3]
    assert set(map(tuple, rewards[1])) < set(map(tuple, rewards[0]))


@given(st.lists(st.integers(1, 90), min_size=1, max_size=60), st.integers(4, 50))
def test_blocks_are_whole_episodes(lengths: list[int], most: int) -> None:
    ends = np.cumsum(lengths)
    blocks = list(EpisodeIndex(ends, np.zeros(len(ends), bool)).blocks(most))
    assert np.concatenate(blocks).tolist() == list(range(ends[-1]))
    assert {block[-1] + 1 for block in blocks} <= set(ends.tolist())
    sizes = [len(block) for block in blocks]
    assert len(sizes) == 1 or min(sizes) > most // 4
    assert max(sizes) <= 2 * most + 90
