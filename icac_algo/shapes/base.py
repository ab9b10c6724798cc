r"""What every shape of a Q-function over ordered actions is and can do.

Let :math:`a_1 < \dots < a_K` be the actions in order, :math:`Q(s, a_i)` the values in
one state and :math:`v_i = Q(s, a_i) + o(s, a_i)` the values with a known cost added
back (:math:`o = 0` without a ``known_cost``).  A shape is a convex set of such ``v``,
given by its :class:`~icac_algo.shapes.normal_form.ShapeSet`; the shapes themselves are
in ``actions``.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from d3rlpy.serializable_config import DynamicConfig, SerializableConfig

from .._util.checks import is_finite, is_integer
from .normal_form import ShapeSet
from .projection import has_closed_form, project_onto_set

FloatArray = npt.NDArray[np.float64]


class NamedConfig(DynamicConfig):
    """A config that files know by its class's name, ``SlopeBounds`` as slope_bounds."""

    @classmethod
    def get_type(cls) -> str:
        return re.sub("(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()


@dataclasses.dataclass()
class KnownCost(SerializableConfig):
    r"""A cost that is known exactly, added back before a shape is asked for.

    :math:`o(s, a) = \text{coefficient} \cdot s_{\text{feature}} \cdot a`, in the units of
    the *unscaled* reward and observation; scalers are accounted for.

    Args:
        feature: index into a vector observation.
        coefficient: finite multiplier.

    Raises:
        ValueError: ``feature`` is not an integer of at least 0, or ``coefficient`` is
            not finite.
    """

    feature: int
    coefficient: float = 1.0

    def __post_init__(self) -> None:
        if not is_integer(self.feature) or self.feature < 0:
            raise ValueError(f"feature must be an integer >= 0, got {self.feature!r}")
        if not is_finite(self.coefficient):
            raise ValueError(f"coefficient must be finite, got {self.coefficient!r}")
        self.feature, self.coefficient = int(self.feature), float(self.coefficient)

    def __call__(
        self, observations: torch.Tensor, positions: FloatArray | torch.Tensor
    ) -> torch.Tensor:
        """The cost of every action in every state, float64 ``(B, K)``.

        Of unscaled observations ``(B, d)`` and positions ``(K,)`` or ``(B, K)``.
        """
        feature = observations[:, self.feature : self.feature + 1].double()
        return self.coefficient * feature * torch.as_tensor(positions).to(feature)


@dataclasses.dataclass()
class Constraint(NamedConfig):
    """Base of all shapes.

    Args:
        actions: positions of the actions in order (bids, prices, doses), strictly
            increasing.  ``None`` means equally spaced on [0, 1].
        known_cost: a known cost to add back before the shape is asked for.

    Raises:
        ValueError: ``actions`` are not strictly increasing finite numbers.
    """

    # Keywords, so that a shape's own arguments come first.
    actions: list[float] | None = dataclasses.field(default=None, kw_only=True)
    known_cost: KnownCost | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        cost = self.known_cost
        if cost is not None and not isinstance(cost, KnownCost):
            raise ValueError(
                "known_cost must be KnownCost(feature, coefficient) or None, got "
                f"{cost!r}; a cost per unit of action that is the same in every state "
                "shifts the slopes: SlopeBounds(lower=-cost) rises once it is added back"
            )
        if self.actions is None:
            return
        allowed = "strictly increasing finite numbers"
        given, refused = self.actions, f"actions must be {allowed}, got {self.actions!r}"
        try:
            # A word would be a list of its digits.
            self.actions = (
                [] if isinstance(given, (str, bytes)) else list(map(float, given))
            )
        except (TypeError, ValueError, OverflowError):
            raise ValueError(refused) from None
        rising = all(a < b for a, b in itertools.pairwise(self.actions))
        if (
            not self.actions
            or not rising
            or not is_finite(self.actions[-1] - self.actions[0])
        ):
            raise ValueError(refused)
        self._require_action_count(len(self.actions), "actions has")

    def positions(self, action_size: int) -> FloatArray:
        """Positions of the actions, float64, shape ``(K,)``.

        Raises:
            ValueError: the shape needs more actions, or ``actions`` has another length.
        """
        self._require_action_count(action_size, "the action space has")
        if self.actions is None:
            return _equidistant(action_size).copy()
        if len(self.actions) != action_size:
            raise ValueError(
                f"{type(self).__name__}(actions=...) names {len(self.actions)} actions "
                f"but the action space has {action_size}"
            )
        return np.asarray(self.actions, dtype=np.float64)

    def shape_set(self) -> ShapeSet:
        """The set, in the units of the values; a shape of your own must define it."""
        raise NotImplementedError

    def inequalities(self, positions: npt.ArrayLike) -> FloatArray:
        """Matrix ``A`` of shape ``(m, K)`` such that the set is ``{v: A v >= b}``."""
        return self.shape_set().inequalities(positions)[0]

    def bounds(self, positions: npt.ArrayLike) -> FloatArray:
        """The ``b`` that goes with :meth:`inequalities`, shape ``(m,)``; often zeros."""
        return self.shape_set().inequalities(positions)[1]

    @property
    def sup_norm_nonexpansive(self) -> bool:
        """Whether the Euclidean projection is sup-norm non-expansive.

        It then is order-preserving too, and "project after every Bellman backup" is a
        contraction.  True of all bounds on slopes and values: such a set is a lattice.
        False of curvature.
        """
        return not self.shape_set().has_curvature

    def project(
        self, q: torch.Tensor, observations: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Exact Euclidean projection of action values onto the set.

        Order and bounds on values hold to the last bit of the result's dtype, other
        slopes and curvature up to its rounding.

        Args:
            q: values of all actions, ``(B, K)``, finite; the result has its dtype, or
                float64 if they are integers.
            observations: unscaled observations ``(B, d)``; needed with a ``known_cost``.

        Raises:
            TypeError: ``q`` is no tensor of real numbers.
            ValueError: ``q`` is not ``(B, K)`` with a fitting ``K``, is not finite, or
                a known cost lacks its (finite, matching) observations.
        """
        if not isinstance(q, torch.Tensor) or q.is_complex() or q.dtype == torch.bool:
            kind = q.dtype if isinstance(q, torch.Tensor) else type(q).__name__
            raise TypeError(f"q must be a tensor of real numbers, got {kind}")
        if q.dim() != 2:
            raise ValueError(f"q must have shape (batch, actions), got {tuple(q.shape)}")
        q = q if q.is_floating_point() else q.double()
        # The sum is finite unless a value is not, or they are next to overflowing.
        if not math.isfinite(q.detach().sum()) and not torch.isfinite(q).all():
            raise ValueError("q must be finite, got NaN or infinity")
        positions = self.positions(q.shape[1])
        if len(q) == 0:
            return q
        if self.known_cost is None:
            return self.project_gross(q, positions)
        if observations is None:
            raise ValueError("observations are needed to project with a known cost")
        if observations.dim() != 2 or len(observations) != len(q):
            raise ValueError(
                f"observations must have shape ({len(q)}, features), "
                f"got {tuple(observations.shape)}"
            )
        self.check_observation_shape(observations.shape[1:])
        if not torch.isfinite(observations).all():
            raise ValueError("observations must be finite, got NaN or infinity")
        cost = self.known_cost(observations, positions)
        return (self.project_gross(q.double() + cost, positions) - cost).to(q.dtype)

    def project_gross(self, values: torch.Tensor, positions: FloatArray) -> torch.Tensor:
        """Projection of values with the known cost added, ``(B, K)`` to ``(B, K)``."""
        return project_onto_set(values, self.shape_set(), positions)

    def remove_rounding(
        self, values: torch.Tensor, positions: FloatArray
    ) -> torch.Tensor:
        """Moves float64 values that are feasible up to rounding into the set.

        The last step of every exact critic: ``(B, K)`` to ``(B, K)``.
        """
        return self.shape_set().remove_rounding(values, positions)

    def has_closed_form(self, action_size: int) -> bool:
        """Whether the projection over K actions is a formula, not an iteration."""
        return has_closed_form(self.shape_set(), self.positions(action_size))

    @property
    def favours_last(self) -> bool:
        """Whether a tie between actions goes to the highest one (else the lowest)."""
        return self.shape_set().slope_lower >= 0.0

    def check_observation_shape(self, shape: Sequence[Any]) -> None:
        """Checks that the observation has the feature of the known cost.

        Raises:
            ValueError: the observation is not a vector, or is too short.
        """
        if self.known_cost is None:
            return
        if len(shape) != 1 or not isinstance(shape[0], (int, np.integer)):
            raise ValueError(
                f"known_cost needs vector observations, got observations of shape {shape}"
            )
        if self.known_cost.feature >= shape[0]:
            raise ValueError(
                f"known_cost feature must be below the observation size {shape[0]}, "
                f"got {self.known_cost.feature}"
            )

    def _require_action_count(self, count: int, subject: str) -> None:
        if count < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least 2 actions, but {subject} {count}"
            )


@functools.lru_cache(maxsize=64)
def _equidistant(action_size: int) -> FloatArray:
    return np.linspace(0.0, 1.0, action_size)
