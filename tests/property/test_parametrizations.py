"""Canonical and functional coordinates: the shape, whatever the network says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from icac_algo import Concave, Monotone, MonotoneConcave
from icac_algo import Unconstrained as Free
from icac_algo.critics import (
    Parametrization,
    free_coordinates,
    function_over,
    make_coordinates,
)
from icac_algo.shapes import Constraint

from .strategies import DIRECTED, MODEST, SHAPES, over, placed, seeds, shortfall

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=repr)
either_projection = pytest.mark.parametrize("projection", ["canonical", "functional"])

sizes = st.sampled_from([3, 5, 21, 101])


def parametrization_of(
    constraint: Constraint, projection: str, size: int, n_pieces: int = 4
) -> Parametrization:
    if projection == "functional":
        return function_over(constraint, size, n_pieces)
    return {"canonical": make_coordinates, "euclidean": free_coordinates}[projection](
        constraint, size
    )


# What one number of a network's output may be of the order of.
magnitudes = st.lists(
    st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 30.0, 1e4, 1e30]), min_size=1, max_size=3
)


@st.composite
def outputs(draw: st.DrawFn, count: int, rows: int = 4) -> torch.Tensor:
    """Float32 network outputs: of one size, or of very different ones at once."""
    rng = np.random.default_rng(draw(seeds))
    sizes_of = rng.choice(draw(magnitudes), (rows, count))
    return torch.as_tensor(sizes_of * rng.normal(size=(rows, count))).float()


@every_shape
@either_projection
@MODEST
@given(data=st.data())
def test_any_output_has_the_shape(
    projection: str, shape: Constraint, data: st.DataObject
) -> None:
    size = data.draw(sizes)
    constraint = data.draw(placed(shape, size))
    parametrization = parametrization_of(constraint, projection, size)
    coordinates = data.draw(outputs(parametrization.n_coordinates))
    values = parametrization(coordinates)
    assert values.shape == (4, size)
    assert values.dtype == torch.float32
    assert bool(torch.isfinite(values).all())
    # A value is a sum of products of at most two coordinates, cut off at 1e6.
    largest = coordinates.abs().amax(dim=1).clamp(1.0, 1e6).double()
    scale = values.double().abs().amax(dim=1)
    if projection == "functional":
        scale = torch.maximum(scale, largest**2)
    missed = shortfall(constraint, values)
    assert bool((missed <= 1e-6 * scale.clamp(min=1e-6)).all())


@every_shape
@either_projection
@MODEST
@given(data=st.data())
def test_gradient_reaches_every_coordinate(
    projection: str, shape: Constraint, data: st.DataObject
) -> None:
    size = data.draw(sizes)
    constraint = data.draw(placed(shape, size))
    parametrization = parametrization_of(constraint, projection, size)
    generator = torch.Generator().manual_seed(data.draw(seeds))
    coordinates = torch.randn(4, parametrization.n_coordinates, generator=generator)
    values = parametrization(coordinates.requires_grad_())
    (values * torch.randn(4, size, generator=generator)).sum().backward()
    assert coordinates.grad is not None
    assert bool(torch.isfinite(coordinates.grad).all())
    assert bool((coordinates.grad != 0.0).all())


@pytest.mark.parametrize("projection", ["canonical", "functional", "euclidean"])
def test_no_shape_gives_the_coordinates_themselves(projection: str) -> None:
    coordinates = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    parametrization = parametrization_of(Free(), projection, 5)
    assert torch.equal(parametrization(coordinates), coordinates)


@every_shape
@MODEST
@given(data=st.data())
def test_functional_values_do_not_depend_on_the_number_of_actions(
    shape: Constraint, data: st.DataObject
) -> None:
    n_pieces = data.draw(st.integers(1, 6))
    few = parametrization_of(shape, "functional", 5, n_pieces)
    many = parametrization_of(shape, "functional", 21, n_pieces)
    uneven = over(shape, [0.0, 0.05, 0.25, 0.5, 1.0])
    other = parametrization_of(uneven, "functional", 5, n_pieces)
    rows = data.draw(outputs(few.n_coordinates))
    assert few.n_coordinates == many.n_coordinates == other.n_coordinates
    at_all = many(rows)
    for got, shared in (
        (few(rows), at_all[:, ::5]),
        (other(rows), at_all[:, [0, 1, 5, 10, 20]]),
    ):
        scale = rows.abs().amax(dim=1, keepdim=True).clamp(1.0, 1e6).double() ** 2
        assert bool(((got - shared).abs() <= 1e-6 * scale).all())


# -- canonical coordinates reach the whole set -------------------------------


def inverse_softplus(sign: torch.Tensor) -> torch.Tensor:
    return sign + torch.log(-torch.expm1(-sign))


def to_coordinate(sign: torch.Tensor) -> torch.Tensor:
    """Undoes a softplus whose shift, a matter of tuning, is read off at zero."""
    flat = parametrization_of(Monotone(), "canonical", 2).double()
    at_zero = flat(torch.zeros(1, 2, dtype=torch.float64)).diff()
    return inverse_softplus(sign) - inverse_softplus(at_zero)


def canonical_coordinates(
    constraint: Constraint, values: torch.Tensor, unit: torch.Tensor
) -> torch.Tensor:
    """Coordinates of rising (unmirrored) values, by differences and inverse softplus."""
    level = values.mean(dim=1, keepdim=True)
    slopes = values.diff() / unit.diff()
    if isinstance(constraint, Monotone):
        return torch.cat([level, to_coordinate(slopes)], dim=1)
    curvatures = to_coordinate(-slopes.diff() / ((unit[2:] - unit[:-2]) / 2.0))
    if isinstance(constraint, Concave):
        return torch.cat([level, slopes.mean(dim=1, keepdim=True), curvatures], dim=1)
    return torch.cat([level, to_coordinate(slopes[:, -1:]), curvatures], dim=1)


@every_shape
@MODEST
@given(data=st.data())
def test_canonical_coordinates_reach_every_interior_point(
    shape: Constraint, data: st.DataObject
) -> None:
    size = data.draw(sizes)
    constraint = data.draw(placed(shape, size))
    rng = np.random.default_rng(data.draw(seeds))
    positions = torch.as_tensor(constraint.positions(size))
    unit = (positions - positions[0]) / (positions[-1] - positions[0])
    mirrored = isinstance(constraint, DIRECTED) and not constraint.increasing
    if mirrored:
        unit = 1.0 - unit.flip(0)
    steps = torch.as_tensor(np.exp(rng.uniform(-4.0, 3.0, (4, size - 1))))
    if not isinstance(constraint, Monotone):
        steps = steps.cumsum(dim=1).flip(1)
    if isinstance(constraint, Concave):
        steps = steps - steps.mean() * rng.uniform(0.0, 2.0)
    level = torch.as_tensor(rng.normal(size=(4, 1)) * 10.0)
    values = torch.cat([level, level + (steps * unit.diff()).cumsum(dim=1)], dim=1)

    coordinates = canonical_coordinates(constraint, values, unit)
    parametrization = parametrization_of(constraint, "canonical", size).double()
    assert coordinates.shape[1] == parametrization.n_coordinates
    got = parametrization(coordinates)
    expected = values.flip(1) if mirrored else values
    assert bool(((got - expected).abs() <= 1e-4 * values.abs().max()).all())


def test_number_of_coordinates() -> None:
    counts = {
        (type(shape).__name__, n): parametrization_of(shape, "functional", 5, n)
        for shape in (Monotone(), Concave(), MonotoneConcave())
        for n in (1, 4)
    }
    assert {name: made.n_coordinates for name, made in counts.items()} == {
        ("Monotone", 1): 4,
        ("Monotone", 4): 13,
        ("Concave", 1): 5,
        ("Concave", 4): 14,
        ("MonotoneConcave", 1): 4,
        ("MonotoneConcave", 4): 13,
    }
    for shape in SHAPES:
        assert parametrization_of(shape, "canonical", 7).n_coordinates == 7
