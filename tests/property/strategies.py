"""Shapes over any actions, and by how much values miss them."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st

from icac_algo import Concave, Constraint, KnownCost, Monotone, MonotoneConcave

MODEST = settings(max_examples=30, deadline=None, derandomize=True, database=None)

DIRECTED = (Monotone, MonotoneConcave)
#: Every shape that asks for something, in both directions.
SHAPES: list[Constraint] = [
    Concave(),
    *(shape(increasing=up) for shape in DIRECTED for up in (True, False)),
]

seeds = st.integers(0, 2**31)


def over(
    shape: Constraint, actions: list[float] | None, offset: KnownCost | None = None
) -> Constraint:
    """The same shape over other actions."""
    kwargs = {"increasing": shape.increasing} if isinstance(shape, DIRECTED) else {}
    return type(shape)(actions=actions, offset=offset, **kwargs)


@st.composite
def placed(draw: st.DrawFn, shape: Constraint, size: int) -> Constraint:
    """The shape over equally or unequally spaced actions."""
    if draw(st.booleans()):
        return shape
    # From a seed: hypothesis takes long over a hundred numbers.
    gaps = np.random.default_rng(draw(seeds)).uniform(0.1, 1.0, size)
    return over(shape, list(np.cumsum(gaps) - 3.0))


def shortfall(
    constraint: Constraint, values: torch.Tensor, cost: torch.Tensor | float = 0.0
) -> torch.Tensor:
    """By how much each row of ``values + cost`` misses the inequalities; at least 0."""
    matrix = constraint.inequalities(constraint.positions(values.shape[1]))
    if len(matrix) == 0:
        return torch.zeros(len(values))
    rows = torch.as_tensor(matrix / np.abs(matrix).max(axis=1, keepdims=True))
    return (-((values.double() + cost) @ rows.T)).amax(dim=1).clamp(min=0.0)
