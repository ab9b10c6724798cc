"""ConstraintAwareQ with ``Euclidean`` critics: the paper's update, with its switches."""

from __future__ import annotations

from typing import Any

import torch
from d3rlpy.preprocessing import RewardScaler
from d3rlpy.torch_utility import TorchMiniBatch, unwrap_ddp_model
from d3rlpy.types import TorchObservation
from torch import nn

from ..critics import ProjectedQFunction, reward_slope
from .constraint_aware_q_impl import ConstraintAwareQImpl, mean_over_processes
from .proximal import (
    implicit_proximal,
    inner_step_size,
    penalty,
    penalty_lipschitz,
    proximal_iterations,
)


class EuclideanConstraintAwareQImpl(ConstraintAwareQImpl):
    """The torch side of :class:`~icac_algo.ConstraintAwareQ` with a proximal layer.

    Variants of the paper's algorithm override :meth:`proximal_layer`,
    :meth:`solve_proximal`, :meth:`actor_values` or :meth:`action_values`, and name their
    class in :meth:`ConstraintAwareQ.euclidean_impl`.  Arguments are the fields of
    :class:`~icac_algo.Euclidean`.
    """

    def __init__(
        self,
        *,
        multiplier_learning_rate: float,
        max_multiplier: float,
        inner_iterations: int,
        inner_step: str,
        inner_anchor: str,
        warm_start: bool,
        implicit_gradient: bool,
        pull: float,
        reward_scaler: RewardScaler | None,
        **others: Any,
    ):
        super().__init__(**others)
        self._multiplier_learning_rate = multiplier_learning_rate
        self._max_multiplier = max_multiplier
        self._inner_iterations, self._inner_step = inner_iterations, inner_step
        self._inner_anchor, self._warm_start = inner_anchor, warm_start
        self._implicit_gradient, self._pull = implicit_gradient, pull
        self._reward_scaler = reward_scaler
        modules = self._modules
        for copies in (modules.q_funcs, modules.targ_q_funcs, modules.average_q_funcs):
            for q_func in copies:
                # A loss is taken of free values, made feasible by the layer here.
                unwrap_ddp_model(q_func).projects_in_training = False
        shape_set = self._constraint.shape_set()
        matrix, bounds = shape_set.inequalities(
            self._constraint.positions(self._action_size)
        )
        options: Any = {"dtype": torch.float32, "device": self._device}
        self._matrix = torch.as_tensor(matrix, **options)
        self._bounds = torch.as_tensor(bounds, **options)
        self._is_cone = shape_set.is_cone
        self._lipschitz = penalty_lipschitz(self._matrix)

    def critic_loss(
        self, batch: TorchMiniBatch
    ) -> tuple[torch.Tensor, list[torch.Tensor], dict[str, torch.Tensor]]:
        target = self.bellman_target(batch)
        actions = batch.actions.long().view(-1, 1)
        losses, critics, violations = [], [], []
        for q_func in self._modules.q_funcs:
            free = q_func(batch.observations).q_value
            values, pulled, violation = self.proximal_layer(
                free, q_func, batch.observations, actions, target
            )
            losses += [pulled, self.squared_error([values.gather(1, actions)], target)]
            critics.append(values)
            violations.append(violation)
        loss = torch.stack(losses).sum()
        violation = mean_over_processes(torch.stack(violations).mean())
        metrics = {"critic_loss": loss.detach(), "raw_violation": violation}
        return loss, critics, metrics

    def proximal_layer(
        self,
        q: torch.Tensor,
        q_func: nn.Module,
        observations: TorchObservation,
        actions: torch.Tensor,
        target: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The constrained values of a free critic, the pull towards them, and ``C(u)``.

        Works on the values ``q``, ``(B, K)``, with the known cost added back, in units of
        the reward spread, so that the multiplier and the violation have no unit.
        ``target`` is that of the logged ``actions``, both ``(B, 1)``.
        """
        scale, multiplier = self._scale, self._modules.state.multiplier
        module = unwrap_ddp_model(q_func)
        assert isinstance(module, ProjectedQFunction)
        level = module.level
        cost = module.known_cost(observations).to(q.dtype).expand_as(q)
        free = (q + cost - level) / scale
        bounds: torch.Tensor | float = 0.0
        if not self._is_cone:
            slope = reward_slope(self._reward_scaler)
            bounds = (self._bounds * slope - level * self._matrix.sum(dim=1)) / scale
        anchor = free
        if self._inner_anchor == "target":
            # The paper steps towards the target, which exists for the logged action
            # only; elsewhere the residual is taken as zero.
            logged = (target + cost.gather(1, actions) - level) / scale
            anchor = free.detach().scatter(1, actions, logged.to(free))
        start = free if self._warm_start else torch.zeros_like(free)
        step: Any = 1.0
        if self._inner_step == "lipschitz":
            step = inner_step_size(self._lipschitz, multiplier)
        with torch.set_grad_enabled(not self._implicit_gradient):
            u = self.solve_proximal(start, anchor, multiplier, step, bounds)
        if self._implicit_gradient:
            u = implicit_proximal(free, u, self._matrix, multiplier, bounds=bounds)
        pulled = 0.5 * self._pull * (free - u.detach()).square().sum(dim=1).mean()
        with torch.no_grad():
            violation = penalty(u, self._matrix, bounds).mean()
        return level + scale * u - cost, pulled, violation

    def solve_proximal(
        self,
        start: torch.Tensor,
        anchor: torch.Tensor,
        multiplier: torch.Tensor,
        step: torch.Tensor | float,
        bounds: torch.Tensor | float,
    ) -> torch.Tensor:
        """The inner solver: ``inner_iterations`` proximal-gradient steps, ``(B, K)``."""
        iterations = self._inner_iterations
        return proximal_iterations(
            start, anchor, self._matrix, multiplier, iterations, step, bounds
        )

    def target_values(self, x: TorchObservation) -> list[torch.Tensor]:
        return [q_func(x).q_value for q_func in self._modules.targ_q_funcs]

    def actor_values(
        self, x: TorchObservation, critics: list[torch.Tensor]
    ) -> torch.Tensor:
        exact = [unwrap_ddp_model(q).exact_values(x) for q in self._modules.q_funcs]
        return super().actor_values(x, exact)

    def after_step(self, metrics: dict[str, torch.Tensor]) -> None:
        """The multiplier rises by ``eta C(u)``, between 0 and its cap."""
        multiplier = self._modules.state.multiplier
        raised = multiplier + self._multiplier_learning_rate * metrics["raw_violation"]
        multiplier.copy_(raised.clamp(0.0, self._max_multiplier))
        metrics["multiplier"] = multiplier
