"""Minari datasets: aligned, and back without loss."""

from __future__ import annotations

import pathlib
import subprocess
import sys
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import pytest
from d3rlpy.constants import ActionSpace
from minari.data_collector import EpisodeBuffer

from icac_algo import ColumnarReplayBuffer

# Minari asks for provenance, which a test has none of.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:minari.*")

BOX = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
PICTURE = gym.spaces.Box(0, 255, (3, 8, 8), np.uint8)
GOALS = gym.spaces.Dict(
    {
        "observation": BOX,
        "desired_goal": gym.spaces.Box(-np.inf, np.inf, (1,), np.float64),
        "achieved_goal": gym.spaces.Box(-np.inf, np.inf, (1,), np.float64),
    }
)
SPACES: dict[str, gym.Space[Any]] = {
    "box": BOX,
    "picture": PICTURE,
    "discrete": gym.spaces.Discrete(100),
    "goals": GOALS,
}


@pytest.fixture(autouse=True)
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


def observed(kind: str, episode: int, rows: int) -> Any:
    """Numbers that say which episode and step they are of."""
    numbers = 10.0 * episode + np.arange(rows)
    if kind == "discrete":
        return numbers.astype(np.int64)
    if kind == "picture":
        return np.broadcast_to(numbers[:, None, None, None], (rows, 3, 8, 8)).astype(
            np.uint8
        )
    both = np.stack([numbers, -numbers], axis=1)
    if kind == "box":
        return both
    return {
        "observation": both,
        "desired_goal": numbers[:, None] + 0.5,
        "achieved_goal": numbers[:, None] + 0.25,
    }


def make(kind: str, continuous: bool = False) -> Any:
    """Three episodes of 4, 3 and 5 steps; the second terminates."""
    buffers = []
    for number, steps in enumerate((4, 3, 5)):
        last = np.arange(steps) == steps - 1
        actions: Any = np.arange(steps) % 3
        if continuous:
            actions = np.stack([actions, -actions], axis=1).astype(np.float32)
        buffers.append(
            EpisodeBuffer(
                id=number,
                seed=number,
                observations=observed(kind, number, steps + 1),
                actions=actions,
                rewards=(100.0 * number + np.arange(steps)) / 3.0,  # type: ignore[arg-type]
                terminations=last & (number == 1),  # type: ignore[arg-type]
                truncations=last & (number != 1),  # type: ignore[arg-type]
                infos={"propensity": np.full(steps, 0.25), "clock": np.arange(steps + 1)},
            )
        )
    space: gym.Space[Any] = gym.spaces.Discrete(3)
    if continuous:
        space = gym.spaces.Box(-9, 9, (2,), np.float32)
    return minari.create_dataset_from_buffers(
        f"test/{kind}-v0",
        buffers,
        observation_space=SPACES[kind],
        action_space=space,
        jpeg_encoding=False,
    )


def assert_equal(a: Any, b: Any) -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
        return
    assert a.dtype == b.dtype
    assert np.array_equal(np.squeeze(a), np.squeeze(b))


@pytest.mark.parametrize("kind", ["box", "picture", "goals"])
@pytest.mark.parametrize("as_tuple", [False, True])
@pytest.mark.parametrize("continuous", [False, True])
def test_round_trip_without_loss(kind: str, as_tuple: bool, continuous: bool) -> None:
    source = make(kind, continuous)
    buffer = ColumnarReplayBuffer.from_minari(source, tuple_observation=as_tuple)
    copy = buffer.to_minari("test/copy-v0")
    assert copy.total_steps == source.total_steps == buffer.transition_count == 12
    for a, b in zip(source.iterate_episodes(), copy.iterate_episodes(), strict=True):
        for field in ("observations", "actions", "rewards", "terminations"):
            assert_equal(getattr(a, field), getattr(b, field))
        assert_equal(a.truncations, b.truncations)
        assert_equal(a.infos, b.infos)


@pytest.mark.parametrize("kind", sorted(SPACES))
def test_every_observation_stays_with_its_own_action(kind: str) -> None:
    make(kind)
    buffer = ColumnarReplayBuffer.from_minari(f"test/{kind}-v0")
    assert buffer.dataset_info.action_space == ActionSpace.DISCRETE
    assert buffer.dataset_info.action_size == 3
    batch = buffer.sample_transition_batch(500)
    number = batch.observations.reshape(500, -1)[:, 0]
    step, episode = number % 10, number // 10
    assert np.array_equal(batch.actions[:, 0], step % 3)
    assert np.allclose(batch.rewards[:, 0], (100 * episode + step) / 3.0)
    terminal = (episode == 1) & (step == 2)
    assert np.array_equal(batch.terminals[:, 0] > 0, terminal)
    successor = batch.next_observations.reshape(500, -1)[:, 0]
    assert np.array_equal(successor, np.where(terminal, 0, number + 1))
    # The last step of a cut-off episode is a transition like any other.
    assert ((episode == 0) & (step == 3)).any()


def test_goals_are_joined_or_kept_apart() -> None:
    make("goals")
    joined = ColumnarReplayBuffer.from_minari("test/goals-v0")
    assert joined.dataset_info.observation_signature.shape == [(3,)]
    apart = ColumnarReplayBuffer.from_minari("test/goals-v0", tuple_observation=True)
    assert apart.dataset_info.observation_signature.shape == [(2,), (1,)]
    a, b = joined.episodes[0].observations, apart.episodes[0].observations
    assert np.array_equal(a, np.concatenate(b, axis=1))


def test_a_seed_gives_its_own_stream() -> None:
    make("box")
    twins = [ColumnarReplayBuffer.from_minari("test/box-v0", seed=1) for _ in range(2)]
    a, b = (twin.sample_transition_batch(20) for twin in twins)
    assert np.array_equal(a.observations, b.observations)


@pytest.mark.parametrize(
    ("observation_space", "action_space", "message"),
    [
        (gym.spaces.Tuple([BOX]), gym.spaces.Discrete(3), "observations must be Box"),
        (gym.spaces.Dict({"a": BOX}), gym.spaces.Discrete(3), "observations must be Box"),
        (BOX, gym.spaces.MultiBinary(3), "actions must be Discrete or a Box"),
        (BOX, gym.spaces.Discrete(3, start=1), "actions must start at 0"),
    ],
)
def test_other_spaces_are_refused(
    observation_space: Any, action_space: Any, message: str
) -> None:
    rng_space = observation_space
    values = rng_space.sample()

    def repeat(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: repeat(v) for k, v in value.items()}
        if isinstance(value, tuple):
            return tuple(repeat(v) for v in value)
        return np.stack([value, value])

    buffer = EpisodeBuffer(
        id=0,
        observations=repeat(values),
        actions=np.stack([action_space.sample()]),  # type: ignore[arg-type]
        rewards=np.zeros(1),  # type: ignore[arg-type]
        terminations=np.ones(1, dtype=bool),  # type: ignore[arg-type]
        truncations=np.zeros(1, dtype=bool),  # type: ignore[arg-type]
    )
    minari.create_dataset_from_buffers(
        "test/other-v0",
        [buffer],
        observation_space=observation_space,
        action_space=action_space,
    )
    with pytest.raises(ValueError, match=message):
        ColumnarReplayBuffer.from_minari("test/other-v0")


def test_minari_needs_the_last_observation() -> None:
    buffer = ColumnarReplayBuffer.from_arrays(
        np.zeros((3, 2)), [0, 1, 0], np.zeros(3), terminals=[0, 0, 1]
    )
    with pytest.raises(ValueError, match="unknown for episode 0, rows up to 2"):
        buffer.to_minari("test/short-v0")


# -- written as a whole, once -------------------------------------------------------

WRITER = """
import sys, numpy as np
import minari.dataset._storages.hdf5_storage as storages
from icac_algo import ColumnarReplayBuffer

tag, how = float(sys.argv[1]), sys.argv[2]
n = 60
last = np.arange(n) % 3 == 2
log = ColumnarReplayBuffer.from_arrays(
    np.full((n, 1), tag), np.zeros(n, int), np.zeros(n),
    terminals=np.roll(last, -1), final=last, action_size=2,
)
update = storages.HDF5Storage.update_episodes

def stopped(self, episodes):
    update(self, episodes)
    print("written", flush=True)
    sys.stdin.readline()

if how == "waits":
    storages.HDF5Storage.update_episodes = stopped
print("ready", flush=True)
sys.stdin.readline()
try:
    log.to_minari("race/log-v0")
    print("won")
except ValueError as error:
    print("lost" if "must not be taken" in str(error) else repr(error))
"""


def writer(tag: int, how: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", WRITER, str(tag), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert heard(process, "ready")
    return process


def heard(process: subprocess.Popen[str], word: str) -> bool:
    assert process.stdout is not None
    return any(line.strip() == word for line in process.stdout)


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def hidden(folder: pathlib.Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.name.startswith(".")]


@pytest.mark.distributed
def test_of_two_writers_one_wins_whole(tmp_path: pathlib.Path) -> None:
    """Whoever comes second finds it taken, also if both had begun."""
    slow, quick = writer(1, "waits"), writer(2, "")
    go(slow)
    assert heard(slow, "written")
    go(quick)
    assert quick.communicate()[0].split()[-1] == "won"
    assert slow.communicate("\n")[0].split()[-1] == "lost"
    dataset = minari.load_dataset("race/log-v0")
    assert dataset.total_episodes == 20
    assert dataset[0].observations[0] == 2.0
    assert list(minari.list_local_datasets()) == ["race/log-v0"]
    assert hidden(tmp_path) == []


@pytest.mark.distributed
def test_a_killed_writer_leaves_nothing_that_looks_like_a_dataset(
    tmp_path: pathlib.Path,
) -> None:
    killed = writer(1, "waits")
    go(killed)
    assert heard(killed, "written")
    killed.kill()
    killed.communicate()
    assert minari.list_local_datasets() == {}
    assert hidden(tmp_path)
    next_one = writer(2, "")
    assert next_one.communicate("\n")[0].split()[-1] == "won"
    assert list(minari.list_local_datasets()) == ["race/log-v0"]
    assert hidden(tmp_path) == []
    assert minari.namespace.list_local_namespaces() == ["race"]
