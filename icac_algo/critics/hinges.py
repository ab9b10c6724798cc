"""What a budget is worth for each step to come, as a sum of hinges."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from .parametrization import softplus


class Hinges(nn.Module):
    r"""Values of what is left of a budget, each up to an amount and constant beyond.

    With the amounts :math:`a_j` and the clock :math:`k`, which is 1 at the start,

    .. math:: W(b, k) = k w_0 + \sum_j u_j k \min(b / a_j, 1) + v_j \min(b / a_j, k)

    An amount is that for the whole campaign, and that which so many steps can take.
    With weights that are at least 0 and the same at every clock, W rises and is concave
    in the budget and also in the clock.

    Args:
        amounts: of the budget.
        shaped: whether weights are at least 0.
    """

    amounts: torch.Tensor

    def __init__(self, amounts: Sequence[float], shaped: bool):
        super().__init__()
        self.register_buffer("amounts", torch.tensor(list(amounts)), persistent=False)
        self.shaped = shaped
        self.n_coordinates = 1 + 2 * len(amounts)

    def at(
        self, coordinates: torch.Tensor, left: torch.Tensor, clock: torch.Tensor
    ) -> torch.Tensor:
        """Of coordinates ``(B, n)``, what is left ``(B, M)`` and the clock ``(B, 1)``."""
        level, weights = coordinates[:, :1], coordinates[:, 1:]
        if self.shaped:
            # A budget of 0 is often worth nothing.
            level, weights = softplus(level - 3.0), softplus(weights - 1.0)
        shares = left[:, :, None] / self.amounts.to(left)
        clocks = clock[:, :, None]
        whole, by_step = shares.clamp_max(1.0) * clocks, torch.minimum(shares, clocks)
        terms = torch.cat([whole, by_step], dim=2)
        return clock * level + (terms @ weights[:, :, None])[:, :, 0]
