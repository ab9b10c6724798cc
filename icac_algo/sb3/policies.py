"""Policies of :class:`ConstraintAwareDQN`: SB3's, with a shaped Q-network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import CombinedExtractor, NatureCNN
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import nn

from .._util.checks import check_choice
from ..critics import Canonical, Critic, Euclidean, Functional, Prior
from ..decisions import best_actions
from ..shapes import Concave, Constraint, as_shape

_CRITICS: dict[str, type[Critic]] = {
    kind.get_type(): kind for kind in (Functional, Canonical, Euclidean)
}


class Normaliser(nn.Module):
    """What a ``VecNormalize`` does to vector observations and rewards.

    Its numbers are kept with the weights, so that a loaded model knows them, and are
    those of the environment's wrapper as long as there is one.  Its size is 0 where
    observations are no vectors.
    """

    mean: torch.Tensor
    std: torch.Tensor
    clip: torch.Tensor
    reward_std: torch.Tensor

    def __init__(self, size: int):
        super().__init__()
        options: Any = {"dtype": torch.float64}
        self.register_buffer("mean", torch.zeros(size, **options))
        self.register_buffer("std", torch.ones(size, **options))
        self.register_buffer("clip", torch.zeros((), **options))
        self.register_buffer("reward_std", torch.ones((), **options))
        self._wrapper: Any = None

    def follow(self, wrapper: Any) -> None:
        """Takes the numbers of a ``VecNormalize`` from now on; ``None`` keeps them."""
        self._wrapper = wrapper
        self.read()

    def read(self) -> None:
        """Takes the present numbers over."""
        wrapper = self._wrapper
        if wrapper is None:
            return
        if wrapper.norm_reward:
            self.reward_std.fill_(float(np.sqrt(wrapper.ret_rms.var + wrapper.epsilon)))
        if wrapper.norm_obs and len(self.mean):
            seen = wrapper.obs_rms
            self.mean.copy_(torch.as_tensor(seen.mean))
            self.std.copy_(torch.as_tensor(np.sqrt(seen.var + wrapper.epsilon)))
            self.clip.fill_(float(wrapper.clip_obs))

    @property
    def scales_observations(self) -> bool:
        """Whether observations are scaled, and so clipped at a positive number."""
        return bool(self.clip > 0.0)

    def reverse_transform(self, x: torch.Tensor) -> torch.Tensor:
        """Observations in their own units, as d3rlpy's scalers give them."""
        return x * self.std + self.mean

    def transform(self, rewards: torch.Tensor) -> torch.Tensor:
        """Rewards as training sees them, up to clipping, as d3rlpy's scalers do."""
        return rewards / self.reward_std

    def __getstate__(self) -> dict[str, Any]:
        # Copies and files hold the numbers, not the environment.
        return {**self.__dict__, "_wrapper": None}


class ShapedQNetwork(QNetwork):
    """SB3's ``QNetwork`` whose last layer is a shaped head.

    In evaluation mode Q has the shape ``constraint`` over actions exactly, everywhere;
    ``critic`` makes it so.  A known cost, and bounds of the shape's own, are in the units
    of the environment under its ``VecNormalize``.
    """

    constraint: Constraint
    normaliser: Normaliser
    action_size: int

    def __init__(self, *, constraint: Constraint, critic: Critic, **kwargs: Any):
        super().__init__(**kwargs)
        self.constraint, self.critic = constraint, critic
        self.action_size = int(self.action_space.n)
        layers = list(self.q_net.children())[:-1]
        hidden = self.net_arch[-1] if self.net_arch else self.features_dim
        shape = self.observation_space.shape or ()
        is_vector = isinstance(self.observation_space, spaces.Box) and len(shape) == 1
        self.normaliser = Normaliser(shape[0] if is_vector else 0)
        scaler: Any = self.normaliser
        prior = Prior(constraint, observation_scaler=scaler, reward_scaler=scaler)
        # From preprocessed observations to the last hidden layer of SB3's own network.
        encoder: Any = nn.Sequential(self.features_extractor, *layers)
        self.q_net = critic.create_discrete(encoder, hidden, self.action_size, prior)

    def forward(self, obs: Any) -> torch.Tensor:
        """Q-values of all actions, ``(B, K)``."""
        self.normaliser.read()
        x = preprocess_obs(
            obs, self.observation_space, normalize_images=self.normalize_images
        )
        values: torch.Tensor = self.q_net(x).q_value
        return values

    def _predict(self, observation: Any, deterministic: bool = True) -> torch.Tensor:
        return best_actions(self(observation), self.constraint.favours_last)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        own = {"constraint": self.constraint, "critic": self.critic}
        return {**super()._get_constructor_parameters(), **own}


class ConstraintAwareDQNPolicy(DQNPolicy):
    """SB3's ``DQNPolicy`` with a shape; other arguments are SB3's.

    Args:
        constraint: the shape of Q over the ordered actions, or words for it as on the
            command line (``"monotone+concave"``), which suit settings kept in YAML.
        critic: how Q is made to have it: ``Functional()``, ``Canonical()`` or
            ``Euclidean()``, or one of their names (``"canonical"``).

    Raises:
        ValueError: the shape does not fit the spaces, or an argument is unknown.
    """

    q_net: ShapedQNetwork
    q_net_target: ShapedQNetwork

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        lr_schedule: Any,
        constraint: Constraint | str | None = None,
        critic: Critic | str = "functional",
        **kwargs: Any,
    ):
        if "outcomes" in kwargs:
            raise ValueError(
                "outcomes are learned by ConstraintAwareQ, from a log with a column for "
                "each (record_log keeps infos): SB3's buffers have rewards only; got "
                f"{kwargs['outcomes']!r}"
            )
        constraint = as_shape(Concave() if constraint is None else constraint)
        if isinstance(critic, str):
            check_choice("critic", critic, tuple(_CRITICS))
            critic = _CRITICS[critic]()
        if type(critic) not in _CRITICS.values():
            raise ValueError(
                "critic must be Functional(), Canonical() or Euclidean(), or one of "
                f"their names, got {critic!r}"
            )
        constraint.positions(int(action_space.n))
        if constraint.known_cost is not None:
            constraint.check_observation_shape(observation_space.shape or ())
        self._shape = {"constraint": constraint, "critic": critic}
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def make_q_net(self) -> ShapedQNetwork:
        arguments = self._update_features_extractor(
            self.net_args, features_extractor=None
        )
        return ShapedQNetwork(**self._shape, **arguments).to(self.device)  # type: ignore[arg-type]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), **self._shape}

    def standardise(self, level: float, scale: float) -> None:
        """What Q is measured from and in, for both networks."""
        for network in (self.q_net, self.q_net_target):
            network.q_net.standardise(level, scale)  # type: ignore[operator]

    def follow(self, wrapper: Any) -> None:
        """Takes the units of a ``VecNormalize`` over, in both networks."""
        for network in (self.q_net, self.q_net_target):
            network.normaliser.follow(wrapper)


MlpPolicy = ConstraintAwareDQNPolicy


class CnnPolicy(ConstraintAwareDQNPolicy):
    """The same for images."""

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs.setdefault("features_extractor_class", NatureCNN)
        super().__init__(*args, **kwargs)


class MultiInputPolicy(ConstraintAwareDQNPolicy):
    """The same for dictionaries of observations; a known cost needs a vector."""

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs.setdefault("features_extractor_class", CombinedExtractor)
        super().__init__(*args, **kwargs)
