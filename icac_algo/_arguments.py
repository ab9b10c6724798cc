"""Checks of arguments at the door: numbers, counts, names of choices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["check_choice", "check_count", "check_number"]


def check_number(
    name: str,
    value: Any,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
    at_most: float = math.inf,
) -> None:
    """Refuses a field that is not a finite number within bounds.

    Raises:
        ValueError: with the field's name, what it was given and what is allowed.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    inside = number and math.isfinite(value)
    if not (inside and above < value < below and at_least <= value <= at_most):
        bounds = [
            f"{word} {bound:g}"
            for word, bound in (
                (">", above),
                (">=", at_least),
                ("<", below),
                ("<=", at_most),
            )
            if math.isfinite(bound)
        ]
        raise ValueError(f"{name} must be a number {' and '.join(bounds)}, got {value!r}")


def check_count(name: str, value: Any) -> None:
    """Refuses a field that is not an integer of at least 1.

    Raises:
        ValueError: with the field's name and what it was given.
    """
    integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not integer or value < 1:
        raise ValueError(f"{name} must be an integer >= 1, got {value!r}")


def check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Refuses a field that is not one of a few names.

    Raises:
        ValueError: with the field's name, what it was given and what is allowed.
    """
    if value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}, got {value!r}")
