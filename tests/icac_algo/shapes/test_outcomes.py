"""Doors of outcomes, their words and their weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from icac_algo import (
    Bounded,
    Concave,
    ConstraintAwareQConfig,
    Convex,
    Euclidean,
    Intersection,
    KnownCost,
    Monotone,
    MonotoneConcave,
    Outcome,
    SlopeBounds,
    StateMonotone,
    Unconstrained,
)
from icac_algo.shapes import ShapeSet, Weight, as_outcomes, parse_outcome, shape_of_set

CLICK: dict[str, Any] = {"column": "click", "link": "logit"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"column": ""}, "column must be a column's name or None, got ''"),
        ({"column": 3}, "column must be of type str, got 3"),
        ({"column": "y", "given": ""}, "given must be a column's name or None"),
        ({"column": "y", "given": "y"}, "given must be another column, got 'y'"),
        ({"column": "y", "link": "probit"}, "link must be one of .* got 'probit'"),
        ({"column": "y", "shape": "wavy"}, "must be made of .* got 'wavy'"),
        ({"column": "y", "shape": 3}, "shape must be a shape such as .* got 3"),
        ({"column": "y", "weight": None}, "weight must be a number, or words .* 'None'"),
        ({"column": "y", "weight": True}, "weight must be .* got 'True'"),
        ({"column": "y", "weight": "x"}, "weight must be .* got 'x'"),
        ({"column": "y", "weight": np.nan}, "weight must be .* got 'nan'"),
        ({"column": "y", "weight": np.inf}, "weight must be .* got 'inf'"),
        ({"column": "y", "ignores": [-1]}, r"ignores must be integers >= 0, got \[-1\]"),
        ({"column": "y", "ignores": [0.5]}, r"ignores\[0\] must be an integer"),
        ({"column": "y", "ignores": 1}, "ignores must be a list"),
        (
            {"column": "y", "depends_on_action": 0},
            "depends_on_action must be True or Fal",
        ),
        (
            {"column": "y", "depends_on_action": False, "shape": Monotone()},
            "depends_on_action=False leaves no shape",
        ),
        (
            {"column": "y", "shape": Concave(known_cost=KnownCost(0))},
            "shape must have no known_cost",
        ),
        ({"shape": Monotone()}, "column must be named where something is to be learned"),
        ({"link": "log"}, "column must be named"),
        ({"ignores": [0]}, "column must be named"),
        ({"depends_on_action": False}, "column must be named"),
    ],
)
def test_one_outcome(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Outcome(**fields)


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        ("click", "outcomes must be a list of Outcome"),
        (Outcome("y"), "outcomes must be a list of Outcome"),
        ([7], "outcomes must be Outcome.* got 7"),
        ([Outcome(weight="-action")], "outcomes must name at least one column"),
        ([Outcome("y"), Outcome("y", weight=2)], "a column of their own, got 'y' twice"),
        ([Outcome("y", given="z")], r"given must be the column .* got 'z' for 'y'"),
        (
            [Outcome("y", given="z"), Outcome("z")],
            r"an outcome with link='logit', one of \[\], got 'z' for 'y'",
        ),
        (
            [
                Outcome("y", given="z", link="logit"),
                Outcome("z", given="y", link="logit"),
            ],
            "given must not lead back",
        ),
        (
            [
                Outcome("y", Monotone(actions=[0.0, 1.0])),
                Outcome("z", Monotone(actions=[0.0, 2.0])),
            ],
            "outcomes and constraint must name the same actions",
        ),
    ],
)
def test_several_outcomes(outcomes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConstraintAwareQConfig(outcomes=outcomes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"critic": Euclidean()}, "outcomes need critic=Functional"),
        ({"constraint": Concave(known_cost=KnownCost(0))}, "no known_cost beside outcom"),
        ({"state_constraints": [StateMonotone([0])]}, "state_constraints .* outcomes"),
        ({"support": "most"}, "support must be one of .* got 'most'"),
        ({"check_prior": "maybe"}, "check_prior must be one of .* got 'maybe'"),
    ],
)
def test_what_does_not_go_with_outcomes(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConstraintAwareQConfig(outcomes=[Outcome(**CLICK)], **fields)


def test_fields_that_were_set_since_are_checked() -> None:
    config = ConstraintAwareQConfig(outcomes=[Outcome(**CLICK)])
    config.outcomes[0].link = "probit"
    with pytest.raises(ValueError, match="link must be one of"):
        config.create()


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        ("click", Outcome("click")),
        (" click ; link = logit", Outcome(**CLICK)),
        (
            "click: monotone+concave; link=logit; weight=2 * action",
            Outcome(
                "click",
                Intersection([Monotone(), Concave()]),
                link="logit",
                weight="2 * action",
            ),
        ),
        ("weight=-x1 * action", Outcome(weight="-x1 * action")),
        (
            "harm; ignores=1,2; depends_on_action=false",
            Outcome("harm", ignores=[1, 2], depends_on_action=False),
        ),
        ("value; given=won", Outcome("value", given="won")),
    ],
)
def test_words(words: str, outcome: Outcome) -> None:
    assert parse_outcome(words) == outcome


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "column must be a column's name"),
        ("click; lnk=logit", "outcomes take link, .* got 'lnk=logit'"),
        ("click; link", "outcomes take .* got 'link'"),
        ("click; link=logit; link=log", "each once, got 'link=log'"),
        ("click; ignores=a", "ignores must be integers, got 'a'"),
        ("click; depends_on_action=maybe", "depends_on_action must be True or False"),
        ("click: wavy", "got 'wavy'"),
    ],
)
def test_words_that_are_none(words: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_outcomes([words])


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.text(alphabet="01x2action+-*/(). e_;:=[]{}'\"jTrue\0é", max_size=40))
def test_any_text_is_a_formula_or_refused(text: str) -> None:
    try:
        weight = Weight(text)
    except ValueError:
        return
    count = max(weight.features, default=0) + 1
    if count < 50:
        found = weight(torch.zeros(1, count), torch.zeros(1, 1))
        assert found.shape == (1, 1)


@pytest.mark.parametrize("text", ["1" + "0" * 400, "x0*" * 2000 + "1", "(" * 400])
def test_monstrous_formulas_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="weight must be"):
        Weight(text)


FORMULAS = st.recursive(
    st.sampled_from(["action", "x0", "x2", "2", "0.5", "3e2"]),
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from(["+", "-", "*"]), part).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        part.map(lambda p: f"-{p}"),
        part.map(lambda p: f"({p} / 4)"),
    ),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(text=FORMULAS, seed=st.integers(0, 1000))
def test_formulas_are_what_python_makes_of_them(text: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, action = rng.normal(size=(4, 3)), rng.normal(size=(4, 1))
    weight = Weight(text)
    names = {f"x{i}": x[:, i : i + 1] for i in range(3)}
    expected = np.broadcast_to(eval(text, {"action": action, **names}), (4, 1))
    found = weight(torch.as_tensor(x), torch.as_tensor(action)).numpy()
    size = weight(torch.as_tensor(x), torch.as_tensor(action), magnitude=True).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * (1 + size.max()))
    assert (size >= np.abs(found) - 1e-9 * (1 + size)).all()


@pytest.mark.parametrize(
    ("outcome", "stated"),
    [
        (Outcome("y"), None),
        (Outcome("y", depends_on_action=False), ShapeSet(0.0, 0.0)),
        (Outcome("y", Concave()), Concave().shape_set()),
        (Outcome("y", Concave(), link="logit"), None),
        (Outcome("y", Concave(), link="log"), None),
        (Outcome("y", Convex(), link="log"), Convex().shape_set()),
        (Outcome("y", MonotoneConcave(), link="logit"), Monotone().shape_set()),
        (Outcome("y", Bounded(0.0), link="logit"), Bounded(0.5).shape_set()),
        (Outcome("y", Bounded(upper=0.0), link="log"), Bounded(upper=1.0).shape_set()),
        (Outcome("y", SlopeBounds(-1.0, 1.0), link="log"), None),
        (Outcome("y", SlopeBounds(0.5, 1.0), link="log"), Monotone().shape_set()),
    ],
)
def test_what_is_said_of_the_mean(outcome: Outcome, stated: ShapeSet | None) -> None:
    assert outcome.mean_set() == stated


@pytest.mark.parametrize(
    "shape",
    [
        Unconstrained(),
        Monotone(),
        Monotone(increasing=False),
        Concave(),
        Concave(curvature=[-0.45, 0.0]),
        Convex(),
        Convex(curvature=[0.1, None]),
        MonotoneConcave(),
        SlopeBounds(-1.0, 2.0),
        SlopeBounds(lower=0.5),
        SlopeBounds(0.0, 0.0),
        Bounded(upper=3.0),
        Intersection([Monotone(), Bounded(0.0, 1.0)]),
        Intersection([Concave(), Convex()]),
    ],
    ids=repr,
)
def test_every_set_is_a_shape(shape: Any) -> None:
    again = shape_of_set(shape.shape_set(), actions=[0.0, 0.5, 2.0])
    assert again.shape_set() == shape.shape_set()
    assert again.actions == [0.0, 0.5, 2.0]
