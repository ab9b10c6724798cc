"""Policies of :class:`ConstraintAwareDQN`: SB3's, with a shaped Q-network."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import nn

from .._util.checks import check_choice
from ..critics import Canonical, Critic, Euclidean, Functional, Prior
from ..decisions import best_actions
from ..shapes import Concave, Constraint, as_shape

_CRITICS: dict[str, type[Critic]] = {
    kind.get_type(): kind for kind in (Functional, Canonical, Euclidean)
}


class ShapedQNetwork(QNetwork):
    """SB3's ``QNetwork`` whose last layer is a shaped head.

    In evaluation mode Q has the shape ``constraint`` over actions exactly, everywhere;
    ``critic`` makes it so.
    """

    def __init__(self, *, constraint: Constraint, critic: Critic, **kwargs: Any):
        super().__init__(**kwargs)
        self.constraint = constraint
        layers = list(self.q_net.children())[:-1]
        hidden = self.net_arch[-1] if self.net_arch else self.features_dim
        # From preprocessed observations to the last hidden layer of SB3's own network.
        encoder: Any = nn.Sequential(self.features_extractor, *layers)
        self.q_net = critic.create_discrete(
            encoder, hidden, int(self.action_space.n), Prior(constraint)
        )

    def forward(self, obs: Any) -> torch.Tensor:
        """Q-values of all actions, ``(B, K)``."""
        x = preprocess_obs(
            obs, self.observation_space, normalize_images=self.normalize_images
        )
        values: torch.Tensor = self.q_net(x).q_value
        return values

    def _predict(self, observation: Any, deterministic: bool = True) -> torch.Tensor:
        return best_actions(self(observation), self.constraint.favours_last)


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

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        lr_schedule: Any,
        constraint: Constraint | str | None = None,
        critic: Critic | str = "functional",
        **kwargs: Any,
    ):
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


MlpPolicy = ConstraintAwareDQNPolicy


class CnnPolicy(ConstraintAwareDQNPolicy):
    """The same for images."""

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs.setdefault("features_extractor_class", NatureCNN)
        super().__init__(*args, **kwargs)
