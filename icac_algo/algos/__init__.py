"""d3rlpy algorithms whose critics have a shape, their training and checkpoints."""

from __future__ import annotations

from ..critics import DivergenceError
from .checkpoints import load_checkpoint, save_checkpoint
from .constraint_aware_q import ConstraintAwareQ, ConstraintAwareQConfig
from .constraint_aware_q_euclidean import EuclideanConstraintAwareQImpl
from .discrete_iql import DiscreteIQL, DiscreteIQLConfig
from .lagrangian import LagrangianFit, fit_lagrangian
from .proximal import (
    conjugate_gradient,
    implicit_proximal,
    inner_step_size,
    penalty,
    penalty_gradient,
    penalty_lipschitz,
    proximal_iterations,
)
from .shaped_iql import ShapedIQL, ShapedIQLConfig

__all__ = [
    "ConstraintAwareQ",
    "ConstraintAwareQConfig",
    "DiscreteIQL",
    "DiscreteIQLConfig",
    "DivergenceError",
    "EuclideanConstraintAwareQImpl",
    "LagrangianFit",
    "ShapedIQL",
    "ShapedIQLConfig",
    "conjugate_gradient",
    "fit_lagrangian",
    "implicit_proximal",
    "inner_step_size",
    "load_checkpoint",
    "penalty",
    "penalty_gradient",
    "penalty_lipschitz",
    "proximal_iterations",
    "save_checkpoint",
]
