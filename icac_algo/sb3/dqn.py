"""``ConstraintAwareDQN``: SB3's DQN whose Q-function obeys a shape exactly."""

from __future__ import annotations

import functools
import io
import itertools
import math
import pathlib
from collections.abc import Iterable
from typing import Any, ClassVar, Literal, TypeVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from d3rlpy.base import LearnableConfig
from d3rlpy.constants import ActionSpace
from d3rlpy.models import VectorEncoderFactory
from d3rlpy.preprocessing import MultiplyRewardScaler
from d3rlpy.serializable_config import CONFIG_STORAGE
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.utils import polyak_update
from torch import nn

from .._util.checks import check_count, check_path
from .._util.files import write_whole
from ..critics import (
    ClippedStandardObservationScaler,
    Standardisation,
    refuse_diverged_networks,
)
from ..data import ColumnarReplayBuffer
from ..evidence import choose_n_steps
from .policies import (
    CnnPolicy,
    ConstraintAwareDQNPolicy,
    MlpPolicy,
    MultiInputPolicy,
    ShapedQNetwork,
)

_ACTIVATIONS = {nn.ReLU: "relu", nn.GELU: "gelu", nn.Tanh: "tanh", nn.SiLU: "swish"}
# Wrappers inside of each environment, whose running numbers no model sees.
_UNREADABLE = (gym.wrappers.NormalizeObservation, gym.wrappers.NormalizeReward)

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
    buffer, as training sees them.  ``load`` unpickles, as SB3's does.

    Known costs and bounds are in the environment's own units, also under a
    ``VecNormalize``, whose numbers are kept with the weights.  (What it clips it hides
    from a known cost too.)  Gymnasium's ``NormalizeObservation`` and ``NormalizeReward``
    cannot be read and are refused where the shape has such units.

    :func:`icac_algo.export.save` and :func:`icac_algo.export.save_graph` take it.

    Args:
        policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or a class.
        env: with a discrete action space.
        kwargs: SB3's; ``policy_kwargs`` takes ``constraint`` and ``critic``.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    policy: ConstraintAwareDQNPolicy
    q_net: ShapedQNetwork

    _standardised = False

    def _setup_model(self) -> None:
        super()._setup_model()
        self._follow_units()

    def set_env(self, env: Any, force_reset: bool = True) -> None:
        """As SB3's; a ``VecNormalize`` of the new one is the one that counts."""
        super().set_env(env, force_reset)
        self._follow_units()

    def _follow_units(self) -> None:
        constraint = self.policy.q_net.constraint
        has_units = constraint.known_cost is not None or not (
            constraint.shape_set().is_cone
        )
        for kind in _UNREADABLE:
            if has_units and self.env is not None and any(self.env.env_is_wrapped(kind)):
                raise ValueError(
                    f"env must not be wrapped in {kind.__name__}, whose numbers "
                    f"constraint={constraint!r} needs and cannot read; SB3's "
                    "VecNormalize does the same and can be read"
                )
        self.policy.follow(self._vec_normalize_env)

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        if not self._standardised:
            self._standardise()
        super().train(gradient_steps, batch_size)
        saved = "nothing was saved by this run"
        refuse_diverged_networks({"q_net": self.q_net}, self._n_updates, saved)

    def _standardise(self) -> None:
        buffer: Any = self.replay_buffer
        count = buffer.size()
        rewards = np.asarray(buffer.rewards[:count], np.float64)
        if self._vec_normalize_env is not None:
            rewards = self._vec_normalize_env.normalize_reward(rewards)
        ended = buffer.dones[:count] * (1 - buffer.timeouts[:count])
        found = Standardisation.of_rewards(
            float(rewards.mean(dtype=np.float64)),
            float(rewards.std(dtype=np.float64)),
            # What has not ended yet may still end.
            max(float(ended.mean()), 1.0 / count),
            self.gamma,
        )
        self.policy.standardise(found.level, found.scale)
        self._standardised = True

    def to_d3rlpy(self) -> Any:
        """The greedy policy as a :class:`~icac_algo.ConstraintAwareQ`.

        It takes raw observations: the ``VecNormalize`` is its observation scaler.

        Raises:
            ValueError: observations are no vectors, or the network is none of layers of
                one common activation.
        """
        policy, network = self.policy, self.q_net
        name = _ACTIVATIONS.get(policy.activation_fn)
        shape = self.observation_space.shape
        is_plain = policy.features_extractor_class is FlattenExtractor
        if not len(network.normaliser.mean) or not is_plain or not policy.net_arch:
            raise ValueError(
                "model must have an MlpPolicy over vector observations with at least one "
                f"hidden layer to be exported, got {type(policy).__name__} over "
                f"{self.observation_space} with net_arch={policy.net_arch}"
            )
        if name is None:
            raise ValueError(
                "activation_fn must be ReLU, GELU, Tanh or SiLU to be exported, got "
                f"{policy.activation_fn.__name__}"
            )
        units = network.normaliser
        units.read()
        scaler = ClippedStandardObservationScaler(
            units.mean.cpu().numpy(), units.std.cpu().numpy(), 0.0, float(units.clip)
        )
        # By its name: algorithms are made of critics, as this one is, not below it.
        kinds = CONFIG_STORAGE[LearnableConfig].config_list
        algo = kinds["constraint_aware_q"](
            constraint=network.constraint,
            critic=network.critic,
            critic_encoder_factory=VectorEncoderFactory(policy.net_arch, name),
            observation_scaler=scaler if units.scales_observations else None,
            reward_scaler=MultiplyRewardScaler(1.0 / float(units.reward_std)),
            gamma=self.gamma,
        ).create(device=str(self.device))
        algo.create_impl(shape, network.action_size)
        modules = algo.impl.modules
        learned = network.q_net.state_dict().values()
        for copies in (modules.q_funcs, modules.targ_q_funcs, modules.average_q_funcs):
            # Layers in the same order under other names.
            for ours, theirs in zip(
                copies[0].state_dict().values(), learned, strict=True
            ):
                ours.copy_(theirs)
        modules.state.standardised.fill_(self._standardised)
        algo.set_grad_step(self._n_updates)
        return algo

    def fit(
        self: Self,
        replay_buffer: ReplayBuffer | ColumnarReplayBuffer,
        gradient_steps: int | Literal["auto"] = "auto",
        callback: Any = None,
        log_interval: int = 1000,
        tb_log_name: str = "ConstraintAwareDQN",
        progress_bar: bool = False,
        validation: float | ColumnarReplayBuffer | None = None,
    ) -> Self:
        """Learns from a log alone; the environment is not stepped.

        The target network follows every ``target_update_interval`` gradient steps.

        Args:
            replay_buffer: a filled SB3 buffer, or ours.
            gradient_steps: how many; ``"auto"`` chooses by held-out losses, as
                :func:`icac_algo.choose_n_steps` does, then learns from all transitions.
            callback: SB3's; its ``on_step`` comes after every gradient step.
            log_interval: gradient steps between two writes to the logger.
            tb_log_name: as in ``learn``, and so is ``progress_bar``.
            validation: what to choose by, a share of the episodes or a buffer; at most
                ``gradient_steps`` are then chosen.

        Raises:
            TypeError: the buffer is of another kind.
            ValueError: it is empty or of other spaces, or a count is below 1.
        """
        most = None if gradient_steps == "auto" else gradient_steps
        steps = most or 0
        if most is not None:
            check_count("gradient_steps", most)
        check_count("log_interval", log_interval)
        buffer = self._checked(replay_buffer)
        if most is None or validation is not None:
            log: Any = replay_buffer
            if not isinstance(log, ColumnarReplayBuffer):
                log = ColumnarReplayBuffer.from_sb3(buffer)
            steps = choose_n_steps(
                log,
                functools.partial(_Trial, self),
                most,
                validation,
                show_progress=progress_bar,
            ).n_steps
        self.replay_buffer = buffer
        _, callback = self._setup_learn(steps, callback, False, tb_log_name, progress_bar)
        callback.on_training_start(locals(), globals())
        for step in range(1, steps + 1):
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
        space, problem = self.observation_space, None
        shape: Any = space.shape
        if isinstance(space, gym.spaces.Dict):
            shape = {name: part.shape for name, part in space.items()}
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


class _Trial:
    """A copy of a model as a d3rlpy algorithm that is trained and asked for values."""

    reward_scaler = None

    def __init__(self, model: ConstraintAwareDQN):
        file = io.BytesIO()
        model.save(file)
        file.seek(0)
        self.impl = type(model).load(file, env=model.get_env(), device=model.device)
        # It writes nothing of its own.
        self.impl.set_logger(Logger(folder=None, output_formats=[]))
        self.gamma = self.impl.gamma

    def fit(
        self, dataset: ColumnarReplayBuffer, n_steps: int, callback: Any, **others: Any
    ) -> None:
        steps = itertools.count(1)

        def look(local: Any, everything: Any) -> bool:
            callback(self, 1, next(steps))
            return True

        self.impl.fit(dataset, n_steps, look)

    def get_action_type(self) -> ActionSpace:
        return ActionSpace.DISCRETE

    def _all_values(self, x: Any) -> npt.NDArray[np.float64]:
        if (normalised := self.impl.get_vec_normalize_env()) is not None:
            x = normalised.normalize_obs(x)
        self.impl.policy.set_training_mode(False)
        with torch.no_grad():
            values = self.impl.q_net(self.impl.policy.obs_to_tensor(x)[0])
        return np.asarray(values.cpu().numpy(), np.float64)

    def predict(self, x: Any) -> npt.NDArray[np.int64]:
        return self._all_values(x).argmax(axis=1)

    def predict_value(self, x: Any, actions: Any) -> npt.NDArray[np.float64]:
        return self._all_values(x)[np.arange(len(actions)), actions]
