r"""Links: the scale :math:`\eta = g(\mu)` that an outcome's mean is learned on.

Each with the likelihood that goes with it: Gaussian, Bernoulli, Poisson.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# exp(70) is finite in float32, and so is its square in float64.
_LARGEST_LOG = 70.0
# The level of a column that is all 0, or all 1, as if half an observation were not.
_HALF = 0.5


def mean_of(link: str, eta: Tensor) -> Tensor:
    r""":math:`\mu = g^{-1}(\eta)`."""
    if link == "identity":
        return eta
    if link == "logit":
        return torch.sigmoid(eta)
    # Beyond goes on as a straight line, which is finite, rises and is convex.
    within = eta.clamp(max=_LARGEST_LOG)
    return within.exp() * (1.0 + (eta - within))


def eta_of(link: str, mean: float, count: float) -> float:
    r""":math:`\eta = g(\mu)` of a mean over so many rows; finite also at its bounds."""
    if link == "identity":
        return mean
    least = _HALF / max(count, 1.0)
    if link == "logit":
        mean = min(max(mean, least), 1.0 - least)
        return math.log(mean) - math.log1p(-mean)
    # In whatever unit: only a mean of 0 has no logarithm.
    return math.log(mean if mean > 0.0 else least)


def negative_log_likelihood(
    link: str, eta: Tensor, y: Tensor, spread: Tensor, counts: Tensor | None = None
) -> Tensor:
    """The mean over rows, without its constant, with 0 for those that do not count.

    ``spread`` is that of a Gaussian outcome.
    """
    if counts is None and link == "logit":
        return F.binary_cross_entropy_with_logits(eta, y)
    if counts is None:
        return _of_rows(link, eta, y, spread).mean()
    # What was not given may hold anything.
    rows = _of_rows(link, eta, torch.where(counts, y, 0.0), spread)
    return torch.where(counts, rows, 0.0).mean()


def _of_rows(link: str, eta: Tensor, y: Tensor, spread: Tensor) -> Tensor:
    if link == "identity":
        return 0.5 * ((eta - y) / spread).square()
    if link == "logit":
        return F.binary_cross_entropy_with_logits(eta, y, reduction="none")
    return mean_of(link, eta) - y * eta


def variance_of(link: str, mean: float, variance: float) -> float:
    """Of one row of an outcome about its mean, as its likelihood has it."""
    if link == "logit":
        return mean * (1.0 - mean)
    return mean if link == "log" else variance
