"""How a critic is made to have its shape: what a config's ``critic`` may be."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from d3rlpy.models.torch import Encoder, EncoderWithAction
from d3rlpy.serializable_config import DynamicConfig, generate_config_registration

from .._util.checks import check_choice, check_count, check_flag, check_number
from ..shapes import Constraint, StateConstraint, has_lipschitz
from .base import Prior
from .continuous import ContinuousShapedQFunction
from .coordinates import free_coordinates, make_coordinates
from .discrete import ProjectedQFunction, ShapedQFunction
from .functions import make_function
from .outcomes import ContinuousOutcomeQFunction, OutcomeQFunction
from .parametrization import Frame, Parametrization


class Critic(DynamicConfig):
    """Base: how the networks of a critic are built."""

    def check(self, prior: Prior) -> None:
        """Refuses what this critic does not offer, by the name of the argument."""
        if prior.outcomes:
            raise ValueError(
                "outcomes need critic=Functional() or Afterstates(...), got "
                f"{self!r}: their shapes are those of functions of the action"
            )
        if prior.state_constraints:
            raise ValueError(
                f"state_constraints need critic=Functional(), got {self!r}: values of "
                "each state on its own say nothing about two states"
            )

    def create_discrete(
        self, encoder: Encoder, hidden_size: int, action_size: int, prior: Prior
    ) -> Any:
        """A critic of K actions, ``(B, ...)`` to ``(B, K)``.

        The encoder gives features ``(B, hidden_size)``.  ``ValueError`` where the shape
        has no such critic or does not fit K, the observation or the scalers.
        """
        raise NotImplementedError

    def create_continuous(
        self, encoder: EncoderWithAction, hidden_size: int, prior: Prior
    ) -> ContinuousShapedQFunction | ContinuousOutcomeQFunction:
        """A critic of one real action; only :class:`Functional` has it."""
        raise ValueError(
            f"continuous actions need critic=Functional(), got {self!r}: there is no "
            "finite list of values"
        )


register_critic, make_critic_field = generate_config_registration(
    Critic, lambda: Functional()
)


@dataclasses.dataclass()
class Functional(Critic):
    """The network emits a small sum of shaped pieces of a continuous action.

    It shares strength between neighbouring actions, does not care how many there are,
    and is the one kind that serves continuous actions and shapes over state features.

    Args:
        n_pieces: pieces of the function, at least 1.
        spectral_norm: whether to normalise every linear layer by its largest singular
            value; not with state constraints, which normalise the layers themselves.

    Raises:
        ValueError: a field is out of bounds.
    """

    n_pieces: int = 4
    spectral_norm: bool = False

    def __post_init__(self) -> None:
        check_count("n_pieces", self.n_pieces)
        check_flag("spectral_norm", self.spectral_norm)

    def check(self, prior: Prior) -> None:
        if prior.state_constraints and prior.outcomes:
            raise ValueError(
                "state_constraints are of Q as a whole and do not go with outcomes, got "
                f"{prior.state_constraints!r}"
            )
        if prior.state_constraints and self.spectral_norm:
            raise ValueError(
                "state_constraints need Functional(spectral_norm=False): they normalise "
                "the layers themselves"
            )

    def create_discrete(
        self, encoder: Encoder, hidden_size: int, action_size: int, prior: Prior
    ) -> ShapedQFunction | OutcomeQFunction:
        if prior.outcomes:
            positions = torch.as_tensor(prior.constraint.positions(action_size))
            return OutcomeQFunction(
                encoder, hidden_size, prior, positions, self.n_pieces, self.spectral_norm
            )
        parametrization = function_over(
            prior.constraint, action_size, self.n_pieces, prior.state_constraints
        )
        return ShapedQFunction(
            encoder, hidden_size, action_size, prior, parametrization, self.spectral_norm
        )

    def create_continuous(
        self, encoder: EncoderWithAction, hidden_size: int, prior: Prior
    ) -> ContinuousShapedQFunction | ContinuousOutcomeQFunction:
        by_state = prior.state_constraints
        actions = prior.constraint.actions or [0.0, 1.0]
        ends = torch.tensor([actions[0], actions[-1]], dtype=torch.float64)
        if prior.outcomes:
            return ContinuousOutcomeQFunction(
                encoder, hidden_size, prior, ends, self.n_pieces, self.spectral_norm
            )
        function = make_function(
            prior.constraint,
            ends,
            self.n_pieces,
            rising_in_coordinates=bool(by_state),
            lipschitz_in_coordinates=has_lipschitz(by_state),
        )
        return ContinuousShapedQFunction(
            encoder, hidden_size, prior, function, self.spectral_norm
        )

    @staticmethod
    def get_type() -> str:
        return "functional"


@dataclasses.dataclass()
class Canonical(Critic):
    """The network emits the coordinates in which the shape is a sign.

    Level, slopes and curvatures; for discrete actions without state constraints.

    Args:
        spectral_norm: whether to normalise every linear layer by its largest singular
            value.

    Raises:
        ValueError: it is not a bool.
    """

    spectral_norm: bool = False

    def __post_init__(self) -> None:
        check_flag("spectral_norm", self.spectral_norm)

    def create_discrete(
        self, encoder: Encoder, hidden_size: int, action_size: int, prior: Prior
    ) -> ShapedQFunction:
        parametrization = make_coordinates(prior.constraint, action_size)
        return ShapedQFunction(
            encoder, hidden_size, action_size, prior, parametrization, self.spectral_norm
        )

    @staticmethod
    def get_type() -> str:
        return "canonical"


@dataclasses.dataclass()
class Euclidean(Critic):
    r"""The paper's way: a free critic, shown as its exact projection onto the shape.

    In :class:`~icac_algo.ConstraintAwareQ` the critic :math:`f` learns through a proximal
    layer :math:`u = \arg\min \frac12 |u - f|^2 + \lambda C(u)` with its implicit gradient
    by conjugate gradient, and a dual update of the multiplier :math:`\lambda`.  d3rlpy's
    own algorithms learn from the projection itself, whose gradient is passed straight on;
    there ``pull`` and ``spectral_norm`` act alone.  For discrete actions.

    Args:
        multiplier: :math:`\lambda_0`.
        multiplier_learning_rate: :math:`\eta_\lambda`; 0 keeps the multiplier fixed.
        max_multiplier: cap of the multiplier, which otherwise only grows.
        inner_iterations: proximal-gradient steps of the inner solver.
        inner_step: ``"lipschitz"`` is ``1 / (1 + lambda L)``; ``"unit"`` is the literal
            reading, which diverges for larger multipliers.
        inner_anchor: what the inner solver stays near: the ``"critic"``'s output, or,
            literally, the ``"target"``, where actions that were not logged keep the
            critic's output.
        warm_start: whether the inner solver starts at the critic's output, else at zero.
        implicit_gradient: whether to differentiate the solution by the implicit function
            theorem, else through the inner steps.
        pull: weight :math:`\rho` of :math:`\rho/2 |f - u|^2`, whose gradient is that of
            the Moreau envelope and keeps the free critic near the set; 0 is the paper.
        spectral_norm: whether to normalise every linear layer by its largest singular
            value.

    Raises:
        ValueError: a field is out of bounds or unknown.
    """

    multiplier: float = 0.1
    multiplier_learning_rate: float = 0.1
    max_multiplier: float = 1000.0
    inner_iterations: int = 1
    inner_step: str = "lipschitz"
    inner_anchor: str = "critic"
    warm_start: bool = True
    implicit_gradient: bool = True
    pull: float = 10.0
    spectral_norm: bool = False

    def __post_init__(self) -> None:
        for name in ("multiplier_learning_rate", "max_multiplier", "pull"):
            check_number(name, getattr(self, name), at_least=0.0)
        check_number(
            "multiplier", self.multiplier, at_least=0.0, at_most=self.max_multiplier
        )
        check_count("inner_iterations", self.inner_iterations)
        check_choice("inner_step", self.inner_step, ("lipschitz", "unit"))
        check_choice("inner_anchor", self.inner_anchor, ("critic", "target"))
        for name in ("warm_start", "implicit_gradient", "spectral_norm"):
            check_flag(name, getattr(self, name))

    def create_discrete(
        self, encoder: Encoder, hidden_size: int, action_size: int, prior: Prior
    ) -> ProjectedQFunction:
        return ProjectedQFunction(
            encoder,
            hidden_size,
            action_size,
            prior,
            free_coordinates(prior.constraint, action_size),
            self.spectral_norm,
            pull=self.pull,
        )

    @staticmethod
    def get_type() -> str:
        return "euclidean"


def function_over(
    constraint: Constraint,
    action_size: int,
    n_pieces: int = 4,
    state_constraints: Sequence[StateConstraint] = (),
) -> Parametrization:
    """The shaped function of K actions; free values where slopes are free."""
    frame = Frame.of(constraint, "Functional()")
    if frame.slopes == "free" and not frame.concave and not state_constraints:
        return make_coordinates(constraint, action_size)
    return make_function(
        constraint,
        torch.as_tensor(constraint.positions(action_size)),
        n_pieces,
        rising_in_coordinates=bool(state_constraints),
        lipschitz_in_coordinates=has_lipschitz(state_constraints),
    )


for _kind in (Functional, Canonical, Euclidean):
    register_critic(_kind)
