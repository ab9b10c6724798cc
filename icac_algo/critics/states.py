r"""Shapes over state features: networks that obey them, and coordinates made of them.

Layers with normed weights and sorting activations are 1-Lipschitz; adding the input
itself, times at least the network's own Lipschitz constant, makes the sum monotone
(Kitouni, Nolte, Williams, "Expressive monotonic neural networks", 2023).  Norms and
activations are those of the package ``monotonicnetworks``.  Its monotone wrapper believes
whatever constant it is told; here every layer has norm one, and so the network.

Functions of the action that rise in every coordinate (and are Lipschitz in their sup
norm) make a critic monotone (Lipschitz) in the state, at every action, if the coordinates
are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from d3rlpy.models.torch.encoders import VectorEncoder, VectorEncoderWithAction
from monotonicnetworks import GroupSort, MonotonicWrapper, get_normed_weights
from torch import nn
from torch.nn.utils import parametrize

from ..shapes import (
    Constraint,
    StateConstraint,
    check_state_constraints,
    directions,
    lipschitz_constant,
)
from .functions import Function, Spline
from .parametrization import Parametrization, Units

# A norm of one is one up to rounding, layer after layer; this covers a hundred layers.
_SLACK = 1e-5
# Before their softplus: small first scales of outputs overfit a scarce log less (regret
# .0018 against .0023 on 6,250 impressions).
_FIRST_SCALE = -1.0


class _Normed(nn.Module):
    """Weights of norm at most one."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = get_normed_weights(
            weight, self.kind, always_norm=False, max_norm=1.0, vectorwise=True
        )
        return normed


def _normed_linear(inputs: int, outputs: int, kind: str) -> nn.Linear:
    """A linear layer whose weight has norm at most one throughout training.

    ``kind`` is from which norm of inputs to the sup norm of outputs; ``"inf"``, its own.
    """
    layer = nn.Linear(inputs, outputs)
    parametrize.register_parametrization(layer, "weight", _Normed(kind))
    return layer


class StateNetwork(nn.Module):
    r"""Observations ``(B, d)`` to ``(B, n)``, monotone in some features.

    :math:`y_k(s) = c_k (g_k(z) + \sum_m d_m z_m)` with :math:`g` 1-Lipschitz from the
    1-norm to the sup norm, :math:`z` the features times learned positive gains, and
    learned positive :math:`c_k`: any continuous function of that monotonicity can be
    approached.  With ``lipschitz=True`` gains shrink smoothly to what the caller allows:
    then :math:`\|y(s) - y(s')\|_\infty \le allowed \cdot \|s - s'\|_2`, and a constant
    far above what was learned changes nothing.

    Args:
        observation_size: d.
        hidden_units: sizes of hidden layers.
        n_outputs: n.
        directions: for every feature 1 (outputs rise), -1 (fall) or 0.
        lipschitz: whether :meth:`forward` is told a Lipschitz constant.
    """

    def __init__(
        self,
        observation_size: int,
        hidden_units: Sequence[int],
        n_outputs: int,
        directions: npt.NDArray[np.float64],
        lipschitz: bool = False,
    ):
        super().__init__()
        layers: list[nn.Module] = []
        sizes = [observation_size, *hidden_units, n_outputs]
        for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
            first = "two-inf" if lipschitz else "one-inf"
            layers.append(_normed_linear(inputs, outputs, first if i == 0 else "inf"))
            if i < len(hidden_units):
                # Pairs are sorted; an odd layer is sorted as a whole.
                layers.append(GroupSort(outputs // 2 if outputs % 2 == 0 else 1))
        self.n_monotone = int(np.count_nonzero(directions))
        self.body = MonotonicWrapper(
            nn.Sequential(*layers),
            # Layers of norm one, and the norms of two that follow each other agree.
            lipschitz_const=1.0 + _SLACK,
            monotonic_constraints=directions.tolist(),
        )
        self.lipschitz = lipschitz
        self.gains = nn.Parameter(torch.zeros(observation_size))
        self.scales = nn.Parameter(torch.zeros(n_outputs))

    def forward(
        self, x: torch.Tensor, allowed: torch.Tensor | float | None = None
    ) -> torch.Tensor:
        """Outputs; ``allowed`` is the Lipschitz constant of a Lipschitz network."""
        gains, scales = self.gains.exp(), F.softplus(self.scales + _FIRST_SCALE)
        if self.lipschitz:
            assert allowed is not None
            # The input that is added has slope one in each monotone feature.
            own = (1.0 + _SLACK) * (1.0 + self.n_monotone**0.5)
            reach = own * gains.amax() * scales.amax()
            gains = gains * (allowed / (allowed + reach))
        outputs: torch.Tensor = self.body(x * gains)
        return outputs * scales


# -- coordinates of a critic ---------------------------------------------------


class StateCoordinates(nn.Module):
    """Unscaled observations ``(B, d)`` to coordinates ``(B, n)``."""

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
        gain = function.sup_norm_gain()
        allowed = self._constant * units.reward_slope / (scale * gain)
        limited: torch.Tensor = self.network(x, allowed)
        return limited


def make_state_coordinates(
    encoder: Any,
    constraint: Constraint,
    parametrization: Parametrization,
    state_constraints: Sequence[StateConstraint],
) -> StateCoordinates:
    """A network of the encoder's size that obeys the shapes over state features."""
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
    """Size of the observation and of each hidden layer of d3rlpy's vector encoder."""
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


def observation_size(encoder: Any) -> int:
    """How many features a vector encoder takes; 0 of other observations."""
    if not isinstance(encoder, (VectorEncoder, VectorEncoderWithAction)):
        return 0
    return vector_sizes(encoder, "features")[0]


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
