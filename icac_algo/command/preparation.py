"""Columns of any kind as numbers: fitted on a log, kept as tables, used when serving."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .tables import numbers, pyarrow

FloatArray = npt.NDArray[np.float64]

NUMBER, FLAG, CATEGORY, HASHED, TIME = "number", "flag", "category", "hashed", "time"
#: A category of more values than that is hashed into so many buckets.
MOST_VALUES, BUCKETS = 32, 32
#: A value is one of its own if so many rows have it; the others are "other".
_FEWEST = 10
_LARGEST = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class Field:
    """How one column becomes features.

    Args:
        column: its name.
        kind: ``"number"`` (standardised; what is missing is the mean), ``"flag"``,
            ``"category"`` (one feature a value, and one for all others), ``"hashed"`` (32
            features by SHA-256 of the value) or ``"time"`` (hour on a circle, weekdays).
        mean: of a number in the log.
        std: its standard deviation.
        values: of a category, most frequent first.
        may_miss: whether the log has rows without it; then a feature says so.
        buckets: of hashed values.
    """

    column: str
    kind: str
    mean: float = 0.0
    std: float = 1.0
    values: tuple[str, ...] = ()
    may_miss: bool = False
    buckets: int = BUCKETS

    @property
    def features(self) -> list[str]:
        """Names of its features, in their order."""
        name = self.column
        names = {
            NUMBER: [name],
            FLAG: [name],
            CATEGORY: [*(f"{name}={value}" for value in self.values), f"{name}=other"],
            HASHED: [f"{name}#{bucket}" for bucket in range(self.buckets)],
            TIME: [f"{name} sin", f"{name} cos", *(f"{name} {day}" for day in _DAYS)],
        }[self.kind]
        return [*names, f"{name} missing"] if self.may_miss else names

    def transform(self, values: Any) -> npt.NDArray[np.float32]:
        """Features ``(N, F)`` of what :func:`values_of` gave."""
        found = np.zeros((len(values), len(self.features)), np.float32)
        if self.kind in (NUMBER, FLAG):
            missing = np.isnan(values)
            filled = np.where(missing, self.mean, values)
            found[:, 0] = (filled - self.mean) / self.std
        else:
            missing = np.array([one is None for one in values], np.bool_)
            there = np.flatnonzero(~missing)
            if self.kind == TIME:
                for row in there:
                    found[row, :9] = _circle(values[row])
            else:
                places = {value: i for i, value in enumerate(self.values)}
                if self.kind == HASHED:
                    places = {
                        one: _bucket(one, self.buckets)
                        for one in {values[i] for i in there}
                    }
                other = len(self.values)
                found[there, [places.get(values[i], other) for i in there]] = 1.0
        if self.may_miss:
            found[:, -1] = missing
        return found


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclasses.dataclass(frozen=True)
class Preparation:
    """All columns that a policy observes, in the order of its features."""

    fields: tuple[Field, ...]

    @classmethod
    def fit(
        cls,
        table: Any,
        columns: Sequence[str],
        categories: Sequence[str] = (),
        rows: Any = None,
    ) -> Preparation:
        """What suits a log.

        Args:
            table: a pyarrow table.
            columns: to observe.
            rows: those to take means and values from, booleans ``(N,)``; whether values
                may be missing is asked of all.
            categories: columns of whole numbers that are names, not amounts; those called
                ``id`` or ``..._id`` are names too.

        Raises:
            ValueError: a column is of a kind that cannot be observed.
        """
        kept = table if rows is None else table.filter(pyarrow().array(rows))
        fields = [_fit(kept, name, name in categories) for name in columns]
        return cls(
            tuple(
                dataclasses.replace(one, may_miss=bool(_missing(table, one).any()))
                for one in fields
            )
        )

    @property
    def features(self) -> list[str]:
        """Names of the features, in their order."""
        return [name for field in self.fields for name in field.features]

    def observations(self, table: Any) -> npt.NDArray[np.float32]:
        """Features of a table's rows, ``(N, d)``.

        Raises:
            ValueError: a column is of another kind than in the log, or lacks values where
                the log had all.
        """
        found = np.empty((table.num_rows, len(self.features)), np.float32)
        start = 0
        for field in self.fields:
            missing = _missing(table, field)
            if missing.any() and not field.may_miss:
                row = int(missing.argmax()) + 1
                raise ValueError(f"{field.column} must have a value in row {row}")
            values = values_of(table, field.column, field.kind)
            stop = start + len(field.features)
            found[:, start:stop] = field.transform(values)
            start = stop
        return found

    def observation(self, record: Any) -> npt.NDArray[np.float32]:
        """Features of one record of JSON, ``(1, d)``.

        Raises:
            ValueError: it is no object, lacks a field, has an unknown one, or one of
                another kind; the field is named.
        """
        names = [field.column for field in self.fields]
        if not isinstance(record, Mapping):
            raise ValueError(f"a record must be an object with {', '.join(names)}")
        if unknown := [name for name in record if name not in names]:
            raise ValueError(f"{unknown[0]} is no field; a record has {', '.join(names)}")
        parts = []
        for field in self.fields:
            value = record.get(field.column)
            if value is None and not field.may_miss:
                raise ValueError(f"{field.column} is missing")
            parts.append(field.transform([_from_json(field, value)]))
        return np.concatenate(parts, axis=1)

    def formula(self, column: str) -> str:
        """A numeric column in units of its own, as words about features.

        Raises:
            ValueError: it is not observed, or no number that the log always has.
        """
        start = 0
        for field in self.fields:
            if field.column == column:
                if field.kind not in (NUMBER, FLAG) or field.may_miss:
                    break
                return f"({field.mean!r} + {field.std!r} * x{start})"
            start += len(field.features)
        raise ValueError(
            f"a weight may name action and observed numbers that no row lacks, got "
            f"{column!r}"
        )

    def to_json(self) -> list[dict[str, Any]]:
        return [dataclasses.asdict(field) for field in self.fields]

    @classmethod
    def from_json(cls, fields: Any) -> Preparation:
        found = [Field(**{**one, "values": tuple(one["values"])}) for one in fields]
        return cls(tuple(found))


def values_of(table: Any, name: str, kind: str) -> Any:
    """A column as float64 (NaN: missing), or as a list of texts or times with ``None``.

    Raises:
        ValueError: it cannot be of that kind.
    """
    if kind in (NUMBER, FLAG):
        values = numbers(table, name)
        wrong = np.abs(values) > _LARGEST
        if wrong.any():
            row = int(wrong.argmax()) + 1
            raise ValueError(f"{name} must be finite, got {values[row - 1]} in row {row}")
        return values
    column = table[name]
    types = pyarrow().types
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    values = column.to_pylist()
    if kind == TIME:
        if not (types.is_timestamp(column.type) or types.is_date(column.type)):
            raise ValueError(f"{name} must hold times, holds {column.type}")
        return [None if one is None else _as_time(one) for one in values]
    return [None if one is None else _as_text(one) for one in values]


def _missing(table: Any, field: Field) -> npt.NDArray[np.bool_]:
    if field.kind in (NUMBER, FLAG):
        return np.isnan(numbers(table, field.column))
    nothing = table[field.column].is_null()
    return np.asarray(nothing.to_numpy(), np.bool_)


def _fit(table: Any, name: str, is_category: bool) -> Field:
    types = pyarrow().types
    column = table[name]
    kind = column.type
    if types.is_dictionary(kind):
        kind = kind.value_type
    is_id = name.lower() == "id" or name.lower().endswith("_id")
    if types.is_timestamp(kind) or types.is_date(kind):
        return Field(name, TIME)
    is_text = types.is_string(kind) or types.is_large_string(kind)
    if is_text or is_category or (types.is_integer(kind) and is_id):
        return _category(name, values_of(table, name, CATEGORY))
    values = values_of(table, name, NUMBER)
    present = values[~np.isnan(values)]
    if not len(present):
        raise ValueError(f"{name} must have values, every row lacks one")
    if np.isin(present, (0.0, 1.0)).all():
        return Field(name, FLAG)
    # A column that is always the same says nothing.
    std = float(present.std()) or 1.0
    return Field(name, NUMBER, float(present.mean()), std)


def _category(name: str, values: Sequence[str | None]) -> Field:
    counts = collections.Counter(value for value in values if value is not None)
    if not counts:
        raise ValueError(f"{name} must have values, every row lacks one")
    often = sorted(counts, key=lambda value: (-counts[value], value))
    frequent = tuple(value for value in often if counts[value] >= _FEWEST)
    if len(frequent) > MOST_VALUES:
        return Field(name, HASHED)
    return Field(name, CATEGORY, values=frequent or tuple(often[:1]))


def _from_json(field: Field, value: Any) -> Any:
    """A value of JSON as :func:`values_of` gives it."""
    if value is None:
        return math.nan if field.kind in (NUMBER, FLAG) else None
    if field.kind in (NUMBER, FLAG):
        is_number = isinstance(value, (int, float)) or field.kind == FLAG
        if not is_number or (isinstance(value, bool) and field.kind == NUMBER):
            raise ValueError(f"{field.column} must be a number, got {value!r}")
        if not isinstance(value, (bool, int, float)) or not abs(value) <= _LARGEST:
            raise ValueError(f"{field.column} must be a finite number, got {value!r}")
        if field.kind == FLAG and value not in (0, 1):
            raise ValueError(f"{field.column} must be true or false, got {value!r}")
        return float(value)
    if field.kind == TIME:
        try:
            # Python 3.10 does not know Z.
            text = value[:-1] + "+00:00" if value.endswith("Z") else value
            return _as_time(datetime.datetime.fromisoformat(text))
        except (AttributeError, ValueError):
            raise ValueError(
                f"{field.column} must be a time such as '2026-01-31T14:05:00', got "
                f"{value!r}"
            ) from None
    if not isinstance(value, (str, int)):
        raise ValueError(f"{field.column} must be a text, got {value!r}")
    return _as_text(value)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _as_time(value: Any) -> datetime.datetime:
    """A time in UTC, or as it is where no zone is known."""
    if not isinstance(value, datetime.datetime):
        return datetime.datetime(value.year, value.month, value.day)
    if value.tzinfo is not None:
        value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    return value


def _circle(value: datetime.datetime) -> list[float]:
    angle = 2.0 * math.pi * (value.hour + value.minute / 60.0) / 24.0
    days = [float(value.weekday() == day) for day in range(7)]
    return [math.sin(angle), math.cos(angle), *days]


def _bucket(value: str, count: int) -> int:
    """The same in every process and every version."""
    return int.from_bytes(hashlib.sha256(value.encode()).digest()[:4], "big") % count
