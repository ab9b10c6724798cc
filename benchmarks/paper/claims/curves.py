"""Claims of section IV on training: what happens at every step, and at refreshes."""

from __future__ import annotations

import numpy as np

from ..curves import REFRESH
from ..measurements import FloatArray, Measurements, MissingError, listed, mean
from .verdicts import EXACT, FAILS, Claims, Judgement, judged

CLAIMS = Claims()


@CLAIMS.add(
    "results / at every gradient step", "Section I, contribution ii; section V", "curves"
)
def _zero_at_every_step(m: Measurements) -> Judgement:
    """The constraint is respected at every gradient step.

    Rule: fails if a check after any step of any seed finds a violated inequality of the
    exactly projected critic; under a condition if the proximal one has errors.
    """
    parts, worst = [], 0.0
    for name in ("Ours-paper", "Ours-Monotone", "Ours-Concave"):
        most = max(m.each_curve(name, "own_errors", _largest).values())
        checks = sum(m.each_curve(name, "checked", _largest).values())
        worst = max(worst, most)
        parts.append(f"{name} {most:.0f} in {checks:,.0f} checks")
    proximal = mean(m.table2("full", "monotonicity_errors"))
    text = (
        "most violated inequalities of the exactly projected critic's own shape "
        f"after any gradient step: {', '.join(parts)}; the proximal critic of the full "
        f"method ends with {proximal.format(0)} errors"
    )
    if worst > 0.0:
        return Judgement(FAILS, text)
    return judged(text, proximal.high == 0.0, True, EXACT)


def _largest(steps: FloatArray, figures: FloatArray) -> float:
    return float(figures.max())


@CLAIMS.add("results / always violating", "Section IV", "curves")
def _always_violating(m: Measurements) -> Judgement:
    """The baselines violate the constraint throughout training.

    Rule: holds if neither IQL nor CQL is ever seen without errors.
    """

    def fewest(steps: FloatArray, figures: FloatArray) -> float:
        return float(figures.min())

    least = {
        name: min(m.each_curve(name, "monotonicity_errors", fewest).values())
        for name in ("IQL", "CQL")
    }
    shown = ", ".join(f"{name} {value:.0f}" for name, value in least.items())
    return judged(f"fewest errors at any look: {shown}", min(least.values()) > 0)


@CLAIMS.add("results / spikes at refreshes", "Section IV", "curves")
def _spikes(m: Measurements) -> Judgement:
    """Their violations spike when the target network is refreshed.

    Rule: holds if for DQN, CQL and CQL-default the ratio's interval lies above 1.1; under
    a condition if for some.
    """

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

    jumps = {
        name: mean(m.each_curve(name, "monotonicity_errors", jump))
        for name in ("DQN", "CQL", "CQL-default")
    }
    spikes = [found.low > 1.1 for found in jumps.values()]
    return judged(
        "errors in the 50 steps after a refresh over those in the 50 before: "
        f"{listed(jumps, 3)} (IQL has no refreshes: its target follows at every step)",
        all(spikes),
        any(spikes),
    )


@CLAIMS.add("results / similar residuals", "Section IV", "curves")
def _similar_rate(m: Measurements) -> Judgement:
    """The Bellman residual falls at a similar rate for all.

    Rule: holds if the steps to half of the way down differ by at most a factor of 2.
    """

    def half_time(steps: FloatArray, figures: FloatArray) -> float:
        """Steps until the residual has come half way down to its last level."""
        last = figures[steps > 0.9 * steps.max()].mean()
        half = (figures[0] + last) / 2.0
        return float(steps[np.argmax(figures <= half)])

    times = {
        name: float(np.mean(list(m.each_curve(name, "residual", half_time).values())))
        for name in ("IQL", "CQL", "Ours-paper")
    }
    shown = ", ".join(f"{name} {value:.0f}" for name, value in times.items())
    similar = max(times.values()) <= 2.0 * min(times.values())
    return judged(f"steps until half of the way down: {shown}", similar)
