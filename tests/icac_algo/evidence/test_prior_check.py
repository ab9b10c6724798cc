"""The prior check: rejects what is false, spares what is true, says what it cannot."""

from __future__ import annotations

import pathlib
import warnings
from typing import Any

import d3rlpy
import numpy as np
import pytest
import torch

import bidclick_gym
from bidclick_gym.auction import MONOTONE_COST_RANGE, Auction
from bidclick_gym.logs import simulate_log, to_replay_buffer
from icac_algo import (
    Bounded,
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    Convex,
    KnownCost,
    Monotone,
    MonotoneConcave,
    SlopeBounds,
    Unconstrained,
    check_prior,
)
from icac_algo.data import logged_steps
from icac_algo.evidence import (
    Estimates,
    PriorRejectedError,
    PriorWarning,
    action_contrasts,
    action_scores,
    max_test,
)


def log_of(
    curve: Any,
    n: int = 6000,
    seed: int = 0,
    confounded: bool = False,
    noise: float = 0.3,
    logged: bool = True,
) -> ColumnarReplayBuffer:
    """Rewards ``curve(observation, position)`` plus noise, at 4 positions."""
    rng = np.random.default_rng(seed)
    observations = rng.random((n, 2)).astype(np.float32)
    tilt = 2.5 * (observations[:, :1] - 0.5) * np.arange(4) if confounded else 0.0
    odds = np.exp(np.zeros((n, 4)) + tilt)
    odds /= odds.sum(axis=1, keepdims=True)
    actions = (rng.random((n, 1)) > odds.cumsum(axis=1)).sum(axis=1)
    means = curve(observations, actions / 3.0)
    return ColumnarReplayBuffer.from_arrays(
        observations,
        actions,
        means + noise * rng.normal(size=n),
        extras={"propensity": odds[np.arange(n), actions]} if logged else None,
        action_size=4,
    )


@pytest.fixture(scope="module")
def auction_log() -> Any:
    return to_replay_buffer(simulate_log(Auction(), seed=5))


def test_it_would_have_caught_the_paper(auction_log: Any) -> None:
    check = check_prior(auction_log, Monotone())
    assert check.rejected
    assert check.verdict == "rejected"
    assert check.p_value is not None
    assert check.p_value <= check.level == 0.05
    worst = check.worst
    assert worst is not None
    assert worst.rejected
    assert worst.upper < 0.0
    # Bidding the most is what does not pay, most of all at high cost.
    assert worst.actions[-1] == 4
    assert "rejected" in check.explanation
    # Actions are named by their positions, the bids.
    assert f"rise from {check.positions[worst.actions[0]]:g} to 1" in check.explanation


@pytest.mark.parametrize(
    "shape",
    [
        Concave(),
        Monotone(known_cost=KnownCost(1)),
        MonotoneConcave(known_cost=KnownCost(1)),
    ],
)
def test_true_shapes_of_the_auction_are_spared(auction_log: Any, shape: Any) -> None:
    check = check_prior(auction_log, shape)
    assert check.verdict == "not rejected"
    assert not any(c.rejected for c in check.contrasts)


def test_the_monotone_auction_is_monotone() -> None:
    log = simulate_log(Auction(cost_range=MONOTONE_COST_RANGE), seed=1)
    assert check_prior(to_replay_buffer(log, 0.25), Monotone()).verdict == "not rejected"


@pytest.mark.parametrize(
    ("curve", "false", "true"),
    [
        (lambda o, a: -0.5 * a, Monotone(), Monotone(increasing=False)),
        (lambda o, a: a**2, Concave(), Convex()),
        (lambda o, a: -(a**2), Convex(), Concave()),
        (
            lambda o, a: -(a**2),
            Concave(curvature=(-1.0, 0.0)),
            Concave(curvature=(-3.0, -1.0)),
        ),
        (lambda o, a: a**2, Convex(curvature=(3.0, 9.0)), Convex(curvature=(1.0, 3.0))),
        (lambda o, a: a, SlopeBounds(upper=0.5), SlopeBounds(lower=-2.0, upper=2.0)),
        (lambda o, a: a, Bounded(upper=0.6), Bounded(lower=-0.5, upper=2.0)),
        (lambda o, a: a**2, MonotoneConcave(), Unconstrained()),
    ],
)
def test_every_shape_can_be_rejected_and_spared(
    curve: Any, false: Any, true: Any
) -> None:
    log = log_of(curve)
    assert check_prior(log, false).rejected
    assert not check_prior(log, true).rejected


def test_a_violation_in_one_region_is_found_there() -> None:
    def curve(o: Any, a: Any) -> Any:
        return np.where(o[:, 1] > 0.5, -0.4, 0.8) * a

    check = check_prior(log_of(curve), Monotone(), feature_names=["x", "cost"])
    assert check.rejected
    assert check.worst is not None
    assert "cost" in check.worst.region
    assert not [c for c in check.contrasts if c.rejected and c.region == "all"]


@pytest.mark.parametrize("logged", [True, False])
def test_a_logger_who_picks_by_context_does_not_deceive(logged: bool) -> None:
    def curve(o: Any, a: Any) -> Any:
        return 0.4 * a - 2.0 * o[:, 0]

    log = log_of(curve, confounded=True, logged=logged)
    steps = logged_steps(log)
    naive = [steps.rewards[steps.actions == a].mean() for a in range(4)]
    assert np.all(np.diff(naive) < 0.0), "the log should mislead who takes it as it is"
    check = check_prior(log, Monotone())
    assert check.propensities == ("logged" if logged else "estimated")
    assert not check.rejected
    scores = action_scores(steps)
    assert scores.mean(axis=0) == pytest.approx(np.arange(4) / 3 * 0.4 - 1.0, abs=0.06)


def test_scores_of_logged_propensities_are_unbiased() -> None:
    def curve(o: Any, a: Any) -> Any:
        # Nothing that a quadratic regression could learn.
        return np.sin(20.0 * o[:, 0]) * a

    means = []
    for seed in range(40):
        log = log_of(curve, n=500, seed=seed, confounded=True)
        means.append(action_scores(logged_steps(log)).mean(axis=0))
    # The mean of sin(20 x) over [0, 1] is (1 - cos 20) / 20.
    truth = (1.0 - np.cos(20.0)) / 20.0 * np.arange(4) / 3.0
    error = np.std(means, axis=0, ddof=1) / np.sqrt(len(means))
    assert np.all(np.abs(np.mean(means, axis=0) - truth) < 4.0 * error)


def test_too_little_support_is_said() -> None:
    log = log_of(lambda o, a: a).to_arrays()
    few = log["actions"].reshape(-1) == 3
    few &= np.cumsum(few) > 12
    arrays = {
        k: v[~few] for k, v in log.items() if k in ("observations", "actions", "rewards")
    }
    buffer = ColumnarReplayBuffer.from_arrays(**arrays, action_size=4)
    check = check_prior(buffer, Monotone())
    assert check.verdict == "cannot tell"
    assert check.without_support == (3,)
    assert "the action at 1," in check.explanation
    assert not any(3 in c.actions for c in check.contrasts)
    assert np.isnan(check.curves[0].values[3])
    # What can be judged still can be rejected.
    assert check_prior(buffer, Monotone(increasing=False)).rejected
    nothing = check_prior(buffer, Monotone(), min_support=5000)
    assert nothing.verdict == "cannot tell"
    assert nothing.p_value is None
    assert np.isnan(nothing.undetected)
    assert "Cannot tell" in nothing.explanation


@pytest.mark.slow
def test_level_on_the_boundary_of_the_set() -> None:
    # A flat curve is the hardest true one for Monotone. 150 logs at level .1: the
    # chance of more than 27 rejections by a correct test is below .001.
    rejected = sum(
        check_prior(
            log_of(lambda o, a: 0.0 * a, n=800, seed=s), Monotone(), level=0.1, draws=500
        ).rejected
        for s in range(150)
    )
    assert 2 <= rejected <= 27


def test_same_seed_same_result() -> None:
    log = log_of(lambda o, a: a, n=2000)
    first, second = (check_prior(log, Monotone()) for _ in range(2))
    assert first.p_value == second.p_value
    assert first.contrasts == second.contrasts


def test_episodes_are_clusters() -> None:
    rng = np.random.default_rng(0)
    episodes, length = 80, 10
    actions = rng.integers(0, 4, episodes * length)
    shared = np.repeat(rng.normal(size=(episodes, 1)), length, axis=1).reshape(-1)
    ends = np.tile(np.arange(length) == length - 1, episodes)
    arguments = (
        rng.random((episodes * length, 2)).astype(np.float32),
        actions,
        0.2 * shared * actions,
    )
    together = ColumnarReplayBuffer.from_arrays(*arguments, terminals=ends, action_size=4)
    apart = ColumnarReplayBuffer.from_arrays(*arguments, action_size=4)

    def width(buffer: Any) -> float:
        return float(check_prior(buffer, Monotone()).curves[0].half_width[3])

    assert width(together) > 1.2 * width(apart)


def test_every_contrast_follows_from_its_shape() -> None:
    rng = np.random.default_rng(0)
    for shape in (
        Monotone(),
        Concave(),
        Convex(),
        SlopeBounds(lower=-1.0, upper=0.5),
        Concave(curvature=(-2.0, -0.5)),
        Convex(curvature=(0.5, 2.0)),
    ):
        for size in (2, 4, 12):
            positions = np.sort(rng.random(size))
            contrasts = action_contrasts(shape.shape_set(), positions)
            matrix, bounds = shape.shape_set().inequalities(positions)
            members = _members(shape, positions, rng)
            assert (members @ matrix.T >= bounds - 1e-9).all()
            for contrast in contrasts:
                assert (members @ contrast.weights >= contrast.bound - 1e-9).all()


def _members(shape: Any, positions: Any, rng: Any) -> Any:
    values = torch.from_numpy(rng.normal(size=(50, len(positions))))
    return shape.project_gross(values, positions).numpy()


def test_max_test_is_the_normal_test_for_one_mean() -> None:
    one = Estimates(np.array([-1.0]), np.array([[1.0]]), np.array([[0.25]]))
    test = max_test([one], 0.05, 200_000, 0)
    assert test.p_value == pytest.approx(0.02275 + 0.001, abs=0.002)
    assert test.upper[0] == pytest.approx(-1.0 + 1.96 * 0.5, abs=0.01)


def test_plot_and_table(auction_log: Any, tmp_path: pathlib.Path) -> None:
    check = check_prior(auction_log, Monotone())
    figure = check.plot()
    figure.savefig(tmp_path / "check.png")
    titles = [panel.get_title() for panel in figure.axes]
    assert titles[0].startswith("all contexts")
    assert check.table().count("\n") == 11
    assert check.curves[0].distance == pytest.approx(0.012, abs=0.006)


# -- at fit --------------------------------------------------------------------


def fit(buffer: Any, **fields: Any) -> None:
    ConstraintAwareQConfig(**fields).create(device="cpu:0").fit(
        buffer,
        n_steps=1,
        n_steps_per_epoch=1,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )


def test_fit_asks_the_log_first(auction_log: Any) -> None:
    with pytest.raises(PriorRejectedError, match="log contradicts") as caught:
        fit(auction_log, constraint=Monotone(), check_prior="error")
    assert caught.value.check.rejected
    with pytest.warns(PriorWarning, match="Monotone is rejected"):
        fit(auction_log, constraint=Monotone(), check_prior="warn")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(auction_log, constraint=Monotone())
        fit(auction_log, constraint=Concave(), check_prior="error")


def test_fit_asks_about_numbers_too_but_not_about_a_few_repeated_ones() -> None:
    buffer, _ = bidclick_gym.get_dataset(
        fraction=0.001, continuous=True, show_progress=False
    )
    with pytest.raises(
        ValueError, match=r"20 different numbers, got 5; .* log their index"
    ):
        fit(buffer, check_prior="warn")
    rng = np.random.default_rng(0)
    bids = rng.random((600, 1), np.float32)
    rewards = -3.0 * bids[:, 0] + rng.normal(0.0, 0.1, 600)
    log = ColumnarReplayBuffer.from_arrays(
        rng.random((600, 2), np.float32), bids, rewards.astype(np.float32)
    )
    with pytest.raises(PriorRejectedError, match="Monotone is rejected"):
        fit(log, check_prior="error", constraint=Monotone())


# -- regions -------------------------------------------------------------------


def categories(
    fall: float, n: int = 20_000, integer: bool = False, seed: int = 0
) -> ColumnarReplayBuffer:
    """One of 40 campaigns a row; in number 17 rewards fall by ``fall`` over 4 actions."""
    rng = np.random.default_rng(seed)
    campaign = rng.integers(0, 40, n)
    actions = rng.integers(0, 4, n)
    rewards = rng.normal(size=n) + (0.3 - (0.3 + fall) * (campaign == 17)) * actions / 3
    observations = campaign[:, None] if integer else np.eye(40)[campaign]
    return ColumnarReplayBuffer.from_arrays(
        observations.astype(np.float32), actions, rewards, action_size=4
    )


@pytest.mark.parametrize("integer", [False, True])
def test_a_shape_that_is_false_in_one_of_forty_categories_is_found(integer: bool) -> None:
    check = check_prior(categories(2.0, integer=integer), Monotone())
    assert check.rejected
    assert check.worst is not None
    assert check.worst.region == ("feature 0 = 17" if integer else "feature 17 = 1")
    tested = {contrast.region for contrast in check.contrasts}
    names = [f"feature 0 = {i}" if integer else f"feature {i} = 1" for i in range(40)]
    assert tested >= set(names)
    spared = check_prior(categories(-0.3, integer=integer), Monotone())
    assert spared.verdict == "not rejected"


def test_every_feature_is_looked_at() -> None:
    def curve(o: Any, a: Any) -> Any:
        return np.where(o[:, 19] > 0.75, -0.8, 0.8) * a

    rng = np.random.default_rng(0)
    observations = rng.random((6000, 20)).astype(np.float32)
    actions = rng.integers(0, 4, 6000)
    rewards = curve(observations, actions / 3) + 0.3 * rng.normal(size=6000)
    check = check_prior(
        ColumnarReplayBuffer.from_arrays(observations, actions, rewards), Monotone()
    )
    assert check.rejected
    assert "feature 19 > 0.7" in str(check.worst)


def test_trees_find_what_no_single_feature_shows() -> None:
    def curve(o: Any, a: Any) -> Any:
        # Over either feature alone it rises by 0.1.
        return np.where((o[:, 0] > 0.5) == (o[:, 1] > 0.5), 1.0, -0.8) * a

    check = check_prior(log_of(curve, n=8000), Monotone())
    assert check.rejected
    missed = [c.region for c in check.contrasts if c.rejected]
    assert missed
    assert all("in half" in region and " and " in region for region in missed)


def test_few_campaigns_are_few_pieces_of_evidence() -> None:
    rng = np.random.default_rng(0)
    count, length = 12, 200
    actions = rng.integers(0, 4, count * length)
    slopes = np.repeat(rng.normal(size=count), length)
    buffer = ColumnarReplayBuffer.from_arrays(
        rng.random((count * length, 2)).astype(np.float32),
        actions,
        slopes * actions,
        terminals=np.arange(count * length) % length == length - 1,
        action_size=4,
    )
    check = check_prior(buffer, Monotone())
    assert check.verdict == "cannot tell"
    assert check.episodes == 12
    assert "12 episodes" in check.explanation
    assert any("episode" in line for line in check.advice)
    # A campaign that is a category of its own is one piece of evidence about it.
    assert np.all([curve.support <= 12.0 for curve in check.curves])


@pytest.mark.parametrize("reward", [0.0, 3.7])
def test_rewards_that_never_vary_contradict_nothing(reward: float) -> None:
    log = log_of(lambda o, a: reward + 0.0 * a, n=2000, noise=0.0)
    assert check_prior(log, MonotoneConcave()).verdict == "not rejected"
    assert check_prior(log, Bounded(lower=reward + 0.5)).rejected


def test_rare_actions_that_were_never_clicked_prove_nothing() -> None:
    """Thirty zeros beside thousands of rewards of which a tenth are ones."""
    rng = np.random.default_rng(0)
    actions = rng.choice(4, 6000, p=[0.33, 0.33, 0.334, 0.006])
    rewards = (rng.random(6000) < 0.1).astype(float)
    rewards[actions == 3] = 0.0
    buffer = ColumnarReplayBuffer.from_arrays(
        rng.random((6000, 2)).astype(np.float32), actions, rewards, action_size=4
    )
    assert (actions == 3).sum() >= 30
    assert not check_prior(buffer, Monotone()).rejected


# -- what it says --------------------------------------------------------------


@pytest.mark.parametrize(
    ("curve", "false"),
    [
        (lambda o, a: -0.5 * a, Monotone(actions=[0.25, 0.5, 1.0, 4.0])),
        (lambda o, a: a**2, MonotoneConcave(actions=[0.25, 0.5, 1.0, 4.0])),
        (lambda o, a: a, SlopeBounds(upper=0.05, actions=[0.25, 0.5, 1.0, 4.0])),
        (lambda o, a: a, Bounded(upper=0.6)),
        (lambda o, a: -(a**2), Concave(curvature=(-1.0, -0.5))),
        (lambda o, a: a**2, Convex(curvature=(3.0, None))),
    ],
)
def test_a_weaker_shape_that_it_names_is_not_rejected(curve: Any, false: Any) -> None:
    log = log_of(curve)
    check = check_prior(log, false)
    assert check.rejected
    assert check.weaker is not None
    assert check.weaker.actions == false.actions
    assert not check_prior(log, check.weaker).rejected
    assert type(check.weaker).__name__ in str(check)


def test_actions_have_their_own_units() -> None:
    check = check_prior(log_of(lambda o, a: -a), Monotone(actions=[0.25, 0.5, 1.0, 4.0]))
    worst = check.worst
    assert worst is not None
    assert f"from {[0.25, 0.5, 1.0, 4.0][worst.actions[0]]:g} to" in check.explanation
    assert "| 0.25, 4 |" in check.table(rows=1000)
    assert check.plot().axes[0].lines[0].get_xdata().tolist() == [0.25, 0.5, 1.0, 4.0]


def test_nothing_weaker_than_a_curvature() -> None:
    check = check_prior(log_of(lambda o, a: a**2), Concave())
    assert check.rejected
    assert check.weaker is None
    assert any("another kind" in line for line in check.advice)


def test_progress_is_shown_if_asked(capfd: pytest.CaptureFixture[str]) -> None:
    log = log_of(lambda o, a: a, n=500)
    check_prior(log, Monotone())
    assert capfd.readouterr() == ("", "")
    with pytest.raises(ValueError, match="show_progress must be True or False, got 3"):
        check_prior(log, Monotone(), show_progress=3)  # type: ignore[arg-type]
