"""Off-policy estimates while an algorithm trains."""

from __future__ import annotations

import warnings
from typing import Any

from .._util.checks import check_choice
from ..data import logged_steps
from .estimates import ESTIMATORS, SupportWarning, as_bandit_log, estimate

__all__ = ["OffPolicyEvaluator"]


class OffPolicyEvaluator:
    """A d3rlpy evaluator: the greedy policy's value, estimated from a log.

    .. code-block:: python

        algo.fit(train, evaluators={"value": OffPolicyEvaluator(held_out)}, ...)

    A log that the algorithm does not learn from keeps its errors out of the estimate.
    Support is not warned of at every epoch; :func:`~icac_algo.evidence.compare` warns.

    Args:
        dataset: as in :func:`~icac_algo.evidence.estimate`; by default what is fitted to.
        estimator: one of ``ESTIMATORS``.
        as_bandit: as in ``estimate``.

    Raises:
        ValueError: the estimator is unknown, or the log cannot be read.
    """

    def __init__(
        self, dataset: Any = None, estimator: str = "dr", as_bandit: bool = False
    ):
        check_choice("estimator", estimator, ESTIMATORS)
        self._steps = None
        if dataset is not None:
            self._steps = as_bandit_log(logged_steps(dataset), as_bandit)
        self._estimator = estimator
        self._as_bandit = as_bandit

    def __call__(self, algo: Any, dataset: Any) -> float:
        """The estimate; ``dataset`` is used if none was given before."""
        log = dataset if self._steps is None else self._steps
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SupportWarning)
            found = estimate(
                log,
                algo,
                estimators=(self._estimator,),
                as_bandit=self._as_bandit,
                resamples=1,
            )
        return found[self._estimator].value
