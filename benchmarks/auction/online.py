"""What if you could explore?  SB3's DQN and PPO, trained on the auction itself.

A reference beside Table I, not rivals: nobody else there may choose what is logged.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from bidclick_gym.evaluators import (
    ResidualEvaluator,
    ReturnEvaluator,
    ViolationEvaluator,
    action_values,
    fixed_contexts,
)

from ..engine import Cell, Part, Settings, keys_of
from ..engine.rows import Rows
from ..engine.tuning import RESULTS, best_settings
from ..learners import ENVS, ONLINE_LEARNERS
from .measures import COLUMNS, GRID, auction_of, figures

LOG_IMPRESSIONS = 100_000
TUNED = RESULTS / "tuning_online.csv"


def _cells(settings: Settings) -> list[Cell]:
    tuned = best_settings(TUNED)
    where = {"env": settings["env"], "fraction": settings["fraction"]}
    where["steps"] = settings.steps
    return [
        Cell.of("online", name, seed, tuned=tuned.get(name, ()), **where)
        for seed in range(settings.seeds)
        for name in ONLINE_LEARNERS
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


def train_online(cell: Cell) -> Rows:
    # Imported here: nothing else in the table needs Stable-Baselines3.
    import torch
    from stable_baselines3.common.env_util import make_vec_env

    from icac_algo.sb3 import sb3_action_probabilities

    torch.set_num_threads(1)
    learner = ONLINE_LEARNERS[cell.learner]
    auction = auction_of(cell["env"])
    impressions = round(LOG_IMPRESSIONS * cell["fraction"])
    envs = make_vec_env(cell["env"], n_envs=ENVS, seed=cell.seed)
    model = learner.config(envs, cell.seed, cell["steps"], impressions, **cell.tuned)
    start = time.perf_counter()
    model.learn(impressions)
    seconds = time.perf_counter() - start
    if model.num_timesteps != impressions:
        raise RuntimeError(
            f"{cell.learner} used {model.num_timesteps} impressions of {impressions}"
        )
    contexts = fixed_contexts(auction)
    explorer = _Explorer(model)
    value = ReturnEvaluator(auction, GRID)(explorer)
    if learner.policy == "critic":
        values = action_values(explorer, auction, contexts)
        residual = ResidualEvaluator(auction, n=GRID)(explorer)
    else:
        values = np.log(sb3_action_probabilities(model, contexts))
        residual = None
    own_errors = None
    if learner.counted:
        own_errors = ViolationEvaluator(auction, learner.counted[0])(explorer)
    measured = figures(auction, value, values, residual, own_errors)
    return [{"constraint": learner.shape, **measured, "train_seconds": seconds}]


def _is_planned(settings: Settings) -> bool:
    asked: bool | None = settings["online"]
    everything = not settings.quick and settings["algorithms"] is None
    return everything if asked is None else asked


ONLINE = Part(
    "online",
    COLUMNS,
    _cells,
    train_online,
    learner="algorithm",
    arrange=keys_of("algorithm", "seed", algorithm=ONLINE_LEARNERS),
    planned=_is_planned,
)
