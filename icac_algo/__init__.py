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
    ShapedIQL,
    ShapedIQLConfig,
    fit_lagrangian,
)
from .critics import (  # noqa: E402
    Afterstates,
    Canonical,
    Euclidean,
    Functional,
    ShapedQFunctionFactory,
)
from .data import BudgetRelabellingTransitionPicker, ColumnarReplayBuffer  # noqa: E402
from .evidence import (  # noqa: E402
    HeldOutCallback,
    check_outcomes,
    check_prior,
    choose_n_steps,
    feature_importance,
    plot_policy,
    plot_q,
    select_by_bellman_error,
)
from .shapes import (  # noqa: E402
    Bounded,
    Concave,
    Convex,
    Intersection,
    KnownCost,
    Monotone,
    MonotoneConcave,
    Outcome,
    SlopeBounds,
    StateLipschitz,
    StateMonotone,
    Unconstrained,
)

__all__ = [
    "Afterstates",
    "Bounded",
    "BudgetRelabellingTransitionPicker",
    "Canonical",
    "ColumnarReplayBuffer",
    "Concave",
    "ConstraintAwareQ",
    "ConstraintAwareQConfig",
    "Convex",
    "DiscreteIQL",
    "DiscreteIQLConfig",
    "Euclidean",
    "Functional",
    "HeldOutCallback",
    "Intersection",
    "KnownCost",
    "Monotone",
    "MonotoneConcave",
    "Outcome",
    "ShapedIQL",
    "ShapedIQLConfig",
    "ShapedQFunctionFactory",
    "SlopeBounds",
    "StateLipschitz",
    "StateMonotone",
    "Unconstrained",
    "check_outcomes",
    "check_prior",
    "choose_n_steps",
    "feature_importance",
    "fit_lagrangian",
    "plot_policy",
    "plot_q",
    "select_by_bellman_error",
]
