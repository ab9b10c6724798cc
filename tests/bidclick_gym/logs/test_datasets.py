"""The logged datasets as Minari sees them: complete, replayable, always the same."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import pathlib
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bidclick_gym import (
    DATASETS,
    Auction,
    ClippedGaussianPolicy,
    Log,
    fingerprint,
    get_log,
    load_minari,
    simulate_log,
)
from bidclick_gym.logs import datasets as dataset

pytest.importorskip("h5py")
minari = pytest.importorskip("minari")

NAME = "bidclick/logged-v0"
FINGERPRINTS = {
    NAME: "c89dd7cff6e551817bccec749b59656ba018671da68766462d2db59671a7acca",
    "bidclick/logged-monotone-v0": (
        "9dedf38acaa1e8b8dffda9b49cae11b48025c2f00a128eddfc18e53b6c7f5356"
    ),
}


@pytest.fixture
def empty_folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A Minari folder that holds nothing yet."""
    folder = tmp_path / "datasets"
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    return folder


def everything_under(folder: pathlib.Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    )


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_the_fingerprint_of_the_published_log_is_pinned(name: str) -> None:
    log = get_log(name, show_progress=False)
    assert log.impressions == 100_000
    assert fingerprint(log) == FINGERPRINTS[name]


def test_what_minari_gives_back_is_the_simulation() -> None:
    assert fingerprint(simulate_log(Auction())) == FINGERPRINTS[NAME]


def test_a_fresh_process_and_folder_make_the_same_bytes(
    empty_folder: pathlib.Path, fresh_python: Callable[..., str]
) -> None:
    code = (
        "from bidclick_gym import fingerprint, get_log\n"
        f"print(fingerprint(get_log({NAME!r}, show_progress=False)))"
    )
    assert fresh_python(code, PYTHONHASHSEED="7") == FINGERPRINTS[NAME]


def test_the_fingerprint_notices_every_column() -> None:
    log = simulate_log(Auction(), campaigns=2, horizon=3)
    seen = {fingerprint(log)}
    for field in dataclasses.fields(Log):
        column = np.array(getattr(log, field.name))
        column.flat[-1] += 1
        seen.add(fingerprint(dataclasses.replace(log, **{field.name: column})))
    reshaped = dataclasses.replace(log, actions=log.actions.reshape(3, 2))
    retyped = dataclasses.replace(log, clicks=log.clicks.astype(np.int32))
    seen |= {fingerprint(reshaped), fingerprint(retyped)}
    assert len(seen) == len(dataclasses.fields(Log)) + 3


def test_minari_loads_whole_campaigns_that_time_out() -> None:
    load_minari(NAME, show_progress=False)
    loaded = minari.load_dataset(NAME)
    assert (loaded.total_episodes, loaded.total_steps) == (100, 100_000)
    for episode in loaded.iterate_episodes([0, 57, 99]):
        assert episode.observations.shape == (1001, 2)
        assert not episode.terminations.any()
        assert np.flatnonzero(episode.truncations).tolist() == [999]


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_logged_campaigns_replay_bit_for_bit(name: str) -> None:
    """Three campaigns step by step in the environment that Minari recovers."""
    loaded = load_minari(name, show_progress=False)
    env = loaded.recover_environment()
    assert env.spec is not None
    assert env.spec.id == DATASETS[name].env_id
    assert env.spec.kwargs["horizon"] == 1000
    chosen = [0, 41, 99]
    metadata = loaded.storage.get_episode_metadata(chosen)
    episodes = loaded.iterate_episodes(chosen)
    for episode, described in zip(episodes, metadata, strict=True):
        steps: list[Any] = []
        observations = [env.reset(seed=described["seed"])[0]]
        for action in episode.actions:
            steps.append(env.step(int(action)))
            observations.append(steps[-1][0])
        played = np.array(observations)
        assert played.tobytes() == episode.observations.tobytes()
        assert [step[1] for step in steps] == episode.rewards.tolist()
        assert [step[2] for step in steps] == episode.terminations.tolist()
        assert [step[3] for step in steps] == episode.truncations.tolist()
        assert [step[4]["click"] for step in steps] == episode.infos["click"].tolist()


def test_infos_hold_the_propensity_and_the_click_of_every_impression() -> None:
    probabilities = ClippedGaussianPolicy().probabilities
    counts = np.zeros(5)
    for episode in load_minari(NAME, show_progress=False).iterate_episodes():
        assert set(episode.infos) == {"propensity", "click"}
        expected = probabilities[episode.actions]
        np.testing.assert_array_equal(episode.infos["propensity"], expected)
        cost = episode.observations[:-1, 1] * np.array(Auction().bids)[episode.actions]
        np.testing.assert_array_equal(episode.infos["click"], episode.rewards + cost)
        counts += np.bincount(episode.actions, minlength=5)
    spread = np.sqrt(100_000 * probabilities * (1.0 - probabilities))
    assert (np.abs(counts - 100_000 * probabilities) < 4.5 * spread).all()


def test_a_recovered_environment_needs_no_import_of_ours(
    fresh_python: Callable[..., str],
) -> None:
    load_minari(NAME, show_progress=False)
    code = (
        "import minari\n"
        f"env = minari.load_dataset({NAME!r}).recover_environment()\n"
        "print(env.reset(seed=0)[0].dtype, env.unwrapped.horizon)"
    )
    assert fresh_python(code) == "float32 1000"


def test_minari_show_describes_the_dataset(fresh_environment: dict[str, str]) -> None:
    load_minari(NAME, show_progress=False)
    command = pathlib.Path(sys.executable).with_name("minari")
    shown = subprocess.run(
        [str(command), "show", NAME],
        env={**fresh_environment, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    for words in (DATASETS[NAME].description, "100000", "Discrete(5)", "BidClick-v0"):
        assert words in shown.stdout
    assert "Failed" not in shown.stderr


def test_a_writer_that_fails_leaves_nothing_and_the_next_one_succeeds(
    empty_folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does Minari see one during the writing, which is where a kill would stop."""
    meanwhile: list[Any] = []
    storages = importlib.import_module("minari.dataset._storages.hdf5_storage")
    write = storages.HDF5Storage.update_episodes

    def fail_half_way(storage: Any, episodes: Any) -> None:
        write(storage, itertools.islice(episodes, 50))
        written = len(list(empty_folder.rglob("*.hdf5")))
        meanwhile.append((minari.list_local_datasets(), written))
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(storages.HDF5Storage, "update_episodes", fail_half_way)
        with pytest.raises(OSError, match="no space left"):
            load_minari(NAME, show_progress=False)
    assert meanwhile == [({}, 1)]
    assert minari.list_local_datasets() == {}
    assert everything_under(empty_folder) == []
    assert load_minari(NAME, show_progress=False).total_steps == 100_000
    assert list(minari.list_local_datasets()) == [NAME]


def test_two_writers_at_once_end_with_one_dataset(
    empty_folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def be_overtaken(*args: Any, **kwargs: Any) -> Log:
        monkeypatch.setattr(dataset, "simulate_log", simulate_log)
        load_minari(NAME, show_progress=False)
        return simulate_log(*args, **kwargs)

    monkeypatch.setattr(dataset, "simulate_log", be_overtaken)
    assert fingerprint(get_log(NAME, show_progress=False)) == FINGERPRINTS[NAME]
    files = [f"{NAME}/data/{file}" for file in ("main_data.hdf5", "metadata.json")]
    files.append(f"{NAME.partition('/')[0]}/namespace_metadata.json")
    assert everything_under(empty_folder) == files
    assert "bidclick" in minari.namespace.list_local_namespaces()


def test_an_existing_dataset_is_read_and_not_made_again(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    load_minari(NAME, show_progress=False)
    monkeypatch.setattr(dataset, "simulate_log", None)
    assert load_minari(NAME).total_steps == 100_000
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("shown", [True, False])
def test_making_a_dataset_shows_progress_if_asked(
    shown: bool, empty_folder: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tqdm")
    load_minari(NAME, show_progress=shown)
    output, progress = capfd.readouterr()
    assert output == ""
    assert (f"making {NAME}" in progress) == shown == bool(progress)


def test_a_dataset_of_the_wrong_size_is_refused(
    empty_folder: pathlib.Path, small_minari_dataset: Callable[[str], Log]
) -> None:
    small_minari_dataset(NAME)
    with pytest.raises(ValueError, match=r"holds 12 steps .* expected 100000") as caught:
        get_log(NAME, show_progress=False)
    assert f"minari delete {NAME}" in str(caught.value)
    assert str(empty_folder / NAME) in str(caught.value)


def test_another_log_seed_is_another_dataset(empty_folder: pathlib.Path) -> None:
    log = get_log(NAME, log_seed=3, show_progress=False)
    assert list(minari.list_local_datasets()) == ["bidclick/logged-seed3-v0"]
    assert fingerprint(log) == fingerprint(simulate_log(Auction(), seed=3))
    assert fingerprint(log) != FINGERPRINTS[NAME]
