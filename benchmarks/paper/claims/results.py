"""Claims of section IV on Table I: who wins, by how much, and with less data."""

from __future__ import annotations

import contextlib

import numpy as np

from ...engine.intervals import Interval
from ..measurements import MIN_SEEDS, Measurements, MissingError, difference, listed, mean
from .verdicts import Claim, Claims, Judge, Judgement, above, below, judged

CLAIMS = Claims()
_IQL = ("IQL", "IQL-default", "DiscreteIQL")
_CQL = ("CQL", "CQL-default")
_BASELINES = (*_IQL, *_CQL)
#: IQL and CQL, both tuned and both at defaults.
_RIVALS = (("IQL", "CQL"), ("IQL-default", "CQL-default"))
_PAPER = "Ours-paper"


@CLAIMS.add("results / highest return", "Abstract; section IV", "table1")
def _best_return(m: Measurements) -> Judgement:
    """The constraint-aware agent has the highest return and the lowest regret.

    Rule: holds if the paper's algorithm has less regret than every IQL and CQL row
    (paired 95 % intervals below 0); under a condition if Ours-Concave has.
    """
    gaps, others = _gaps(m, _PAPER), _gaps(m, "Ours-Concave")
    if not gaps:
        raise MissingError(f"Table I, baselines, {MIN_SEEDS} seeds in common")
    text = f"regret of {_PAPER} minus that of each baseline: {listed(gaps, 4)}"
    wins = all(map(below, gaps.values()))
    both = gaps.keys() == others.keys()
    if both and not wins:
        text += f"; of Ours-Concave: {listed(others, 5)}"
    condition = "the prior is a true one and the parametrization ours"
    return judged(text, wins, both and all(map(below, others.values())), condition)


def _gaps(m: Measurements, ours: str) -> dict[str, Interval]:
    gaps = {}
    for name in _BASELINES:
        with contextlib.suppress(MissingError):
            gaps[name] = difference(m.table1(ours, "regret"), m.table1(name, "regret"))
    return gaps


@CLAIMS.add("results / IQL over CQL", "Section IV", "table1")
def _iql_over_cql(m: Measurements) -> Judgement:
    """IQL narrows the gap that CQL leaves.

    Rule: holds if IQL has less regret than CQL both tuned and at defaults; under a
    condition if in one of the two.
    """
    gaps = {
        f"{iql} minus {cql}": difference(m.table1(iql, "regret"), m.table1(cql, "regret"))
        for iql, cql in _RIVALS
    }
    wins = [below(gap) for gap in gaps.values()]
    return judged(f"regret: {listed(gaps, 5)}", all(wins), any(wins))


@CLAIMS.add("results / CQL has lower variance", "Section IV", "table1")
def _cql_variance(m: Measurements) -> Judgement:
    """CQL's results vary less than IQL's.

    Rule: holds if its standard deviation over seeds is smaller both tuned and at
    defaults; under a condition if in one of the two.
    """

    def spread(name: str) -> float:
        values = list(m.table1(name, "return").values())
        if len(values) < MIN_SEEDS:
            raise MissingError(f"Table I, {name}, {MIN_SEEDS} seeds")
        return float(np.std(values, ddof=1))

    shown = "; ".join(
        ", ".join(f"{name} {spread(name):.5f}" for name in pair) for pair in _RIVALS
    )
    wins = [spread(cql) < spread(iql) for iql, cql in _RIVALS]
    text = f"standard deviation of the return over seeds: {shown}"
    return judged(text, all(wins), any(wins))


@CLAIMS.add("results / cloning is last", "Section IV", "table1")
def _cloning_is_last(m: Measurements) -> Judgement:
    """Behaviour cloning is a lower bound on all others.

    Rule: holds if every other row has a higher return (paired intervals above 0).
    """
    names = ("BC (sampled)", *_BASELINES, _PAPER)
    cloned, *others = returns = [m.table1(name, "return") for name in names]
    shown = listed(dict(zip(names, map(mean, returns), strict=True)), 4)
    better = [above(difference(values, cloned)) for values in others]
    return judged(f"return: {shown}", all(better))


@CLAIMS.add("results / several hundred errors", "Section IV", "table1")
def _several_hundred(m: Measurements) -> Judgement:
    """IQL makes several hundred ordering errors.

    Rule: holds if an IQL row has between 200 and 1,000.
    """
    errors = {name: mean(m.table1(name, "monotonicity_errors")) for name in _IQL}
    return judged(
        f"errors of 4,000 pairs: {listed(errors, 0)}; a critic that knew the truth would "
        "show 1,501",
        any(200.0 <= found.mean < 1000.0 for found in errors.values()),
    )


# -- sample efficiency -------------------------------------------------------


def _lead(fraction: float, paper: float) -> Judge:
    def judge(m: Measurements) -> Judgement:
        ours = m.table1(_PAPER, "return", fraction=fraction)
        gaps = {
            f"over {name}": difference(ours, m.table1(name, "return", fraction=fraction))
            for name in _IQL
        }
        met = [g.high >= paper - 0.01 and g.low <= paper + 0.01 for g in gaps.values()]
        return judged(f"lead of {_PAPER} in return: {listed(gaps, 4)}", any(met))

    return judge


CLAIMS += [
    Claim(
        "efficiency / lead of 6.9 %",
        "Section IV",
        "On the full log the lead over IQL is 6.9 % absolute return.",
        "table1",
        "holds if the lead's interval comes within 0.01 of 0.069",
        _lead(1.0, 0.069),
    ),
    Claim(
        "efficiency / lead of 12.4 %",
        "Section IV",
        "On a quarter of the log it is 12.4 %.",
        "table1",
        "holds if the lead's interval comes within 0.01 of 0.124",
        _lead(0.25, 0.124),
    ),
]


@CLAIMS.add("efficiency / the lead grows", "Abstract; section IV", "table1")
def _lead_grows(m: Measurements) -> Judgement:
    """The lead widens as data become scarce.

    Rule: holds if the paper's algorithm leads IQL at 25 % and by more than at 100 %;
    under a condition if Ours-Concave does.
    """
    parts, grows = [], []
    for ours in (_PAPER, "Ours-Concave"):
        full, quarter = (
            _lead_by_seed(m, ours, fraction=fraction) for fraction in (1.0, 0.25)
        )
        parts.append(
            f"{ours} over IQL: {mean(full).format(5)} at 100 %, "
            f"{mean(quarter).format(5)} at 25 %"
        )
        grows.append(above(difference(quarter, full)) and above(mean(quarter)))
    text = f"lead in return; {'; '.join(parts)}"
    return judged(text, grows[0], grows[1], "a true prior (Concave)")


def _lead_by_seed(m: Measurements, ours: str, fraction: float) -> dict[int, float]:
    first, second = (m.table1(n, "regret", fraction=fraction) for n in (ours, "IQL"))
    return {seed: second[seed] - first[seed] for seed in first if seed in second}


@CLAIMS.add("efficiency / violations double", "Section IV", "table1")
def _violations_double(m: Measurements) -> Judgement:
    """On a quarter of the log the baselines' violations double.

    Rule: holds if they grow by 1.5 to 2.5 times for IQL and CQL.
    """
    parts, doubled = [], []
    for name in ("IQL", "CQL"):
        full, quarter = (
            mean(m.table1(name, "monotonicity_errors", fraction=fraction))
            for fraction in (1.0, 0.25)
        )
        parts.append(f"{name} {full.format(0)} to {quarter.format(0)}")
        doubled.append(1.5 <= quarter.mean / max(full.mean, 1.0) <= 2.5)
    text = f"errors from 100 % to 25 % of the log: {', '.join(parts)}"
    return judged(text, all(doubled))
