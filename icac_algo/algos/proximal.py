r"""The proximal layer of Algorithm 1: penalty, inner steps and implicit gradient.

A shape is the set :math:`\{v : A v \ge b\}`, mostly with :math:`b = 0`; its violation is
:math:`C(u) = \sum_i \max(0, b_i - (A u)_i)^2` (section IV of the paper, with the
derivative in the bid as a difference).  All functions are batched over the first
dimension and run on the device and in the dtype of their input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

# -- penalty -----------------------------------------------------------------

Bounds = torch.Tensor | float


def penalty(
    values: torch.Tensor, matrix: torch.Tensor, bounds: Bounds = 0.0
) -> torch.Tensor:
    """``C(u)`` of each row: ``(B, K)``, ``(m, K)`` and ``(m,)`` to ``(B,)``."""
    return (values @ matrix.T - bounds).clamp(max=0.0).square().sum(dim=1)


def penalty_gradient(
    values: torch.Tensor, matrix: torch.Tensor, bounds: Bounds = 0.0
) -> torch.Tensor:
    """Gradient of ``C`` at each row, ``(B, K)``."""
    return 2.0 * (values @ matrix.T - bounds).clamp(max=0.0) @ matrix


def penalty_hessian_product(
    values: torch.Tensor,
    matrix: torch.Tensor,
    vectors: torch.Tensor,
    bounds: Bounds = 0.0,
) -> torch.Tensor:
    """Generalised Hessian of ``C`` at ``values`` times ``vectors``, all ``(B, K)``."""
    violated = (values @ matrix.T < bounds).to(vectors.dtype)
    return 2.0 * ((vectors @ matrix.T) * violated) @ matrix


def inner_step_size(lipschitz: float, multiplier: torch.Tensor | float) -> Any:
    """``1 / (1 + multiplier * L)``, with ``L`` from :func:`penalty_lipschitz`.

    A unit step, the paper's literal reading, stops converging above a multiplier of
    ``1 / L``.
    """
    return 1.0 / (1.0 + multiplier * lipschitz)


def penalty_lipschitz(matrix: torch.Tensor) -> float:
    """Lipschitz constant of ``penalty_gradient``: twice the largest eigenvalue of AA'."""
    if matrix.shape[0] == 0:
        return 0.0
    return float(2.0 * torch.linalg.matrix_norm(matrix.detach(), ord=2) ** 2)


# -- proximal layer ----------------------------------------------------------


def proximal_iterations(
    start: torch.Tensor,
    anchor: torch.Tensor,
    matrix: torch.Tensor,
    multiplier: torch.Tensor | float,
    iterations: int,
    step_size: torch.Tensor | float,
    bounds: Bounds = 0.0,
) -> torch.Tensor:
    r"""Gradient steps on :math:`\frac12 |u - anchor|^2 + \lambda C(u)` (Algorithm 1).

    From ``start`` to the last iterate, both ``(B, K)``; ``matrix`` is the set's ``A``,
    ``(m, K)``, ``bounds`` its ``b``, ``(m,)`` or one number.
    """
    u = start
    for _ in range(iterations):
        u = u - step_size * (
            u - anchor + multiplier * penalty_gradient(u, matrix, bounds)
        )
    return u


def conjugate_gradient(
    product_with: Callable[[torch.Tensor], torch.Tensor],
    rhs: torch.Tensor,
    max_iterations: int,
    tolerance: float = 1e-10,
) -> torch.Tensor:
    """Solves ``M z = rhs`` for each row, ``(B, K)``, ``M`` symmetric positive definite.

    ``product_with`` is ``z -> M z``; K steps suffice in exact arithmetic.  It stops when
    every row's residual is below the tolerance, a share of its ``rhs``.
    """
    z = torch.zeros_like(rhs)
    residual, direction = rhs, rhs
    square = residual.square().sum(dim=1, keepdim=True)
    target = tolerance**2 * square
    for _ in range(max_iterations):
        if bool((square <= target).all()):
            break
        image = product_with(direction)
        curvature = (direction * image).sum(dim=1, keepdim=True)
        # A row that has converged has nothing left to divide.
        length = torch.where(curvature > 0.0, square / curvature, 0.0)
        z = z + length * direction
        residual = residual - length * image
        next_square = residual.square().sum(dim=1, keepdim=True)
        ratio = torch.where(square > 0.0, next_square / square, 0.0)
        direction = residual + ratio * direction
        square = next_square
    return z


class _ImplicitProximal(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        values: torch.Tensor,
        solution: torch.Tensor,
        matrix: torch.Tensor,
        multiplier: torch.Tensor,
        bounds: torch.Tensor,
        max_iterations: int,
    ) -> torch.Tensor:
        ctx.save_for_backward(solution, matrix, multiplier, bounds)
        ctx.max_iterations = max_iterations
        return solution.clone()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        (grad,) = grads
        solution, matrix, multiplier, bounds = (t.double() for t in ctx.saved_tensors)

        def product_with(z: torch.Tensor) -> torch.Tensor:
            return z + multiplier * penalty_hessian_product(solution, matrix, z, bounds)

        # float64: near the multiplier's cap float32 would lose 1e-4 of the gradient.
        z = conjugate_gradient(product_with, grad.double(), ctx.max_iterations)
        return z.to(grad.dtype), None, None, None, None, None


def implicit_proximal(
    values: torch.Tensor,
    solution: torch.Tensor,
    matrix: torch.Tensor,
    multiplier: torch.Tensor | float,
    max_iterations: int | None = None,
    bounds: Bounds = 0.0,
) -> torch.Tensor:
    r"""Gives a solved proximal problem its implicit gradient (equation 6).

    Optimality :math:`u - f + \lambda \nabla C(u) = 0` yields
    :math:`du/df = (I + \lambda H)^{-1}`, symmetric positive definite, so one
    conjugate-gradient solve per batch applies its transpose.  The paper's
    :math:`I - \gamma P + \lambda H` is not symmetric; with the target network held
    fixed the :math:`\gamma P` term is absent and conjugate gradient is legitimate.

    The gradient flows into ``values``, the ``f`` that was projected, ``(B, K)``; the
    history of the solution itself is not used.  ``matrix`` is the set's ``A``,
    ``(m, K)``, ``bounds`` its ``b``, ``(m,)`` or one number; conjugate gradient takes
    ``2 K`` steps at most if no other number is given.
    """
    multiplier = torch.as_tensor(multiplier, dtype=values.dtype, device=values.device)
    bounds = torch.as_tensor(bounds, dtype=values.dtype, device=values.device)
    iterations = max_iterations or 2 * values.shape[1]
    result: torch.Tensor = _ImplicitProximal.apply(
        values, solution.detach(), matrix, multiplier, bounds, iterations
    )
    return result
