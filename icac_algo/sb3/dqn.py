"""``ConstraintAwareDQN``: SB3's DQN whose Q-function obeys a shape exactly."""

from __future__ import annotations

import io
import math
import pathlib
from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar

import numpy as np
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.utils import polyak_update

from .._util.checks import check_count, check_path
from .._util.files import write_whole
from ..critics import Standardisation
from ..data import ColumnarReplayBuffer
from .policies import CnnPolicy, ConstraintAwareDQNPolicy, MlpPolicy

Self = TypeVar("Self", bound="ConstraintAwareDQN")


class ConstraintAwareDQN(DQN):
    """DQN with a stated shape of Q over its ordered actions.

    .. code-block:: python

        model = ConstraintAwareDQN(
            "MlpPolicy", env, policy_kwargs=dict(constraint=Concave())
        )
        model.learn(100_000)  # online
        model.fit(replay_buffer, gradient_steps=5_000)  # or from a log

    Everything else is SB3's ``DQN``: arguments, callbacks, saving, TensorBoard.  Before
    its first gradient step the critic gets level and spread of the rewards in the replay
    buffer.  ``load`` unpickles, as SB3's does.

    Args:
        policy: ``"MlpPolicy"``, ``"CnnPolicy"`` or a class.
        env: with a discrete action space.
        kwargs: SB3's; ``policy_kwargs`` takes ``constraint`` and ``critic``.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
    }
    policy: ConstraintAwareDQNPolicy

    _standardised = False

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        if not self._standardised:
            self._standardise()
        super().train(gradient_steps, batch_size)

    def _standardise(self) -> None:
        buffer: Any = self.replay_buffer
        count = buffer.size()
        rewards = np.asarray(buffer.rewards[:count], np.float64)
        ended = buffer.dones[:count] * (1 - buffer.timeouts[:count])
        found = Standardisation.of_rewards(
            float(rewards.mean()),
            float(rewards.std()),
            # What has not ended yet may still end.
            max(float(ended.mean()), 1.0 / count),
            self.gamma,
        )
        self.policy.standardise(found.level, found.scale)
        self._standardised = True

    def fit(
        self: Self,
        replay_buffer: ReplayBuffer | ColumnarReplayBuffer,
        gradient_steps: int,
        callback: Any = None,
        log_interval: int = 1000,
        tb_log_name: str = "ConstraintAwareDQN",
        progress_bar: bool = False,
    ) -> Self:
        """Learns from a log alone; the environment is not stepped.

        The target network follows every ``target_update_interval`` gradient steps.

        Args:
            replay_buffer: a filled SB3 buffer, or ours.
            gradient_steps: how many.
            callback: SB3's; its ``on_step`` comes after every gradient step.
            log_interval: gradient steps between two writes to the logger.
            tb_log_name: as in ``learn``, and so is ``progress_bar``.

        Raises:
            TypeError: the buffer is of another kind.
            ValueError: it is empty or of other spaces, or a count is below 1.
        """
        check_count("gradient_steps", gradient_steps)
        check_count("log_interval", log_interval)
        buffer = self._checked(replay_buffer)
        self.replay_buffer = buffer
        _, callback = self._setup_learn(
            gradient_steps, callback, False, tb_log_name, progress_bar
        )
        callback.on_training_start(locals(), globals())
        for step in range(1, gradient_steps + 1):
            self.train(1, self.batch_size)
            if step % self.target_update_interval == 0:
                polyak_update(
                    self.q_net.parameters(), self.q_net_target.parameters(), self.tau
                )
            callback.update_locals(locals())
            if not callback.on_step():
                break
            if step % log_interval == 0:
                self.logger.record("time/gradient_steps", step)
                self.logger.dump(step)
        # Nothing is left to explore.
        self.exploration_rate = self.exploration_final_eps
        callback.on_training_end()
        return self

    def save(
        self,
        path: str | pathlib.Path | io.BufferedIOBase,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """As SB3's, but an interrupted write leaves the old file as it was."""
        if not isinstance(path, (str, pathlib.Path)):
            super().save(path, exclude, include)
            return
        check_path("path", path)
        file = pathlib.Path(path)
        # As SB3 names and places it.
        file = file if file.suffix else file.with_suffix(".zip")
        buffer = io.BytesIO()
        super().save(buffer, exclude, include)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, buffer.getvalue())

    def _checked(self, given: Any) -> ReplayBuffer:
        buffer = given
        if isinstance(given, ColumnarReplayBuffer):
            buffer = given.to_sb3(device=str(self.device))
        if not isinstance(buffer, ReplayBuffer):
            raise TypeError(
                "replay_buffer must be an SB3 ReplayBuffer or a ColumnarReplayBuffer, "
                f"got {type(given).__name__}"
            )
        shape, problem = self.observation_space.shape, None
        if buffer.size() == 0:
            problem = "transitions, got an empty one"
        elif buffer.obs_shape != shape:
            problem = f"observations of shape {shape}, got {buffer.obs_shape}"
        elif getattr(buffer.action_space, "n", math.inf) > self.action_space.n:  # type: ignore[attr-defined]
            problem = f"discrete actions {self.action_space}, got {buffer.action_space}"
        if problem is not None:
            raise ValueError(f"replay_buffer must hold {problem}")
        if buffer is given:
            ColumnarReplayBuffer.from_sb3(buffer)  # Checks every value.
        return buffer
