"""Networks that have diverged: weights that are no numbers any more."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn


class DivergenceError(ArithmeticError):
    """Training has diverged.

    Args:
        quantity: what is NaN, infinite or beyond all proportion.
        value: what it is.
        step: gradient step of this ``fit``, from 1.
        saved: where the last good state is, in words.
    """

    def __init__(self, quantity: str, value: float, step: int, saved: str):
        super().__init__(
            f"training diverged: {quantity} is {value:g} at step {step}; {saved}. A "
            "smaller learning rate, or a reward_scaler for large rewards, may help"
        )
        self.quantity, self.value, self.step = quantity, value, step


def refuse_diverged_networks(
    networks: Mapping[str, nn.Module], step: int, saved: str
) -> None:
    """Raises :class:`DivergenceError` if a weight is NaN or infinite.

    ``step`` is that of this ``fit``, from 1; ``saved`` says where the last good state is.
    """
    for module_name, module in networks.items():
        for name, weights in module.named_parameters():
            if not torch.isfinite(weights).all():
                bad = weights.detach()[~torch.isfinite(weights)]
                label = f"a weight of {module_name}.{name}"
                raise DivergenceError(label, float(bad[0]), step, saved)
