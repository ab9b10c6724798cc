"""``check_outcomes``: is the mean of each outcome consistent with its shape?"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .._util.checks import check_number
from ..critics import check_log
from ..data import LoggedSteps, logged_buffer, logged_steps, sampled
from ..shapes import (
    Constraint,
    Outcome,
    Unconstrained,
    as_outcomes,
    conditions,
    shape_of_set,
    shared_actions,
)
from .prior_check import PriorRejectedError, PriorWarning, check_prior
from .prior_report import PriorCheck


def check_outcomes(
    dataset: Any,
    outcomes: Sequence[Outcome | str],
    *,
    actions: Sequence[float] | None = None,
    level: float = 0.05,
    propensities: npt.ArrayLike | None = None,
    **options: Any,
) -> dict[str, PriorCheck | None]:
    """Tests what is stated of each outcome's mean, by :func:`check_prior`.

    That is :meth:`~icac_algo.Outcome.mean_set`, with the outcome in place of the reward.
    One that is ``given`` others is tested on the rows where these happened.  There the
    logger's own propensities do not count: which actions are frequent among wins depends
    on how they win, so that propensities of these rows are estimated.

    Args:
        dataset: a log with a column for each outcome: a replay
            buffer, a Minari dataset or the id of a local one, or steps with columns.
        outcomes: those of :class:`~icac_algo.ConstraintAwareQConfig`, or words for them.
        actions: positions of the actions, where no shape names them.
        level: chance to reject anything if all that is stated is true; each of n tested
            outcomes has ``level / n`` of it.
        propensities: as in :func:`~icac_algo.data.logged_steps`.
        options: those of :func:`check_prior`.

    Returns:
        a check for each learned outcome by its column; ``None`` for one of whose mean
        nothing is stated that a log could contradict: it has no shape, or one on the
        scale of its link that says nothing of the mean, such as a concave logit.

    Raises:
        TypeError: the dataset is of no known kind.
        ValueError: an argument is out of bounds, there is no such column, or the log
            cannot be read.
    """
    outcomes = as_outcomes(outcomes)
    check_number("level", level, above=0.0, at_most=0.5)
    if not isinstance(dataset, LoggedSteps):
        dataset = logged_buffer(dataset)
        check_log(dataset, outcomes)
        dataset = sampled(dataset, propensities, options.get("seed", 0))
    columns = [one.column for one in outcomes if one.column is not None]
    steps = logged_steps(dataset, propensities, columns)
    own = Unconstrained(actions=None if actions is None else list(actions))
    named = shared_actions(own, outcomes)
    learned = {one.column: one for one in outcomes if one.column is not None}
    values = steps.columns
    sets = {column: one.mean_set() for column, one in learned.items()}
    tested = sum(stated is not None for stated in sets.values())
    checks: dict[str, PriorCheck | None] = dict.fromkeys(learned)
    for column, stated in sets.items():
        if stated is None:
            continue
        rewards = steps.with_rewards(values[column])
        given = [outcomes[j].column for j in conditions(outcomes, learned[column])]
        if given:
            happened = np.all([values[str(name)] > 0.0 for name in given], axis=0)
            rewards = _where(steps, values[column], happened, column)
        shape = shape_of_set(stated, actions=named)
        checks[column] = check_prior(rewards, shape, level=level / tested, **options)
    return checks


def _where(
    steps: LoggedSteps,
    values: npt.NDArray[np.float64],
    happened: npt.NDArray[np.bool_],
    column: str,
) -> LoggedSteps:
    """The decisions where everything happened that an outcome is given."""
    if not happened.any():
        raise ValueError(
            f"outcome {column!r} must have a row where what it is given happened, the "
            "log has none"
        )
    return dataclasses.replace(
        steps,
        observations=steps.observations[happened],
        actions=steps.actions[happened],
        rewards=values[happened],
        propensities=None,
        episodes=steps.episodes[happened],
        numbers=None if steps.numbers is None else steps.numbers[happened],
        columns={},
        unread=(),
    )


def check_prior_at_fit(
    dataset: Any, constraint: Constraint, outcomes: Sequence[Outcome], mode: str
) -> None:
    """Checks shapes before training, as ``ConstraintAwareQConfig(check_prior=...)``.

    Beside outcomes it is their shapes; rewards do not show what follows.

    Args:
        dataset: the log.
        constraint: the shape of Q; beside outcomes that of what follows.
        outcomes: of the reward, if any.
        mode: ``"warn"``, ``"error"`` or ``"off"``.

    Raises:
        PriorRejectedError: a shape is rejected and ``mode`` is ``"error"``.
        ValueError: the log is not one that can be checked.
    """
    if mode == "off":
        return
    if not outcomes:
        checks: dict[str, PriorCheck | None] = {"": check_prior(dataset, constraint)}
    else:
        checks = check_outcomes(dataset, outcomes, actions=constraint.actions)
    shapes = {one.column: one.shape for one in outcomes}
    for column, check in checks.items():
        of = f"outcome {column!r}: " if column else ""
        if check is None:
            if not isinstance(shapes[column], Unconstrained):
                said = f"no log of this kind can tell whether {shapes[column]!r} holds"
                text = f"{of}{said}: on the scale of its link it says nothing of the mean"
                warnings.warn(text, PriorWarning, stacklevel=4)
        elif check.rejected and mode == "error":
            raise PriorRejectedError(check, of)
        elif check.verdict != "not rejected":
            warnings.warn(of + check.explanation, PriorWarning, stacklevel=4)
