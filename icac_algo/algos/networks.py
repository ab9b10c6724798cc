"""Policies, optimizers and copies of networks, as our algorithms need them."""

from __future__ import annotations

import torch
from d3rlpy.models.encoders import EncoderFactory
from d3rlpy.models.torch import CategoricalPolicy
from d3rlpy.models.torch.encoders import compute_output_size
from d3rlpy.optimizers import OptimizerWrapper
from d3rlpy.optimizers.optimizers import OptimizerFactory
from d3rlpy.torch_utility import unwrap_ddp_model, wrap_model_by_ddp
from d3rlpy.types import Shape, TorchObservation
from torch import nn
from torch.distributions import Categorical


class _UncheckedCategoricalPolicy(CategoricalPolicy):
    """d3rlpy's, without checks of the logits that cost as much as its layers."""

    def forward(self, x: TorchObservation) -> Categorical:
        return Categorical(logits=self._fc(self._encoder(x)), validate_args=False)


def create_policy(
    observation_shape: Shape,
    action_size: int,
    encoder_factory: EncoderFactory,
    device: str,
    enable_ddp: bool,
) -> CategoricalPolicy:
    """As d3rlpy's ``create_categorical_policy``."""
    encoder = encoder_factory.create(observation_shape)
    hidden_size = compute_output_size([observation_shape], encoder)
    policy = _UncheckedCategoricalPolicy(encoder, hidden_size, action_size)
    policy.to(device)
    return wrap_model_by_ddp(policy) if enable_ddp else policy


def create_optimizer(
    factory: OptimizerFactory, learning_rate: float, *modules: nn.Module
) -> OptimizerWrapper:
    """An optimizer over all parameters of some modules.

    Adam and AdamW take their fused form, one kernel for all parameters instead of a
    dozen for each; of a small network's update the unfused step is a third.
    """
    named = [pair for module in modules for pair in module.named_modules()]
    wrapper = factory.create(named, lr=learning_rate, compiled=False)
    if isinstance(wrapper.optim, (torch.optim.Adam, torch.optim.AdamW)):
        for group in wrapper.optim.param_groups:
            group["fused"], group["foreach"] = True, False
    return wrapper


# Set on every copy at once, and never by training.
_FIXED = (
    *("level", "scale", "levels", "scales", "balance", "follows"),
    *("middle", "spread"),
)


class Follower:
    """Moves a copy's parameters towards a network's, and copies its buffers.

    d3rlpy's own sync leaves buffers behind, so that with spectral normalization its
    target silently differs from the critic.
    """

    def __init__(self, copy: nn.Module, source: nn.Module):
        copy, source = unwrap_ddp_model(copy), unwrap_ddp_model(source)
        # Looked up once: walking the modules costs more than moving the numbers.
        self._parameters: list[torch.Tensor] = list(copy.parameters())
        self._followed: list[torch.Tensor] = list(source.parameters())
        if len(self._parameters) != len(self._followed):
            raise ValueError("copy and source must have the same structure")
        kept, moving = dict(copy.named_buffers()), dict(source.named_buffers())
        trained = source.state_dict().keys() & {
            name for name in moving if name.rsplit(".", 1)[-1] not in _FIXED
        }
        self._buffers = [(kept[name], moving[name]) for name in sorted(trained)]

    def follow(self, tau: float) -> None:
        """One step of Polyak averaging: ``copy += tau (source - copy)``."""
        with torch.no_grad():
            torch._foreach_lerp_(self._parameters, self._followed, tau)
            for kept, moved in self._buffers:
                kept.copy_(moved)
