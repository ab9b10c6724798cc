"""Claims that are numbers: Table I figure by figure, Table II row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..engine import Interval
from .evidence import Evidence, MissingError
from .figures import TABLE1, TABLE2, PaperRow
from .ledger import CONDITION, FAILS, HOLDS, Claim, Judgement

__all__ = ["TABLE_CLAIMS"]

#: The paper names no hyperparameters: any of these counts as its row.
_ROWS = {
    "Constraint-Aware (ours)": ("Ours-paper", "Ours-Monotone"),
    "Implicit Q-Learning": ("IQL", "IQL-default", "DiscreteIQL"),
    "Conservative Q-Learning": ("CQL", "CQL-default"),
    "Behavior Cloning": ("BC (greedy)", "BC (sampled)"),
}
_COLUMNS = (
    # name, column, the paper's figure, digits
    ("return", "return", lambda row: row.mean_return, 4),
    ("normalized regret", "normalized_regret", lambda row: row.regret, 4),
    ("monotonicity errors", "monotonicity_errors", lambda row: row.errors, 0),
)
_ENVS = ("BidClick-v0", "BidClickMonotone-v0")
_RULE = (
    "holds if the 95 % interval of a row of ours that can be meant meets the paper's "
    "figure plus-minus its spread on BidClick-v0; under a condition if only on "
    "BidClickMonotone-v0"
)


def _meets(ours: Interval, paper: tuple[float, float]) -> bool:
    middle, spread = paper
    return ours.low <= middle + spread and ours.high >= middle - spread


def _table1_claim(paper: PaperRow, number: int) -> Claim:
    name, column, figure, digits = _COLUMNS[number]
    value, spread = figure(paper)

    def judge_in(evidence: Evidence, env: str) -> tuple[bool, str]:
        parts, met = [], False
        for algorithm in _ROWS[paper.name]:
            try:
                ours = evidence.mean(evidence.table1(algorithm, column, env))
            except MissingError:
                continue
            met = met or _meets(ours, (value, spread))
            parts.append(f"{algorithm} {ours.format(digits)}")
        if not parts:
            raise MissingError(f"Table I, {paper.name} on {env}")
        return met, f"{env}: {', '.join(parts)}"

    def judge(evidence: Evidence) -> Judgement:
        met, text = judge_in(evidence, _ENVS[0])
        if met:
            return Judgement(HOLDS, text)
        try:
            elsewhere, other = judge_in(evidence, _ENVS[1])
        except MissingError:
            return Judgement(FAILS, text)
        return Judgement(CONDITION if elsewhere else FAILS, f"{text}; {other}")

    shown = f"{value:.3f} ± {spread:.3f}" if digits else f"{value:.0f} ± {spread:.0f}"
    return Claim(
        key=f"table1 / {paper.name} / {name}",
        place="Table I",
        says=f"{paper.name}: {name} {shown}.",
        part="table1",
        rule=_RULE,
        judge=judge,
    )


def _table2_claim(variant: str, paper: PaperRow) -> Claim:
    numbers: Sequence[tuple[str, str, tuple[float, float], int]] = (
        ("return", "return", paper.mean_return, 4),
        ("normalized regret", "normalized_regret", paper.regret, 4),
        ("errors", "monotonicity_errors", paper.errors, 0),
        # Printed without a spread: what rounding allows.
        ("residual", "residual", (paper.residual or 0.0, 0.0005), 4),
    )

    def judge_in(evidence: Evidence, env: str) -> tuple[bool, str]:
        parts, met = [], True
        for name, column, figure, digits in numbers:
            # Scores of an actor have no residual: that of its critic.
            critic = "raw" if (variant, name) == ("actor only", "residual") else ""
            ours = evidence.mean(evidence.table2(variant, column, critic, env))
            this = _meets(ours, figure)
            met = met and this
            parts.append(f"{name} {ours.format(digits)}{' (met)' if this else ''}")
        return met, f"{env}: {', '.join(parts)}"

    def judge(evidence: Evidence) -> Judgement:
        met, text = judge_in(evidence, _ENVS[0])
        if met:
            return Judgement(HOLDS, text)
        try:
            elsewhere, other = judge_in(evidence, _ENVS[1])
        except MissingError:
            return Judgement(FAILS, text)
        return Judgement(CONDITION if elsewhere else FAILS, f"{text}; {other}")

    return Claim(
        key=f"table2 / {variant}",
        place="Table II",
        says=(
            f"{paper.name}: return {paper.mean_return[0]:.3f} ± "
            f"{paper.mean_return[1]:.3f}, normalized regret {paper.regret[0]:.3f} ± "
            f"{paper.regret[1]:.3f}, {paper.errors[0]:.0f} ± {paper.errors[1]:.0f} "
            f"errors, residual {paper.residual:.3f}."
        ),
        part="table2",
        rule="holds if our 95 % intervals meet all four figures on BidClick-v0; under a "
        "condition if only on BidClickMonotone-v0",
        judge=judge,
    )


def _all() -> Iterator[Claim]:
    for paper in TABLE1:
        for number in range(len(_COLUMNS)):
            yield _table1_claim(paper, number)
    for variant, row in TABLE2.items():
        yield _table2_claim(variant, row)


TABLE_CLAIMS: tuple[Claim, ...] = tuple(_all())
