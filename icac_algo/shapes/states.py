r"""Shapes over features of the observation, at every action.

They hold at every state by the architecture of the network
(:mod:`icac_algo.critics`), not on a grid of states.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from d3rlpy.serializable_config import (
    generate_config_registration,
    generate_list_config_field,
)

from .._util.checks import check_number
from .._util.fields import cast_fields
from .base import NamedConfig


@dataclasses.dataclass()
class StateConstraint(NamedConfig):
    """Base of shapes over state features."""


register_state_constraint, _ = generate_config_registration(StateConstraint)
make_state_constraints_field: Any = generate_list_config_field(StateConstraint)


@dataclasses.dataclass()
class StateMonotone(StateConstraint):
    r""":math:`Q(s, a) \le Q(s', a)` wherever :math:`s \le s'` in the named features.

    All other features equal; for every action.

    Args:
        features: indices into a vector observation.
        increasing: whether Q rises with the features; else it falls.

    Raises:
        ValueError: ``features`` are not distinct integers of at least 0, or
            ``increasing`` is not a bool.
    """

    features: list[int]
    increasing: bool = True

    def __post_init__(self) -> None:
        cast_fields(self)
        given = self.features
        if not given or min(given) < 0 or len(set(given)) < len(given):
            raise ValueError(
                f"features must be a list of distinct integers >= 0, got {given!r}"
            )


@dataclasses.dataclass()
class StateLipschitz(StateConstraint):
    r""":math:`|Q(s, a) - Q(s', a)| \le L \, \|s - s'\|_2` for every action.

    In units of the *unscaled* reward and observation.

    Args:
        constant: :math:`L`, positive.

    Raises:
        ValueError: ``constant`` is not a finite number above 0.
    """

    constant: float

    def __post_init__(self) -> None:
        check_number("constant", self.constant, above=0.0)
        self.constant = float(self.constant)


register_state_constraint(StateMonotone)
register_state_constraint(StateLipschitz)


def check_state_constraints(
    constraints: Sequence[StateConstraint], observation_shape: Sequence[Any]
) -> None:
    """Checks that constraints fit the observation and each other."""
    for constraint in constraints:
        if not isinstance(constraint, StateConstraint):
            raise ValueError(
                "state_constraints must be a list of StateMonotone and StateLipschitz, "
                f"got {constraint!r}"
            )
    if not constraints:
        return
    one_number = len(observation_shape) == 1
    if not one_number or not isinstance(observation_shape[0], (int, np.integer)):
        raise ValueError(
            "state_constraints need vector observations, got observations of shape "
            f"{observation_shape}"
        )
    directions(constraints, int(observation_shape[0]))


def directions(
    constraints: Sequence[StateConstraint], size: int
) -> npt.NDArray[np.float64]:
    """For every feature 1 if Q is to rise in it, -1 if it is to fall, else 0."""
    signs = np.zeros(size)
    for constraint in constraints:
        if not isinstance(constraint, StateMonotone):
            continue
        sign = 1.0 if constraint.increasing else -1.0
        for feature in constraint.features:
            if feature >= size:
                raise ValueError(
                    f"StateMonotone features must be below the observation size {size}, "
                    f"got {feature}"
                )
            if signs[feature] == -sign:
                raise ValueError(
                    f"StateMonotone asks Q both to rise and to fall in feature {feature}"
                )
            signs[feature] = sign
    return signs


def has_lipschitz(constraints: Sequence[StateConstraint]) -> bool:
    """Whether a Lipschitz constant is asked for."""
    return lipschitz_constant(constraints) is not None


def lipschitz_constant(constraints: Sequence[StateConstraint]) -> float | None:
    """The smallest Lipschitz constant that is asked for, if any."""
    constants = [c.constant for c in constraints if isinstance(c, StateLipschitz)]
    return min(constants) if constants else None
