"""Why the loader of d3rlpy is not used: it pairs observations with others' actions.

``d3rlpy.datasets.get_minari`` (2.8.1) joins Minari's T + 1 observations beside T actions.
If the first test fails, d3rlpy has repaired it and our own loader may be reconsidered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bidclick_gym import Log
from bidclick_gym.logs import to_replay_buffer

minari = pytest.importorskip("minari")
d3rlpy = pytest.importorskip("d3rlpy")

DATASET_ID = "bidclick/trap-v0"


@pytest.fixture
def log(
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    small_minari_dataset: Callable[[str], Log],
) -> Log:
    """Three campaigns of four impressions, stored in a Minari folder of their own."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    return small_minari_dataset(DATASET_ID)


def implied_clicks(buffer: Any, log: Log) -> npt.NDArray[np.float64]:
    """``reward + c * bid`` of every pair: 0 or 1 where the pair belongs together."""
    rows = []
    for episode in buffer.episodes:
        bids = np.array(log.bids)[episode.actions[:, 0]]
        rows.append(episode.rewards[:, 0] + episode.observations[:, 1] * bids)
    return np.array(rows)


def is_a_click(values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    return np.minimum(np.abs(values), np.abs(values - 1.0)) < 1e-6


def test_get_minari_shifts_observations_from_the_second_episode_on(log: Log) -> None:
    buffer, _ = d3rlpy.datasets.get_minari(DATASET_ID)
    np.testing.assert_array_equal(
        np.array([e.actions[:, 0] for e in buffer.episodes]), log.actions
    )
    joined = log.observations.reshape(15, 2)
    for i, episode in enumerate(buffer.episodes):
        np.testing.assert_array_equal(episode.observations, joined[4 * i : 4 * i + 4])
    first, second = (episode.observations for episode in buffer.episodes[:2])
    np.testing.assert_array_equal(first, log.observations[0, :4])
    np.testing.assert_array_equal(second[1:], log.observations[1, :3])


def test_so_its_rewards_contradict_its_observations(log: Log) -> None:
    buffer, _ = d3rlpy.datasets.get_minari(DATASET_ID)
    paid = log.actions > 0
    belongs = is_a_click(implied_clicks(buffer, log))
    assert belongs[0].all()
    assert paid[1:].any()
    assert not belongs[1:][paid[1:]].any()


@pytest.mark.parametrize("as_bandit", [True, False])
def test_our_loader_pairs_every_observation_with_its_own(
    log: Log, as_bandit: bool
) -> None:
    buffer = to_replay_buffer(log, as_bandit=as_bandit)
    assert is_a_click(implied_clicks(buffer, log)).all()
    observations = np.concatenate([e.observations for e in buffer.episodes])
    np.testing.assert_array_equal(observations, log.observations[:, :4].reshape(-1, 2))


def test_and_minari_itself_holds_them_aligned(log: Log) -> None:
    """The fault is in the conversion: what was stored is right."""
    for i, episode in enumerate(minari.load_dataset(DATASET_ID).iterate_episodes()):
        np.testing.assert_array_equal(episode.observations, log.observations[i])
        np.testing.assert_array_equal(episode.actions, log.actions[i])
