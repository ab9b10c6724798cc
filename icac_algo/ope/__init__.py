"""Is my policy better than the logger?  Off-policy estimates from the log alone."""

from .compare import Comparison, PolicyReport, compare
from .estimate import ESTIMATORS, Estimate, SupportWarning, estimate
from .evaluators import OffPolicyEvaluator
from .fitted_q import fitted_q_estimate
from .weights import action_probabilities

__all__ = [
    "ESTIMATORS",
    "Comparison",
    "Estimate",
    "OffPolicyEvaluator",
    "PolicyReport",
    "SupportWarning",
    "action_probabilities",
    "compare",
    "estimate",
    "fitted_q_estimate",
]
