"""What a policy changes, by parts of the contexts: values, quarters, hours."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .log import Part
from .preparation import FLAG, NUMBER, TIME, Field, values_of

FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# Of fewer rows a mean says little; of one column so many values at most.
_FEWEST, _VALUES = 30, 8
_DECIDED = 1.96


@dataclasses.dataclass(frozen=True)
class Segment:
    """Decisions of one kind of context."""

    name: str  # such as "device = mobile"
    rows: int
    logged: float  # mean action of the log, in its units
    chosen: float  # mean action of the policy
    reward: float  # mean reward of the log
    gain: float  # estimated reward of the policy minus that, doubly robust
    half: float  # half of the gain's 95 % interval


def segments(
    part: Part, fields: tuple[Field, ...], chosen: FloatArray, estimates: FloatArray
) -> list[Segment]:
    """Those of all columns, the largest change of the action first.

    Of each row: the policy's action, and its reward, estimated doubly robust.
    """
    found = []
    for field in fields:
        for name, where in _parts(part.table, field):
            count = int(where.sum())
            if count < _FEWEST:
                continue
            gains = (estimates - part.rewards)[where]
            # Rows of one group depend on each other.
            _, group = np.unique(part.groups[where], return_inverse=True)
            error = np.sqrt(np.square(np.bincount(group, gains - gains.mean())).sum())
            found.append(
                Segment(
                    name,
                    count,
                    float(part.actions[where].mean()),
                    float(chosen[where].mean()),
                    float(part.rewards[where].mean()),
                    float(gains.mean()),
                    _DECIDED * float(error) / count,
                )
            )
    return sorted(found, key=lambda one: -abs(one.chosen - one.logged))


def _parts(table: Any, field: Field) -> Iterator[tuple[str, Mask]]:
    """Parts of a column and the rows of each."""
    column, values = field.column, values_of(table, field)
    if field.kind in (FLAG, NUMBER):
        missing = np.isnan(values)
    else:
        missing = np.array([one is None for one in values], np.bool_)
    if missing.any():
        yield f"{column} is missing", missing
    if field.kind == FLAG:
        for value, word in ((1.0, "yes"), (0.0, "no")):
            yield f"{column} = {word}", values == value
    elif field.kind == NUMBER:
        yield from _quarters(column, values, missing)
    elif field.kind == TIME:
        hours = np.array([-1 if one is None else one.hour for one in values])
        for hour in range(0, 24, 6):
            name = f"{column} from {hour:02d}:00 to {hour + 6:02d}:00"
            yield name, (hours >= hour) & (hours < hour + 6)
    else:
        counts = collections.Counter(one for one in values if one is not None)
        for value, _ in counts.most_common(_VALUES):
            yield f"{column} = {value}", np.array([one == value for one in values])


def _quarters(column: str, values: FloatArray, missing: Mask) -> Any:
    present = values[~missing]
    if not len(present):
        return
    edges = np.unique(np.quantile(present, [0.25, 0.5, 0.75]))
    quarter = np.searchsorted(edges, values, side="left")
    for i in range(len(edges) + 1):
        where = (quarter == i) & ~missing
        if where.any():
            low, high = values[where].min(), values[where].max()
            yield f"{column} from {low:.4g} to {high:.4g}", where
