"""Logs as d3rlpy replay buffers: what is a transition, and is it paired with its own."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from bidclick_gym import (
    Auction,
    ClippedGaussianPolicy,
    Log,
    get_dataset,
    get_log,
    simulate_log,
)
from bidclick_gym.campaigns import BudgetedCampaign
from bidclick_gym.logs import (
    simulate_budget_log,
    subsample_impressions,
    to_replay_buffer,
)

pytest.importorskip("minari")
ActionSpace = pytest.importorskip("d3rlpy").constants.ActionSpace

NAME = "bidclick/logged-v0"


@pytest.fixture(scope="module")
def log() -> Log:
    """800 impressions: 6.25 % of them are 50, of the campaigns one."""
    return simulate_log(Auction(), campaigns=16, horizon=50, seed=4)


def transitions(buffer: Any) -> list[Any]:
    """Every transition as d3rlpy's algorithms meet them."""
    return [
        buffer.transition_picker(episode, index)
        for episode in buffer.episodes
        for index in range(episode.transition_count)
    ]


def impressions(buffer: Any) -> Counter[tuple[Any, ...]]:
    return Counter(
        (episode.observations[i].tobytes(), *episode.actions[i], *episode.rewards[i])
        for episode in buffer.episodes
        for i in range(len(episode))
    )


def test_as_bandit_every_impression_is_a_terminal_transition(log: Log) -> None:
    made = transitions(to_replay_buffer(log))
    assert len(made) == 800
    observations = log.observations[:, :-1].reshape(-1, 2)
    rows = zip(observations, log.actions.flat, log.rewards.flat, made, strict=True)
    for observation, action, reward, transition in rows:
        assert transition.terminal == 1.0
        assert transition.observation.tobytes() == observation.tobytes()
        assert transition.action.tolist() == [action]
        assert transition.reward.tolist() == [np.float32(reward)]


def test_campaigns_end_by_timeout_and_keep_their_successors(log: Log) -> None:
    """d3rlpy keeps no final observation, so the last impression is only a successor."""
    buffer = to_replay_buffer(log, as_bandit=False)
    assert [len(episode) for episode in buffer.episodes] == [50] * 16
    assert not any(episode.terminated for episode in buffer.episodes)
    made = transitions(buffer)
    assert len(made) == 16 * 49
    for i, transition in enumerate(made):
        row, step = divmod(i, 49)
        successor = log.observations[row, step + 1]
        assert transition.terminal == 0.0
        assert transition.observation.tobytes() == log.observations[row, step].tobytes()
        assert transition.next_observation.tobytes() == successor.tobytes()
        assert transition.action.tolist() == [log.actions[row, step]]
        assert transition.reward.tolist() == [np.float32(log.rewards[row, step])]
        assert transition.next_action.tolist() == [log.actions[row, step + 1]]


@pytest.mark.parametrize("as_bandit", [True, False])
def test_continuous_actions_are_the_bids_with_the_same_rewards(
    log: Log, as_bandit: bool
) -> None:
    discrete = transitions(to_replay_buffer(log, as_bandit=as_bandit))
    buffer = to_replay_buffer(log, as_bandit=as_bandit, continuous=True)
    continuous = transitions(buffer)
    assert buffer.dataset_info.action_space == ActionSpace.CONTINUOUS
    assert buffer.dataset_info.action_size == 1
    assert buffer.dataset_info.action_signature.dtype[0] == np.float32
    for left, right in zip(discrete, continuous, strict=True):
        assert right.action.dtype == np.float32
        assert right.action.shape == (1,)
        assert right.action[0] == np.float32(log.bids[left.action[0]])
        assert right.reward.tolist() == left.reward.tolist()
        assert right.observation.tobytes() == left.observation.tobytes()


def test_the_number_of_actions_is_stated_and_not_detected() -> None:
    """A small log may lack the highest bid; the policy may still choose it."""
    timid = ClippedGaussianPolicy(mean=0.0, std=0.05)
    log = simulate_log(Auction(), timid, campaigns=1, horizon=20)
    assert log.actions.max() == 0
    info = to_replay_buffer(log).dataset_info
    assert (info.action_space, info.action_size) == (ActionSpace.DISCRETE, 5)
    assert info.observation_signature.shape[0] == (2,)


@pytest.mark.parametrize("as_bandit", [True, False])
def test_smaller_fractions_are_part_of_larger_ones(log: Log, as_bandit: bool) -> None:
    small, middle, whole = (
        impressions(to_replay_buffer(log, fraction, seed=1, as_bandit=as_bandit))
        for fraction in (0.0625, 0.25, 1.0)
    )
    sizes = [counter.total() for counter in (small, middle, whole)]
    assert sizes == [50, 200, 800]
    assert small <= middle <= whole
    assert whole == impressions(to_replay_buffer(log))


def test_the_published_fractions_hold_6250_and_25000_impressions() -> None:
    log = simulate_log(Auction(), campaigns=100, horizon=1000)
    kept = [subsample_impressions(log, fraction) for fraction in (0.0625, 0.25, 1.0)]
    assert [len(rows) for rows in kept] == [6250, 25_000, 100_000]
    assert set(kept[0]) <= set(kept[1])
    for rows in kept:
        assert (np.diff(rows) > 0).all()
    other = subsample_impressions(log, 0.0625, seed=1)
    assert 0 < len(set(other) & set(kept[0])) < 1000
    campaigns = np.bincount(kept[0] // 1000, minlength=100)
    assert campaigns.min() > 20


def test_fractions_repeat_for_one_seed_and_differ_between_seeds(log: Log) -> None:
    first, again, other = (
        impressions(to_replay_buffer(log, 0.25, seed)) for seed in (0, 0, 1)
    )
    assert first == again != other


@pytest.mark.parametrize("name", [NAME, "bidclick/logged-monotone-v0"])
def test_get_dataset_gives_the_whole_log_and_its_environment(name: str) -> None:
    buffer, env = get_dataset(name, show_progress=False)
    log = get_log(name, show_progress=False)
    assert buffer.transition_count == 100_000
    rows = np.array([e.observations[0] for e in buffer.episodes])
    np.testing.assert_array_equal(rows, log.observations[:, :-1].reshape(-1, 2))
    rewards = np.array([e.rewards[0, 0] for e in buffer.episodes])
    np.testing.assert_array_equal(rewards, log.rewards.astype(np.float32).reshape(-1))
    actions = np.array([e.actions[0, 0] for e in buffer.episodes])
    np.testing.assert_array_equal(actions, log.actions.reshape(-1))
    assert env.unwrapped.horizon == 1  # type: ignore[attr-defined]
    assert env.observation_space.contains(rows[0])
    assert env.spec is not None
    assert ("Monotone" in env.spec.id) == ("monotone" in name)


def test_get_dataset_passes_every_argument_on() -> None:
    buffer, env = get_dataset(
        NAME, 0.03, seed=5, as_bandit=False, continuous=True, show_progress=False
    )
    log = get_log(NAME, show_progress=False)
    expected = to_replay_buffer(log, 0.03, 5, as_bandit=False, continuous=True)
    assert [len(episode) for episode in buffer.episodes] == [1000] * 3
    assert impressions(buffer) == impressions(expected)
    assert isinstance(env.action_space, gym.spaces.Box)
    assert env.unwrapped.horizon == 1000  # type: ignore[attr-defined]
    other, _ = get_dataset(NAME, 0.001, log_seed=2, show_progress=False)
    logged = impressions(to_replay_buffer(simulate_log(Auction(), seed=2), 0.001))
    assert impressions(other) == logged


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "bidclick/none-v0"}, r"must be one of .*logged-v0.*'bidclick/none-v0'"),
        ({"fraction": 0.0}, r"fraction must be .*in \(0, 1\], got 0\.0"),
        ({"fraction": 1.5}, r"fraction must be .*in \(0, 1\], got 1\.5"),
        ({"fraction": -0.5}, r"fraction must be .*in \(0, 1\], got -0\.5"),
        ({"fraction": float("nan")}, r"fraction must be .*in \(0, 1\], got nan"),
        ({"fraction": "all"}, r"fraction must be .*in \(0, 1\], got 'all'"),
        ({"fraction": 1e-6}, r"fraction=1e-06 keeps none of 100000 .* least 1e-05"),
        (
            {"fraction": 0.001, "as_bandit": False},
            r"fraction=0\.001 keeps none of 100 items; it must be at least 0\.01",
        ),
        ({"seed": -1}, "seed must be an integer >= 0, got -1"),
        ({"seed": 0.5}, r"seed must be an integer >= 0, got 0\.5"),
        ({"log_seed": -1}, "log_seed must be an integer >= 0, got -1"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        get_dataset(**{"name": NAME, "show_progress": False, **arguments})


def test_without_d3rlpy_the_error_says_what_to_install(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "icac_algo", None)
    with pytest.raises(ImportError, match=r"needs d3rlpy: .*bidclick-icac\[icac\]"):
        to_replay_buffer(log)


@pytest.mark.parametrize("as_bandit", [True, False])
@pytest.mark.parametrize("continuous", [False, True])
def test_clicks_come_along_in_every_form(as_bandit: bool, continuous: bool) -> None:
    buffer, _ = get_dataset(NAME, 0.0625, as_bandit=as_bandit, continuous=continuous)
    arrays = buffer.to_arrays()
    bids = arrays["actions"][:, 0]
    if not continuous:
        bids = np.linspace(0.0, 1.0, 5)[bids]
    click = arrays["extras"]["click"]
    assert set(np.unique(click)) == {0, 1}
    costs = arrays["observations"][:, 1] * bids
    np.testing.assert_allclose(arrays["rewards"][:, 0], click - costs, atol=1e-6)


def test_clicks_of_campaigns_under_a_budget_come_along() -> None:
    campaign = BudgetedCampaign(impressions=20)
    log = simulate_budget_log(campaign, campaigns=9)
    arrays = to_replay_buffer(log, 0.5).to_arrays()
    click = arrays["extras"]["click"]
    assert 0 < click.sum() < len(click)
    assert np.array_equal(click > 0, arrays["rewards"][:, 0] > 0.0)
