"""Claims and their verdicts.

A verdict is computed from results by the claim's rule, which the ledger prints beside
it; other results give another verdict.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from ...engine.intervals import Interval
from ...engine.rows import Rows
from ..measurements import Measurements, MissingError

HOLDS = "holds"
CONDITION = "holds under a stated condition"
FAILS = "does not hold"
UNTESTABLE = "cannot be tested from the text"
#: Not a verdict: the experiment is missing from these results.
NOT_RUN = "not run"
VERDICTS = (HOLDS, CONDITION, FAILS, UNTESTABLE)

#: The condition of most claims about errors.
EXACT = "the exact projection is deployed"


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A verdict and the figure behind it."""

    verdict: str  # one of ``VERDICTS``
    figure: str  # what was measured, with intervals, in words


Judge = Callable[[Measurements], Judgement]


@dataclasses.dataclass(frozen=True)
class Claim:
    """Something that the paper says."""

    key: str  # short name, unique
    place: str  # where it is said
    says: str  # the claim in our own words
    part: str  # the experiment that decides it, a part of ``python -m benchmarks paper``
    rule: str  # when it holds, in words; ``judge`` does exactly this
    judge: Judge  # measurements to verdict and figure

    @property
    def command(self) -> str:
        """What computes its evidence."""
        return f"python -m benchmarks paper --only {self.part}"


class Claims(list[Claim]):
    """Claims in the order in which the ledger shows them."""

    def add(self, key: str, place: str, part: str) -> Callable[[Judge], Judge]:
        """Decorates the function that judges a claim.

        Its docstring is the claim and, after ``Rule:``, when it holds.
        """

        def register(judge: Judge) -> Judge:
            says, rule = " ".join(str(judge.__doc__).split()).split(" Rule: ")
            self.append(Claim(key, place, says, part, rule.rstrip("."), judge))
            return judge

        return register


def judge(
    rows: Mapping[str, Rows], claims: Sequence[Claim]
) -> list[tuple[Claim, Judgement]]:
    """Judges every claim by the rows of all parts; without them it is ``NOT_RUN``."""
    measured = Measurements(rows)

    def of(claim: Claim) -> Judgement:
        try:
            return claim.judge(measured)
        except MissingError as missing:
            return Judgement(NOT_RUN, f"needs {missing}")

    return [(claim, of(claim)) for claim in claims]


def judged(
    figure: str, holds: bool, otherwise: bool = False, condition: str = ""
) -> Judgement:
    """A claim holds, or otherwise under a condition, or does not."""
    if holds:
        return Judgement(HOLDS, figure)
    if not otherwise:
        return Judgement(FAILS, figure)
    stated = f"{figure}; condition: {condition}" if condition else figure
    return Judgement(CONDITION, stated)


def below(gap: Interval) -> bool:
    """Whether a difference is below 0."""
    return gap.high < 0.0


def above(gap: Interval) -> bool:
    """Whether a difference is above 0."""
    return gap.low > 0.0
