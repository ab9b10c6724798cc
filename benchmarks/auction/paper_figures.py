"""Figures that the paper prints, for comparison only."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class PaperRow:
    """A row of the paper's Table I or II; what its plus-minus means is not stated."""

    name: str  # the paper's name
    mean_return: tuple[float, float]  # return and its plus-minus
    regret: tuple[float, float]  # normalized regret and its plus-minus
    errors: tuple[float, float]  # monotonicity errors and their plus-minus
    residual: float | None = None  # Bellman residual at convergence (Table II only)

    @property
    def cells(self) -> list[str]:
        """Return, regret and errors, as tables show them."""
        pairs = ((self.mean_return, 3), (self.regret, 3), (self.errors, 0))
        return [f"{mean:.{n}f} ± {spread:.{n}f}" for (mean, spread), n in pairs]

    @property
    def implied_optimum(self) -> float:
        """``return / (1 - regret)``: what the row itself takes the optimum to be."""
        return self.mean_return[0] / (1.0 - self.regret[0])


TABLE1 = (
    PaperRow("Constraint-Aware (ours)", (0.851, 0.006), (0.067, 0.004), (0.0, 0.0)),
    PaperRow("Implicit Q-Learning", (0.782, 0.010), (0.130, 0.007), (211.0, 35.0)),
    PaperRow("Conservative Q-Learning", (0.721, 0.012), (0.195, 0.008), (304.0, 41.0)),
    PaperRow("Behavior Cloning", (0.669, 0.008), (0.245, 0.005), (289.0, 38.0)),
)

#: Keys are the names in ``benchmarks.paper.variants.VARIANTS``.
TABLE2 = {
    "full": PaperRow("Full method", (0.851, 0.006), (0.067, 0.004), (0.0, 0.0), 0.031),
    "lambda 0.01": PaperRow(
        "Fixed lambda = 0.01", (0.808, 0.008), (0.101, 0.005), (97.0, 22.0), 0.029
    ),
    "lambda 10": PaperRow(
        "Fixed lambda = 10", (0.742, 0.011), (0.183, 0.007), (0.0, 0.0), 0.099
    ),
    "soft penalty": PaperRow(
        "Soft penalty", (0.789, 0.009), (0.144, 0.006), (154.0, 27.0), 0.056
    ),
    "no warm start": PaperRow(
        "No warm-start", (0.845, 0.007), (0.073, 0.004), (0.0, 0.0), 0.031
    ),
    "1 inner iteration": PaperRow(
        "1 inner iteration", (0.846, 0.007), (0.071, 0.004), (0.0, 0.0), 0.035
    ),
    "5 inner iterations": PaperRow(
        "5 inner iterations", (0.852, 0.006), (0.066, 0.004), (0.0, 0.0), 0.030
    ),
    "no spectral norm": PaperRow(
        "No spectral norm", (0.827, 0.007), (0.093, 0.006), (0.0, 0.0), 0.041
    ),
    "actor only": PaperRow(
        "Actor-only constraint", (0.792, 0.010), (0.139, 0.006), (131.0, 5.0), 0.058
    ),
}
