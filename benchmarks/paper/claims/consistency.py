"""What the paper's tables say against its text and against themselves."""

from __future__ import annotations

from ...auction.paper_figures import TABLE1, TABLE2
from ..measurements import Measurements, MissingError
from .verdicts import Claims, Judgement, judged

CLAIMS = Claims()


@CLAIMS.add("consistency / returns can be had", "Table I", "interpretations")
def _attainable(m: Measurements) -> Judgement:
    """The returns were earned in the auction of section IV.

    Rule: holds if no return exceeds the optimum.
    """
    best = m.interpretation("as stated: click", "best")
    above = [row for row in TABLE1 if row.mean_return[0] > best]
    return judged(
        f"the optimum of the auction as stated is {best:.5f}; {len(above)} of "
        f"{len(TABLE1)} returns are above it",
        not above,
    )


@CLAIMS.add("consistency / another reading", "Table I", "interpretations")
def _another_interpretation(m: Measurements) -> Judgement:
    """(What a reader asks:) another interpretation of the auction gives these returns.

    Rule: under a condition if in some interpretation all four returns lie between the
    worst and the best policy's value.
    """
    if not m["interpretations"]:
        raise MissingError("interpretations")
    found, lines = [], []
    for row in m["interpretations"]:
        names = [n for n in str(row["reachable"] or "").split(", ") if n]
        lines.append(
            f"{row['interpretation']}: [{row['worst']:.3f}, {row['best']:.3f}], "
            f"{len(names)} of {len(TABLE1)}"
        )
        if len(names) == len(TABLE1):
            found.append(str(row["interpretation"]))
    text = (
        f"values that policies can have, and rows of Table I inside: {'; '.join(lines)}"
    )
    return judged(text, False, bool(found), " or ".join(found))


@CLAIMS.add("consistency / one optimum", "Tables I and II", "theory")
def _implied(m: Measurements) -> Judgement:
    """Returns and normalized regrets belong to one environment.

    Rule: holds if the implied optima differ by no more than 0.012, the largest spread.
    """
    optima = [row.implied_optimum for row in (*TABLE1, *TABLE2.values())]
    return judged(
        f"return / (1 - normalized regret) runs from {min(optima):.3f} to "
        f"{max(optima):.3f}: one environment has one optimum",
        max(optima) - min(optima) <= 0.012,
    )


@CLAIMS.add("consistency / one inner step", "Section III and Table II", "theory")
def _same_method(m: Measurements) -> Judgement:
    """The full method takes one inner step.

    Rule: holds if Table II's rows for both are equal.
    """
    full, one = TABLE2["full"], TABLE2["1 inner iteration"]
    return judged(
        f"Table II prints {full.mean_return[0]:.3f} (residual {full.residual:.3f}) for "
        f"the full method and {one.mean_return[0]:.3f} ({one.residual:.3f}) for one "
        "step; we read both as one step, and run them once",
        (full.mean_return, full.regret, full.residual)
        == (one.mean_return, one.regret, one.residual),
    )


@CLAIMS.add("consistency / variances", "Section IV and Table I", "theory")
def _own_spreads(m: Measurements) -> Judgement:
    """CQL has lower variance than IQL, by the paper's own table.

    Rule: holds if CQL's printed spread of the return is the smaller.
    """
    iql, cql = (TABLE1[row].mean_return[1] for row in (1, 2))
    text = f"Table I's own spreads: CQL ± {cql:.3f} in return, IQL ± {iql:.3f}"
    return judged(text, cql < iql)
