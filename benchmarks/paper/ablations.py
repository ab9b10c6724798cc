"""Three variants of Table II that are other algorithms than ``ConstraintAwareQ``."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from d3rlpy.base import DeviceArg, register_learnable
from d3rlpy.torch_utility import unwrap_ddp_model
from d3rlpy.types import TorchObservation
from torch import nn

from icac_algo import ConstraintAwareQ, ConstraintAwareQConfig, Euclidean
from icac_algo.algos import (
    EuclideanConstraintAwareQImpl,
    penalty,
    penalty_gradient,
    proximal_iterations,
)
from icac_algo.decisions import best_actions

ABLATIONS = ("soft penalty", "cold start", "actor only")
# A cold start that is not there by then has no tolerance to reach.
_MOST_STEPS = 10_000
_STEPS_BETWEEN_LOOKS = 5


@dataclasses.dataclass()
class AblatedQConfig(ConstraintAwareQConfig):
    r"""``ConstraintAwareQ`` with one part of Algorithm 1 replaced.

    ``"soft penalty"``
        no projection: :math:`\lambda C(f)` is added to the loss of the free critic, and
        :math:`\lambda` follows :math:`C(f)`.
    ``"cold start"``
        the inner solver starts at zero and goes on until its residual is no larger than
        what one step from the critic's output leaves on the same batch.
    ``"actor only"``
        the critic is free; :math:`\lambda C` of the actor's log-probabilities is added to
        the actor's loss, and :math:`\lambda` follows it.
    """

    ablation: str = "soft penalty"  # one of ``ABLATIONS``

    def validate(self) -> None:
        super().validate()
        if self.ablation not in ABLATIONS:
            raise ValueError(
                f"ablation must be one of {ABLATIONS}, got {self.ablation!r}"
            )
        if not isinstance(self.critic, Euclidean) or self.actor != "network":
            raise ValueError(
                "critic must be Euclidean() and actor 'network' to be ablated, got "
                f"{self.critic!r} and {self.actor!r}"
            )

    def create(self, device: DeviceArg = False, enable_ddp: bool = False) -> AblatedQ:
        self.validate()
        return AblatedQ(self, device, enable_ddp)

    @staticmethod
    def get_type() -> str:
        return "ablated_constraint_aware_q"


class AblatedQ(ConstraintAwareQ):
    def euclidean_impl(self) -> type[EuclideanConstraintAwareQImpl]:
        assert isinstance(self._config, AblatedQConfig)
        return _IMPLS[self._config.ablation]


class _FreeCritic(EuclideanConstraintAwareQImpl):
    """Nothing is projected: neither for the actor, nor in what is deployed."""

    def actor_values(
        self, x: TorchObservation, critics: list[torch.Tensor]
    ) -> torch.Tensor:
        return torch.stack(critics).mean(dim=0)

    def action_values(self, x: TorchObservation) -> torch.Tensor:
        q_funcs = self._modules.average_q_funcs
        values = [unwrap_ddp_model(q_func).trained_values(x) for q_func in q_funcs]
        return torch.stack(values).mean(dim=0)


class _SoftPenalty(_FreeCritic):
    def proximal_layer(
        self,
        q: torch.Tensor,
        q_func: nn.Module,
        observations: TorchObservation,
        actions: torch.Tensor,
        target: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        module: Any = unwrap_ddp_model(q_func)
        violation = penalty((q - module.level) / self._scale, self._matrix).mean()
        return q, self._modules.state.multiplier * violation, violation.detach()


class _ColdStart(EuclideanConstraintAwareQImpl):
    #: Inner steps since training began, and how many solves they served.
    inner_steps = 0
    solves = 0

    def solve_proximal(
        self,
        start: torch.Tensor,
        anchor: torch.Tensor,
        multiplier: torch.Tensor,
        step: torch.Tensor | float,
        bounds: torch.Tensor | float,
    ) -> torch.Tensor:
        matrix = self._matrix

        def residual(u: torch.Tensor) -> torch.Tensor:
            return (u - anchor + multiplier * penalty_gradient(u, matrix, bounds)).norm()

        warm = proximal_iterations(anchor, anchor, matrix, multiplier, 1, step, bounds)
        # float32 cannot do better than its rounding, where the warm start is exact.
        tolerance = torch.maximum(residual(warm), 1e-6 * anchor.norm())
        u, steps = torch.zeros_like(anchor), 0
        while steps < _MOST_STEPS and bool(residual(u) > tolerance):
            u = proximal_iterations(
                u, anchor, matrix, multiplier, _STEPS_BETWEEN_LOOKS, step, bounds
            )
            steps += _STEPS_BETWEEN_LOOKS
        self.inner_steps += steps
        self.solves += 1
        return u


class _ActorOnly(_FreeCritic):
    def proximal_layer(
        self,
        q: torch.Tensor,
        q_func: nn.Module,
        observations: TorchObservation,
        actions: torch.Tensor,
        target: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        assert self._modules.policy is not None
        scores = self._modules.policy(observations).logits
        violation = penalty(scores, self._matrix).mean()
        return q, self._modules.state.multiplier * violation, violation.detach()

    def inner_predict_best_action(self, x: TorchObservation) -> torch.Tensor:
        assert self._modules.policy is not None
        return best_actions(self._modules.policy(x).logits, self.favours_last)


_IMPLS: dict[str, type[EuclideanConstraintAwareQImpl]] = {
    "soft penalty": _SoftPenalty,
    "cold start": _ColdStart,
    "actor only": _ActorOnly,
}

register_learnable(AblatedQConfig)
