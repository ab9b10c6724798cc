"""Functions of a continuous action: their shape at every real one, by two derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from icac_algo import (
    Bounded,
    Concave,
    Convex,
    Intersection,
    Monotone,
    MonotoneConcave,
    SlopeBounds,
)
from icac_algo import Unconstrained as Free
from icac_algo.critics import Function, Spline, Units, make_function
from icac_algo.shapes import Constraint

from .strategies import MODEST, seeds

SHAPES: list[Constraint] = [
    Monotone(),
    Monotone(increasing=False),
    Concave(),
    Convex(),
    MonotoneConcave(),
    MonotoneConcave(increasing=False),
    SlopeBounds(-0.5, 1.0),
    SlopeBounds(lower=0.3),
    SlopeBounds(upper=-0.2),
    Bounded(0.0, 1.0),
    Bounded(lower=1.0),
    Bounded(upper=1.0),
    Intersection([Monotone(), Bounded(0.0, 1.0)]),
    Intersection([Convex(), SlopeBounds(upper=2.0)]),
]
BENT_WITHIN: list[Constraint] = [
    Intersection([Concave(), SlopeBounds(-1.0, 2.0)]),
    Intersection([Convex(), SlopeBounds(-1.0, 2.0)]),
    Concave(curvature=(-0.45, 0.0)),
    Concave(curvature=(None, -0.3)),
    Convex(curvature=(0.2, 3.0)),
    MonotoneConcave(curvature=(-1.0, -0.1)),
    MonotoneConcave(increasing=False, curvature=(-1.0, None)),
    Intersection([Concave(curvature=(-1.0, -0.3)), SlopeBounds(-1.0, 2.0)]),
    Intersection([Convex(curvature=(0.3, 1.0)), SlopeBounds(upper=0.5)]),
]
every_shape = pytest.mark.parametrize("shape", [*SHAPES, *BENT_WITHIN], ids=repr)
every_state_shape = pytest.mark.parametrize("shape", SHAPES, ids=repr)
ENDS = torch.tensor([0.5, 3.0], dtype=torch.float64)
ROUNDING = 1e-9


def drawn(function: Function, seed: int, rows: int = 6) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    size = rng.choice([0.1, 1.0, 5.0])
    return torch.as_tensor(size * rng.normal(size=(rows, function.n_coordinates)))


def anywhere(seed: int, rows: int = 6) -> torch.Tensor:
    """Sorted actions within the range and far outside it."""
    rng = np.random.default_rng(seed + 1)
    return torch.as_tensor(np.sort(rng.uniform(-4.0, 8.0, (rows, 50)), axis=1))


@every_shape
@pytest.mark.parametrize("rising", [False, True])
@MODEST
@given(
    seed=seeds, n_pieces=st.integers(1, 6), in_units=st.booleans(), straight=st.booleans()
)
def test_shape_holds_at_every_real_action(
    shape: Constraint,
    rising: bool,
    seed: int,
    n_pieces: int,
    in_units: bool,
    straight: bool,
) -> None:
    if rising and shape in BENT_WITHIN:
        return
    function = make_function(
        shape, ENDS, n_pieces, rising_in_coordinates=rising, straightness=5.0 * straight
    ).double()
    units = Units(level=0.4, scale=0.5, reward_slope=2.0) if in_units else Units()
    coordinates = drawn(function, seed)
    actions = anywhere(seed).requires_grad_()
    values = units.level + units.scale * function.at(coordinates, actions, units)
    (slopes,) = torch.autograd.grad(values.sum(), actions, create_graph=True)
    bends = torch.zeros_like(slopes)
    if slopes.requires_grad:
        (bends,) = torch.autograd.grad(slopes.sum(), actions)
    of = shape.shape_set().scaled(units.reward_slope)
    values, slopes, actions = values.detach(), slopes.detach(), actions.detach()
    chords = values.diff() / actions.diff()
    tolerance = ROUNDING * max(1.0, float(values.abs().max()))
    near = (actions.diff() > 1e-4).double()
    for found, keep in ((slopes, 1.0), (chords, near)):
        assert float(((found - of.slope_lower).clamp(max=0.0) * keep).min()) >= -tolerance
        assert float(((found - of.slope_upper).clamp(min=0.0) * keep).max()) <= tolerance
    sign = -1.0 if of.concave else 1.0
    if of.has_curvature:
        assert float((sign * bends).min()) >= -tolerance
        fastest = -of.curvature_lower if of.concave else of.curvature_upper
        assert float((sign * bends).max()) <= fastest + tolerance
        # Away from 0 within the range.
        inside = (actions > 0.5) & (actions < 3.0)
        slow = (sign * bends).masked_fill(~inside, np.inf).min()
        assert float(slow) >= abs(of.flattest_curvature) - tolerance
        kept = near[:, 1:] * near[:, :-1]
        assert float((sign * chords.diff() * kept).min()) >= -tolerance * 1e4
    assert float(values.min()) >= of.lower - tolerance
    assert float(values.max()) <= of.upper + tolerance


@every_state_shape
@pytest.mark.parametrize("lipschitz", [False, True])
@MODEST
@given(seed=seeds, n_pieces=st.integers(1, 6), straight=st.booleans())
def test_values_rise_in_every_coordinate(
    shape: Constraint, lipschitz: bool, seed: int, n_pieces: int, straight: bool
) -> None:
    """Fall, of a convex shape; and with a Lipschitz constant that is no guess."""
    function = make_function(shape, ENDS, n_pieces, True, lipschitz, straight).double()
    coordinates = drawn(function, seed)
    inside = torch.linspace(0.5, 3.0, 40, dtype=torch.float64).expand(6, -1)
    more = torch.as_tensor(np.random.default_rng(seed).random(coordinates.shape))
    change = function.at(coordinates + more, inside) - function.at(coordinates, inside)
    sign = -1.0 if function.frame.negated else 1.0
    assert float((sign * change).min()) >= -ROUNDING
    if lipschitz and not shape.shape_set().has_value_bounds:
        assert isinstance(function, Spline)
        gain = float(function.sup_norm_gain())
        moved = (more - 0.5).abs().amax(dim=1)
        other = coordinates + more - 0.5
        change = function.at(other, inside) - function.at(coordinates, inside)
        assert bool((change.abs().amax(dim=1) <= gain * moved + ROUNDING).all())


@pytest.mark.parametrize("rising", [False, True])
@pytest.mark.parametrize(
    "shape",
    [Monotone(), Monotone(increasing=False), Concave(), Convex(), MonotoneConcave()],
    ids=repr,
)
def test_a_fresh_function_can_begin_as_a_line(shape: Constraint, rising: bool) -> None:
    bent = {}
    for straight in (5.0, 0.0):
        function = make_function(shape, ENDS, 4, rising, straightness=straight)
        # Twenty fresh networks: small numbers.
        rows = 0.1 * torch.randn(
            20, function.n_coordinates, generator=torch.Generator().manual_seed(0)
        )
        values = function.at(rows, torch.linspace(0.5, 3.0, 40).expand(20, -1)).double()
        share = torch.linspace(0.0, 1.0, 40, dtype=torch.float64)
        chord = torch.lerp(values[:, :1], values[:, -1:], share)
        bent[straight] = float((values - chord).abs().amax(dim=1).mean())
    assert bent[5.0] < 0.02
    assert bent[5.0] < 0.3 * bent[0.0]


def test_curvature_bounds_and_state_constraints_are_refused() -> None:
    shape = MonotoneConcave(curvature=(-1.0, 0.0))
    with pytest.raises(ValueError, match="with bounds on curvature"):
        make_function(shape, ENDS, rising_in_coordinates=True)


TARGETS = {
    "wave": (Free(), lambda a: torch.sin(4.0 * a)),
    "step": (Monotone(), lambda a: torch.sigmoid(6.0 * (a - 1.5))),
    "peak": (Concave(), lambda a: -((a - 1.2) ** 2)),
    "dip": (Convex(), lambda a: (a - 1.2) ** 2),
    "saturation": (MonotoneConcave(), lambda a: -torch.exp(-2.0 * a)),
    "gentle wave": (SlopeBounds(-1.0, 1.0), lambda a: 0.4 * torch.sin(2.0 * a)),
    "chance": (Bounded(0.0, 1.0), lambda a: 0.5 + 0.45 * torch.sin(3.0 * a)),
    "tent": (BENT_WITHIN[0], lambda a: -((a - 1.2) ** 2) / 4.0),
}


@pytest.mark.parametrize(
    "name",
    [
        "tent",
        *(pytest.param(n, marks=pytest.mark.slow) for n in sorted({*TARGETS} - {"tent"})),
    ],
)
def test_more_pieces_reach_any_function_of_the_shape(name: str) -> None:
    shape, target = TARGETS[name]
    actions = torch.linspace(0.5, 3.0, 80, dtype=torch.float64)[None]
    wanted = target(actions)
    errors = {}
    for n_pieces in (1, 12):
        function = make_function(shape, ENDS, n_pieces).double()
        # Least squares of pieces has local minima: the best of a few starts.
        errors[n_pieces] = min(fit(function, actions, wanted, seed) for seed in range(3))
    assert errors[12] < 0.08
    assert errors[12] < errors[1] + 0.01


def fit(
    function: Function, actions: torch.Tensor, wanted: torch.Tensor, seed: int
) -> float:
    """Root mean square error of the fit, as a share of the target's spread."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(
        1, function.n_coordinates, generator=generator, dtype=torch.float64
    )
    coordinates = (0.3 * start).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [coordinates], max_iter=500, line_search_fn="strong_wolfe"
    )

    def loss() -> float:
        optimizer.zero_grad()
        error = (function.at(coordinates, actions) - wanted).square().mean()
        error.backward()
        return float(error.detach())

    optimizer.step(loss)
    return float(loss() ** 0.5 / wanted.std())
