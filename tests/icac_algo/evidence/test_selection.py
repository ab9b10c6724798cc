"""Selection by held-out Bellman error, where errors are known in closed form."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable
from typing import Any

import d3rlpy
import numpy as np
import pytest
from d3rlpy.algos import DQNConfig, IQLConfig
from d3rlpy.preprocessing import (
    ClipRewardScaler,
    ConstantShiftRewardScaler,
    MultiplyRewardScaler,
    StandardRewardScaler,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from icac_algo import (
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    Convex,
    SlopeBounds,
    select_by_bellman_error,
)
from icac_algo.evidence import PriorWarning, Selection

N, K = 60, 3
RNG = np.random.default_rng(0)
CONTEXTS = RNG.random((N, 2)).astype(np.float32)
ACTIONS = np.tile(np.arange(K), N // K)
REWARDS = (ACTIONS + RNG.normal(0.0, 0.5, N)).astype(np.float32)


def bandit(**changes: Any) -> ColumnarReplayBuffer:
    columns = {"observations": CONTEXTS, "actions": ACTIONS, "rewards": REWARDS}
    return ColumnarReplayBuffer.from_arrays(**{**columns, **changes})


@dataclasses.dataclass
class Known:
    """An algorithm whose values are a formula; ``learn`` may look at its data."""

    formula: Callable[[Any, Any], Any]
    gamma: float = 1.0
    reward_scaler: Any = None
    observation_scaler: Any = None
    learn: Callable[[Any], Any] | None = None
    impl: Any = None

    def fit(self, dataset: Any, **options: Any) -> None:
        info = dataset.dataset_info
        self.impl = types.SimpleNamespace(
            observation_shape=info.observation_signature.shape[0],
            device="cpu:0",
            action_size=info.action_size,
        )
        if self.reward_scaler is not None and not self.reward_scaler.built:
            self.reward_scaler.fit_with_transition_picker(
                dataset.episodes, dataset.transition_picker
            )
        if self.learn is not None:
            self.formula = self.learn(dataset)

    def get_action_type(self) -> Any:
        return d3rlpy.constants.ActionSpace.DISCRETE

    def predict_value(self, x: Any, action: Any) -> Any:
        return np.asarray(self.formula(x, action), np.float64)


def known(formula: Callable[[Any, Any], Any], **fields: Any) -> Callable[[], Known]:
    return lambda: Known(formula, **fields)


def constant(value: float) -> Callable[[Any, Any], Any]:
    return lambda x, a: np.full(len(x), value)


def select(candidates: Any, dataset: Any = None, **options: Any) -> Selection:
    dataset = bandit() if dataset is None else dataset
    options = {"n_steps": 5, "show_progress": False, **options}
    return select_by_bellman_error(dataset, candidates, **options)


FLAT, TRUE = known(constant(0.5)), known(lambda x, a: np.asarray(a, float))


class OfNumbers(Known):
    """The same, whose actions are numbers; it would choose 0.5."""

    def get_action_type(self) -> Any:
        return d3rlpy.constants.ActionSpace.CONTINUOUS

    def predict(self, x: Any) -> Any:
        return np.full((len(x), 1), 0.5, np.float32)


# -- one step ----------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2])
def test_numbers_are_judged_by_the_same_errors(steps: int) -> None:
    numbers = RNG.random((N, 1)).astype(np.float32)
    rewards = (2.0 * numbers[:, 0]).astype(np.float32)
    ends = np.arange(N) % steps == steps - 1
    log = bandit(actions=numbers, rewards=rewards, terminals=ends)

    def worth(x: Any, a: Any) -> Any:
        # What follows is worth a decision of 0.5 more, which the last one has not.
        return 2.0 * np.asarray(a, float)[:, 0]

    made = {
        "true": lambda: OfNumbers(worth, gamma=0.5),
        "flat": lambda: OfNumbers(constant(0.5), gamma=0.5),
    }
    found = select(made, log, n_steps=1)
    following = np.where(ends, 0.0, 0.5 * np.mean([1.0, 0.5]))
    errors = np.stack([2.0 * numbers[:, 0], np.full(N, 0.5)]) - rewards - following
    expected = np.add.reduceat(errors**2, np.arange(0, N, steps), axis=1)
    assert found.squared == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ValueError, match=r"'true'\] must have discrete actions, as the"):
        select(made)


def test_of_one_step_it_is_the_squared_error_of_the_reward() -> None:
    found = select({"flat": FLAT, "true": TRUE})
    rewards = REWARDS.astype(float)
    squared = np.stack([(0.5 - rewards) ** 2, (ACTIONS - rewards) ** 2])
    assert found.squared == pytest.approx(squared, abs=1e-9)
    assert found.own_squared == pytest.approx(squared, abs=1e-9)
    assert found.errors == pytest.approx(squared.mean(axis=1))
    assert found.gamma is None
    gaps = squared[0] - squared[1]
    assert found.differences == pytest.approx([gaps.mean(), 0.0])
    assert found.standard_errors == pytest.approx([gaps.std(ddof=1) / N**0.5, 0.0])
    assert found.best == found.lowest == "true"


def test_nobody_is_judged_by_what_it_was_trained_on() -> None:
    def learn(dataset: Any) -> Any:
        mean = float(dataset.to_arrays()["rewards"].mean())
        return constant(mean)

    found = select({"mean": known(constant(0.0), learn=learn), "zero": FLAT}, folds=3)
    assert np.bincount(found.fold).tolist() == [20, 20, 20]
    for fold in range(3):
        inside = found.fold == fold
        mean = REWARDS[~inside].astype(float).mean()
        expected = (mean - REWARDS[inside].astype(float)) ** 2
        assert found.squared[0, inside] == pytest.approx(expected, abs=1e-5)
        assert found.fold_errors[0, fold] == pytest.approx(expected.mean(), abs=1e-5)


@pytest.mark.parametrize(
    "scaler",
    [
        StandardRewardScaler(multiplier=0.5),
        MultiplyRewardScaler(multiplier=3.0),
        ConstantShiftRewardScaler(shift=2.0),
    ],
    ids=lambda scaler: type(scaler).__name__,
)
def test_scaled_values_are_put_back_into_units_of_reward(scaler: Any) -> None:
    def make() -> Known:
        own = dataclasses.replace(scaler)
        return Known(
            lambda x, a: own.transform_numpy(np.asarray(a, float)), reward_scaler=own
        )

    scaled, plain = select({"scaled": make, "plain": TRUE}).errors
    assert scaled == pytest.approx(plain, rel=1e-5)


# -- several steps -----------------------------------------------------------

# Two steps: nothing is earned on the first, +1 or -1 on the second, as its state says.
# The first step's value is 0, the second's is x.
CHAINS = 40
SIGNS = np.where(np.arange(CHAINS) % 2, 1.0, -1.0)


def chains() -> ColumnarReplayBuffer:
    x = np.stack([np.zeros(CHAINS), SIGNS], axis=1).reshape(-1, 1)
    rewards = np.stack([np.zeros(CHAINS), SIGNS], axis=1).reshape(-1)
    return ColumnarReplayBuffer.from_arrays(
        observations=x.astype(np.float32),
        actions=np.zeros(2 * CHAINS, int),
        rewards=rewards.astype(np.float32),
        terminals=np.tile([0, 1], CHAINS),
        action_size=2,
    )


def slope(value: float) -> Callable[[Any, Any], Any]:
    return lambda x, a: value * x[:, 0]


def test_the_own_target_prefers_flat_values_and_the_common_one_does_not() -> None:
    found = select({"half": known(slope(0.5)), "true": known(slope(1.0))}, chains())
    # Own: .25 and .25 of the half-flat one, 1 and 0 of the true one.
    assert found.own_errors == pytest.approx([0.25, 0.5])
    # Common: V_ref = .75 x, so .5625 on the first step for both; then .25 and 0.
    assert found.errors == pytest.approx([(0.5625 + 0.25) / 2, 0.5625 / 2])
    assert found.best == "true"
    assert found.gamma == 1.0
    assert found.steps.tolist() == [2] * CHAINS


def test_the_discount_is_the_candidates_or_the_given_one() -> None:
    pair = {"half": known(slope(0.5)), "true": known(slope(1.0))}
    found = select(pair, chains(), gamma=0.5)
    assert found.errors == pytest.approx([(0.140625 + 0.25) / 2, 0.140625 / 2])
    mixed = {**pair, "other": known(slope(1.0), gamma=0.9)}
    with pytest.raises(ValueError, match="gamma must be given where candidates differ"):
        select(mixed, chains())
    assert select(mixed, chains(), gamma=0.5).gamma == 0.5


def test_cut_off_episodes_bootstrap_and_final_states_are_no_steps() -> None:
    dataset = ColumnarReplayBuffer.from_arrays(
        observations=np.arange(12.0, dtype=np.float32)[:, None],
        actions=np.zeros(12, int),
        rewards=np.zeros(12, np.float32),
        timeouts=np.tile([0, 1, 0], 4),
        final=np.tile([0, 0, 1], 4),
        action_size=2,
    )
    pair = {"one": known(constant(1.0)), "three": known(constant(3.0))}
    found = select(pair, dataset)
    # Two steps of each episode, both followed by V_ref = 2.
    assert found.steps.tolist() == [2] * 4
    assert found.errors == pytest.approx([1.0, 1.0])
    assert found.own_errors == pytest.approx([0.0, 0.0])


def test_one_step_with_its_final_state_is_one_step() -> None:
    # The gammas differ, but there is nothing to discount.
    pair = {"half": known(slope(0.5), gamma=0.1), "true": known(slope(1.0))}
    x = np.stack([SIGNS, np.zeros(CHAINS)], axis=1).reshape(-1, 1)
    found = select(
        pair,
        ColumnarReplayBuffer.from_arrays(
            observations=x.astype(np.float32),
            actions=np.zeros(2 * CHAINS, int),
            rewards=x[:, 0].astype(np.float32),
            terminals=np.tile([1, 0], CHAINS),
            final=np.tile([0, 1], CHAINS),
            action_size=2,
        ),
    )
    assert found.gamma is None
    assert found.steps.tolist() == [1] * CHAINS
    assert found.errors == pytest.approx([0.25, 0.0])


def test_shifts_must_agree_where_they_add_up() -> None:
    def shifted(shift: float, multiplier: float = 1.0) -> Callable[[], Known]:
        scaler = StandardRewardScaler(mean=shift, std=1.0, multiplier=multiplier)
        return known(lambda x, a: multiplier * x[:, 0], reward_scaler=scaler)

    # The same values in other units.
    one, two = select({"a": shifted(0.0), "b": shifted(0.0, 3.0)}, chains()).errors
    assert one == pytest.approx(two, rel=1e-5)
    with pytest.raises(ValueError, match=r"'a' and 'b' that subtract 0 and 1"):
        select({"a": shifted(0.0), "b": shifted(1.0)}, chains())
    select({"a": shifted(0.0), "b": shifted(1.0)})  # one step: each is undone


# -- what the scores say -----------------------------------------------------

ERRORS = st.lists(
    st.lists(st.floats(0.0, 4.0), min_size=6, max_size=6), min_size=2, max_size=4
)


def made_of(errors: list[list[float]], steps: tuple[int, ...] = (1, 2, 3) * 2) -> Any:
    squared = np.array(errors) * np.array(steps)
    names = tuple("abcd"[: len(errors)])
    return Selection(
        names, squared, squared, np.array(steps), np.array([0, 1, 1, 0, 1, 0]), 1.0
    )


@settings(deadline=None, max_examples=30)
@given(errors=ERRORS)
def test_folds_add_up_and_the_best_is_near_the_lowest(errors: list[list[float]]) -> None:
    found = made_of(errors)
    sizes = np.bincount(found.fold, found.steps)
    assert found.fold_errors @ sizes / sizes.sum() == pytest.approx(found.errors)
    assert (found.differences >= 0.0).all()
    low, best = (found.names.index(name) for name in (found.lowest, found.best))
    assert found.differences[low] == found.standard_errors[low] == 0.0
    assert best <= low
    assert found.differences[best] <= found.standard_errors[best]
    assert (found.differences[:best] > found.standard_errors[:best]).all()


def test_the_first_of_those_that_cannot_be_told_apart_is_chosen() -> None:
    close = made_of([[9.0] * 6, [1.1, 0.9, 1.1, 0.9, 1.3, 0.9], [1.0] * 6])
    assert (close.lowest, close.best) == ("c", "b")
    clear = made_of([[9.0] * 6, [1.1] * 6, [1.0] * 6])
    assert (clear.lowest, clear.best) == ("c", "c")
    assert clear.among(["b", "a"]).names == ("a", "b")
    assert clear.among(["b", "a"]).best == "b"
    rows = close.table().splitlines()
    assert [row.endswith("| yes |") for row in rows[2:]] == [False, True, False]
    with pytest.raises(ValueError, match="names must be some of"):
        clear.among(["z"])
    with pytest.raises(ValueError, match="names must be some of"):
        clear.among([])


@dataclasses.dataclass
class Verdict:
    """What Selection reads of a prior check."""

    verdict: str

    @property
    def rejected(self) -> bool:
        return self.verdict == "rejected"


def test_what_the_log_cannot_tell_apart_is_said_and_the_check_is_asked() -> None:
    close = made_of([[9.0] * 6, [1.1, 0.9, 1.1, 0.9, 1.3, 0.9], [1.0] * 6])
    assert close.tied == ("b", "c")
    assert "cannot tell apart b, c" in str(close)
    checks: Any = {"b": Verdict("rejected"), "c": Verdict("not rejected")}
    asked = dataclasses.replace(close, prior_checks=checks)
    assert (close.best, asked.best) == ("b", "c")
    assert "check_prior rejects b" in str(asked)
    assert "| rejected |" in asked.table()
    # What is rejected and clearly lowest is chosen, and said.
    clear = made_of([[9.0] * 6, [1.1, 1.0] * 3])
    clear = dataclasses.replace(clear, prior_checks={"b": checks["b"]})
    assert clear.best == "b"
    assert "although the log contradicts its shape" in str(clear)
    few = dataclasses.replace(
        close,
        squared=close.squared[:, :2],
        own_squared=close.squared[:, :2],
        steps=close.steps[:2],
        fold=close.fold[:2],
    )
    assert few.tied == few.names
    assert "2 episodes are too few" in str(few)


def test_steps_of_an_episode_count_as_one_observation() -> None:
    # Ten steps of equal error are worth no more than one.
    alone = made_of([[1.0, 3.0] * 3, [1.0] * 6], steps=(1,) * 6)
    long = made_of([[1.0, 3.0] * 3, [1.0] * 6], steps=(10,) * 6)
    assert long.standard_errors == pytest.approx(alone.standard_errors)
    assert alone.standard_errors[0] == pytest.approx(np.std([0, 2] * 3, ddof=1) / 6**0.5)


# -- real algorithms ---------------------------------------------------------


def dqn(**fields: Any) -> Callable[[], Any]:
    config = DQNConfig(batch_size=16, learning_rate=1e-2, **fields)
    return lambda: config.create("cpu:0")


def test_the_same_seed_gives_the_same_scores_and_another_other_ones() -> None:
    pair = {"a": dqn(gamma=0.5), "b": dqn(gamma=0.5, target_update_interval=2)}
    runs = [select(pair, chains(), seed=seed) for seed in (3, 3, 4)]
    for column in ("squared", "own_squared", "fold"):
        first, same, other = (getattr(run, column) for run in runs)
        assert (first == same).all()
        assert (first != other).any()


def test_a_stock_buffer_is_as_good_as_a_columnar_one() -> None:
    pair = {"a": dqn(), "flat": FLAT}
    columnar, stock = (select(pair, d) for d in (bandit(), bandit().to_replay_buffer()))
    assert stock.squared == pytest.approx(columnar.squared, abs=1e-6)


def test_a_false_shape_is_found_out() -> None:
    n = 900
    rng = np.random.default_rng(1)
    actions = np.tile(np.arange(K), n // K)
    rewards = np.array([0.0, 1.0, 0.0])[actions] + rng.normal(0.0, 0.3, n)
    dataset = bandit(
        observations=rng.random((n, 2)).astype(np.float32),
        actions=actions,
        rewards=rewards.astype(np.float32),
    )

    def make(constraint: Any) -> Callable[[], Any]:
        config = ConstraintAwareQConfig(
            constraint=constraint,
            batch_size=64,
            critic_learning_rate=1e-2,
            reward_scaler=StandardRewardScaler(),
        )
        return lambda: config.create("cpu:0")

    pair = {"convex": make(Convex()), "concave": make(Concave())}
    found = select(pair, dataset, n_steps=150)
    assert found.best == "concave"
    verdicts = {name: check.verdict for name, check in found.prior_checks.items()}
    assert verdicts == {"convex": "rejected", "concave": "not rejected"}
    # After hardly a step nothing is told apart by errors; the check still is.
    assert select(pair, dataset, n_steps=1).best == "concave"
    false = {"convex": make(Convex()), "falls": make(SlopeBounds(None, -0.5))}
    with pytest.warns(PriorWarning, match="although the log contradicts its shape"):
        select(false, dataset, n_steps=1)
    # The nearest convex curve to 0, 1, 0 is level at 1 / 3: off by the variance of the
    # three means, 2 / 9.
    assert found.differences[0] == pytest.approx(2.0 / 9.0, abs=0.08)


# -- what is refused ---------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"candidates": [FLAT, TRUE]}, TypeError, "candidates must map names"),
        ({"candidates": {"a": FLAT}}, ValueError, "candidates must be at least two"),
        ({"candidates": {"a": FLAT, 2: TRUE}}, TypeError, "names that are texts, got 2"),
        (
            {"candidates": {"a": FLAT, "b": 3}},
            TypeError,
            r"candidates\['b'\] must be a f",
        ),
        ({"candidates": {"a": FLAT, "b": dict}}, TypeError, "must make a d3rlpy algo"),
        (
            {"candidates": {"a": FLAT, "b": lambda: IQLConfig().create("cpu:0")}},
            ValueError,
            r"candidates\['b'\] must have discrete actions",
        ),
        (
            {"candidates": {"a": FLAT, "b": known(constant(np.nan))}},
            ValueError,
            r"candidates\['b'\] must have finite values",
        ),
        (
            {
                "candidates": {
                    "a": FLAT,
                    "b": known(constant(0.0), reward_scaler=ClipRewardScaler(0.0, 1.0)),
                }
            },
            ValueError,
            r"candidates\['b'\] must have a reward_scaler that can be undone",
        ),
        ({"dataset": [1]}, TypeError, "dataset must be a d3rlpy replay buffer"),
        ({"n_steps": 0}, ValueError, "n_steps"),
        ({"folds": 1}, ValueError, "folds must be an integer >= 2, got 1"),
        ({"folds": 2.0}, ValueError, "folds"),
        ({"folds": N + 1}, ValueError, f"each of {N + 1} folds, has {N}"),
        ({"seed": -1}, ValueError, "seed"),
        ({"gamma": 1.5}, ValueError, "gamma"),
        ({"show_progress": 1}, ValueError, "show_progress"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments: dict[str, Any] = {"candidates": {"a": FLAT, "b": TRUE}, **change}
    with pytest.raises(error, match=message):
        select(**arguments)


def test_a_candidate_that_is_trained_already_is_refused() -> None:
    once = Known(constant(0.0))
    with pytest.raises(ValueError, match="must make a new algorithm each time"):
        select({"a": lambda: once, "b": TRUE})


def test_folds_without_transitions_are_refused() -> None:
    # Cut off after one step, with nothing observed after it: no transition.
    rewards = REWARDS[:5]
    dataset = bandit(
        observations=CONTEXTS[:5],
        actions=ACTIONS[:5],
        rewards=rewards,
        terminals=np.array([0, 0, 0, 0, 1]),
        timeouts=np.array([1, 1, 1, 0, 0]),
    )
    with pytest.raises(ValueError, match="transitions in and outside of each of 2 folds"):
        select({"a": FLAT, "b": TRUE}, dataset)
