"""A search for the points at which a model breaks the shape that it states."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Random = np.random.Generator
BLOCK = 8192  # points that are judged together
RANDOM = 0.4  # share of checks that stay random once there are points to refine
KEPT = 64  # the worst points so far, around which the search refines
WIDE = 1e6  # from here on an interval is also walked by powers of ten


@dataclasses.dataclass(frozen=True)
class Found:
    """What a hunt came upon."""

    checks: int
    violations: int  # checks at which the shape is broken, by however little
    largest: float  # by how much at most; 0 if never
    worst: FloatArray | None = None  # a point ``(d,)`` that is broken by that much


def hunt(
    violation: Callable[[FloatArray], FloatArray],
    low: FloatArray,
    high: FloatArray,
    checks: int,
    seed: int,
) -> Found:
    """Search a box for points that break a shape, the same for the same seed.

    A share of the checks is random: uniform, at faces and corners, by powers of ten where
    an interval is wide. The others refine the worst points so far, by small and large
    steps of one coordinate or all, and by mixing two.

    Args:
        violation: By how much points ``(B, d)`` break the shape, ``(B,)``, 0 where it
            holds. Below 0 it may say how far from broken a point is, which the search
            follows. NaN is broken without limit.
        low: Lower ends of the box ``(d,)``.
        high: Upper ends ``(d,)``.
        checks: Points to judge, at least 1.
        seed: Of the search.

    Raises:
        ValueError: The ends are not finite and in order, or ``checks`` is below 1.
    """
    box = np.stack([low, high])
    if not (np.isfinite(box).all() and (box[0] <= box[1]).all() and checks >= 1):
        raise ValueError(f"low, high or checks do not fit: {low}, {high}, {checks}")
    rng = np.random.default_rng(seed)
    points, values, done, violations = np.empty((0, len(low))), np.empty(0), 0, 0
    while done < checks:
        size = min(BLOCK, checks - done)
        # Where no point is worse than another there is nothing to refine.
        alike = not values.size or values[0] == values[-1] <= 0.0
        near = 0 if alike else int(size * (1.0 - RANDOM))
        drawn = np.r_[_random(rng, box, size - near), _near(rng, points, box, near)]
        found = np.nan_to_num(violation(drawn), nan=np.inf, posinf=np.inf)
        violations += int(np.count_nonzero(found > 0.0))
        done += size
        points, values = np.r_[points, drawn], np.r_[values, found]
        best = np.argsort(-values, kind="stable")[:KEPT]
        points, values = points[best], values[best]
    largest = max(float(values[0]), 0.0)
    return Found(done, violations, largest, points[0] if largest else None)


def _random(rng: Random, box: FloatArray, size: int) -> FloatArray:
    """Points anywhere between the ends ``(2, d)``, ``(size, d)``."""
    (low, high), shape, reach = box, (size, box.shape[1]), np.abs(box).max(axis=0)
    powers = reach ** rng.uniform(-1.0, 1.0, shape) * rng.choice([-1.0, 1.0], shape)
    by_powers = (reach > WIDE) & (rng.random(shape) < 0.7)
    points = np.where(
        by_powers, np.clip(powers, low, high), rng.uniform(low, high, shape)
    )
    # All coordinates at an end in one point of sixteen, some in three of them.
    share = rng.choice([1.0, 0.3, 0.0], (size, 1), p=[1 / 16, 3 / 16, 3 / 4])
    ends = np.where(rng.random(shape) < 0.5, low, high)
    return np.where(rng.random(shape) < share, ends, points)


def _near(rng: Random, kept: FloatArray, box: FloatArray, size: int) -> FloatArray:
    """Points beside those kept or between two of them, ``(size, d)``."""
    (low, high), shape = box, (size, box.shape[1])
    first, second = kept[rng.integers(max(len(kept), 1), size=(2, size))]
    mixed = (rng.random(shape) < 0.5) & (rng.random((size, 1)) < 0.3)
    start = np.where(mixed, second, first)
    step = rng.normal(size=shape) * 10.0 ** rng.uniform(-9.0, -0.3, (size, 1))
    # In a wide interval also by ratios: near 0 no step of the box is small.
    by_ratio = (high - low > WIDE) & (rng.random((size, 1)) < 0.5)
    step = np.where(by_ratio, start * np.expm1(10.0 * step), (high - low) * step)
    one = rng.integers(shape[1], size=(size, 1)) == np.arange(shape[1])
    moved = one | (rng.random((size, 1)) < 0.4)
    return np.clip(np.where(moved, start + step, start), low, high)
