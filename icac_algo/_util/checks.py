"""Checks of arguments at the door: numbers, counts, seeds, paths, names of choices."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

__all__ = [
    "check_built",
    "check_choice",
    "check_count",
    "check_flag",
    "check_number",
    "check_part",
    "check_path",
    "check_seed",
]


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


def check_built(algo: Any) -> None:
    """Refuses an algorithm that has nothing to save or to ask yet.

    Raises:
        TypeError: it is no algorithm of d3rlpy.
        ValueError: it has no networks.
    """
    if not hasattr(algo, "impl"):
        raise TypeError(f"algo must be an algorithm of d3rlpy, got {type(algo).__name__}")
    if algo.impl is None:
        raise ValueError("algo must be built or fitted, got one without networks")


def check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Refuses a field that is not one of a few names.

    Raises:
        ValueError: with the field's name, what it was given and what is allowed.
    """
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}, got {value!r}")


def check_seed(value: Any, name: str = "seed") -> None:
    """Refuses what numpy and torch do not both take as a seed.

    Raises:
        ValueError: with the argument's name and what it was given.
    """
    integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not integer or not 0 <= value < 2**32:
        raise ValueError(f"{name} must be an integer from 0 to 2**32 - 1, got {value!r}")


def check_flag(name: str, value: Any) -> None:
    """Refuses what only happens to be true or false, such as ``"no"``.

    Raises:
        ValueError: with the argument's name and what it was given.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {value!r}")


def check_part(name: str, value: Any, kind: type) -> None:
    """Refuses what is no scaler or factory of d3rlpy; a scaler may be ``None``.

    Raises:
        ValueError: with the field's name, what it was given and what is allowed.
    """
    left_out = value is None and name.endswith("_scaler")
    if not left_out and not isinstance(value, kind):
        raise ValueError(f"{name} must be a {kind.__name__} of d3rlpy, got {value!r}")


def check_path(name: str, value: Any) -> None:
    """Refuses what no file can be called.

    Raises:
        TypeError: it is neither a text nor a path.
        ValueError: it is empty or holds a null character.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, got {value!r}")
    if not os.fspath(value) or "\0" in str(value):
        raise ValueError(f"{name} must be a path without null characters, got {value!r}")
