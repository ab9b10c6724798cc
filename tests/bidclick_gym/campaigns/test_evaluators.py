"""Evaluators of campaigns, asked of small algorithms whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from bidclick_gym.campaigns import (
    STATE_SHAPES,
    BudgetedCampaign,
    BudgetRegretEvaluator,
    BudgetReturnEvaluator,
    PacedPolicy,
    StateViolationEvaluator,
    campaign_values,
    fixed_observations,
    solve,
)
from bidclick_gym.logs import simulate_budget_log, to_replay_buffer

d3rlpy = pytest.importorskip("d3rlpy")
scalers = d3rlpy.preprocessing

Array = npt.NDArray[Any]
SMALL = BudgetedCampaign(budget=0.7, impressions=9)
OPTIMUM = solve(SMALL, nodes=12, budget_points=201)
SHAPES = (*STATE_SHAPES, "concave")


class Critic:
    """Answers like a d3rlpy algorithm, from known values of all bids.

    Args:
        values: observations ``(N, 4)`` to ``(N, K)``.
        reward_scaler: values are then in scaled units, as d3rlpy's are.
        gamma: of the sum of shifts that a shifting scaler adds.
    """

    def __init__(
        self,
        values: Callable[[Array], Array],
        reward_scaler: Any = None,
        gamma: float = 1.0,
    ):
        self._values = values
        self._gamma = gamma
        self.reward_scaler = reward_scaler

    def get_action_type(self) -> Any:
        return d3rlpy.constants.ActionSpace.DISCRETE

    def predict(self, observations: Array) -> Array:
        assert observations.dtype == np.float32
        return self._values(observations).argmax(axis=1)

    def predict_value(self, observations: Array, actions: Array) -> Array:
        values = self._values(observations)
        if self.reward_scaler is not None:
            origin, unit = self.reward_scaler.transform_numpy(np.array([0.0, 1.0]))
            k = np.rint(observations[:, 3] * SMALL.impressions).astype(int)
            shifts = [sum(self._gamma**j for j in range(left)) for left in k]
            values = values * (unit - origin) + origin * np.array(shifts)[:, None]
        return values[np.arange(len(values)), actions[:, 0]].astype(np.float32)


def of_feature(feature: int, slope: float) -> Critic:
    """Values that rise or fall in one feature, the same for all bids."""
    return Critic(lambda o: np.tile(slope * o[:, feature : feature + 1], (1, 5)))


def always(bid: int) -> Critic:
    return Critic(lambda o: np.tile(-np.abs(np.arange(5.0) - bid), (len(o), 1)))


def test_never_bidding_earns_its_closed_form_return() -> None:
    value = 9 * SMALL.auction.value_of_constant_bid(0.0)
    assert BudgetReturnEvaluator(SMALL)(always(0)) == pytest.approx(value, abs=1e-9)
    rich = BudgetedCampaign(budget=9.0, impressions=9)
    value = 9 * rich.auction.value_of_constant_bid(0.75)
    assert BudgetReturnEvaluator(rich)(always(3)) == pytest.approx(value, abs=1e-9)


def test_the_regret_is_zero_at_the_optimum_and_positive_elsewhere() -> None:
    best = Critic(OPTIMUM.q_values)
    evaluate = BudgetRegretEvaluator(SMALL)
    assert evaluate(best) == pytest.approx(0.0, abs=1e-6)
    assert BudgetReturnEvaluator(SMALL)(best) == pytest.approx(OPTIMUM.optimal_value)
    regrets = [evaluate(always(bid)) for bid in range(5)]
    assert min(regrets) > 0.05
    returns = [BudgetReturnEvaluator(SMALL)(always(bid)) for bid in range(5)]
    assert np.add(regrets, returns) == pytest.approx(OPTIMUM.optimal_value)


def test_the_default_grid_is_close_to_a_fine_one() -> None:
    fine = BudgetReturnEvaluator(SMALL, nodes=24, budget_points=1001)
    for critic in (Critic(OPTIMUM.q_values), always(1), always(4)):
        assert BudgetReturnEvaluator(SMALL)(critic) == pytest.approx(
            fine(critic), abs=5e-3
        )


@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
@pytest.mark.parametrize(
    "scaler",
    [
        None,
        scalers.MultiplyRewardScaler(100.0),
        scalers.ConstantShiftRewardScaler(-3.0),
        scalers.StandardRewardScaler(mean=0.6, std=0.4),
    ],
)
def test_values_are_put_back_into_reward_units(scaler: Any, gamma: float) -> None:
    """A shifted reward shifts a value once for each impression to come."""
    states = fixed_observations(SMALL, 40)
    critic = Critic(OPTIMUM.q_values, scaler, gamma)
    found = campaign_values(critic, SMALL, states, gamma)
    np.testing.assert_allclose(found, OPTIMUM.q_values(states), atol=1e-5)


def test_the_optimum_keeps_the_shapes_in_the_state() -> None:
    for shape in STATE_SHAPES:
        evaluate = StateViolationEvaluator(SMALL, shape)
        assert evaluate(Critic(OPTIMUM.q_values)) == 0.0, shape


@pytest.mark.parametrize(("shape", "place"), STATE_SHAPES.items())
def test_what_goes_the_wrong_way_everywhere_is_counted_everywhere(
    shape: str, place: tuple[int, float]
) -> None:
    feature, direction = place
    rich = BudgetedCampaign(budget=1e6, impressions=21)
    right, wrong = of_feature(feature, direction), of_feature(feature, -direction)
    count, mean, largest = (
        StateViolationEvaluator(rich, shape, statistic, n=30)
        for statistic in ("count", "mean", "max")
    )
    # A budget of nothing pays for a bid of nothing alone: 4 of 5 bids begin above it.
    inequalities = 30 * (10 * 5 - (4 if shape == "rising_in_budget" else 0))
    assert (count(right), mean(right), largest(right)) == (0.0, 0.0, 0.0)
    assert count(wrong) == inequalities
    step = {"falling_in_c": 0.02, "rising_in_impressions": 2 / 21}.get(shape, 0.1)
    assert mean(wrong) == pytest.approx(step, rel=1e-3)
    assert largest(wrong) == pytest.approx(step, rel=0.06)


def test_one_bid_that_goes_wrong_is_counted_alone() -> None:
    def values(o: Array) -> Array:
        return np.stack([o[:, 0], o[:, 0], -o[:, 0], o[:, 0], o[:, 0]], axis=1)

    rich = BudgetedCampaign(budget=100.0, impressions=3)
    assert StateViolationEvaluator(rich, "rising_in_x", n=7)(Critic(values)) == 70.0
    counted = StateViolationEvaluator(rich, "rising_in_impressions", n=7)
    assert len(counted.observations) == 7 * 3
    assert counted(Critic(values)) == 0.0


def test_rounding_and_the_step_to_a_refused_bid_do_not_count() -> None:
    evaluate = StateViolationEvaluator(SMALL, "rising_in_budget")
    noise = np.random.default_rng(0).normal(size=(len(evaluate.observations), 5))
    assert evaluate.of_values(30.0 + 1e-6 * noise) == 0.0
    assert evaluate.of_values(30.0 + 1e-3 * noise) > 5000
    # Bids that can be paid are worth less: a fall at each such step, in the budget.
    _, c, b, _ = SMALL.read(evaluate.observations)
    assert evaluate.of_values(-1.0 * SMALL.is_affordable(c, b)) == 0.0


def test_shapes_in_the_bid_are_counted_where_the_bid_can_be_paid() -> None:
    states = fixed_observations(SMALL)
    _, c, b, _ = SMALL.read(states)
    is_paid = SMALL.is_affordable(c, b)
    falling = np.tile(-np.arange(5.0), (500, 1))
    convex = np.tile(np.arange(5.0) ** 2, (500, 1))
    both = StateViolationEvaluator(SMALL, "monotone_concave")
    monotone = StateViolationEvaluator(SMALL, "monotone").of_values(falling)
    concave = StateViolationEvaluator(SMALL, "concave").of_values(convex)
    assert monotone == is_paid[:, 1:].sum() == both.of_values(falling)
    assert concave == is_paid[:, 2:].sum() == both.of_values(convex)
    assert 0 < concave < monotone < 2000


def test_an_unknown_value_has_no_shape() -> None:
    evaluate = StateViolationEvaluator(SMALL)
    with pytest.raises(ValueError, match="q must be finite"):
        evaluate.of_values(np.full((len(evaluate.observations), 5), np.nan))


def test_fixed_observations_never_change_and_fit_the_campaign() -> None:
    states = fixed_observations(SMALL)
    np.testing.assert_array_equal(states, fixed_observations(SMALL))
    np.testing.assert_array_equal(states[:10], fixed_observations(SMALL, 10))
    assert (states.shape, states.dtype) == ((500, 4), np.float32)
    _, c, b, k = SMALL.read(states)
    assert set(k) == set(range(1, 10))
    assert (c.min() >= 0.2, c.max() <= 0.4 + 1e-6, b.min() >= 0.0) == (True, True, True)
    assert b.mean() == pytest.approx(0.35, abs=0.03)


@pytest.mark.parametrize(
    ("evaluator", "arguments", "message"),
    [
        (BudgetReturnEvaluator, {"nodes": 1}, "nodes must be an integer >= 2, got 1"),
        (BudgetRegretEvaluator, {"budget_points": 2}, "budget_points must .* 3, got 2"),
        (
            StateViolationEvaluator,
            {"shape": "convex"},
            r"shape must be one of .*'convex'",
        ),
        (
            StateViolationEvaluator,
            {"statistic": "sum"},
            "statistic must be one of .*'sum'",
        ),
        (StateViolationEvaluator, {"gamma": 1.1}, r"gamma must be .*\[0, 1\], got 1\.1"),
        (StateViolationEvaluator, {"n": 0}, "n must be an integer >= 1, got 0"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    evaluator: Any, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        evaluator(SMALL, **arguments)


def test_evaluators_work_inside_fit() -> None:
    log = simulate_budget_log(SMALL, PacedPolicy(SMALL), campaigns=20)
    config = d3rlpy.algos.DQNConfig(
        batch_size=16, gamma=1.0, reward_scaler=scalers.StandardRewardScaler()
    )
    algo = config.create(device="cpu")
    evaluators: dict[str, Any] = {
        "return": BudgetReturnEvaluator(SMALL, 4, 21),
        "regret": BudgetRegretEvaluator(SMALL, 4, 21),
        **{shape: StateViolationEvaluator(SMALL, shape, n=20) for shape in SHAPES},
    }
    history = algo.fit(
        to_replay_buffer(log),
        n_steps=4,
        n_steps_per_epoch=2,
        evaluators=evaluators,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        show_progress=False,
    )
    assert [epoch for epoch, _ in history] == [1, 2]
    last = history[-1][1]
    best = solve(SMALL, nodes=4, budget_points=21).optimal_value
    assert last["regret"] >= 0.0
    assert last["return"] + last["regret"] == pytest.approx(best)
    assert all(0.0 <= last[shape] <= 1000.0 for shape in SHAPES)
