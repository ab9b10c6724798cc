"""One update of ConstraintAwareQ over discrete actions, and what its predictions are."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import torch
import torch.distributed
import torch.nn.functional as F
from d3rlpy.algos.qlearning.base import QLearningAlgoImplBase
from d3rlpy.optimizers import OptimizerWrapper
from d3rlpy.torch_utility import Modules, TorchMiniBatch, unwrap_ddp_model
from d3rlpy.types import Shape, TorchObservation
from torch import nn

from ..critics import (
    ShapedCritic,
    ShapedQFunction,
    Standardisation,
    StandardisedCritic,
    Trunk,
)
from ..decisions import best_actions
from ..shapes import Constraint
from .base import ActorCriticImpl
from .batches import TrainingBatch
from .networks import Follower
from .processes import is_distributed, world_size


class TrainingState(nn.Module):
    """Where training stands beside the networks, kept where checkpoints keep it."""

    multiplier: torch.Tensor
    updates: torch.Tensor
    standardised: torch.Tensor
    #: Lowest and highest action that a policy may take, in units of actions.
    support: torch.Tensor
    #: Decoupled weight decay of the critic.
    decay: torch.Tensor

    def __init__(self, multiplier: float, actions: Sequence[float]):
        super().__init__()
        ends = torch.tensor([actions[0], actions[-1]], dtype=torch.float64)
        self.register_buffer("support", ends)
        self.register_buffer("decay", torch.zeros((), dtype=torch.float64))
        self.register_buffer("multiplier", torch.tensor(float(multiplier)))
        self.register_buffer("updates", torch.tensor(0))
        self.register_buffer("standardised", torch.tensor(False))


@dataclasses.dataclass(frozen=True)
class ConstraintAwareQModules(Modules):
    """Everything a checkpoint holds; no policy and actor_optim without a network."""

    q_funcs: nn.ModuleList
    targ_q_funcs: nn.ModuleList
    average_q_funcs: nn.ModuleList
    state: TrainingState
    critic_optim: OptimizerWrapper
    policy: nn.Module | None = None
    actor_optim: OptimizerWrapper | None = None

    def set_train(self) -> None:
        """Only what is trained: the copies stay in evaluation mode."""
        for trained in (self.q_funcs, self.policy):
            if trained is not None and not trained.training:
                trained.train()


class ConstraintAwareQImpl(ActorCriticImpl):
    """The torch side of :class:`~icac_algo.ConstraintAwareQ` over discrete actions.

    Arguments are as in d3rlpy, or fields of the config; ``greedy`` is what is greedy for,
    the ``"critic"`` or the ``"actor"``.
    """

    _modules: ConstraintAwareQModules

    def __init__(
        self,
        observation_shape: Shape,
        action_size: int,
        modules: ConstraintAwareQModules,
        constraint: Constraint,
        gamma: float,
        tau: float,
        average_window: float,
        actor: str,
        greedy: str,
        entropy_temperature: float,
        device: str,
    ):
        super().__init__(
            observation_shape=observation_shape,
            action_size=action_size,
            modules=modules,
            device=device,
        )
        self._constraint = constraint
        self._gamma, self._tau = gamma, tau
        self._average_window = average_window
        self._actor, self._greedy = actor, greedy
        self._entropy_temperature = entropy_temperature
        for copies in (modules.targ_q_funcs, modules.average_q_funcs):
            # Only ever read.
            copies.eval()
        self._trained = [*modules.q_funcs.parameters()]
        if modules.policy is not None:
            self._trained += modules.policy.parameters()
        decayed = decayed_parameters(modules.q_funcs)
        self._decayed = [parameter for parameter, _ in decayed]
        self._decay_shares = [share for _, share in decayed]
        self._target = Follower(modules.targ_q_funcs, modules.q_funcs)
        self._average = Follower(modules.average_q_funcs, modules.q_funcs)
        self._target.follow(1.0)
        self._average.follow(1.0)
        #: Several critics as one; ``None`` where each is called on its own.
        self._trunk = Trunk.of(modules.q_funcs)
        self._target_trunk = Trunk.of(modules.targ_q_funcs)

    # -- update ----------------------------------------------------------------

    def inner_update(self, batch: TorchMiniBatch, grad_step: int) -> dict[str, float]:
        modules = self._modules
        if not self.standardised:
            self.standardise_by_batch(batch)
        loss, critics, metrics = self.critic_loss(batch)
        for parameter in self._trained:
            # Nothing to add to: cheaper than zeros.
            parameter.grad = None
        if modules.actor_optim is not None:
            actor_loss = self.actor_loss(batch, critics)
            metrics["actor_loss"] = actor_loss.detach()
            # Critic and actor share no parameters: one pass backward serves both.
            loss = loss + actor_loss
        loss.backward()
        if self._trunk is not None:
            self._trunk.collect_gradients()
        self._decay_weights()
        modules.critic_optim.step()
        if modules.actor_optim is not None:
            modules.actor_optim.step()
        self.after_step(metrics)
        modules.state.updates.add_(1)
        self._move_copies()
        return {name: float(value) for name, value in metrics.items()}

    def critic_loss(
        self, batch: TorchMiniBatch
    ) -> tuple[torch.Tensor, list[torch.Tensor], dict[str, torch.Tensor]]:
        """The loss, every critic's values ``(B, K)`` for the actor, and metrics."""
        target = self.bellman_target(batch)
        actions = batch.actions.long().view(-1, 1)
        trunk, q_func = self._trunk, self._modules.q_funcs[0]
        if trunk is not None:
            x = batch.observations
            loss, coordinates = self._stacked_loss(x, actions, target)
            critics = []
            if self._modules.policy is not None:
                x = trunk.repeated(x)
                assert isinstance(q_func, ShapedQFunction)
                critics = trunk.each(q_func.at_coordinates(x, coordinates.detach()))
            return loss, critics, {"critic_loss": loss.detach()}
        critics = [q_func(batch.observations).q_value for q_func in self._modules.q_funcs]
        loss = self.squared_error([q.gather(1, actions) for q in critics], target)
        return loss, critics, {"critic_loss": loss.detach()}

    def _stacked_loss(
        self, x: torch.Tensor, actions: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss of all critics, and their coordinates."""
        trunk, q_func = self._trunk, self._modules.q_funcs[0]
        assert trunk is not None
        assert isinstance(q_func, ShapedQFunction)
        coordinates, rows = trunk.coordinates(x), trunk.repeated
        values, standardised = q_func.standardised(
            rows(x), coordinates, rows(actions), rows(target)
        )
        # A mean over each critic's batch, and a sum over critics.
        loss = F.mse_loss(values, standardised)
        return 0.5 * len(self._modules.q_funcs) * loss, coordinates

    def squared_error(
        self, values: list[torch.Tensor], target: torch.Tensor
    ) -> torch.Tensor:
        """Half of it in units of the reward spread, summed over critics."""
        losses = [0.5 * ((v - target) / self._scale).square().mean() for v in values]
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def bellman_target(self, batch: TorchMiniBatch) -> torch.Tensor:
        """``r + gamma (1 - done) max_a Qbar(s', a)`` with the shaped target critic."""
        if isinstance(batch, TrainingBatch) and batch.is_terminal:
            return batch.rewards
        with torch.no_grad():
            value = self.best_target_value(batch.next_observations)
            goes_on = 1.0 - batch.terminals
            is_one_step = isinstance(batch, TrainingBatch) and batch.is_one_step
            gamma = self._gamma if is_one_step else self._gamma**batch.intervals
            return torch.addcmul(batch.rewards, gamma * goes_on, value)

    def best_target_value(self, x: TorchObservation) -> torch.Tensor:
        """The least of target critics at the best action of their mean, ``(B, 1)``."""
        every = self.target_values(x)
        if len(every) == 1:
            (only,) = every
            allowed = self.supported(only) if self._is_restricted() else only
            return allowed.amax(dim=1, keepdim=True)
        values = torch.stack(every)
        best = best_actions(self.supported(values.mean(dim=0)), self.favours_last)
        return values.amin(dim=0).gather(1, best[:, None])

    def target_values(self, x: TorchObservation) -> list[torch.Tensor]:
        """Every target critic's values of all actions, ``(B, K)``."""
        trunk, targets = self._target_trunk, self._modules.targ_q_funcs
        q_func = targets[0]
        if trunk is None or type(q_func) is not ShapedQFunction:
            return [q_func(x).q_value for q_func in targets]
        values = q_func.at_coordinates(trunk.repeated(x), trunk.coordinates(x))
        return trunk.each(values)

    def actor_loss(
        self, batch: TorchMiniBatch, critics: list[torch.Tensor]
    ) -> torch.Tensor:
        r"""What raises :math:`E_\pi[Q - \alpha \log\pi]` (equation 8), Q fixed."""
        alpha = self._entropy_temperature
        with torch.no_grad():
            q = self.actor_values(batch.observations, critics)
            q = (q - q.mean(dim=1, keepdim=True)) / self._scale
        assert self._modules.policy is not None
        distribution = self._modules.policy(batch.observations)
        log_probs = distribution.logits
        if self._actor == "network":
            return (log_probs.exp() * (alpha * log_probs - q)).sum(dim=1).mean()
        sampled = distribution.sample()[:, None]
        log_prob = log_probs.gather(1, sampled)
        advantage = q.gather(1, sampled) - alpha * log_prob.detach()
        return -(log_prob * advantage).mean()

    def actor_values(
        self, x: TorchObservation, critics: list[torch.Tensor]
    ) -> torch.Tensor:
        """What the actor learns from: values that have the shape, ``(B, K)``."""
        return critics[0] if len(critics) == 1 else torch.stack(critics).mean(dim=0)

    def after_step(self, metrics: dict[str, torch.Tensor]) -> None:
        """Called after the optimizers, with what the update reports."""

    def _decay_weights(self) -> None:
        """Shrinks weights, not biases, as AdamW does (Loshchilov and Hutter, 2019)."""
        decay = float(self._modules.state.decay)
        if decay == 0.0:
            return
        rate = self._modules.critic_optim.optim.param_groups[0]["lr"]
        kept = [1.0 - min(share * rate * decay, 1.0) for share in self._decay_shares]
        with torch.no_grad():
            torch._foreach_mul_(self._decayed, kept)

    def _move_copies(self) -> None:
        """Moves the target and the deployed average towards the critic."""
        self._target.follow(self._tau)
        # A window that grows with training: rate 1 / (window * updates).
        count = float(self._modules.state.updates) * self._average_window
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
        numbers = torch.tensor(standardisation.numbers, device=self._device)
        agreed = mean_over_processes(numbers).tolist()
        modules = self._modules
        for copies in (modules.q_funcs, modules.targ_q_funcs, modules.average_q_funcs):
            for q_func in unwrap_ddp_model(copies):
                assert isinstance(q_func, StandardisedCritic)
                q_func.standardise(*agreed)
        modules.state.standardised.fill_(True)

    def standardise_by_batch(self, batch: TorchMiniBatch) -> None:
        """The same, where no dataset was seen."""
        self.standardise(
            Standardisation.of_batch(batch.rewards, batch.terminals, self._gamma)
        )

    # -- prediction ------------------------------------------------------------

    @functools.cached_property
    def positions(self) -> torch.Tensor:
        """Positions of discrete actions, float64 ``(K,)``."""
        positions = self._constraint.positions(self._action_size)
        return torch.as_tensor(positions).to(self._device)

    def restrict(self, lowest: float, highest: float) -> None:
        """Lets policies take actions from here to there only."""
        ends = torch.tensor([lowest, highest], dtype=torch.float64)
        self._modules.state.support.copy_(ends)

    @functools.cached_property
    def _ends(self) -> tuple[float, float]:
        return float(self.positions[0]), float(self.positions[-1])

    def _is_restricted(self) -> bool:
        """Whether there are actions outside the support."""
        lowest, highest = self._modules.state.support.tolist()
        return bool(lowest > self._ends[0] or highest < self._ends[1])

    def supported(self, values: torch.Tensor) -> torch.Tensor:
        """Values ``(B, K)`` with minus infinity for actions outside the support."""
        lowest, highest = self._modules.state.support
        inside = (self.positions >= lowest) & (self.positions <= highest)
        return torch.where(inside, values, -torch.inf)

    @property
    def favours_last(self) -> bool:
        """Whether a tie between actions goes to the highest one (else the lowest)."""
        return self._constraint.favours_last

    def inner_predict_best_action(self, x: TorchObservation) -> torch.Tensor:
        if self._greedy == "actor" and self._modules.policy is not None:
            logits = self._modules.policy(x).logits
            return best_actions(self.supported(logits), self.favours_last)
        # Where the actor is a softmax of the values, its most likely action is theirs.
        return best_actions(self.supported(self.action_values(x)), self.favours_last)

    def inner_predict_value(
        self, x: TorchObservation, action: torch.Tensor
    ) -> torch.Tensor:
        return self.action_values(x).gather(1, action.reshape(-1, 1)).reshape(-1)

    def inner_sample_action(self, x: TorchObservation) -> torch.Tensor:
        return torch.multinomial(self.probabilities(x), 1, replacement=True)[:, 0]

    def action_values(self, x: TorchObservation) -> torch.Tensor:
        """The deployed critic's values of all actions at once, ``(B, K)``."""
        q_funcs = self._modules.average_q_funcs
        values = [q_func(x).q_value for q_func in q_funcs]
        if len(values) == 1:
            return values[0]
        mean = torch.stack(values).double().mean(dim=0)
        if isinstance(q_funcs[0], ShapedCritic) and self._constraint.known_cost is None:
            positions = self._constraint.positions(self._action_size)
            mean = q_funcs[0].set_in_q().remove_rounding(mean, positions)
        return mean.to(values[0].dtype)

    def probabilities(self, x: TorchObservation) -> torch.Tensor:
        r"""What ``sample_action`` draws from, ``(B, K)``.

        The actor network's, or the maximiser of :math:`E_\pi[Q - \alpha \log\pi]` itself,
        :math:`\mathrm{softmax}(Q / \alpha)`; at :math:`\alpha = 0` the greedy action.
        """
        if self._modules.policy is not None:
            return self.supported(self._modules.policy(x).logits).softmax(dim=1)
        values = self.supported(self.action_values(x))
        if self._entropy_temperature == 0.0:
            best = best_actions(values, self.favours_last)
            every = torch.arange(values.shape[1], device=values.device)
            return (best[:, None] == every).to(values.dtype)
        gaps = (values - values.amax(dim=1, keepdim=True)).double()
        unit = (self._entropy_temperature * self._scale.double()).clamp_min(_SMALLEST)
        return (gaps / unit).softmax(dim=1).to(values.dtype)

    # -- copying ---------------------------------------------------------------

    def copy_q_function_from(self, impl: QLearningAlgoImplBase) -> None:
        """Also copies level, scale and support, and deploys the copy."""
        super().copy_q_function_from(impl)
        assert isinstance(impl, ConstraintAwareQImpl)
        modules, other = self._modules, impl._modules
        for name in ("q_funcs", "targ_q_funcs", "average_q_funcs"):
            copied = getattr(other, name).state_dict()
            getattr(modules, name).load_state_dict(copied)
        modules.state.standardised.copy_(other.state.standardised)
        modules.state.support.copy_(other.state.support)

    def copy_policy_from(self, impl: QLearningAlgoImplBase) -> None:
        """Where the actor is a softmax of the values, copies the critic."""
        if self._has_network_as(impl):
            super().copy_policy_from(impl)
        else:
            self.copy_q_function_from(impl)

    def copy_policy_optim_from(self, impl: QLearningAlgoImplBase) -> None:
        """Nothing to do without an actor network."""
        if self._has_network_as(impl):
            super().copy_policy_optim_from(impl)

    def _has_network_as(self, impl: QLearningAlgoImplBase) -> bool:
        have = self._modules.policy is not None
        if isinstance(impl, ConstraintAwareQImpl):
            others = impl._modules.policy is not None
            if have != others:
                names = {True: "a network", False: "the softmax of its values"}
                raise ValueError(
                    f"algo must have {names[have]} as its actor, as this one has, got "
                    f"{names[others]}"
                )
        return have


def decayed_parameters(q_funcs: nn.ModuleList) -> list[tuple[torch.Tensor, float]]:
    """Weights that decay, and their share of the rate; biases do not."""
    found: list[tuple[torch.Tensor, float]] = []
    for module in q_funcs.modules():
        if isinstance(module, StandardisedCritic):
            found += module.decays()
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            found += [(p, 1.0) for p in module.parameters() if p.dim() > 1]
    return found


# Dividing by less would overflow.
_SMALLEST = 1e-300


def mean_over_processes(value: torch.Tensor) -> torch.Tensor:
    """The mean of each process's value; the value itself where there is one process."""
    if is_distributed():
        value = value.clone()
        torch.distributed.all_reduce(value)
        value = value / world_size()
    return value
