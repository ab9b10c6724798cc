"""Transitions under other budgets: what changes, what does not, and that it is true."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import d3rlpy
import numpy as np
import pytest
from d3rlpy.dataset import Episode, create_infinite_replay_buffer
from d3rlpy.preprocessing import StandardObservationScaler
from hypothesis import given
from hypothesis import strategies as st

from bidclick_gym.campaigns import BudgetedCampaign, PacedPolicy, solve
from bidclick_gym.logs import simulate_budget_log, to_replay_buffer
from icac_algo import (
    BudgetRelabellingTransitionPicker,
    ColumnarReplayBuffer,
    ConstraintAwareQConfig,
)

BUDGET, CLOCK = 2, 3
PICKER = BudgetRelabellingTransitionPicker(
    budget_feature=BUDGET,
    clock_feature=CLOCK,
    tick=1 / 50,
    largest_payment=0.1,
    share=1.0,
)


@pytest.fixture(scope="module")
def dataset() -> Any:
    """A small log of the pacing bidder."""
    campaign = BudgetedCampaign()
    log = simulate_budget_log(campaign, PacedPolicy(campaign), campaigns=40, seed=3)
    actions = np.where(log.refused, 0, log.actions)
    return to_replay_buffer(dataclasses.replace(log, actions=actions))


def batch_of(dataset: Any, seed: int = 0, size: int = 512) -> Any:
    d3rlpy.seed(seed)
    return dataset.sample_transition_batch(size)


@given(
    budget=st.floats(0.0, 1.0),
    paid=st.floats(-0.2, 0.5),
    clock=st.integers(1, 50),
    share=st.floats(0.01, 1.0),
    ends=st.floats(0.0, 0.5),
    seed=st.integers(0, 2**31),
)
def test_only_the_budget_changes_and_what_is_paid_does_not(
    budget: float, paid: float, clock: int, share: float, ends: float, seed: int
) -> None:
    picker = dataclasses.replace(PICKER, share=share, ends=ends)
    paid = min(paid, budget)
    left = min(budget - paid, 1.0)
    before = np.array([[0.3, 0.25, budget, clock / 50]], dtype=np.float32)
    after = np.array([[0.8, 0.35, left, (clock - 1) / 50]], dtype=np.float32)
    logged = before.copy(), after.copy()
    rng = np.random.default_rng(seed)
    found, then = picker.relabelled(before, after, np.array([False]), rng)
    assert np.array_equal(before, logged[0])
    assert np.array_equal(after, logged[1])
    others = [0, 1, 3]
    assert np.array_equal(found[:, others], before[:, others])
    assert np.array_equal(then[:, others], after[:, others])
    assert found[0, BUDGET] - then[0, BUDGET] == pytest.approx(
        float(before[0, BUDGET]) - float(after[0, BUDGET]), abs=2e-7
    )
    assert then[0, BUDGET] >= 0.0
    assert found[0, BUDGET] >= -1e-7
    if then[0, BUDGET] != after[0, BUDGET]:
        assert found[0, BUDGET] <= 1.0 + 1e-6
        assert then[0, BUDGET] <= 1.0 + 1e-6
        least = max(0.0, -paid)
        assert then[0, BUDGET] <= max(least, (clock - 1) * 0.1) + 1e-6


@pytest.mark.parametrize("picker", [PICKER, BudgetRelabellingTransitionPicker(share=1.0)])
def test_a_terminal_transition_stays_as_it_is(dataset: Any, picker: Any) -> None:
    plain = batch_of(dataset)
    ended = plain.terminals[:, 0] == 1.0
    assert ended.any()
    found = picker.relabelled_batch(plain, np.random.default_rng(0))
    assert np.array_equal(found.observations[ended], plain.observations[ended])
    assert np.array_equal(found.next_observations[ended], plain.next_observations[ended])
    changed = found.observations[:, BUDGET] != plain.observations[:, BUDGET]
    assert changed[~ended].mean() > 0.9


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_share_and_ends_are_shares(dataset: Any, share: float) -> None:
    plain = batch_of(dataset, size=20_000)
    picker = dataclasses.replace(PICKER, share=share, ends=0.2)
    found = picker.relabelled_batch(plain, np.random.default_rng(0))
    going_on = plain.terminals[:, 0] == 0.0
    left = found.next_observations[going_on, BUDGET]
    moved = left != plain.next_observations[going_on, BUDGET]
    assert moved.mean() == pytest.approx(share, abs=0.02)
    paid = (plain.observations - plain.next_observations)[going_on, BUDGET]
    to_come = np.rint(plain.observations[going_on, CLOCK] * 50) - 1
    most = np.minimum(1.0 - paid, 0.1 * to_come)
    assert (left[moved] == 0.0).mean() == pytest.approx(0.2, abs=0.02)
    assert np.isclose(left[moved], most[moved]).mean() == pytest.approx(0.2, abs=0.02)


def test_without_a_clock_budgets_reach_the_limit(dataset: Any) -> None:
    picker = BudgetRelabellingTransitionPicker(limit=3.0, share=1.0, ends=0.5)
    plain = batch_of(dataset)
    found = picker.relabelled_batch(plain, np.random.default_rng(0))
    going_on = plain.terminals[:, 0] == 0.0
    left, budget = (
        found.next_observations[going_on, BUDGET],
        found.observations[going_on, BUDGET],
    )
    assert np.all((left == 0.0) | np.isclose(budget, 3.0))
    assert np.isclose(budget, 3.0).any()
    assert (left == 0.0).any()


def test_what_comes_in_does_not_pass_the_limit() -> None:
    picker = BudgetRelabellingTransitionPicker(budget_feature=0, share=1.0)
    before = np.full((200, 1), 0.2, dtype=np.float32)
    found, then = picker.relabelled(
        before, before + 0.3, np.zeros(200, dtype=bool), np.random.default_rng(0)
    )
    assert found.min() == pytest.approx(0.0, abs=1e-6)
    assert then.min() == pytest.approx(0.3, abs=1e-6)
    assert then.max() == 1.0


def test_relabelled_transitions_are_true_of_the_optimum(dataset: Any) -> None:
    """Q*(s, a) is the mean of r + V*(s') under every budget, not only the logged one."""
    found = PICKER.relabelled_batch(
        batch_of(dataset, size=6_000), np.random.default_rng(1)
    )
    solution = solve(BudgetedCampaign())
    now = solution.q_values(found.observations)
    now = np.take_along_axis(now, found.actions.astype(int), axis=1)[:, 0]
    goes_on = found.terminals[:, 0] == 0.0
    next_observations = found.next_observations.copy()
    next_observations[~goes_on] = found.observations[~goes_on]  # not looked at
    then = solution.q_values(next_observations).max(axis=1)
    error = found.rewards[:, 0] + np.where(goes_on, then, 0.0) - now
    assert abs(error.mean()) < 4.0 * error.std() / math.sqrt(len(error))


def test_a_batch_does_not_depend_on_anything_but_the_seed(dataset: Any) -> None:
    seen = dataset.replace(transition_picker=PICKER)
    first, twin, other = batch_of(seen, 1), batch_of(seen, 1), batch_of(seen, 2)
    assert np.array_equal(first.observations, twin.observations)
    assert np.array_equal(first.next_observations, twin.next_observations)
    assert not np.array_equal(first.observations, other.observations)


def test_a_buffer_with_a_stream_of_its_own_leaves_numpys_alone(dataset: Any) -> None:
    arrays = dataset.to_arrays()
    del arrays["timeouts"]

    def batch(seed: int) -> Any:
        buffer = ColumnarReplayBuffer.from_arrays(
            **arrays, seed=5, transition_picker=PICKER, action_size=5
        )
        buffer.append_episode(dataset.episodes[0])
        d3rlpy.seed(seed)
        before = np.random.get_state()[2]  # noqa: NPY002
        # Of the log alone, and with what was appended.
        small, large = (buffer.sample_transition_batch(size) for size in (8, 1_000))
        assert np.random.get_state()[2] == before  # noqa: NPY002
        return np.concatenate([small.observations, large.observations])

    assert np.array_equal(batch(0), batch(1))


def test_transitions_of_a_batch_are_those_of_its_arrays(dataset: Any) -> None:
    batch = batch_of(dataset.replace(transition_picker=PICKER), size=32)
    for place, transition in enumerate(batch.transitions):
        assert np.array_equal(transition.observation, batch.observations[place])
        assert np.array_equal(transition.next_observation, batch.next_observations[place])
        assert np.array_equal(transition.reward, batch.rewards[place])


def test_appended_episodes_are_relabelled_too(dataset: Any) -> None:
    seen = dataset.replace(transition_picker=PICKER)
    episode = dataset.episodes[0]
    marked = np.array(episode.observations, copy=True)
    marked[:, 0] = 0.5
    for _ in range(10):
        seen.append_episode(
            Episode(marked, episode.actions, episode.rewards, episode.terminated)
        )
    batch = batch_of(seen, size=2_000)
    ours = (batch.observations[:, 0] == 0.5) & (batch.terminals[:, 0] == 0.0)
    assert ours.sum() > 50
    known = np.isin(batch.observations[ours, BUDGET], marked[:, BUDGET])
    assert known.mean() < 0.5


def test_the_stock_buffer_takes_it(dataset: Any) -> None:
    stock = create_infinite_replay_buffer(
        episodes=list(dataset.episodes), transition_picker=PICKER
    )
    batch = batch_of(stock, size=256)
    paid = (batch.observations - batch.next_observations)[:, BUDGET]
    going_on = batch.terminals[:, 0] == 0.0
    assert (batch.next_observations[going_on, BUDGET] == 0.0).mean() > 0.1
    assert np.all(paid[going_on] >= -1e-6)
    assert np.all(paid[going_on] <= 0.1 + 1e-6)


def test_the_picker_goes_with_copies(dataset: Any) -> None:
    seen = dataset.replace(transition_picker=PICKER)
    assert seen.to_replay_buffer().transition_picker == PICKER
    assert seen.split(0.5)[0].transition_picker == PICKER


@pytest.mark.parametrize(
    "config", [ConstraintAwareQConfig, d3rlpy.algos.DiscreteCQLConfig]
)
def test_algorithms_learn_from_it_and_twins_are_equal(dataset: Any, config: Any) -> None:
    def values(picker: Any) -> Any:
        d3rlpy.seed(4)
        algo = config(batch_size=32).create(device="cpu:0")
        seen = dataset if picker is None else dataset.replace(transition_picker=picker)
        algo.fit(
            seen,
            n_steps=20,
            n_steps_per_epoch=20,
            show_progress=False,
            logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        )
        observations = np.array([[0.5, 0.3, 0.5, 0.5]], dtype=np.float32)
        return algo.predict_value(observations, np.array([2]))

    assert values(PICKER) == values(PICKER)
    assert values(PICKER) != values(None)


def test_the_picker_alone_touches_no_random_stream(dataset: Any) -> None:
    """Or evaluators and scalers would change what is trained, and how it goes on."""
    episode = dataset.episodes[3]
    d3rlpy.seed(0)
    before = np.random.get_state()[2]  # noqa: NPY002
    first, again = (
        [PICKER(episode, index).observation[BUDGET] for index in range(49)]
        for _ in range(2)
    )
    assert np.random.get_state()[2] == before  # noqa: NPY002
    assert first == again
    assert len(set(first)) > 20


def test_a_run_goes_on_where_it_stopped(dataset: Any, tmp_path: Any) -> None:
    seen = dataset.replace(transition_picker=PICKER)
    checkpoint = tmp_path / "run.pt"

    def values(*targets: int) -> Any:
        for part, n_steps in enumerate(targets):
            d3rlpy.seed(part)
            algo = ConstraintAwareQConfig(
                batch_size=32, observation_scaler=StandardObservationScaler()
            ).create(device="cpu:0")
            algo.fit(
                seen,
                n_steps=n_steps,
                n_steps_per_epoch=10,
                show_progress=False,
                logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
                checkpoint=checkpoint,
            )
        checkpoint.unlink()
        observations = np.array([[0.5, 0.3, 0.5, 0.5]], dtype=np.float32)
        return algo.predict_value(observations, np.array([2]))

    assert values(10, 20) == values(20)


def test_integers_are_relabelled_by_fractions() -> None:
    picker = BudgetRelabellingTransitionPicker(budget_feature=0, share=1.0, limit=100.0)
    budgets = np.arange(60, 10, -1).reshape(-1, 1)
    episode = Episode(
        budgets, np.zeros((50, 1), dtype=np.int64), np.ones((50, 1), np.float32), False
    )
    found = [picker(episode, index).observation[0] for index in range(49)]
    assert np.mean([value % 1.0 != 0.0 for value in found]) > 0.3


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("budget_feature", -1, ">= 0"),
        ("budget_feature", True, ">= 0"),
        ("clock_feature", 1.5, ">= 0"),
        ("clock_feature", 2, "another feature"),
        ("tick", 0.0, "> 0"),
        ("tick", None, "both or not at all"),
        ("largest_payment", -0.1, "> 0"),
        ("largest_payment", math.nan, "> 0"),
        ("limit", math.inf, "> 0, got inf"),
        ("share", 0.0, "> 0"),
        ("share", 1.1, "<= 1"),
        ("ends", 0.6, "<= 0.5"),
    ],
)
def test_bad_fields_are_refused_by_name(field: str, value: Any, allowed: str) -> None:
    given: dict[str, Any] = {
        "budget_feature": 2,
        "clock_feature": 3,
        "tick": 0.02,
        field: value,
    }
    with pytest.raises(ValueError, match=f"{field}.*{allowed}"):
        BudgetRelabellingTransitionPicker(**given)


def test_a_largest_payment_needs_a_clock() -> None:
    with pytest.raises(ValueError, match="largest_payment needs a clock_feature"):
        BudgetRelabellingTransitionPicker(largest_payment=0.1)


def test_observations_that_cannot_be_relabelled_are_refused(dataset: Any) -> None:
    beyond = dataset.replace(
        transition_picker=dataclasses.replace(PICKER, clock_feature=4)
    )
    with pytest.raises(ValueError, match="clock_feature must be below the"):
        beyond.sample_transition_batch(4)
    pixels = Episode(
        np.zeros((3, 1, 8, 8), dtype=np.uint8),
        np.zeros((3, 1), dtype=np.int64),
        np.zeros((3, 1), dtype=np.float32),
        True,
    )
    with pytest.raises(ValueError, match="must be vectors"):
        PICKER(pixels, 0)
