"""Continuous replay buffers and policies of d3rlpy in all that judges by a log."""

from __future__ import annotations

import functools
import pathlib
import pickle
from typing import Any

import d3rlpy
import numpy as np
import pyarrow
import pytest
from d3rlpy.dataset import Episode, InfiniteBuffer, ReplayBuffer
from pyarrow import parquet

from icac_algo import (
    Bounded,
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    Functional,
    Intersection,
    KnownCost,
    Monotone,
    Outcome,
)
from icac_algo.data import LoggedSteps, logged_steps
from icac_algo.evidence import (
    OffPolicyEvaluator,
    check_prior,
)
from icac_algo.evidence import bounds as all_bounds
from icac_algo.evidence import compare as all_compare
from icac_algo.evidence import estimate as all_estimate

from .shape_worlds import number_log

bounds = functools.partial(all_bounds, show_progress=False)
compare = functools.partial(all_compare, show_progress=False)
estimate = functools.partial(all_estimate, show_progress=False)
SHAPE = Intersection([Concave(), Bounded(-1.0, 1.5)])
ENDS = (0.0, 0.25)  # densities are about 4


def source(count: int = 1000) -> LoggedSteps:
    def reward(x: Any, a: Any) -> Any:
        return 1.0 - 16.0 * (a - 0.07 - 0.1 * x) ** 2

    return number_log(count, reward, ends=ENDS)


def density(log: LoggedSteps) -> Any:
    assert log.propensities is not None
    assert log.edges is not None
    return log.propensities / np.diff(log.edges)[log.actions]


def columnar(log: LoggedSteps, **extras: Any) -> ColumnarReplayBuffer:
    assert log.numbers is not None
    actions = log.numbers[:, None].astype(np.float32)
    extras = {"propensity": density(log), **extras}
    return ColumnarReplayBuffer.from_arrays(
        log.observations, actions, log.rewards, extras=extras
    )


def plain(log: LoggedSteps) -> ReplayBuffer:
    """Of d3rlpy's own, which keeps no densities."""
    assert log.numbers is not None
    episodes = [
        Episode(x[None], np.array([[a]], np.float32), np.array([[r]], np.float32), True)
        for x, a, r in zip(log.observations, log.numbers, log.rewards, strict=True)
    ]
    return ReplayBuffer(InfiniteBuffer(), episodes=episodes)


@pytest.fixture(scope="module")
def algo() -> Any:
    made = ConstraintAwareQConfig(
        constraint=Concave(actions=list(ENDS)),
        critic=Functional(),
        actor="network",
        action_scaler=d3rlpy.preprocessing.MinMaxActionScaler(*ENDS),
    ).create(device="cpu:0")
    made.fit(
        columnar(source(300)),
        n_steps=5,
        n_steps_per_epoch=5,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    return made


def rule(x: Any) -> Any:
    return 0.07 + 0.1 * x[:, 0]


def test_a_columnar_buffer_is_the_log() -> None:
    log = source()
    read = logged_steps(columnar(log))
    assert read.source == "logged"
    np.testing.assert_allclose(read.numbers, log.numbers, rtol=1e-6)
    np.testing.assert_allclose(density(read), density(log), rtol=1e-6)
    assert density(read).min() > 1.0
    for name, found in estimate(columnar(log), rule).items():
        assert found.value == pytest.approx(estimate(log, rule)[name].value, abs=1e-3)


def test_densities_above_one_survive_files(tmp_path: pathlib.Path) -> None:
    buffer = columnar(source(200))
    copied = pickle.loads(pickle.dumps(buffer))
    np.testing.assert_array_equal(
        density(logged_steps(copied)), density(logged_steps(buffer))
    )
    log = source(200)
    assert log.numbers is not None
    table = {"x": log.observations[:, 0], "bid": log.numbers.astype(np.float32)}
    table |= {"reward": log.rewards.astype(np.float32), "propensity": density(log)}
    parquet.write_table(pyarrow.table(table), tmp_path / "log.parquet")
    read = ColumnarReplayBuffer.from_parquet(
        tmp_path,
        observation=["x"],
        action="bid",
        reward="reward",
        propensity="propensity",
    )
    np.testing.assert_allclose(density(logged_steps(read)), density(log), rtol=1e-5)


# A network that was trained for five steps may do the same nearly everywhere.
lax = pytest.mark.filterwarnings("ignore:.*effective:icac_algo.evidence.SupportWarning")


@lax
@pytest.mark.parametrize("kind", [columnar, plain])
def test_everything_takes_it(kind: Any, algo: Any) -> None:
    dataset, propensities = kind(source()), "estimated" if kind is plain else "logged"
    policies = {"algo": algo, "rule": rule, "fixed": 0.12, "column": lambda x: x * 0.2}
    found = compare(dataset, policies, prior=SHAPE, safe=True)
    assert found.logger.propensities == propensities
    assert found.best == "rule"
    for name, policy in policies.items():
        dr = estimate(dataset, policy, estimators=("dr",))["dr"]
        assert dr.propensities == propensities
        assert found[name].estimate.figures == dr.figures
        # A network that bids 0 or the most does what was logged.
        assert dr.support is not None
        assert dr.support.unseen == 0.0
        proven = bounds(dataset, policy, SHAPE)
        assert found[name].bounds == proven
        assert proven.total.lower < dr.value < proven.total.upper
        assert proven.total.upper - proven.total.lower < 2.0
    assert check_prior(dataset, SHAPE, draws=300).verdict == "not rejected"
    assert check_prior(dataset, Monotone(), draws=300).verdict == "rejected"


@lax
def test_as_a_d3rlpy_evaluator(algo: Any) -> None:
    held_out = columnar(source(500))
    found = OffPolicyEvaluator(held_out)(algo, held_out)
    expected = estimate(held_out, algo, estimators=("dr",))["dr"].value
    assert found == pytest.approx(expected)


def test_an_integer_is_the_number_it_is() -> None:
    log = number_log(1000, ends=(0.0, 2.0))
    assert estimate(log, 1)["dr"].value == estimate(log, 1.0)["dr"].value
    assert (
        estimate(log, 1)["dr"].value != estimate(log, lambda x: 0.9 + 0.0 * x)["dr"].value
    )


def test_outcomes_and_costs_of_numbers() -> None:
    log = source()
    assert log.numbers is not None
    cost = log.observations[:, 0].astype(np.float64) * log.numbers.astype(np.float32)
    dataset = columnar(log.with_rewards(log.rewards - cost), gain=log.rewards)
    outcomes = [Outcome("gain", SHAPE), Outcome(weight="-x0 * action")]
    shape = Intersection(SHAPE.members, known_cost=KnownCost(0))
    by_outcomes, by_shape = (bounds(dataset, rule, one) for one in (outcomes, shape))
    for name in ("lower", "upper", "least", "greatest"):
        same = getattr(by_shape.total, name)
        assert getattr(by_outcomes.total, name) == pytest.approx(same, abs=1e-3)
    # The reward itself is an outcome, too.
    reward = bounds(log, rule, [Outcome("reward", SHAPE)])
    assert reward.total == bounds(log, rule, SHAPE).total
