"""Looking figures up in the results, as intervals over seeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..engine import Interval, bootstrap_mean, paired_difference
from .experiments import Results, Rows

__all__ = ["MIN_SEEDS", "Evidence", "FloatArray", "MissingError"]

FloatArray = npt.NDArray[np.float64]

#: A bootstrap over fewer seeds decides nothing.
MIN_SEEDS = 3


class MissingError(LookupError):
    """Results that a claim needs were not computed."""


class Evidence:
    """What claims are judged by.

    Args:
        results: raw rows of all parts.
    """

    def __init__(self, results: Results):
        self.results = results

    # -- one figure for each seed ------------------------------------------

    def table1(
        self,
        algorithm: str,
        column: str,
        env: str = "BidClick-v0",
        fraction: float = 1.0,
    ) -> dict[int, float]:
        """A figure of Table I by seed.

        Raises:
            MissingError: it was not computed.
        """
        return self._by_seed(
            [
                row
                for row in self.results.table1
                if (row["algorithm"], row["env"]) == (algorithm, env)
                and float(row["fraction"]) == fraction
            ],
            column,
            f"Table I, {algorithm} on {env} at {100 * fraction:g} %",
        )

    def table2(
        self,
        variant: str,
        column: str,
        critic: str = "",
        env: str = "BidClick-v0",
        fraction: float = 1.0,
    ) -> dict[int, float]:
        """A figure of Table II by seed, of the critic that the variant deploys.

        Args:
            variant: a name in ``VARIANTS``.
            column: of the results.
            critic: another critic of the variant.
            env: Gymnasium id.
            fraction: share of the log.

        Raises:
            MissingError: it was not computed.
        """
        from .variants import VARIANTS

        run = VARIANTS[variant].same_as or variant
        critic = critic or VARIANTS[variant].counted
        return self._by_seed(
            [
                row
                for row in self.results.table2
                if (row["variant"], row["critic"], row["env"]) == (run, critic, env)
                and float(row["fraction"]) == fraction
            ],
            column,
            f"Table II, {variant} on {env} at {100 * fraction:g} %",
        )

    def curve(self, algorithm: str, column: str) -> dict[int, list[tuple[float, float]]]:
        """Points ``(step, figure)`` of a training curve by seed.

        Raises:
            MissingError: it was not computed.
        """
        curves: dict[int, list[tuple[float, float]]] = {}
        for row in self.results.curves:
            if row["algorithm"] == algorithm and row[column] is not None:
                point = (float(row["step"]), float(row[column]))
                curves.setdefault(int(row["seed"]), []).append(point)
        if not curves:
            raise MissingError(f"training curves of {algorithm}")
        return curves

    def cost(self, algorithm: str, column: str = "update_ms") -> dict[int, float]:
        """Milliseconds by round.

        Raises:
            MissingError: it was not measured.
        """
        found = {
            int(row["round"]): float(row[column])
            for row in self.results.cost
            if row["algorithm"] == algorithm
        }
        if not found:
            raise MissingError(f"cost of {algorithm}")
        return found

    def theory(self, figure: str) -> float:
        """A figure of section III.

        Raises:
            MissingError: it was not computed.
        """
        value = self.results.theory_figure(figure)
        if value is None:
            raise MissingError(f"theory: {figure}")
        return value

    def reading(self, name: str, column: str) -> float:
        """A value of the reading whose name starts so.

        Raises:
            MissingError: it was not computed.
        """
        for row in self.results.readings:
            if str(row["reading"]).startswith(name):
                return float(row[column])
        raise MissingError(f"readings: {name}")

    # -- intervals ---------------------------------------------------------

    @staticmethod
    def mean(values: dict[int, float]) -> Interval:
        """Mean over seeds with its 95 % bootstrap interval."""
        return bootstrap_mean(list(values.values()))

    @staticmethod
    def difference(first: dict[int, float], second: dict[int, float]) -> Interval:
        """Paired difference over the seeds that both have.

        Raises:
            MissingError: fewer than ``MIN_SEEDS``.
        """
        if len(first.keys() & second.keys()) < MIN_SEEDS:
            raise MissingError(f"{MIN_SEEDS} seeds in common")
        return paired_difference(first, second)

    @staticmethod
    def ratio(first: dict[int, float], second: dict[int, float]) -> float:
        """Median over rounds of the ratio of two figures of one round."""
        both = sorted(first.keys() & second.keys())
        return float(np.median([first[i] / second[i] for i in both]))

    def each_curve(
        self,
        algorithm: str,
        column: str,
        summary: Callable[[FloatArray, FloatArray], float],
    ) -> dict[int, float]:
        """A summary of each seed's curve: steps and figures to a number."""
        found = {}
        for seed, points in self.curve(algorithm, column).items():
            steps, figures = np.array(sorted(points)).T
            found[seed] = summary(steps, figures)
        return found

    @staticmethod
    def _by_seed(rows: Rows, column: str, what: str) -> dict[int, float]:
        found = {
            int(row["seed"]): float(row[column])
            for row in rows
            if row[column] is not None
        }
        if not found:
            raise MissingError(what)
        return found
