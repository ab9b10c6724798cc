"""Networks that have a shape, and the factory that gives them to d3rlpy's algorithms."""

from __future__ import annotations

from .afterstate_quantiles import AfterstateQRQFunction, AfterstateQRQFunctionFactory
from .afterstates import AfterstateQFunction, AfterstateQFunctionFactory
from .base import ShapedCritic, StandardisedCritic, reward_slope
from .choice import PROJECTIONS, check_projection, make_function, make_parametrization
from .continuous import ContinuousShapedQFunction
from .discrete import ShapedQFunction
from .factory import ShapedQFunctionFactory
from .functions import Function, Spline
from .parametrization import Parametrization, Units
from .quantiles import ShapedQRQFunction, ShapedQRQFunctionFactory
from .standardisation import Standardisation
from .state_networks import StateNetwork, lipschitz_bound, normed_linear

__all__ = [
    "PROJECTIONS",
    "AfterstateQFunction",
    "AfterstateQFunctionFactory",
    "AfterstateQRQFunction",
    "AfterstateQRQFunctionFactory",
    "ContinuousShapedQFunction",
    "Function",
    "Parametrization",
    "ShapedCritic",
    "ShapedQFunction",
    "ShapedQFunctionFactory",
    "ShapedQRQFunction",
    "ShapedQRQFunctionFactory",
    "Spline",
    "Standardisation",
    "StandardisedCritic",
    "StateNetwork",
    "Units",
    "check_projection",
    "lipschitz_bound",
    "make_function",
    "make_parametrization",
    "normed_linear",
    "reward_slope",
]
