"""What cross-validation found: errors, what their differences are worth, a choice."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["Selection"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Selection:
    """Held-out Bellman errors of C candidates on E episodes, in squared reward units.

    Args:
        names: of the candidates, as they were listed.
        squared: summed over each episode's steps, with the common target, ``(C, E)``.
        own_squared: the same with each candidate's own target, ``(C, E)``.
        steps: transitions of each episode, ``(E,)``.
        fold: in which each episode was held out, from 0, ``(E,)``.
        gamma: of the targets; ``None`` if every step ends its episode, and there is
            nothing but the reward.
    """

    names: tuple[str, ...]
    squared: FloatArray
    own_squared: FloatArray
    steps: IntArray
    fold: IntArray
    gamma: float | None

    @property
    def errors(self) -> FloatArray:
        """Mean over all steps, ``(C,)``."""
        return np.asarray(self.squared.sum(axis=1) / self.steps.sum())

    @property
    def own_errors(self) -> FloatArray:
        """Mean over all steps with each candidate's own target, ``(C,)``."""
        return np.asarray(self.own_squared.sum(axis=1) / self.steps.sum())

    @property
    def fold_errors(self) -> FloatArray:
        """Mean over the steps of each fold, ``(C, F)``."""
        inside = self.fold[:, None] == np.arange(self.fold.max() + 1)
        return np.asarray(self.squared @ inside / (self.steps @ inside))

    @property
    def differences(self) -> FloatArray:
        """Error minus the lowest one, ``(C,)``."""
        errors = self.errors
        return np.asarray(errors - errors.min())

    @property
    def standard_errors(self) -> FloatArray:
        """Of the differences, paired over episodes, ``(C,)``.

        Episodes may be long and their steps hang together, so an episode is what counts
        as one observation.  It is the error of judging these networks; what another
        training would change is not in it.
        """
        episodes = len(self.steps)
        gaps = self.squared - self.squared[self.errors.argmin()]
        off = gaps - self.differences[:, None] * self.steps
        variance = (off**2).sum(axis=1) * episodes / (episodes - 1)
        return np.asarray(np.sqrt(variance) / self.steps.sum())

    @property
    def lowest(self) -> str:
        """The candidate of the lowest error, whatever its lead is worth."""
        return self.names[int(self.errors.argmin())]

    @property
    def best(self) -> str:
        """The first listed candidate within one standard error of the lowest error.

        Candidates are listed from the most constrained to the freest: of those that the
        log cannot tell apart, the most constrained one is chosen.
        """
        near = self.differences <= self.standard_errors
        return self.names[int(near.argmax())]

    def among(self, names: Sequence[str]) -> Selection:
        """The same scores of some of the candidates, in the order of the list.

        The common target stays the one that all of them made.

        Raises:
            ValueError: there are none, or one is unknown.
        """
        unknown = [name for name in names if name not in self.names]
        if unknown or not len(names):
            raise ValueError(f"names must be some of {self.names}, got {list(names)}")
        kept = [i for i, name in enumerate(self.names) if name in names]
        return dataclasses.replace(
            self,
            names=tuple(self.names[i] for i in kept),
            squared=self.squared[kept],
            own_squared=self.own_squared[kept],
        )

    def __str__(self) -> str:
        return self.table()

    def table(self) -> str:
        """A Markdown table."""
        lines = [
            "| candidate | error | above the lowest | by fold | own target | chosen |",
            "| --- | ---: | --- | --- | ---: | --- |",
        ]
        columns = zip(
            self.names,
            self.errors,
            self.differences,
            self.standard_errors,
            self.fold_errors,
            self.own_errors,
            strict=True,
        )
        for name, error, difference, deviation, by_fold, own in columns:
            folds = ", ".join(f"{value:.6g}" for value in by_fold)
            lines.append(
                f"| {name} | {error:.6g} | {difference:.3g} ± {deviation:.2g} | "
                f"{folds} | {own:.6g} | {'yes' if name == self.best else ''} |"
            )
        return "\n".join(lines)
