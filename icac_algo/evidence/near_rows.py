"""What pictures ask of an algorithm, and of the rows of a log near a context."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from d3rlpy.constants import ActionSpace
from scipy.special import ndtri, stdtrit

from .._util.checks import check_built, check_rows
from ..critics import check_log
from ..data import as_numbers, extra_values, logged_buffer
from ..shapes import Outcome, conditions

FloatArray = npt.NDArray[np.float64]

# Rows of a log that are near a context: this share, but at least so many.
_SHARE, _FEWEST = 0.05, 200
# A mean of fewer says nothing.
_DRAWN = 5
# Groups and points of a continuous action.
_GROUPS, _POINTS = 10, 101


@dataclasses.dataclass(frozen=True)
class AskedActions:
    """Actions as an algorithm takes them, ``(K,)`` or ``(K, 1)``, and where they are."""

    taken: Any
    places: FloatArray

    @classmethod
    def of(cls, algo: Any, given: Sequence[float] | None) -> AskedActions:
        check_built(algo)
        size = algo.action_size
        shape = getattr(algo.config, "constraint", None)
        if algo.get_action_type() == ActionSpace.CONTINUOUS:
            if given is None and shape is not None:
                named = shape.actions or [0.0, 1.0]
                given = [named[0], named[-1]]
            if size != 1 or given is None:
                raise ValueError(
                    "actions must be the ends of the range of one continuous action, got "
                    f"{given} for {size} of them"
                )
            ends = _rising(given, 2)
            places = np.linspace(ends[0], ends[-1], _POINTS)
            return cls(places[:, None].astype(np.float32), places)
        if given is None:
            default = np.arange(float(size))
            places = default if shape is None else shape.positions(size)
        else:
            places = _rising(given, size)
        return cls(np.arange(size), np.asarray(places, np.float64))

    @property
    def discrete(self) -> bool:
        return self.taken.ndim == 1

    def greedy(self, algo: Any, x: Any) -> tuple[Any, FloatArray]:
        """As the algorithm gives them, and where they are, ``(N,)``."""
        chosen = np.asarray(algo.predict(x))
        flat = chosen.reshape(-1)
        return chosen, self.places[flat] if self.discrete else flat.astype(np.float64)


@dataclasses.dataclass(frozen=True)
class NearRows:
    """Rows of a log: what is NaN counts for nothing."""

    observations: npt.NDArray[Any]
    actions: npt.NDArray[Any]
    columns: dict[str | None, FloatArray]

    @classmethod
    def of(cls, algo: Any, dataset: Any, outcomes: list[Outcome]) -> NearRows:
        x = observations_of(algo, dataset)
        buffer = logged_buffer(dataset)
        check_log(buffer, outcomes)
        info, kind = buffer.dataset_info, algo.get_action_type()
        if info.action_space != kind or info.action_size > algo.action_size:
            raise ValueError(
                f"dataset must have the actions of algo, {kind.name.lower()} of size "
                f"{algo.action_size}, got {info.action_space.name.lower()} of size "
                f"{info.action_size}"
            )
        columns, index = buffer.columns, buffer.columns.index
        rows = index.decisions()
        rewards = columns.rewards.take(rows).reshape(-1).astype(np.float64)
        if getattr(algo, "gamma", 0.0) > 0.0 and index.terminals < index.transitions:
            rewards = np.full(len(rows), np.nan)
        found: dict[str | None, FloatArray] = {None: rewards}
        for one in outcomes:
            if one.column is None:
                continue
            values = np.asarray(extra_values(columns, one.column, rows), np.float64)
            for j in conditions(outcomes, one):
                happened = extra_values(columns, str(outcomes[j].column), rows) > 0.0
                values = np.where(happened, values, np.nan)
            found[one.column] = values
        return cls(x, columns.actions.take(rows).reshape(-1), found)

    def near(self, context: Any) -> npt.NDArray[np.int64]:
        """Numbers of the rows that are nearest to a context."""
        gaps = (self.observations - context) / spread_of(self.observations)
        count = max(_FEWEST, round(_SHARE * len(gaps)))
        return np.square(gaps).sum(axis=1).argsort(kind="stable")[:count]

    def means(self, column: str | None, rows: Any, asked: AskedActions) -> FloatArray:
        """Where, mean, ends of its interval and rows of each group, ``(5, G)``."""
        actions, values = self.actions[rows], self.columns[column][rows]
        groups = actions
        if not asked.discrete:
            inner = np.quantile(actions, np.arange(1, _GROUPS) / _GROUPS)
            groups = np.searchsorted(np.unique(inner), actions, side="right")
        places = asked.places[actions] if asked.discrete else actions
        found = []
        for group in np.unique(groups):
            kept = (groups == group) & np.isfinite(values)
            count = int(kept.sum())
            if count >= _DRAWN:
                ends = _interval(values[kept])
                found.append((places[kept].mean(), values[kept].mean(), *ends, count))
        return np.array(found).reshape(-1, 5).T


def _interval(values: FloatArray) -> tuple[float, float]:
    """95 % of a mean: Wilson's (1927) if all are 0 or 1, which may all be the same."""
    count, mean = len(values), values.mean()
    if np.isin(values, (0.0, 1.0)).all():
        z = float(ndtri(0.975))
        shrunk = (mean + z**2 / (2.0 * count)) / (1.0 + z**2 / count)
        half = np.sqrt(mean * (1.0 - mean) / count + (z / (2.0 * count)) ** 2)
        half *= z / (1.0 + z**2 / count)
        return float(shrunk - half), float(shrunk + half)
    half = stdtrit(count - 1, 0.975) * values.std(ddof=1) / np.sqrt(count)
    return float(mean - half), float(mean + half)


def values_of(algo: Any, x: Any, actions: Any, column: str | None) -> FloatArray:
    """Q, or the mean of an outcome, ``(N,)``."""
    if column is not None:
        return np.asarray(algo.predict_outcome(x, actions, column), np.float64)
    return np.asarray(algo.predict_value(x, actions), np.float64).reshape(-1)


def observations_of(algo: Any, dataset: Any) -> npt.NDArray[Any]:
    check_built(algo)
    columns = logged_buffer(dataset).columns
    if columns.is_tuple:
        raise ValueError("dataset must have vector observations, got tuples")
    rows = columns.index.decisions()
    return vectors("dataset", columns.observations[0].take(rows), algo)


def vectors(name: str, values: Any, algo: Any) -> npt.NDArray[Any]:
    """Observations that the algorithm can be asked about, ``(N, d)``."""
    x = as_numbers(name, values).astype(np.float32)
    size = tuple(algo.observation_shape)
    if x.ndim != 2 or x.shape[1:] != size or not len(x):
        raise ValueError(
            f"{name} must have observations of shape {('N', *size)}, got {x.shape}; "
            "only vectors are drawn"
        )
    check_rows(f"{name} must be finite", x, ~np.isfinite(x))
    return x


def _rising(given: Sequence[float], size: int) -> FloatArray:
    found = as_numbers("actions", given).astype(np.float64)
    rises = found.ndim == 1 and np.isfinite(found).all() and (np.diff(found) > 0.0).all()
    if not rises or len(found) != size:
        raise ValueError(f"actions must be {size} numbers that rise, got {given}")
    return found


def spread_of(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Of each feature; 1 of one that does not vary."""
    spread = x.std(axis=0)
    return np.where(spread > 0.0, spread, 1.0)
