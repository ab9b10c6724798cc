"""Timings: all in turn, round after round, so that a slow minute hits all alike."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from tqdm.auto import tqdm

from .intervals import figures_of
from .markdown import table

Key = TypeVar("Key")


@contextlib.contextmanager
def showing(title: str) -> Iterator[Callable[[str], None]]:
    """A progress bar, as a function that is told what is being timed."""
    with tqdm(desc=title, unit=" timings", leave=False) as bar:

        def show(text: str) -> None:
            bar.set_postfix_str(text)
            bar.update()

        yield show


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def seconds_of(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def in_turn(
    timed: Mapping[Key, Callable[[], float]],
    rounds: int,
    show: Callable[[str], None] = lambda text: None,
) -> Iterator[tuple[Key, int, float]]:
    """What each function says that it took, all of them once in every round."""
    for turn in range(rounds):
        for name, seconds in timed.items():
            show(str(name))
            yield name, turn, seconds()


def median(values: Mapping[int, float] | Sequence[float]) -> float:
    """The median; ``nan`` of nothing."""
    return float(np.median(figures_of(values))) if len(values) else math.nan


def ratio(first: Mapping[int, float], second: Mapping[int, float]) -> float:
    """The median over shared rounds of one time in units of the other."""
    return median([first[turn] / second[turn] for turn in first if turn in second])


def spread(
    values: Mapping[int, float] | Sequence[float], factor: float = 1.0, digits: int = 3
) -> str:
    """``median [smallest, largest]``, the median alone of one value."""
    found = [factor * value for value in figures_of(values)]
    middle, low, high = median(found), min(found), max(found)
    if len(found) == 1:
        return f"{middle:.{digits}g}"
    return f"{middle:.{digits}g} [{low:.{digits}g}, {high:.{digits}g}]"


def growth_exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The slope of log value over log size; ``nan`` for fewer than two sizes."""
    if len(set(sizes)) < 2 or min(values) <= 0.0:
        return math.nan
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


@dataclasses.dataclass(frozen=True)
class Target:
    """A figure to be reached."""

    name: str  # what is compared
    measured: float  # the figure, ``nan`` if it was not measured
    bound: float  # what it is to be
    at_least: bool  # whether larger is better

    @property
    def verdict(self) -> str:
        """``reached``, ``missed`` or ``not measured``."""
        if math.isnan(self.measured):
            return "not measured"
        above = self.measured >= self.bound
        return "reached" if above == self.at_least else "missed"


def targets_table(targets: Sequence[Target]) -> str:
    lines = [
        (
            target.name,
            "" if math.isnan(target.measured) else f"{target.measured:.3g}",
            f"{'>=' if target.at_least else '<='} {target.bound:.3g}",
            target.verdict,
        )
        for target in targets
    ]
    return table(["Target", "Measured", "To reach", ""], lines, "lrr")
