"""Any fields: a config that can be written and read, or an error that names the field."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from d3rlpy.preprocessing import StandardObservationScaler, StandardRewardScaler
from hypothesis import given
from hypothesis import strategies as st

from icac_algo import (
    Bounded,
    Canonical,
    Concave,
    ConstraintAwareQConfig,
    Euclidean,
    Functional,
    Intersection,
    KnownCost,
    Monotone,
    MonotoneConcave,
    ShapedQFunctionFactory,
    SlopeBounds,
    StateLipschitz,
    StateMonotone,
)
from icac_algo.shapes import SHAPE_NAMES, Constraint

from .profile import FUZZ

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 300),
    st.floats(),
    st.sampled_from(
        [
            *(np.float64(0.5), np.float32(0.1), np.int64(3), np.bool_(True)),
            *(np.array(2.0), np.array([1.0, 2.0]), 10**400, 1e300, -0.0, 1j),
            *("softmax", "network", "critic", "actor", "off", "warn", "", "nan"),
            *("concave", "monotone+concave", "monotone:increasing=false", "wavy"),
            *([], [0], [1, 1], [StateMonotone([0])], [StateLipschitz(2.0)], (), {}),
            *(Concave(), Monotone(), MonotoneConcave(), SlopeBounds(-1.0, 2.0)),
            *(Bounded(0.0, 1.0), Intersection([Concave(), Monotone()]), KnownCost(1)),
            *(Functional(), Canonical(), Euclidean(), Functional, object()),
            *(StandardRewardScaler(), StandardObservationScaler()),
        ]
    ),
)


def names_of(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind) if field.init]


def fields_of(kind: type) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names_of(kind)), VALUES, max_size=3)


def check_refusal(error: Exception, given: dict[str, Any], kind: type) -> None:
    """One of the fields, or what they are fields of, is named."""
    words = str(error)
    assert any(name in words for name in (*given, *names_of(kind), kind.__name__)), words


def check_written(config: Any) -> None:
    """What was accepted can be read again; d3rlpy writes a 0 of its own as 0.0 then."""
    read = type(config).deserialize(config.serialize()).serialize()
    assert type(config).deserialize(read).serialize() == read


@FUZZ
@given(given=fields_of(ConstraintAwareQConfig))
def test_configs(given: dict[str, Any]) -> None:
    try:
        config = ConstraintAwareQConfig(**given)
        algo = config.create(device="cpu:0")
    except (ValueError, TypeError) as error:
        check_refusal(error, given, ConstraintAwareQConfig)
        return
    check_written(config)
    assert isinstance(algo.config.constraint, Constraint)


@FUZZ
@given(given=fields_of(ShapedQFunctionFactory))
def test_factories(given: dict[str, Any]) -> None:
    try:
        factory = ShapedQFunctionFactory(**given)
    except (ValueError, TypeError) as error:
        check_refusal(error, given, ShapedQFunctionFactory)
        return
    check_written(factory)


@FUZZ
@given(
    data=st.data(),
    kind=st.sampled_from(
        [
            *(Monotone, MonotoneConcave, Concave, SlopeBounds, Bounded, Intersection),
            *(KnownCost, StateMonotone, StateLipschitz, Functional, Canonical, Euclidean),
        ]
    ),
)
def test_parts(data: st.DataObject, kind: type) -> None:
    given = data.draw(fields_of(kind))
    try:
        part: Any = kind(**given)
    except (ValueError, TypeError) as error:
        check_refusal(error, given, kind)
        return
    check_written(part)
    if not isinstance(part, Constraint):
        return
    shape_set = part.shape_set()
    assert not any(map(math.isnan, dataclasses.astuple(shape_set)))
    assert shape_set.slope_lower <= shape_set.slope_upper
    assert shape_set.lower <= shape_set.upper


PIECES = st.sampled_from(
    [
        *(*SHAPE_NAMES, "+", "+", ":", ",", "=", "lower", "upper", "increasing", "true"),
        *("false", "1", "-1", "0.5", "1e9", "nan", "inf", "", " ", "actions", "é", "\0"),
    ]
)


@FUZZ
@given(words=st.one_of(st.text(max_size=30), st.lists(PIECES, max_size=12).map("".join)))
def test_words(words: str) -> None:
    """A word means the same to every door that takes shapes."""
    found: list[Any] = []
    for door in (ConstraintAwareQConfig, ShapedQFunctionFactory):
        try:
            found.append(door(constraint=words).constraint)  # type: ignore[arg-type]
        except ValueError as error:
            found.append(str(error))
    assert found[0] == found[1]
