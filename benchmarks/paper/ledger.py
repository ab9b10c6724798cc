"""Claims and their verdicts.

A verdict is computed from results by the claim's rule, which the ledger prints beside
it; other results give another verdict.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from .evidence import Evidence, MissingError
from .experiments import Results

__all__ = [
    "CONDITION",
    "FAILS",
    "HOLDS",
    "NOT_RUN",
    "UNTESTABLE",
    "VERDICTS",
    "Claim",
    "Entry",
    "Judgement",
    "judge",
]

HOLDS = "holds"
CONDITION = "holds under a stated condition"
FAILS = "does not hold"
UNTESTABLE = "cannot be tested from the text"
#: Not a verdict: the experiment is missing from these results.
NOT_RUN = "not run"
VERDICTS = (HOLDS, CONDITION, FAILS, UNTESTABLE)


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A verdict and the figure behind it.

    Args:
        verdict: one of ``VERDICTS``.
        figure: what was measured, with intervals, in words.
    """

    verdict: str
    figure: str


@dataclasses.dataclass(frozen=True)
class Claim:
    """Something that the paper says.

    Args:
        key: short name, unique.
        place: where it is said.
        says: the claim in our own words.
        part: the experiment that decides it, a name in ``experiments.PARTS``.
        rule: when it holds, in words; ``judge`` does exactly this.
        judge: evidence to verdict and figure.
    """

    key: str
    place: str
    says: str
    part: str
    rule: str
    judge: Callable[[Evidence], Judgement]

    @property
    def command(self) -> str:
        """What computes its evidence."""
        return f"python -m benchmarks paper --only {self.part}"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A claim and what became of it."""

    claim: Claim
    judgement: Judgement


def judge(results: Results, claims: Sequence[Claim]) -> list[Entry]:
    """Judges every claim; those without results are marked ``NOT_RUN``."""
    evidence = Evidence(results)
    entries = []
    for claim in claims:
        try:
            judgement = claim.judge(evidence)
        except MissingError as missing:
            judgement = Judgement(NOT_RUN, f"needs {missing}")
        entries.append(Entry(claim, judgement))
    return entries
