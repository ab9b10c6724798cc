"""Whatever is written, parsers answer with a value or with their own error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from icac_algo.data.files.mapping import Mapping
from icac_algo.shapes import SHAPE_NAMES, Constraint, parse_shape

pyarrow = pytest.importorskip("pyarrow")

PIECES = st.sampled_from(
    [
        *(*SHAPE_NAMES, "+", ":", ",", "=", "lower", "upper", "increasing", "true"),
        *(
            "curvature",
            "..",
            "false",
            "1",
            "-1",
            "0.5",
            "1e9",
            "nan",
            "inf",
            "",
            " ",
            "actions",
            "é",
        ),
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=30), st.lists(PIECES, max_size=12).map("".join)))
def test_any_words_are_a_shape_or_refused(text: str) -> None:
    try:
        shape = parse_shape(text)
    except ValueError:
        return
    assert isinstance(shape, Constraint)
    assert shape.shape_set().contradiction(1.0) is None


NAMES = st.one_of(
    st.sampled_from(["x", "c", "a", "r", "p", ""]),
    st.none(),
    st.integers(),
    st.text(max_size=3),
)
COLUMNS = st.one_of(NAMES, st.lists(NAMES, max_size=3))


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    observation=COLUMNS,
    action=COLUMNS,
    reward=NAMES,
    propensity=NAMES,
    episode=NAMES,
    terminal=NAMES,
    timeout=NAMES,
    final=NAMES,
)
def test_any_names_are_a_mapping_or_refused(**names: Any) -> None:
    try:
        mapping = Mapping.of(**names)
    except ValueError:
        return
    assert mapping.observation
    assert all(isinstance(name, str) for name in mapping.all)
