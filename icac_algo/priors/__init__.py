"""Is the prior true?  A shape tested against a log before it is imposed."""

from .check import PriorRejectedError, PriorWarning, check_prior, check_prior_at_fit
from .result import Contrast, PriorCheck

__all__ = [
    "Contrast",
    "PriorCheck",
    "PriorRejectedError",
    "PriorWarning",
    "check_prior",
    "check_prior_at_fit",
]
