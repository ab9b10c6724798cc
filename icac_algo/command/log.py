"""A table as a log of decisions: observations, actions, rewards, and what is held out."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..critics import Block
from ..data import ColumnarReplayBuffer, LoggedSteps, number_steps
from ..shapes import Outcome, Weight
from .expressions import Expression
from .preparation import LARGEST, Preparation, is_text
from .spec import Spec
from .tables import numbers, plain_column, pyarrow, read_columns

FloatArray = npt.NDArray[np.float64]

#: Up to so many different actions are levels.
MOST_LEVELS = 20
#: Where any number may be chosen, rivals choose from 3 to 12 levels, of which each has so
#: many held-out rows.
ROWS_OF_LEVEL, MOST_JUDGED = 130, 12
#: Rows to learn from, to hold out, and to learn from for each level, at least.
LEARNED_ROWS, HELD_ROWS, LEVEL_ROWS = 50, 10, 3


@dataclasses.dataclass(frozen=True)
class Actions:
    """What may be done, in units of its own.

    Args:
        column: of the log.
        levels: rising; ``None`` for any number from ``low`` to ``high``.
        low: the least of the log.
        high: the largest.
        judged: levels, rising; of any number those that rivals choose from.
        edges: between the values that count as one of ``judged``.
        merged: whether a level stands for several actions of the log.
    """

    column: str
    levels: tuple[float, ...] | None
    low: float
    high: float
    judged: tuple[float, ...]
    edges: tuple[float, ...]
    merged: bool = False

    @classmethod
    def of(cls, column: str, values: FloatArray, levels: int, held_out: int) -> Actions:
        """What a log's actions are, of which so many are held out.

        Raises:
            ValueError: there is only one, or fewer than the levels asked for.
        """
        distinct = _distinct(values)
        low, high = float(distinct[0]), float(distinct[-1])
        if len(distinct) < 2:
            raise ValueError(f"{column} must have several values, is always {low:g}")
        if not levels and len(distinct) > MOST_LEVELS:
            count = min(max(held_out // ROWS_OF_LEVEL, 3), MOST_JUDGED)
            judged, edges = _quantiles(values, count)
            return cls(column, None, low, high, judged, edges)
        count = min(len(distinct), levels or MOST_LEVELS)
        if len(values) < LEVEL_ROWS * count:
            raise ValueError(
                f"{column} must have at least {LEVEL_ROWS} rows to learn from for each "
                f"of {count} levels, has {len(values)}: give fewer levels"
            )
        if not levels or len(distinct) <= levels:
            found = tuple(distinct.tolist())
            return cls(column, found, low, high, found, _middles(found))
        found, edges = _quantiles(values, levels)
        return cls(column, found, low, high, found, edges, merged=True)

    @property
    def positions(self) -> list[float]:
        """For a shape: the levels, or the ends of the range."""
        return [self.low, self.high] if self.levels is None else list(self.levels)

    def nearest(self, values: FloatArray) -> npt.NDArray[np.int64]:
        """Which of ``judged`` each counts as, ``(N,)``."""
        return np.searchsorted(self.edges, values, side="right").astype(np.int64)

    def __str__(self) -> str:
        if self.levels is None:
            return f"any number from {self.low:g} to {self.high:g}"
        return f"{len(self.levels)} levels, {', '.join(f'{v:g}' for v in self.levels)}"


def _distinct(values: FloatArray) -> FloatArray:
    """Rising; 0.3 and 0.1 + 0.2 are one, as they are to networks."""
    found = np.unique(values)
    return found[np.unique(found.astype(np.float32), return_index=True)[1]]


def _middles(levels: tuple[float, ...]) -> tuple[float, ...]:
    return tuple((a + b) / 2.0 for a, b in itertools.pairwise(levels))


def _quantiles(
    values: FloatArray, count: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Medians of groups of about one size, and the edges between them."""
    inner = np.unique(np.quantile(values, np.arange(1, count) / count))
    group = np.searchsorted(inner, values, side="right")
    medians = [float(np.median(values[group == g])) for g in np.unique(group)]
    kept = [float(inner[g]) for g in np.unique(group)[:-1]]
    return tuple(medians), tuple(kept)


@dataclasses.dataclass(frozen=True)
class Part:
    """N decisions of a log, prepared.

    Args:
        table: their columns, as they were.
        observations: float32, ``(N, d)``.
        actions: in units of their own, ``(N,)``.
        rewards: ``(N,)``.
        outcomes: by column, ``(N,)``.
        propensities: ``(N,)``, if there are any.
        groups: decisions of one number depend on each other, ``(N,)``.
        space: what may be done.
    """

    table: Any
    observations: npt.NDArray[np.float32]
    actions: FloatArray
    rewards: FloatArray
    outcomes: dict[str, FloatArray]
    propensities: FloatArray | None
    groups: npt.NDArray[np.int64]
    space: Actions

    def __len__(self) -> int:
        return len(self.actions)

    def dataset(self) -> ColumnarReplayBuffer:
        """What algorithms learn from: every decision an episode of its own."""
        options: dict[str, Any] = {}
        actions: Any = self.actions[:, None].astype(np.float32)
        if self.space.levels is not None:
            actions = self.space.nearest(self.actions)
            options = {"action_size": len(self.space.levels)}
        return ColumnarReplayBuffer.from_arrays(
            self.observations, actions, self.rewards, extras=self.outcomes, **options
        )

    @property
    def by_group(self) -> npt.NDArray[np.int64]:
        """Rows in the order of :meth:`steps`, which keeps groups together."""
        return np.argsort(self.groups, kind="stable")

    def steps(self) -> LoggedSteps:
        """What is judged by: levels as indices, groups as episodes."""
        order = self.by_group
        columns = {name: values[order] for name, values in self.outcomes.items()}
        # Parts of a level's probability are none of the level.
        kept = None if self.space.merged else self.propensities
        given = None if kept is None else kept[order]
        observed, rewards = self.observations[order], self.rewards[order]
        if self.space.levels is None:
            numbers, groups = self.actions[order], self.groups[order]
            return number_steps(
                observed, numbers, rewards, given, groups, columns=columns
            )
        return LoggedSteps(
            observed,
            self.space.nearest(self.actions)[order],
            rewards,
            given,
            self.groups[order],
            len(self.space.levels),
            columns=columns,
        )

    def rows(self, where: Any) -> Part:
        """Some of them."""
        where = np.asarray(where)
        numbers_of = np.flatnonzero(where) if where.dtype == bool else where
        arrays = {
            name: getattr(self, name)[numbers_of]
            for name in ("observations", "actions", "rewards", "groups")
        }
        kept = self.propensities
        return dataclasses.replace(
            self,
            table=self.table.take(pyarrow().array(numbers_of)),
            outcomes={name: v[numbers_of] for name, v in self.outcomes.items()},
            propensities=None if kept is None else kept[numbers_of],
            **arrays,
        )

    def some(self, most: int, seed: int) -> Part:
        """At most so many of them, by chance."""
        if len(self) <= most:
            return self
        return self.rows(
            np.sort(np.random.default_rng(seed).permutation(len(self))[:most])
        )


@dataclasses.dataclass(frozen=True)
class Log:
    """A log as a spec describes it.

    Args:
        spec: what was said of it.
        preparation: of observed columns, fitted on the part to learn from.
        training: that part.
        held_out: the other.
    """

    spec: Spec
    preparation: Preparation
    training: Part
    held_out: Part

    @classmethod
    def read(cls, spec: Spec, preparation: Preparation | None = None) -> Log:
        """Reads, checks, prepares and splits; fits the preparation if none is given.

        Raises:
            ValueError: a file cannot be read, a column is missing or of another kind, or
                has rows that cannot be learned from; the first is named, from 1.
        """
        table = read_columns(spec.log, spec.columns)
        values = {name: numbers(table, name) for name in spec.numbers}
        for name, formula in spec.derived.items():
            values[name] = formula(values, table.num_rows)
        actions = _whole(values[spec.act], spec.act)
        rewards = Expression(spec.reward)(values, table.num_rows)
        _small_enough(rewards, f"reward {spec.reward!r}")
        propensities = None
        if spec.propensity:
            propensities = _whole(numbers(table, spec.propensity), spec.propensity)
        groups = np.arange(table.num_rows)
        if spec.episode:
            groups = _codes(table, spec.episode)
        held = _held_out(table, spec, groups)
        if np.ptp(rewards[~held]) == 0.0:
            raise ValueError(
                f"reward {spec.reward!r} must have several values, is always "
                f"{rewards[~held][0]:g}"
            )
        # Levels and ranges are of what is learned from; nothing else is known.
        space = Actions.of(spec.act, actions[~held], spec.levels, int(held.sum()))
        if propensities is not None:
            # Of any number they are densities.
            most = np.inf if space.levels is None else 1.0
            _check_propensities(propensities, most, spec.propensity)
        if preparation is None:
            columns, named = spec.observe, spec.categories
            preparation = Preparation.fit(table, columns, named, ~held)
        stated = spec.stated_outcomes(preparation, space.positions)
        whole = Part(
            table,
            preparation.observations(table),
            actions,
            rewards,
            _outcomes(stated, values),
            propensities,
            groups,
            space,
        )
        _check_outcomes(whole, stated, spec)
        return cls(spec, preparation, whole.rows(~held), whole.rows(held))

    def describe(self) -> Iterator[tuple[str, str]]:
        """What it holds, as pairs of a word and what is said of it."""
        count = len(self.training) + len(self.held_out)
        yield "decisions", f"{count:,}, of which {len(self.held_out):,} are held out"
        how = "by chance"
        if self.spec.time:
            how = f"the last by {self.spec.time}"
        if self.spec.episode:
            how += f", {self.spec.episode} as wholes"
        yield "held out", how
        yield "action", f"{self.spec.act}: {self.training.space}"
        yield (
            "observed",
            f"{len(self.preparation.features)} features of "
            + ", ".join(
                f"{field.column} ({field.kind}"
                + (f", {len(field.values)} values" if field.values else "")
                + (", may be missing)" if field.may_miss else ")")
                for field in self.preparation.fields
            ),
        )
        mean, std = self.training.rewards.mean(), self.training.rewards.std()
        yield "reward", f"{self.spec.reward}: mean {mean:.4g}, spread {std:.3g}"
        is_known = self.spec.propensity and not self.training.space.merged
        source = self.spec.propensity if is_known else "estimated from the log"
        yield "propensities", source


def _whole(values: FloatArray, name: str) -> FloatArray:
    wrong = ~np.isfinite(values)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{name} must be a finite number in every row, {int(wrong.sum()):,} are not; "
            f"the first is row {row + 1} with {values[row]:g}"
        )
    return _small_enough(values, name)


def _small_enough(values: FloatArray, name: str) -> FloatArray:
    """Refuses what networks cannot take."""
    wrong = np.abs(values) > LARGEST
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{name} must be finite in float32, row {row + 1} has {values[row]:g}"
        )
    return values


def _check_propensities(values: FloatArray, most: float, name: str) -> None:
    # Smaller ones have weights that float32 cannot hold.
    wrong = (values < 1.0 / LARGEST) | (values > most)
    if wrong.any():
        row = int(wrong.argmax())
        upper = f" and at most {most:g}" if np.isfinite(most) else ""
        raise ValueError(
            f"{name} must be above 0{upper}, got {values[row]:g} in row {row + 1}"
        )


def _check_outcomes(part: Part, stated: list[Outcome], spec: Spec) -> None:
    """Refuses values that an outcome cannot have, and rewards that they do not make."""
    if not stated:
        return
    if part.space.merged and any(Weight(one.weight).reads_action for one in stated):
        raise ValueError(
            f"levels must be 0 beside outcomes whose weights name action, got "
            f"{spec.levels}: of other actions the rewards would not be theirs"
        )
    columns, rows = part.outcomes, np.arange(1, len(part) + 1)
    # Arrow's arrays may not be written, of which torch warns.
    observed, actions = part.observations, part.actions.copy()
    read = columns.__getitem__
    try:
        Block(stated, lambda: observed, actions, part.rewards, read, rows).check()
    except ValueError as error:
        said = "; ".join(repr(one) for one in spec.outcomes)
        raise ValueError(f"{error}, by the outcomes {said}") from None


def _outcomes(
    stated: list[Outcome], values: dict[str, FloatArray]
) -> dict[str, FloatArray]:
    """Columns of outcomes; 0 where what one is given did not happen."""
    found = {}
    for one in stated:
        if one.column is not None:
            column = values[one.column]
            if one.given is not None:
                column = np.where(values[one.given] == 0.0, 0.0, column)
            found[one.column] = _whole(column, one.column)
    return found


def _codes(table: Any, name: str) -> npt.NDArray[np.int64]:
    column = plain_column(table, name)
    kind, types = column.type, pyarrow().types
    is_name = is_text(kind) or types.is_integer(kind) or types.is_boolean(kind)
    if not (is_name or types.is_temporal(kind) or types.is_null(kind)):
        raise ValueError(f"{name} must hold texts, whole numbers or times, holds {kind}")
    if column.null_count:
        row = column.is_null().to_numpy(zero_copy_only=False).argmax() + 1
        raise ValueError(f"{name} must have a value in every row, row {row} has none")
    coded = column.combine_chunks().dictionary_encode()
    return np.asarray(coded.indices.to_numpy(zero_copy_only=False), np.int64)


def _held_out(table: Any, spec: Spec, groups: npt.NDArray[np.int64]) -> Any:
    """Which rows are held out, booleans ``(N,)``; groups as wholes."""
    count = int(groups.max()) + 1
    if spec.time:
        order = _times(table, spec.time)
        first = np.full(count, np.iinfo(np.int64).max)
        np.minimum.at(first, groups, order)
        # Equal times stay on one side.
        latest = np.sort(first)[min(round((1.0 - spec.held_out) * count), count - 1)]
        held = (first >= latest)[groups]
    else:
        # In the order of the log, so that rows which are added later move none.
        drawn = np.random.default_rng(spec.seed).random(count) < spec.held_out
        held = drawn[groups]
    least, rest = int(held.sum()), int((~held).sum())
    if least < HELD_ROWS or rest < LEARNED_ROWS:
        of = f", of {count:,} values of {spec.episode}" if spec.episode else ""
        raise ValueError(
            f"log must have at least {LEARNED_ROWS} rows to learn from and {HELD_ROWS} "
            f"to hold out, held_out {spec.held_out:g} gives {rest:,} and {least:,}{of}"
        )
    return held


def _times(table: Any, name: str) -> npt.NDArray[np.int64]:
    arrow = pyarrow()
    column, types = plain_column(table, name), arrow.types
    kind = column.type
    if column.null_count:
        row = column.is_null().to_numpy().argmax() + 1
        raise ValueError(f"{name} must have a time in every row, row {row} has none")
    if types.is_date32(kind):
        column = column.cast(arrow.int32())
    if types.is_timestamp(kind) or types.is_date(kind) or types.is_integer(kind):
        try:
            return np.asarray(column.cast(arrow.int64()))
        except arrow.ArrowInvalid as error:
            raise ValueError(f"{name} must hold times: {error}") from None
    raise ValueError(f"{name} must hold times or whole numbers, holds {kind}")
