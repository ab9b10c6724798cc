"""What may be said of Q: shapes over actions and states, and exact projections."""

from .actions import (
    Bounded,
    Concave,
    Convex,
    Intersection,
    Monotone,
    MonotoneConcave,
    SlopeBounds,
    Unconstrained,
    make_constraint_field,
    register_constraint,
)
from .base import Constraint, KnownCost
from .normal_form import (
    ShapeSet,
    is_exporting,
    rehearsal,
    running_maximum,
    running_minimum,
)
from .states import (
    StateConstraint,
    StateLipschitz,
    StateMonotone,
    check_state_constraints,
    directions,
    has_lipschitz,
    lipschitz_constant,
    make_state_constraints_field,
)
from .words import SHAPE_NAMES, as_shape, parse_known_cost, parse_shape

__all__ = [
    "SHAPE_NAMES",
    "Bounded",
    "Concave",
    "Constraint",
    "Convex",
    "Intersection",
    "KnownCost",
    "Monotone",
    "MonotoneConcave",
    "ShapeSet",
    "SlopeBounds",
    "StateConstraint",
    "StateLipschitz",
    "StateMonotone",
    "Unconstrained",
    "as_shape",
    "check_state_constraints",
    "directions",
    "has_lipschitz",
    "is_exporting",
    "lipschitz_constant",
    "make_constraint_field",
    "make_state_constraints_field",
    "parse_known_cost",
    "parse_shape",
    "register_constraint",
    "rehearsal",
    "running_maximum",
    "running_minimum",
]
