"""Offline reinforcement learning when the shape of the answer is known.

Importing this package registers its algorithms and shapes with d3rlpy, so that
``d3rlpy.load_learnable`` finds them.
"""

from ._util.packages import quiet_gym_notice

quiet_gym_notice()

from .algos import (  # noqa: E402
    ConstraintAwareQ,
    ConstraintAwareQConfig,
    DiscreteIQL,
    DiscreteIQLConfig,
    DivergenceError,
    LagrangianFit,
    ShapedIQL,
    ShapedIQLConfig,
    fit_lagrangian,
    load_checkpoint,
    save_checkpoint,
)
from .critics import (  # noqa: E402
    Afterstates,
    Canonical,
    Euclidean,
    Functional,
    ShapedQFunctionFactory,
)
from .data import BudgetRelabellingTransitionPicker, ColumnarReplayBuffer  # noqa: E402
from .decisions import (  # noqa: E402
    CVaR,
    MaskedGreedy,
    greedy_actions,
)
from .evidence import (  # noqa: E402
    PriorCheck,
    PriorRejectedError,
    PriorWarning,
    Selection,
    check_prior,
    select_by_bellman_error,
)
from .shapes import (  # noqa: E402
    Bounded,
    Concave,
    Constraint,
    Convex,
    Intersection,
    KnownCost,
    Monotone,
    MonotoneConcave,
    ShapeSet,
    SlopeBounds,
    StateConstraint,
    StateLipschitz,
    StateMonotone,
    Unconstrained,
    register_constraint,
)

__all__ = [
    "Afterstates",
    "Bounded",
    "BudgetRelabellingTransitionPicker",
    "CVaR",
    "Canonical",
    "ColumnarReplayBuffer",
    "Concave",
    "Constraint",
    "ConstraintAwareQ",
    "ConstraintAwareQConfig",
    "Convex",
    "DiscreteIQL",
    "DiscreteIQLConfig",
    "DivergenceError",
    "Euclidean",
    "Functional",
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
