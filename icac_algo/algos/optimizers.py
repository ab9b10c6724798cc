"""Optimizers as d3rlpy's factories make them, in PyTorch's fused form."""

from __future__ import annotations

import torch
from d3rlpy.optimizers import OptimizerWrapper
from d3rlpy.optimizers.optimizers import OptimizerFactory
from torch import nn

__all__ = ["create_optimizer"]


def create_optimizer(
    factory: OptimizerFactory, learning_rate: float, *modules: nn.Module
) -> OptimizerWrapper:
    """An optimizer over all parameters of some modules.

    Adam and AdamW take their fused form, one kernel for all parameters instead of a
    dozen for each; of a small network's update the unfused step is a third.

    Args:
        factory: a d3rlpy optimizer factory.
        learning_rate: of all parameters.
        modules: what is optimised.
    """
    named = [pair for module in modules for pair in module.named_modules()]
    wrapper = factory.create(named, lr=learning_rate, compiled=False)
    if isinstance(wrapper.optim, (torch.optim.Adam, torch.optim.AdamW)):
        for group in wrapper.optim.param_groups:
            group["fused"], group["foreach"] = True, False
    return wrapper
