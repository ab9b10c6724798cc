"""Checks of arguments; each error names the argument, the value and what is allowed."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from .fields import plain


def check_number(
    name: str,
    value: Any,
    above: float = -math.inf,
    at_least: float = -math.inf,
    below: float = math.inf,
    at_most: float = math.inf,
) -> None:
    """Raises ``ValueError`` if the value is not a finite number within the bounds."""
    inside = is_finite(value)
    if not (inside and above < value < below and at_least <= value <= at_most):
        signs = {">": above, ">=": at_least, "<": below, "<=": at_most}
        bounds = [f"{s} {bound:g}" for s, bound in signs.items() if math.isfinite(bound)]
        raise ValueError(f"{name} must be a number {' and '.join(bounds)}, got {value!r}")


def is_finite(value: Any) -> bool:
    """Whether a value is a finite number, which a bool is not."""
    value = plain(value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value)


def is_integer(value: Any) -> bool:
    """Whether it is an integer, which a bool is not."""
    return isinstance(plain(value), int) and not isinstance(plain(value), bool)


def check_count(name: str, value: Any) -> None:
    """Raises ``ValueError`` if the value is not an integer of at least 1."""
    if not is_integer(value) or value < 1:
        raise ValueError(f"{name} must be an integer >= 1, got {value!r}")


def check_seed(value: Any, name: str = "seed") -> None:
    """Raises ``ValueError`` if numpy or torch does not take the value as a seed."""
    if not is_integer(value) or not 0 <= value < 2**32:
        raise ValueError(f"{name} must be an integer from 0 to 2**32 - 1, got {value!r}")


def check_flag(name: str, value: Any) -> None:
    """Raises ``ValueError`` if the value is not a bool."""
    if not isinstance(plain(value), bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")


def check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Raises ``ValueError`` if the value is not one of the allowed names."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}, got {value!r}")


def check_type(name: str, value: Any, kind: type, requirement: str) -> None:
    """Raises ``TypeError``, of what the value must do, if it is not of the kind."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must {requirement}, got {type(value).__name__}")


def check_rows(
    requirement: str,
    values: Any,
    bad: Any,
    first: int = 0,
    where: Callable[[int], str] = "row {}".format,
) -> None:
    """Raises ``ValueError`` with the first bad row, counted from ``first``, if any."""
    if bad.any():
        place = tuple(np.argwhere(bad)[0])
        row = where(int(first + place[0]))
        raise ValueError(f"{requirement}, {row} has {values[place]}")


def check_path(name: str, value: Any) -> None:
    """Raises ``TypeError`` or ``ValueError`` if no file can have this name."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, got {value!r}")
    if not os.fspath(value) or "\0" in str(value):
        raise ValueError(f"{name} must be a path without null characters, got {value!r}")


def check_built(algo: Any) -> None:
    """Raises ``TypeError`` if it is no algorithm, ``ValueError`` if it is not built."""
    if not hasattr(algo, "impl"):
        raise TypeError(f"algo must be an algorithm of d3rlpy, got {type(algo).__name__}")
    if algo.impl is None:
        raise ValueError("algo must be built or fitted, got one without networks")
