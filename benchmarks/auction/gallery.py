"""One picture for each shape: noisy values, and what the three critics make of them.

``python -m benchmarks gallery`` draws the pictures of ``docs/shapes.md``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.figure import Figure

from icac_algo import shapes
from icac_algo.critics import Function, function_over, make_coordinates

from ..engine import Experiment, Results, register
from ..engine.pictures import subplots

FloatArray = npt.NDArray[np.float64]
Truth = Callable[[FloatArray], FloatArray]

#: File name to title, shape and a true curve that has it.
GALLERY: dict[str, tuple[str, shapes.Constraint, Truth]] = {
    "monotone": (
        "Monotone()",
        shapes.Monotone(),
        lambda a: 1.0 / (1.0 + np.exp(-12.0 * (a - 0.6))),
    ),
    "slope_bounds": (
        "SlopeBounds(-1.0, 1.0)",
        shapes.SlopeBounds(-1.0, 1.0),
        lambda a: 0.16 * np.sin(6.0 * a) + 0.5,
    ),
    "bounded": (
        "Bounded(0.0, 1.0)",
        shapes.Bounded(0.0, 1.0),
        lambda a: np.clip(1.3 - 6.0 * (a - 0.5) ** 2, 0.0, 1.0),
    ),
    "concave": ("Concave()", shapes.Concave(), lambda a: 1.0 - 4.0 * (a - 0.6) ** 2),
    "convex": ("Convex()", shapes.Convex(), lambda a: 4.0 * (a - 0.4) ** 2),
    "monotone_concave": (
        "MonotoneConcave()",
        shapes.MonotoneConcave(),
        lambda a: 1.0 - np.exp(-4.0 * a),
    ),
    "intersection": (
        "Intersection([Concave(), SlopeBounds(-0.5, 1.5)])",
        shapes.Intersection([shapes.Concave(), shapes.SlopeBounds(-0.5, 1.5)]),
        lambda a: np.minimum(1.5 * a, 0.6 - 0.5 * (a - 0.4)),
    ),
}
ACTIONS = 15
NOISE = 0.15
STEPS = 1500


def fitted(
    constraint: shapes.Constraint, values: FloatArray, projection: str, seed: int = 0
) -> tuple[FloatArray, FloatArray]:
    """Least squares of a critic's coordinates: where it is drawn, and its values."""
    size = len(values)
    if projection == "canonical":
        made = make_coordinates(constraint, size).double()
    else:
        made = function_over(constraint, size, n_pieces=6).double()
    generator = torch.Generator().manual_seed(seed)
    coordinates = 0.1 * torch.randn(
        1, made.n_coordinates, generator=generator, dtype=torch.float64
    )
    coordinates.requires_grad_()
    target = torch.as_tensor(values)[None]
    optimizer = torch.optim.Adam([coordinates], lr=0.05)
    for _ in range(STEPS):
        optimizer.zero_grad()
        (made(coordinates) - target).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        if isinstance(made, Function):
            fine = np.linspace(0.0, 1.0, 300)
            curve = made.at(coordinates, torch.as_tensor(fine)[None])
            return fine, curve[0].numpy()
        return np.linspace(0.0, 1.0, size), made(coordinates)[0].numpy()


def _picture(name: str, results: Results) -> Figure:
    title, constraint, truth = GALLERY[name]
    rng = np.random.default_rng(list(GALLERY).index(name))
    actions, fine = np.linspace(0.0, 1.0, ACTIONS), np.linspace(0.0, 1.0, 300)
    raw = truth(actions) + NOISE * rng.normal(size=ACTIONS)
    projected = constraint.project(torch.as_tensor(raw)[None])[0].numpy()
    figure, axes = subplots(6.4, 3.6)
    axis = axes[0, 0]
    axis.plot(fine, truth(fine), color="0.6", linewidth=5, alpha=0.6, label="truth")
    axis.plot(actions, raw, "o", color="black", markersize=4, label="raw critic")
    axis.plot(actions, projected, "s-", color="C1", markersize=4, label="projected")
    canonical = fitted(constraint, raw, "canonical")
    axis.plot(*canonical, "^--", color="C2", markersize=4, label="canonical")
    axis.plot(*fitted(constraint, raw, "functional"), color="C0", label="functional")
    axis.set_title(title)
    axis.set_xlabel("action")
    axis.set_ylabel("value")
    axis.legend(fontsize=8, frameon=False, loc="best")
    return figure


register(
    Experiment(
        "gallery",
        "the pictures of docs/shapes.md",
        pictures={f"{name}.png": functools.partial(_picture, name) for name in GALLERY},
        defaults={"out": "docs/shapes"},
        report="",
    )
)
