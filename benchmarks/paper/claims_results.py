"""Claims of section IV on Table I: who wins, by how much, and with less data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..engine import Interval
from .evidence import MIN_SEEDS, Evidence, MissingError
from .ledger import CONDITION, FAILS, HOLDS, Claim, Judgement

__all__ = ["RESULT_CLAIMS"]

_IQL = ("IQL", "IQL-default", "DiscreteIQL")
_CQL = ("CQL", "CQL-default")
_BASELINES = (*_IQL, *_CQL)
_EXACTLY = "Ours-paper"

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


RESULT_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "results / highest return",
        "Abstract; section IV",
        "The constraint-aware agent has the highest return and the lowest regret.",
        "table1",
        "holds if the paper's algorithm has less regret than every IQL and CQL row "
        "(paired "
        "95 % intervals below 0); under a condition if Ours-Concave has",
        _best_return,
    ),
    Claim(
        "results / IQL over CQL",
        "Section IV",
        "IQL narrows the gap that CQL leaves.",
        "table1",
        "holds if IQL has less regret than CQL both tuned and at defaults; under a "
        "condition if in one of the two",
        _iql_over_cql,
    ),
    Claim(
        "results / CQL has lower variance",
        "Section IV",
        "CQL's results vary less than IQL's.",
        "table1",
        "holds if its standard deviation over seeds is smaller both tuned and at "
        "defaults; "
        "under a condition if in one of the two",
        _cql_variance,
    ),
    Claim(
        "results / cloning is last",
        "Section IV",
        "Behaviour cloning is a lower bound on all others.",
        "table1",
        "holds if every other row has a higher return (paired intervals above 0)",
        _cloning_is_last,
    ),
    Claim(
        "results / several hundred errors",
        "Section IV",
        "IQL makes several hundred ordering errors.",
        "table1",
        "holds if an IQL row has between 200 and 1,000",
        _several_hundred,
    ),
    Claim(
        "efficiency / lead of 6.9 %",
        "Section IV",
        "On the full log the lead over IQL is 6.9 % absolute return.",
        "table1",
        "holds if the lead's interval comes within .01 of .069",
        _lead(1.0, 0.069),
    ),
    Claim(
        "efficiency / lead of 12.4 %",
        "Section IV",
        "On a quarter of the log it is 12.4 %.",
        "table1",
        "holds if the lead's interval comes within .01 of .124",
        _lead(0.25, 0.124),
    ),
    Claim(
        "efficiency / the lead grows",
        "Abstract; section IV",
        "The lead widens as data become scarce.",
        "table1",
        "holds if the paper's algorithm leads IQL at 25 % and by more than at 100 %; "
        "under "
        "a condition if Ours-Concave does",
        _lead_grows,
    ),
    Claim(
        "efficiency / violations double",
        "Section IV",
        "On a quarter of the log the baselines' violations double.",
        "table1",
        "holds if they grow by 1.5 to 2.5 times for IQL and CQL",
        _violations_double,
    ),
)
