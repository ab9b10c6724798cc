"""Networks that have a shape, and the factory that gives them to d3rlpy's algorithms."""

from __future__ import annotations

from .afterstates import (
    AfterstateOutcomeQFunction,
    AfterstateQFunction,
    Afterstates,
)
from .base import Prior, ShapedCritic, StandardisedCritic, reward_slope
from .continuous import ContinuousShapedQFunction
from .coordinates import free_coordinates, make_coordinates
from .discrete import ProjectedQFunction, ShapedQFunction
from .divergence import DivergenceError, refuse_diverged_networks
from .factory import ShapedQFunctionFactory
from .functions import Function, Spline, make_function
from .hinges import Hinges
from .kinds import (
    Canonical,
    Critic,
    Euclidean,
    Functional,
    function_over,
    make_critic_field,
)
from .links import mean_of, negative_log_likelihood
from .observation_scalers import ClippedStandardObservationScaler
from .outcome_log import (
    Block,
    OutcomeStandardisation,
    blocks_of,
    check_batches,
    check_log,
)
from .outcomes import ContinuousOutcomeQFunction, OutcomeCritic, OutcomeQFunction
from .parametrization import Parametrization, Units
from .quantiles import QuantileQFunction
from .standardisation import Standardisation
from .states import StateNetwork
from .trunk import Trunk

__all__ = [
    "AfterstateOutcomeQFunction",
    "AfterstateQFunction",
    "Afterstates",
    "Block",
    "Canonical",
    "ClippedStandardObservationScaler",
    "ContinuousOutcomeQFunction",
    "ContinuousShapedQFunction",
    "Critic",
    "DivergenceError",
    "Euclidean",
    "Function",
    "Functional",
    "Hinges",
    "OutcomeCritic",
    "OutcomeQFunction",
    "OutcomeStandardisation",
    "Parametrization",
    "Prior",
    "ProjectedQFunction",
    "QuantileQFunction",
    "ShapedCritic",
    "ShapedQFunction",
    "ShapedQFunctionFactory",
    "Spline",
    "Standardisation",
    "StandardisedCritic",
    "StateNetwork",
    "Trunk",
    "Units",
    "blocks_of",
    "check_batches",
    "check_log",
    "free_coordinates",
    "function_over",
    "make_coordinates",
    "make_critic_field",
    "make_function",
    "mean_of",
    "negative_log_likelihood",
    "refuse_diverged_networks",
    "reward_slope",
]
