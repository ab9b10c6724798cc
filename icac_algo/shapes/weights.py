"""What an outcome counts in the reward: known arithmetic of features and the action."""

from __future__ import annotations

import ast
import collections
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

_ACTION = "action"
_ALLOWED = (
    "a number, or words made of numbers, action, features such as x1, +, -, * and "
    "brackets, such as 'action - 0.5 * x1'"
)
# What a term is a product of, in order; "action" may occur several times.
_Factors = tuple[str, ...]


class Weight:
    """A polynomial of the action and of features, in units of the reward per outcome.

    .. code-block:: python

        Weight("action - x3")  # a price less the unit cost, feature 3
        Weight(-2.5)

    Args:
        words: a number, or a formula of ``action`` (in its own units), features ``x0``,
            ``x1``, ... of a vector observation (unscaled), numbers, ``+``, ``-``, ``*``
            and division by numbers.

    Raises:
        ValueError: it is something else, or a coefficient is not finite.
    """

    def __init__(self, words: Any):
        refused = f"weight must be {_ALLOWED}, got {words!r}"
        if isinstance(words, bool) or not isinstance(words, (str, int, float)):
            raise ValueError(refused)
        try:
            parsed = ast.parse(str(words).strip(), mode="eval").body
            self._terms = {
                factors: coefficient
                for factors, coefficient in _polynomial(parsed).items()
                if coefficient != 0.0 or not factors
            }
        except (ValueError, SyntaxError, OverflowError, RecursionError, MemoryError):
            raise ValueError(refused) from None
        if not all(math.isfinite(number) for number in self._terms.values()):
            raise ValueError(refused)

    @functools.cached_property
    def features(self) -> tuple[int, ...]:
        """The features that it reads, rising."""
        names = {name for factors in self._terms for name in factors} - {_ACTION}
        return tuple(sorted(int(name[1:]) for name in names))

    @property
    def reads_action(self) -> bool:
        """Whether it depends on the action."""
        return any(_ACTION in factors for factors in self._terms)

    def __call__(
        self,
        observations: torch.Tensor | None,
        actions: torch.Tensor,
        magnitude: bool = False,
    ) -> torch.Tensor:
        """Its values, float64 ``(B, M)``; ``(1, M)`` where it reads no feature.

        Observations are unscaled, actions in their own units, ``(B, M)`` or ``(1, M)``;
        with ``magnitude`` no number has a sign: what rounding is relative to.
        """
        actions = actions.double()
        if magnitude:
            actions = actions.abs()
            observations = None if observations is None else observations.abs()
        total = torch.zeros_like(actions)
        for factors, coefficient in self._terms.items():
            coefficient = abs(coefficient) if magnitude else coefficient
            term = torch.full_like(actions, coefficient)
            for name in factors:
                if name == _ACTION:
                    term = term * actions
                    continue
                assert observations is not None
                feature = int(name[1:])
                term = term * observations[:, feature : feature + 1].to(term)
            total = total + term
        return total


def _polynomial(node: ast.expr) -> dict[_Factors, float]:
    """Products of names to coefficients.  Raises ``ValueError`` for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        raise ValueError("no formula")
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return {(): float(node.value)}
    if isinstance(node, ast.Name) and _is_name(node.id):
        return {(node.id,): 1.0}
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        sign = -1.0 if isinstance(node.op, ast.USub) else 1.0
        return _times(_polynomial(node.operand), {(): sign})
    if not isinstance(node, ast.BinOp):
        raise ValueError("no formula")
    left, right = _polynomial(node.left), _polynomial(node.right)
    if isinstance(node.op, ast.Add):
        return _plus(left, right)
    if isinstance(node.op, ast.Sub):
        return _plus(left, _times(right, {(): -1.0}))
    if isinstance(node.op, ast.Mult):
        return _times(left, right)
    if isinstance(node.op, ast.Div) and set(right) == {()} and right[()] != 0.0:
        return _times(left, {(): 1.0 / right[()]})
    raise ValueError("no formula")


def _is_name(name: str) -> bool:
    digits = name[1:]
    is_feature = name[0] == "x" and digits.isascii() and digits.isdigit()
    return name == _ACTION or (is_feature and len(digits) < 10)


def _plus(*parts: dict[_Factors, float]) -> dict[_Factors, float]:
    total: dict[_Factors, float] = collections.defaultdict(float)
    for part in parts:
        for factors, coefficient in part.items():
            total[factors] += coefficient
    return dict(total)


def _times(left: dict[_Factors, float], right: dict[_Factors, float]) -> Any:
    return _plus(
        *(
            {tuple(sorted(a + b)): one * other}
            for a, one in left.items()
            for b, other in right.items()
        )
    )


def check_features(
    what: str, features: Sequence[int], observation_shape: Sequence[Any]
) -> None:
    """Checks that a vector observation has features."""
    if not features:
        return
    if len(observation_shape) != 1 or not isinstance(
        observation_shape[0], (int, np.integer)
    ):
        raise ValueError(
            f"{what} names features of vector observations, got observations of shape "
            f"{tuple(observation_shape)}"
        )
    if max(features) >= observation_shape[0]:
        raise ValueError(
            f"{what} must name features below the observation size "
            f"{observation_shape[0]}, got {max(features)}"
        )
