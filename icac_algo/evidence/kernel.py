r"""Weights for policies that choose any number: kernels, and how wide they should be.

A row counts as far as its action :math:`a` is near what the policy would do:

.. math:: w = \frac{K_h(a - \pi(s))}{e(a \mid s)}

with the density :math:`e` of the logger (Kallus and Zhou, "Policy evaluation and
optimization with continuous treatments", 2018; doubly robust: Colangelo and Lee, "Double
debiased machine learning nonparametric inference with continuous treatments", 2020).
:math:`K` is Epanechnikov's kernel times the cubic that makes it reproduce every cubic
(Fan and Gijbels, "Local polynomial modelling", 1996), also near the ends of what was
logged.  A reward model that is a cubic of the action is then corrected without bias at
any width.

A wide kernel has bias, a narrow one noise.  :func:`widest` is Lepski's rule: the widest
bandwidth that no narrower one contradicts (Su, Srinath and Krishnamurthy, "Adaptive
estimator selection for off-policy evaluation", 2020).  A difference counts from 1.5 times
its interval on: at 1 the rule follows noise, and 95 % intervals hold the truth in 90 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from ..data import LoggedSteps
from .jackknife import Ratio, jackknife

FloatArray = npt.NDArray[np.float64]
_DEGREE = 3
# The widest of so many rows, in standard deviations of logged actions, and how it falls
# with rows: faster than the best one does, so that bias goes first.  A plain kernel has
# more of it.
_WIDEST, _PLAIN, _ROWS, _POWER = 0.75, 0.3, 2000, 0.2
_FACTOR, _BANDWIDTHS = 2.0**0.5, 10
# A narrower kernel has nothing to say.
_FEWEST_EFFECTIVE = 50.0
_CONTRADICTION = 1.5
# Beyond the ends of what was logged: gaps between rows, and a share of its length.
_GAPS, _SLACK = 5.0, 0.01
_LEVEL = 0.95


def bandwidths(steps: LoggedSteps, plain: bool = False) -> Iterator[float]:
    """Those that are tried, falling, in units of the action."""
    assert steps.numbers is not None
    share = (_PLAIN if plain else _WIDEST) * min(1.0, (_ROWS / len(steps)) ** _POWER)
    width = share * float(steps.numbers.std())
    for place in range(_BANDWIDTHS):
        yield width / _FACTOR**place


def kernel_weights(
    steps: LoggedSteps,
    propensities: FloatArray,
    targets: FloatArray,
    bandwidth: float,
    plain: bool = False,
) -> FloatArray:
    """Weights of rows for a policy that would do ``targets``, ``(N,)``.

    Args:
        steps: a log of numbers.
        propensities: of the ranges that they are in, ``(N,)``.
        targets: in units of the action, ``(N,)``; one beyond what was logged has none.
        bandwidth: half the width of the kernel.
        plain: whether it is Epanechnikov's alone, whose weights are at least 0.
    """
    assert steps.numbers is not None
    assert steps.edges is not None
    weights = np.zeros(len(steps))
    at = (steps.numbers - targets) / bandwidth
    # Most rows are far from what the policy would do.
    near = np.flatnonzero((np.abs(at) < 1.0) & is_inside(steps, targets))
    at, targets = at[near], targets[near]
    ends = [
        np.clip((edge - targets) / bandwidth, -1.0, 1.0) for edge in steps.edges[[0, -1]]
    ]
    size = 1 if plain else _DEGREE + 1
    powers = range(2 * size - 1)
    moments = [_moment(ends[1], k) - _moment(ends[0], k) for k in powers]
    gram = np.empty((len(near), size, size))
    for i in range(size):
        for j in range(size):
            gram[:, i, j] = moments[i + j]
    # Mass 1, and no first, second or third moment.
    wanted = np.zeros((len(near), size, 1))
    wanted[:, 0] = 1.0
    cubic = np.linalg.solve(gram, wanted)[:, :, 0]
    kernel = 0.75 * (1.0 - at**2) / bandwidth
    kernel *= np.einsum("np,np->n", cubic, np.vander(at, size, True))
    density = propensities[near] / np.diff(steps.edges)[steps.actions[near]]
    weights[near] = kernel / density
    return weights


def is_inside(steps: LoggedSteps, targets: FloatArray) -> npt.NDArray[np.bool_]:
    """Whether each is between the ends of what was logged, or hardly beyond them.

    Of N even draws the highest is short of the end by a share of 5 / N once in 150 times.
    """
    assert steps.edges is not None
    low, high = steps.edges[[0, -1]]
    slack = min(_GAPS / len(steps), _SLACK) * (high - low)
    return np.asarray((targets >= low - slack) & (targets <= high + slack))


def _moment(end: FloatArray, k: int) -> FloatArray:
    """Of Epanechnikov's kernel up to an end, less a constant."""
    return np.asarray(0.75 * (end ** (k + 1) / (k + 1) - end ** (k + 3) / (k + 3)))


def widest(
    steps: LoggedSteps,
    propensities: FloatArray,
    targets: FloatArray,
    estimate: Callable[[FloatArray], Ratio],
    plain: bool = False,
) -> tuple[float, FloatArray]:
    """The bandwidth of Lepski's rule, and its weights, ``(N,)``.

    Args:
        steps: a log of numbers.
        propensities: of the ranges that they are in, ``(N,)``.
        targets: what the policy would do, ``(N,)``.
        estimate: from weights to an estimate.
        plain: as in :func:`kernel_weights`.
    """
    tried: list[tuple[float, FloatArray, Ratio]] = []
    for bandwidth in bandwidths(steps, plain):
        weights = kernel_weights(steps, propensities, targets, bandwidth, plain)
        total, squares = weights.sum(), np.square(weights).sum()
        if tried and not total**2 >= _FEWEST_EFFECTIVE * squares:
            break
        tried.append((bandwidth, weights, estimate(weights)))
    for place, (bandwidth, weights, ratio) in enumerate(tried):
        if not any(
            _differ(steps, ratio, narrower) for *_, narrower in tried[place + 1 :]
        ):
            return bandwidth, weights
    return tried[-1][:2]


def _differ(steps: LoggedSteps, ratio: Ratio, other: Ratio) -> bool:
    found = jackknife(steps.starts, ratio, _LEVEL, other)
    half = (found.upper - found.lower) / 2.0
    return bool(abs(ratio.value - other.value) > _CONTRADICTION * half)
