"""Exact values of policies, against published digits, closed forms and simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidclick_gym.auction import Auction, click_probability, expected_reward
from bidclick_gym.behavior import ClippedGaussianPolicy
from bidclick_gym.campaigns import (
    BudgetedCampaign,
    Policy,
    evaluate,
    simulate,
    solve,
    value_function,
)

LAST_DIGIT = 5.0e-4
SMALL = BudgetedCampaign(budget=0.7, impressions=6)


def always(bid: int) -> Policy:
    return lambda observations: np.full(len(observations), bid)


def logger(observations: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    return np.tile(ClippedGaussianPolicy().probabilities, (len(observations), 1))


def myopic(observations: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    x, c, _, _ = BudgetedCampaign().read(observations)
    return expected_reward(x[:, None], c[:, None], Auction().bid_array).argmax(axis=1)


def hashed(seed: int, probabilities: bool) -> Policy:
    """Decides by a rough function of all that is observed."""
    weights = np.random.default_rng(seed).normal(size=(4, 5)) * 20.0

    def policy(observations: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        scores = np.sin(observations.astype(np.float64) @ weights)
        if not probabilities:
            return scores.argmax(axis=1)
        p = np.exp(scores)
        return np.asarray(p / p.sum(axis=1, keepdims=True))

    return policy


@pytest.mark.parametrize(
    ("policy", "value"),
    [
        (always(0), 28.093),
        (always(1), 30.168),
        (always(2), 29.815),
        (myopic, 29.678),
        (logger, 29.417),
    ],
    ids=["never", "a quarter", "a half", "myopic", "logger"],
)
def test_value_is_the_published_one(policy: Policy, value: float) -> None:
    assert evaluate(policy) == pytest.approx(value, abs=LAST_DIGIT)


def test_the_optimal_policy_has_the_optimal_value() -> None:
    solution = solve(nodes=8, budget_points=501)
    mine = value_function(solution.greedy, nodes=8, budget_points=501)
    np.testing.assert_allclose(mine, solution.values, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("bid", range(5))
def test_a_budget_that_pays_for_everything_leaves_the_auction_as_it_was(bid: int) -> None:
    campaign = BudgetedCampaign(budget=8.0, impressions=20)
    worth = 20 * Auction().value_of_constant_bid(Auction().bids[bid])
    value = evaluate(always(bid), campaign, nodes=6, budget_points=51)
    assert value == pytest.approx(worth, abs=1e-6)


def test_the_clock_runs_down() -> None:
    campaign = BudgetedCampaign(budget=8.0, impressions=7)

    def only_first(observations: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        return np.where(campaign.read(observations)[3] == 7, 4, 0)

    mean = Auction().value_of_constant_bid
    values = value_function(only_first, campaign, nodes=6, budget_points=51)
    assert values[7, -1] == pytest.approx(mean(1.0) + 6 * mean(0.0), abs=1e-6)
    assert values[6, -1] == pytest.approx(6 * mean(0.0), abs=1e-6)
    assert (simulate(only_first, campaign, 10)["bid_shares"][:, 4] == 1 / 7).all()


def test_certain_probabilities_are_bids() -> None:
    policy = hashed(0, False)
    certain = evaluate(lambda o: np.eye(5, dtype=np.float32)[policy(o)], SMALL, nodes=5)
    assert certain == evaluate(policy, SMALL, nodes=5)


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), probabilities=st.booleans())
def test_no_policy_beats_the_optimum_and_no_batch_changes_it(
    seed: int, probabilities: bool
) -> None:
    policy = hashed(seed, probabilities)
    shape = {"nodes": 6, "budget_points": 71}
    mine = value_function(policy, SMALL, **shape)
    assert (mine <= solve(SMALL, **shape).values + 1e-9).all()
    split = value_function(policy, SMALL, **shape, batch=997)
    np.testing.assert_allclose(split, mine, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("probabilities", [False, True])
def test_simulation_agrees_with_the_exact_value(probabilities: bool) -> None:
    policy = hashed(3, probabilities)
    played = simulate(policy, SMALL, 20_000, seed=5)["profit"]
    exact = evaluate(policy, SMALL, nodes=48, budget_points=501)
    assert abs(played.mean() - exact) < 4.0 * played.std() / np.sqrt(len(played))


def test_simulation_plays_by_the_rules() -> None:
    """Against one campaign at a time, in plain Python."""
    policy = hashed(1, False)
    played = simulate(policy, SMALL, 40, seed=9)
    rng = np.random.default_rng(9)
    for episode in range(40):
        left, clicks, refused = SMALL.budget, 0, 0
        counts = [0] * 5
        for k in range(6, 0, -1):
            u = rng.random(4)
            x, c = np.float32(u[0]), np.float32(0.2 + 0.2 * u[1])
            bid = int(policy(SMALL.observe([x], [c], [left], [k]))[0])
            if float(c) * SMALL.bids[bid] > left:
                bid, refused = 0, refused + 1
            left -= float(c) * SMALL.bids[bid]
            clicks += u[2] < click_probability(x, SMALL.bids[bid])
            counts[bid] += 1
        assert played["clicks"][episode] == clicks
        assert played["refused"][episode] == refused
        assert played["spend"][episode] == pytest.approx(SMALL.budget - left, abs=1e-12)
        assert played["profit"][episode] == clicks - played["spend"][episode]
        assert played["bid_shares"][episode] * 6 == pytest.approx(counts)
    assert played["refused"].sum() > 0


@pytest.mark.parametrize("probabilities", [False, True])
def test_one_seed_is_one_run_whatever_the_batch(probabilities: bool) -> None:
    policy = hashed(2, probabilities)
    whole = simulate(policy, SMALL, 50, seed=1)
    for other in (
        simulate(policy, SMALL, 50, seed=1, batch=7),
        simulate(policy, SMALL, 80, seed=1),
    ):
        for name, column in whole.items():
            np.testing.assert_array_equal(column, other[name][:50], err_msg=name)
    assert (simulate(policy, SMALL, 50, seed=2)["profit"] != whole["profit"]).any()


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), probabilities=st.booleans())
def test_accounts_of_simulated_campaigns_add_up(seed: int, probabilities: bool) -> None:
    played = simulate(hashed(seed, probabilities), SMALL, 60, seed=seed)
    assert (played["spend"] <= SMALL.budget + 1e-12).all()
    assert (played["profit"] == played["clicks"] - played["spend"]).all()
    np.testing.assert_allclose(played["bid_shares"].sum(axis=1), 1.0)
    assert (played["refused"] <= np.round(6 * played["bid_shares"][:, 0])).all()


def test_sampled_bids_have_their_probabilities() -> None:
    rich = BudgetedCampaign(budget=20.0)
    shares = simulate(logger, rich, 2000)["bid_shares"].mean(axis=0)
    # 100,000 bids: four standard errors of a share are below .0064.
    assert shares == pytest.approx(ClippedGaussianPolicy().probabilities, abs=0.0064)


def test_a_policy_that_writes_into_its_argument_harms_nobody() -> None:
    def careless(observations: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        bids = hashed(4, False)(observations)
        observations[:] = 0.0
        return bids

    value = evaluate(hashed(4, False), SMALL, nodes=5)
    assert evaluate(careless, SMALL, nodes=5) == value


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda n: np.full(n, 5), r"indices of bids in 0, ..., 4, got 5"),
        (lambda n: np.full(n, -1), r"got -1"),
        (lambda n: np.full(n, 1.0), r"float64 of shape"),
        (lambda n: np.full(n, True), r"bool of shape"),
        (lambda n: np.full((n, 1), 1), r"int64 of shape"),
        (lambda n: np.full(n + 1, 1), r"int64 of shape"),
        (lambda n: np.full((n, 4), 0.25), r"floats of shape"),
        (lambda n: np.full((n, 5), 0.25), r"sum to 1 in each row, got \[0.25"),
        (lambda n: np.full((n, 5), np.nan), r"sum to 1"),
        (lambda n: np.tile([1.5, -0.5, 0.0, 0.0, 0.0], (n, 1)), r"at least 0"),
    ],
)
@pytest.mark.parametrize("use", [evaluate, simulate])
def test_policies_that_answer_with_something_else_are_refused(
    use: Any, answer: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=f"policy must return.*{message}"):
        use(lambda observations: answer(len(observations)), SMALL)


@pytest.mark.parametrize(
    ("use", "arguments", "error", "message"),
    [
        (evaluate, {"policy": 2}, TypeError, "policy must be a function"),
        (evaluate, {"campaign": 2}, TypeError, "campaign must be"),
        (evaluate, {"nodes": 0}, ValueError, "nodes"),
        (evaluate, {"budget_points": 1}, ValueError, "budget_points"),
        (evaluate, {"batch": 0}, ValueError, "batch"),
        (simulate, {"policy": None}, TypeError, "policy must be a function"),
        (simulate, {"episodes": 0}, ValueError, "episodes"),
        (simulate, {"seed": -1}, ValueError, "seed"),
        (simulate, {"batch": 2.0}, ValueError, "batch"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    use: Any, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        use(**{"policy": always(0), **arguments})
