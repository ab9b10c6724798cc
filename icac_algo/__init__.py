"""Offline reinforcement learning when the shape of the answer is known.

Importing this package registers its algorithms and shapes with d3rlpy, so that
``d3rlpy.load_learnable`` finds them.
"""

from ._quiet import quiet_gym_notice

quiet_gym_notice()

from .checkpoints import load_checkpoint, save_checkpoint  # noqa: E402
from .constraint_aware_q import ConstraintAwareQ, ConstraintAwareQConfig  # noqa: E402
from .constraints import (  # noqa: E402
    Concave,
    Constraint,
    KnownCost,
    Monotone,
    MonotoneConcave,
    Unconstrained,
    register_constraint,
)
from .critics import ShapedQFunctionFactory  # noqa: E402
from .discrete_iql import DiscreteIQL, DiscreteIQLConfig  # noqa: E402
from .parametrizations import PROJECTIONS  # noqa: E402
from .replay import ColumnarReplayBuffer  # noqa: E402

__all__ = [
    "PROJECTIONS",
    "ColumnarReplayBuffer",
    "Concave",
    "Constraint",
    "ConstraintAwareQ",
    "ConstraintAwareQConfig",
    "DiscreteIQL",
    "DiscreteIQLConfig",
    "KnownCost",
    "Monotone",
    "MonotoneConcave",
    "ShapedQFunctionFactory",
    "Unconstrained",
    "load_checkpoint",
    "register_constraint",
    "save_checkpoint",
]
