"""The shapes as configuration: sets, positions, refusals and what a file keeps."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from icac_algo import (
    Bounded,
    Concave,
    ConstraintAwareQConfig,
    Convex,
    Intersection,
    KnownCost,
    Monotone,
    MonotoneConcave,
    ShapedQFunctionFactory,
    SlopeBounds,
    Unconstrained,
)
from icac_algo.critics import (
    Canonical,
    free_coordinates,
    function_over,
    make_coordinates,
)
from icac_algo.shapes import Constraint, ShapeSet, parse_shape, register_constraint

ACTIONS = [0.0, 0.5, 0.75, 2.0]
COST = KnownCost(feature=2, coefficient=-0.25)
STORED: list[Constraint] = [
    Unconstrained(),
    Unconstrained(actions=ACTIONS),
    Monotone(),
    Monotone(actions=ACTIONS, known_cost=COST),
    Monotone(actions=ACTIONS, known_cost=COST, increasing=False),
    Concave(),
    Concave(actions=ACTIONS, known_cost=COST),
    MonotoneConcave(),
    MonotoneConcave(actions=ACTIONS, known_cost=COST),
    MonotoneConcave(actions=ACTIONS, known_cost=COST, increasing=False),
    Convex(actions=ACTIONS),
    Concave(curvature=(-0.45, 0.0)),
    Convex(curvature=(None, 2), actions=ACTIONS, known_cost=COST),
    MonotoneConcave(increasing=False, curvature=(-math.inf, -0.1)),
    SlopeBounds(-1.0, 1.0),
    SlopeBounds(lower=0.5),
    SlopeBounds(upper=0.5),
    Bounded(0.0, 1.0, actions=ACTIONS),
    Bounded(lower=0.0),
    Intersection([Concave(), SlopeBounds(-1.0, 2.0)]),
    Intersection([Concave(), SlopeBounds(-1.0, 3.0)]),
    Intersection([Monotone(), Bounded(0.0, 1.0)], actions=ACTIONS, known_cost=COST),
]
EVERY_TYPE = (Unconstrained, Monotone, Concave, Convex, MonotoneConcave)


@dataclasses.dataclass()
class _Convex(Constraint):
    """A shape that a user brings along."""

    steepest: float = 1.0

    def shape_set(self) -> ShapeSet:
        return ShapeSet(slope_upper=self.steepest, curvature_lower=0.0)

    @staticmethod
    def get_type() -> str:
        return "test_constraints_convex"


register_constraint(_Convex)


# -- what a file keeps -------------------------------------------------------


@pytest.mark.parametrize(
    "constraint", [*STORED, _Convex(actions=ACTIONS, steepest=3.0)], ids=repr
)
def test_serialisation_round_trip(constraint: Constraint) -> None:
    factory = ShapedQFunctionFactory(constraint, Canonical())
    again = ShapedQFunctionFactory.deserialize(factory.serialize())
    assert type(again.constraint) is type(constraint)
    assert again.constraint == constraint
    assert again == factory

    config = ConstraintAwareQConfig.deserialize(
        ConstraintAwareQConfig(constraint=constraint).serialize()
    )
    assert config.constraint == constraint


def test_shapes_that_differ_are_not_equal() -> None:
    """What makes the round trip above mean anything."""
    for i, first in enumerate(STORED):
        assert [first == other for other in STORED].index(True) == i
        assert sum(first == other for other in STORED) == 1


# -- the set -----------------------------------------------------------------

RISING = [[-1, 1, 0, 0], [0, -1, 1, 0], [0, 0, -1, 1]]
BENDS = [[-1, 2, -1, 0], [0, -1, 2, -1]]


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        (Unconstrained(), np.zeros((0, 4))),
        (Monotone(), RISING),
        (Monotone(increasing=False), np.negative(RISING)),
        (Concave(), BENDS),
        (MonotoneConcave(), [*BENDS, [0, 0, -1, 1]]),
        (MonotoneConcave(increasing=False), [*BENDS, [1, -1, 0, 0]]),
    ],
    ids=repr,
)
def test_inequalities_by_hand(constraint: Constraint, expected: Any) -> None:
    """The same rows in any unit of an equidistant action."""
    assert constraint.inequalities(constraint.positions(4)).shape == np.shape(expected)
    for positions in (constraint.positions(4), np.array([10.0, 20.0, 30.0, 40.0])):
        matrix = constraint.inequalities(positions)
        np.testing.assert_allclose(matrix, expected, atol=1e-12)


def test_inequalities_know_the_spacing() -> None:
    """Slopes 2, 4, .8 over gaps .5, .25, 1.25: the first bend is wrong."""
    values = np.array([0.0, 1.0, 2.0, 3.0])
    matrix = Concave(actions=ACTIONS).inequalities(ACTIONS)
    np.testing.assert_allclose(matrix @ values, [-2.0 * 0.375, 3.2 * 0.75])
    np.testing.assert_allclose(matrix @ np.ones(4), 0.0, atol=1e-12)
    np.testing.assert_allclose(matrix @ ACTIONS, 0.0, atol=1e-12)


@pytest.mark.parametrize("shape", EVERY_TYPE)
def test_positions(shape: type[Constraint]) -> None:
    positions = shape().positions(5)
    assert positions.dtype == np.float64
    np.testing.assert_array_equal(positions, [0.0, 0.25, 0.5, 0.75, 1.0])
    np.testing.assert_array_equal(shape(actions=ACTIONS).positions(4), ACTIONS)


def test_actions_may_come_from_numpy_and_are_kept_as_floats() -> None:
    constraint = Monotone(actions=np.arange(3))  # type: ignore[arg-type]
    assert constraint == Monotone(actions=[0.0, 1.0, 2.0])
    assert all(type(action) is float for action in constraint.actions or ())


def test_properties_that_users_choose_by() -> None:
    assert [s().favours_last for s in EVERY_TYPE] == [False, True, False, False, True]
    assert not Monotone(increasing=False).favours_last
    assert not MonotoneConcave(increasing=False).favours_last
    assert Intersection([Concave(), Monotone()]).favours_last
    safe = [s().sup_norm_nonexpansive for s in EVERY_TYPE]
    assert safe == [True, True, False, False, False]
    assert Intersection([Monotone(), Bounded(0.0, 1.0)]).sup_norm_nonexpansive
    assert not Intersection([Monotone(), Concave()]).sup_norm_nonexpansive


def test_closed_form_is_for_few_inequalities() -> None:
    """128 faces at most: 2^(K-2) of them for concave values, 2^(K-1) if also monotone."""
    sizes = (3, 7, 8, 9, 101)
    closed = {s.__name__: list(filter(s().has_closed_form, sizes)) for s in EVERY_TYPE}
    assert closed == {
        "Unconstrained": [3, 7, 8, 9, 101],
        "Monotone": [3, 7, 8, 9, 101],
        "Concave": [3, 7, 8, 9],
        "Convex": [3, 7, 8, 9],
        "MonotoneConcave": [3, 7, 8],
    }


# -- the known cost ----------------------------------------------------------


def test_known_cost_by_hand() -> None:
    observations = torch.tensor([[9.0, 9.0, 2.0], [9.0, 9.0, -4.0]])
    cost = COST(observations, np.array(ACTIONS))
    assert cost.dtype == torch.float64
    assert cost.tolist() == [[0.0, -0.25, -0.375, -1.0], [0.0, 0.5, 0.75, 2.0]]
    assert KnownCost(feature=0).coefficient == 1.0


@pytest.mark.parametrize("feature", [-1, 1.0, "0", None, True])
def test_known_cost_refuses_a_feature(feature: Any) -> None:
    with pytest.raises(
        ValueError, match=r"feature must be an integer >= 0, got"
    ) as error:
        KnownCost(feature=feature)
    assert repr(feature) in str(error.value)


@pytest.mark.parametrize("coefficient", [math.nan, math.inf, -math.inf, "1", None])
def test_known_cost_refuses_a_coefficient(coefficient: Any) -> None:
    with pytest.raises(ValueError, match="coefficient must be finite, got"):
        KnownCost(feature=0, coefficient=coefficient)


# -- several shapes at once --------------------------------------------------


def test_intersections_are_sets() -> None:
    both = Intersection([Monotone(), Concave()])
    assert both.shape_set() == MonotoneConcave().shape_set()
    nested = Intersection([both, SlopeBounds(-1.0, 2.0)])
    assert nested.shape_set() == ShapeSet(
        slope_lower=0.0, slope_upper=2.0, curvature_upper=0.0
    )
    alone = Intersection([Concave()])
    np.testing.assert_array_equal(
        alone.inequalities(alone.positions(6)),
        Concave().inequalities(np.linspace(0, 1, 6)),
    )


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: SlopeBounds(2.0, 1.0), "slopes of at least 2 and at most 1"),
        (lambda: Bounded(2.0, 1.0), "values of at least 2 and at most 1"),
        (
            lambda: Intersection([Monotone(), SlopeBounds(upper=-1.0)]),
            "slopes of at least 0 and at most -1",
        ),
        (
            lambda: Intersection([Bounded(0.0, 1.0), SlopeBounds(lower=2.0)]),
            "a slope of 2 over actions that span 1, between values 0 and 1",
        ),
        (
            lambda: Intersection([Bounded(0.0, 1.0), SlopeBounds(upper=-3.0)]),
            "a slope of -3 over actions that span 1",
        ),
        (
            lambda: Intersection(
                [Bounded(0.0, 1.0), SlopeBounds(lower=0.5)], actions=[0.0, 4.0]
            ),
            "a slope of 0.5 over actions that span 4",
        ),
        (
            lambda: Intersection(
                [Concave(curvature=(-1.0, -0.5)), SlopeBounds(-1.0, 0.5)],
                actions=[0.0, 4.0],
            ),
            "slopes that change by 2 over actions that span 4, between -1 and 0.5",
        ),
        (
            lambda: Intersection([Concave(curvature=(-2.0, -1.0)), Convex()]),
            "curvatures of at least 0 and at most -1",
        ),
    ],
)
def test_contradictory_shapes_are_refused(make: Any, reason: str) -> None:
    with pytest.raises(ValueError, match="no values can satisfy") as error:
        make()
    assert reason in str(error.value)


def test_shapes_that_just_fit_are_not_refused() -> None:
    Intersection([Monotone(), Monotone(increasing=False)])
    Intersection([Bounded(0.0, 1.0), SlopeBounds(lower=1.0)])
    Intersection([Bounded(0.0, 1.0), SlopeBounds(lower=2.0)], actions=[0.0, 0.5])
    SlopeBounds(1.0, 1.0)


@pytest.mark.parametrize("shape", [SlopeBounds, Bounded])
def test_bounds_are_refused(shape: Any) -> None:
    with pytest.raises(ValueError, match="needs a finite lower or upper bound"):
        shape()
    for bad in (math.nan, math.inf, "1", True):
        with pytest.raises(ValueError, match="lower must be a finite number, or None"):
            shape(lower=bad)
    with pytest.raises(ValueError, match="upper must be a finite number, or None"):
        shape(upper=-math.inf)
    assert shape(-math.inf, 1) == shape(upper=1.0)


@pytest.mark.parametrize(
    "given", [(-1.0,), (None, None), "-1..0", 3.0, (math.nan, 0.0), (True, 0.0), {}]
)
@pytest.mark.parametrize("shape", [Concave, Convex, MonotoneConcave])
def test_curvatures_are_refused(shape: Any, given: Any) -> None:
    with pytest.raises(ValueError, match=f"{shape.__name__} curvature must be .* number"):
        shape(curvature=given)


@pytest.mark.parametrize("shape", [Concave, Convex, MonotoneConcave])
def test_curvatures_have_the_sign_of_the_shape(shape: Any) -> None:
    side = "at least" if shape is Convex else "at most"
    for given in ((-1.0, 0.5), (-0.5, 1.0), (1.0, -1.0)):
        with pytest.raises(ValueError, match=f"lower <= upper, both {side} 0, got"):
            shape(curvature=given)


def test_curvatures_away_from_zero_and_bounds_on_values_are_refused() -> None:
    Intersection([Concave(curvature=(-1.0, 0.0)), Bounded(0.0, 1.0)])
    with pytest.raises(ValueError, match="bounds on values do not go with a curvature"):
        Intersection([Concave(curvature=(-1.0, -0.1)), Bounded(0.0, 1.0)])


def test_curvature_is_the_second_derivative() -> None:
    """Of a parabola, over unequal actions, in the units of rewards that are scaled."""
    positions = np.array([0.0, 0.1, 0.7, 3.0])
    parabola = -0.3 * positions**2  # second derivative -0.6
    for slope in (1.0, 100.0):
        for curvature, holds in (
            ((-0.61, -0.59), True),
            ((-0.59, 0.0), False),
            ((None, -0.61), False),
        ):
            shape = Concave(curvature=curvature).shape_set().scaled(slope)
            matrix, bounds = shape.inequalities(positions)
            assert bool((matrix @ (slope * parabola) >= bounds).all()) == holds


def test_curvature_in_words() -> None:
    assert parse_shape("concave:curvature=-0.45..0") == Concave(curvature=(-0.45, 0.0))
    assert parse_shape("convex:curvature=0.1..inf+monotone") == Intersection(
        [Convex(curvature=(0.1, None)), Monotone()]
    )
    for text in (
        "concave:curvature=-1",
        "concave:curvature=..",
        "concave:curvature=a..0",
    ):
        with pytest.raises(ValueError, match=r"curvature must be two numbers such as"):
            parse_shape(text)


def test_members_are_refused() -> None:
    for bad in ([], None, Concave()):
        with pytest.raises(ValueError, match="members must be a list of at least one"):
            Intersection(bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="members must be shapes, got 'concave'"):
        Intersection(["concave"])  # type: ignore[list-item]
    for member in (Concave(actions=ACTIONS), Concave(known_cost=COST)):
        with pytest.raises(
            ValueError, match="leave actions and known_cost to the Inters"
        ):
            Intersection([Monotone(), member])


# -- refusals ----------------------------------------------------------------


@pytest.mark.parametrize(
    "actions",
    [
        [0.0, 1.0, 1.0],
        [0.0, 2.0, 1.0],
        [0.0, math.nan, 1.0],
        [math.nan, 0.0, 1.0],
        [0.0, 1.0, math.inf],
        [-math.inf, 0.0, 1.0],
        [0.0, "a", 1.0],
        [0.0, None, 1.0],
        3,
    ],
    ids=repr,
)
@pytest.mark.parametrize("shape", EVERY_TYPE)
def test_actions_are_refused(shape: type[Constraint], actions: Any) -> None:
    allowed = "actions must be strictly increasing finite numbers, got"
    with pytest.raises(ValueError, match=allowed):
        shape(actions=actions)


@pytest.mark.parametrize("shape", EVERY_TYPE)
def test_wrong_numbers_of_actions_are_refused(shape: type[Constraint]) -> None:
    name, least = shape.__name__, 2
    message = f"{name} needs at least {least} actions, but "
    with pytest.raises(ValueError, match=f"{message}actions has {least - 1}"):
        shape(actions=[float(i) for i in range(least - 1)])
    with pytest.raises(ValueError, match=f"{message}the action space has {least - 1}"):
        shape().positions(least - 1)
    assert len(shape().positions(least)) == least
    with pytest.raises(ValueError, match=rf"{name}\(actions=\.\.\.\) names 4 .* has 5"):
        shape(actions=ACTIONS).positions(5)


def test_an_offset_needs_a_shape_and_a_fitting_observation() -> None:
    with pytest.raises(ValueError, match="Unconstrained takes no known_cost"):
        Unconstrained(known_cost=COST)
    shape = Concave(known_cost=COST)
    shape.check_observation_shape((3,))
    with pytest.raises(ValueError, match=r"feature must be below .* size 2, got 2"):
        shape.check_observation_shape((2,))
    for other in ((3, 3), ((3,), (3,)), ((3,),), ()):
        with pytest.raises(ValueError, match="known_cost needs vector observations, got"):
            shape.check_observation_shape(other)
        Concave().check_observation_shape(other)


def test_shapes_that_only_a_projection_has() -> None:
    for both in (
        [Concave(), Bounded(0.0, 1.0)],
        [Concave(), Convex()],
        [Concave(curvature=(-1.0, -1.0))],
        [SlopeBounds(0.5), Bounded(0.0, 1.0)],
    ):
        with pytest.raises(ValueError, match=r"Canonical\(\) does not know"):
            make_coordinates(Intersection(both), 5)
        with pytest.raises(ValueError, match=r"Functional\(\) does not know"):
            function_over(Intersection(both), 5)
        free_coordinates(Intersection(both), 5)
    make_coordinates(_Convex(), 5)
