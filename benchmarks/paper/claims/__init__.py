"""All claims of the ledger, in the order in which it shows them."""

from __future__ import annotations

from . import ablation, consistency, curves, results, tables, theory
from .verdicts import Claim

__all__ = ["CLAIMS"]

CLAIMS: tuple[Claim, ...] = (
    *results.CLAIMS,
    *curves.CLAIMS,
    *ablation.CLAIMS,
    *theory.CLAIMS,
    *consistency.CLAIMS,
    *tables.CLAIMS,
)
