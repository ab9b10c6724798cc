"""Claims that are numbers: Table I figure by figure, Table II row by row."""

from __future__ import annotations

from collections.abc import Callable

from ...auction.paper_figures import TABLE1, TABLE2, PaperRow
from ...engine.intervals import Interval
from ..measurements import Measurements, MissingError, mean
from .verdicts import CONDITION, FAILS, HOLDS, Claim, Judge, Judgement

#: The paper names no hyperparameters: any of these counts as its row.
_ROWS = {
    "Constraint-Aware (ours)": ("Ours-paper", "Ours-Monotone"),
    "Implicit Q-Learning": ("IQL", "IQL-default", "DiscreteIQL"),
    "Conservative Q-Learning": ("CQL", "CQL-default"),
    "Behavior Cloning": ("BC (greedy)", "BC (sampled)"),
}
_ENVS = ("BidClick-v0", "BidClickMonotone-v0")
Figure = tuple[float, float]


def _meets(ours: Interval, paper: Figure) -> bool:
    middle, spread = paper
    return ours.low <= middle + spread and ours.high >= middle - spread


def _on_either(judge_on: Callable[[Measurements, str], tuple[bool, str]]) -> Judge:
    """Judged on the auction as stated, and else on that where the prior is true."""

    def judge(m: Measurements) -> Judgement:
        met, text = judge_on(m, _ENVS[0])
        if met:
            return Judgement(HOLDS, text)
        try:
            elsewhere, other = judge_on(m, _ENVS[1])
        except MissingError:
            return Judgement(FAILS, text)
        return Judgement(CONDITION if elsewhere else FAILS, f"{text}; {other}")

    return judge


def _table1_claim(paper: PaperRow, name: str, column: str, figure: Figure) -> Claim:
    is_count = column == "monotonicity_errors"

    def judge_on(m: Measurements, env: str) -> tuple[bool, str]:
        found = {}
        for learner in _ROWS[paper.name]:
            try:
                found[learner] = mean(m.table1(learner, column, env))
            except MissingError:
                continue
        if not found:
            raise MissingError(f"Table I, {paper.name} on {env}")
        shown = [f"{n} {ours.format(0 if is_count else 4)}" for n, ours in found.items()]
        met = any(_meets(ours, figure) for ours in found.values())
        return met, f"{env}: {', '.join(shown)}"

    digits = 0 if is_count else 3
    return Claim(
        f"table1 / {paper.name} / {name}",
        "Table I",
        f"{paper.name}: {name} {figure[0]:.{digits}f} ± {figure[1]:.{digits}f}.",
        "table1",
        "holds if the 95 % interval of a row of ours that can be meant meets the paper's "
        "figure plus-minus its spread on BidClick-v0; under a condition if only on "
        "BidClickMonotone-v0",
        _on_either(judge_on),
    )


def _table2_claim(variant: str, paper: PaperRow) -> Claim:
    # The residual is printed without a spread: what rounding allows.
    residual = (paper.residual or 0.0, 0.0005)

    def judge_on(m: Measurements, env: str) -> tuple[bool, str]:
        parts, all_met = [], True
        for name, column, figure, digits in (
            ("return", "return", paper.mean_return, 4),
            ("normalized regret", "normalized_regret", paper.regret, 4),
            ("errors", "monotonicity_errors", paper.errors, 0),
            ("residual", "residual", residual, 4),
        ):
            # Scores of an actor have no residual: that of its critic.
            critic = "raw" if (variant, name) == ("actor only", "residual") else ""
            ours = mean(m.table2(variant, column, critic, env))
            met = _meets(ours, figure)
            all_met = all_met and met
            parts.append(f"{name} {ours.format(digits)}{' (met)' if met else ''}")
        return all_met, f"{env}: {', '.join(parts)}"

    returned, regret, errors = paper.cells
    return Claim(
        f"table2 / {variant}",
        "Table II",
        f"{paper.name}: return {returned}, normalized regret {regret}, {errors} errors, "
        f"residual {paper.residual:.3f}.",
        "table2",
        "holds if our 95 % intervals meet all four figures on BidClick-v0; under a "
        "condition if only on BidClickMonotone-v0",
        _on_either(judge_on),
    )


CLAIMS = [
    *(
        _table1_claim(paper, name, column, figure)
        for paper in TABLE1
        for name, column, figure in (
            ("return", "return", paper.mean_return),
            ("normalized regret", "normalized_regret", paper.regret),
            ("monotonicity errors", "monotonicity_errors", paper.errors),
        )
    ),
    *(_table2_claim(variant, paper) for variant, paper in TABLE2.items()),
]
