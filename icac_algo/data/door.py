"""The one door that every log comes in by: what it may hold, and what that becomes.

Sources differ in how they are read.  What they hand over goes through :func:`joined` into
columns, and :func:`admitted` lets these in; a source too large for memory calls
:func:`check_values` and :func:`action_space_of` itself, piece by piece.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from d3rlpy.constants import ActionSpace

from .._util.checks import check_count, check_rows
from .columns import Array, ArrayColumn, Columns
from .episodes import EpisodeIndex
from .extras import find_extra

#: What an error calls a row, by its place in the columns.
Where = Callable[[int], str]
ROW: Where = "row {}".format

# Networks of more outputs than this are taken for an index that is none.
_MOST_ACTIONS = 1 << 20
_FLOAT32 = float(np.finfo(np.float32).max)
_NUMBERS_AT_ONCE = 1 << 20


class LogWarning(UserWarning):
    """A log that can be read, but perhaps does not say what its writer meant."""


class Rule(NamedTuple):
    """What values must be: numbers from ``low`` to ``high``, perhaps whole ones."""

    allowed: str
    low: float
    high: float
    whole: bool = False


#: Of observations, rewards and continuous actions: networks take float32.
VALUE = Rule("finite in float32", -_FLOAT32, _FLOAT32)
#: Of whatever else a log holds.
EXTRA = Rule("finite", float(np.finfo(float).min), float(np.finfo(float).max))
PROPENSITY = Rule("in (0, 1]", float(np.nextafter(0.0, 1.0)), 1.0)
#: Propensities of actions that are numbers.
DENSITY = Rule("densities above 0", float(np.nextafter(0.0, 1.0)), _FLOAT32)
FLAG = Rule("0 or 1", 0.0, 1.0, whole=True)


def indices(size: int | None) -> Rule:
    """Of discrete actions, ``size`` of them or as many as it takes."""
    highest = (_MOST_ACTIONS if size is None else size) - 1
    return Rule(f"from 0 to {highest}", 0.0, highest, whole=True)


def as_numbers(name: str, values: Any, kinds: str = "fiub") -> Array:
    """An array of one of these kinds of numbers.

    Raises ``ValueError`` for anything else, such as objects, or values that are masked.
    """
    listed = values if isinstance(values, (list, tuple)) else [values]
    if any(isinstance(v, np.ma.MaskedArray) and np.ma.is_masked(v) for v in listed):
        raise ValueError(f"{name} must have a value in each row, got a masked array")
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be one array of numbers: {error}") from None
    if array.dtype.kind not in kinds:
        raise ValueError(f"{name} must be numbers, got an array of {array.dtype}")
    # Other systems' byte orders, and floats that only numpy knows.
    usual = np.dtype(f"{array.dtype.kind}{min(array.dtype.itemsize, 8)}")
    return array.astype(usual, copy=False)


def joined(
    name: str,
    pieces: Sequence[Any],
    rows: Sequence[int],
    padded: int = 0,
    before: int | None = None,
) -> Array:
    """One column, of a type that holds every value, from an array for each episode.

    Each must have so many ``rows``; ``padded`` rows of zeros are put behind it.  Errors
    name the column and count episodes from ``before``; ``None`` for one array that is no
    episode.
    """
    arrays: list[Array] = []
    for number, (piece, count) in enumerate(zip(pieces, rows, strict=True)):
        of = name if before is None else f"{name} of episode {before + number}"
        array = as_numbers(of, piece)
        if array.ndim == 0 or len(array) != count:
            found = len(array) if array.ndim else "one number"
            raise ValueError(f"{of} must have {count} rows, got {found}")
        if arrays and array.shape[1:] != arrays[0].shape[1:]:
            raise ValueError(
                f"{of} must have rows of shape {arrays[0].shape[1:]} as those before, "
                f"got {array.shape[1:]}"
            )
        arrays.append(array)
    if len(arrays) == 1 and not padded:
        return arrays[0]
    kind = np.result_type(*{array.dtype for array in arrays})
    whole = np.zeros((sum(rows) + padded * len(rows), *arrays[0].shape[1:]), kind)
    row = 0
    for array in arrays:
        whole[row : row + len(array)] = array
        row += len(array) + padded
    return whole


def vectors(array: Array) -> Array:
    """The same rows: one number as a vector of one, booleans as 0 and 1."""
    array = array.view(np.int8) if array.dtype.kind == "b" else array
    return array[:, None] if array.ndim == 1 else array


def row_of_episode(index: EpisodeIndex, before: int = 0) -> Where:
    """A row by its episode, the first of which is number ``before``."""

    def text(row: int) -> str:
        number = int(index.episode_of(row))
        return f"episode {before + number}, row {row - index.episode(number)[0]}"

    return text


def check_values(
    name: str, values: Array, rule: Rule, first: int = 0, where: Where = ROW
) -> None:
    """Raises ``ValueError`` with the first row of ``values``, ``(R, ...)``, to break it.

    ``first`` is the number of rows before.  Copies nothing while all is well.
    """
    kind = values.dtype.kind
    if kind != "f" and rule in (VALUE, EXTRA):
        return
    step = max(1, _NUMBERS_AT_ONCE // max(1, values[:1].size))
    for start in range(0, len(values) if values.size else 0, step):
        block = values[start : start + step]
        # A NaN is the smallest and the largest number of its block.
        inside = rule.low <= float(block.min()) and float(block.max()) <= rule.high
        broken = rule.whole and kind == "f" and (block != np.floor(block)).any()
        if inside and not broken:
            continue
        wide = block.astype(np.float64)
        if rule is VALUE:
            bad = ~np.isfinite(wide)
            check_rows(f"{name} must be finite", block, bad, first + start, where)
        bad = ~((wide >= rule.low) & (wide <= rule.high))
        check_rows(f"{name} must be {rule.allowed}", block, bad, first + start, where)
        bad = wide != np.floor(wide)
        check_rows(f"{name} must be whole numbers", block, bad, first + start, where)


def admitted(
    columns: Columns,
    space: ActionSpace | None = None,
    size: int | None = None,
    where: Where = ROW,
    is_counted: bool = False,
) -> tuple[Columns, ActionSpace, int]:
    """Columns in memory that every algorithm can take, their action space and size.

    Not stated, the space is told apart by the type of actions and the size is one more
    than the largest, which must be said (``is_counted``).  Values that are not finite in
    float32, actions that are no index below the size, propensities outside (0, 1] and
    densities of numbers that are not above 0 are refused, by row as ``where`` names it.
    """
    named = columns.named()
    for name, column in named.items():
        if 0 in column.row_shape:
            shape = (len(column), *column.row_shape)
            raise ValueError(f"{name} must have a number in each row, got {shape}")
    if columns.rewards.row_shape != (1,):
        shape = (len(columns.rewards), *columns.rewards.row_shape)
        raise ValueError(f"rewards must have shape (R,) or (R, 1), got {shape}")
    space, size, stated = *_stated(columns, space, size), size
    if space == ActionSpace.DISCRETE:
        actions = named.pop("actions").whole()
        check_values("actions", actions, indices(stated), where=where)
        whole = (
            ArrayColumn(actions.astype(np.int64)) if actions.dtype.kind == "f" else None
        )
        columns = dataclasses.replace(columns, actions=whole or columns.actions)
    for name, column in named.items():
        rule = EXTRA if name.startswith("extras: ") else VALUE
        # Nobody computes with what an environment says beside its rewards.
        if not name.startswith("extras: info/"):
            check_values(name, column.whole(), rule, where=where)
    if space == ActionSpace.DISCRETE and (stated is None or is_counted):
        smallest, largest = _range(columns)
        if stated in (None, largest + 1):
            _, size = action_space_of(columns, space, None, (smallest, largest))
    _check_propensities(columns, space, size, where)
    return columns, space, size


def _stated(
    columns: Columns, space: ActionSpace | None, size: int | None
) -> tuple[ActionSpace, int]:
    """The action space, and its size where that does not depend on what was logged."""
    if space is not None and not isinstance(space, ActionSpace):
        raise TypeError(f"action_space must be an ActionSpace of d3rlpy, got {space!r}")
    if size is not None:
        check_count("action_size", size)
        if size > _MOST_ACTIONS:
            raise ValueError(f"action_size must be at most {_MOST_ACTIONS}, got {size}")
    shape = columns.actions.row_shape
    if len(shape) != 1:
        found = (len(columns.actions), *shape)
        raise ValueError(f"actions must have shape (R,) or (R, n), got {found}")
    if space is None:
        is_index = columns.actions.dtype.kind in "iub" and shape == (1,)
        space = ActionSpace.DISCRETE if is_index else ActionSpace.CONTINUOUS
    if space == ActionSpace.CONTINUOUS:
        if size not in (None, shape[0]):
            raise ValueError(
                f"action_size must be {shape[0]}, the width of actions, got {size!r}"
            )
        return space, shape[0]
    if shape != (1,):
        raise ValueError(
            f"discrete actions must be one index a row, got rows of shape {shape}"
        )
    return space, size or 0


def action_space_of(
    columns: Columns,
    space: ActionSpace | None,
    size: int | None,
    seen: tuple[int, int] | None,
) -> tuple[ActionSpace, int]:
    """The action space and size of a log, as stated or, if that fits, as they show.

    ``seen`` is the smallest and the largest index, of checked discrete actions.
    """
    space, known = _stated(columns, space, size)
    if space == ActionSpace.CONTINUOUS or seen is None:
        return space, known
    smallest, largest = seen
    if size is None and smallest > 0:
        text = (
            f"actions start at {smallest}, so that the first {smallest} of "
            f"{largest + 1} actions were never logged: count from 0, or state action_size"
        )
        warnings.warn(text, LogWarning, stacklevel=4)
    if largest > indices(size).high:
        raise ValueError(f"actions must be {indices(size).allowed}, got {largest}")
    return space, size or largest + 1


def _range(columns: Columns) -> tuple[int, int]:
    """The smallest action of a decision, and the largest of all."""
    actions, index = columns.actions.whole(), columns.index
    largest = int(actions.max())
    if not index.is_bandit and index.arrays()[2].any():
        actions = actions[index.decisions()]
    return int(actions.min(initial=largest)), largest


def _check_propensities(
    columns: Columns, space: ActionSpace, size: int, where: Where
) -> None:
    """Those of decisions: of the logged action, or of each of ``size`` actions."""
    found = find_extra(columns, "propensity")
    if found is None:
        return
    name, column = found
    rule, index = PROPENSITY, columns.index
    if space == ActionSpace.CONTINUOUS:
        rule, size = DENSITY, 1
    if column.row_shape == (size,) and size > 1:
        rule = Rule("from 0 to 1", 0.0, 1.0)
    elif column.row_shape not in ((), (1,)):
        raise ValueError(
            f"{name} must be one probability a row, that of the logged action, "
            f"or {size}, got rows of shape {column.row_shape}"
        )
    if index.is_bandit:
        check_values(name, column.whole(), rule, where=where)
        return
    rows = index.decisions()
    values = column.take(rows)
    check_values(name, values, rule, where=lambda i: where(int(rows[i])))


def space_and_size(space: Any) -> tuple[ActionSpace, int]:
    """What d3rlpy says of an action space of Gymnasium.

    Raises ``ValueError`` unless it is a ``Discrete`` that starts at 0 or a ``Box`` of
    vectors.
    """
    if isinstance(space, gym.spaces.Discrete):
        if space.start != 0:
            raise ValueError(f"actions must start at 0, got {space}")
        return ActionSpace.DISCRETE, int(space.n)
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1:
        return ActionSpace.CONTINUOUS, int(space.shape[0])
    raise ValueError(
        f"actions must be Discrete or a Box of vectors, of Gymnasium, got {space!r}"
    )
