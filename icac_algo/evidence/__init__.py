"""What a log can tell: is the prior true, is a policy better, which one to choose."""

from .bounds import Bounds, ValueBounds, bounds, policy_bounds
from .certificates import Certificates, Ranges, best_certificates
from .comparison import Comparison, PolicyReport, compare
from .estimates import ESTIMATORS, BanditLog, Estimate, OffPolicyEvaluator, estimate
from .fitted_q import fitted_q_estimate
from .known_parts import KnownParts
from .nuisance import action_scores
from .outcome_checks import check_outcomes, check_prior_at_fit
from .pictures import feature_importance, plot_policy, plot_q
from .prior_check import PriorRejectedError, PriorWarning, check_prior
from .prior_report import Contrast, PriorCheck
from .reward_distribution import (
    RewardDistribution,
    distribution_of,
    reward_distribution,
)
from .selection import Selection, select_by_bellman_error
from .shaped_log import ShapedLog
from .simultaneous_tests import Estimates, action_contrasts, max_test
from .stopping import (
    HeldOutCallback,
    Stopping,
    choose_n_steps,
    default_most,
    trained_share,
)
from .support import SupportWarning, action_numbers, action_probabilities

__all__ = [
    "ESTIMATORS",
    "BanditLog",
    "Bounds",
    "Certificates",
    "Comparison",
    "Contrast",
    "Estimate",
    "Estimates",
    "HeldOutCallback",
    "KnownParts",
    "OffPolicyEvaluator",
    "PolicyReport",
    "PriorCheck",
    "PriorRejectedError",
    "PriorWarning",
    "Ranges",
    "RewardDistribution",
    "Selection",
    "ShapedLog",
    "Stopping",
    "SupportWarning",
    "ValueBounds",
    "action_contrasts",
    "action_numbers",
    "action_probabilities",
    "action_scores",
    "best_certificates",
    "bounds",
    "check_outcomes",
    "check_prior",
    "check_prior_at_fit",
    "choose_n_steps",
    "compare",
    "default_most",
    "distribution_of",
    "estimate",
    "feature_importance",
    "fitted_q_estimate",
    "max_test",
    "plot_policy",
    "plot_q",
    "policy_bounds",
    "reward_distribution",
    "select_by_bellman_error",
    "trained_share",
]
