"""Columns of any kind as numbers: fitted on a log, kept as tables, used when serving."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .tables import check_columns, numbers, plain_column, pyarrow

FloatArray = npt.NDArray[np.float64]

NUMBER, FLAG, CATEGORY, HASHED, TIME = "number", "flag", "category", "hashed", "time"
#: A category of more values than that is hashed into so many buckets.
MOST_VALUES, BUCKETS = 32, 32
#: A value is one of its own if so many rows have it; the others are "other".
_FEWEST = 10
#: What networks can take.
LARGEST = float(np.finfo(np.float32).max)
# Where more of the texts than that are numbers, the others are mistakes.
_MOSTLY = 0.9


@dataclasses.dataclass(frozen=True)
class Field:
    """How one column becomes features.

    Kinds are ``"number"`` (standardised; what is missing is the mean), ``"flag"``,
    ``"category"`` (one feature a value, and one for all others), ``"hashed"`` (32
    features by SHA-256 of the value) and ``"time"`` (hour on a circle, weekdays).
    """

    column: str
    kind: str
    mean: float = 0.0  # of a number in the log
    std: float = 1.0
    values: tuple[str, ...] = ()  # of a category, most frequent first
    may_miss: bool = False  # whether the log has rows without it; then a feature says so
    buckets: int = BUCKETS  # of hashed values
    zoned: bool = False  # whether times are known in UTC; else they are of some place

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
            with np.errstate(over="ignore"):
                found[:, 0] = (filled - self.mean) / self.std
            far = ~np.isfinite(found[:, 0])
            if far.any():
                raise ValueError(
                    f"{self.column} is too far from the log's {self.mean:g}, got "
                    f"{filled[far.argmax()]:g}"
                )
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
        """What suits a log: a pyarrow table, and the columns of it to observe.

        Means and values are those of ``rows``, booleans ``(N,)``; whether values may be
        missing, and whether all are 0 or 1, is asked of all.  ``categories`` are whole
        numbers that are names, not amounts, as are those called ``id`` or ``..._id``.
        """
        kept = np.flatnonzero(np.ones(table.num_rows) if rows is None else rows)
        fields = [_fit(table, kept, name, name in categories) for name in columns]
        return cls(
            tuple(
                dataclasses.replace(one, may_miss=bool(_missing(table, one).any()))
                for one in fields
            )
        )

    @property
    def columns(self) -> list[str]:
        """What it reads."""
        return [field.column for field in self.fields]

    @property
    def features(self) -> list[str]:
        """Names of the features, in their order, all different."""
        found: list[str] = []
        for name in (name for field in self.fields for name in field.features):
            # A value may be called "other", too.
            unique = name
            while unique in found:
                unique += "'"
            found.append(unique)
        return found

    def observations(self, table: Any) -> npt.NDArray[np.float32]:
        """Features of a table's rows, ``(N, d)``."""
        check_columns(self.columns, table.column_names, ["the table"])
        found = np.empty((table.num_rows, len(self.features)), np.float32)
        start = 0
        for field in self.fields:
            missing = _missing(table, field)
            if missing.any() and not field.may_miss:
                row = int(missing.argmax()) + 1
                raise ValueError(f"{field.column} must have a value in row {row}")
            values = values_of(table, field)
            stop = start + len(field.features)
            found[:, start:stop] = field.transform(values)
            start = stop
        return found

    def observation(self, record: Any) -> npt.NDArray[np.float32]:
        """Features of one record of JSON, ``(1, d)``; errors name the field."""
        names = self.columns
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
        """A numeric column in units of its own, as words about features."""
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


def values_of(table: Any, field: Field) -> Any:
    """A column as float64 (NaN: missing), or as a list of texts or times and None."""
    name, kind = field.column, field.kind
    if kind in (NUMBER, FLAG):
        values = numbers(table, name)
        wrong, allowed = np.abs(values) > LARGEST, "finite in float32"
        if kind == FLAG and not wrong.any():
            wrong, allowed = ~np.isin(values, (0, 1)) & ~np.isnan(values), "0 or 1"
        if wrong.any():
            row = int(wrong.argmax()) + 1
            raise ValueError(
                f"{name} must be {allowed}, got {values[row - 1]:g} in row {row}"
            )
        return values
    column, arrow = plain_column(table, name), pyarrow()
    if kind == TIME:
        return _times_of(column, field)
    held, types = column.type, arrow.types
    if types.is_floating(held) or types.is_decimal(held):
        values = numbers(table, name)
        wrong = ~np.isnan(values) & ((values % 1.0 != 0.0) | (np.abs(values) > 2**53))
        if wrong.any():
            row = int(wrong.argmax()) + 1
            raise ValueError(
                f"{name} must hold texts or whole numbers to be of categories, got "
                f"{values[row - 1]:g} in row {row}"
            )
        return [None if math.isnan(one) else _as_text(one) for one in values.tolist()]
    if not (is_text(held) or types.is_integer(held) or types.is_boolean(held)):
        raise ValueError(f"{name} must hold texts or whole numbers, holds {held}")
    return [None if one is None else _as_text(one) for one in column.to_pylist()]


def _times_of(column: Any, field: Field) -> list[datetime.datetime | None]:
    arrow, held = pyarrow(), column.type
    if not (arrow.types.is_timestamp(held) or arrow.types.is_date(held)):
        raise ValueError(f"{field.column} must hold times, holds {held}")
    if (getattr(held, "tz", None) is not None) != field.zoned:
        raise ValueError(f"{field.column} must hold times {_ZONES[field.zoned]}")
    try:
        if arrow.types.is_timestamp(held):
            # In UTC; seconds hold every time.
            column = column.cast(arrow.timestamp(held.unit))
            column = pyarrow("compute").floor_temporal(column, unit="second")
        found = column.cast(arrow.timestamp("s"), safe=False).to_pylist()
        return [None if one is None else _as_time(one) for one in found]
    except (OverflowError, ValueError):
        raise ValueError(f"{field.column} must hold times of years 1 to 9999") from None


def is_text(kind: Any) -> bool:
    """Whether a type of pyarrow is of texts."""
    types = pyarrow().types
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _missing(table: Any, field: Field) -> npt.NDArray[np.bool_]:
    column = plain_column(table, field.column)
    is_float = pyarrow().types.is_floating(column.type)
    if field.kind in (NUMBER, FLAG) or is_float:
        return np.isnan(numbers(table, field.column))
    return np.asarray(column.is_null().to_numpy(), np.bool_)


def _fit(table: Any, rows: npt.NDArray[np.int64], name: str, is_category: bool) -> Field:
    types = pyarrow().types
    kind = plain_column(table, name).type
    is_id = name.lower() == "id" or name.lower().endswith("_id")
    if types.is_timestamp(kind) or types.is_date(kind):
        return Field(name, TIME, zoned=getattr(kind, "tz", None) is not None)
    if is_text(kind) or is_category or (types.is_integer(kind) and is_id):
        texts = values_of(table, Field(name, CATEGORY))
        may_be_numbers = is_text(kind) and not is_category
        return _category(name, [texts[row] for row in rows], may_be_numbers)
    # Held-out rows count only for what may be asked later.
    everything = values_of(table, Field(name, NUMBER))
    values = everything[rows]
    present = values[~np.isnan(values)]
    if not len(present):
        raise ValueError(f"{name} must have values, every row lacks one")
    if np.isin(everything[~np.isnan(everything)], (0.0, 1.0)).all():
        return Field(name, FLAG)
    # A column that is always the same says nothing; its spread may be rounding.
    std = float(present.std()) if np.ptp(present) > 0.0 else 1.0
    return Field(name, NUMBER, float(present.mean()), std)


def _category(name: str, values: Sequence[str | None], may_be_numbers: bool) -> Field:
    counts = collections.Counter(value for value in values if value is not None)
    if not counts:
        raise ValueError(f"{name} must have values, every row lacks one")
    odd = [value for value in counts if not _NUMBER.fullmatch(value)]
    share = sum(counts[value] for value in odd) / counts.total()
    # Whole numbers in texts are often names; others are not.
    are_numbers = not odd and any("." in value for value in counts)
    if may_be_numbers and (are_numbers or 0.0 < share < 1.0 - _MOSTLY):
        such = (odd or list(counts))[0]
        raise ValueError(
            f"{name} must hold numbers, or be named in categories; it holds texts, "
            f"most of them of numbers, such as {such!r}"
        )
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
        if field.kind == FLAG:
            allowed, right = "true or false", value in (0, 1)
        else:
            allowed, right = "a finite number", not isinstance(value, bool)
        is_number = isinstance(value, (int, float)) and abs(value) <= LARGEST
        if not (is_number and right):
            raise ValueError(f"{field.column} must be {allowed}, got {value!r}")
        return float(value)
    if field.kind == TIME:
        try:
            # Python 3.10 does not know Z.
            text = value[:-1] + "+00:00" if value.endswith("Z") else value
            found = datetime.datetime.fromisoformat(text)
            if (found.tzinfo is not None) == field.zoned:
                return _as_time(found)
        except (AttributeError, OverflowError, ValueError):
            pass
        raise ValueError(
            f"{field.column} must be a time {_ZONES[field.zoned]}, got {value!r}"
        )
    is_whole = isinstance(value, (int, float)) and value % 1 == 0
    is_flag = isinstance(value, bool) and not {"true", "false"} & {*field.values}
    if not (isinstance(value, str) or is_whole) or is_flag:
        raise ValueError(f"{field.column} must be a text, got {value!r}")
    return _as_text(value)


# A zone that is guessed would move every hour.
_ZONES = {
    False: "without a zone, as in the log, such as '2026-01-31T14:05:00'",
    True: "with a zone, as in the log, such as '2026-01-31T14:05:00+01:00'",
}
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    # 7 and 7.0 are one name: whole numbers with gaps are often kept as 7.0.
    return str(int(value) if isinstance(value, float) else value)


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
