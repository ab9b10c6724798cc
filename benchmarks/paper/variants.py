"""The nine variants of Table II, each a code path of its own.

All share network, optimizer, schedule, batches and steps with Table I's rows, and the
paper's prior, ``Monotone``.  Unless a variant says otherwise: Euclidean proximal layer,
one warm-started inner step, implicit gradient, dual lambda, spectral normalization.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from icac_algo import ConstraintAwareQConfig, Euclidean, Monotone

from ..learners import constraint_aware_q
from .ablations import AblatedQConfig


@dataclasses.dataclass(frozen=True)
class Variant:
    """One row of Table II."""

    name: str  # short name, key of ``paper_figures.TABLE2``
    counted: str  # the critic that the variant deploys, whose errors are counted
    #: Of the critic, where they differ from the full method.
    switches: dict[str, Any] = dataclasses.field(default_factory=dict)
    ablation: str = ""  # a name in ``ABLATIONS``, if it is another algorithm
    same_as: str = ""  # the variant that this one is identical to, if any

    @property
    def critics(self) -> tuple[str, ...]:
        """What is measured of it; where nothing is projected, the raw critic alone."""
        if self.counted == "proximal":
            return ("raw", "proximal", "exact")
        return ("raw", "actor") if self.counted == "actor" else ("raw",)

    def make(self, steps: int) -> ConstraintAwareQConfig:
        switches = {"pull": 0.0, "spectral_norm": True, **self.switches}
        made: ConstraintAwareQConfig = constraint_aware_q(
            constraint=Monotone(), critic=Euclidean(**switches), actor="network"
        )(steps)
        if not self.ablation:
            return made
        settings = {f.name: getattr(made, f.name) for f in dataclasses.fields(made)}
        return AblatedQConfig(ablation=self.ablation, **settings)


VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        # One warm-started step, as the text says.
        Variant("full", "proximal"),
        # Fixed: no dual update.
        Variant(
            "lambda 0.01",
            "proximal",
            {"multiplier": 0.01, "multiplier_learning_rate": 0.0},
        ),
        Variant(
            "lambda 10",
            "proximal",
            {"multiplier": 10.0, "multiplier_learning_rate": 0.0},
        ),
        Variant("soft penalty", "raw", ablation="soft penalty"),
        Variant("no warm start", "proximal", ablation="cold start"),
        # The paper prints different numbers for this and the full method.
        Variant("1 inner iteration", "proximal", same_as="full"),
        Variant("5 inner iterations", "proximal", {"inner_iterations": 5}),
        Variant("no spectral norm", "proximal", {"spectral_norm": False}),
        Variant("actor only", "actor", ablation="actor only"),
    )
}
