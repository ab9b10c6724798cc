"""What bounds and logs of numbers refuse, and the argument that errors name."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

from icac_algo import (
    ColumnarReplayBuffer,
    Concave,
    KnownCost,
    Monotone,
    Outcome,
)
from icac_algo.data.steps import number_steps
from icac_algo.evidence import bounds, compare, estimate

from .shape_worlds import action_log, number_log

LOG, NUMBERS = action_log(60), number_log(200)
GENERATOR = np.random.default_rng(0)
ROWS, REWARDS = GENERATOR.random((100, 2)).astype(np.float32), GENERATOR.random(100)


def of_numbers(actions: Any, **extras: Any) -> ColumnarReplayBuffer:
    return ColumnarReplayBuffer.from_arrays(ROWS, actions, REWARDS, extras=extras)


def continuous(width: int = 1) -> Any:
    return np.random.default_rng(1).random((100, width)).astype(np.float32)


FIVE = np.random.default_rng(0).integers(0, 5, (100, 1)).astype(np.float32)
A_PRIOR = "prior must be a shape such as Concave(), words such as 'concave', or a list of"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prior": None}, f"{A_PRIOR} Outcome(...), got None"),
        ({"prior": 3}, f"{A_PRIOR} Outcome(...), got 3"),
        ({"prior": Monotone}, A_PRIOR),
        ({"prior": Outcome("reward")}, A_PRIOR),
        ({"prior": {"a": 1}}, f"{A_PRIOR} Outcome(...), got {{'a': 1}}"),
        ({"prior": []}, "prior must say something, got []"),
        ({"prior": "triangle"}, "prior must be made of monotone, concave"),
        ({"prior": "triangle"}, "got 'triangle'"),
        ({"prior": "monotone:foo=1"}, "prior monotone takes increasing=..., each once"),
        ({"prior": [Monotone()]}, "outcomes must be Outcome(...) or words"),
        ({"prior": ["click"]}, "dataset must have the column 'click', has []"),
        ({"prior": [Outcome(weight="1")]}, "at least one column to learn from"),
        ({"prior": Monotone(actions=[0, 1, 2])}, "names 3 actions but the action space"),
        ({"prior": Monotone(known_cost=KnownCost(7))}, "below the observation size 2"),
        ({"policy": 0.5}, "policy must be a d3rlpy algorithm"),
        ({"policy": lambda x: x[:, 0]}, "policy must give indices from 0 to 4, got 0.63"),
        ({"policy": np.nan}, "an action index or a function of observations, got float"),
        ({"policy": 5}, "policy must give indices from 0 to 4, got 5"),
        ({"level": 0.0}, "level must be a number > 0 and < 1, got 0.0"),
        ({"level": 1}, "level must be a number > 0 and < 1, got 1"),
        ({"level": np.nan}, "level must be a number > 0 and < 1, got nan"),
        ({"level": "95%"}, "level must be a number > 0 and < 1, got '95%'"),
        ({"regions": []}, "regions must map names to functions, got []"),
        ({"regions": {"low": 1}}, "regions must map names to functions, got {'low': 1}"),
        ({"regions": {"low": lambda x: x}}, "regions['low'] must give one boolean for"),
        ({"regions": {"all": lambda x: x[:, 0] > 0}}, "must not name one 'all'"),
        ({"propensities": np.zeros(60)}, "propensities must be in (0, 1], row 0 has 0.0"),
        ({"propensities": np.full(60, np.nan)}, "in (0, 1], row 0 has nan"),
        ({"propensities": np.ones(59)}, "one value for each of 60 logged steps"),
        ({"as_bandit": 1}, "as_bandit must be True or False, got 1"),
        ({"seed": -1}, "seed must be an integer from 0 to 2**32 - 1, got -1"),
        ({"show_progress": None}, "show_progress must be True or False, got None"),
        ({"dataset": [1]}, "dataset must be a d3rlpy replay buffer"),
        ({"dataset": of_numbers(continuous(2))}, "or one number, got 2 numbers"),
        ({"dataset": of_numbers(FIVE)}, "or at least 20 different numbers, got 5"),
    ],
)
def test_of_bounds(changes: dict[str, Any], message: str) -> None:
    arguments = {"dataset": LOG, "policy": 0, "prior": "monotone", **changes}
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        bounds(**arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policy": lambda x: np.full((len(x), 3), 1 / 3)}, "must give numbers (200,)"),
        ({"policy": lambda x: x[:, 0] > 0.5}, "must give numbers, got an array of bool"),
        (
            {"policy": lambda x: np.where(x[:, 0] > 0.5, np.inf, 0.5)},
            "give finite numbers",
        ),
        ({"policy": np.inf}, "a number or a function of observations, got float"),
        ({"policy": "high"}, "a number or a function of observations, got str"),
        ({"policy": True}, "a number or a function of observations, got bool"),
        ({"propensities": np.zeros(200)}, "must be densities above 0, row 0 has 0.0"),
        (
            {"propensities": np.full(200, np.inf)},
            "must be densities above 0, row 0 has inf",
        ),
        (
            {"propensities": np.full(200, np.nan)},
            "must be densities above 0, row 0 has nan",
        ),
        ({"propensities": -np.ones(200)}, "must be densities above 0, row 0 has -1.0"),
        ({"propensities": np.ones(199)}, "one density for each of 200 logged steps"),
        ({"propensities": np.ones((200, 3))}, "one density for each of 200 logged steps"),
    ],
)
@pytest.mark.parametrize("call", ["bounds", "estimate", "compare"])
def test_of_numbers(call: str, changes: dict[str, Any], message: str) -> None:
    given = {"policy": 0.5, "propensities": None, **changes}
    policy, densities = given["policy"], given["propensities"]
    calls = {
        "bounds": lambda: bounds(NUMBERS, policy, Concave(), propensities=densities),
        "estimate": lambda: estimate(NUMBERS, policy, propensities=densities),
        "compare": lambda: compare(NUMBERS, {"a": policy}, propensities=densities),
    }
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        calls[call]()


@pytest.mark.parametrize("density", [0.0, -1.0, np.nan, np.inf])
def test_densities_of_a_buffer(density: float) -> None:
    with pytest.raises(ValueError, match=f"propensity must be .*, row 0 has {density}"):
        of_numbers(continuous(), propensity=np.full(100, density))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (
            np.r_[np.nan, np.arange(99.0)],
            "numbers must be finite in float32, row 0 has nan",
        ),
        (np.r_[0.0, np.inf, np.arange(98)], "numbers must be finite in float32, row 1"),
        (1e300 * np.arange(100.0), "numbers must be finite in float32, row 1"),
        (np.arange(99.0), "numbers must have shape (100,), got (99,)"),
        (np.arange(100.0)[:, None], "numbers must have shape (100,), got (100, 1)"),
        (["a"] * 100, "numbers must be numbers, got an array of <U1"),
        (
            np.arange(100) % 19,
            "or at least 20 different numbers, got 19; if they are a few repeated",
        ),
    ],
)
def test_of_number_steps(numbers: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        number_steps(ROWS, numbers, REWARDS, None, np.arange(100))


assert NUMBERS.numbers is not None
assert NUMBERS.edges is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edges": None}, "numbers and edges must both be given"),
        ({"numbers": None}, "numbers and edges must both be given"),
        ({"edges": NUMBERS.edges[:-1]}, "edges must have shape (4,), got (3,)"),
        ({"edges": NUMBERS.edges[::-1]}, "edges must rise"),
        ({"numbers": NUMBERS.numbers[1:]}, "numbers must have shape (200,), got (199,)"),
        ({"numbers": NUMBERS.numbers * np.nan}, "numbers must be finite"),
        ({"numbers": NUMBERS.numbers[::-1]}, "actions must be the ranges of numbers"),
        (
            {"columns": {"a": np.zeros(3)}},
            "columns['a'] must have shape (200,), got (3,)",
        ),
        ({"columns": {"a": ["b"] * 200}}, "columns['a'] must be numbers, got an array"),
        ({"columns": [1]}, "columns must map names to values, got [1]"),
    ],
)
def test_of_logged_steps(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        dataclasses.replace(NUMBERS, **changes)


def test_given_predictions_must_fit() -> None:
    with pytest.raises(ValueError, match=r"finite numbers of shape \(200, 3\)"):
        compare(NUMBERS, {"a": 0.5}, predicted=np.zeros((200, 2)))
