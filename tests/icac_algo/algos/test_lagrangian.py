"""The learned Lagrangian and masked choices, where the truth is known in closed form."""

from __future__ import annotations

from typing import Any

import d3rlpy
import numpy as np
import numpy.typing as npt
import pytest
from d3rlpy.algos import DQNConfig, IQLConfig
from d3rlpy.ope import FQEConfig
from hypothesis import given, settings
from hypothesis import strategies as st

from icac_algo import (
    BudgetRelabellingTransitionPicker,
    ColumnarReplayBuffer,
    fit_lagrangian,
)
from icac_algo.decisions import MaskedGreedy

STEPS = 60

# A bandit of three actions: action a earns a and costs 1.5 a, so that at a multiplier mu
# it is worth a (1 - 1.5 mu): 2 is best below mu = 2 / 3, 0 above.
ACTIONS = np.tile(np.arange(3), 120)
OBSERVATIONS = np.random.default_rng(0).random((360, 2)).astype(np.float32)
COSTS = 1.5 * ACTIONS


def bandit(**changes: Any) -> ColumnarReplayBuffer:
    columns = {
        "observations": OBSERVATIONS,
        "actions": ACTIONS,
        "rewards": ACTIONS.astype(np.float32),
    }
    return ColumnarReplayBuffer.from_arrays(**{**columns, **changes})


def make() -> Any:
    return DQNConfig(learning_rate=1e-2, batch_size=64, gamma=0.9).create("cpu:0")


def fitted(dataset: Any = None, cost: Any = COSTS, **options: Any) -> Any:
    defaults = {
        "n_steps": STEPS,
        "gamma": 0.9,
        "rounds": 1,
        "estimate_steps": STEPS,
        "estimate_config": FQEConfig(learning_rate=1e-2, batch_size=64),
        "show_progress": False,
    }
    return fit_lagrangian(
        options.pop("make_algo", make),
        bandit() if dataset is None else dataset,
        cost,
        **{**defaults, **options},
    )


@pytest.fixture(scope="module")
def algo() -> Any:
    d3rlpy.seed(0)
    algo = make()
    algo.build_with_dataset(bandit())
    return algo


@pytest.fixture(scope="module")
def ascent() -> Any:
    return fitted(bound=0.5, rounds=4, step_size=0.2)


def test_the_multiplier_follows_projected_dual_ascent(ascent: Any) -> None:
    mu, costs = ascent.multipliers, ascent.costs
    assert mu[0] == 0.0
    for i in range(3):
        expected = max(mu[i] + 0.2 * (costs[i] - 0.5), 0.0)
        assert mu[i + 1] == pytest.approx(expected, abs=1e-12)


def test_a_round_that_keeps_the_bound_is_chosen(ascent: Any) -> None:
    # Costs of 3, 3 and 0 at multipliers 0, .5 and 1.
    assert ascent.costs == pytest.approx([3.0, 3.0, 0.0, 0.0], abs=0.4)
    assert ascent.is_feasible
    assert ascent.costs[ascent.round] <= 0.5
    kept = ascent.multipliers[ascent.costs <= 0.5]
    assert ascent.multipliers[ascent.round] == kept.min()
    assert (ascent.algo.predict(OBSERVATIONS) == 0).all()


def test_a_bound_that_does_not_bind_keeps_the_free_policy() -> None:
    loose = fitted(bound=10.0, rounds=2)
    assert loose.multipliers.tolist() == [0.0, 0.0]
    assert loose.round == 0
    assert (loose.algo.predict(OBSERVATIONS) == 2).all()


def test_the_last_round_is_returned_if_none_keeps_the_bound() -> None:
    never = fitted(bound=-50.0, rounds=2, max_multiplier=0.1)
    assert not never.is_feasible
    assert never.round == 1
    assert never.multipliers.tolist() == [0.0, 0.1]


def test_the_same_seed_gives_the_same_path() -> None:
    one, two = (fitted(rounds=2, n_steps=20, estimate_steps=20, seed=4) for _ in range(2))
    assert one.multipliers.tolist() == two.multipliers.tolist()
    assert one.costs.tolist() == two.costs.tolist()
    x = OBSERVATIONS[:20]
    values = [run.algo.predict_value(x, ACTIONS[:20]) for run in (one, two)]
    assert (values[0] == values[1]).all()


def test_the_transition_picker_stays() -> None:
    picker = BudgetRelabellingTransitionPicker(budget_feature=0)
    trained = []

    def make_and_watch() -> Any:
        algo = make()
        fit = algo.fit
        algo.fit = lambda log, **options: (trained.append(log), fit(log, **options))
        return algo

    dataset = bandit().replace(transition_picker=picker)
    fitted(dataset, make_algo=make_and_watch, rounds=2, n_steps=5, estimate_steps=5)
    assert [log.transition_picker for log in trained] == [picker, picker]


def test_costs_follow_steps_and_final_observations_cost_nothing() -> None:
    # Episodes of two steps and a row that is only observed.
    final = np.tile([False, False, True], 120)
    ends = np.tile([False, True, False], 120)
    dataset = bandit(timeouts=ends, final=final)
    steps = int((~final).sum())
    once = fitted(dataset, np.ones(steps), gamma=0.0)
    assert once.costs[0] == pytest.approx(1.0, abs=0.2)
    with pytest.raises(ValueError, match=f"each of {steps} logged steps"):
        fitted(dataset, np.ones(len(final)))


def test_a_stock_buffer_is_as_good_as_a_columnar_one() -> None:
    columnar = fitted(step_size=0.3)
    stock = fitted(bandit().to_replay_buffer(), step_size=0.3)
    assert stock.costs == pytest.approx(columnar.costs, abs=1e-6)


@settings(deadline=None, max_examples=15)
@given(bits=st.lists(st.integers(1, 7), min_size=8, max_size=8))
def test_masked_choices_are_the_best_allowed_ones(algo: Any, bits: list[int]) -> None:
    mask = np.array([[bit >> k & 1 for k in range(3)] for bit in bits], bool)
    x = OBSERVATIONS[:8]
    greedy = MaskedGreedy(algo, lambda observations: mask)
    values = greedy.values(x)
    chosen = greedy.predict(x)
    assert mask[np.arange(8), chosen].all()
    for row in range(8):
        assert values[row, chosen[row]] == values[row, mask[row]].max()
        assert values[row, 1] == pytest.approx(
            algo.predict_value(x[row : row + 1], np.array([1]))[0], abs=1e-6
        )


def test_a_mask_that_allows_everything_decides_as_the_algorithm(algo: Any) -> None:
    greedy = MaskedGreedy(
        algo, lambda observations: np.ones((len(observations), 3), bool)
    )
    assert (greedy.predict(OBSERVATIONS) == algo.predict(OBSERVATIONS)).all()


def masked(algo: Any, answer: Any) -> npt.NDArray[np.int64]:
    return MaskedGreedy(algo, lambda observations: answer).predict(OBSERVATIONS[:2])


def test_masks_that_do_not_fit_are_refused(algo: Any) -> None:
    with pytest.raises(ValueError, match=r"bools of shape \(2, 3\), got float64"):
        masked(algo, np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"bools of shape \(2, 3\)"):
        masked(algo, np.ones((3, 3), bool))
    with pytest.raises(ValueError, match="row 1 has none"):
        masked(algo, np.array([[True, False, False], [False, False, False]]))


def test_what_has_no_discrete_values_is_refused(algo: Any) -> None:
    with pytest.raises(ValueError, match="built or fitted"):
        MaskedGreedy(make(), masked)
    with pytest.raises(TypeError, match="mask must be a function"):
        MaskedGreedy(algo, 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="algo must be"):
        MaskedGreedy(3, masked)
    continuous = IQLConfig().create("cpu:0")
    continuous.create_impl((2,), 1)
    with pytest.raises(ValueError, match="discrete actions"):
        MaskedGreedy(continuous, masked)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"make_algo": 3}, TypeError, "make_algo must be a function"),
        ({"dataset": [1]}, TypeError, "dataset must be a d3rlpy replay buffer"),
        ({"cost": COSTS[:-1]}, ValueError, "each of 360 logged steps"),
        ({"cost": np.full(360, np.nan)}, ValueError, "cost must be finite, step 0"),
        ({"cost": ["a"] * 360}, ValueError, "cost must be one number"),
        ({"bound": float("inf")}, ValueError, "bound"),
        ({"gamma": 1.1}, ValueError, "gamma"),
        ({"n_steps": 0}, ValueError, "n_steps"),
        ({"rounds": 0}, ValueError, "rounds"),
        ({"estimate_steps": 1.5}, ValueError, "estimate_steps"),
        ({"step_size": 0.0}, ValueError, "step_size"),
        ({"max_multiplier": 0.0}, ValueError, "max_multiplier"),
        ({"estimate_config": 3}, TypeError, "estimate_config must be an FQEConfig"),
        ({"seed": -1}, ValueError, "seed"),
        ({"show_progress": "no"}, ValueError, "show_progress"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fitted(**options)
