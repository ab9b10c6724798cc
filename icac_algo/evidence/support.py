"""What a policy would do in logged contexts, and how much of it the log has seen."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from .._util.checks import check_rows
from ..data import LoggedSteps

FloatArray = npt.NDArray[np.float64]


class SupportWarning(UserWarning):
    """The log has seen too little of what a policy would do."""


def action_probabilities(
    steps: LoggedSteps, policy: Any, name: str = "policy"
) -> FloatArray:
    """Probability of every action in every logged context, ``(N, K)``.

    Args:
        steps: the log.
        policy: a d3rlpy algorithm or a Stable-Baselines3 policy (its ``predict``), an
            index (always this action), or a function from observations ``(N, d)`` to
            indices ``(N,)`` or probabilities ``(N, K)``.
        name: of the policy in error messages.

    Raises:
        TypeError: the policy is something else.
        ValueError: it gives another shape, indices out of range, or rows that are not
            probabilities.
    """
    size = steps.action_size
    if hasattr(policy, "predict"):
        _check_fits(steps, policy, name)
        found = policy.predict(steps.observations)
        # Policies of Stable-Baselines3 return their state too.
        chosen = np.asarray(found[0] if isinstance(found, tuple) else found)
    elif isinstance(policy, (int, np.integer)) and not isinstance(policy, bool):
        chosen = np.full(len(steps), int(policy))
    elif callable(policy):
        chosen = np.asarray(policy(steps.observations))
    else:
        raise TypeError(
            f"{name} must be a d3rlpy algorithm, a Stable-Baselines3 policy, an action "
            f"index or a function of observations, got {type(policy).__name__}"
        )
    if chosen.shape == (len(steps), size) and chosen.dtype.kind == "f":
        bad = (chosen < 0.0).any(axis=1) | ~np.isclose(chosen.sum(axis=1), 1.0, atol=1e-4)
        requirement = f"{name} must give probabilities that are at least 0 and sum to 1"
        check_rows(requirement, chosen, bad)
        return chosen.astype(np.float64)
    chosen = chosen.reshape(-1) if chosen.shape == (len(steps), 1) else chosen
    if chosen.shape != (len(steps),) or chosen.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must give indices ({len(steps)},) or probabilities "
            f"({len(steps)}, {size}), got {chosen.dtype} of shape {chosen.shape}"
        )
    wrong = (chosen < 0) | (chosen >= size)
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{name} must give indices from 0 to {size - 1}, got {chosen[row]} in "
            f"row {row}"
        )
    return np.eye(size)[chosen]


def _check_fits(steps: LoggedSteps, policy: Any, name: str) -> None:
    if not hasattr(policy, "impl"):
        return
    if policy.impl is None:
        raise ValueError(f"{name} must be built or fitted, got one without networks")
    shape = tuple(policy.impl.observation_shape)
    if shape != steps.observations.shape[1:]:
        raise ValueError(
            f"{name} must take observations of shape {steps.observations.shape[1:]}, as "
            f"the log's, got one for {shape}"
        )


@dataclasses.dataclass(frozen=True)
class Support:
    """How much of a policy the log has seen, with importance weights ``w``."""

    effective: float  # sample size (Kish), ``(sum w)^2 / sum w^2``
    # Share of the policy's decisions that the logger might have made: the mean weight,
    # which is 1 in expectation where support is whole; and its standard error.
    covered: float
    covered_error: float
    largest: float  # weight
    unseen: float  # share of the policy's decisions that the log never has

    @classmethod
    def of(
        cls, steps: LoggedSteps, probabilities: FloatArray, weights: FloatArray
    ) -> Support:
        """Of a policy's probabilities ``(N, K)`` and importance weights ``(N,)``."""
        squares = float(np.square(weights).sum())
        total = float(weights.sum())
        seen = np.bincount(steps.actions, minlength=steps.action_size) > 0
        spread = float(weights.std(ddof=1)) if len(weights) > 1 else 0.0
        return cls(
            effective=total**2 / squares if squares > 0.0 else 0.0,
            covered=total / len(weights),
            covered_error=spread / float(np.sqrt(len(weights))),
            largest=float(weights.max()),
            unseen=float(probabilities[:, ~seen].sum() / len(weights)),
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """What is missing, in words; empty if nothing is."""
        found = []
        if self.unseen > 0.0:
            found.append(
                f"{self.unseen:.1%} of its decisions are actions that the log never has"
            )
        # Four standard errors: a policy that is covered would trip this once in 30,000.
        if self.covered + 4.0 * self.covered_error < 1.0:
            found.append(
                f"its mean weight is {self.covered:.3f} instead of 1: the logger could "
                f"not have made about {1.0 - self.covered:.0%} of its decisions"
            )
        if self.effective < 100.0:
            found.append(f"its effective sample size is {self.effective:.1f}, below 100")
        return tuple(found)

    def warn(self, name: str) -> None:
        """Warns about what is missing, at the line that called our caller."""
        if self.problems:
            warnings.warn(
                f"{name} lacks support in the log: {'; '.join(self.problems)}. Its "
                "estimates may be far off.",
                SupportWarning,
                stacklevel=3,
            )
