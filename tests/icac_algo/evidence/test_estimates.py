"""Off-policy estimates against closed forms, and what is said without support."""

from __future__ import annotations

import itertools
import pathlib
import warnings
from typing import Any

import d3rlpy
import numpy as np
import pytest
from d3rlpy.algos import DQNConfig

import bidclick_gym
from bidclick_gym.auction import Auction
from bidclick_gym.behavior import ClippedGaussianPolicy
from bidclick_gym.logs import simulate_log, to_replay_buffer
from icac_algo import ColumnarReplayBuffer, Concave, ConstraintAwareQConfig
from icac_algo.data import LoggedSteps, logged_steps
from icac_algo.evidence import (
    ESTIMATORS,
    OffPolicyEvaluator,
    SupportWarning,
    action_probabilities,
    compare,
    estimate,
    fitted_q_estimate,
)


def small_log(**changes: Any) -> LoggedSteps:
    columns: dict[str, Any] = {
        "observations": np.zeros((4, 1), np.float32),
        "actions": np.array([0, 0, 1, 1]),
        "rewards": np.array([1.0, 3.0, 4.0, 8.0]),
        "propensities": np.array([0.5, 0.25, 0.5, 0.8]),
        "episodes": np.arange(4),
        "action_size": 2,
    }
    return LoggedSteps(**{**columns, **changes})


@pytest.fixture(scope="module")
def auction_log() -> LoggedSteps:
    return logged_steps(to_replay_buffer(simulate_log(Auction(), seed=3)))


def test_ips_and_snips_by_hand() -> None:
    with pytest.warns(SupportWarning, match="effective sample size is 1.9, below 100"):
        found = estimate(small_log(), 1, estimators=("ips", "snips"))
    assert found["ips"].value == pytest.approx((4.0 / 0.5 + 8.0 / 0.8) / 4.0)
    assert found["snips"].value == pytest.approx((8.0 + 10.0) / (2.0 + 1.25))
    assert found["ips"].effective_sample_size == pytest.approx(
        (2.0 + 1.25) ** 2 / (4.0 + 1.25**2)
    )


def test_the_loggers_own_policy_is_worth_its_mean_reward(
    auction_log: LoggedSteps,
) -> None:
    probabilities = ClippedGaussianPolicy().probabilities

    def logger(observations: Any) -> Any:
        return np.tile(probabilities, (len(observations), 1))

    found = estimate(auction_log, logger)
    mean = auction_log.rewards.mean()
    assert found["ips"].value == pytest.approx(mean, rel=1e-9)
    assert found["snips"].value == pytest.approx(mean, rel=1e-9)
    assert found["ips"].effective_sample_size == pytest.approx(len(auction_log))
    for name in ESTIMATORS:
        assert found[name].value == pytest.approx(mean, abs=0.003)


@pytest.mark.parametrize(
    "bid", [0, 4, *(pytest.param(bid, marks=pytest.mark.slow) for bid in (1, 2, 3))]
)
def test_constant_bids_have_their_closed_form(auction_log: Any, bid: int) -> None:
    auction = Auction()
    truth = auction.value_of_constant_bid(auction.bids[bid])
    for name, found in estimate(auction_log, bid).items():
        # Five half-widths of a 95 % interval are ten standard errors.
        half = (found.upper - found.lower) / 2.0
        assert abs(found.value - truth) < 2.5 * half, name
        assert found.lower < found.value < found.upper
        assert half < 0.02


def test_doubly_robust_beats_ips_where_the_model_helps(auction_log: Any) -> None:
    found = estimate(auction_log, 4)
    widths = {name: f.upper - f.lower for name, f in found.items()}
    assert widths["dr"] < 0.6 * widths["ips"]
    assert widths["dr"] < 1.02 * widths["snips"]


def test_estimated_propensities_serve_where_none_were_logged() -> None:
    rng = np.random.default_rng(0)
    n = 20_000
    x = rng.random((n, 1)).astype(np.float32)
    chance = 1.0 / (1.0 + np.exp(2.0 - 4.0 * x[:, 0]))
    actions = (rng.random(n) < chance).astype(np.int64)
    # Both actions earn x: who takes the log as it is believes in action 1.
    rewards = x[:, 0] + 0.1 * rng.normal(size=n)
    log = LoggedSteps(x, actions, rewards, None, np.arange(n), 2)
    assert rewards[actions == 1].mean() > 0.6
    for name, found in estimate(log, 1).items():
        assert found.value == pytest.approx(0.5, abs=0.02), name


def test_missing_support_is_loud() -> None:
    rng = np.random.default_rng(0)
    n = 2000
    x = rng.random((n, 1)).astype(np.float32)
    # Where x is high the logger always plays 0: those propensities are 1.
    actions = np.where(x[:, 0] > 0.5, 0, rng.integers(0, 2, n))
    propensities = np.where(x[:, 0] > 0.5, 1.0, 0.5)
    log = LoggedSteps(x, actions, rng.random(n), propensities, np.arange(n), 3)
    with pytest.warns(SupportWarning, match=r"mean weight is 0\.\d+ instead of 1"):
        found = estimate(log, 1)
    assert found["ips"].support is not None
    assert found["ips"].support.covered == pytest.approx(0.5, abs=0.1)
    with pytest.warns(SupportWarning, match="actions that the log never has"):
        never = estimate(log, 2)
    assert np.isnan(never["snips"].value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimate(log, 0)


def test_propensities_that_cannot_be_the_loggers_are_loud() -> None:
    rng = np.random.default_rng(0)
    n = 2000
    # Of two actions, logged as if they had been ten.
    log = LoggedSteps(
        rng.random((n, 1)).astype(np.float32),
        rng.integers(0, 2, n),
        rng.random(n),
        np.full(n, 0.1),
        np.arange(n),
        2,
    )
    with pytest.warns(SupportWarning, match=r"mean weight is 4\.\d+ instead of 1"):
        estimate(log, 1)


@pytest.mark.slow
def test_coverage_of_the_intervals() -> None:
    policy = Auction()
    truth = policy.value_of_constant_bid(0.75)
    inside = dict.fromkeys(ESTIMATORS, 0)
    for seed in range(100):
        log = logged_steps(to_replay_buffer(simulate_log(policy, campaigns=2, seed=seed)))
        for name, found in estimate(log, 3, estimators=tuple(inside)).items():
            inside[name] += found.lower <= truth <= found.upper
    # 95 of 100 expected; a correct interval leaves these bounds once in ten thousand.
    assert all(86 <= count <= 100 for count in inside.values()), inside


def test_episodes_are_resampled_whole() -> None:
    rng = np.random.default_rng(0)
    rewards = np.repeat(rng.normal(size=200), 10)
    apart = small_log(
        observations=np.zeros((2000, 1), np.float32),
        actions=rng.integers(0, 2, 2000),
        rewards=rewards,
        propensities=np.full(2000, 0.5),
        episodes=np.arange(2000),
    )
    together = small_log(**{**vars(apart), "episodes": np.repeat(np.arange(200), 10)})
    with pytest.raises(ValueError, match="episodes of several steps: as_bandit=True"):
        estimate(together, 0)

    def width(log: LoggedSteps) -> float:
        found = estimate(log, 0, as_bandit=True)["snips"]
        return found.upper - found.lower

    assert width(together) > 1.5 * width(apart)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (lambda o: np.full((len(o), 2), 0.7), "sum to 1, row 0"),
        (lambda o: np.r_[np.full((3, 2), 0.5), [[np.nan, 1.0]]], "sum to 1, row 3"),
        (lambda o: np.tile([1.5, -0.5], (4, 1)), "at least 0 and sum to 1, row 0"),
        (lambda o: np.full(len(o), 2), "indices from 0 to 1, got 2 in row 0"),
        (lambda o: np.array([0, 1, -1, 0]), "indices from 0 to 1, got -1 in row 2"),
        (lambda o: np.zeros(3, int), r"indices \(4,\) or probabilities"),
        (lambda o: np.zeros((4, 3)), r"indices \(4,\) or probabilities"),
        (lambda o: np.zeros((1, 4), int), r"indices \(4,\) or probabilities"),
        (lambda o: 0, r"indices \(4,\) or probabilities"),
        (lambda o: np.array([0.0, 1.0, 1.5, 0.0]), "got 0.0 in row 0 .float64"),
        (lambda o: np.array([0, np.nan, 1, 0]), "got 0.0 in row 0 .float64"),
        (lambda o: np.zeros(len(o), bool), "got False in row 0 .bool"),
        (lambda o: ["a"] * 4, "answer must be numbers"),
        (lambda o: None, "answer must be numbers"),
        (-1, "indices from 0 to 1"),
    ],
)
def test_policies_that_are_none(policy: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^policies\['it'\].* {message}"):
        compare(small_log(), {"it": policy})


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_indices_may_be_a_column(shape: tuple[int, ...]) -> None:
    steps = small_log()
    chosen = np.array([1, 0, 0, 1])
    found = action_probabilities(steps, lambda o: chosen.reshape(shape))
    assert found.tolist() == np.eye(2)[chosen].tolist()


def test_a_policy_that_changes_its_mind_is_refused() -> None:
    answers = itertools.count()

    def moody(observations: Any) -> Any:
        return np.full(len(observations), next(answers) % 2)

    with pytest.raises(
        ValueError, match=r"policies\['moody'\] must give the same answer"
    ):
        compare(small_log(), {"moody": moody})


def test_a_policy_that_writes_into_its_observations_spoils_nothing() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((600, 2)).astype("f4")
    actions = rng.integers(3, size=600)
    rewards = (x[:, 0] > 0.5) * actions + 0.01 * rng.random(600)
    log = ColumnarReplayBuffer.from_arrays(
        x, actions, rewards, extras={"propensity": np.full(600, 1 / 3)}
    )

    def good(observations: Any) -> Any:
        return np.where(observations[:, 0] > 0.5, 2, 0)

    def centres(observations: Any) -> Any:
        observations -= observations.mean(0)
        return np.zeros(len(observations), int)

    policies = {"good": good, "centres": centres}
    steps = logged_steps(log)
    before = steps.observations.copy()
    found = [
        {p.name: p.estimate.value for p in compare(steps, order).policies}
        for order in (policies, dict(reversed(policies.items())))
    ]
    assert found[0] == found[1]
    assert found[0]["good"] == pytest.approx(1.0, abs=0.2)
    assert (steps.observations == before).all()


class Explores:
    """A model as Stable-Baselines3 has it, which explores unless it is told not to."""

    def __init__(self, state: Any = None):
        self._state = state
        self._rng = np.random.default_rng(0)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> Any:
        best = np.zeros(len(observation), int)
        drawn = self._rng.integers(0, 2, len(observation))
        return (best if deterministic else drawn), self._state


def test_models_are_asked_without_exploration() -> None:
    assert (action_probabilities(small_log(), Explores())[:, 0] == 1.0).all()
    with pytest.raises(
        ValueError, match="by the observation alone, got one with a state"
    ):
        action_probabilities(small_log(), Explores(state=(1,)))


def test_same_seed_same_estimates() -> None:
    log = logged_steps(to_replay_buffer(simulate_log(Auction(), campaigns=10)))
    assert estimate(log, 2) == estimate(log, 2)


# -- comparing -----------------------------------------------------------------


def test_compare_ranks_and_measures_lift(
    auction_log: LoggedSteps, tmp_path: pathlib.Path
) -> None:
    auction = Auction()

    def optimal(observations: Any) -> Any:
        return auction.reward_table(observations).argmax(axis=1)

    comparison = compare(auction_log, {"lowest": 0, "optimal": optimal, "middle": 2})
    assert [p.name for p in comparison.policies] == ["optimal", "middle", "lowest"]
    assert comparison.best == "optimal"
    best, _, worst = comparison.policies
    truth = auction.optimal_value(400) - auction.value_of_random_bid(
        list(ClippedGaussianPolicy().probabilities)
    )
    assert best.lift_lower < truth < best.lift_upper
    assert best.better
    assert not worst.better
    assert worst.lift_upper < 0.0
    chance = ClippedGaussianPolicy().probabilities[0]
    assert worst.changed == pytest.approx(1.0 - chance, abs=0.01)
    assert comparison.logger.value == pytest.approx(auction_log.rewards.mean())
    table = comparison.table()
    assert table.splitlines()[3].startswith("| optimal | 0.63")
    assert table.splitlines()[-1].count("not shown") == 1
    comparison.plot().savefig(tmp_path / "comparison.png")


def test_differences_are_paired(auction_log: LoggedSteps) -> None:
    comparison = compare(auction_log, {"middle": 2, "lowest": 0})
    gap, found = comparison.difference("middle", "lowest")
    values = {p.name: p.estimate.value for p in comparison.policies}
    assert gap == pytest.approx(values["middle"] - values["lowest"])
    assert found.lower < gap < found.upper
    same, none = comparison.difference("middle", "middle")
    assert (same, none.standard_error) == (0.0, 0.0)


def test_rewards_that_another_model_predicts(auction_log: LoggedSteps) -> None:
    shape = (len(auction_log), auction_log.action_size)
    # Of a model that predicts nothing the doubly robust estimate is the weighted mean.
    found = compare(auction_log, {"it": 2}, predicted=np.zeros(shape))["it"].estimate
    plain = estimate(auction_log, 2, estimators=("ips",))["ips"]
    assert found.value == pytest.approx(plain.value)
    for wrong in (np.zeros(shape[::-1]), np.full(shape, np.nan), "none"):
        with pytest.raises(ValueError, match="predicted must be"):
            compare(auction_log, {"it": 2}, predicted=wrong)


def test_no_policy_without_support_is_called_better() -> None:
    n = 400
    log = small_log(
        observations=np.zeros((n, 1), np.float32),
        actions=np.r_[np.zeros(n - 4, int), np.ones(4, int)],
        rewards=np.r_[np.zeros(n - 4), np.full(4, 9.0)],
        propensities=np.r_[np.full(n - 4, 0.99), np.full(4, 0.01)],
        episodes=np.arange(n),
    )
    with pytest.warns(SupportWarning, match="rare lacks support"):
        comparison = compare(log, {"rare": 1})
    assert comparison.policies[0].lift > 0.0
    assert not comparison.policies[0].better
    assert "below 100" in comparison.table()


def rare_log(n: int = 400) -> LoggedSteps:
    return small_log(
        observations=np.zeros((n, 1), np.float32),
        actions=np.r_[np.zeros(n - 4, int), np.ones(4, int)],
        rewards=np.r_[np.random.default_rng(0).random(n - 4), np.full(4, 9.0)],
        propensities=np.r_[np.full(n - 4, 0.99), np.full(4, 0.01)],
        episodes=np.arange(n),
        action_size=3,
    )


def test_the_best_is_among_what_the_log_supports(tmp_path: pathlib.Path) -> None:
    with pytest.warns(SupportWarning, match="lacks support"):
        found = compare(rare_log(), {"rare": 1, "never": 2, "usual": 0})
    values = {p.name: p.estimate.value for p in found.policies}
    assert values["rare"] > values["usual"]
    assert found.best == "usual"
    assert found.policies[0].name == "usual"
    assert "usual" in found.explanation
    assert str(found).startswith(found.explanation)
    with pytest.warns(SupportWarning, match="lacks support"):
        none = compare(rare_log(), {"rare": 1})
    assert none.best is None
    assert "stay with the logger" in str(none)


@pytest.mark.parametrize("policies", [{"never": 2}, {"never": 2, "usual": 0}])
def test_no_estimate_breaks_the_picture(
    policies: dict[str, Any], tmp_path: pathlib.Path
) -> None:
    with pytest.warns(SupportWarning, match="actions that the log never has"):
        found = compare(rare_log(), policies, estimator="snips")
    assert np.isnan(found.policies[-1].estimate.value)
    found.plot().savefig(tmp_path / "comparison.png")


def test_no_policies() -> None:
    with pytest.raises(ValueError, match="policies must name at least one"):
        compare(small_log(), {})


# -- with d3rlpy ---------------------------------------------------------------


def test_as_a_d3rlpy_evaluator() -> None:
    dataset, _ = bidclick_gym.get_dataset(fraction=0.02, show_progress=False)
    held_out, _ = bidclick_gym.get_dataset(fraction=0.02, log_seed=1, show_progress=False)
    algo = ConstraintAwareQConfig(constraint=Concave()).create(device="cpu:0")
    arguments: dict[str, Any] = {
        "n_steps": 20,
        "n_steps_per_epoch": 10,
        "show_progress": False,
        "logger_adapter": d3rlpy.logging.NoopAdapterFactory(),
    }
    evaluators = {
        "held_out": OffPolicyEvaluator(held_out),
        "own": OffPolicyEvaluator(estimator="snips"),
    }
    history = algo.fit(dataset, evaluators=evaluators, **arguments)
    for _, metrics in history:
        assert 0.5 < metrics["held_out"] < 0.75
        assert 0.5 < metrics["own"] < 0.75
    stock = DQNConfig().create(device="cpu:0")
    history = stock.fit(dataset, evaluators=evaluators, **arguments)
    assert "held_out" in history[-1][1]


@pytest.mark.slow
def test_fitted_q_follows_the_episodes() -> None:
    # Two steps: the first action decides whether the second reward is 1 or 0.
    rng = np.random.default_rng(0)
    episodes = 400
    first = rng.integers(0, 2, episodes)
    second = rng.integers(0, 2, episodes)
    observations = np.zeros((2 * episodes, 2), np.float32)
    observations[::2, 0] = 1.0
    observations[1::2, 1] = first
    buffer = ColumnarReplayBuffer.from_arrays(
        observations,
        np.stack([first, second], 1).reshape(-1),
        np.stack([np.zeros(episodes), first], 1).reshape(-1).astype(np.float32),
        terminals=np.tile([0, 1], episodes),
        action_size=2,
    )
    algo = DQNConfig(learning_rate=1e-2, gamma=0.5).create(device="cpu:0")
    d3rlpy.seed(0)
    quiet: dict[str, Any] = {
        "show_progress": False,
        "logger_adapter": d3rlpy.logging.NoopAdapterFactory(),
    }
    algo.fit(buffer, n_steps=200, n_steps_per_epoch=200, **quiet)
    found = fitted_q_estimate(buffer, algo, gamma=0.5, n_steps=1000, show_progress=False)
    greedy = int(algo.predict(np.array([[1.0, 0.0]], np.float32))[0])
    assert found.value == pytest.approx(0.5 * greedy, abs=0.06)
    assert greedy == 1
    assert found.estimator == "fqe"
    assert found.lower < 0.5 * greedy < found.upper
    assert found.episodes == episodes
    with pytest.raises(ValueError, match="algo must be built"):
        fitted_q_estimate(buffer, DQNConfig().create(device="cpu:0"), gamma=0.5)


def test_fitted_q_is_not_deceived_by_skewed_rewards_or_few_campaigns() -> None:
    # One in ten steps earns 10: d3rlpy's Huber loss alone finds less than half of it.
    rng = np.random.default_rng(0)
    campaigns, steps = 6, 200
    rows = campaigns * steps
    x = rng.random((rows, 2)).astype("f4")
    rewards = 10.0 * (rng.random(rows) < 0.1)
    ends = np.arange(rows) % steps == steps - 1
    actions = rng.integers(0, 2, rows)
    algo = DQNConfig().create(device="cpu:0")

    def fitted(episodes: int) -> Any:
        kept = slice(episodes * steps)
        log = ColumnarReplayBuffer.from_arrays(
            x[kept], actions[kept], rewards[kept], timeouts=ends[kept], action_size=2
        )
        if algo.impl is None:
            algo.build_with_dataset(log)
        return fitted_q_estimate(log, algo, gamma=0.5, n_steps=20, show_progress=False)

    found = fitted(campaigns)
    assert found.lower < 2.0 < found.upper
    assert found.value == pytest.approx(2.0, abs=0.5)
    few = fitted(2)
    assert np.isnan(few.lower)
    assert "2 episodes are too few" in str(few)


# -- what a log knows ----------------------------------------------------------


def test_propensities_of_the_named_minari_log_are_the_loggers() -> None:
    dataset = bidclick_gym.load_minari("bidclick/logged-v0", show_progress=False)
    steps = logged_steps(dataset)
    assert steps.propensities is not None
    exact = np.asarray(ClippedGaussianPolicy().probabilities)
    assert steps.propensities == pytest.approx(exact[steps.actions], rel=1e-6)


def test_infos_are_those_of_the_step_in_their_row() -> None:
    # Two episodes of 2 and 1 steps, each with a last observation.
    buffer = ColumnarReplayBuffer.from_arrays(
        np.zeros((5, 1), np.float32),
        np.array([0, 1, 0, 1, 0]),
        np.zeros(5),
        terminals=np.array([0, 1, 0, 1, 0]),
        final=np.array([0, 0, 1, 0, 1]),
        extras={"info/propensity": np.array([0.25, 0.5, 0.0, 0.75, 0.0])},
        action_size=2,
    )
    found = logged_steps(buffer).propensities
    assert found is not None
    assert found.tolist() == [0.25, 0.5, 0.75]


def logged_with(**extras: Any) -> ColumnarReplayBuffer:
    rng = np.random.default_rng(0)
    return ColumnarReplayBuffer.from_arrays(
        rng.random((600, 2)).astype("f4"),
        rng.integers(3, size=600),
        rng.random(600),
        extras=extras,
        action_size=3,
    )


def test_where_propensities_come_from_is_said() -> None:
    third = np.full(600, 1 / 3)
    for log, given, source in (
        (logged_with(propensity=third), None, "logged"),
        (logged_with(propensity=third), third, "given"),
        (logged_with(), None, "estimated"),
        (logged_with(pscore=third), None, "estimated (the log's 'pscore' not read)"),
        (logged_with(action_prob=third), third, "given"),
    ):
        found = compare(log, {"first": 0}, propensities=given)
        assert found.policies[0].estimate.propensities == source
        assert source in str(found)
        assert f"{source} propensities" in str(found.policies[0].estimate)


@pytest.mark.parametrize("as_argument", [False, True])
def test_propensities_of_all_actions_are_read_at_the_logged_one(
    as_argument: bool,
) -> None:
    every = np.tile([0.2, 0.3, 0.5], (600, 1))
    log = logged_with() if as_argument else logged_with(propensity=every)
    steps = logged_steps(log, every if as_argument else None)
    assert steps.propensities is not None
    assert (steps.propensities == np.array([0.2, 0.3, 0.5])[steps.actions]).all()
    for wrong, message in (
        (every[:, :2], r"one for each of its 3 actions, got shape \(600, 2\)"),
        (every * 0.9, "at least 0 and sum to 1, row 0"),
        (np.full((600, 3), np.nan), "at least 0 and sum to 1, row 0"),
    ):
        with pytest.raises(ValueError, match=f"propensities must .*{message}"):
            logged_steps(log, wrong)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": np.array([1.0, np.nan, 0, 0])}, "rewards must be finite.*, row 1"),
        ({"rewards": np.zeros(3)}, r"rewards must have shape \(4,\), got \(3,\)"),
        ({"actions": np.array([0, 0, 2, 1])}, "actions must be from 0 to 1, row 2 has 2"),
        ({"actions": np.array([0, 0, 0.5, 1])}, "actions must be numbers, got .*float64"),
        ({"episodes": np.array([0, 1, 0, 1])}, "episodes must rise, row 2"),
        ({"observations": np.zeros(4)}, "observations must have shape"),
        (
            {"observations": np.full((4, 1), np.inf)},
            "observations must be finite.*, row 0",
        ),
        ({"propensities": np.array([0.5, 0, 1, 1])}, r"in \(0, 1\], row 1 has 0.0"),
        ({"action_size": 0}, "action_size must be"),
    ],
)
def test_steps_are_checked_where_they_are_made(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        small_log(**changes)


def test_one_step_is_no_log() -> None:
    one = {n: v[:1] for n, v in vars(small_log()).items() if isinstance(v, np.ndarray)}
    with pytest.raises(ValueError, match="at least two logged steps"):
        estimate(small_log(**one), 0)


def test_a_path_is_not_taken_for_a_minari_id(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "log.parquet"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"open it with ColumnarReplayBuffer\.from_parq"):
        logged_steps(str(path))


def test_errors_name_the_policy_and_the_row(auction_log: LoggedSteps) -> None:
    def wrong(observations: Any) -> Any:
        return np.where(np.arange(len(observations)) == 2, 7, 1)

    with pytest.raises(ValueError, match=r"policies\['b'\] must .* got 7 in row 2"):
        compare(auction_log, {"a": 1, "b": wrong})
    with pytest.raises(TypeError, match=r"policies\['c'\] must be .* got dict"):
        compare(auction_log, {"c": {}})


def test_a_discount_of_one_needs_an_end() -> None:
    rows = 40
    arrays = (
        np.random.default_rng(0).random((rows, 2)).astype(np.float32),
        np.arange(rows) % 2,
        np.ones(rows),
    )
    ends = np.arange(rows) % 4 == 3
    config = ConstraintAwareQConfig(constraint=Concave(), gamma=1.0, batch_size=8)
    algo = config.create()
    ended = ColumnarReplayBuffer.from_arrays(*arrays, terminals=ends, action_size=3)
    algo.fit(ended, n_steps=20, n_steps_per_epoch=20, show_progress=False)
    # Four rewards of one remain at the first of four steps, one at the last.
    assert np.isfinite(algo.predict_value(arrays[0], arrays[1])).all()
    value = fitted_q_estimate(ended, algo, gamma=1.0, n_steps=20, show_progress=False)
    assert np.isfinite(value.value)
    cut = ColumnarReplayBuffer.from_arrays(*arrays, timeouts=ends, action_size=3)
    with pytest.raises(ValueError, match="gamma must be below 1 where no episode term"):
        config.create().fit(cut, n_steps=20, n_steps_per_epoch=20)
