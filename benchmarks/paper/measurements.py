"""What was measured, looked up by seed; and means, differences and ratios of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..engine.intervals import Interval, bootstrap_mean, paired_difference
from ..engine.rows import Rows, by_seed, select
from .variants import VARIANTS

Found = TypeVar("Found", bound=Collection[Any])
FloatArray = npt.NDArray[np.float64]
BySeed = dict[int, float]

#: With its 95 % bootstrap interval.
mean = bootstrap_mean
#: A bootstrap over fewer seeds decides nothing.
MIN_SEEDS = 3


class MissingError(LookupError):
    """Results that a claim needs were not computed."""


class Measurements:
    """What claims are judged by; every look-up raises ``MissingError`` for no result."""

    def __init__(self, rows: Mapping[str, Rows]):
        self._rows = rows

    def __getitem__(self, part: str) -> Rows:
        return list(self._rows.get(part, []))

    def table1(
        self, name: str, column: str, env: str = "BidClick-v0", fraction: float = 1.0
    ) -> BySeed:
        where: dict[str, Any] = {"algorithm": name, "env": env, "fraction": fraction}
        what = f"Table I, {name} on {env} at {100 * fraction:g} %"
        return _found(by_seed(self["table1"], column, **where), what)

    def table2(
        self,
        name: str,
        column: str,
        critic: str = "",
        env: str = "BidClick-v0",
        fraction: float = 1.0,
    ) -> BySeed:
        """A figure of Table II by seed; by default of the critic that is deployed."""
        where: dict[str, Any] = {
            "variant": VARIANTS[name].same_as or name,
            "critic": critic or VARIANTS[name].counted,
            "env": env,
            "fraction": fraction,
        }
        what = f"Table II, {name} on {env} at {100 * fraction:g} %"
        return _found(by_seed(self["table2"], column, **where), what)

    def curve(self, name: str, column: str) -> dict[int, tuple[FloatArray, FloatArray]]:
        """Steps and figures of a training curve by seed."""
        rows = select(self["curves"], algorithm=name)
        curves = {}
        for seed in sorted({int(row["seed"]) for row in rows}):
            points = by_seed(rows, column, key="step", seed=seed)
            if points:
                steps = sorted(points)
                figures = np.array([points[step] for step in steps])
                curves[seed] = (np.array(steps, dtype=np.float64), figures)
        return _found(curves, f"training curves of {name}")

    def each_curve(
        self, name: str, column: str, summary: Callable[[FloatArray, FloatArray], float]
    ) -> BySeed:
        """A summary of each seed's curve: steps and figures to a number."""
        return {seed: summary(*c) for seed, c in self.curve(name, column).items()}

    def cost(self, name: str) -> BySeed:
        """Milliseconds of an update by round."""
        found = by_seed(self["cost"], "update_ms", key="round", algorithm=name)
        return _found(found, f"cost of {name}")

    def theory(self, figure: str) -> float:
        found = [row["value"] for row in select(self["theory"], figure=figure)]
        return float(_found(found, f"theory: {figure}")[0])

    def interpretation(self, name: str, column: str) -> float:
        """A value in the interpretation of the auction whose name starts so."""
        rows = self["interpretations"]
        found = [r[column] for r in rows if str(r["interpretation"]).startswith(name)]
        return float(_found(found, f"interpretations: {name}")[0])


def _found(found: Found, what: str) -> Found:
    if not found:
        raise MissingError(what)
    return found


def difference(first: BySeed, second: BySeed) -> Interval:
    """Paired difference over the seeds that both have."""
    if len(first.keys() & second.keys()) < MIN_SEEDS:
        raise MissingError(f"{MIN_SEEDS} seeds in common")
    return paired_difference(first, second)


def listed(intervals: Mapping[str, Interval], digits: int) -> str:
    """Intervals with their names, in words."""
    return ", ".join(
        f"{name} {found.format(digits)}" for name, found in intervals.items()
    )
