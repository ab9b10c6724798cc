"""Coordinates of a shaped critic from a network that obeys shapes over state features.

Functions of the action that rise in every coordinate (and are Lipschitz in their sup
norm) make a critic monotone (Lipschitz) in the state, at every action, if the coordinates
are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from d3rlpy.models.torch.encoders import VectorEncoder, VectorEncoderWithAction
from torch import nn

from ..shapes import (
    Constraint,
    StateConstraint,
    check_state_constraints,
    directions,
    lipschitz_constant,
)
from .functions import Function, Spline
from .parametrization import Parametrization, Units
from .state_networks import StateNetwork

__all__ = ["StateCoordinates", "make_state_coordinates", "vector_sizes"]


class StateCoordinates(nn.Module):
    """Unscaled observations ``(B, d)`` to coordinates ``(B, n)``.

    Args:
        network: monotone, and 1-Lipschitz times what it is told.
        parametrization: what the coordinates are for.
        constant: allowed Lipschitz constant of Q plus the known cost, in unscaled units,
            or ``None``.
    """

    def __init__(
        self, network: StateNetwork, parametrization: Function, constant: float | None
    ):
        super().__init__()
        self.network = network
        self._parametrization = (parametrization,)  # in a tuple: not a submodule
        self._constant = constant

    def forward(
        self,
        x: torch.Tensor,
        units: Units | None,
        level: torch.Tensor,
        scale: torch.Tensor,
    ) -> torch.Tensor:
        if self._constant is None:
            coordinates: torch.Tensor = self.network(x)
            return coordinates
        units = units or Units(level, scale)
        (function,) = self._parametrization
        assert isinstance(function, Spline)
        gain = function.sup_norm_gain(units)
        allowed = self._constant * units.reward_slope / (scale * gain)
        limited: torch.Tensor = self.network(x, allowed)
        return limited


def make_state_coordinates(
    encoder: Any,
    constraint: Constraint,
    parametrization: Parametrization,
    state_constraints: Sequence[StateConstraint],
) -> StateCoordinates:
    """A network of the encoder's size that obeys the shapes over state features.

    Args:
        encoder: whose hidden layers to take over: d3rlpy's vector encoders.
        constraint: the shape over actions, whose known cost also reads the state.
        parametrization: of values that rise in every coordinate.
        state_constraints: at least one.

    Raises:
        ValueError: the encoder is of another kind, a constraint does not fit the
            observation, or no critic could satisfy all that is asked.
    """
    assert isinstance(parametrization, Function)
    observation_size, hidden_units = vector_sizes(encoder, "state_constraints")
    check_state_constraints(state_constraints, (observation_size,))
    signs = directions(state_constraints, observation_size)
    constant = lipschitz_constant(state_constraints)
    _check_known_cost_direction(constraint, signs)
    if constant is not None:
        constant -= _steepest_known_cost(constraint)
        if constant <= 0.0:
            raise ValueError(
                "StateLipschitz constant must exceed the known cost's own, "
                f"{_steepest_known_cost(constraint):g}"
            )
        if constraint.shape_set().has_value_bounds:
            raise ValueError(
                f"StateLipschitz does not go with bounds on values, as {constraint!r} has"
            )
    network = StateNetwork(
        observation_size,
        hidden_units,
        parametrization.n_coordinates,
        # Values of a convex shape fall in the coordinates of its concave mirror image.
        -signs if parametrization.frame.negated else signs,
        lipschitz=constant is not None,
    )
    return StateCoordinates(network, parametrization, constant)


def vector_sizes(encoder: Any, asking: str) -> tuple[int, list[int]]:
    """Size of the observation and of each hidden layer of d3rlpy's vector encoder.

    Raises:
        ValueError: it is another encoder than ``asking`` needs.
    """
    if not isinstance(encoder, (VectorEncoder, VectorEncoderWithAction)):
        raise ValueError(
            f"{asking} need vector observations and a VectorEncoderFactory, whose hidden "
            f"layers are taken over, got a {type(encoder).__name__}"
        )
    linear = [m for m in encoder.modules() if isinstance(m, nn.Linear)]
    size = linear[0].in_features
    if isinstance(encoder, VectorEncoderWithAction):
        size -= encoder._action_size
    return size, [layer.out_features for layer in linear]


def _extreme_actions(constraint: Constraint) -> tuple[float, float]:
    actions = constraint.actions or [0.0, 1.0]
    return actions[0], actions[-1]


def _check_known_cost_direction(
    constraint: Constraint, signs: np.ndarray[Any, Any]
) -> None:
    cost = constraint.known_cost
    if cost is None or signs[cost.feature] == 0:
        return
    slopes = [-cost.coefficient * action for action in _extreme_actions(constraint)]
    if any(slope * signs[cost.feature] < 0.0 for slope in slopes):
        word = "rise" if signs[cost.feature] > 0 else "fall"
        raise ValueError(
            f"StateMonotone asks Q to {word} in feature {cost.feature}, but the known "
            f"cost, {cost.coefficient:g} times that feature times the action, moves it "
            "the other way"
        )


def _steepest_known_cost(constraint: Constraint) -> float:
    if constraint.known_cost is None:
        return 0.0
    largest = max(map(abs, _extreme_actions(constraint)))
    return math.fabs(constraint.known_cost.coefficient) * largest
