"""The environment under the checker of Stable-Baselines3, its likeliest other user."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import pytest

checker = pytest.importorskip("stable_baselines3.common.env_checker")

SYMMETRIC = "recommend.* a symmetric and normalized Box action space"


@pytest.mark.parametrize(
    "env_id", ["bidclick_gym:BidClick-v0", "bidclick_gym:BidClickMonotone-v0"]
)
@pytest.mark.parametrize("kwargs", [{}, {"horizon": 5}, {"bids": (0.0, 0.5, 1.0)}])
def test_the_discrete_environment_passes_without_a_warning(
    env_id: str, kwargs: dict[str, Any]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checker.check_env(gym.make(env_id, **kwargs))


@pytest.mark.parametrize("kwargs", [{}, {"horizon": 5}])
def test_the_continuous_environment_warns_only_of_its_unit_interval(
    kwargs: dict[str, Any],
) -> None:
    with pytest.warns(UserWarning, match=SYMMETRIC) as caught:
        checker.check_env(gym.make("bidclick_gym:BidClick-v0", continuous=True, **kwargs))
    assert len(caught) == 1
