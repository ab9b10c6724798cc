"""What the commands of ``python -m benchmarks`` share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

__all__ = ["fraction", "fractions", "positive_int", "typed"]


def typed(words: Sequence[str]) -> str:
    """The command as it was typed, for reports."""
    return " ".join(["python -m benchmarks", *words])


def positive_int(text: str) -> int:
    """An integer of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def fraction(text: str) -> float:
    """A number in (0, 1], for argparse."""
    value = float(text)
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"must be in (0, 1], got {text}")
    return value


def fractions(text: str) -> tuple[float, ...]:
    """Such numbers, separated by commas, for argparse."""
    return tuple(fraction(part) for part in text.split(","))
