"""What every environment promises: auction, campaign, replay; alone and in batches."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics

from bidclick_gym import Auctions
from bidclick_gym.envs import (
    BidClickBudgetEnv,
    BidClickEnv,
    BidClickVectorEnv,
    BidReplayEnv,
    BidReplayVectorEnv,
)

MODES = getattr(gym.vector, "AutoresetMode", None)
AUCTION_NAMES = ("bid", "click", "click_probability", "payment", "expected_reward")


@dataclasses.dataclass(frozen=True)
class Kind:
    """One task: its environments and how an episode of ``length`` impressions is asked.

    ``tight`` are further arguments that a good test of a batch should have, ``always``
    those without which there is no environment.  ``context``, ``known`` and ``clock`` are
    features: what is drawn, what each episode starts with, and what no bid changes.
    """

    id: str
    single: type[Any]
    batch_class: type[Any] | None
    length: str
    width: int
    names: tuple[str, ...]
    options: dict[str, Any]
    tight: dict[str, Any]
    always: dict[str, Any] = dataclasses.field(default_factory=dict)
    context: tuple[int, ...] = (0, 1)
    known: tuple[int, ...] = ()
    clock: tuple[int, ...] = ()

    def make(self, **more: Any) -> Any:
        return gym.make(self.id, **{**self.always, **more})

    def batch(self, *arguments: Any, **more: Any) -> Any:
        if self.batch_class is None:
            pytest.skip("no batch of its own: Gymnasium's is tested there")
        return self.batch_class(*arguments, **more)

    def needs_contexts(self) -> None:
        if self is KINDS["replay"]:
            pytest.skip("auctions of a table have no drawn x and c")

    def of_length(self, length: int) -> dict[str, Any]:
        return {self.length: length, **self.tight}


_RNG = np.random.default_rng(0)
REPLAY = {
    "auctions": Auctions(
        _RNG.uniform(size=10_000),
        _RNG.uniform(size=10_000),
        _RNG.normal(size=(10_000, 1)),
        _RNG.integers(0, 2, size=10_000),
    ),
    "budget": 4.0,
    "impressions": 50,
    "bids": (0.0, 0.25, 0.5, 0.75, 1.0),
}
KINDS = {
    "auction": Kind(
        "BidClick-v0",
        BidClickEnv,
        BidClickVectorEnv,
        "horizon",
        2,
        AUCTION_NAMES,
        {"x": 0.25, "c": 0.375},
        {},
    ),
    "campaign": Kind(
        "BidClickBudget-v0",
        BidClickBudgetEnv,
        None,
        "impressions",
        4,
        (
            *("bid", "asked_bid", "refused", *AUCTION_NAMES[1:]),
            *("budget_left", "impressions_left"),
        ),
        {"x": 0.25, "c": 0.375, "budget_left": 0.5, "impressions_left": 2},
        {"budget": 1.0},
        known=(2, 3),
        clock=(3,),
    ),
    "replay": Kind(
        "BidReplay-v0",
        functools.partial(BidReplayEnv, **REPLAY),
        functools.partial(BidReplayVectorEnv, **REPLAY),
        "impressions",
        4,
        (
            *("bid", "asked_bid", "won", "click", "payment"),
            *("budget_left", "impressions_left"),
        ),
        {},
        {"budget": 1.0},
        REPLAY,
        (2, 3),
        (0, 1),
        (1,),
    ),
}
CLONES: list[Callable[[Any], Any]] = [
    copy.deepcopy,
    lambda env: pickle.loads(pickle.dumps(env)),
]
#: Each variant of one task, by the name of the task.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("auction", {}),
    ("auction", {"horizon": 3}),
    ("auction", {"continuous": True, "horizon": 3, "cost_range": (0.0, 1.0)}),
    ("auction", {"bids": (0.0, 0.1, 1.0), "cost_range": (0.5, 0.9)}),
    ("auction", {"bids": (0.2, 0.4), "cost_range": (0.05, 0.1)}),
    ("campaign", {}),
    ("campaign", {"impressions": 1}),
    ("campaign", {"budget": 0.5, "impressions": 3, "bids": (0.0, 0.1, 1.0)}),
    ("campaign", {"cost_range": (0.0, 1.0), "impressions": 5}),
    ("replay", {}),
    ("replay", {"bids": None, "highest_bid": 1.0, "impressions": 3}),
    ("replay", {"pricing": "first", "reward": "click", "impressions": 3}),
    ("replay", {"order": "shuffled", "budget": 0.5, "impressions": 1}),
    ("replay", {"order": "file", "bids": (0.0, 0.1, 1.0), "impressions": 5}),
]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


def played(env: gym.Env[Any, Any], actions: list[Any]) -> list[Any]:
    """Everything that steps return, in a form that ``==`` compares to the last bit."""
    steps: list[Any] = []
    for action in actions:
        observation, *rest = env.step(action)
        steps.append([observation.dtype.str, observation.tobytes(), *rest])
    return steps


def played_batch(env: Any, kind: Kind, steps: int) -> list[Any]:
    """The same of a batch, with actions that differ from step to step."""
    found = []
    for i in range(steps):
        actions = np.arange(i, i + env.num_envs) % 5
        *arrays, info = env.step(actions)
        found.append(
            [a.tobytes() for a in arrays] + [info[n].tolist() for n in kind.names]
        )
    return found


# -- one environment ---------------------------------------------------------


@pytest.mark.parametrize(("name", "kwargs"), VARIANTS)
def test_gymnasium_check_env_has_no_complaint(name: str, kwargs: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(KINDS[name].make(**kwargs).unwrapped)


@pytest.mark.parametrize(("name", "kwargs"), VARIANTS)
def test_two_environments_of_one_seed_agree_exactly(
    name: str, kwargs: dict[str, Any]
) -> None:
    """60 steps through resets, stepped in turns so that shared state would show."""
    twins = [KINDS[name].single(**kwargs) for _ in range(2)]
    for twin in twins:
        twin.action_space.seed(1)
    first, second = (twin.reset(seed=5) for twin in twins)
    assert first[0].tobytes() == second[0].tobytes()
    for _ in range(60):
        action = twins[0].action_space.sample()
        left, right = (played(twin, [action])[0] for twin in twins)
        assert left == right
        if left[3] or left[4]:
            left, right = (twin.reset() for twin in twins)
            assert left[0].tobytes() == right[0].tobytes()
            assert left[1] == right[1]
            assert set(left[1]) == set(KINDS[name].names)


def types_of(info: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.dtype if isinstance(value, np.ndarray) else type(value)
        for name, value in info.items()
    }


@pytest.mark.parametrize(("name", "kwargs"), VARIANTS)
def test_information_has_one_structure(name: str, kwargs: dict[str, Any]) -> None:
    """Minari's collector asks for it, in resets and steps alike."""
    kind = KINDS[name]
    cases: list[tuple[Any, Any]] = [(kind.single(**kwargs), 0)]
    if kind.batch_class is not None:
        cases += [
            (kind.batch(3, **kwargs, autoreset_mode=mode), [0, 0, 0])
            for mode in ("next_step", "disabled")
        ]
    for env, action in cases:
        if kwargs.get("continuous") or kwargs.get("bids", 0) is None:
            action = np.zeros(env.action_space.shape)
        _, before = env.reset(seed=0)
        *_, after = env.step(action)
        assert types_of(before) == types_of(after)


def test_no_step_after_the_end(kind: Kind) -> None:
    for length in (1, 3):
        env = kind.make(**kind.of_length(length))
        env.reset(seed=0)
        for _ in range(length):
            env.step(0)
        with pytest.raises(gym.error.ResetNeeded, match=f"all {length} impressions"):
            env.step(0)
        env.reset()
        env.step(0)


@pytest.mark.parametrize(
    "id", ["BidClick-v0", "BidClickMonotone-v0", "BidClickBudget-v0", "BidReplay-v0"]
)
def test_specs_survive_json(id: str) -> None:
    spec = gym.spec(id)
    assert gym.envs.registration.EnvSpec.from_json(spec.to_json()) == spec


def test_another_seed_is_another_episode(kind: Kind) -> None:
    env = kind.single()
    assert env.reset(seed=0)[0].tolist() != env.reset(seed=1)[0].tolist()


@pytest.mark.parametrize("clone", CLONES)
@pytest.mark.parametrize("continuous", [False, True])
def test_copies_made_within_an_episode_replay_exactly(
    continuous: bool, clone: Callable[[Any], Any], kind: Kind
) -> None:
    if continuous and kind is KINDS["campaign"]:
        pytest.skip("campaigns bid by index")
    replay = kind is KINDS["replay"]
    of_box = {"bids": None} if replay else {"continuous": True}
    kwargs = kind.of_length(20) | (of_box if continuous else {})
    env = kind.single(**kwargs)
    env.action_space.seed(4)
    actions = [env.action_space.sample() for _ in range(20)]
    env.reset(seed=9)
    played(env, actions[:7])
    twin = clone(env)
    rest = played(env, actions[7:])
    assert played(twin, actions[7:]) == rest
    assert rest[-1][3 if kind.width == 4 else 4] is True


@pytest.mark.parametrize(
    "action", [-1, 5, 1.0, math.nan, None, "1", [1], (0, 1), np.array([1.0])]
)
def test_bad_bid_indices_are_refused_and_change_nothing(action: Any, kind: Kind) -> None:
    env, twin = kind.single(**kind.of_length(9)), kind.single(**kind.of_length(9))
    for each in (env, twin):
        each.reset(seed=0)
    with pytest.raises(ValueError, match="action must be an integer") as caught:
        env.step(action)
    assert f"got {action!r}" in str(caught.value)
    assert played(env, [2] * 9) == played(twin, [2] * 9)


@pytest.mark.parametrize("action", [2, np.int64(2), np.array(2), np.array([2])])
def test_a_bid_index_may_come_in_any_form_that_policies_return(
    action: Any, kind: Kind
) -> None:
    env = kind.single()
    env.reset(seed=0)
    info = env.step(action)[4]
    assert info.get("asked_bid", info["bid"]) == 0.5


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"x": 1.5}, r"'x' must be .*\[0, 1\], got 1\.5"),
        ({"x": -0.1}, r"'x' must be .*\[0, 1\], got -0\.1"),
        ({"x": math.nan}, r"'x' must be .*\[0, 1\], got nan"),
        ({"x": [0.5, 0.5]}, r"'x' must be .*\[0, 1\], got \[0\.5, 0\.5\]"),
        ({"c": 0.5}, r"'c' must be .*\[0\.2, 0\.4\], got 0\.5"),
        ({"c": 0.0}, r"'c' must be .*\[0\.2, 0\.4\], got 0\.0"),
        ({"c": "cheap"}, r"'c' must be .*\[0\.2, 0\.4\], got 'cheap'"),
        ({"c": None}, r"'c' must be .*\[0\.2, 0\.4\], got None"),
        ({"cost": 0.3}, r"options must be among \('x', 'c'.*\), got \['cost'\]"),
    ],
)
def test_bad_contexts_are_refused_by_name_and_change_nothing(
    options: dict[str, Any], field: str, kind: Kind
) -> None:
    kind.needs_contexts()
    env, twin = (kind.single(**kind.of_length(9)) for _ in range(2))
    for each in (env, twin):
        each.reset(seed=0)
    with pytest.raises(ValueError, match=field):
        env.reset(seed=7, options={**kind.options, **options})
    assert played(env, [2] * 9) == played(twin, [2] * 9)


@pytest.mark.parametrize("context", [(0.0, 0.2), (1.0, 0.4), (0, 0.4), (1, 0.2)])
def test_chosen_contexts_may_lie_on_the_bounds(
    context: tuple[float, float], kind: Kind
) -> None:
    kind.needs_contexts()
    env = kind.single()
    observation, _ = env.reset(options={"x": context[0], "c": context[1]})
    assert env.observation_space.contains(observation)
    assert observation[:2].tolist() == np.float32(context).tolist()


def test_stepping_or_rendering_before_reset_raises(kind: Kind) -> None:
    with pytest.raises(gym.error.ResetNeeded, match=r"reset\(\) before step"):
        kind.single().step(0)
    with pytest.raises(gym.error.ResetNeeded, match=r"reset\(\) before render"):
        kind.single(render_mode="ansi").render()


def test_returned_observations_are_copies(kind: Kind) -> None:
    kind.needs_contexts()
    env = kind.single(**{kind.length: 5})
    observation, _ = env.reset(seed=0, options={"c": 0.375})
    observation[:] = 0.0
    second, _, _, _, info = env.step(4)
    cost = float(second[1])
    assert info["payment"] == 0.375
    second[:] = 0.0
    assert env.step(4)[4]["payment"] == cost


def test_rendering_without_a_mode_warns_and_shows_nothing(kind: Kind) -> None:
    env = kind.single()
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="without a render_mode"):
        assert env.render() is None


# -- batches -----------------------------------------------------------------


def keys_of_slots(info: dict[str, Any], slots: int) -> list[set[str]]:
    """What the masks say each sub-environment was told by an impression."""
    return [
        {k for k, v in info.items() if not k.startswith("_") and info[f"_{k}"][i]}
        for i in range(slots)
    ]


@pytest.mark.parametrize(("name", "kwargs"), VARIANTS)
@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_steps_look_as_those_of_gymnasiums_own_loop(
    mode: str, name: str, kwargs: dict[str, Any]
) -> None:
    if mode != "NextStep" and not MODES:
        pytest.skip("Gymnasium's own environments know next-step autoreset only")
    of_mode = {"autoreset_mode": MODES(mode)} if MODES else {}
    batch: Any = KINDS[name].batch(3, **kwargs, autoreset_mode=mode)
    loop: Any = SyncVectorEnv([lambda: KINDS[name].single(**kwargs)] * 3, **of_mode)
    for space in ("observation_space", "action_space"):
        assert getattr(batch, space) == getattr(loop, space)
        assert getattr(batch, f"single_{space}") == getattr(loop, f"single_{space}")
    starts = [env.reset(seed=0) for env in (batch, loop)]
    # All but the context, which is drawn in another order, is equal.
    known = KINDS[name].known
    np.testing.assert_array_equal(starts[0][0][:, known], starts[1][0][:, known])
    assert starts[0][0].shape == starts[1][0].shape
    assert set(starts[0][1]) == set(starts[1][1])
    # Ours marks impressions alone; Gymnasium's loop, whatever a reset says too.
    assert keys_of_slots(starts[0][1], 3) == [set()] * 3
    playing = np.ones(3, dtype=bool)
    batch.action_space.seed(0)
    for _ in range(9):
        actions = batch.action_space.sample()
        ours, theirs = batch.step(actions), loop.step(actions)
        for mine, same in zip(ours[:4], theirs[:4], strict=True):
            assert (mine.shape, mine.dtype) == (same.shape, same.dtype)
        for flags in (2, 3):
            np.testing.assert_array_equal(ours[flags], theirs[flags])
        clock = KINDS[name].clock
        np.testing.assert_array_equal(ours[0][:, clock], theirs[0][:, clock])
        assert batch.observation_space.contains(ours[0])
        infos = ours[4], theirs[4]
        said = keys_of_slots(infos[1], 3)
        played = [keys if on else set() for keys, on in zip(said, playing, strict=True)]
        if mode == "NextStep":
            assert keys_of_slots(infos[0], 3) == played
            playing = ~(ours[2] | ours[3])
        for key, value in infos[1].items():
            if not isinstance(value, dict):
                assert infos[0][key].dtype == value.dtype
                assert infos[0][key].shape == value.shape
        if "final_info" in infos[1]:
            finals = [info["final_info"] for info in infos]
            assert keys_of_slots(finals[0], 3) == keys_of_slots(finals[1], 3)
            assert [o.dtype for o in infos[0]["final_obs"]] == [np.float32] * 3


@pytest.mark.parametrize("length", [1, 3])
def test_next_step_autoreset_spends_a_step_on_each_reset(length: int, kind: Kind) -> None:
    env = kind.batch(2, **{kind.length: length})
    env.reset(seed=0)
    for step in range(1, 13):
        resets, ends = step % (length + 1) == 0, step % (length + 1) == length
        terminates = length == 1 or kind.width == 4
        # On a slot that only resets, not even the action is looked at.
        actions = np.full(2, -9) if resets else np.full(2, 4)
        observations, rewards, *flags, info = env.step(actions)
        assert [f.tolist() for f in flags] == [
            [ends and terminates] * 2,
            [ends and not terminates] * 2,
        ]
        assert info["_click"].tolist() == [not resets] * 2
        assert (rewards == 0.0).all() == resets
        assert env.observation_space.contains(observations)
        if resets:
            assert all((info[name] == 0).all() for name in kind.names)
            assert (observations[:, kind.known] == 1.0).all()


@pytest.mark.parametrize("length", [1, 3])
def test_same_step_autoreset_keeps_what_ended(length: int, kind: Kind) -> None:
    env = kind.batch(5, **{kind.length: length}, autoreset_mode="same_step")
    observations, _ = env.reset(seed=0)
    for step in range(1, 8):
        shown = observations
        observations, rewards, terminations, truncations, info = env.step(np.full(5, 4))
        ends = step % length == 0
        assert (terminations | truncations).tolist() == [ends] * 5
        assert ("final_info" in info) == ("final_obs" in info) == ends
        assert info["_click"].tolist() == [not ends] * 5
        told = info["final_info"] if ends else info
        if kind is KINDS["replay"]:
            values = shown[:, 2] * told["won"]
            np.testing.assert_allclose(values, rewards, rtol=1e-6)
        else:
            np.testing.assert_array_equal(told["payment"], shown[:, 1].astype(float))
            np.testing.assert_array_equal(told["click"] - told["payment"], rewards)
        if ends:
            assert info["_final_obs"].all()
            final = np.stack(info["final_obs"])
            assert final.shape == (5, kind.width)
            assert (final[:, kind.context] != observations[:, kind.context]).all()
            assert len(np.unique(final[:, kind.context])) == 10
            assert (observations[:, kind.known] == 1.0).all()


def test_without_autoreset_an_end_waits_for_a_reset(kind: Kind) -> None:
    env = kind.batch(3, **{kind.length: 1}, autoreset_mode="disabled")
    env.reset(seed=0)
    first = env.step([0, 1, 2])
    assert first[2].all()
    with pytest.raises(gym.error.ResetNeeded, match=r"episodes \[0, 1, 2\] have ended"):
        env.step([0, 1, 2])
    mask = np.array([True, False, True])
    replay = kind is KINDS["replay"]
    options = {"reset_mask": mask, "budget_left" if replay else "x": 0.5}
    given = set(options)
    observations, info = env.reset(options=options)
    assert set(options) == given
    assert not any(info[f"_{name}"].any() for name in kind.names)
    np.testing.assert_array_equal(observations[1], first[0][1])
    share = 0.5 / 4.0 if replay else 0.5  # of the budget
    assert observations[[0, 2], 0].tolist() == [share, share]
    with pytest.raises(gym.error.ResetNeeded, match=r"episodes \[1\] have ended"):
        env.step([0, 1, 2])
    env.reset(options={"reset_mask": ~mask})
    assert env.step([0, 1, 2])[2].all()


@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_without_full_information_the_same_impressions_are_counted(
    mode: str, kind: Kind
) -> None:
    full, fast = (
        kind.batch(5, **kind.of_length(3), autoreset_mode=mode, full_info=full_info)
        for full_info in (True, False)
    )
    np.testing.assert_array_equal(full.reset(seed=1)[0], fast.reset(seed=1)[0])
    for _ in range(9):
        *arrays, info = full.step([0, 1, 2, 3, 4])
        *same, counts = fast.step([0, 1, 2, 3, 4])
        for array, other in zip(arrays, same, strict=True):
            np.testing.assert_array_equal(array, other)
        assert set(counts) <= {"_click", "final_info", "_final_info"}
        assert ("final_info" in counts) == ("final_info" in info)
        np.testing.assert_array_equal(counts["_click"], info["_click"])
        if "final_info" in info:
            final = counts["final_info"]
            np.testing.assert_array_equal(final["_click"], info["final_info"]["_click"])


@pytest.mark.parametrize("seed", [7, [1, 2, 3], np.arange(3)])
def test_two_batches_of_one_seed_agree_exactly(seed: Any, kind: Kind) -> None:
    first, second = (kind.batch(3, **kind.of_length(5)) for _ in range(2))
    starts = [env.reset(seed=seed)[0].tobytes() for env in (first, second)]
    assert starts[0] == starts[1]
    steps = played_batch(first, kind, 300)
    assert played_batch(second, kind, 300) == steps
    # Reseeding restarts the stream, whatever of it was drawn ahead, and every budget.
    first.reset(seed=seed)
    assert played_batch(first, kind, 300) == steps


def test_other_seeds_and_no_seed_are_other_streams(kind: Kind) -> None:
    env = kind.batch(3, **kind.of_length(5))
    starts = [env.reset(seed=s)[0] for s in (0, 1, [0, 1, 2], [0, 1, 3], None, None)]
    assert len({start.tobytes() for start in starts}) == 6
    if kind is not KINDS["replay"]:  # which draws rows, and may draw one twice
        assert len(np.unique([start[:, :2] for start in starts])) == 36
    env.reset(seed=5)
    assert env.np_random_seed == 5


@pytest.mark.parametrize("clone", CLONES)
@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_copies_of_a_batch_replay_exactly(
    clone: Callable[[Any], Any], mode: str, kind: Kind
) -> None:
    env = kind.batch(3, **kind.of_length(7), autoreset_mode=mode)
    env.reset(seed=9)
    played_batch(env, kind, 10)
    twin = clone(env)
    assert played_batch(twin, kind, 400) == played_batch(env, kind, 400)


@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_nothing_returned_is_overwritten_or_read_again(mode: str, kind: Kind) -> None:
    """More steps than are drawn at once; what is returned is scribbled on."""
    quiet, busy = (
        kind.batch(200, **kind.of_length(7), autoreset_mode=mode) for _ in range(2)
    )
    for env in (quiet, busy):
        env.reset(seed=1)[0][:] = 0.5
    kept = []
    for _ in range(400):
        now, scribbled = (env.step(np.full(200, 3)) for env in (quiet, busy))
        kept.append((now, copy.deepcopy(now)))
        for array, same in zip(scribbled[:4], now[:4], strict=True):
            np.testing.assert_array_equal(array, same)
            array[:] = 0
        infos = [(scribbled[4], now[4])]
        if "final_info" in now[4]:
            infos.append((scribbled[4]["final_info"], now[4]["final_info"]))
        for told, same in infos:
            for name in kind.names:
                np.testing.assert_array_equal(told[name], same[name])
                told[name][:] = 9
        for row in scribbled[4].get("final_obs", []):
            row[:] = 0
        for mask in ("_click", "_final_obs"):
            scribbled[4].get(mask, np.zeros(1))[:] = 0
    for now, then in kept:
        for array, same in zip(now[:4], then[:4], strict=True):
            np.testing.assert_array_equal(array, same)
        for name in kind.names:
            np.testing.assert_array_equal(now[4][name], then[4][name])
        for row, same in zip(
            now[4].get("final_obs", []), then[4].get("final_obs", []), strict=True
        ):
            np.testing.assert_array_equal(row, same)


def test_gymnasiums_wrappers_take_the_batch(kind: Kind) -> None:
    counted: Any = RecordEpisodeStatistics(kind.batch(2, **kind.of_length(3)))
    listed: Any = DictInfoToList(kind.batch(2, **kind.of_length(3)))
    for env in (counted, listed):
        env.reset(seed=0)
    returns = np.zeros(2)
    for _ in range(3):
        _, rewards, terminations, truncations, info = counted.step(np.array([0, 4]))
        told = listed.step(np.array([0, 4]))[4]
        returns += rewards
        assert told == [{name: info[name][i] for name in kind.names} for i in range(2)]
    assert (terminations | truncations).all()
    np.testing.assert_allclose(info["episode"]["r"], returns, rtol=1e-6)
    assert info["episode"]["l"].tolist() == [3, 3]
    assert listed.step(np.array([0, 4]))[4] == [{}, {}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "num_envs must be an integer >= 1, got 0"),
        ({"num_envs": 2.0}, r"num_envs must be an integer >= 1, got 2\.0"),
        ({"bids": (0.5,)}, r"bids must be .* got \(0\.5,\)"),
        ({"cost_range": (0.4, 0.2)}, r"cost_range must be .* got \(0\.4, 0\.2\)"),
        ({"render_mode": "ansi"}, "render_mode must be None .* got 'ansi'"),
        ({"autoreset_mode": "later"}, "autoreset_mode must be .*same_step.* got 'later'"),
        ({"autoreset_mode": None}, "autoreset_mode must be .* got None"),
    ],
)
def test_bad_arguments_of_a_batch_are_refused_by_name(
    arguments: dict[str, Any], message: str, kind: Kind
) -> None:
    if "cost_range" in arguments:
        kind.needs_contexts()
    with pytest.raises(ValueError, match=message):
        kind.batch(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed must be None, an integer >= 0 .* got -1"),
        ({"seed": "12"}, "seed must be None, .* got '12'"),
        ({"seed": 1.5}, r"seed must be None, .* got 1\.5"),
        ({"seed": [1]}, r"one for each of 2 sub-environments, got \[1\]"),
        ({"seed": [1, None]}, r"seed must be None, .* got \[1, None\]"),
        ({"options": {"y": 1}}, "must be among .*reset_mask.* got .'y'."),
        ({"options": {"x": 1.5}}, r"'x' must be .*\[0, 1\].* got 1\.5"),
        ({"options": {"x": math.nan}}, "'x' must be .* got nan"),
        ({"options": {"c": [0.3] * 3}}, r"'c' must be .* one for each of 2"),
        ({"options": {"c": "low"}}, "'c' must be .* got 'low'"),
        ({"options": {"reset_mask": [1, 0]}}, r"'reset_mask' must be a bool array .*\[1"),
        ({"options": {"reset_mask": [False, False]}}, "at least one True"),
        ({"options": {"reset_mask": np.ones(3, bool)}}, r"of shape \(2,\)"),
    ],
)
def test_bad_resets_are_refused_and_change_nothing(
    arguments: dict[str, Any], message: str, kind: Kind
) -> None:
    if {"x", "c"} & set(arguments.get("options", {})):
        kind.needs_contexts()
    env, twin = (kind.batch(2, **kind.of_length(5)) for _ in range(2))
    for each in (env, twin):
        each.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.reset(**arguments)
    assert played_batch(env, kind, 10) == played_batch(twin, kind, 10)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0, 5], "integers from 0 to 4 .* got 5 for sub-environment 1"),
        ([-1, 0], "integers from 0 to 4 .* got -1 for sub-environment 0"),
        (np.array([0, 200], np.uint8), "got 200 for sub-environment 1"),
        (np.array([-1, 0], np.int16), "got -1 for sub-environment 0"),
        ([0.0, 1.0], r"integers of shape \(2,\), got float64"),
        ([True, False], r"integers of shape \(2,\), got bool"),
        ([0], r"of shape \(2,\), got int64 of shape \(1,\)"),
        (2, r"of shape \(2,\), got int64 of shape \(\)"),
    ],
)
def test_bad_actions_of_a_batch_are_refused_and_change_nothing(
    actions: Any, message: str, kind: Kind
) -> None:
    env, twin = (kind.batch(2, **kind.of_length(5)) for _ in range(2))
    for each in (env, twin):
        each.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(actions)
    assert played_batch(env, kind, 10) == played_batch(twin, kind, 10)


def test_the_first_reset_is_of_all(kind: Kind) -> None:
    env = kind.batch(2)
    with pytest.raises(gym.error.ResetNeeded, match=r"call reset\(\) before step"):
        env.step([0, 0])
    with pytest.raises(gym.error.ResetNeeded, match="before resetting with a mask"):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset(options={"reset_mask": np.array([True, True])})
    env.step([0, 0])
