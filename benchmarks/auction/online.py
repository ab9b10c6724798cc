"""What if you could explore?  SB3's DQN and PPO, trained on the auction itself.

A reference beside Table I, not rivals: nobody else there may choose what is logged.  The
budget is as many impressions as the log has.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from ..engine import run_cells, write_rows
from ..learners import BATCH_SIZE, HIDDEN_UNITS, LEARNING_RATE
from .cells import digest_of
from .tuning import COLUMNS as TUNING_COLUMNS
from .tuning import SEEDS, Pairs, best_settings, search_all

__all__ = ["ONLINE", "TUNED", "OnlineCell", "online_cells", "train_online", "tune_online"]

LOG_IMPRESSIONS = 100_000
TUNED = pathlib.Path(__file__).parents[1] / "results" / "tuning_online.csv"
DQN_ENVS = 10
PPO_ENVS, PPO_ROLLOUTS, PPO_EPOCHS = 10, 25, 10


def _cosine(start: float) -> Callable[[float], float]:
    """The schedule of all other rows of the table."""
    return lambda remaining: start * 0.5 * (1.0 + math.cos(math.pi * (1.0 - remaining)))


def _dqn_settings(steps: int, impressions: int) -> dict[str, Any]:
    calls = max(1, impressions // DQN_ENVS)  # of the environments, all at once
    # Training comes after whole rounds of calls, so that the budget is kept to the last.
    most = max(1, calls // steps)
    every = next(n for n in range(most, 0, -1) if calls % n == 0)
    return {
        "learning_rate": _cosine(LEARNING_RATE),
        "batch_size": BATCH_SIZE,
        "buffer_size": LOG_IMPRESSIONS,
        "learning_starts": min(1000, impressions // 10),
        "train_freq": (every, "step"),
        "gradient_steps": max(1, round(steps * every / calls)),
        "exploration_fraction": 0.5,
    }


def _dqn(
    env: Any, seed: int, steps: int, impressions: int, final_epsilon: float = 0.2
) -> Any:
    from stable_baselines3 import DQN

    return DQN(
        "MlpPolicy",
        env,
        seed=seed,
        policy_kwargs={"net_arch": list(HIDDEN_UNITS)},
        exploration_final_eps=final_epsilon,
        **_dqn_settings(steps, impressions),
    )


def _shaped_dqn(
    env: Any, seed: int, steps: int, impressions: int, final_epsilon: float = 0.2
) -> Any:
    from icac_algo import Concave
    from icac_algo.sb3 import ConstraintAwareDQN

    return ConstraintAwareDQN(
        "MlpPolicy",
        env,
        seed=seed,
        policy_kwargs={"net_arch": list(HIDDEN_UNITS), "constraint": Concave()},
        exploration_final_eps=final_epsilon,
        **_dqn_settings(steps, impressions),
    )


def _ppo(
    env: Any,
    seed: int,
    steps: int,
    impressions: int,
    entropy: float = 0.003,
    learning_rate: float = LEARNING_RATE,
) -> Any:
    from stable_baselines3 import PPO

    rollout = impressions // (PPO_ENVS * PPO_ROLLOUTS)
    return PPO(
        "MlpPolicy",
        env,
        seed=seed,
        device="cpu",
        learning_rate=_cosine(learning_rate),
        n_steps=rollout,
        n_epochs=PPO_EPOCHS,
        batch_size=min(BATCH_SIZE - BATCH_SIZE % PPO_ENVS, rollout * PPO_ENVS),
        ent_coef=entropy,
        policy_kwargs={"net_arch": list(HIDDEN_UNITS)},
    )


@dataclasses.dataclass(frozen=True)
class OnlineEntry:
    """One algorithm that explores.

    Args:
        make: environments, seed, gradient steps, impressions and tuned values to a model.
        n_envs: environments side by side.
        has_values: whether it has a Q-function; else its log-probabilities are counted.
        tuned: grid of its hyperparameter, chosen by the oracle's return.
        constraint: label of the shape imposed, if any.
    """

    make: Callable[..., Any]
    n_envs: int
    has_values: bool
    tuned: dict[str, tuple[float, ...]]
    constraint: str = ""


_EPSILONS = (0.05, 0.2, 0.8)
ONLINE: dict[str, OnlineEntry] = {
    "SB3-DQN (online)": OnlineEntry(_dqn, DQN_ENVS, True, {"final_epsilon": _EPSILONS}),
    "SB3-PPO (online)": OnlineEntry(
        _ppo,
        PPO_ENVS,
        False,
        {"learning_rate": (3e-4, 1e-3, 3e-3), "entropy": (0.001, 0.003, 0.01)},
    ),
    "ConstraintAwareDQN (online)": OnlineEntry(
        _shaped_dqn, DQN_ENVS, True, {"final_epsilon": _EPSILONS}, "Concave"
    ),
}


@dataclasses.dataclass(frozen=True)
class OnlineCell:
    """What to run.

    Args:
        algorithm: a name in ``ONLINE``.
        env: Gymnasium id of the auction.
        fraction: impressions, as a share of the log's 100,000.
        seed: of environment and training.
        steps: gradient steps of the DQNs; PPO's follow from its rollouts.
        tuned: hyperparameters, as sorted pairs.
    """

    algorithm: str
    env: str = "BidClick-v0"
    fraction: float = 1.0
    seed: int = 0
    steps: int = 5000
    tuned: Pairs = ()

    @property
    def digest(self) -> str:
        """Name of the cell's file."""
        return digest_of(
            {"experiment": "online", "version": 1, **dataclasses.asdict(self)}
        )


def online_cells(env: str, fraction: float, seeds: int, steps: int) -> list[OnlineCell]:
    """All online rows of a table, seed by seed."""
    tuned = best_settings(TUNED)
    return [
        OnlineCell(name, env, fraction, seed, steps, tuned.get(name, ()))
        for seed in range(seeds)
        for name in ONLINE
    ]


class _Explorer:
    """An SB3 model where the evaluators expect a d3rlpy algorithm."""

    reward_scaler = None

    def __init__(self, model: Any):
        self._model = model

    def get_action_type(self) -> Any:
        from d3rlpy.constants import ActionSpace

        return ActionSpace.DISCRETE

    def predict(self, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.asarray(self._model.predict(x, deterministic=True)[0])

    def predict_value(
        self, x: npt.NDArray[Any], action: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        import torch

        with torch.no_grad():
            values = self._model.q_net(self._model.policy.obs_to_tensor(x)[0])
        return np.take_along_axis(
            values.double().cpu().numpy(), action.reshape(-1, 1), 1
        )[:, 0]


def train_online(cell: OnlineCell) -> list[dict[str, Any]]:
    """Lets one algorithm bid and learn, and measures it; one row."""
    import torch
    from stable_baselines3.common.env_util import make_vec_env

    from bidclick_gym.evaluators import (
        ResidualEvaluator,
        ReturnEvaluator,
        ViolationEvaluator,
        action_values,
        fixed_contexts,
    )
    from icac_algo.sb3 import sb3_action_probabilities

    from .measures import GRID, figures

    torch.set_num_threads(1)
    entry = ONLINE[cell.algorithm]
    auction = gym.make(cell.env).unwrapped.auction  # type: ignore[attr-defined]
    impressions = round(LOG_IMPRESSIONS * cell.fraction)
    envs = make_vec_env(cell.env, n_envs=entry.n_envs, seed=cell.seed)
    model = entry.make(envs, cell.seed, cell.steps, impressions, **dict(cell.tuned))
    start = time.perf_counter()
    model.learn(impressions)
    seconds = time.perf_counter() - start
    if model.num_timesteps != impressions:
        raise RuntimeError(
            f"{cell.algorithm} used {model.num_timesteps} impressions of {impressions}"
        )
    contexts = fixed_contexts(auction)
    explorer = _Explorer(model)
    value = ReturnEvaluator(auction, GRID)(explorer)
    if entry.has_values:
        values = action_values(explorer, auction, contexts)
        residual = ResidualEvaluator(auction, n=GRID)(explorer)
    else:
        values = np.log(sb3_action_probabilities(model, contexts))
        residual = None
    own_errors = None
    if entry.constraint:
        own_errors = ViolationEvaluator(auction, entry.constraint.lower())(explorer)
    return [
        {
            "algorithm": cell.algorithm,
            "constraint": entry.constraint,
            "env": cell.env,
            "fraction": cell.fraction,
            "seed": cell.seed,
            "steps": cell.steps,
            **figures(auction, value, values, residual, own_errors),
            "train_seconds": seconds,
        }
    ]


def tune_online(
    folder: pathlib.Path, steps: int = 5000, workers: int = 2
) -> list[dict[str, object]]:
    """Searches the online algorithms' hyperparameters and writes ``TUNED``.

    Args:
        folder: where finished cells are kept.
        steps: gradient steps of each run.
        workers: processes.
    """

    def regrets(name: str, tuned: Sequence[Pairs]) -> list[float]:
        cells = [
            OnlineCell(name, seed=seed, steps=steps, tuned=pairs)
            for pairs in tuned
            for seed in SEEDS
        ]
        rows = run_cells(cells, folder, workers, train_online)
        return [row["regret"] for row in rows]

    rows = search_all({n: e.tuned for n, e in ONLINE.items()}, regrets, steps)
    write_rows(TUNED, TUNING_COLUMNS, rows)
    return rows
