"""Offline reinforcement learning when the shape of the answer is known.

Importing this package registers its algorithms and shapes with d3rlpy, so that
``d3rlpy.load_learnable`` finds them.
"""

from ._quiet import quiet_gym_notice

quiet_gym_notice()

from .afterstate_quantiles import AfterstateQRQFunctionFactory  # noqa: E402
from .afterstates import AfterstateQFunctionFactory  # noqa: E402
from .checkpoints import load_checkpoint, save_checkpoint  # noqa: E402
from .constraint_aware_q import ConstraintAwareQ, ConstraintAwareQConfig  # noqa: E402
from .constraints import Constraint, KnownCost, register_constraint  # noqa: E402
from .discrete_iql import DiscreteIQL, DiscreteIQLConfig  # noqa: E402
from .divergence import DivergenceError  # noqa: E402
from .masked_greedy import MaskedGreedy  # noqa: E402
from .parametrizations import PROJECTIONS  # noqa: E402
from .priors import PriorCheck, PriorRejectedError, PriorWarning, check_prior  # noqa: E402
from .quantile_critics import ShapedQRQFunctionFactory  # noqa: E402
from .replay import (  # noqa: E402
    BudgetRelabellingTransitionPicker,
    ColumnarReplayBuffer,
)
from .risk import CVaR, greedy_actions  # noqa: E402
from .safety import LagrangianFit, fit_lagrangian  # noqa: E402
from .selection import Selection, select_by_bellman_error  # noqa: E402
from .shape_set import ShapeSet  # noqa: E402
from .shaped_factory import ShapedQFunctionFactory  # noqa: E402
from .shaped_iql import ShapedIQL, ShapedIQLConfig  # noqa: E402
from .shapes import (  # noqa: E402
    Bounded,
    Concave,
    Convex,
    Intersection,
    Monotone,
    MonotoneConcave,
    SlopeBounds,
    Unconstrained,
)
from .state_constraints import (  # noqa: E402
    StateConstraint,
    StateLipschitz,
    StateMonotone,
)

__all__ = [
    "PROJECTIONS",
    "AfterstateQFunctionFactory",
    "AfterstateQRQFunctionFactory",
    "Bounded",
    "BudgetRelabellingTransitionPicker",
    "CVaR",
    "ColumnarReplayBuffer",
    "Concave",
    "Constraint",
    "ConstraintAwareQ",
    "ConstraintAwareQConfig",
    "Convex",
    "DiscreteIQL",
    "DiscreteIQLConfig",
    "DivergenceError",
    "Intersection",
    "KnownCost",
    "LagrangianFit",
    "MaskedGreedy",
    "Monotone",
    "MonotoneConcave",
    "PriorCheck",
    "PriorRejectedError",
    "PriorWarning",
    "Selection",
    "ShapeSet",
    "ShapedIQL",
    "ShapedIQLConfig",
    "ShapedQFunctionFactory",
    "ShapedQRQFunctionFactory",
    "SlopeBounds",
    "StateConstraint",
    "StateLipschitz",
    "StateMonotone",
    "Unconstrained",
    "check_prior",
    "fit_lagrangian",
    "greedy_actions",
    "load_checkpoint",
    "register_constraint",
    "save_checkpoint",
    "select_by_bellman_error",
]
