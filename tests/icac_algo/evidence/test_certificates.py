"""Certificates against linear programs, and on functions that have the shape."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import Polynomial
from scipy.optimize import linprog

from icac_algo import (
    Bounded,
    Concave,
    Convex,
    Intersection,
    Monotone,
    MonotoneConcave,
    SlopeBounds,
)
from icac_algo.evidence.certificates import (
    Ranges,
    _candidates,
    best_certificates,
    mirror,
)
from icac_algo.shapes import Constraint, ShapeSet
from icac_algo.shapes.projection import project_onto_set

BOUND = Bounded(-1.5, 2.0)
ALONE: list[Constraint] = [
    Monotone(),
    Monotone(increasing=False),
    SlopeBounds(-0.7, 1.1),
    SlopeBounds(lower=0.3),
    Concave(),
    Convex(),
    MonotoneConcave(),
    MonotoneConcave(increasing=False),
]
SHARP = [
    *ALONE,
    *(Intersection([shape, BOUND]) for shape in ALONE if shape != SlopeBounds(lower=0.3)),
    Intersection([Concave(), Bounded(lower=-1.0)]),
    Intersection([Convex(), Bounded(upper=1.0)]),
    Intersection([Concave(), SlopeBounds(-0.7, 1.1)]),
    Intersection([Convex(), SlopeBounds(-0.7, 1.1), BOUND]),
    Intersection([Concave(), SlopeBounds(-0.7, 1.1), BOUND]),
]
TWO_SIDED: list[Constraint] = [
    Concave(curvature=(-0.8, 0.0)),
    Concave(curvature=(-0.8, -0.1)),
    Convex(curvature=(0.1, 0.9)),
    Intersection([Concave(curvature=(-0.8, 0.0)), BOUND]),
    Intersection([Monotone(), Concave(curvature=(-0.8, -0.1)), SlopeBounds(upper=4.0)]),
]


def least(shape: ShapeSet, positions: Any, values: Any, seen: Any, target: int) -> float:
    """The lowest value of an action that the shape allows, by linear programming."""
    matrix, bound = shape.inequalities(positions)
    if not len(matrix):
        matrix, bound = np.zeros((1, len(positions))), np.zeros(1)
    found = linprog(
        np.eye(len(positions))[target],
        # Feasible values are so up to rounding.
        A_ub=-matrix,
        b_ub=-bound + 1e-10,
        A_eq=np.eye(len(positions))[seen],
        b_eq=values[seen],
        bounds=(None, None),
        method="highs",
    )
    assert found.status in (0, 3), found.message
    return float(found.fun) if found.status == 0 else -math.inf


def certified(
    shape: ShapeSet, positions: Any, values: Any, seen: Any, target: int
) -> float:
    unseen = ~np.isin(np.arange(len(positions)), seen)
    found = best_certificates(
        shape,
        Ranges(positions, positions),
        (positions[0], positions[-1]),
        positions[[target]],
        # What is predicted of actions that were never logged must not matter.
        np.where(unseen, 1e3, values)[None],
        np.where(unseen, np.inf, 0.0)[None],
        np.array([1e-12]),
    )
    used = found.ranges[0][found.weights[0] != 0.0]
    if math.isfinite(found.constants[0]):
        assert not unseen[used].any()
    return float((found.dot(values[None]) + found.constants)[0])


def worlds(shape: ShapeSet) -> Any:
    """Positions, values of the shape, logged actions."""
    rng = np.random.default_rng(0)
    for _ in range(7):
        size = int(rng.integers(3, 8))
        positions = np.cumsum(rng.uniform(0.2, 0.6, size)) - 1.0
        values = torch.as_tensor(rng.normal(0.0, 1.0, (1, size)))
        values = project_onto_set(values, shape, positions).numpy()[0]
        count = int(rng.integers(1, size + 1))
        yield positions, values, np.sort(rng.choice(size, count, replace=False))


def cases(shape: Constraint) -> Any:
    """Arguments of both functions, for both ends, and the true value of the target."""
    both = (shape.shape_set(), 1.0), (mirror(shape.shape_set()), -1.0)
    for positions, values, seen in worlds(shape.shape_set()):
        for one, sign in both:
            for target in range(len(positions)):
                yield (one, positions, sign * values, seen, target), sign * values[target]


@pytest.mark.parametrize("shape", SHARP, ids=repr)
def test_the_best_certificate_is_the_linear_programs_value(shape: Constraint) -> None:
    for args, _ in cases(shape):
        assert certified(*args) == pytest.approx(least(*args), abs=1e-6)


@pytest.mark.parametrize("shape", TWO_SIDED, ids=repr)
def test_two_sided_curvature_is_valid(shape: Constraint) -> None:
    found = [(certified(*args), truth) for args, truth in cases(shape)]
    assert all(bound <= truth + 1e-6 for bound, truth in found)
    assert sum(math.isfinite(bound) for bound, _ in found) > len(found) / 3


@pytest.mark.parametrize("shape", [Monotone(), Concave(), Convex(), MonotoneConcave()])
def test_where_nothing_bounds_a_value_it_stays_unbounded(shape: Constraint) -> None:
    found = [(certified(*args), least(*args)) for args, _ in cases(shape)]
    assert any(math.isinf(bound) for bound, _ in found)
    assert all(math.isinf(bound) == math.isinf(truth) for bound, truth in found)
    bounded = Intersection([shape, BOUND])
    assert all(math.isfinite(certified(*args)) for args, _ in cases(bounded))


numbers = st.floats(-2.0, 2.0, allow_nan=False).map(lambda x: round(x, 3))


@dataclasses.dataclass(frozen=True)
class Curve:
    """A quartic plus hinges that all bend one way, whose means are exact."""

    smooth: Polynomial
    bend: int
    knots: tuple[tuple[float, float], ...]

    def __call__(self, a: Any) -> Any:
        hinges = sum(w * np.maximum(a - at, 0.0) for at, w in self.knots)
        return self.smooth(a) + self.bend * hinges

    def mean(self, low: float, high: float) -> float:
        if low == high:
            return float(self(low))
        whole = self.smooth.integ()
        area = sum(
            w * (max(high - at, 0.0) ** 2 - max(low - at, 0.0) ** 2) / 2.0
            for at, w in self.knots
        )
        return float((whole(high) - whole(low) + self.bend * area) / (high - low))

    def shape(self, kept: list[bool]) -> ShapeSet:
        """What is true of it on [-1, 1], with some bounds left out."""
        slopes, bends = (extremes(self.smooth.deriv(k)) for k in (1, 2))
        steps = self.bend * sum(w for _, w in self.knots)
        at = np.linspace(-1.0, 1.0, 2001)
        slack = 1e-3 * (1.0 + abs(steps) + max(map(abs, slopes)))
        values = self(at)
        found = (
            slopes[0] + min(steps, 0.0),
            slopes[1] + max(steps, 0.0),
            values.min() - slack,
            values.max() + slack,
            bends[0] if self.bend >= 0 or not self.knots else -math.inf,
            bends[1] if self.bend <= 0 or not self.knots else math.inf,
        )
        free = (-math.inf, math.inf) * 3
        return ShapeSet(
            *(a if k else b for a, b, k in zip(found, free, kept, strict=True))
        )


def extremes(polynomial: Polynomial) -> tuple[float, float]:
    turns = polynomial.deriv().roots()
    at = [t.real for t in turns if abs(t.imag) < 1e-6 and -1.0 < t.real < 1.0]
    values = polynomial(np.array([-1.0, 1.0, *at]))
    return float(values.min()) - 1e-9, float(values.max()) + 1e-9


curves = st.builds(
    lambda coefficients, bend, knots: Curve(
        Polynomial([*coefficients, 1e-3]), bend, tuple(knots)
    ),
    st.lists(numbers, min_size=4, max_size=4),
    st.sampled_from([-1, 0, 1]),
    st.lists(st.tuples(st.floats(-0.9, 0.9), st.floats(0.0, 2.0)), max_size=3),
)


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(
    curve=curves,
    kept=st.lists(st.booleans(), min_size=6, max_size=6),
    cuts=st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=7, unique=True),
    target=st.floats(-1.0, 1.0),
    empirical=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_every_certificate_holds(
    curve: Curve,
    kept: list[bool],
    cuts: list[float],
    target: float,
    empirical: bool,
    seed: int,
) -> None:
    edges = np.sort(cuts)
    edges = edges[np.append(True, np.diff(edges) > 1e-3)]
    shape, rng = curve.shape(kept), np.random.default_rng(seed)
    pairs = list(itertools.pairwise(edges))
    # Neighbours, some left out, some single actions.
    pairs = [
        (low, low) if rng.random() < 0.2 else (low, high)
        for low, high in pairs
        if rng.random() < 0.8
    ]
    if not pairs:
        return
    ranges = Ranges(*np.array(pairs).T)
    means = np.array([curve.mean(low, high) for low, high in pairs])
    if empirical:
        # Whatever the numbers are like in a range.
        inside = tuple(
            np.sort(low + (high - low) * rng.random(rng.integers(1, 9)) ** 3)
            for low, high in pairs
        )
        ends = np.array([(one[0], one[-1]) for one in inside]).T
        ranges = Ranges(ends[0], ends[1], inside)
        means = np.array([curve(one).mean() for one in inside])
    targets = np.array([target, *ranges.lower, *ranges.upper, *ranges.centres])
    for one, sign in ((shape, 1.0), (mirror(shape), -1.0)):
        for points, weights, constants in _candidates(one, ranges, (-1.0, 1.0), targets):
            bound = constants.copy()
            for point, weight in zip(points, weights, strict=True):
                if point.column >= 0:
                    bound += weight * sign * means[point.column]
            slack = 1e-7 * (1.0 + sum((np.abs(w) for w in weights), np.zeros(1)))
            wrong = bound > sign * curve(targets) + slack
            assert not wrong.any(), (points, targets[wrong], bound[wrong])


def test_a_range_that_holds_the_target_is_exact_for_slopes() -> None:
    # Of slopes within [l, u] the worst function is kinked at the target.
    ranges, target = Ranges(np.array([0.0]), np.array([2.0])), np.array([0.5])
    shape = SlopeBounds(-1.0, 3.0).shape_set()
    found = best_certificates(
        shape, ranges, (0.0, 2.0), target, np.zeros((1, 1)), np.zeros((1, 1)), np.ones(1)
    )
    fine = (np.arange(100_000) + 0.5) / 50_000.0
    worst = np.where(fine < 0.5, -1.0, 3.0) * (fine - 0.5)
    assert found.constants[0] == pytest.approx(-worst.mean(), abs=1e-6)


@pytest.mark.parametrize("shape", [*SHARP, *TWO_SIDED], ids=repr)
def test_mirroring_twice_changes_nothing(shape: Constraint) -> None:
    once = mirror(shape.shape_set())
    assert mirror(once) == shape.shape_set()
    assert once != shape.shape_set() or shape == SlopeBounds(-1.0, 1.0)


def test_a_noisy_range_is_not_rested_on() -> None:
    # Action 0 promises more, but nobody knows it well.
    shape, at = Monotone().shape_set(), np.array([0.0, 1.0, 2.0])
    means, price = np.array([[1.0, 0.9, 5.0]]), np.array([1.0])
    costs = np.array([[0.0, 0.0, np.inf]])
    args = shape, Ranges(at, at), (0.0, 2.0), at[2:], means
    assert best_certificates(*args, costs, price).ranges[0, 0] == 0
    costs[0, 0] = 0.2
    assert best_certificates(*args, costs, price).ranges[0, 0] == 1
    costs[0, :2] = np.inf
    assert best_certificates(*args, costs, price).constants[0] == -np.inf
    # What was never logged is not used at any price.
    costs = np.array([[1.0, np.inf, np.inf]])
    assert best_certificates(*args, costs, np.zeros(1)).ranges[0, 0] == 0
