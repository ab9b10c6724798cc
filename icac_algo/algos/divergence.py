"""Stops training that has diverged, before anything is saved of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

__all__ = ["DivergenceError", "DivergenceGuard", "refuse_diverged_networks"]


# A loss that begins at zero, as without any reward yet, may become an ordinary one.
_SMALLEST_LOSS = 1e-4
_LARGEST_GROWTH = 1e9


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


class DivergenceGuard:
    """Looks at what every update returns.

    Not every divergence ends in NaN: a critic that saturates may stay finite for ever.
    So a loss may not exceed its first value by a factor that no learning explains (values
    that grow a thousandfold make a squared loss grow a millionfold).
    """

    def __init__(self) -> None:
        self._first: dict[str, float] = {}

    def check(
        self, losses: Mapping[str, float], step: int, saved: Callable[[], str]
    ) -> None:
        """Refuses to go on.

        Args:
            losses: what the update returned.
            step: gradient step of this ``fit``.
            saved: says where the last good state is; asked only if it is needed.

        Raises:
            DivergenceError: a loss or metric is NaN or infinite, or a loss has exploded.
        """
        for name, value in losses.items():
            exploded = False
            if name.endswith("_loss"):
                first = self._first.setdefault(name, max(abs(value), _SMALLEST_LOSS))
                exploded = abs(value) > _LARGEST_GROWTH * first
            if exploded or not math.isfinite(value):
                raise DivergenceError(name, value, step, saved())


def refuse_diverged_networks(algo: Any, step: int, saved: str) -> None:
    """Looks at every network's weights, which a finite loss may have spoilt.

    Raises:
        DivergenceError: a weight is NaN or infinite.
    """
    for module_name, module in algo.impl.modules.get_torch_modules().items():
        for name, weights in module.named_parameters():
            if not torch.isfinite(weights).all():
                bad = weights.detach()[~torch.isfinite(weights)]
                label = f"a weight of {module_name}.{name}"
                raise DivergenceError(label, float(bad[0]), step, saved)
