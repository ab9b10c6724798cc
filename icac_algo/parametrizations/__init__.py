r"""Maps from free network outputs to values that have a shape by construction.

*Canonical* coordinates are those in which the shape is a sign: level, slopes or
curvatures.  *Functional* coordinates describe a function of a continuous action, read
off at the actions.  Both are exact for every network output.  No projection is
involved, so no contraction is claimed for them.
"""

from .base import Parametrization, Units
from .build import PROJECTIONS, check_projection, make_function, make_parametrization
from .functional import Function, Spline

__all__ = [
    "PROJECTIONS",
    "Function",
    "Parametrization",
    "Spline",
    "Units",
    "check_projection",
    "make_function",
    "make_parametrization",
]
