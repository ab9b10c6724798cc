"""The paper as a claims ledger: experiments, verdicts by written rules, reports."""

from __future__ import annotations

__all__ = ["PARTS"]

#: Parts that ``python -m benchmarks paper --only`` knows, the quickest first.
PARTS = ("theory", "readings", "policies", "cost", "table1", "table2", "curves")
