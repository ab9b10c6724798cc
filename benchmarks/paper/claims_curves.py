"""Claims of section IV on training: what happens at every step, and at refreshes."""

from __future__ import annotations

import numpy as np

from ..engine import bootstrap_mean
from .curves import REFRESH
from .evidence import Evidence, FloatArray, MissingError
from .ledger import CONDITION, FAILS, HOLDS, Claim, Judgement

__all__ = ["CURVE_CLAIMS"]


def _always_violating(evidence: Evidence) -> Judgement:
    least = {
        name: min(evidence.each_curve(name, "monotonicity_errors", _minimum).values())
        for name in ("IQL", "CQL")
    }
    text = "fewest errors at any look: " + ", ".join(
        f"{name} {value:.0f}" for name, value in least.items()
    )
    return Judgement(HOLDS if min(least.values()) > 0 else FAILS, text)


def _minimum(steps: FloatArray, figures: FloatArray) -> float:
    return float(figures.min())


def _spikes(evidence: Evidence) -> Judgement:
    def jump(steps: FloatArray, figures: FloatArray) -> float:
        """Errors in the 50 steps after a copied target against the 50 before."""
        ratios = []
        for refresh in np.arange(2 * REFRESH, steps.max() - 50, REFRESH):
            before = figures[(steps > refresh - 50) & (steps <= refresh)]
            after = figures[(steps > refresh) & (steps <= refresh + 50)]
            if len(before) and len(after):
                ratios.append(after.mean() / max(before.mean(), 1.0))
        if not ratios:
            raise MissingError("training curves that span target refreshes")
        return float(np.mean(ratios))

    parts, verdicts = [], []
    for name in ("DQN", "CQL", "CQL-default"):
        ratio = bootstrap_mean(
            list(evidence.each_curve(name, "monotonicity_errors", jump).values())
        )
        parts.append(f"{name} {ratio.format(3)}")
        verdicts.append(ratio.low > 1.1)
    text = (
        "errors in the 50 steps after a refresh over those in the 50 before: "
        f"{', '.join(parts)} (IQL has no refreshes: its target follows at every step)"
    )
    if all(verdicts):
        return Judgement(HOLDS, text)
    return Judgement(CONDITION if any(verdicts) else FAILS, text)


def _zero_at_every_step(evidence: Evidence) -> Judgement:
    parts, worst = [], 0.0
    for name in ("Ours-paper", "Ours-Monotone", "Ours-Concave"):
        errors = evidence.each_curve(name, "own_errors", _maximum)
        checked = sum(evidence.each_curve(name, "checked", _maximum).values())
        worst = max(worst, *errors.values())
        parts.append(f"{name} {max(errors.values()):.0f} in {checked:,.0f} checks")
    proximal = evidence.mean(evidence.table2("full", "monotonicity_errors"))
    text = (
        "most violated inequalities of the exactly projected critic's own shape "
        f"after any gradient step: {', '.join(parts)}; the proximal critic of the full "
        f"method ends with {proximal.format(0)} errors"
    )
    if worst > 0.0:
        return Judgement(FAILS, text)
    if proximal.high == 0.0:
        return Judgement(HOLDS, text)
    return Judgement(CONDITION, text + "; condition: the exact projection is deployed")


def _maximum(steps: FloatArray, figures: FloatArray) -> float:
    return float(figures.max())


def _similar_rate(evidence: Evidence) -> Judgement:
    def half_time(steps: FloatArray, figures: FloatArray) -> float:
        """Steps until the residual has come half way down to its last level."""
        last = figures[steps > 0.9 * steps.max()].mean()
        half = (figures[0] + last) / 2.0
        return float(steps[np.argmax(figures <= half)])

    times = {
        name: float(
            np.mean(list(evidence.each_curve(name, "residual", half_time).values()))
        )
        for name in ("IQL", "CQL", "Ours-paper")
    }
    text = "steps until half of the way down: " + ", ".join(
        f"{name} {value:.0f}" for name, value in times.items()
    )
    similar = max(times.values()) <= 2.0 * min(times.values())
    return Judgement(HOLDS if similar else FAILS, text)


CURVE_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "results / at every gradient step",
        "Section I, contribution ii; section V",
        "The constraint is respected at every gradient step.",
        "curves",
        "fails if a check after any step of any seed finds a violated inequality of the "
        "exactly projected critic; under a condition if the proximal one has errors",
        _zero_at_every_step,
    ),
    Claim(
        "results / always violating",
        "Section IV",
        "The baselines violate the constraint throughout training.",
        "curves",
        "holds if neither IQL nor CQL is ever seen without errors",
        _always_violating,
    ),
    Claim(
        "results / spikes at refreshes",
        "Section IV",
        "Their violations spike when the target network is refreshed.",
        "curves",
        "holds if for DQN, CQL and CQL-default the ratio's interval lies above 1.1; "
        "under a "
        "condition if for some",
        _spikes,
    ),
    Claim(
        "results / similar residuals",
        "Section IV",
        "The Bellman residual falls at a similar rate for all.",
        "curves",
        "holds if the steps to half of the way down differ by at most a factor of 2",
        _similar_rate,
    ),
)
