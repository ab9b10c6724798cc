"""An SB3 model as the logger: a log with propensities."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.policies import ActorCriticPolicy

from .._util.checks import (
    check_count,
    check_number,
    check_seed,
    check_type,
    is_finite,
)
from .._util.fields import plain
from ..data import ColumnarReplayBuffer


def sb3_action_probabilities(
    model: Any, observations: npt.NDArray[Any], epsilon: float | None = None
) -> npt.NDArray[np.float64]:
    """Probability of every action, ``(N, K)``.

    Args:
        model: an SB3 model of discrete actions: ``DQN`` and its kin (epsilon-greedy), or
            one with an actor-critic policy such as ``PPO`` and ``A2C``.
        observations: ``(N, ...)``.
        epsilon: share of decisions that a ``DQN`` makes at random; by default what the
            model would explore with next.

    Raises:
        TypeError: the model is of another kind.
        ValueError: actions are not discrete, or ``epsilon`` is not in [0, 1].
    """
    if not isinstance(getattr(model, "action_space", None), gym.spaces.Discrete):
        raise ValueError(
            "model must be an SB3 model of discrete actions, "
            f"got {type(model).__name__} with {getattr(model, 'action_space', None)}"
        )
    size = int(model.action_space.n)
    if isinstance(model, DQN):
        share = model.exploration_rate if epsilon is None else epsilon
        check_number("epsilon", share, at_least=0.0, at_most=1.0)
        greedy, _ = model.policy.predict(observations, deterministic=True)
        return (1.0 - share) * np.eye(size)[np.asarray(greedy)] + share / size
    if not isinstance(getattr(model, "policy", None), ActorCriticPolicy):
        raise TypeError(
            "model must be a DQN or have an actor-critic policy, "
            f"got {type(model).__name__}"
        )
    with torch.no_grad():
        tensor, _ = model.policy.obs_to_tensor(observations)
        found = model.policy.get_distribution(tensor).distribution.probs
    probabilities = found.double().cpu().numpy()
    return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))


def record_log(
    model: Any,
    env: gym.Env[Any, Any],
    n_steps: int,
    *,
    epsilon: float | None = None,
    seed: int = 0,
) -> ColumnarReplayBuffer:
    """Lets a model bid and keeps what it did, with exact propensities.

    ``record_log(...).to_minari("bids/mine-v0")`` makes a Minari dataset of it.

    Args:
        model: as in :func:`sb3_action_probabilities`; actions are drawn from those.
        env: one environment of discrete actions and vector observations.
        n_steps: decisions; the last episode is cut off there.
        epsilon: as in :func:`sb3_action_probabilities`.
        seed: of the environment and of the drawn actions.

    Returns:
        a replay buffer whose ``"info/propensity/steps"`` is the probability of each
        action; an info that is one finite number at every step, such as a click, is an
        extra in the same way, which :class:`~icac_algo.Outcome` finds by its name.

    Raises:
        TypeError: ``env`` is no environment, or as in ``sb3_action_probabilities``.
        ValueError: a count is below 1, the environment and the model have other actions
            or observations, or as in ``sb3_action_probabilities``.
    """
    check_count("n_steps", n_steps)
    check_seed(seed)
    _check_spaces(model, env)
    rng = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    sb3_action_probabilities(model, np.asarray(observation)[None], epsilon)
    rows: list[tuple[Any, int, float, float, bool, bool, bool]] = []
    infos: list[dict[str, Any]] = []
    for step in range(n_steps):
        chances = sb3_action_probabilities(model, np.asarray(observation)[None], epsilon)
        action = int(rng.choice(chances.shape[1], p=chances[0]))
        following, reward, terminated, truncated, info = env.step(action)
        truncated = not terminated and (truncated or step + 1 == n_steps)
        row = (observation, action, float(reward), float(chances[0, action]))
        rows.append((*row, terminated, truncated, False))
        infos.append(info)
        observation = following
        if terminated or truncated:
            # What was seen last has no decision of its own.
            rows.append((following, 0, 0.0, 1.0, False, False, True))
            infos.append(dict.fromkeys(info, 0.0))
            if step + 1 < n_steps:
                observation, _ = env.reset()
    observations, actions, rewards, propensities, ended, cut, final = zip(
        *rows, strict=True
    )
    return ColumnarReplayBuffer.from_arrays(
        np.stack(observations),
        np.asarray(actions),
        np.asarray(rewards, np.float32),
        terminals=np.asarray(ended),
        timeouts=np.asarray(cut),
        final=np.asarray(final),
        extras={**_numbers(infos), "info/propensity/steps": np.asarray(propensities)},
        action_size=int(env.action_space.n),  # type: ignore[attr-defined]
    )


def _numbers(infos: list[dict[str, Any]]) -> dict[str, npt.NDArray[np.float64]]:
    """Infos that are one number at every step, as columns."""
    columns = {}
    for name in infos[0]:
        values = [plain(info.get(name)) for info in infos]
        if all(isinstance(value, bool) or is_finite(value) for value in values):
            columns[f"info/{name}/steps"] = np.array(values, np.float64)
    return columns


def _check_spaces(model: Any, env: Any) -> None:
    check_type("env", env, gym.Env, "be one environment")
    actions = getattr(model, "action_space", None)
    if not isinstance(actions, gym.spaces.Discrete):
        return  # no model that can log, which is said in its own words
    if env.action_space != actions:
        raise ValueError(
            f"env must have the model's action_space, {actions}, got {env.action_space}"
        )
    # Bounds may differ, as from one auction to another.
    wanted, found = model.observation_space, env.observation_space
    if type(found) is not type(wanted) or found.shape != wanted.shape:
        raise ValueError(
            f"env must have the model's observation_space, {wanted}, got {found}"
        )
