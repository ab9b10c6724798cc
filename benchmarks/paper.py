"""Figures that the paper prints, for comparison only."""

from __future__ import annotations

import dataclasses

__all__ = ["TABLE1", "PaperRow"]


@dataclasses.dataclass(frozen=True)
class PaperRow:
    """A row of the paper's Table I; what its plus-minus means is not stated.

    Args:
        name: the paper's name.
        mean_return: return and its plus-minus.
        regret: normalized regret and its plus-minus.
        errors: monotonicity errors and their plus-minus.
    """

    name: str
    mean_return: tuple[float, float]
    regret: tuple[float, float]
    errors: tuple[float, float]


TABLE1 = (
    PaperRow("Constraint-Aware (ours)", (0.851, 0.006), (0.067, 0.004), (0.0, 0.0)),
    PaperRow("Implicit Q-Learning", (0.782, 0.010), (0.130, 0.007), (211.0, 35.0)),
    PaperRow("Conservative Q-Learning", (0.721, 0.012), (0.195, 0.008), (304.0, 41.0)),
    PaperRow("Behavior Cloning", (0.669, 0.008), (0.245, 0.005), (289.0, 38.0)),
)
