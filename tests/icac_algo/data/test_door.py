"""One door: whatever a log comes from, it is read alike, or refused alike.

Logs are drawn at random, broken in one of many ways, and pushed through every door.  Each
must refuse the broken one by field, place and value, and read the whole one into the same
columns.
"""

from __future__ import annotations

import dataclasses
import pathlib
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import Episode, InfiniteBuffer, ReplayBuffer, Signature
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyarrow import csv

from icac_algo import ColumnarReplayBuffer
from icac_algo.data import LogWarning
from icac_algo.data.views import LoggedEpisode

K = 4
KINDS = ["f4", "f8", "f2", ">f8", "g", "i1", "i8", "u1", "?"]


@dataclasses.dataclass
class Log:
    """Episodes as lists of arrays: T + 1 observations beside T of everything else."""

    observations: list[list[Any]]  # parts of each episode
    actions: list[Any]
    rewards: list[Any]
    propensities: list[Any]
    terminated: list[Any]
    is_tuple: bool
    has_final: bool

    @property
    def steps(self) -> list[int]:
        return [len(a) for a in self.actions]

    def seen(self, episode: int) -> Any:
        """Observations of an episode, without the last if it is unknown."""
        parts = self.observations[episode]
        last = None if self.has_final else -1
        parts = [part[:last] for part in parts]
        return parts if self.is_tuple else parts[0]


@st.composite
def logs(draw: Any) -> Log:
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    steps = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    # Something must come after an episode that is cut off without a last observation.
    steps = [n + 1 for n in steps]
    shapes = draw(st.sampled_from([[(2,)], [(2,), (1, 2)], [(1, 2, 2)]]))
    kinds = [draw(st.sampled_from(KINDS)) for _ in shapes]
    reward = draw(st.sampled_from(["f4", "f8", "i8"]))

    def some(kind: str, *shape: int) -> Any:
        return rng.integers(0, 2 if kind == "?" else 9, shape).astype(kind)

    log = Log(
        [[some(k, n + 1, *s) for k, s in zip(kinds, shapes, strict=True)] for n in steps],
        [rng.integers(K, size=n) for n in steps],
        [some(reward, n) for n in steps],
        [rng.uniform(0.1, 1.0, n) for n in steps],
        [bool(rng.integers(2)) for _ in steps],
        len(shapes) > 1,
        draw(st.booleans()),
    )
    log.actions[0][:2] = 0, K - 1
    return log


# -- the doors: how each reads a log, and what it calls a step ----------------------


def together(pieces: list[Any]) -> Any:
    return (np.ma if any(map(np.ma.isMaskedArray, pieces)) else np).concatenate(pieces)


def by_arrays(log: Log) -> ColumnarReplayBuffer:
    more = int(log.has_final)
    count = sum(log.steps) + more * len(log.steps)
    flags = {name: np.zeros(count) for name in ("terminals", "timeouts", "final")}
    row = 0
    for steps, terminated in zip(log.steps, log.terminated, strict=True):
        flags["terminals" if terminated else "timeouts"][row + steps - 1] = 1
        if more:
            flags["final"][row + steps] = 1
        row += steps + more

    def flat(pieces: list[Any], is_padded: bool = True) -> Any:
        if more and is_padded:
            pieces = [together([p, np.ones_like(p[:1])]) for p in pieces]
        return together(pieces)

    width = len(log.observations[0])
    seen = [log.seen(e) if log.is_tuple else [log.seen(e)] for e in range(len(log.steps))]
    parts = [flat([own[i] for own in seen], False) for i in range(width)]
    return ColumnarReplayBuffer.from_arrays(
        parts if log.is_tuple else parts[0],
        flat(log.actions),
        flat(log.rewards),
        **flags,
        extras={"propensity": flat(log.propensities)},
        action_space=ActionSpace.DISCRETE,
        action_size=K,
    )


def episodes_of(log: Log) -> list[Episode]:
    """An unknown last observation is left out, a known one an own row if need be."""
    found = []
    for number, terminated in enumerate(log.terminated):
        final = log.has_final and not terminated
        seen = log.seen(number)
        if log.has_final and terminated:
            seen = [p[:-1] for p in seen] if log.is_tuple else seen[:-1]
        columns = [log.actions[number], log.rewards[number], log.propensities[number]]
        if final:
            columns = [together([c, np.ones_like(c[:1])]) for c in columns]
        actions, rewards, chances = columns
        if actions.ndim == 1:
            actions = actions[:, None]
        if rewards.ndim == 1:
            rewards = rewards[:, None]
        extras = {"propensity": chances}
        found.append(LoggedEpisode(seen, actions, rewards, terminated, extras, final))
    return found


def stock(episodes: list[Episode]) -> ReplayBuffer:
    one = np.dtype(np.float32)
    buffer = ReplayBuffer(
        InfiniteBuffer(),
        observation_signature=Signature([one], [(1,)]),
        action_signature=Signature([one], [(1,)]),
        reward_signature=Signature([one], [(1,)]),
        action_space=ActionSpace.DISCRETE,
        action_size=K,
    )
    for episode in episodes:
        buffer.append_episode(episode)
    return buffer


def by_stock(log: Log) -> ColumnarReplayBuffer:
    return ColumnarReplayBuffer.from_replay_buffer(stock(episodes_of(log)))


def sound(log: Log) -> ColumnarReplayBuffer:
    """Another log of the same shapes, all of whole numbers."""
    zeros = [np.zeros((2, *part.shape[1:]), np.uint8) for part in log.observations[0]]
    return ColumnarReplayBuffer.from_arrays(
        zeros if log.is_tuple else zeros[0],
        np.array([0, K - 1]),
        np.array([0, 1]),
        terminals=[0, 1],
        extras={"propensity": np.ones(2)},
        action_size=K,
    )


def by_append(log: Log) -> ColumnarReplayBuffer:
    buffer = sound(log)
    for episode in episodes_of(log):
        buffer.append_episode(episode)
    return buffer


def by_steps(log: Log) -> ColumnarReplayBuffer:
    """Appended one by one, where d3rlpy knows neither extras nor last observations."""
    buffer = sound(log)
    for number, terminated in enumerate(log.terminated):
        seen = log.seen(number)
        for step in range(log.steps[number]):
            buffer.append(
                [p[step] for p in seen] if log.is_tuple else seen[step],
                log.actions[number][step],
                log.rewards[number][step],
            )
        buffer.clip_episode(terminated)
    return buffer


def by_minari(log: Log) -> ColumnarReplayBuffer:
    """Through what Minari would hand over; it checks nothing by itself."""
    keys = ("observation", "desired_goal")
    box = gym.spaces.Box(-np.inf, np.inf, (1,))
    episodes = []
    for number, steps in enumerate(log.steps):
        last = np.arange(steps) == steps - 1
        terminated = log.terminated[number]
        parts = log.observations[number]
        episodes.append(
            SimpleNamespace(
                observations=dict(zip(keys, parts, strict=True))
                if log.is_tuple
                else parts[0],
                actions=log.actions[number],
                rewards=log.rewards[number],
                terminations=last * terminated,
                truncations=last & (terminated is False),
                infos={"propensity": log.propensities[number]},
            )
        )
    dataset = SimpleNamespace(
        iterate_episodes=lambda: episodes,
        action_space=gym.spaces.Discrete(K),
        observation_space=gym.spaces.Dict(dict.fromkeys(keys, box))
        if log.is_tuple
        else box,
        spec=SimpleNamespace(dataset_id="drawn-v0"),
    )
    return ColumnarReplayBuffer.from_minari(dataset, tuple_observation=True)  # type: ignore[arg-type]


def by_sb3(log: Log) -> ColumnarReplayBuffer:
    """Through the arrays of a ring of one environment."""
    rows = sum(log.steps)
    last = np.cumsum(log.steps) - 1
    width = len(log.observations[0])
    before = [
        together([o[i][:-1] for o in log.observations])[:, None] for i in range(width)
    ]
    after = [
        together([o[i][1:] for o in log.observations])[:, None] for i in range(width)
    ]
    dones, timeouts = np.zeros((rows, 1)), np.zeros((rows, 1))
    dones[last, 0] = [t if t > 1 or t != t else 1 for t in log.terminated]
    timeouts[last, 0] = [t is False for t in log.terminated]
    names = [str(i) for i in range(width)]
    ring = SimpleNamespace(
        pos=0,
        full=True,
        size=lambda: rows,
        buffer_size=rows,
        observations=dict(zip(names, before, strict=True)) if log.is_tuple else before[0],
        next_observations=dict(zip(names, after, strict=True))
        if log.is_tuple
        else after[0],
        actions=together(log.actions)[:, None, None],
        rewards=together(log.rewards)[:, None],
        dones=dones,
        timeouts=timeouts,
        action_space=gym.spaces.Discrete(K),
    )
    return ColumnarReplayBuffer.from_sb3(ring)


def flat_row(log: Log, episode: int, step: int) -> str:
    return f"row {sum(log.steps[:episode]) + log.has_final * episode + step} "


def episode_row(log: Log, episode: int, step: int) -> str:
    return f"episode {episode}, row {step} "


def next_row(log: Log, episode: int, step: int) -> str:
    return f"episode {episode + 1}, row {step} "


def ring_row(log: Log, episode: int, step: int) -> str:
    return f"row {sum(log.steps[:episode]) + step} of environment 0 "


DOORS: dict[str, tuple[Callable[[Log], ColumnarReplayBuffer], Any]] = {
    "arrays": (by_arrays, flat_row),
    "stock": (by_stock, episode_row),
    "append": (by_append, next_row),
    "steps": (by_steps, next_row),
    "minari": (by_minari, episode_row),
    "sb3": (by_sb3, ring_row),
}

# -- what breaks a log --------------------------------------------------------------


def value(field: str, bad: float) -> Any:
    """One value of a step made bad, in a type that can hold it."""

    def break_it(log: Log, episode: int, step: int) -> None:
        columns = getattr(log, field)
        if field == "observations":
            columns = columns[episode]
            columns[0] = columns[0].astype(np.float64)
            columns[0][(step, *[0] * (columns[0].ndim - 1))] = bad
            return
        columns[episode] = columns[episode].astype(type(bad))
        columns[episode][step] = bad

    return break_it


def column(field: str, change: Callable[[Any], Any]) -> Any:
    """An episode's whole column replaced."""

    def break_it(log: Log, episode: int, step: int) -> None:
        columns = getattr(log, field)
        if field == "observations":
            columns[episode][0] = change(columns[episode][0])
        else:
            columns[episode] = change(columns[episode])

    return break_it


def everywhere(field: str, change: Callable[[Any], Any]) -> Any:
    """The column of every episode replaced."""

    def break_it(log: Log, episode: int, step: int) -> None:
        for number in range(len(log.actions)):
            column(field, change)(log, number, step)

    return break_it


def masked(values: Any) -> Any:
    return np.ma.masked_array(
        values, mask=np.arange(values.size).reshape(values.shape) == 0
    )


NO_EXTRAS = ("sb3", "steps")
SINGLE = ("steps", "sb3")  # lengths cannot differ there
#: How it breaks; whether one step is to blame; what an error says; doors it cannot reach.
BREAKS: dict[str, tuple[Any, bool, str, tuple[str, ...]]] = {
    "reward nan": (value("rewards", np.nan), True, "rewards.* nan", ()),
    "reward inf": (value("rewards", np.inf), True, "rewards.* inf", ()),
    "reward 1e300": (value("rewards", 1e300), True, r"rewards.* 1e\+300", ()),
    "reward -1e39": (value("rewards", -1e39), True, r"rewards.* -1e\+39", ()),
    "observation nan": (value("observations", np.nan), True, "observations.* nan", ()),
    "observation -inf": (value("observations", -np.inf), True, "observations.* -inf", ()),
    "observation 1e300": (value("observations", 1e300), True, r"observ.* 1e\+300", ()),
    "action -1": (value("actions", -1), True, "actions.* -1", ()),
    "action K": (value("actions", K), True, f"actions.* {K}", ()),
    "action 1e12": (value("actions", 10**12), True, "actions.* 1000000000000", ()),
    "action nan": (value("actions", np.nan), True, "actions.* nan", ()),
    "action 0.5": (value("actions", 0.5), True, r"actions.* 0\.5", ()),
    "propensity 0": (value("propensities", 0.0), True, r"propensity.* 0\.0", NO_EXTRAS),
    "propensity 2": (value("propensities", 2.0), True, r"propensity.* 2\.0", NO_EXTRAS),
    "propensity nan": (value("propensities", np.nan), True, "propens.* nan", NO_EXTRAS),
    "propensity table": (
        everywhere("propensities", lambda v: np.full((len(v), K + 1), 0.2)),
        False,
        "propensity",
        NO_EXTRAS,
    ),
    "complex": (everywhere("rewards", lambda v: v + 1j), False, "rewards", ()),
    "objects": (
        everywhere("rewards", lambda v: v.astype(object)),
        False,
        "rewards",
        ("steps",),  # one of them is a number again
    ),
    "text": (
        everywhere("observations", lambda v: v.astype(str)),
        False,
        "observations",
        (),
    ),
    "times": (
        everywhere("rewards", lambda v: v.astype("i8").astype("M8[s]")),
        False,
        "rewards",
        (),
    ),
    "masked reward": (column("rewards", masked), False, "rewards.* masked", ()),
    "masked observation": (
        column("observations", masked),
        False,
        r"observations.* masked",
        (),
    ),
    "masked action": (column("actions", masked), False, "actions.* masked", ()),
    "short rewards": (column("rewards", lambda v: v[:-1]), False, "rewards", SINGLE),
    "long rewards": (
        column("rewards", lambda v: np.repeat(v, 2, axis=0)),
        False,
        "rewards",
        SINGLE,
    ),
    "long observations": (
        column("observations", lambda v: np.concatenate([v, v[:1]])),
        False,
        "observations|actions",
        SINGLE,
    ),
    "two rewards": (
        everywhere("rewards", lambda v: np.stack([v, v], axis=1)),
        False,
        "rewards",
        (),
    ),
    "no numbers": (
        everywhere("observations", lambda v: v[..., :0]),
        False,
        "observations",
        ("append", "steps"),  # the log that is appended to would be broken first
    ),
}


def changed(log: Log) -> Log:
    """A copy that can be broken."""
    return Log(
        [[part.copy() for part in parts] for parts in log.observations],
        [c.copy() for c in log.actions],
        [c.copy() for c in log.rewards],
        [c.copy() for c in log.propensities],
        list(log.terminated),
        log.is_tuple,
        log.has_final,
    )


def check(log: Log, episode: int, step: int, how: str) -> None:
    break_it, at_step, message, unreachable = BREAKS[how]
    episode, step = episode % len(log.steps), step % min(log.steps)
    broken = changed(log)
    break_it(broken, episode, step)
    for name, (door, place) in DOORS.items():
        if name in unreachable:
            continue
        with pytest.raises(ValueError, match=message) as caught:
            door(broken)
        if at_step:
            # SB3 keeps an observation twice.
            before = "what follows " + place(log, episode, step - 1)
            found = str(caught.value)
            assert place(log, episode, step) in found or before in found, (name, found)


QUICK = settings(
    deadline=None,
    max_examples=15,
    phases=[Phase.generate],  # small as they are
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("how", BREAKS)
@settings(QUICK, max_examples=5)
@given(log=logs(), episode=st.integers(0, 9), step=st.integers(0, 9))
def test_every_door_refuses_it_by_field_place_and_value(
    how: str, log: Log, episode: int, step: int
) -> None:
    check(log, episode, step, how)


@pytest.mark.slow
@pytest.mark.parametrize("how", BREAKS)
@settings(QUICK, max_examples=300)
@given(log=logs(), episode=st.integers(0, 9), step=st.integers(0, 9))
def test_every_door_refuses_it_often(how: str, log: Log, episode: int, step: int) -> None:
    check(log, episode, step, how)


def read(buffer: ColumnarReplayBuffer, episode: int, steps: int) -> dict[str, Any]:
    """What training sees of an episode's steps."""
    found = buffer.episodes[episode]
    parts = found.observations
    parts = parts if isinstance(parts, list) else [parts]
    columns = {str(i): part for i, part in enumerate(parts)}
    columns |= {"actions": found.actions, "rewards": found.rewards}
    return {n: np.asarray(c[:steps], np.float32) for n, c in columns.items()}


@settings(QUICK, max_examples=25)
@given(log=logs(), halves=st.booleans())
def test_every_door_reads_the_same_columns(log: Log, halves: bool) -> None:
    if halves:  # whole numbers in the first episode, fractions in the last
        log.rewards[-1] = log.rewards[-1].astype(np.float64) + 0.5
        for i, part in enumerate(log.observations[-1]):
            log.observations[-1][i] = part.astype(np.float32) + 0.25
    for name, (door, _) in DOORS.items():
        buffer = door(log)
        before = int(name in ("append", "steps"))
        assert buffer.size() == len(log.steps) + before, name
        columns = buffer.columns
        kinds = {c.dtype.kind for n, c in columns.named().items()}
        assert kinds <= set("fiu"), name
        for number, steps in enumerate(log.steps):
            found = read(buffer, number + before, steps)
            parts = log.observations[number]
            expected = {str(i): p[:steps] for i, p in enumerate(parts)}
            expected["actions"] = log.actions[number][:, None]
            expected["rewards"] = log.rewards[number][:, None]
            assert found.keys() == expected.keys()
            for key, values in expected.items():
                assert np.array_equal(found[key], values.astype(np.float32)), (name, key)
            ended = buffer.episodes[number + before].terminated
            assert ended == log.terminated[number], name
        if name not in NO_EXTRAS:
            _, extra = next(iter(columns.extras.items()))
            rows = columns.index.decisions()[2 * before :]
            assert np.array_equal(extra.take(rows), np.concatenate(log.propensities)), (
                name
            )


@settings(QUICK, max_examples=25)
@given(log=logs())
def test_extras_and_last_observations_survive_stock_buffers_and_files(log: Log) -> None:
    first = by_arrays(log)
    for route in (
        lambda b: ColumnarReplayBuffer.from_replay_buffer(b),
        lambda b: ColumnarReplayBuffer.from_replay_buffer(b.to_replay_buffer()),
        lambda b: ColumnarReplayBuffer.from_episode_generator(lambda: b.episodes),
    ):
        second = route(first)
        assert second.transition_count == first.transition_count
        for a, b in zip(first.episodes, second.episodes, strict=True):
            assert np.array_equal(a.extras["propensity"], b.extras["propensity"])
            assert a.has_final == b.has_final


# -- the same through files ---------------------------------------------------------


def by_file(log: Log, file: pathlib.Path) -> ColumnarReplayBuffer:
    """Vectors side by side; unknown last observations, as tables mostly have it."""
    rows = sum(log.steps)
    episode = np.repeat(np.arange(len(log.steps)), log.steps)
    seen = [
        parts[0][:-1].reshape(n, -1)
        for parts, n in zip(log.observations, log.steps, strict=True)
    ]
    wide = np.concatenate(seen).astype(np.float64)
    names = [f"observations_{i}" for i in range(wide.shape[1])]
    table = {
        **dict(zip(names, wide.T, strict=True)),
        "actions": np.concatenate(log.actions),
        "rewards": np.concatenate(log.rewards),
        "propensity": np.concatenate(log.propensities),
        "episode": episode,
        "ended": np.array(log.terminated)[episode] & (np.diff(episode, append=rows) != 0),
    }
    table = pa.table(
        {name: np.ascontiguousarray(values) for name, values in table.items()}
    )
    if file.suffix == ".csv":
        csv.write_csv(table, file)
    else:
        pq.write_table(table, file)
    return ColumnarReplayBuffer.from_parquet(
        file,
        observation=names,
        action="actions",
        reward="rewards",
        propensity="propensity",
        episode="episode",
        terminal="ended",
        action_size=K,
        cache_folder=file.parent / "cache",
        show_progress=False,
    )


@pytest.mark.parametrize("ending", ["parquet", "csv"])
@pytest.mark.parametrize(
    "how",
    # A column of fractions holds continuous actions; how many actions there are is
    # compared with the largest index of all files.
    [
        how
        for how, (_, at_step, *_) in BREAKS.items()
        if at_step and how not in ("action 0.5", "action nan", "action K")
    ],
)
@settings(QUICK, max_examples=2)
@given(log=logs(), episode=st.integers(0, 9), step=st.integers(0, 9))
def test_files_refuse_it_too(
    how: str, ending: str, log: Log, episode: int, step: int, tmp_path: pathlib.Path
) -> None:
    break_it, _, message, _ = BREAKS[how]
    episode, step = episode % len(log.steps), step % min(log.steps)
    log.has_final = False
    broken = changed(log)
    break_it(broken, episode, step)
    file = tmp_path / f"log.{ending}"
    # Text has no NaN.
    with pytest.raises(ValueError, match=f"{message}|lacks a value") as caught:
        by_file(broken, file)
    assert str(file) in str(caught.value)
    assert flat_row(log, episode, step) in f"{caught.value} "


@pytest.mark.parametrize("ending", ["parquet", "csv"])
@settings(QUICK, max_examples=5)
@given(log=logs())
def test_files_read_the_same_columns(
    ending: str, log: Log, tmp_path: pathlib.Path
) -> None:
    log.has_final = False
    buffer = by_file(log, tmp_path / f"log.{ending}")
    for number, steps in enumerate(log.steps):
        found = read(buffer, number, steps)
        seen = log.observations[number][0][:steps].reshape(steps, -1)
        assert np.array_equal(found["0"], seen.astype(np.float32))
        assert np.array_equal(found["actions"][:, 0], log.actions[number])
        assert np.array_equal(found["rewards"][:, 0], log.rewards[number].astype("f4"))
        assert buffer.episodes[number].terminated == log.terminated[number]


# -- flags and spaces ---------------------------------------------------------------


def minari_like(**changes: Any) -> Any:
    """One episode of two steps, and its spaces."""
    kept: dict[str, Any] = {
        "observations": np.zeros((3, 1)),
        "actions": np.array([0, 1]),
        "rewards": np.ones(2),
        "terminations": np.array([False, True]),
        "truncations": np.zeros(2, bool),
        "infos": {},
    }
    spaces = {
        "action_space": gym.spaces.Discrete(2),
        "observation_space": gym.spaces.Box(-9.0, 9.0, (1,)),
    }
    episodes = [
        SimpleNamespace(**{**kept, **{n: c for n, c in changes.items() if n in kept}})
    ]
    spaces.update({n: c for n, c in changes.items() if n in spaces})
    spec = SimpleNamespace(dataset_id="drawn-v0")
    return SimpleNamespace(iterate_episodes=lambda: episodes, spec=spec, **spaces)


def ring_like(**changes: Any) -> Any:
    """Two steps of one environment."""
    zeros = np.zeros((2, 1))
    kept = {
        "pos": 0,
        "full": True,
        "size": lambda: 2,
        "observations": zeros[..., None],
        "next_observations": zeros[..., None],
        "actions": np.array([0, 1])[:, None, None],
        "rewards": zeros,
        "dones": zeros,
        "timeouts": zeros,
        "action_space": gym.spaces.Discrete(2),
    }
    return SimpleNamespace(**{**kept, **changes})


from_minari = ColumnarReplayBuffer.from_minari
from_sb3 = ColumnarReplayBuffer.from_sb3


def from_flags(**flags: Any) -> ColumnarReplayBuffer:
    return ColumnarReplayBuffer.from_arrays(
        np.zeros((4, 1)), [0, 1, 0, 1], np.zeros(4), **flags
    )


@pytest.mark.parametrize(
    ("read_it", "message"),
    [
        (
            lambda: from_flags(terminals=[0, 0, 0, 2]),
            "terminals must be 0 or 1, row 3 has 2",
        ),
        (
            lambda: from_flags(timeouts=[0, np.nan, 0, 1]),
            "timeouts must be 0 or 1, row 1",
        ),
        (lambda: from_flags(terminals=[0, 0, 0.5, 1]), r"terminals .* row 2 has 0\.5"),
        (lambda: from_flags(terminals=np.zeros((2, 2))), "terminals must have 4 rows"),
        (lambda: from_flags(terminals=["a"] * 4), "terminals must be numbers"),
        (lambda: from_flags(terminals=np.ma.masked_equal([0, 0, 1, 1], 0)), "masked"),
        (lambda: from_flags(terminals=[0, 1, 0, 0], timeouts=[0, 1, 0, 0]), "row 1"),
        (
            lambda: from_minari(minari_like(terminations=np.array([True, True]))),
            "terminations of episode 0 must be 0 before its end, row 0",
        ),
        (lambda: from_minari(minari_like(truncations=np.zeros(3))), "truncations of ep"),
        (lambda: from_minari(minari_like(rewards=np.zeros(3))), "rewards of episode 0"),
        (lambda: from_minari(minari_like(actions=np.zeros(0, int))), "at least one step"),
        (lambda: from_sb3(ring_like(dones=np.full((2, 1), 2.0))), "dones must be 0 or 1"),
        (lambda: from_sb3(ring_like(timeouts=np.full((2, 1), np.nan))), "timeouts must"),
        (
            lambda: from_sb3(ring_like(next_observations=np.full((2, 1, 1), np.inf))),
            "observations must be finite, what follows row 0 of environment 0 has inf",
        ),
    ],
)
def test_flags_that_contradict_each_other(read_it: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_it()


def legacy(kind: str, *arguments: Any) -> Any:
    return getattr(pytest.importorskip("gym").spaces, kind)(*arguments)


@pytest.mark.parametrize("make", [minari_like, ring_like])
@pytest.mark.parametrize(
    "space",
    [
        lambda: gym.spaces.Discrete(2, start=1),
        lambda: gym.spaces.MultiDiscrete([2, 2]),
        lambda: gym.spaces.MultiBinary(2),
        lambda: gym.spaces.Box(-1.0, 1.0, (2, 2)),
        lambda: gym.spaces.Tuple([gym.spaces.Discrete(2)]),
        lambda: legacy("Discrete", 2),
        lambda: legacy("Box", -1.0, 1.0, (1,)),
    ],
)
def test_action_spaces_that_are_no_indices_and_no_vectors(make: Any, space: Any) -> None:
    door = from_minari if make is minari_like else from_sb3
    with pytest.raises(ValueError, match=r"actions must"):
        door(make(action_space=space()))


@pytest.mark.parametrize(
    "space",
    [gym.spaces.MultiBinary(2), gym.spaces.MultiDiscrete([3, 3]), gym.spaces.Discrete(3)],
)
def test_observations_of_whole_numbers_are_vectors(space: Any) -> None:
    values = np.array([space.sample() for _ in range(3)])
    log = from_minari(minari_like(observation_space=space, observations=values))
    assert log.columns.observations[0].row_shape == (space.shape or (1,))


# -- what can be read, but is perhaps not meant -------------------------------------


def test_actions_that_do_not_start_at_0() -> None:
    observations, actions = np.zeros((6, 1), np.float32), np.array([1, 2, 3] * 2)
    rewards = np.zeros((6, 1), np.float32)
    with pytest.warns(LogWarning, match="actions start at 1"):
        log = ColumnarReplayBuffer.from_arrays(observations, actions, rewards)
    assert log.dataset_info.action_size == 4
    episodes = [Episode(observations, actions[:, None], rewards, terminated=True)]
    with pytest.warns(LogWarning, match="actions start at 1"):
        ColumnarReplayBuffer.from_episode_generator(lambda: episodes)
    with pytest.warns(LogWarning, match="actions start at 1"):
        ColumnarReplayBuffer.from_replay_buffer(stock(episodes))
    # A last observation comes with no action, whatever stands there.
    with pytest.warns(LogWarning, match="actions start at 1"):
        ColumnarReplayBuffer.from_arrays(
            observations,
            [1, 2, 0, 1, 3, 0],
            rewards,
            terminals=[0, 1, 0, 0, 1, 0],
            final=[0, 0, 1, 0, 0, 1],
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ColumnarReplayBuffer.from_arrays(observations, actions, rewards, action_size=4)


@pytest.mark.parametrize("size", [None, 2**40])
def test_an_index_that_is_none(size: int | None) -> None:
    with pytest.raises(ValueError, match=r"action.*1000000000000|1099511627776"):
        ColumnarReplayBuffer.from_arrays(
            np.zeros((2, 1)), [0, 10**12], np.zeros(2), action_size=size
        )


def test_infos_of_some_episodes_only_are_left_out_and_that_is_said() -> None:
    dataset = minari_like(infos={"propensity": np.ones(2), "note": np.array(["a", "b"])})
    first = dataset.iterate_episodes()[0]
    both = [first, SimpleNamespace(**{**vars(first), "infos": {}})]
    dataset.iterate_episodes = lambda: both
    with pytest.warns(LogWarning, match="'propensity' is left out: episode 1 has none"):
        log = from_minari(dataset)
    assert not log.columns.extras


def test_columns_that_were_checked_cannot_be_changed() -> None:
    rewards = np.zeros(2)
    log = ColumnarReplayBuffer.from_arrays(np.zeros((2, 1)), [0, 1], rewards)
    for array in (log.to_arrays()["rewards"], log.episodes[0].observations):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = np.nan  # type: ignore[index]
    rewards[0] = 1.0  # Its owner may.
