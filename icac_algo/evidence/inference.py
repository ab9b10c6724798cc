r"""Many inequalities about means at once: one p-value, simultaneous intervals.

The statistic is the largest studentised shortfall; its distribution is that of the
maximum of a Gaussian vector with the estimates' covariance, which is what the Gaussian
multiplier bootstrap draws from.  Inequalities that hold by far are left out first.  Both
steps are those of Chernozhukov, Chetverikov and Kato, "Inference on causal and structural
parameters using many moment inequalities", Review of Economic Studies 86 (2019),
section 4 (two-step selection).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

__all__ = ["MaxTest", "max_test"]

FloatArray = npt.NDArray[np.float64]
# Chance that the first step leaves out what it should not; it is paid for in the p-value.
SELECTION_ERROR = 5e-4


@dataclasses.dataclass(frozen=True)
class MaxTest:
    """What :func:`max_test` finds.

    Args:
        p_value: of "every mean is at least 0"; at least ``2 * SELECTION_ERROR``.
        lower: lower ends of intervals that hold all means at once, ``(M,)``.
        upper: upper ends.
        rejected: means that are below 0 with simultaneous confidence, ``(M,)``.
    """

    p_value: float
    lower: FloatArray
    upper: FloatArray
    rejected: npt.NDArray[np.bool_]


def max_test(
    means: FloatArray,
    loadings: FloatArray,
    covariance: FloatArray,
    level: float,
    draws: int,
    seed: int,
) -> MaxTest:
    """Tests whether M estimated means are all at least 0.

    Args:
        means: estimates, ``(M,)``.
        loadings: how each is made of P moments, ``(M, P)``.
        covariance: of the moments' estimates, ``(P, P)``.
        level: of the test; intervals are two-sided at ``1 - level``.
        draws: of the bootstrap.
        seed: of the bootstrap.
    """
    variance = np.einsum("mp,pq,mq->m", loadings, covariance, loadings)
    errors = np.sqrt(np.maximum(variance, 1e-300))
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    scaled = (loadings @ root) / errors[:, None]
    normal = np.random.default_rng(seed).standard_normal((draws, root.shape[1]))
    noise = normal @ scaled.T
    t = -means / errors
    first = np.quantile(noise.max(axis=1), 1.0 - SELECTION_ERROR)
    kept = t > -2.0 * first
    # Where every inequality holds by far nothing is left to test.
    p_value, critical = 1.0, first
    if kept.any():
        largest = np.sort(noise[:, kept].max(axis=1))
        p_value = (1 + int((largest >= t.max()).sum())) / (1 + draws)
        share = max(1.0 - level + 2.0 * SELECTION_ERROR, 0.0)
        critical = np.quantile(largest, min(share, 1.0))
    two_sided = np.quantile(np.abs(noise).max(axis=1), 1.0 - level)
    return MaxTest(
        p_value=float(min(1.0, p_value + 2.0 * SELECTION_ERROR)),
        lower=means - two_sided * errors,
        upper=means + two_sided * errors,
        rejected=np.asarray(t > critical),
    )
