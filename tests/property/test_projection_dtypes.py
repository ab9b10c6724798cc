"""Projections of every dtype and scale: what holds to the last bit, what to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from icac_algo import Concave, Intersection, Monotone, MonotoneConcave, SlopeBounds
from icac_algo.shapes import Constraint

from .strategies import (
    EVERY_SHAPE,
    MODEST,
    bound_scale,
    name_of,
    placed,
    seeds,
    shortfall,
)

SHAPES: list[Constraint] = [
    *EVERY_SHAPE,
    Intersection([Monotone(), SlopeBounds(-1.0, 2.0)]),
    Intersection([Monotone(increasing=False), SlopeBounds(-2.0, 1.0)]),
    Intersection([MonotoneConcave(), SlopeBounds(upper=2.0)]),
]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
#: Half precision ends at 65,504, and a concave fit may rise above the values.
SCALES = st.sampled_from([1e-9, 1e-3, 1.0, 1e3, 1e9])


def drawn(seed: int, size: int, scale: float, dtype: torch.dtype) -> torch.Tensor:
    values = scale * np.random.default_rng(seed).normal(size=(16, size))
    return torch.as_tensor(values).clamp(-2e4, 2e4).to(dtype)


def check(shape: Constraint, given: torch.Tensor, found: torch.Tensor) -> None:
    assert found.shape == given.shape
    assert bool(torch.isfinite(found).all())
    shape_set = shape.shape_set()
    if shape_set.slope_lower >= 0.0:
        assert bool((found.diff(dim=1) >= 0.0).all())
    if shape_set.slope_upper <= 0.0:
        assert bool((found.diff(dim=1) <= 0.0).all())
    least, most = (
        torch.tensor(bound, dtype=found.dtype)
        for bound in (shape_set.lower, shape_set.upper)
    )
    assert bool((found >= least).all())
    assert bool((found <= most).all())
    size = found.shape[1]
    largest = found.double().abs().amax(dim=1).clamp(min=bound_scale(shape, size))
    eps = torch.finfo(found.dtype).eps
    assert bool((shortfall(shape, found) <= (8.0 * eps + 1e-9) * largest).all())


@pytest.mark.parametrize("shape", SHAPES, ids=name_of)
@MODEST
@given(
    data=st.data(),
    size=st.sampled_from([2, 3, 5, 9, 16, 17]),
    scale=SCALES,
    dtype=st.sampled_from(DTYPES),
    seed=seeds,
)
def test_every_dtype_and_scale(
    shape: Constraint, data: st.DataObject, size: int, scale: float, dtype: Any, seed: int
) -> None:
    shape = data.draw(placed(shape, size))
    values = drawn(seed, size, scale, dtype)
    projected = shape.project(values)
    assert projected.dtype == dtype
    check(shape, values, projected)
    strided = torch.stack([values, values], dim=2)[:, :, 0]
    assert torch.equal(shape.project(strided), projected)
    assert torch.equal(shape.project(values.clone().requires_grad_()), projected)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=name_of)
@pytest.mark.parametrize("size", [33, 101])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_long_rows(shape: Constraint, size: int, dtype: torch.dtype) -> None:
    for seed, scale in enumerate((1e-9, 1.0, 1e9)):
        values = drawn(seed, size, scale, dtype)
        check(shape, values, shape.project(values))


@pytest.mark.parametrize("shape", SHAPES, ids=name_of)
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8], ids=str)
def test_integers_are_projected_in_float64(shape: Constraint, dtype: torch.dtype) -> None:
    values = torch.tensor([[3, 1, 2, 7], [0, 5, 5, 1]], dtype=dtype)
    projected = shape.project(values)
    assert projected.dtype == torch.float64
    assert torch.equal(projected, shape.project(values.double()))


@pytest.mark.parametrize("shape", SHAPES, ids=name_of)
def test_no_rows(shape: Constraint) -> None:
    values = torch.zeros(0, 5, requires_grad=True)
    assert shape.project(values).shape == (0, 5)


@pytest.mark.parametrize(
    ("values", "error", "found"),
    [
        (np.zeros((2, 3)), TypeError, "ndarray"),
        (torch.zeros(2, 3, dtype=torch.bool), TypeError, "bool"),
        (torch.zeros(2, 3, dtype=torch.complex64), TypeError, "complex64"),
        (torch.zeros(3), ValueError, r"\(3,\)"),
        (torch.zeros(1, 2, 3), ValueError, r"\(1, 2, 3\)"),
        (torch.zeros(2, 1), ValueError, "1"),
        (torch.tensor([[1.0, float("nan")]]), ValueError, "NaN"),
        (torch.tensor([[1.0, float("inf")]]), ValueError, "infinity"),
    ],
)
def test_what_cannot_be_projected(values: Any, error: type, found: str) -> None:
    with pytest.raises(error, match=found):
        Concave().project(values)
