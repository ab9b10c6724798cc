"""The floor under ``ConstraintAwareQ.fit``: the same arithmetic in bare PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from icac_algo import Concave
from icac_algo.critics import function_over


class BareLoop:
    """One-step ``ConstraintAwareQ(constraint=Concave())`` without d3rlpy or checks.

    Critic, target and deployed average, loss, fused Adam, Polyak: what each update
    computes, on batches that are tensors already.
    """

    def __init__(self, hidden: Sequence[int], actions: int, level: float, scale: float):
        self.parametrization = function_over(Concave(), actions)
        size = self.parametrization.n_coordinates
        self.critic, self.target, self.average = (_network(hidden, size) for _ in "123")
        self._level, self._scale = level, scale
        self._updates = 0
        self._optimizer = torch.optim.Adam(self.critic.parameters(), lr=1e-3, fused=True)
        self._followed: list[torch.Tensor] = list(self.critic.parameters())
        self._copies: list[list[torch.Tensor]] = [
            list(copy.parameters()) for copy in (self.target, self.average)
        ]

    def update(
        self, observations: torch.Tensor, actions: torch.Tensor, rewards: torch.Tensor
    ) -> float:
        """One gradient step on terminal transitions."""
        values = self._level + self._scale * self.parametrization(
            self.critic(observations)
        )
        residual = (values.gather(1, actions) - rewards) / self._scale
        loss = 0.5 * residual.square().mean()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._updates += 1
        with torch.no_grad():
            shares = (0.005, min(1.0, 1.0 / (0.2 * self._updates)))
            for copy, share in zip(self._copies, shares, strict=True):
                torch._foreach_lerp_(copy, self._followed, share)
        return loss.item()


def _network(hidden: Sequence[int], size: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    width = 2
    for units in hidden:
        layers += [nn.Linear(width, units), nn.ReLU()]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, size))
