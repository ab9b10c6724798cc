"""Named logs of campaigns: stored by Minari, replayable, whole campaigns in a buffer."""

from __future__ import annotations

import importlib
import itertools
import pathlib
import sys
from typing import Any

import numpy as np
import pytest

from bidclick_gym import fingerprint, get_dataset, get_log, load_minari
from bidclick_gym.campaigns import BudgetedCampaign, PacedPolicy, UnpacedPolicy
from bidclick_gym.logs import (
    BUDGET_DATASETS,
    BudgetLog,
    minari_id,
    simulate_budget_log,
    to_replay_buffer,
)

pytest.importorskip("h5py")
minari = pytest.importorskip("minari")
pytest.importorskip("d3rlpy")

NAME = "bidclick/budget-logged-v0"
PACED = "bidclick/budget-paced-v0"
FINGERPRINTS = {
    NAME: "5c579526ec0978024fa47ad54ccffd6c65ae48bafa0ef8e9eac5651ac725c94e",
    PACED: "8958fdc8cba0e32da5efd828851fd561ae956c72f6ff9d405f9cbddb81f38aed",
}
SMALL = BudgetedCampaign(budget=0.7, impressions=9)


@pytest.fixture(scope="module")
def log() -> BudgetLog:
    return simulate_budget_log(SMALL, campaigns=16, seed=4)


@pytest.fixture
def small_datasets(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """Names mean logs of 40 campaigns, in a Minari folder that holds nothing yet."""
    module = importlib.import_module("bidclick_gym.logs.datasets")

    def simulate(*arguments: Any, seed: int) -> BudgetLog:
        return simulate_budget_log(*arguments, campaigns=40, seed=seed)

    monkeypatch.setattr(module, "BUDGET_CAMPAIGNS", 40)
    monkeypatch.setattr(module, "simulate_budget_log", simulate)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))


def rows_of(buffer: Any) -> list[tuple[Any, ...]]:
    """One row for each campaign."""
    return [
        (e.observations.tobytes(), e.actions.tobytes(), e.rewards.tobytes())
        for e in buffer.episodes
    ]


# -- Minari ------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(BUDGET_DATASETS))
def test_the_fingerprint_of_the_published_log_is_pinned(name: str) -> None:
    campaign = BudgetedCampaign()
    policy = {NAME: UnpacedPolicy, PACED: PacedPolicy}[name](campaign)
    log = simulate_budget_log(campaign, policy)
    assert log.actions.shape == (2000, 50)
    assert fingerprint(log) == FINGERPRINTS[name]


@pytest.mark.slow
def test_minari_gives_back_the_published_log() -> None:
    stored = get_log(PACED, show_progress=False)
    assert isinstance(stored, BudgetLog)
    assert fingerprint(stored) == FINGERPRINTS[PACED]


@pytest.mark.usefixtures("small_datasets")
@pytest.mark.parametrize("name", sorted(BUDGET_DATASETS))
def test_stored_campaigns_terminate_and_replay_bit_for_bit(name: str) -> None:
    loaded = load_minari(name, show_progress=False)
    assert loaded.storage.metadata["description"] == BUDGET_DATASETS[name].description
    env = loaded.recover_environment()
    assert env.spec is not None
    assert env.spec.id == "BidClickBudget-v0"
    chosen = [0, 21, 39]
    described = loaded.storage.get_episode_metadata(chosen)
    for episode, metadata in zip(loaded.iterate_episodes(chosen), described, strict=True):
        assert np.flatnonzero(episode.terminations).tolist() == [49]
        assert not episode.truncations.any()
        assert set(episode.infos) == {"propensity", "click", "refused"}
        steps: list[Any] = []
        observations = [env.reset(seed=metadata["seed"])[0]]
        for action in episode.actions:
            steps.append(env.step(int(action)))
            observations.append(steps[-1][0])
        assert np.array(observations).tobytes() == episode.observations.tobytes()
        assert [step[1] for step in steps] == episode.rewards.tolist()
        assert [step[2] for step in steps] == episode.terminations.tolist()
        for info in ("click", "refused"):
            assert [step[4][info] for step in steps] == episode.infos[info].tolist()


@pytest.mark.usefixtures("small_datasets")
def test_a_writer_that_fails_leaves_nothing_and_the_next_one_succeeds(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storages = importlib.import_module("minari.dataset._storages.hdf5_storage")
    write = storages.HDF5Storage.update_episodes

    def be_interrupted(storage: Any, episodes: Any) -> None:
        write(storage, itertools.islice(episodes, 20))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(storages.HDF5Storage, "update_episodes", be_interrupted)
        with pytest.raises(KeyboardInterrupt):
            load_minari(NAME, show_progress=False)
    assert minari.list_local_datasets() == {}
    assert not [path for path in (tmp_path / "datasets").rglob("*") if path.is_file()]
    assert load_minari(NAME, show_progress=False).total_steps == 2000


@pytest.mark.usefixtures("small_datasets")
def test_another_log_seed_is_another_dataset() -> None:
    assert minari_id(NAME, 3) == "bidclick/budget-logged-seed3-v0"
    log = get_log(PACED, log_seed=3, show_progress=False)
    assert list(minari.list_local_datasets()) == ["bidclick/budget-paced-seed3-v0"]
    campaign = BudgetedCampaign()
    expected = simulate_budget_log(campaign, PacedPolicy(campaign), 40, seed=3)
    assert fingerprint(log) == fingerprint(expected)


# -- replay buffers ----------------------------------------------------------


def test_campaigns_end_as_terminal_and_keep_every_impression(log: BudgetLog) -> None:
    buffer = to_replay_buffer(log)
    assert [len(episode) for episode in buffer.episodes] == [9] * 16
    assert all(episode.terminated for episode in buffer.episodes)
    assert buffer.transition_count == 16 * 9
    for i, episode in enumerate(buffer.episodes):
        assert episode.transition_count == 9
        for t in range(9):
            made = buffer.transition_picker(episode, t)
            assert made.terminal == float(t == 8)
            assert made.observation.tobytes() == log.observations[i, t].tobytes()
            assert made.action.tolist() == [log.actions[i, t]]
            assert made.reward.tolist() == [np.float32(log.rewards[i, t])]
            if t < 8:
                successor = log.observations[i, t + 1]
                assert made.next_observation.tobytes() == successor.tobytes()
    info = buffer.dataset_info
    assert (info.action_space.name, info.action_size) == ("DISCRETE", 5)


def test_propensities_come_along(log: BudgetLog) -> None:
    whole = to_replay_buffer(log).to_arrays()
    propensities = whole["extras"]["propensity"]
    np.testing.assert_array_equal(propensities, log.propensities.reshape(-1))
    kept = to_replay_buffer(log, 0.25, seed=1).to_arrays()
    rows = np.flatnonzero(
        np.isin(whole["observations"][:, 0], kept["observations"][:, 0])
    )
    assert len(rows) == 36
    np.testing.assert_array_equal(propensities[rows], kept["extras"]["propensity"])


def test_fractions_keep_whole_campaigns_and_are_nested(log: BudgetLog) -> None:
    small, middle, whole = (
        rows_of(to_replay_buffer(log, fraction, seed=1)) for fraction in (0.125, 0.5, 1.0)
    )
    assert [len(rows) for rows in (small, middle, whole)] == [2, 8, 16]
    assert set(small) < set(middle) < set(whole)
    assert middle == [row for row in whole if row in middle]
    assert rows_of(to_replay_buffer(log, 0.5, seed=2)) != middle


def test_columns_become_a_buffer_without_minari(
    log: BudgetLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "minari", None)
    assert len(to_replay_buffer(log).episodes) == 16
    with pytest.raises(ImportError, match="needs minari"):
        get_dataset(NAME)


@pytest.mark.usefixtures("small_datasets")
@pytest.mark.parametrize("name", sorted(BUDGET_DATASETS))
def test_get_dataset_gives_the_log_and_its_environment(name: str) -> None:
    buffer, env = get_dataset(
        name, 0.5, seed=2, log_seed=1, as_bandit=False, show_progress=False
    )
    campaign = BudgetedCampaign()
    log = simulate_budget_log(
        campaign, BUDGET_DATASETS[name].policy(campaign), 40, seed=1
    )
    assert rows_of(buffer) == rows_of(to_replay_buffer(log, 0.5, seed=2))
    assert env.unwrapped.campaign == campaign  # type: ignore[attr-defined]
    assert env.observation_space.contains(buffer.episodes[0].observations[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"as_bandit": True}, "as_bandit must be left out or False for .*budget.*True"),
        ({"continuous": True}, "continuous must be False for .*budget.*got True"),
    ],
)
def test_campaigns_are_not_torn_apart(
    log: BudgetLog, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        get_dataset(NAME, **arguments)
    with pytest.raises(ValueError, match=message):
        to_replay_buffer(log, **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "bidclick/budget-v0"}, "must be one of .*budget-logged-v0.*logged-v0"),
        ({"fraction": 0.0}, r"fraction must be .*in \(0, 1\], got 0\.0"),
        ({"fraction": 1e-4}, r"fraction=0\.0001 keeps none of 40 .* least 0\.025"),
        ({"seed": -1}, "seed must be an integer >= 0, got -1"),
        ({"log_seed": 0.5}, r"log_seed must be an integer >= 0, got 0\.5"),
    ],
)
@pytest.mark.usefixtures("small_datasets")
def test_bad_arguments_are_refused_by_name(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        get_dataset(**{"name": NAME, "show_progress": False, **arguments})
