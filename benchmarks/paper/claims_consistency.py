"""What the paper's tables say against its text and against themselves."""

from __future__ import annotations

from .evidence import Evidence, MissingError
from .figures import TABLE1, TABLE2
from .ledger import CONDITION, FAILS, HOLDS, Claim, Judgement

__all__ = ["CONSISTENCY_CLAIMS"]


def _implied(evidence: Evidence) -> Judgement:
    optima = [row.implied_optimum for row in (*TABLE1, *TABLE2.values())]
    spread = max(optima) - min(optima)
    return Judgement(
        HOLDS if spread <= 0.012 else FAILS,
        f"return / (1 - normalized regret) runs from {min(optima):.3f} to "
        f"{max(optima):.3f}: one environment has one optimum",
    )


def _same_method(evidence: Evidence) -> Judgement:
    full, one = TABLE2["full"], TABLE2["1 inner iteration"]
    same = (full.mean_return, full.regret, full.residual) == (
        one.mean_return,
        one.regret,
        one.residual,
    )
    return Judgement(
        HOLDS if same else FAILS,
        f"Table II prints {full.mean_return[0]:.3f} (residual {full.residual:.3f}) for "
        f"the full method and {one.mean_return[0]:.3f} ({one.residual:.3f}) for one "
        "step; we "
        "read both as one step, and run them once",
    )


def _own_spreads(evidence: Evidence) -> Judgement:
    iql, cql = TABLE1[1], TABLE1[2]
    return Judgement(
        HOLDS if cql.mean_return[1] < iql.mean_return[1] else FAILS,
        f"Table I's own spreads: CQL ± {cql.mean_return[1]:.3f} in return, "
        f"IQL ± {iql.mean_return[1]:.3f}",
    )


def _attainable(evidence: Evidence) -> Judgement:
    best = evidence.reading("as stated: click", "best")
    above = [row.name for row in TABLE1 if row.mean_return[0] > best]
    return Judgement(
        HOLDS if not above else FAILS,
        f"the optimum of the auction as stated is {best:.5f}; {len(above)} of "
        f"{len(TABLE1)} returns are above it",
    )


def _other_reading(evidence: Evidence) -> Judgement:
    if not evidence.results.readings:
        raise MissingError("readings")
    found, lines = [], []
    for row in evidence.results.readings:
        names = [n for n in str(row["reachable"] or "").split(", ") if n]
        low, high = float(row["worst"]), float(row["best"])
        lines.append(f"{row['reading']}: [{low:.3f}, {high:.3f}], {len(names)} of 4")
        if len(names) == len(TABLE1):
            found.append(str(row["reading"]))
    text = "values that policies can have, and rows of Table I inside: " + "; ".join(
        lines
    )
    if not found:
        return Judgement(FAILS, text)
    return Judgement(CONDITION, f"{text}; condition: {' or '.join(found)}")


CONSISTENCY_CLAIMS: tuple[Claim, ...] = (
    Claim(
        "consistency / returns can be had",
        "Table I",
        "The returns were earned in the auction of section IV.",
        "readings",
        "holds if no return exceeds the optimum",
        _attainable,
    ),
    Claim(
        "consistency / another reading",
        "Table I",
        "(What a reader asks:) another reading of the auction gives these returns.",
        "readings",
        "under a condition if in some reading all four returns lie between the worst and "
        "the best policy's value",
        _other_reading,
    ),
    Claim(
        "consistency / one optimum",
        "Tables I and II",
        "Returns and normalized regrets belong to one environment.",
        "theory",
        "holds if the implied optima differ by no more than .012, the largest spread",
        _implied,
    ),
    Claim(
        "consistency / one inner step",
        "Section III and Table II",
        "The full method takes one inner step.",
        "theory",
        "holds if Table II's rows for both are equal",
        _same_method,
    ),
    Claim(
        "consistency / variances",
        "Section IV and Table I",
        "CQL has lower variance than IQL, by the paper's own table.",
        "theory",
        "holds if CQL's printed spread of the return is the smaller",
        _own_spreads,
    ),
)
