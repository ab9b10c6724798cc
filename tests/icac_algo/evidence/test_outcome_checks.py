"""Each outcome's shape is tested against what it says of the mean."""

from __future__ import annotations

import pathlib
import sys
import warnings
from typing import Any

import numpy as np
import pytest

from icac_algo import (
    ColumnarReplayBuffer,
    Concave,
    ConstraintAwareQConfig,
    Monotone,
    Outcome,
    SlopeBounds,
    Unconstrained,
    check_outcomes,
)
from icac_algo.data import logged_steps
from icac_algo.evidence import (
    PriorRejectedError,
    PriorWarning,
    compare,
    estimate,
    fitted_q_estimate,
    select_by_bellman_error,
)
from icac_algo.evidence.candidates import shape_of

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from outcome_worlds import QUIET, config_of, fitted, log_of, outcomes_of, positions_of

POSITIONS = positions_of(5).tolist()


def test_what_is_true_is_not_rejected() -> None:
    checks = check_outcomes(log_of(rows=6000), outcomes_of(), actions=POSITIONS)
    assert list(checks) == ["won", "value", "units"]
    for name, check in checks.items():
        assert check is not None
        assert check.verdict == "not rejected", name
        assert check.level == 0.05 / 3
    won, value, units = checks.values()
    assert won
    assert won.constraint == Monotone(actions=POSITIONS)
    assert value
    assert value.constraint == SlopeBounds(0.0, 0.0, actions=POSITIONS)
    assert value.steps == int(log_of(rows=6000).to_arrays()["extras"]["won"].sum())
    assert units
    assert units.constraint == Monotone(increasing=False, actions=POSITIONS)


def test_what_is_false_is_rejected() -> None:
    outcomes = [
        Outcome("won", "monotone:increasing=false", link="logit"),
        Outcome("units", "monotone", link="log"),
    ]
    for check in check_outcomes(log_of(rows=6000), outcomes, actions=POSITIONS).values():
        assert check is not None
        assert check.rejected


def test_what_a_win_is_worth_is_told_from_how_often_it_comes() -> None:
    """Wins at high bids are of other contexts: that alone must not look like a slope."""
    rng = np.random.default_rng(0)
    n = 8000
    x = rng.integers(0, 2, n)
    chances = np.where(x == 1, 0.8, 0.2)
    actions = (rng.random(n) < chances).astype(int)
    won = (rng.random(n) < np.where(actions == 1, 0.9, np.where(x, 0.1, 0.6))).astype(int)
    for slope in (0.0, 0.4):
        value = won * (1.0 + 2.0 * x + slope * actions + rng.normal(0, 0.3, n))
        log = ColumnarReplayBuffer.from_arrays(
            x[:, None].astype(np.float32),
            actions,
            value,
            extras={
                "won": won,
                "value": value,
                "propensity": np.where(actions == 1, chances, 1 - chances),
            },
        )
        outcomes = [
            Outcome("won", link="logit", weight=0.0),
            Outcome("value", given="won", depends_on_action=False),
        ]
        checks = check_outcomes(log, outcomes)
        assert checks["won"] is None
        assert checks["value"] is not None
        assert checks["value"].propensities == "estimated"
        assert checks["value"].rejected == (slope > 0.0)
        assert checks["value"].level == 0.05


def test_nothing_stated_is_nothing_tested() -> None:
    outcomes = [
        Outcome("won", Concave(), link="logit"),
        Outcome("units", SlopeBounds(-1.0, 1.0), link="log"),
        Outcome("value"),
    ]
    log = log_of(rows=400)
    assert check_outcomes(log, outcomes) == dict.fromkeys(["won", "units", "value"])


def test_bounds_are_tested_in_units_of_the_mean() -> None:
    low, high = (
        check_outcomes(log_of(rows=4000), [f"won: bounded:upper={bound}; link=logit"])[
            "won"
        ]
        for bound in (-3.0, 8.0)
    )
    assert low is not None
    assert low.rejected
    assert high is not None
    assert not high.rejected


def test_doors() -> None:
    log = log_of(rows=400)
    with pytest.raises(ValueError, match="dataset must have the column 'won', has"):
        check_outcomes(logged_steps(log), outcomes_of())
    with pytest.raises(TypeError, match="dataset must be"):
        check_outcomes(7, outcomes_of())
    with pytest.raises(ValueError, match="the column 'lost'"):
        check_outcomes(log, ["lost: monotone"])
    with pytest.raises(ValueError, match="level must be"):
        check_outcomes(log, outcomes_of(), level=2.0)
    of_numbers = check_outcomes(log_of(None), ["won: monotone; link=logit"])["won"]
    assert of_numbers is not None
    assert len(of_numbers.positions) > 2
    arrays = log.to_arrays()
    arrays["extras"] = {"won": np.zeros(400), "value": np.zeros(400)}
    never = ColumnarReplayBuffer.from_arrays(**arrays)
    with pytest.raises(ValueError, match="'value' must have a row where"):
        check_outcomes(never, outcomes_of()[:2])


@pytest.mark.parametrize("mode", ["warn", "error"])
def test_fit_checks_outcomes(mode: str) -> None:
    log = log_of(rows=6000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(config_of(check_prior=mode), log, 1)
    wrong = outcomes_of()
    wrong[2] = Outcome("units", "monotone", link="log", weight="action - x2")
    if mode == "error":
        with pytest.raises(
            PriorRejectedError, match=r"outcome 'units': Monotone"
        ) as error:
            fitted(config_of(outcomes=wrong, check_prior=mode), log, 1)
        assert error.value.check.constraint == Monotone(actions=POSITIONS)
    else:
        with pytest.warns(PriorWarning, match=r"outcome 'units': Monotone is rejected"):
            fitted(config_of(outcomes=wrong, check_prior=mode), log, 1)


def test_fit_says_what_no_log_can_tell() -> None:
    config = config_of(
        outcomes=[Outcome("won", Concave(), link="logit")], check_prior="error"
    )
    arrays = log_of().to_arrays()
    log = ColumnarReplayBuffer.from_arrays(
        arrays["observations"],
        arrays["actions"],
        arrays["extras"]["won"],
        extras={"won": arrays["extras"]["won"]},
    )
    with pytest.warns(PriorWarning, match=r"outcome 'won': no log .* Concave"):
        fitted(config, log, 1)


def test_the_shape_of_what_follows_is_not_tested_on_rewards() -> None:
    config = config_of(
        constraint=Monotone(actions=POSITIONS), check_prior="error", gamma=0.9
    )
    fitted(config, log_of(rows=6000, campaigns=6), 1)


# -- judged as any other policy ------------------------------------------------


@pytest.fixture(scope="module")
def algo() -> Any:
    return fitted(config_of(), log_of(rows=2000), 100)


def test_estimates_and_comparison(algo: Any) -> None:
    log = log_of(rows=2000, seed=5)
    value = estimate(log, algo)["dr"]
    found = compare(log, {"outcomes": algo})
    assert found.policies[0].estimate.value == value.value
    assert value.lower < value.value < value.upper
    # Propensities are uniform: who always acts as the policy does is paid as it is.
    steps = logged_steps(log)
    same = algo.predict(steps.observations) == steps.actions
    assert steps.rewards[same].mean() == pytest.approx(value.value, abs=0.3)


def test_fitted_q(algo: Any) -> None:
    found = fitted_q_estimate(
        log_of(rows=600, campaigns=6), algo, gamma=0.9, n_steps=5, show_progress=False
    )
    assert np.isfinite(found.value)


def test_a_sum_has_no_shape(algo: Any) -> None:
    assert shape_of(algo) is None
    follows = config_of(constraint=Monotone(actions=POSITIONS)).create()
    assert shape_of(follows) is None


@pytest.mark.parametrize("campaigns", [0, pytest.param(5, marks=pytest.mark.slow)])
def test_selection_among_outcome_models(campaigns: int) -> None:
    wrong = outcomes_of()
    wrong[2] = Outcome("units", "monotone", link="log", weight="action - x2")
    gamma = 0.9 if campaigns else 0.0
    selection = select_by_bellman_error(
        log_of(rows=3000, campaigns=campaigns),
        {
            "wrong": lambda: config_of(outcomes=wrong, gamma=gamma).create(),
            "right": lambda: config_of(gamma=gamma).create(),
            "free": lambda: ConstraintAwareQConfig(
                constraint=Unconstrained(), gamma=gamma, batch_size=32
            ).create(),
        },
        n_steps=150,
        show_progress=False,
    )
    assert selection.errors[1] < selection.errors[0]
    if campaigns:
        assert not selection.prior_checks
        return
    assert set(selection.prior_checks) == {"wrong", "right"}
    assert selection.rejected == ("wrong",)
    assert selection.prior_checks["wrong"].constraint.get_type() == "monotone"


def test_folds_keep_extras() -> None:
    log = log_of(rows=60, campaigns=6)
    half = log.replace(episodes=[1, 4, 9])
    arrays, kept = log.to_arrays(), half.to_arrays()
    rows = np.concatenate([np.arange(6 * i, 6 * i + 6) for i in (1, 4, 9)])
    for name, values in arrays["extras"].items():
        assert np.array_equal(kept["extras"][name], values[rows])
    algo = config_of(gamma=0.9).create(device="cpu:0")
    algo.fit(half, n_steps=1, n_steps_per_epoch=1, **QUIET)
