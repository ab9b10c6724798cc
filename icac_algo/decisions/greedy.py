"""The best action by its value, and the one rule for ties."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from ..shapes import Constraint

_RATIO = (math.sqrt(5.0) - 1.0) / 2.0
# .618^40 of the range: as near as float64 can tell the values of a smooth peak apart.
_ITERATIONS = 40
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


def golden_section(
    function: Callable[[torch.Tensor], torch.Tensor],
    lower: torch.Tensor,
    upper: torch.Tensor,
    iterations: int = _ITERATIONS,
) -> torch.Tensor:
    """Where functions with one peak each are largest."""
    left = upper - _RATIO * (upper - lower)
    right = lower + _RATIO * (upper - lower)
    at_left, at_right = function(left), function(right)
    for _ in range(iterations):
        goes_left = at_left >= at_right
        lower = torch.where(goes_left, lower, left)
        upper = torch.where(goes_left, right, upper)
        # One inner point and its value are those of the last interval.
        kept, at_kept = (
            torch.where(goes_left, left, right),
            torch.where(goes_left, at_left, at_right),
        )
        span = _RATIO * (upper - lower)
        fresh = torch.where(goes_left, upper - span, lower + span)
        at_fresh = function(fresh)
        left, right = (
            torch.where(goes_left, fresh, kept),
            torch.where(goes_left, kept, fresh),
        )
        at_left, at_right = (
            torch.where(goes_left, at_fresh, at_kept),
            torch.where(goes_left, at_kept, at_fresh),
        )
    return torch.where(at_left >= at_right, left, right)


def best_continuous_actions(
    function: Callable[[torch.Tensor], torch.Tensor],
    constraint: Constraint,
    count: int,
    device: torch.device | str,
) -> torch.Tensor:
    """The best action of each of ``count`` rows within the constraint's range.

    A monotone or convex function is largest at an end: closed form.  A concave one has
    one peak: golden section.  Otherwise the best of a fine grid is refined by golden
    section, which finds every peak that is wider than a grid step.

    Args:
        function: actions ``(B, M)`` to values ``(B, M)``, row by row.
        constraint: the shape of the function, whose ends are the range.
        count: number of rows, B.
        device: where actions are made.

    Returns:
        actions, float64, ``(B, 1)``; ties go to the end that the prior favours.
    """
    actions = constraint.actions or [0.0, 1.0]
    ends = torch.tensor(
        [[actions[0], actions[-1]]], dtype=torch.float64, device=device
    ).expand(count, 2)
    lower, upper = ends[:, :1], ends[:, 1:]
    shape_set = constraint.shape_set()
    costless = constraint.known_cost is None
    if costless and shape_set.slope_lower >= 0.0:
        return upper.clone()
    if costless and shape_set.slope_upper <= 0.0:
        return lower.clone()
    # A known cost is linear in the action: it changes slopes, but no curvature.
    if shape_set.convex:
        candidates = ends
    elif shape_set.concave:
        peak = golden_section(function, lower, upper)
        candidates = torch.cat([lower, peak, upper], dim=1)
    else:
        share = torch.linspace(0.0, 1.0, _GRID, dtype=torch.float64, device=device)
        grid = lower + (upper - lower) * share
        place = function(grid).argmax(dim=1, keepdim=True)
        around = [
            grid.gather(1, (place + step).clamp(0, _GRID - 1)) for step in (-1, 0, 1)
        ]
        peak = golden_section(function, around[0], around[2])
        candidates = torch.cat([around[1], peak], dim=1)
    best = best_actions(function(candidates), constraint.favours_last)
    return candidates.gather(1, best[:, None])
