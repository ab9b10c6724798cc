"""Verdicts follow from results: opposite results, opposite verdicts."""

from __future__ import annotations

import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from paper_worlds import world

from benchmarks.auction.paper_figures import TABLE1, TABLE2
from benchmarks.paper.claims import CLAIMS
from benchmarks.paper.claims.verdicts import (
    CONDITION,
    FAILS,
    HOLDS,
    NOT_RUN,
    UNTESTABLE,
    VERDICTS,
    Claim,
    judge,
)
from benchmarks.paper.experiment import PAPER
from benchmarks.paper.variants import VARIANTS

#: Judged by what the paper prints about itself, which no result of ours can change.
PRINTED = {
    "consistency / one optimum",
    "consistency / one inner step",
    "consistency / variances",
}
IN_WORDS = {
    "theory / target at bids not logged",
    "theory / almost sure convergence",
    "theory / value monotone in the bid",
}
AS_SAID = {claim.key: judgement for claim, judgement in judge(world(True), CLAIMS)}
OPPOSITE = {claim.key: judgement for claim, judgement in judge(world(False), CLAIMS)}
EMPTY = {claim.key: judgement for claim, judgement in judge({}, CLAIMS)}


def test_there_are_enough_claims_and_each_is_told_apart() -> None:
    assert len(CLAIMS) >= 25
    assert len({claim.key for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        assert claim.part in [part.name for part in PAPER.parts]
        assert all((claim.place, claim.says, claim.rule))
        assert claim.command.startswith("python -m benchmarks paper --only ")


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.key)
def test_opposite_results_flip_the_verdict(claim: Claim) -> None:
    said, opposite = AS_SAID[claim.key], OPPOSITE[claim.key]
    assert said.verdict in VERDICTS, said.figure
    assert opposite.verdict in VERDICTS, opposite.figure
    if claim.key in PRINTED:
        assert said.verdict == opposite.verdict == FAILS
    elif claim.key in IN_WORDS:
        assert said.verdict == opposite.verdict == UNTESTABLE
    elif claim.key == "consistency / another reading":
        assert (said.verdict, opposite.verdict) == (CONDITION, FAILS)
    elif claim.key == "table2 / 1 inner iteration":
        # Identical to the full method here, whose printed figures differ.
        assert opposite.verdict == FAILS
    else:
        assert said.verdict == HOLDS, said.figure
        assert opposite.verdict != HOLDS, opposite.figure


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.key)
def test_without_results_nothing_is_claimed(claim: Claim) -> None:
    judgement = EMPTY[claim.key]
    if claim.key in PRINTED | IN_WORDS:
        assert judgement.verdict in VERDICTS
    else:
        assert judgement.verdict == NOT_RUN
        assert judgement.figure.startswith("needs ")


def test_every_number_of_both_tables_is_in_a_claim() -> None:
    said = {claim.key: claim.says for claim in CLAIMS}
    for row in TABLE1:
        for name, (value, spread) in (
            ("return", row.mean_return),
            ("normalized regret", row.regret),
            ("monotonicity errors", row.errors),
        ):
            text = said[f"table1 / {row.name} / {name}"]
            assert _numbers(text)[-2:] == [value, spread]
    for variant, row in TABLE2.items():
        numbers = _numbers(said[f"table2 / {variant}"].split("return", 1)[1])
        assert numbers == [*row.mean_return, *row.regret, *row.errors, row.residual]
    assert TABLE2.keys() == VARIANTS.keys()


def _numbers(text: str) -> list[float]:
    return [float(n) for n in re.findall(r"\d+(?:\.\d+)?", text)]


def test_the_papers_implied_optima() -> None:
    optima = [row.implied_optimum for row in (*TABLE1, *TABLE2.values())]
    assert min(optima) == pytest.approx(0.886, abs=5e-4)
    assert max(optima) == pytest.approx(0.922, abs=5e-4)
