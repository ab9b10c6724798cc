"""Fields of configs: whatever numpy type they are given in, they are kept as Python's.

JSON knows no numpy, so a config that keeps ``np.float64`` can be trained with, but what
is written of it cannot be read.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import math
import types
import typing
from typing import Any

import numpy as np
from d3rlpy.serializable_config import CONFIG_STORAGE

_WORDS = {float: "a finite number", int: "an integer", bool: "True or False"}
_LISTS = (list, tuple, collections.abc.Sequence)


def plain(value: Any) -> Any:
    """A numpy scalar, or an array of one number without dimensions, as Python's."""
    if isinstance(value, np.floating):
        # A long double's own item() stays one.
        return float(value)
    if isinstance(value, np.generic) or (
        isinstance(value, np.ndarray) and value.ndim == 0
    ):
        return value.item()
    return value


def cast_fields(config: Any, path: str = "") -> None:
    """Gives a dataclass's fields, and those of dataclasses in it, their annotated types.

    Numbers are cast, tuples and arrays become lists where a list is annotated; what is of
    another type, NaN or infinite raises ``ValueError``.
    """
    try:
        hints = typing.get_type_hints(type(config))
    except NameError:
        # A class of the user's, whose annotations are not to be had at run time.
        hints = {}
    for field in dataclasses.fields(config):
        name = f"{path}{field.name}"
        value = _cast(name, getattr(config, field.name), hints.get(field.name, Any))
        setattr(config, field.name, value)


def _cast(name: str, value: Any, hint: Any) -> Any:
    value = plain(value)
    several = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = typing.get_args(hint) if several else (hint,)
    if value is None and type(None) in kinds:
        return None
    kind = next(one for one in kinds if one is not type(None))
    origin = typing.get_origin(kind) or kind
    # From numpy 2.5 on ``NDArray`` is an alias that has to be followed.
    origin = getattr(origin, "__value__", origin)
    origin = typing.get_origin(origin) or origin
    if origin is np.ndarray:
        return _cast_array(name, value)
    if origin in _LISTS:
        return _cast_list(name, value, kind)
    if origin is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is Any or not isinstance(origin, type):
        return _cast_unknown(name, value)
    right = isinstance(value, origin) and (origin is bool or not isinstance(value, bool))
    if not right or (origin is float and not math.isfinite(value)):
        words = _WORDS.get(origin, f"of type {origin.__name__}")
        raise ValueError(f"{name} must be {words}, got {value!r}")
    if dataclasses.is_dataclass(value):
        _check_registered(name, value)
        cast_fields(value, f"{name}.")
    return value


def _check_registered(name: str, part: Any) -> None:
    """Refuses a part of the user's own that no file can name."""
    for base, known in CONFIG_STORAGE.items():
        if isinstance(part, base) and known.config_list.get(part.get_type()) is not (
            type(part)
        ):
            raise ValueError(
                f"{name} must be of a kind that is registered with d3rlpy, or no saved "
                f"model can name it, got {part!r}"
            )


def _cast_list(name: str, value: Any, kind: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{name} must be a list, got {value!r}")
    inner = (typing.get_args(kind) or (Any,))[0]
    values = list(value)
    if not (inner is int and all(type(one) is int for one in values)):
        values = [_cast(f"{name}[{i}]", one, inner) for i, one in enumerate(value)]
    if name.endswith("hidden_units") and min(values, default=1) < 1:
        raise ValueError(f"{name} must be integers of at least 1, got {values}")
    return tuple(values) if typing.get_origin(kind) is tuple else values


def _cast_array(name: str, value: Any) -> Any:
    values = np.asarray(value)
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite numbers, got {value!r}")
    return values


def _cast_unknown(name: str, value: Any) -> Any:
    """What nothing is annotated of; JSON must be able to say it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        cast_fields(value, f"{name}.")
    elif isinstance(value, (list, tuple, np.ndarray)):
        return _cast_list(name, value, list)
    elif isinstance(value, dict):
        return {key: _cast_unknown(f"{name}[{key!r}]", v) for key, v in value.items()}
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be {_WORDS[float]}, got {value!r}")
    elif value is not None and not isinstance(value, (bool, int, float, str)):
        raise ValueError(f"{name} must be something that JSON can say, got {value!r}")
    return value
