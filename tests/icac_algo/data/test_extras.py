"""Further columns of a log: they stay with their rows, wherever the log goes."""

from __future__ import annotations

import io
import pathlib
from typing import Any

import numpy as np
import pytest
from d3rlpy.dataset import MultiStepTransitionPicker

from icac_algo import ColumnarReplayBuffer
from icac_algo.data import LoggedMiniBatch, extra_values, find_extra
from icac_algo.data.views import LoggedEpisode

pytest.importorskip("minari")
minari = pytest.importorskip("minari")
from minari.data_collector import EpisodeBuffer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:minari.*")
SUFFIXES = [".parquet", ".arrow", ".csv"]


def log_of(campaigns: int = 0, **options: Any) -> ColumnarReplayBuffer:
    """60 rows; the number of a row stands in its observation, its reward and extras."""
    rows = np.arange(60)
    if campaigns:
        ends = rows % campaigns == campaigns - 1
        options |= {"terminals": ends & (rows < 30), "timeouts": ends & (rows >= 30)}
    return ColumnarReplayBuffer.from_arrays(
        np.stack([rows, -rows], axis=1).astype(np.float32),
        rows % 3,
        rows.astype(np.float64),
        extras={
            "number": rows,
            "half": rows / 2.0,
            "flag": rows % 2 == 0,
            "column": rows[:, None] * 1.0,
            "pair": np.stack([rows, rows], axis=1),
            "propensity": np.full(60, 0.25),
        },
        **options,
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("campaigns", [0, 5])
def test_tables_hold_them(suffix: str, campaigns: int, tmp_path: pathlib.Path) -> None:
    log, file = log_of(campaigns), tmp_path / f"log{suffix}"
    mapping = log.to_parquet(file)
    assert mapping["extras"] == ["number", "half", "flag", "column"]
    for _ in range(2):  # read, and read from the cache
        again = ColumnarReplayBuffer.from_parquet(
            file, **mapping, cache_folder=tmp_path / "cache", show_progress=False
        )
        assert set(again.columns.extras) == {*mapping["extras"], "propensity"}
        before, after = log.to_arrays(), again.to_arrays()
        for name in mapping["extras"]:
            found = after["extras"][name]
            assert found.shape == (60,)
            assert np.array_equal(found, before["extras"][name].reshape(-1)), name
        assert np.array_equal(after["extras"]["propensity"], np.full(60, 0.25))
        assert np.array_equal(after["rewards"], before["rewards"])
        batch = again.sample_transition_batch(20)
        assert isinstance(batch, LoggedMiniBatch)
        assert np.array_equal(batch.extra("number"), batch.observations[:, 0])


def test_names_of_extras_need_not_be_names_of_files(tmp_path: pathlib.Path) -> None:
    names = ["a/b", "x y", "ends", "rewards", "extra_0", "é", "q" * 200]
    rows = np.arange(12)
    log = ColumnarReplayBuffer.from_arrays(
        rows[:, None],
        rows % 3,
        rows,
        extras={name: rows + i for i, name in enumerate(names)},
    )
    mapping = log.to_parquet(tmp_path / "log.parquet")
    again = ColumnarReplayBuffer.from_parquet(
        tmp_path / "log.parquet",
        **mapping,
        cache_folder=tmp_path / "cache",
        show_progress=False,
    )
    for i, name in enumerate(names):
        assert np.array_equal(again.to_arrays()["extras"][name], rows + i)


def test_one_column_can_play_two_parts(tmp_path: pathlib.Path) -> None:
    mapping = log_of().to_parquet(tmp_path / "log.parquet")
    mapping |= {"extras": ["reward", "observation_0"], "propensity": None}
    again = ColumnarReplayBuffer.from_parquet(
        tmp_path / "log.parquet",
        **mapping,
        cache_folder=tmp_path / "cache",
        show_progress=False,
    )
    extras = again.to_arrays()["extras"]
    assert np.array_equal(extras["reward"], np.arange(60.0))
    assert np.array_equal(extras["observation_0"], np.arange(60.0))


@pytest.mark.parametrize(
    ("extras", "message"),
    [
        (["propensity"], "extras must not name 'propensity'"),
        (["number", "number"], "extras names a column twice"),
        ([3], "extras must be a column name or a list"),
        (["lost"], "no column 'lost'"),
    ],
)
def test_arguments(extras: Any, message: str, tmp_path: pathlib.Path) -> None:
    mapping = log_of().to_parquet(tmp_path / "log.parquet") | {"extras": extras}
    with pytest.raises(ValueError, match=message):
        ColumnarReplayBuffer.from_parquet(
            tmp_path / "log.parquet", **mapping, show_progress=False
        )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_are_finite(value: float, tmp_path: pathlib.Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    click = np.zeros(9)
    click[4] = value
    columns = {"x": np.zeros(9), "action": np.arange(9) % 3, "reward": np.zeros(9)}
    pq.write_table(pa.table({**columns, "click": click}), tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=r"column 'click' must be finite, row 4"):
        ColumnarReplayBuffer.from_parquet(
            tmp_path / "log.parquet",
            observation="x",
            action="action",
            reward="reward",
            extras="click",
            cache_folder=tmp_path / "cache",
            show_progress=False,
        )


def test_a_name_that_a_table_has_already(tmp_path: pathlib.Path) -> None:
    rows = np.arange(6)
    log = ColumnarReplayBuffer.from_arrays(
        rows[:, None], rows % 3, rows, extras={"reward": rows}
    )
    with pytest.raises(ValueError, match="extras: 'reward' must have another name"):
        log.to_parquet(tmp_path / "log.parquet")


def with_infos(first: Any = (7.0,)) -> Any:
    """Episodes of 3 and 2 steps; ``click`` begins with what each reset said."""
    episodes = []
    for number, steps in enumerate((3, 2)):
        last = np.arange(steps) == steps - 1
        told = 10.0 * number + np.arange(1, steps + 1)
        episodes.append(
            EpisodeBuffer(
                id=number,
                observations=np.zeros((steps + 1, 2), np.float32),
                actions=np.arange(steps) % 2,
                rewards=told,
                terminations=last & (number == 0),
                truncations=last & (number == 1),
                infos={"click": np.concatenate([first, told]), "win": told},
            )
        )
    import gymnasium as gym

    return minari.create_dataset_from_buffers(
        "test/infos-v0",
        episodes,
        observation_space=gym.spaces.Box(-1, 1, (2,), np.float32),
        action_space=gym.spaces.Discrete(2),
    )


@pytest.mark.parametrize("name", ["click", "info/click", "win", "info/win/steps"])
def test_infos_stay_with_their_step(name: str) -> None:
    """In batches and in every copy: each step's info is its reward."""
    buffer = ColumnarReplayBuffer.from_minari(with_infos())
    stock = buffer.to_replay_buffer()
    file = io.BytesIO()
    buffer.dump(file)
    file.seek(0)
    copies = {
        "itself": buffer,
        "of a stock buffer": ColumnarReplayBuffer.from_replay_buffer(stock),
        "of a file": ColumnarReplayBuffer.load(file),
        "of episodes": buffer.replace(episodes=[1, 0]),
        "of one": buffer.replace(episodes=[0]),
        "of several steps": buffer.replace(
            transition_picker=MultiStepTransitionPicker(2, 1.0)
        ),
    }
    grown = buffer.replace()
    plain = LoggedEpisode(np.zeros((3, 2)), np.zeros((3, 1), int), np.zeros((3, 1)), True)
    grown.append_episode(plain)
    copies["that grew"] = grown
    for kind, copy in copies.items():
        columns = copy.columns
        rows = columns.index.decisions()
        found = extra_values(columns, name, rows)
        rewards = columns.rewards.take(rows)[:, 0]
        known = ~np.isnan(found)
        assert known.sum() >= 3
        assert np.array_equal(found[known], rewards[known]), kind
    again = buffer.to_minari("test/copy-v0")
    for a, b in zip(
        with_infos_again().iterate_episodes(), again.iterate_episodes(), strict=True
    ):
        assert np.array_equal(a.infos["click"], b.infos["click"])
        assert np.array_equal(a.infos["win"], b.infos["win"])


def with_infos_again() -> Any:
    return minari.load_dataset("test/infos-v0")


@pytest.fixture(autouse=True)
def fresh_minari(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


def test_the_reward_goes_by_its_own_name() -> None:
    rows = np.arange(6)
    log = ColumnarReplayBuffer.from_arrays(
        rows[:, None], rows % 3, rows, extras={"reward": rows + 1}
    )
    found = find_extra(log.columns, "reward")
    assert found is not None
    assert found[0] == "rewards"
    with pytest.raises(KeyError, match="lost"):
        extra_values(log.columns, "lost", rows)
    batch = log.sample_transition_batch(4)
    assert isinstance(batch, LoggedMiniBatch)
    assert np.array_equal(batch.extra("reward"), batch.rewards[:, 0])
