"""A search for the points at which a model breaks the shape that it states."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

#: Points that are judged together; large enough for a network, small enough for memory.
BLOCK = 8192
#: The share of checks that goes on at random once there are points to refine.
RANDOM = 0.4
#: The worst points so far, around which the search refines.
KEPT = 64
#: Perturbations of a point, in powers of ten of the box.
SMALLEST_STEP, LARGEST_STEP = -9.0, -0.3
#: From here on an interval is also drawn by its powers of ten.
WIDE = 1e6


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
    """Search a box for points that break a shape.

    A share of the checks is drawn at random: uniformly, at faces and corners of the box,
    and by powers of ten along intervals that span many. The others refine the worst
    points found so far: small and large steps, of one coordinate or all, and mixtures of
    two. Deterministic for a seed.

    Args:
        violation: By how much points ``(B, d)`` break the shape, ``(B,)``: above 0 where
            it is broken, 0 where it holds. It may say by a negative number how far from
            broken a point is; the search follows it. NaN is broken without limit.
        low: Lower ends of the box ``(d,)``.
        high: Upper ends ``(d,)``.
        checks: Points to judge, at least 1.
        seed: Of the search.

    Raises:
        ValueError: If the ends do not match, do not lie in order or are not finite, or if
            ``checks`` is below 1.
    """
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    if low.ndim != 1 or low.shape != high.shape or not np.all(np.isfinite(high - low)):
        raise ValueError("low and high must be finite and of one shape (d,)")
    if np.any(low > high):
        raise ValueError("low must not exceed high")
    if checks < 1:
        raise ValueError(f"checks must be at least 1, got {checks}")
    rng = np.random.default_rng(seed)
    points, values = np.empty((0, low.size)), np.empty(0)
    done = violations = 0
    while done < checks:
        size = min(BLOCK, checks - done)
        # Where no point is worse than another there is nothing to refine.
        alike = not values.size or values[0] == values[-1] <= 0.0
        refined = 0 if alike else int(size * (1.0 - RANDOM))
        drawn = np.concatenate(
            [
                _random(rng, low, high, size - refined),
                _near(rng, points, low, high, refined),
            ]
        )
        found = np.nan_to_num(violation(drawn), nan=np.inf, posinf=np.inf)
        violations += int(np.count_nonzero(found > 0.0))
        done += size
        points, values = np.concatenate([points, drawn]), np.concatenate([values, found])
        best = np.argsort(-values, kind="stable")[:KEPT]
        points, values = points[best], values[best]
    broken = values[0] > 0.0
    return Found(
        done, violations, float(max(values[0], 0.0)), points[0] if broken else None
    )


def _random(
    rng: np.random.Generator, low: FloatArray, high: FloatArray, size: int
) -> FloatArray:
    """Points anywhere in the box, ``(size, d)``."""
    shape = (size, low.size)
    points = rng.uniform(low, high, shape)
    reach = np.maximum(np.abs(low), np.abs(high))
    wide = (reach > WIDE) & (rng.random(shape) < 0.7)
    powers = reach ** rng.uniform(-1.0, 1.0, shape)
    signed = np.where(rng.random(shape) < 0.5, -powers, powers)
    points = np.where(wide, np.clip(signed, low, high), points)
    # A few coordinates at an end in one point of four, all in one of sixteen.
    kind = rng.random((size, 1))
    share = np.select([kind < 1 / 16, kind < 1 / 4], [1.0, 0.3], 0.0)
    at_end = rng.random(shape) < share
    ends = np.where(rng.random(shape) < 0.5, low, high)
    return np.where(at_end, ends, points)


def _near(
    rng: np.random.Generator,
    points: FloatArray,
    low: FloatArray,
    high: FloatArray,
    size: int,
) -> FloatArray:
    """Points beside ``points`` or between two of them, ``(size, d)``."""
    if not size:
        return points[:0]
    shape = (size, low.size)
    first, second = points[rng.integers(len(points), size=(2, size))]
    mixed = (rng.random(shape) < 0.5) & (rng.random((size, 1)) < 0.3)
    near = np.where(mixed, second, first)
    scale = 10.0 ** rng.uniform(SMALLEST_STEP, LARGEST_STEP, (size, 1))
    step = rng.normal(size=shape) * scale * (high - low)
    # A wide interval is also walked by ratios: near 0 a step of the box is never small.
    ratio = (np.maximum(np.abs(low), np.abs(high)) > WIDE) & (rng.random((size, 1)) < 0.5)
    step = np.where(ratio, near * np.expm1(rng.normal(size=shape) * scale * 10.0), step)
    one = rng.integers(low.size, size=(size, 1)) == np.arange(low.size)
    step = np.where(one | (rng.random((size, 1)) < 0.4), step, 0.0)
    return np.clip(near + step, low, high)
