"""The batch of auctions behind Stable-Baselines3's own vector interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._arrays import AnyArray
from ..auction import DEFAULT_BIDS, DEFAULT_COST_RANGE
from .single import BidClickEnv
from .vector import BidClickVectorEnv

try:
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise ImportError(
        "this needs stable_baselines3: pip install 'bidclick-icac[sb3]'"
    ) from error


class BidClickVecEnv(VecEnv):
    """``num_envs`` auctions for Stable-Baselines3, stepped at once.

    ``DQN("MlpPolicy", BidClickVecEnv(16))`` trains on it.  Steps return what
    ``DummyVecEnv`` over as many ``BidClickEnv`` returns: an episode that ended starts
    anew within the step, with ``terminal_observation`` and ``TimeLimit.truncated`` in
    its information.  Wrap it in Stable-Baselines3's ``VecMonitor`` for episode returns.

    Args:
        num_envs: number of auctions ``N``, at least 1.
        horizon, bids, cost_range, continuous: as in ``BidClickEnv``.

    Raises:
        ValueError: an argument is out of bounds.
        ImportError: on import of this module, without Stable-Baselines3.
    """

    def __init__(
        self,
        num_envs: int = 1,
        horizon: int = 1,
        bids: Sequence[float] = DEFAULT_BIDS,
        cost_range: tuple[float, float] = DEFAULT_COST_RANGE,
        continuous: bool = False,
    ):
        self._auctions = BidClickVectorEnv(
            num_envs, horizon, bids, cost_range, continuous, autoreset_mode="same_step"
        )
        self._actions: Any = None
        super().__init__(
            self._auctions.num_envs,
            self._auctions.single_observation_space,
            self._auctions.single_action_space,
        )

    def reset(self) -> Any:
        """Observations, float32 of shape ``(N, 2)``.

        What ``seed()`` and ``set_options()`` left is used once: the seeds of all
        auctions together seed the batch, and each auction's ``x`` or ``c`` is chosen.
        """
        seeds = [seed for seed in self._seeds if seed is not None]
        if seeds and len(seeds) < self.num_envs:
            raise ValueError(f"seed must be given for all or none, got {self._seeds}")
        observations, _ = self._auctions.reset(seed=seeds or None)
        for i, options in enumerate(self._options):
            if options:
                mask = np.arange(self.num_envs) == i
                observations, _ = self._auctions.reset(
                    options={**options, "reset_mask": mask}
                )
        self.reset_infos = [dict(BidClickEnv.no_impression) for _ in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: AnyArray) -> None:
        """Keeps the actions for ``step_wait``: ``(N,)``, or ``(N, 1)`` if continuous."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Observations, float32 rewards ``(N,)``, whether episodes ended, information."""
        observations, rewards, terminations, truncations, info = self._auctions.step(
            self._actions
        )
        dones = terminations | truncations
        # All auctions start together, so all end together, or none.
        columns = _columns(info["final_info"] if dones.any() else info)
        infos = []
        for i, timeout in enumerate(truncations.tolist()):
            single = {name: values[i] for name, values in columns.items()}
            single["TimeLimit.truncated"] = timeout
            if dones[i]:
                single["terminal_observation"] = info["final_obs"][i]
                self.reset_infos[i] = dict(BidClickEnv.no_impression)
            infos.append(single)
        return observations, rewards.astype(np.float32), dones, infos

    def close(self) -> None:
        """Releases nothing: there is nothing but memory to release."""
        self._auctions.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the batch, which is that of each auction in it."""
        value = getattr(self._auctions, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Raises ``AttributeError``: the auctions of a batch share their attributes."""
        raise AttributeError(f"cannot set {attr_name!r} of auctions that share a batch")

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **kwargs: Any
    ) -> list[Any]:
        """Raises ``AttributeError``: a batch has no single environments to call."""
        raise AttributeError(
            f"cannot call {method_name!r} of auctions that share a batch"
        )

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """``False`` for each: a batch has no single environments to wrap."""
        return [False for _ in self._get_indices(indices)]


def _columns(info: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: info[name].tolist() for name in BidClickEnv.no_impression}
