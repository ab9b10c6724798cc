"""Hinges: what a budget is worth rises and is concave in it, and in the clock."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as npst
import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from icac_algo.critics import Hinges

AMOUNTS = [0.01, 0.1, 1.0, 8.0]
COORDINATES = npst.arrays(np.float64, 1 + 2 * len(AMOUNTS), elements=st.floats(-20, 20))


def worth(coordinates: Any, left: Any, clock: Any, shaped: bool = True) -> Any:
    hinges = Hinges(AMOUNTS, shaped)
    given, clock = torch.as_tensor(coordinates)[None], torch.as_tensor(clock)[:, None]
    left = torch.as_tensor(left).expand(len(clock), -1)
    return hinges.at(given.expand(len(clock), -1), left, clock).numpy()


@given(COORDINATES)
def test_a_value_rises_and_is_concave_in_budget_and_clock(coordinates: Any) -> None:
    budgets, clocks = np.linspace(0.0, 1.0, 61), np.linspace(0.0, 1.0, 41)
    values = worth(coordinates, budgets, clocks)
    tolerance = 1e-12 * max(1.0, values.max())
    for axis in (0, 1):
        assert (np.diff(values, axis=axis) >= -tolerance).all()
        assert (np.diff(values, n=2, axis=axis) <= tolerance).all()
    assert (values[0] == 0.0).all()


def test_an_amount_is_that_of_a_campaign_and_that_of_each_step() -> None:
    coordinates = np.zeros(9)
    coordinates[2] = 1.0  # at .1, for the whole campaign
    left, clock = np.array([0.05, 0.1, 0.5]), np.array([1.0, 0.5])
    found = worth(coordinates, left, clock, shaped=False)
    assert np.allclose(found, [[0.5, 1.0, 1.0], [0.25, 0.5, 0.5]])
    coordinates[2], coordinates[6] = 0.0, 1.0  # what so many steps can take
    found = worth(coordinates, left, clock, shaped=False)
    assert np.allclose(found, [[0.5, 1.0, 1.0], [0.5, 0.5, 0.5]])
