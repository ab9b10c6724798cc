"""The best action by its value, and the one rule for ties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..shapes import Constraint

# (2 / 64)^5 of the range: as near as float64 can tell the values of a smooth peak apart.
_SPOTS = 65
_ROUNDS = 5
# Where no shape rules out several peaks, they are looked for on so many actions.
_GRID = 129


def best_actions(values: torch.Tensor, favours_last: bool) -> torch.Tensor:
    """The best action of each row, ties to the highest (or lowest) action, ``(B,)``."""
    if favours_last:
        return values.shape[1] - 1 - values.flip(1).argmax(dim=1)
    return values.argmax(dim=1)


def favours_last(algo: Any) -> bool:
    """Whether an algorithm's ``predict`` gives a tie to the highest action.

    With a :class:`~icac_algo.ConstraintAwareQ` its own shape says so; d3rlpy's algorithms
    take the lowest, whatever their critics are.
    """
    return bool(getattr(algo.impl, "favours_last", False))


def peak_between(
    function: Callable[[torch.Tensor], torch.Tensor],
    lower: torch.Tensor,
    upper: torch.Tensor,
    favours_last: bool = False,
) -> torch.Tensor:
    """Where functions with one peak each are largest: ``(B, 1)`` ends to ``(B, 1)``.

    The peak lies between the neighbours of the best of a few equally spaced actions; of
    a flat top it is the end that is favoured.  Few rounds of many actions: an exported
    graph holds every round.
    """
    steps = torch.arange(_SPOTS, dtype=lower.dtype, device=lower.device)
    best = lower
    for _ in range(_ROUNDS):
        gap = (upper - lower) / (_SPOTS - 1)
        spots = torch.minimum(lower + gap * steps, upper)
        best = spots.gather(1, best_actions(function(spots), favours_last)[:, None])
        lower = torch.maximum(lower, best - gap)
        upper = torch.minimum(upper, best + gap)
    return best


def best_continuous_actions(
    function: Callable[[torch.Tensor], torch.Tensor],
    constraint: Constraint,
    ends: torch.Tensor,
) -> torch.Tensor:
    """The best action of each of B rows within a range, float64 ``(B, 1)``.

    A monotone or convex function is largest at an end: closed form.  A concave one has
    one peak, which grids that shrink about their best action find.  Otherwise the first
    grid is a finer one, which finds every peak that is wider than its step.  Ties go to
    the end that the prior favours.

    The function takes actions ``(B, M)`` to values, row by row; ``ends`` are the lowest
    and the highest action, ``(B, 2)``.
    """
    lower, upper = ends[:, :1], ends[:, 1:]
    shape_set = constraint.shape_set()
    costless = constraint.known_cost is None
    if costless and shape_set.slope_lower >= 0.0:
        return upper.clone()
    if costless and shape_set.slope_upper <= 0.0:
        return lower.clone()
    last = constraint.favours_last
    # A known cost is linear in the action: it changes slopes, but no curvature.
    if shape_set.convex:
        return ends.gather(1, best_actions(function(ends), last)[:, None])
    if not shape_set.concave:
        share = torch.linspace(0.0, 1.0, _GRID, dtype=torch.float64, device=ends.device)
        grid = lower + (upper - lower) * share
        place = best_actions(function(grid), last)[:, None]
        lower, upper = (
            grid.gather(1, (place + step).clamp(0, _GRID - 1)) for step in (-1, 1)
        )
    return peak_between(function, lower, upper, last)
