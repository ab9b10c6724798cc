r"""Shapes that a Q-function can be told to have.

Let :math:`a_1 < \dots < a_K` be the actions in order, :math:`Q(s, a_i)` the values in
one state and :math:`v_i = Q(s, a_i) + o(s, a_i)` the values with a known cost added
back (:math:`o = 0` without an ``offset``).  Every shape is a polyhedral cone

.. math:: \{ v \in R^K : A v \ge 0 \}

that contains the constants, given by the rows of :meth:`Constraint.inequalities`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from d3rlpy.serializable_config import (
    DynamicConfig,
    SerializableConfig,
    generate_config_registration,
)

from .projections import (
    MAX_ENUMERATED,
    project_onto_cone,
    project_onto_monotone,
    running_maximum,
    running_minimum,
)

__all__ = [
    "Concave",
    "Constraint",
    "KnownCost",
    "Monotone",
    "MonotoneConcave",
    "Unconstrained",
    "make_constraint_field",
    "register_constraint",
]

FloatArray = npt.NDArray[np.float64]


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
        if isinstance(self.feature, bool) or not isinstance(self.feature, int):
            raise ValueError(f"feature must be an integer >= 0, got {self.feature!r}")
        if self.feature < 0:
            raise ValueError(f"feature must be an integer >= 0, got {self.feature!r}")
        if not _is_finite(self.coefficient):
            raise ValueError(f"coefficient must be finite, got {self.coefficient!r}")

    def __call__(self, observations: torch.Tensor, positions: FloatArray) -> torch.Tensor:
        """The cost: observations ``(B, d)``, positions ``(K,)`` to float64 ``(B, K)``."""
        feature = observations[:, self.feature : self.feature + 1].double()
        return self.coefficient * feature * torch.as_tensor(positions).to(feature.device)


@dataclasses.dataclass()
class Constraint(DynamicConfig):
    """Base of all shapes.

    Args:
        actions: positions of the actions in order (bids, prices, doses), strictly
            increasing.  ``None`` means equally spaced on [0, 1].
        offset: a known cost to add back before the shape is asked for.

    Raises:
        ValueError: ``actions`` are not strictly increasing finite numbers.
    """

    min_actions: ClassVar[int] = 2
    #: Whether the Euclidean projection is sup-norm non-expansive, which makes
    #: "project after every Bellman backup" a contraction.
    sup_norm_nonexpansive: ClassVar[bool] = True

    actions: list[float] | None = None
    offset: KnownCost | None = None

    def __post_init__(self) -> None:
        if self.actions is None:
            return
        allowed = "strictly increasing finite numbers"
        try:
            self.actions = [float(a) for a in self.actions]
        except (TypeError, ValueError):
            raise ValueError(f"actions must be {allowed}, got {self.actions!r}") from None
        pairs = itertools.pairwise(self.actions)
        if not all(map(_is_finite, self.actions)) or not all(a < b for a, b in pairs):
            raise ValueError(f"actions must be {allowed}, got {self.actions!r}")
        self._require_action_count(len(self.actions), "actions has")

    # -- the set -------------------------------------------------------------

    def positions(self, action_size: int) -> FloatArray:
        """Positions of the actions, float64, shape ``(K,)``.

        Raises:
            ValueError: the shape needs more actions, or ``actions`` has another length.
        """
        self._require_action_count(action_size, "the action space has")
        if self.actions is None:
            return np.linspace(0.0, 1.0, action_size)
        if len(self.actions) != action_size:
            raise ValueError(
                f"{type(self).__name__}(actions=...) names {len(self.actions)} actions "
                f"but the action space has {action_size}"
            )
        return np.asarray(self.actions, dtype=np.float64)

    def inequalities(self, positions: npt.ArrayLike) -> FloatArray:
        """Matrix ``A`` of shape ``(m, K)`` such that the set is ``{v: A v >= 0}``."""
        raise NotImplementedError

    def project(
        self, q: torch.Tensor, observations: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Exact Euclidean projection of action values onto the set.

        Args:
            q: values of all actions, shape ``(B, K)``, finite.
            observations: unscaled observations ``(B, d)``; needed with an ``offset``.

        Returns:
            the nearest values in the set, shape and dtype of ``q``.

        Raises:
            ValueError: ``q`` is not ``(B, K)`` with a fitting ``K``, is not finite, or
                an offset lacks its (finite, matching) observations.
        """
        if q.dim() != 2:
            raise ValueError(f"q must have shape (batch, actions), got {tuple(q.shape)}")
        if not torch.isfinite(q).all():
            raise ValueError("q must be finite, got NaN or infinity")
        positions = self.positions(q.shape[1])
        if self.offset is None:
            return self.project_gross(q, positions)
        if observations is None:
            raise ValueError("observations are needed to project with an offset")
        if observations.dim() != 2 or len(observations) != len(q):
            raise ValueError(
                f"observations must have shape ({len(q)}, features), "
                f"got {tuple(observations.shape)}"
            )
        self.check_observation_shape(observations.shape[1:])
        if not torch.isfinite(observations).all():
            raise ValueError("observations must be finite, got NaN or infinity")
        cost = self.offset(observations, positions)
        return (self.project_gross(q.double() + cost, positions) - cost).to(q.dtype)

    def project_gross(self, values: torch.Tensor, positions: FloatArray) -> torch.Tensor:
        """Projection of values that already hold the offset; ``(B, K)`` to ``(B, K)``."""
        projected = project_onto_cone(values.double(), self.inequalities(positions))
        return self.remove_rounding(projected, positions).to(values.dtype)

    def remove_rounding(
        self, values: torch.Tensor, positions: FloatArray
    ) -> torch.Tensor:
        """Moves float64 values that are feasible up to rounding into the set.

        The last step of every exact critic: ``(B, K)`` to ``(B, K)``.
        """
        raise NotImplementedError

    def has_closed_form(self, action_size: int) -> bool:
        """Whether the projection over K actions is a formula, not an iteration."""
        matrix = self.inequalities(self.positions(action_size))
        return len(matrix) <= MAX_ENUMERATED

    # -- the greedy action ---------------------------------------------------

    @property
    def favours_last(self) -> bool:
        """Whether a tie between actions goes to the highest one (else the lowest)."""
        return False

    # -- checks --------------------------------------------------------------

    def check_observation_shape(self, shape: Sequence[Any]) -> None:
        """Refuses an offset feature that the observation does not have.

        Raises:
            ValueError: the observation is not a vector, or is too short.
        """
        if self.offset is None:
            return
        if len(shape) != 1 or not isinstance(shape[0], (int, np.integer)):
            raise ValueError(
                f"offset needs vector observations, got observations of shape {shape}"
            )
        if self.offset.feature >= shape[0]:
            raise ValueError(
                f"offset feature must be below the observation size {shape[0]}, "
                f"got {self.offset.feature}"
            )

    def _require_action_count(self, count: int, subject: str) -> None:
        if count < self.min_actions:
            raise ValueError(
                f"{type(self).__name__} needs at least {self.min_actions} actions, "
                f"but {subject} {count}"
            )


register_constraint, make_constraint_field = generate_config_registration(
    Constraint, lambda: Concave()
)


@dataclasses.dataclass()
class Unconstrained(Constraint):
    r"""No shape at all: the whole of :math:`R^K`.

    For comparisons: the same network and training, without the prior.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.offset is not None:
            raise ValueError("Unconstrained takes no offset: there is no shape to shift")

    def inequalities(self, positions: npt.ArrayLike) -> FloatArray:
        return np.zeros((0, len(np.asarray(positions))))

    def project_gross(self, values: torch.Tensor, positions: FloatArray) -> torch.Tensor:
        return values

    def remove_rounding(
        self, values: torch.Tensor, positions: FloatArray
    ) -> torch.Tensor:
        return values

    @staticmethod
    def get_type() -> str:
        return "unconstrained"


@dataclasses.dataclass()
class Monotone(Constraint):
    r""":math:`v_1 \le v_2 \le \dots \le v_K`; with ``increasing=False`` the reverse.

    The projection (isotonic regression) is sup-norm non-expansive and order-preserving:
    safe under bootstrapping.  Canonical coordinates: the mean level and the K-1 slopes
    between neighbours, each non-negative.  A projection makes plateaus; a tie goes to
    the end that the prior favours.

    Args:
        increasing: whether values rise with the action.
    """

    increasing: bool = True

    def inequalities(self, positions: npt.ArrayLike) -> FloatArray:
        sign = 1.0 if self.increasing else -1.0
        return sign * np.diff(np.eye(len(np.asarray(positions))), axis=0)

    def project_gross(self, values: torch.Tensor, positions: FloatArray) -> torch.Tensor:
        # In float64 the plateau means differ from one another by far less than the
        # result's own resolution; any rounding left is monotone by construction.
        return project_onto_monotone(values.double(), self.increasing).to(values.dtype)

    def has_closed_form(self, action_size: int) -> bool:
        return True

    def remove_rounding(
        self, values: torch.Tensor, positions: FloatArray
    ) -> torch.Tensor:
        return running_maximum(values) if self.increasing else running_minimum(values)

    @property
    def favours_last(self) -> bool:
        return self.increasing

    @staticmethod
    def get_type() -> str:
        return "monotone"


@dataclasses.dataclass()
class Concave(Constraint):
    r"""Slopes fall: :math:`(v_{i+1}-v_i)/(a_{i+1}-a_i)` is non-increasing in ``i``.

    Diminishing returns.  The projection is *not* sup-norm non-expansive (its Lipschitz
    constant is up to 1.33 at K=3 and 1.57 at K=5), so projecting after every Bellman
    backup is no contraction; the canonical and functional critics are function classes
    and claim none.  Canonical coordinates: level, mean slope and the K-2 curvatures,
    each non-negative.
    """

    min_actions: ClassVar[int] = 3
    sup_norm_nonexpansive: ClassVar[bool] = False

    def inequalities(self, positions: npt.ArrayLike) -> FloatArray:
        return _falling_slopes(np.asarray(positions, dtype=np.float64))

    def remove_rounding(
        self, values: torch.Tensor, positions: FloatArray
    ) -> torch.Tensor:
        return _with_falling_slopes(values, positions, None)

    @staticmethod
    def get_type() -> str:
        return "concave"


@dataclasses.dataclass()
class MonotoneConcave(Constraint):
    r"""Rising with diminishing returns: :class:`Monotone` and :class:`Concave` at once.

    With ``increasing=False``: falling ever faster.  Not sup-norm non-expansive.
    Canonical coordinates: level, the smallest slope and the K-2 curvatures, all but the
    level non-negative.

    Args:
        increasing: whether values rise with the action.
    """

    min_actions: ClassVar[int] = 3
    sup_norm_nonexpansive: ClassVar[bool] = False

    increasing: bool = True

    def inequalities(self, positions: npt.ArrayLike) -> FloatArray:
        positions = np.asarray(positions, dtype=np.float64)
        # Slopes fall, so the last one is the smallest and the first the largest: one
        # row makes all of them share a sign.
        steps = Monotone(increasing=self.increasing).inequalities(positions)
        sign_row = steps[-1:] if self.increasing else steps[:1]
        return np.concatenate([_falling_slopes(positions), sign_row])

    def remove_rounding(
        self, values: torch.Tensor, positions: FloatArray
    ) -> torch.Tensor:
        return _with_falling_slopes(values, positions, self.increasing)

    @property
    def favours_last(self) -> bool:
        return self.increasing

    @staticmethod
    def get_type() -> str:
        return "monotone_concave"


for _shape in (Unconstrained, Monotone, Concave, MonotoneConcave):
    register_constraint(_shape)


def _falling_slopes(positions: FloatArray) -> FloatArray:
    spacing = np.diff(positions)
    slopes = np.diff(np.eye(len(positions)), axis=0) / spacing[:, None]
    # Times the local spacing: rows of (-1, 2, -1) when actions are equidistant.
    return -np.diff(slopes, axis=0) * ((spacing[1:] + spacing[:-1]) / 2.0)[:, None]


def _with_falling_slopes(
    values: torch.Tensor, positions: FloatArray, increasing: bool | None
) -> torch.Tensor:
    spacing = torch.as_tensor(np.diff(positions)).to(values)
    slopes = running_minimum((values[:, 1:] - values[:, :-1]) / spacing)
    if increasing is True:
        slopes = slopes.clamp(min=0.0)
    elif increasing is False:
        slopes = slopes.clamp(max=0.0)
    first = values[:, :1]
    return torch.cat([first, first + torch.cumsum(slopes * spacing, dim=1)], dim=1)


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
