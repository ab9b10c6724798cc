"""All claims of the ledger, in the order in which it shows them."""

from __future__ import annotations

from .claims_ablation import ABLATION_CLAIMS
from .claims_consistency import CONSISTENCY_CLAIMS
from .claims_curves import CURVE_CLAIMS
from .claims_results import RESULT_CLAIMS
from .claims_tables import TABLE_CLAIMS
from .claims_theory import THEORY_CLAIMS
from .ledger import Claim

__all__ = ["CLAIMS"]

CLAIMS: tuple[Claim, ...] = (
    *RESULT_CLAIMS,
    *CURVE_CLAIMS,
    *ABLATION_CLAIMS,
    *THEORY_CLAIMS,
    *CONSISTENCY_CLAIMS,
    *TABLE_CLAIMS,
)
