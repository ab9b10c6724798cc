"""All claims of the ledger, in the order in which it shows them."""

from __future__ import annotations

from . import ablation, consistency, curves, results, tables, theory
from .verdicts import (
    CONDITION,
    FAILS,
    HOLDS,
    NOT_RUN,
    UNTESTABLE,
    VERDICTS,
    Claim,
    Judgement,
    judge,
)

__all__ = [
    "CLAIMS",
    "CONDITION",
    "FAILS",
    "HOLDS",
    "NOT_RUN",
    "UNTESTABLE",
    "VERDICTS",
    "Claim",
    "Judgement",
    "judge",
]

CLAIMS: tuple[Claim, ...] = (
    *results.CLAIMS,
    *curves.CLAIMS,
    *ablation.CLAIMS,
    *theory.CLAIMS,
    *consistency.CLAIMS,
    *tables.CLAIMS,
)
