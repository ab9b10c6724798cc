"""Implicit Q-learning for discrete actions, which d3rlpy has for continuous ones only."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from d3rlpy.base import DeviceArg, LearnableConfig, register_learnable
from d3rlpy.constants import ActionSpace
from d3rlpy.models.builders import (
    create_discrete_q_function,
    create_value_function,
)
from d3rlpy.models.encoders import EncoderFactory, make_encoder_field
from d3rlpy.models.q_functions import (
    MeanQFunctionFactory,
    QFunctionFactory,
    make_q_func_field,
)
from d3rlpy.models.torch import CategoricalPolicy, ValueFunction
from d3rlpy.optimizers import OptimizerWrapper
from d3rlpy.optimizers.optimizers import OptimizerFactory, make_optimizer_field
from d3rlpy.torch_utility import Modules, TorchMiniBatch, hard_sync, soft_sync
from d3rlpy.types import Shape, TorchObservation
from torch import nn

from .._util.checks import check_count, check_number
from .._util.fields import cast_fields
from ..critics import ShapedQFunctionFactory
from .base import ActorCriticImpl, DiscreteAlgorithm
from .networks import create_optimizer, create_policy


@dataclasses.dataclass()
class DiscreteIQLConfig(LearnableConfig):
    r"""Implicit Q-Learning with a categorical policy.

    The objectives of d3rlpy's ``IQL``: expectile regression for the value,

    .. math:: L_V(\psi) = \mathbb{E}_{(s, a)}
        [L_2^\tau (Q_{\bar\theta}(s, a) - V_\psi(s))],
        \quad L_2^\tau(u) = |\tau - 1(u < 0)| u^2,

    squared error for the critic, and advantage-weighted regression for the policy,

    .. math:: L_\pi(\phi) = -\mathbb{E}_{(s, a)}
        [\exp(\beta (Q_{\bar\theta} - V_\psi)) \log \pi_\phi(a | s)].

    References:
        * `Kostrikov et al., Offline Reinforcement Learning with Implicit Q-Learning.
          <https://arxiv.org/abs/2110.06169>`_

    Args:
        observation_scaler (d3rlpy.preprocessing.ObservationScaler): Observation
            preprocessor.
        reward_scaler (d3rlpy.preprocessing.RewardScaler): Reward preprocessor.
        actor_learning_rate (float): Learning rate of the policy.
        critic_learning_rate (float): Learning rate of critics and value function.
        actor_optim_factory (d3rlpy.optimizers.OptimizerFactory): Optimizer of the
            policy.
        critic_optim_factory (d3rlpy.optimizers.OptimizerFactory): Optimizer of critics
            and value function.
        actor_encoder_factory (d3rlpy.models.encoders.EncoderFactory): Encoder of the
            policy.
        critic_encoder_factory (d3rlpy.models.encoders.EncoderFactory): Encoder of the
            critics.
        value_encoder_factory (d3rlpy.models.encoders.EncoderFactory): Encoder of the
            value function.
        q_func_factory (d3rlpy.models.q_functions.QFunctionFactory): Critics:
            ``MeanQFunctionFactory`` or :class:`~icac_algo.ShapedQFunctionFactory`.
        batch_size (int): Mini-batch size.
        gamma (float): Discount factor; 1 only for episodes that terminate.
        tau (float): Polyak factor of the target critics.
        n_critics (int): Number of critics.
        expectile (float): :math:`\tau` of the value regression, in (0, 1).
        weight_temp (float): Inverse temperature :math:`\beta`.
        max_weight (float): Largest advantage weight.
        compile_graph (bool): Not supported; refused.

    Raises:
        ValueError: a field is out of bounds.
    """

    actor_learning_rate: float = 3e-4
    critic_learning_rate: float = 3e-4
    actor_optim_factory: OptimizerFactory = make_optimizer_field()
    critic_optim_factory: OptimizerFactory = make_optimizer_field()
    actor_encoder_factory: EncoderFactory = make_encoder_field()
    critic_encoder_factory: EncoderFactory = make_encoder_field()
    value_encoder_factory: EncoderFactory = make_encoder_field()
    q_func_factory: QFunctionFactory = make_q_func_field()
    batch_size: int = 256
    gamma: float = 0.99
    tau: float = 0.005
    n_critics: int = 2
    expectile: float = 0.7
    weight_temp: float = 3.0
    max_weight: float = 100.0

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Checks all fields; also called by ``create``.

        Raises:
            ValueError: a field is out of bounds.
        """
        cast_fields(self)
        for name in ("actor_learning_rate", "critic_learning_rate", "max_weight"):
            check_number(name, getattr(self, name), above=0.0)
        for name in ("batch_size", "n_critics"):
            check_count(name, getattr(self, name))
        check_number("gamma", self.gamma, at_least=0.0, at_most=1.0)
        check_number("tau", self.tau, above=0.0, at_most=1.0)
        check_number("expectile", self.expectile, above=0.0, below=1.0)
        check_number("weight_temp", self.weight_temp, at_least=0.0)
        # The losses here are those of one value for each action, not of quantiles.
        given = self.q_func_factory
        of_means = isinstance(given, MeanQFunctionFactory) or (
            isinstance(given, ShapedQFunctionFactory) and given.n_quantiles is None
        )
        if not of_means:
            raise ValueError(
                "q_func_factory must be a MeanQFunctionFactory or a "
                f"ShapedQFunctionFactory without n_quantiles, got {given!r}"
            )
        if self.compile_graph:
            raise ValueError(
                "compile_graph=True is not supported: it has never been run on a GPU "
                "by this project"
            )

    def create(self, device: DeviceArg = False, enable_ddp: bool = False) -> DiscreteIQL:
        self.validate()
        return DiscreteIQL(self, device, enable_ddp)

    @staticmethod
    def get_type() -> str:
        return "discrete_iql"


@dataclasses.dataclass(frozen=True)
class DiscreteIQLModules(Modules):
    """Everything a checkpoint holds."""

    policy: CategoricalPolicy
    q_funcs: nn.ModuleList
    targ_q_funcs: nn.ModuleList
    value_func: ValueFunction
    actor_optim: OptimizerWrapper
    critic_optim: OptimizerWrapper


class DiscreteIQLImpl(ActorCriticImpl):
    """The torch side of :class:`DiscreteIQL`."""

    _modules: DiscreteIQLModules

    def __init__(
        self,
        observation_shape: Shape,
        action_size: int,
        modules: DiscreteIQLModules,
        q_func_forwarder: Any,
        targ_q_func_forwarder: Any,
        gamma: float,
        tau: float,
        expectile: float,
        weight_temp: float,
        max_weight: float,
        device: str,
    ):
        super().__init__(
            observation_shape=observation_shape,
            action_size=action_size,
            modules=modules,
            device=device,
        )
        self._gamma, self._tau, self._expectile = gamma, tau, expectile
        self._weight_temp, self._max_weight = weight_temp, max_weight
        self._q_func_forwarder = q_func_forwarder
        self._targ_q_func_forwarder = targ_q_func_forwarder
        hard_sync(modules.targ_q_funcs, modules.q_funcs)

    def inner_update(self, batch: TorchMiniBatch, grad_step: int) -> dict[str, float]:
        actions = batch.actions.long().view(-1, 1)
        with torch.no_grad():
            q_target = self._targ_q_func_forwarder.compute_expected_q(
                batch.observations, reduction="min"
            ).gather(1, actions)
            next_value = self._modules.value_func(batch.next_observations)
            discount = self._gamma**batch.intervals
            y = batch.rewards + discount * (1.0 - batch.terminals) * next_value

        self._modules.critic_optim.zero_grad()
        values = self._values(batch)
        difference = q_target - values
        expectile = (self._expectile - (difference < 0.0).float()).abs()
        value_loss = (expectile * difference.square()).mean()
        q = self._q_func_forwarder.compute_expected_q(
            batch.observations, reduction="none"
        )
        chosen = q.gather(2, actions.expand(q.shape[0], -1, 1))
        # Summed over critics, as d3rlpy does.
        q_loss = (chosen - y).square().mean(dim=(1, 2)).sum()
        (q_loss + value_loss).backward()
        self._modules.critic_optim.step()

        self._modules.actor_optim.zero_grad()
        with torch.no_grad():
            advantage = q_target - self._values(batch)
            weight = (self._weight_temp * advantage).exp()
            weight = weight.clamp(max=self._max_weight)
        log_probs = self._modules.policy(batch.observations).logits.gather(1, actions)
        actor_loss = -(weight * log_probs).mean()
        actor_loss.backward()
        self._modules.actor_optim.step()

        soft_sync(self._modules.targ_q_funcs, self._modules.q_funcs, self._tau)
        losses = {
            "critic_loss": q_loss + value_loss,
            "q_loss": q_loss,
            "v_loss": value_loss,
            "actor_loss": actor_loss,
        }
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _values(self, batch: TorchMiniBatch) -> torch.Tensor:
        return self._modules.value_func(batch.observations)

    def inner_predict_best_action(self, x: TorchObservation) -> torch.Tensor:
        return self._modules.policy(x).logits.argmax(dim=1)

    def inner_predict_value(
        self, x: TorchObservation, action: torch.Tensor
    ) -> torch.Tensor:
        values = self._q_func_forwarder.compute_expected_q(x, reduction="mean")
        return values.gather(1, action.reshape(-1, 1)).reshape(-1)


class DiscreteIQL(DiscreteAlgorithm[DiscreteIQLImpl, DiscreteIQLConfig]):
    """See :class:`DiscreteIQLConfig`."""

    def inner_create_impl(self, observation_shape: Shape, action_size: int) -> None:
        config = self._config
        common = {"device": self._device, "enable_ddp": self._enable_ddp}
        policy = create_policy(
            observation_shape, action_size, config.actor_encoder_factory, **common
        )
        (q_funcs, forwarder), (targ_q_funcs, targ_forwarder) = (
            create_discrete_q_function(
                observation_shape,
                action_size,
                config.critic_encoder_factory,
                config.q_func_factory,
                n_ensembles=config.n_critics,
                **common,
            )
            for _ in range(2)
        )
        value_func = create_value_function(
            observation_shape, config.value_encoder_factory, **common
        )
        modules = DiscreteIQLModules(
            policy=policy,
            q_funcs=q_funcs,
            targ_q_funcs=targ_q_funcs,
            value_func=value_func,
            actor_optim=create_optimizer(
                config.actor_optim_factory, config.actor_learning_rate, policy
            ),
            critic_optim=create_optimizer(
                config.critic_optim_factory,
                config.critic_learning_rate,
                q_funcs,
                value_func,
            ),
        )
        self._impl = DiscreteIQLImpl(
            observation_shape=observation_shape,
            action_size=action_size,
            modules=modules,
            q_func_forwarder=forwarder,
            targ_q_func_forwarder=targ_forwarder,
            gamma=config.gamma,
            tau=config.tau,
            expectile=config.expectile,
            weight_temp=config.weight_temp,
            max_weight=config.max_weight,
            device=self._device,
        )

    def get_action_type(self) -> ActionSpace:
        return ActionSpace.DISCRETE


register_learnable(DiscreteIQLConfig)
