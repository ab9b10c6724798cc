"""Fixtures for the tests of ``bidclick_gym``."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import pytest

import bidclick_gym


@pytest.fixture
def fresh_environment() -> dict[str, str]:
    """Environment variables under which a new process finds the tested package."""
    source = pathlib.Path(bidclick_gym.__file__).parents[1]
    inherited = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join(part for part in (str(source), inherited) if part)
    return {**os.environ, "PYTHONPATH": path}


@pytest.fixture
def fresh_python(fresh_environment: dict[str, str]) -> Callable[..., str]:
    """Runs code in a new interpreter and returns what it prints."""

    def run(code: str, **variables: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**fresh_environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture
def small_minari_dataset() -> Callable[[str], bidclick_gym.Log]:
    """Stores three campaigns of four impressions with Minari's own tools."""

    def make(dataset_id: str) -> bidclick_gym.Log:
        import minari
        from minari.data_collector import EpisodeBuffer

        auction = bidclick_gym.Auction()
        log = bidclick_gym.simulate_log(auction, campaigns=3, horizon=4)
        episodes: list[Any] = [
            EpisodeBuffer(
                id=i,
                seed=int(log.seeds[i]),
                observations=log.observations[i],
                actions=log.actions[i],
                rewards=log.rewards[i],
                terminations=[False] * 4,
                truncations=[False] * 3 + [True],
                infos={"propensity": log.propensities[i], "click": log.clicks[i]},
            )
            for i in range(3)
        ]
        # d3rlpy's get_minari asks the environment for a step limit.
        env = gym.make("BidClick-v0", horizon=4, max_episode_steps=4)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*is set to None", module="minari")
            minari.create_dataset_from_buffers(
                dataset_id, episodes, env=env, data_format="hdf5"
            )
        return log

    return make
