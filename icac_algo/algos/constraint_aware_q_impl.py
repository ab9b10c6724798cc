"""One update of ConstraintAwareQ: Algorithm 1, each piece with its switch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed
from d3rlpy.algos.qlearning.base import QLearningAlgoImplBase
from d3rlpy.models.torch import CategoricalPolicy
from d3rlpy.optimizers import OptimizerWrapper
from d3rlpy.torch_utility import Modules, TorchMiniBatch, unwrap_ddp_model
from d3rlpy.types import Shape, TorchObservation
from torch import nn

from ..critics import ShapedCritic, Standardisation, StandardisedCritic, reward_slope
from ..decisions import best_actions
from .base import ActorCriticImpl
from .polyak import Follower, polyak_update
from .proximal import (
    implicit_proximal,
    inner_step_size,
    penalty,
    penalty_lipschitz,
    proximal_iterations,
)
from .torch_batches import all_terminal

if TYPE_CHECKING:
    from .constraint_aware_q import ConstraintAwareQConfig

__all__ = [
    "ConstraintAwareQImpl",
    "ConstraintAwareQModules",
    "TrainingState",
]


class TrainingState(nn.Module):
    """Where training stands beside the networks, kept where checkpoints keep it."""

    multiplier: torch.Tensor
    updates: torch.Tensor
    standardised: torch.Tensor

    def __init__(self, initial_lambda: float):
        super().__init__()
        self.register_buffer("multiplier", torch.tensor(float(initial_lambda)))
        self.register_buffer("updates", torch.tensor(0))
        self.register_buffer("standardised", torch.tensor(False))


@dataclasses.dataclass(frozen=True)
class ConstraintAwareQModules(Modules):
    """Everything a checkpoint holds."""

    q_funcs: nn.ModuleList
    targ_q_funcs: nn.ModuleList
    average_q_funcs: nn.ModuleList
    policy: CategoricalPolicy
    state: TrainingState
    critic_optim: OptimizerWrapper
    actor_optim: OptimizerWrapper

    def set_train(self) -> None:
        """Only what is trained: the copies stay in evaluation mode."""
        for trained in (self.q_funcs, self.policy):
            if not trained.training:
                trained.train()


class ConstraintAwareQImpl(ActorCriticImpl):
    """The torch side of :class:`~icac_algo.ConstraintAwareQ`."""

    _modules: ConstraintAwareQModules

    def __init__(
        self,
        observation_shape: Shape,
        action_size: int,
        modules: ConstraintAwareQModules,
        config: ConstraintAwareQConfig,
        device: str,
    ):
        super().__init__(
            observation_shape=observation_shape,
            action_size=action_size,
            modules=modules,
            device=device,
        )
        self._config = config
        self._constraint = config.shape
        self._is_euclidean = config.projection == "euclidean"
        if self._is_euclidean:
            self._prepare_proximal_layer(config.constraint.positions(action_size))
        for copies in (modules.targ_q_funcs, modules.average_q_funcs):
            # Only ever read.
            copies.eval()
        self._target = Follower(modules.targ_q_funcs, modules.q_funcs)
        self._average = Follower(modules.average_q_funcs, modules.q_funcs)
        self._target.follow(1.0)
        self._average.follow(1.0)

    def _prepare_proximal_layer(self, positions: Any) -> None:
        matrix, bounds = self._constraint.shape_set().inequalities(positions)
        options: Any = {"dtype": torch.float32, "device": self._device}
        self._matrix = torch.as_tensor(matrix, **options)
        self._bounds = torch.as_tensor(bounds, **options)
        self._is_cone = self._constraint.shape_set().is_cone
        self._lipschitz = penalty_lipschitz(self._matrix)

    # -- update ----------------------------------------------------------------

    def inner_update(self, batch: TorchMiniBatch, grad_step: int) -> dict[str, float]:
        if not self.standardised:
            self.standardise(
                Standardisation.of_batch(
                    batch.rewards, batch.terminals, self._config.gamma
                )
            )
        critic_loss, values, violation = self._critic_loss(batch)
        actor_loss = self._actor_loss(batch, values)
        self._modules.critic_optim.zero_grad()
        self._modules.actor_optim.zero_grad()
        # Critic and actor share no parameters: one pass backward serves both.
        (critic_loss + actor_loss).backward()
        self._modules.critic_optim.step()
        self._modules.actor_optim.step()
        metrics = {"critic_loss": critic_loss.detach(), "actor_loss": actor_loss.detach()}
        if violation is not None:
            self._update_dual(violation)
            metrics["raw_violation"] = violation
            metrics["lambda"] = self._modules.state.multiplier
        self._modules.state.updates += 1
        self._move_copies()
        return {name: float(value) for name, value in metrics.items()}

    def _critic_loss(
        self, batch: TorchMiniBatch
    ) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor | None]:
        """The loss, every critic's values ``(B, K)``, and ``C(u)`` (euclidean)."""
        target = self._bellman_target(batch)
        actions = batch.actions.long().view(-1, 1)
        losses, critics, violations = [], [], []
        for q_func in self._modules.q_funcs:
            values = q_func(batch.observations).q_value
            if self._is_euclidean:
                values, pulled, violation = self.proximal_layer(
                    values, q_func, batch.observations, actions, target
                )
                losses.append(pulled)
                violations.append(violation)
            residual = (values.gather(1, actions) - target) / self._scale
            losses.append(0.5 * residual.square().mean())
            critics.append(values)
        loss = losses[0] if len(losses) == 1 else torch.stack(losses).sum()
        if not violations:
            return loss, critics, None
        return loss, critics, _mean_over_processes(torch.stack(violations).mean())

    @torch.no_grad()
    def _bellman_target(self, batch: TorchMiniBatch) -> torch.Tensor:
        """``r + gamma (1 - done) max_a Qbar(s', a)`` with the shaped target critic."""
        if all_terminal(batch):
            return batch.rewards
        values = torch.stack(
            [
                q_func(batch.next_observations).q_value
                for q_func in self._modules.targ_q_funcs
            ]
        )
        best = values.mean(dim=0).argmax(dim=1, keepdim=True)
        value = values.amin(dim=0).gather(1, best)
        discount = self._config.gamma**batch.intervals
        return batch.rewards + discount * (1.0 - batch.terminals) * value

    def proximal_layer(
        self,
        q: torch.Tensor,
        q_func: nn.Module,
        observations: TorchObservation,
        actions: torch.Tensor,
        target: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The constrained values of a free critic, the pull towards them, and ``C(u)``.

        Works on the values with the known cost added back, in units of the reward
        spread, so that lambda and the violation have no unit.
        """
        config, scale = self._config, self._scale
        lam = self._modules.state.multiplier
        module = unwrap_ddp_model(q_func)
        level = module.level
        cost = module.known_cost(observations).to(q.dtype).expand_as(q)
        free = (q + cost - level) / scale
        bounds: torch.Tensor | float = 0.0
        if not self._is_cone:
            level_rows = level * self._matrix.sum(dim=1)
            slope = reward_slope(config.reward_scaler)
            bounds = (self._bounds * slope - level_rows) / scale
        anchor = free
        if config.inner_anchor == "target":
            # The paper steps towards the target, which exists for the logged action
            # only; elsewhere the residual is taken as zero.
            logged = (target + cost.gather(1, actions) - level) / scale
            anchor = free.detach().scatter(1, actions, logged.to(free))
        start = free if config.warm_start else torch.zeros_like(free)
        step: Any = 1.0
        if config.inner_step == "lipschitz":
            step = inner_step_size(self._lipschitz, lam)
        with torch.set_grad_enabled(not config.implicit_gradient):
            u = self.solve_proximal(start, anchor, lam, step, bounds)
        if config.implicit_gradient:
            u = implicit_proximal(free, u, self._matrix, lam, bounds=bounds)
        pulled = 0.5 * config.pull * (free - u.detach()).square().sum(dim=1).mean()
        with torch.no_grad():
            violation = penalty(u, self._matrix, bounds).mean()
        return level + scale * u - cost, pulled, violation

    def solve_proximal(
        self,
        start: torch.Tensor,
        anchor: torch.Tensor,
        lam: torch.Tensor,
        step: torch.Tensor | float,
        bounds: torch.Tensor | float,
    ) -> torch.Tensor:
        """The inner solver: ``inner_iterations`` proximal-gradient steps, ``(B, K)``."""
        iterations = self._config.inner_iterations
        return proximal_iterations(
            start, anchor, self._matrix, lam, iterations, step, bounds
        )

    def _update_dual(self, violation: torch.Tensor) -> None:
        """``lambda <- [lambda + eta C(u)]``, between 0 and its cap."""
        config, multiplier = self._config, self._modules.state.multiplier
        raised = multiplier + config.dual_learning_rate * violation
        multiplier.copy_(raised.clamp(0.0, config.max_lambda))

    def _actor_loss(
        self, batch: TorchMiniBatch, critics: list[torch.Tensor]
    ) -> torch.Tensor:
        r"""What raises :math:`E_\pi[Q - \alpha \log\pi]` (equation 8), Q fixed.

        Args:
            batch: B transitions.
            critics: values that the critics were just trained at, each ``(B, K)``; they
                have the shape, but for a euclidean critic, which is projected here.
        """
        alpha = self._config.entropy_temperature
        with torch.no_grad():
            if self._is_euclidean:
                critics = [
                    unwrap_ddp_model(q_func).exact_values(batch.observations)
                    for q_func in self._modules.q_funcs
                ]
            q = critics[0] if len(critics) == 1 else torch.stack(critics).mean(dim=0)
            q = (q - q.mean(dim=1, keepdim=True)) / self._scale
        distribution = self._modules.policy(batch.observations)
        log_probs = distribution.logits
        if self._config.actor_gradient == "exact":
            return (log_probs.exp() * (alpha * log_probs - q)).sum(dim=1).mean()
        sampled = distribution.sample()[:, None]
        log_prob = log_probs.gather(1, sampled)
        advantage = q.gather(1, sampled) - alpha * log_prob.detach()
        return -(log_prob * advantage).mean()

    def _move_copies(self) -> None:
        """Moves the target and the deployed average towards the critic."""
        self._target.follow(self._config.tau)
        # A window that grows with training: rate 1 / (window * updates).
        count = float(self._modules.state.updates) * self._config.average_window
        self._average.follow(min(1.0, 1.0 / count) if count > 0.0 else 1.0)

    # -- level and scale -------------------------------------------------------

    @property
    def standardised(self) -> bool:
        """Whether level and scale of Q have been set."""
        return bool(self._modules.state.standardised)

    @property
    def _scale(self) -> torch.Tensor:
        q_func = self._modules.targ_q_funcs[0]
        assert isinstance(q_func, StandardisedCritic)
        return q_func.scale

    def standardise(self, standardisation: Standardisation) -> None:
        """Sets what Q is measured from and in, on every copy of the critic."""
        pair = torch.tensor(
            [standardisation.level, standardisation.scale], device=self._device
        )
        level, scale = _mean_over_processes(pair).tolist()
        modules = self._modules
        for copies in (modules.q_funcs, modules.targ_q_funcs, modules.average_q_funcs):
            for q_func in unwrap_ddp_model(copies):
                assert isinstance(q_func, StandardisedCritic)
                q_func.standardise(level, scale)
        modules.state.standardised.fill_(True)

    # -- prediction ------------------------------------------------------------

    def inner_predict_best_action(self, x: TorchObservation) -> torch.Tensor:
        if self._config.greedy == "actor":
            logits = self._modules.policy(x).logits
            return best_actions(logits, self._constraint.favours_last)
        return best_actions(self.action_values(x), self._constraint.favours_last)

    def inner_predict_value(
        self, x: TorchObservation, action: torch.Tensor
    ) -> torch.Tensor:
        return self.action_values(x).gather(1, action.reshape(-1, 1)).reshape(-1)

    def action_values(self, x: TorchObservation) -> torch.Tensor:
        """The deployed critic's values of all actions at once, ``(B, K)``."""
        return self._ensemble_mean(self._modules.average_q_funcs, x)

    def _ensemble_mean(
        self, q_funcs: Iterable[nn.Module], x: TorchObservation
    ) -> torch.Tensor:
        values = [q_func(x).q_value for q_func in q_funcs]
        if len(values) == 1:
            return values[0]
        mean = torch.stack(values).double().mean(dim=0)
        first = next(iter(q_funcs))
        if isinstance(first, ShapedCritic) and self._constraint.known_cost is None:
            positions = self._constraint.positions(self._action_size)
            mean = first.set_in_q().remove_rounding(mean, positions)
        return mean.to(values[0].dtype)

    # -- copying ---------------------------------------------------------------

    def copy_q_function_from(self, impl: QLearningAlgoImplBase) -> None:
        """Also copies level and scale, and deploys the copy."""
        super().copy_q_function_from(impl)
        assert isinstance(impl, ConstraintAwareQImpl)
        modules, other = self._modules, impl._modules
        polyak_update(modules.q_funcs, other.q_funcs, 1.0)
        polyak_update(modules.targ_q_funcs, other.targ_q_funcs, 1.0)
        polyak_update(modules.average_q_funcs, other.average_q_funcs, 1.0)
        modules.state.standardised.copy_(other.state.standardised)


def _mean_over_processes(value: torch.Tensor) -> torch.Tensor:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        value = value.clone()
        torch.distributed.all_reduce(value)
        value = value / torch.distributed.get_world_size()
    return value
