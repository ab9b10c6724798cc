"""Caps on spending and on the cost per click, against adversaries and exact sums."""

from __future__ import annotations

import copy
import pickle
from fractions import Fraction
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

import bidclick_gym  # registers the environments
from bidclick_gym.campaigns import (
    BudgetedCampaign,
    CostPerClickCap,
    SafePolicy,
    SpendCap,
    count_violations,
    simulate_capped,
    solve,
)
from bidclick_gym.envs import SafeBidding

assert bidclick_gym

ROUNDING = Fraction(1, 10**12)
SMALL = BudgetedCampaign(budget=1.5, impressions=12)

spend_caps = st.builds(
    SpendCap,
    window=st.integers(1, 14),
    cap=st.floats(0.0, 1.5),
    sliding=st.booleans(),
)
cost_caps = st.builds(CostPerClickCap, cap=st.floats(0.01, 0.5))
caps_lists = st.lists(st.one_of(spend_caps, cost_caps), min_size=1, max_size=3)


def excess(cap: Any, paid: list[float], clicks: list[int]) -> Fraction:
    """The largest excess over a cap in exact arithmetic, by its definition."""
    exact, limit = [Fraction(p) for p in paid], Fraction(cap.cap)
    ends = range(1, len(paid) + 1)
    if isinstance(cap, CostPerClickCap):
        return max(sum(exact[:t]) - limit * sum(clicks[:t]) for t in ends)
    if cap.sliding:
        return max(sum(exact[max(t - cap.window, 0) : t]) for t in ends) - limit
    starts = range(0, len(paid), cap.window)
    return max(sum(exact[s : s + cap.window]) for s in starts) - limit


def always(bid: int) -> Any:
    return lambda observations, payments, clicks: np.full(len(observations), bid)


def noise(observations: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.asarray(np.abs(np.sin(observations.astype(np.float64) @ np.ones((4, 5)))))


@settings(deadline=None, max_examples=150)
@given(
    caps=caps_lists,
    actions=st.lists(st.integers(0, 4), min_size=12, max_size=12),
    seed=st.integers(0, 2**31),
)
def test_no_sequence_of_actions_breaks_a_cap_in_the_wrapper(
    caps: list[Any], actions: list[int], seed: int
) -> None:
    env = SafeBidding(gym.make("BidClickBudget-v0", budget=1.5, impressions=12), caps)
    env.reset(seed=seed)
    infos = [env.step(action)[4] for action in actions]
    paid = [info["payment"] for info in infos]
    clicks = [info["click"] for info in infos]
    for cap in caps:
        assert excess(cap, paid, clicks) <= ROUNDING
    assert not count_violations(caps, [paid], [clicks]).any()
    for info, action in zip(infos, actions, strict=True):
        assert info["asked_bid"] == SMALL.bids[action]
        assert info["capped"] or info["refused"] or info["bid"] == info["asked_bid"]


@settings(deadline=None, max_examples=60)
@given(caps=caps_lists, seed=st.integers(0, 2**31), sampled=st.booleans())
def test_no_values_break_a_cap_under_the_mask(
    caps: list[Any], seed: int, sampled: bool
) -> None:
    def wild(observations: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return rng.random((len(observations), 5)) ** 4

    rng = np.random.default_rng(seed)
    policy = SafePolicy(wild, caps, SMALL, sampled=sampled)
    policy.reset(1, seed)
    played = simulate_capped(policy.decide, caps, SMALL, episodes=40, seed=seed)
    assert not played["violations"].any()
    assert (played["spend"] <= SMALL.budget).all()


@settings(deadline=None, max_examples=150)
@given(caps=caps_lists, data=st.data())
def test_the_counter_finds_exactly_what_exact_sums_find(
    caps: list[Any], data: st.DataObject
) -> None:
    length = data.draw(st.integers(1, 15))
    quarters = st.integers(0, 4).map(lambda a: a * 0.0625)
    paid = data.draw(st.lists(quarters, min_size=length, max_size=length))
    clicks = data.draw(st.lists(st.integers(0, 1), min_size=length, max_size=length))
    counts = count_violations(caps, [paid], [clicks])[0]
    for cap, count in zip(caps, counts, strict=True):
        worst = excess(cap, paid, clicks)
        if abs(worst) > 2e-9:
            assert (count > 0) == (worst > 0)


def test_violations_are_counted_by_block_by_window_and_by_prefix() -> None:
    paid = [[0.3, 0.0, 0.0, 0.3, 0.3, 0.0, 0.3]]
    clicks = [[0, 1, 1, 1, 0, 0, 0]]
    caps = [SpendCap(2, 0.4), SpendCap(2, 0.4, sliding=True), CostPerClickCap(0.3)]
    caps += [SpendCap(3, 0.55), SpendCap(9, 1.1), CostPerClickCap(0.25)]
    # Prefix costs .3 .3 .3 .6 .9 .9 1.2 beside clicks 0 1 2 3 3 3 3.
    assert count_violations(caps, paid, clicks).tolist() == [[0, 1, 2, 1, 1, 5]]


def test_the_optimum_breaks_tight_caps_and_the_mask_does_not() -> None:
    solution = solve(nodes=8, budget_points=201)
    caps = (SpendCap(10, 0.6), SpendCap(5, 0.4, sliding=True), CostPerClickCap(0.1))
    free = SafePolicy(solution.q_values, ())
    played = simulate_capped(free.decide, caps, episodes=400)
    assert (played["violations"].sum(axis=0) > 400).all()
    safe = SafePolicy(solution.q_values, caps)
    masked = simulate_capped(safe.decide, caps, episodes=400)
    assert not masked["violations"].any()
    assert masked["profit"].mean() < played["profit"].mean()
    assert masked["clicks"].sum() > 0
    assert masked["spend"].mean() > 0.5


def test_a_mask_without_caps_leaves_the_greedy_bid() -> None:
    solution = solve(SMALL, nodes=8, budget_points=201)
    free = SafePolicy(solution.q_values, (), SMALL)
    mine = simulate_capped(free.decide, (), SMALL, episodes=300, seed=2)
    direct = simulate_capped(
        lambda o, payments, clicks: solution.greedy(o), (), SMALL, episodes=300, seed=2
    )
    for name in ("profit", "spend", "clicks", "refused"):
        assert (mine[name] == direct[name]).all()


def test_kept_histories_decide_as_histories_that_are_handed_over() -> None:
    caps = (SpendCap(4, 0.3), CostPerClickCap(0.2))
    kept = SafePolicy(noise, caps, SMALL, sampled=True)
    handed = SafePolicy(noise, caps, SMALL, sampled=True)
    kept.reset(6, seed=3)
    handed.reset(6, seed=3)
    rng = np.random.default_rng(0)
    paid, clicks = np.zeros((6, 0)), np.zeros((6, 0), np.int64)
    for step in range(12):
        seen = SMALL.observe(rng.random(6), rng.uniform(0.2, 0.4, 6), 1.5, 12 - step)
        bids = kept.act(seen)
        assert (bids == handed.decide(seen, paid, clicks)).all()
        payment = seen[:, 1].astype(np.float64) * SMALL.auction.bid_array[bids]
        click = rng.integers(0, 2, 6)
        kept.observe(payment, click)
        paid = np.column_stack([paid, payment])
        clicks = np.column_stack([clicks, click])
    assert not count_violations(caps, paid, clicks).any()


def test_sampled_bids_have_the_renormalised_probabilities() -> None:
    p = np.array([0.1, 0.2, 0.0, 0.3, 0.4])
    policy = SafePolicy(lambda o: np.tile(p, (len(o), 1)), [SpendCap(1, 0.25)], SMALL)
    seen = SMALL.observe(np.full(20_000, 0.5), 0.3, 1.5, 12)
    none = np.zeros((20_000, 0))
    assert (policy.decide(seen, none, none.astype(int)) == 3).all()
    sampling = SafePolicy(
        lambda o: np.tile(p, (len(o), 1)), [SpendCap(1, 0.25)], SMALL, sampled=True
    )
    bids = sampling.decide(seen, none, none.astype(int))
    shares = np.bincount(bids, minlength=5) / 20_000
    # Bids of 0, .25, .5 and .75 cost at most .225 here.
    expected = np.array([0.1, 0.2, 0.0, 0.3, 0.0]) / 0.6
    error = np.sqrt(expected * (1.0 - expected) / 20_000)
    assert (np.abs(shares - expected) <= 4.0 * error).all()


def test_nothing_but_forbidden_bids_is_a_bid_of_zero() -> None:
    certain = np.array([0.0, 0.0, 0.0, 0.0, 1.0])
    policy = SafePolicy(
        lambda o: np.tile(certain, (len(o), 1)), [SpendCap(3, 0.0)], sampled=True
    )
    seen = policy.campaign.observe(np.full(50, 0.5), 0.3, 4.0, 50)
    assert not policy.decide(seen, np.zeros((50, 0)), np.zeros((50, 0), int)).any()


@pytest.mark.parametrize("sliding", [False, True])
def test_windows_start_over_or_slide(sliding: bool) -> None:
    cap = SpendCap(3, 0.5, sliding)
    paid = np.array([[0.2, 0.1, 0.15, 0.25]])
    assert cap.spent(paid[:, :0])[0] == 0.0
    assert cap.spent(paid[:, :2])[0] == pytest.approx(0.3)
    assert cap.spent(paid[:, :3])[0] == pytest.approx(0.25 if sliding else 0.0)
    assert cap.spent(paid)[0] == pytest.approx(0.4 if sliding else 0.25)


def test_the_wrapper_takes_the_highest_allowed_bid_below() -> None:
    env = SafeBidding(gym.make("BidClickBudget-v0"), [SpendCap(2, 0.24)])
    env.reset(seed=0, options={"x": 0.5, "c": 0.3})
    info = env.step(4)[4]
    assert (info["bid"], info["asked_bid"], info["capped"]) == (0.75, 1.0, True)
    info = env.step(1)[4]
    assert (info["bid"], info["asked_bid"], info["capped"]) == (0.0, 0.25, True)
    info = env.step(1)[4]
    assert (info["bid"], info["capped"]) == (0.25, False)


def test_a_cap_that_never_binds_changes_nothing() -> None:
    plain = gym.make("BidClickBudget-v0")
    wrapped = SafeBidding(gym.make("BidClickBudget-v0"), [SpendCap(1, 1.0)])
    plain.reset(seed=5)
    wrapped.reset(seed=5)
    for action in np.random.default_rng(0).integers(0, 5, 50):
        ours, theirs = wrapped.step(action), plain.step(action)
        assert ours[0].tobytes() == theirs[0].tobytes()
        assert ours[1:4] == theirs[1:4]
        assert ours[4] == {**theirs[4], "capped": False}


def test_the_wrapper_is_a_gymnasium_environment_that_starts_over() -> None:
    env = SafeBidding(gym.make("BidClickBudget-v0", impressions=2), [SpendCap(2, 0.1)])
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)
    with pytest.warns(UserWarning, match="wrapper applied"):
        check_env(env, skip_render_check=True)
    twin = pickle.loads(pickle.dumps(env))
    again = copy.deepcopy(env)
    for one in (env, twin, again):
        one.reset(seed=1)
    assert env.step(4)[1] == twin.step(4)[1] == again.step(4)[1]
    with pytest.raises(ValueError, match="action"):
        env.step(7)
    env.step(4)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)
    env.reset(seed=1, options={"c": 0.3})
    assert env.step(1)[4]["bid"] == 0.25


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpendCap(0, 1.0), "window must be an integer >= 1, got 0"),
        (lambda: SpendCap(2.5, 1.0), "window"),  # type: ignore[arg-type]
        (lambda: SpendCap(2, -0.1), "cap must be a finite number >= 0, got -0.1"),
        (lambda: SpendCap(2, float("nan")), "cap must be"),
        (lambda: SpendCap(2, 1.0, "no"), "sliding"),  # type: ignore[arg-type]
        (lambda: CostPerClickCap(0.0), "cap must be a finite number > 0, got 0.0"),
        (lambda: CostPerClickCap(True), "cap must be"),
        (lambda: SafePolicy(noise, (), sampled=1), "sampled"),  # type: ignore[arg-type]
        (lambda: SafePolicy(noise, ()).reset(0), "campaigns"),
        (lambda: SafePolicy(noise, ()).reset(1, seed=-1), "seed"),
        (lambda: SafePolicy(noise, ()).observe([-1.0], [0]), "payments must be 1"),
        (lambda: SafePolicy(noise, ()).observe([1.0], [2]), "clicks must be 1"),
        (lambda: SafePolicy(noise, ()).act(np.zeros((1, 2))), "observations must"),
        (lambda: SafePolicy(noise, ()).act(np.zeros((2, 4))), "payments and clicks"),
        (
            lambda: SafePolicy(lambda o: np.zeros((1, 4)), ()).act(np.zeros((1, 4))),
            r"values must give floats of shape \(1, 5\)",
        ),
        (
            lambda: SafePolicy(lambda o: np.full((1, 5), np.nan), ()).act(
                np.zeros((1, 4))
            ),
            "values must give numbers",
        ),
        (lambda: count_violations([], [[1.0]], [[1, 0]]), "both have shape"),
        (lambda: simulate_capped(always(0), (), episodes=0), "episodes"),
    ],
)
def test_bad_numbers_are_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SafePolicy(1, ()), "values must be a function"),  # type: ignore[arg-type]
        (lambda: SafePolicy(noise, SpendCap(1, 1.0)), "caps"),  # type: ignore[arg-type]
        (lambda: SafePolicy(noise, [0.5]), "caps must be a tuple"),  # type: ignore[list-item]
        (lambda: SafePolicy(noise, (), 3), "campaign"),  # type: ignore[arg-type]
        (lambda: SafeBidding(gym.make("BidClick-v0"), ()), "env must be"),
        (lambda: simulate_capped(3, ()), "policy"),  # type: ignore[arg-type]
        (lambda: count_violations([noise], [[1.0]], [[1]]), "caps"),  # type: ignore[list-item]
    ],
)
def test_objects_of_another_kind_are_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make()


def test_a_transformed_environment_is_refused() -> None:
    env = gym.make("BidClickBudget-v0")
    rescaled = gym.wrappers.RescaleObservation(env, np.float32(-1.0), np.float32(1.0))
    with pytest.raises(ValueError, match="env must have the spaces"):
        SafeBidding(rescaled, ())
