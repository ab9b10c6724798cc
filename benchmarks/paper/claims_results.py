"""Claims of section IV: who wins, what violates, what each part of the method buys."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..intervals import Interval, bootstrap_mean
from .evidence import MIN_SEEDS, Evidence, FloatArray, MissingError
from .ledger import CONDITION, FAILS, HOLDS, Claim, Judgement

__all__ = ["RESULT_CLAIMS"]

_IQL = ("IQL", "IQL-default", "DiscreteIQL")
_CQL = ("CQL", "CQL-default")
_BASELINES = (*_IQL, *_CQL)
#: A change of less than this in return is not visible in the paper's three digits.
_NEGLIGIBLE = 5e-4
_EXACTLY = "Ours-paper"

_IF_EXACT = "; condition: the exact projection is deployed"

Judge = Callable[[Evidence], Judgement]


def _below(gap: Interval) -> bool:
    return gap.high < 0.0


def _above(gap: Interval) -> bool:
    return gap.low > 0.0


# -- Table I -----------------------------------------------------------------


def _best_return(evidence: Evidence) -> Judgement:
    ours = evidence.table1(_EXACTLY, "regret")
    gaps = {}
    for name in _BASELINES:
        try:
            gaps[name] = evidence.difference(ours, evidence.table1(name, "regret"))
        except MissingError:
            continue
    if not gaps:
        raise MissingError(f"Table I, baselines, {MIN_SEEDS} seeds in common")
    shown = ", ".join(f"{name} {gap.format(4)}" for name, gap in gaps.items())
    text = f"regret of {_EXACTLY} minus that of each baseline: {shown}"
    if all(_below(gap) for gap in gaps.values()):
        return Judgement(HOLDS, text)
    try:
        concave = evidence.table1("Ours-Concave", "regret")
        others = {
            name: evidence.difference(concave, evidence.table1(name, "regret"))
            for name in gaps
        }
    except MissingError:
        return Judgement(FAILS, text)
    shown = ", ".join(f"{name} {gap.format(5)}" for name, gap in others.items())
    text = f"{text}; of Ours-Concave: {shown}"
    if all(_below(gap) for gap in others.values()):
        condition = "; condition: the prior is a true one and the parametrization ours"
        return Judgement(CONDITION, text + condition)
    return Judgement(FAILS, text)


def _zero_violations(evidence: Evidence) -> Judgement:
    exact = evidence.mean(evidence.table2("full", "monotonicity_errors", "exact"))
    proximal = evidence.mean(evidence.table2("full", "monotonicity_errors"))
    raw = evidence.mean(evidence.table2("full", "monotonicity_errors", "raw"))
    value = evidence.mean(evidence.table2("full", "return", "exact"))
    text = (
        f"full method, errors in 1,000 contexts: raw {raw.format(0)}, proximal (what "
        f"Algorithm 1 computes) {proximal.format(0)}, exactly projected "
        f"{exact.format(0)} (return {value.format(4)}: it always bids 1)"
    )
    if proximal.high == 0.0:
        return Judgement(HOLDS, text)
    if exact.high == 0.0:
        return Judgement(CONDITION, text + _IF_EXACT)
    return Judgement(FAILS, text)


def _iql_over_cql(evidence: Evidence) -> Judgement:
    parts, verdicts = [], []
    for iql, cql in (("IQL", "CQL"), ("IQL-default", "CQL-default")):
        gap = evidence.difference(
            evidence.table1(iql, "regret"), evidence.table1(cql, "regret")
        )
        parts.append(f"{iql} minus {cql} {gap.format(5)}")
        verdicts.append(_below(gap))
    text = "regret: " + ", ".join(parts)
    if all(verdicts):
        return Judgement(HOLDS, text)
    return Judgement(CONDITION if any(verdicts) else FAILS, text)


def _cql_variance(evidence: Evidence) -> Judgement:
    parts, verdicts = [], []
    for iql, cql in (("IQL", "CQL"), ("IQL-default", "CQL-default")):
        spreads = []
        for name in (iql, cql):
            values = list(evidence.table1(name, "return").values())
            if len(values) < MIN_SEEDS:
                raise MissingError(f"Table I, {name}, {MIN_SEEDS} seeds")
            spreads.append(float(np.std(values, ddof=1)))
        parts.append(f"{iql} {spreads[0]:.5f}, {cql} {spreads[1]:.5f}")
        verdicts.append(spreads[1] < spreads[0])
    text = "standard deviation of the return over seeds: " + "; ".join(parts)
    if all(verdicts):
        return Judgement(HOLDS, text)
    return Judgement(CONDITION if any(verdicts) else FAILS, text)


def _cloning_is_last(evidence: Evidence) -> Judgement:
    cloned = evidence.table1("BC (sampled)", "return")
    parts, worse = [f"BC (sampled) {evidence.mean(cloned).format(4)}"], []
    for name in (*_BASELINES, _EXACTLY):
        values = evidence.table1(name, "return")
        parts.append(f"{name} {evidence.mean(values).format(4)}")
        worse.append(_above(evidence.difference(values, cloned)))
    text = "return: " + ", ".join(parts)
    return Judgement(HOLDS if all(worse) else FAILS, text)


def _several_hundred(evidence: Evidence) -> Judgement:
    share = {n: evidence.mean(evidence.table1(n, "monotonicity_errors")) for n in _IQL}
    text = "errors of 4,000 pairs: " + ", ".join(
        f"{name} {value.format(0)}" for name, value in share.items()
    )
    inside = any(200.0 <= value.mean < 1000.0 for value in share.values())
    return Judgement(
        HOLDS if inside else FAILS,
        f"{text}; a critic that knew the truth would show 1,501",
    )


# -- sample efficiency -------------------------------------------------------


def _lead(fraction: float, paper: float) -> Judge:
    def judge(evidence: Evidence) -> Judgement:
        parts, met = [], []
        for name in _IQL:
            gap = evidence.difference(
                evidence.table1(_EXACTLY, "return", fraction=fraction),
                evidence.table1(name, "return", fraction=fraction),
            )
            parts.append(f"over {name} {gap.format(4)}")
            met.append(gap.high >= paper - 0.01 and gap.low <= paper + 0.01)
        text = f"lead of {_EXACTLY} in return: {', '.join(parts)}"
        return Judgement(HOLDS if any(met) else FAILS, text)

    return judge


def _lead_grows(evidence: Evidence) -> Judgement:
    def regrets(name: str, fraction: float) -> dict[int, float]:
        return evidence.table1(name, "regret", fraction=fraction)

    parts, grows = [], {}
    for ours in (_EXACTLY, "Ours-Concave"):
        leads = {}
        for fraction in (1.0, 0.25):
            first, second = regrets(ours, fraction), regrets("IQL", fraction)
            leads[fraction] = {s: second[s] - first[s] for s in first if s in second}
        gap = evidence.difference(leads[0.25], leads[1.0])
        parts.append(
            f"{ours} over IQL: {evidence.mean(leads[1.0]).format(5)} at 100 %, "
            f"{evidence.mean(leads[0.25]).format(5)} at 25 %"
        )
        grows[ours] = _above(gap) and evidence.mean(leads[0.25]).low > 0.0
    text = "lead in return; " + "; ".join(parts)
    if grows[_EXACTLY]:
        return Judgement(HOLDS, text)
    if grows["Ours-Concave"]:
        return Judgement(CONDITION, text + "; condition: a true prior (Concave)")
    return Judgement(FAILS, text)


def _violations_double(evidence: Evidence) -> Judgement:
    parts, doubled = [], []
    for name in ("IQL", "CQL"):
        means = [
            evidence.mean(evidence.table1(name, "monotonicity_errors", fraction=f))
            for f in (1.0, 0.25)
        ]
        parts.append(f"{name} {means[0].format(0)} to {means[1].format(0)}")
        doubled.append(1.5 <= means[1].mean / max(means[0].mean, 1.0) <= 2.5)
    text = "errors from 100 % to 25 % of the log: " + ", ".join(parts)
    return Judgement(HOLDS if all(doubled) else FAILS, text)


# -- training curves ---------------------------------------------------------


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
    from .curves import REFRESH

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
    return Judgement(
        HOLDS if worst == 0.0 else FAILS,
        "most violated inequalities of the deployed critic's own shape after any "
        "gradient "
        "step: " + ", ".join(parts),
    )


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


# -- Table II ----------------------------------------------------------------


def _regret_gap(evidence: Evidence, variant: str, critic: str = "") -> Interval:
    return evidence.difference(
        evidence.table2(variant, "regret", critic), evidence.table2("full", "regret")
    )


def _dual_is_best(evidence: Evidence) -> Judgement:
    from .figures import TABLE2

    gaps = {
        name: _regret_gap(evidence, name)
        for name in TABLE2
        if name not in ("full", "1 inner iteration")
    }
    text = "regret minus the full method's: " + ", ".join(
        f"{name} {gap.format(4)}" for name, gap in gaps.items()
    )
    # Five inner steps are better by .001 in the paper itself.
    worse = [_above(gap) for name, gap in gaps.items() if name != "5 inner iterations"]
    return Judgement(HOLDS if all(worse) else FAILS, text)


def _weak(evidence: Evidence) -> Judgement:
    gap = _regret_gap(evidence, "lambda 0.01")
    errors = evidence.mean(evidence.table2("lambda 0.01", "monotonicity_errors"))
    full = evidence.mean(evidence.table2("full", "monotonicity_errors"))
    text = (
        f"lambda .01: {errors.format(0)} errors (full: {full.format(0)}), regret minus "
        "the "
        f"full method's {gap.format(4)}"
    )
    holds = errors.low > full.high and _above(gap)
    return Judgement(HOLDS if holds else FAILS, text)


def _strong_enforces(evidence: Evidence) -> Judgement:
    errors = evidence.mean(evidence.table2("lambda 10", "monotonicity_errors"))
    size = evidence.mean(evidence.table2("lambda 10", "violation_magnitude"))
    weak = evidence.mean(evidence.table2("lambda 0.01", "violation_magnitude"))
    return Judgement(
        HOLDS if errors.high == 0.0 else FAILS,
        f"lambda 10: {errors.format(0)} errors; mean shortfall {size.format(5)} "
        f"(lambda .01: {weak.format(5)})",
    )


def _strong_residual(evidence: Evidence) -> Judgement:
    strong = evidence.mean(evidence.table2("lambda 10", "residual"))
    full = evidence.mean(evidence.table2("full", "residual"))
    gap = _regret_gap(evidence, "lambda 10")
    text = (
        f"residual {strong.format(4)} against {full.format(4)}; regret minus the full "
        f"method's {gap.format(4)}"
    )
    holds = strong.low > 2.0 * full.high and _above(gap)
    return Judgement(HOLDS if holds else FAILS, text)


def _soft(evidence: Evidence) -> Judgement:
    soft = evidence.mean(evidence.table2("soft penalty", "monotonicity_errors"))
    full = evidence.mean(evidence.table2("full", "monotonicity_errors"))
    size = evidence.mean(evidence.table2("soft penalty", "violation_magnitude"))
    full_size = evidence.mean(evidence.table2("full", "violation_magnitude"))
    text = (
        f"errors of the soft penalty {soft.format(0)}, of the proximal critic "
        f"{full.format(0)}; mean shortfall {size.format(5)} and {full_size.format(5)}"
    )
    if soft.low > full.high and full.high == 0.0:
        return Judgement(HOLDS, text)
    exact = evidence.mean(evidence.table2("full", "monotonicity_errors", "exact"))
    if soft.low > exact.high:
        return Judgement(CONDITION, text + _IF_EXACT)
    return Judgement(FAILS, text)


def _warm_start_time(evidence: Evidence) -> Judgement:
    ratio = evidence.ratio(
        evidence.cost("variant: no warm start"), evidence.cost("Ours-paper")
    )
    return Judgement(
        HOLDS if 1.5 <= ratio <= 2.5 else FAILS,
        f"an update without a warm start takes {ratio:.2f} times as long, at the "
        "tolerance "
        "that one warm step reaches",
    )


def _warm_start_quality(evidence: Evidence) -> Judgement:
    gap = _regret_gap(evidence, "no warm start")
    return Judgement(
        FAILS if gap.high < -_NEGLIGIBLE else HOLDS,
        f"regret without a warm start minus the full method's {gap.format(5)}",
    )


def _five_steps(evidence: Evidence) -> Judgement:
    gap = _regret_gap(evidence, "5 inner iterations")
    negligible = gap.low > -5e-3 and gap.high < 5e-3
    return Judgement(
        HOLDS if negligible else FAILS,
        f"regret with five inner steps minus that with one {gap.format(5)}",
    )


def _spectral_norm(evidence: Evidence) -> Judgement:
    residual = evidence.difference(
        evidence.table2("no spectral norm", "residual"),
        evidence.table2("full", "residual"),
    )
    gap = _regret_gap(evidence, "no spectral norm")
    text = f"without it: residual {residual.format(4)} more, regret {gap.format(5)} more"
    return Judgement(HOLDS if _above(residual) and _above(gap) else FAILS, text)


def _without_spectral_norm(evidence: Evidence) -> Judgement:
    errors = evidence.mean(evidence.table2("no spectral norm", "monotonicity_errors"))
    exact = evidence.mean(
        evidence.table2("no spectral norm", "monotonicity_errors", "exact")
    )
    text = f"errors: proximal {errors.format(0)}, exactly projected {exact.format(0)}"
    if errors.high == 0.0:
        return Judgement(HOLDS, text)
    if exact.high == 0.0:
        return Judgement(CONDITION, text + _IF_EXACT)
    return Judgement(FAILS, text)


def _actor_only(evidence: Evidence) -> Judgement:
    errors = evidence.mean(evidence.table2("actor only", "monotonicity_errors"))
    critic = evidence.mean(evidence.table2("actor only", "monotonicity_errors", "raw"))
    full = evidence.mean(evidence.table2("full", "monotonicity_errors"))
    gap = _regret_gap(evidence, "actor only")
    text = (
        f"errors of the actor's scores {errors.format(0)}, of its free critic "
        f"{critic.format(0)}, of the full method's proximal critic {full.format(0)}; "
        f"regret minus the full method's {gap.format(4)}"
    )
    return Judgement(HOLDS if errors.low > full.high and _above(gap) else FAILS, text)


# -- cost --------------------------------------------------------------------


def _overhead(evidence: Evidence) -> Judgement:
    parts, ratios = [], []
    for name in ("Ours-paper", "Ours-Concave"):
        for rival in ("IQL", "CQL"):
            ratio = evidence.ratio(evidence.cost(name), evidence.cost(rival))
            parts.append(f"{name} / {rival} {ratio:.2f}")
            if name == _EXACTLY:
                ratios.append(ratio)
    text = "time of an update: " + ", ".join(parts)
    if max(ratios) <= 1.5:
        return Judgement(HOLDS, text)
    if min(ratios) <= 1.5:
        return Judgement(CONDITION, text + "; condition: compared with the slower")
    return Judgement(FAILS, text)


def _claim(key: str, place: str, says: str, part: str, rule: str, judge: Judge) -> Claim:
    return Claim(key, place, says, part, rule, judge)


RESULT_CLAIMS: tuple[Claim, ...] = (
    _claim(
        "results / highest return",
        "Abstract; section IV",
        "The constraint-aware agent has the highest return and the lowest regret.",
        "table1",
        "holds if the paper's algorithm has less regret than every IQL and CQL row "
        "(paired "
        "95 % intervals below 0); under a condition if Ours-Concave has",
        _best_return,
    ),
    _claim(
        "results / no violations",
        "Abstract; section IV",
        "It eliminates all monotonicity violations.",
        "table2",
        "holds if its proximal critic has none; under a condition if the exact "
        "projection "
        "has none",
        _zero_violations,
    ),
    _claim(
        "results / at every gradient step",
        "Section I, contribution ii; section V",
        "The constraint is respected at every gradient step.",
        "curves",
        "holds if no check after any step of any seed finds a violated inequality",
        _zero_at_every_step,
    ),
    _claim(
        "results / IQL over CQL",
        "Section IV",
        "IQL narrows the gap that CQL leaves.",
        "table1",
        "holds if IQL has less regret than CQL both tuned and at defaults; under a "
        "condition if in one of the two",
        _iql_over_cql,
    ),
    _claim(
        "results / CQL has lower variance",
        "Section IV",
        "CQL's results vary less than IQL's.",
        "table1",
        "holds if its standard deviation over seeds is smaller both tuned and at "
        "defaults; "
        "under a condition if in one of the two",
        _cql_variance,
    ),
    _claim(
        "results / cloning is last",
        "Section IV",
        "Behaviour cloning is a lower bound on all others.",
        "table1",
        "holds if every other row has a higher return (paired intervals above 0)",
        _cloning_is_last,
    ),
    _claim(
        "results / several hundred errors",
        "Section IV",
        "IQL makes several hundred ordering errors.",
        "table1",
        "holds if an IQL row has between 200 and 1,000",
        _several_hundred,
    ),
    _claim(
        "results / always violating",
        "Section IV",
        "The baselines violate the constraint throughout training.",
        "curves",
        "holds if neither IQL nor CQL is ever seen without errors",
        _always_violating,
    ),
    _claim(
        "results / spikes at refreshes",
        "Section IV",
        "Their violations spike when the target network is refreshed.",
        "curves",
        "holds if for DQN, CQL and CQL-default the ratio's interval lies above 1.1; "
        "under a "
        "condition if for some",
        _spikes,
    ),
    _claim(
        "results / similar residuals",
        "Section IV",
        "The Bellman residual falls at a similar rate for all.",
        "curves",
        "holds if the steps to half of the way down differ by at most a factor of 2",
        _similar_rate,
    ),
    _claim(
        "efficiency / lead of 6.9 %",
        "Section IV",
        "On the full log the lead over IQL is 6.9 % absolute return.",
        "table1",
        "holds if the lead's interval comes within .01 of .069",
        _lead(1.0, 0.069),
    ),
    _claim(
        "efficiency / lead of 12.4 %",
        "Section IV",
        "On a quarter of the log it is 12.4 %.",
        "table1",
        "holds if the lead's interval comes within .01 of .124",
        _lead(0.25, 0.124),
    ),
    _claim(
        "efficiency / the lead grows",
        "Abstract; section IV",
        "The lead widens as data become scarce.",
        "table1",
        "holds if the paper's algorithm leads IQL at 25 % and by more than at 100 %; "
        "under "
        "a condition if Ours-Concave does",
        _lead_grows,
    ),
    _claim(
        "efficiency / violations double",
        "Section IV",
        "On a quarter of the log the baselines' violations double.",
        "table1",
        "holds if they grow by 1.5 to 2.5 times for IQL and CQL",
        _violations_double,
    ),
    _claim(
        "ablation / dual lambda is best",
        "Section IV.A",
        "The full method beats every variant.",
        "table2",
        "holds if every variant but five inner steps has more regret (paired intervals)",
        _dual_is_best,
    ),
    _claim(
        "ablation / weak lambda",
        "Section IV.A",
        "At lambda .01 ordering errors remain and performance falls.",
        "table2",
        "holds if it has more errors and more regret than the full method",
        _weak,
    ),
    _claim(
        "ablation / strong lambda enforces",
        "Section IV.A",
        "At lambda 10 monotonicity is enforced.",
        "table2",
        "holds if its proximal critic has no errors",
        _strong_enforces,
    ),
    _claim(
        "ablation / strong lambda costs",
        "Section IV.A",
        "At lambda 10 the residual is inflated and the policy suffers.",
        "table2",
        "holds if the residual more than doubles and the regret grows",
        _strong_residual,
    ),
    _claim(
        "ablation / soft penalty",
        "Section IV.A",
        "Penalising is weaker than projecting: violations persist.",
        "table2",
        "holds if it has errors where the proximal critic has none; under a condition if "
        "where the exact projection has none",
        _soft,
    ),
    _claim(
        "ablation / warm start saves half",
        "Section IV.A",
        "Without a warm start the computation doubles.",
        "cost",
        "holds if an update takes 1.5 to 2.5 times as long",
        _warm_start_time,
    ),
    _claim(
        "ablation / warm start loses nothing",
        "Section IV.A",
        "Leaving out the warm start improves no metric.",
        "table2",
        f"fails if the regret falls by more than {_NEGLIGIBLE:g}",
        _warm_start_quality,
    ),
    _claim(
        "ablation / one step is enough",
        "Section III; section IV.A",
        "Five inner steps gain next to nothing over one.",
        "table2",
        "holds if the difference in regret lies within .005",
        _five_steps,
    ),
    _claim(
        "ablation / spectral norm helps",
        "Section IV.A",
        "Spectral normalization lowers the residual and raises the return.",
        "table2",
        "holds if without it residual and regret are higher (paired intervals)",
        _spectral_norm,
    ),
    _claim(
        "ablation / safe without spectral norm",
        "Section IV.A",
        "Monotonicity stays intact without spectral normalization.",
        "table2",
        "holds if the proximal critic has no errors; under a condition if the exact one",
        _without_spectral_norm,
    ),
    _claim(
        "ablation / actor only",
        "Section IV.A",
        "Constraining the actor alone suppresses violations less and costs return.",
        "table2",
        "holds if the actor's scores show more errors than the full method's critic, and "
        "more regret",
        _actor_only,
    ),
    _claim(
        "cost / overhead",
        "Section I; section V",
        "The computational overhead is comparable to IQL and CQL.",
        "cost",
        "holds if an update takes at most 1.5 times as long as each; under a condition "
        "if "
        "as one of them",
        _overhead,
    ),
)
