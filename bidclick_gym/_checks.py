"""Checks of arguments: each raises ``ValueError`` with the name and what was given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ._arrays import AnyArray


def is_number(value: Any) -> bool:
    """Whether a value is a real number and not a bool."""
    number = isinstance(value, (int, float, np.integer, np.floating))
    return number and not isinstance(value, bool)


def check_integer(name: str, value: Any, low: int) -> int:
    """An integer of at least ``low``."""
    integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not integer or value < low:
        raise ValueError(f"{name} must be an integer >= {low}, got {value!r}")
    return int(value)


def check_number(
    name: str, value: Any, low: float, high: float = math.inf, *, open: bool = False
) -> float:
    """A finite number from ``low`` (excluded if ``open``) to ``high``."""
    # Not-a-number fails every comparison.
    fits = is_number(value) and low <= float(value) <= high and value != math.inf
    if not fits or (open and value == low):
        allowed = f"a finite number {'>' if open else '>='} {low:g}"
        if high < math.inf:
            allowed = f"a number in {'(' if open else '['}{low:g}, {high:g}]"
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    return float(value)


def check_range(name: str, values: npt.ArrayLike, low: float, high: float) -> AnyArray:
    """An array of finite numbers from ``low`` to ``high``."""
    values = np.asarray(values)
    inside = (values >= low) & (values <= high) & np.isfinite(values)
    if not inside.all():
        raise ValueError(
            f"{name} must be finite and in [{low:g}, {high:g}], "
            f"got {values[~inside].flat[0].item()!r}"
        )
    return values


def check_seed(seed: Any) -> None:
    """An integer of at least 0 or a ``SeedSequence``."""
    if not isinstance(seed, np.random.SeedSequence):
        check_integer("seed", seed, 0)


def check_choice(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """One of the allowed words."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {allowed}, got {value!r}")
