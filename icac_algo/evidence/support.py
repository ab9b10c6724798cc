"""What a policy would do in logged contexts, and how much of it the log has seen."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._util.checks import check_rows, is_finite, is_integer
from ..data import LoggedSteps, as_numbers

FloatArray = npt.NDArray[np.float64]
_ROWS_AT_ONCE = 1 << 15


class SupportWarning(UserWarning):
    """The log has seen too little: of what a policy would do, or for an interval."""


def action_probabilities(
    steps: LoggedSteps, policy: Any, name: str = "policy"
) -> FloatArray:
    """Probability of every action in every logged context, ``(N, K)``.

    The policy gets observations of its own each time, and is asked twice: it must choose
    by the observation alone.

    Args:
        steps: the log.
        policy: a d3rlpy algorithm or a Stable-Baselines3 policy (its ``predict``, without
            exploration), an index (always this action), or a function from observations
            ``(N, d)`` to indices ``(N,)`` or probabilities ``(N, K)``.
        name: of the policy in error messages.

    Raises:
        TypeError: the policy is something else.
        ValueError: it gives another shape, indices out of range, or rows that are not
            probabilities, or another answer when it is asked again.
    """
    size = steps.action_size
    chosen: npt.NDArray[Any]
    if is_integer(policy):
        chosen = np.full(len(steps), int(policy))
    elif hasattr(policy, "predict") or callable(policy):
        _check_fits(steps, policy, name)
        chosen = policy_answers(steps.observations, policy, name)
    else:
        raise TypeError(
            f"{name} must be a d3rlpy algorithm, a Stable-Baselines3 policy, an action "
            f"index or a function of observations, got {type(policy).__name__}"
        )
    if chosen.shape == (len(steps), size) and size > 1:
        sums = chosen.sum(axis=1, keepdims=True)
        bad = ~((chosen >= 0.0).all(axis=1) & (np.abs(sums[:, 0] - 1.0) < 1e-4))
        requirement = f"{name} must give probabilities that are at least 0 and sum to 1"
        check_rows(requirement, chosen, bad)
        return np.asarray(chosen / sums, np.float64)
    if chosen.shape not in ((len(steps),), (len(steps), 1)):
        raise ValueError(
            f"{name} must give indices ({len(steps)},) or probabilities "
            f"({len(steps)}, {size}), got shape {chosen.shape}"
        )
    chosen = chosen.reshape(-1)
    wrong = ~((chosen >= 0) & (chosen < size) & (chosen % 1 == 0))
    wrong[0] |= chosen.dtype.kind not in "iu"
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"{name} must give indices from 0 to {size - 1}, got {chosen[row]} in row "
            f"{row} ({chosen.dtype})"
        )
    return np.eye(size)[chosen]


def action_numbers(steps: LoggedSteps, policy: Any, name: str = "policy") -> FloatArray:
    """What a policy would do in every logged context of a log of numbers, ``(N,)``.

    Args:
        steps: the log.
        policy: as in :func:`action_probabilities`, but for a number in place of an index
            and numbers in place of indices; it is asked twice, too.
        name: of the policy in error messages.

    Raises:
        TypeError: the policy is something else.
        ValueError: it gives another shape, or what is no finite number.
    """
    if is_finite(policy):
        return np.full(len(steps), float(policy))
    if not (hasattr(policy, "predict") or callable(policy)):
        raise TypeError(
            f"{name} must be a d3rlpy algorithm, a Stable-Baselines3 policy, a number "
            f"or a function of observations, got {type(policy).__name__}"
        )
    _check_fits(steps, policy, name)
    chosen = policy_answers(steps.observations, policy, name)
    if chosen.shape not in ((len(steps),), (len(steps), 1)):
        raise ValueError(
            f"{name} must give numbers ({len(steps)},), got shape {chosen.shape}"
        )
    if chosen.dtype.kind == "b":
        raise ValueError(f"{name} must give numbers, got an array of {chosen.dtype}")
    chosen = chosen.reshape(-1).astype(np.float64)
    check_rows(f"{name} must give finite numbers", chosen, ~np.isfinite(chosen))
    return np.asarray(chosen)


def policy_answers(
    observations: npt.NDArray[Any], policy: Any, name: str
) -> npt.NDArray[Any]:
    """What a function or a model with ``predict`` answers, ``(N, ...)``.

    Raises:
        ValueError: it is not one answer for each row, or another one when asked again.
    """
    # A model chooses row by row: in parts its networks hold less at once.
    at_once = len(observations)
    ask = policy
    is_model = hasattr(policy, "predict")
    if is_model:
        at_once = min(at_once, _ROWS_AT_ONCE)
        ask = policy.predict
        if "deterministic" in inspect.signature(ask).parameters:
            ask = functools.partial(ask, deterministic=True)

    def answer(start: int) -> npt.NDArray[Any]:
        # A copy: what a policy writes into it is nobody else's.
        rows = observations[start : start + at_once].copy()
        count = len(rows)
        found = ask(rows)
        if is_model and isinstance(found, tuple):
            # Policies of Stable-Baselines3 return their state too.
            found, state = found
            if state is not None:
                raise ValueError(
                    f"{name} must choose by the observation alone, got one with a state "
                    "that it carries along"
                )
        given = as_numbers(f"{name}'s answer", found)
        if given.shape[:1] != (count,):
            raise ValueError(
                f"{name} must give indices ({count},) or probabilities ({count}, K), got "
                f"shape {given.shape}"
            )
        return given

    first = answer(0)
    again = answer(0)
    # NaN differs from itself; it is refused elsewhere.
    changed = np.argwhere((first != again) & (first == first))
    if len(changed):
        row = int(changed[0, 0])
        raise ValueError(
            f"{name} must give the same answer when it is asked again, got {first[row]} "
            f"and then {again[row]} in row {row}"
        )
    later = [answer(start) for start in range(at_once, len(observations), at_once)]
    return np.concatenate([first, *later])


def _check_fits(steps: LoggedSteps, policy: Any, name: str) -> None:
    shape = None
    if hasattr(policy, "impl"):
        if policy.impl is None:
            raise ValueError(f"{name} must be built or fitted, got one without networks")
        shape = policy.impl.observation_shape
    elif hasattr(policy, "observation_space"):
        shape = policy.observation_space.shape
    if shape is not None and tuple(shape) != steps.observations.shape[1:]:
        raise ValueError(
            f"{name} must take observations of shape {steps.observations.shape[1:]}, as "
            f"the log's, got one for {tuple(shape)}"
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
    def of(cls, weights: FloatArray, unseen: FloatArray) -> Support:
        """Of importance weights, and of what the log never has, ``(N,)`` each."""
        # Of weights up to 1, whose squares are finite; those of kernels may be negative.
        relative = weights / (np.abs(weights).max() or 1.0)
        squares = float(np.square(relative).sum())
        total = float(weights.sum())
        spread = float(weights.std(ddof=1)) if len(weights) > 1 else 0.0
        return cls(
            effective=float(relative.sum()) ** 2 / squares if squares > 0.0 else 0.0,
            covered=total / len(weights),
            covered_error=spread / float(np.sqrt(len(weights))),
            largest=float(weights.max()),
            # Not a rounding error of sums that are 1.
            unseen=float(unseen.mean()) if unseen.max() > 1e-9 else 0.0,
        )

    @classmethod
    def joined(cls, parts: Sequence[Support], rows: FloatArray) -> Support:
        """Of blocks of so many ``rows``, ``(B,)``; each looks into itself for actions."""
        columns = [(part.covered, part.covered_error, part.unseen) for part in parts]
        means, errors, unseen = np.array(columns).T
        count, mean = float(rows.sum()), float(rows @ means / rows.sum())
        variance = float(rows @ ((rows - 1.0) * errors**2 + (means - mean) ** 2)) / count
        effective = count * mean**2 / (variance + mean**2 or 1.0)
        error, largest = (variance / (count - 1.0)) ** 0.5, max(p.largest for p in parts)
        return cls(effective, mean, error, largest, float(rows @ unseen / count))

    @property
    def problems(self) -> tuple[str, ...]:
        """What is missing, in words; empty if nothing is."""
        found = []
        if self.unseen > 0.0:
            found.append(
                f"{self.unseen:.1%} of its decisions are actions that the log never has"
            )
        # Four standard errors: a policy that is covered would trip this once in 30,000.
        if not self.covered + 4.0 * self.covered_error >= 1.0:
            found.append(
                f"its mean weight is {self.covered:.3f} instead of 1: the logger could "
                f"not have made about {1.0 - self.covered:.0%} of its decisions"
            )
        # Estimated propensities are a little off.
        if self.covered - 4.0 * self.covered_error > 1.1:
            found.append(
                f"its mean weight is {self.covered:.3g} instead of 1: propensities are "
                "too small to be the logger's"
            )
        if not self.effective >= 100.0:
            found.append(f"its effective sample size is {self.effective:.1f}, below 100")
        return tuple(found)
