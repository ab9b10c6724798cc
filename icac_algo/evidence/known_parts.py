r"""A reward as parts whose means have shapes: what a prior says of logged columns.

.. math:: E[r \mid s, a] = k(s, a) + \sum_p w_p(s, a)\, \mu_p(s, a)

with known :math:`k` and :math:`w_p`, a logged column for each part, whose mean is
:math:`\mu_p`, and a convex set that :math:`\mu_p(s, \cdot)` is in.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..critics import Block
from ..data import REWARD, LoggedSteps, logged_steps
from ..shapes import (
    Constraint,
    Outcome,
    ShapeSet,
    Weight,
    as_outcomes,
    as_shape,
    conditions,
    shared_actions,
)

FloatArray = npt.NDArray[np.float64]
_LINK_RANGES = {
    "identity": ShapeSet(),
    "logit": ShapeSet(lower=0.0, upper=1.0),
    "log": ShapeSet(lower=0.0),
}


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of the reward.

    Args:
        values: logged, ``(N,)``.
        shape: of its mean over actions.
        weight: what it counts in the reward; ``None`` for 1.
    """

    values: FloatArray
    shape: ShapeSet
    weight: Weight | None = None


@dataclasses.dataclass(frozen=True)
class KnownParts:
    """A log and what is known of its reward.

    Args:
        steps: the log.
        positions: of its actions, ``(K,)``; of ranges of numbers their middles.
        domain: lowest and highest action that shapes speak of.
        parts: that have to be bounded.
        known: weights that are parts themselves, and a known cost.
    """

    steps: LoggedSteps
    positions: FloatArray
    domain: tuple[float, float]
    parts: list[Part]
    known: list[Any]

    @classmethod
    def of(
        cls, dataset: Any, prior: Any, propensities: npt.ArrayLike | None = None
    ) -> KnownParts:
        """Reads a log for a shape of its reward, or for outcomes.

        Raises:
            TypeError: the dataset is of no known kind.
            ValueError: the prior is neither, or does not fit the log.
        """
        if isinstance(prior, Outcome) or not isinstance(
            prior, (Constraint, str, Sequence)
        ):
            raise ValueError(
                "prior must be a shape such as Concave(), words such as 'concave', or a "
                f"list of Outcome(...), got {prior!r}"
            )
        if not prior:
            raise ValueError(f"prior must say something, got {prior!r}")
        if isinstance(prior, (Constraint, str)):
            return cls._of_shape(
                logged_steps(dataset, propensities), as_shape(prior, "prior")
            )
        return cls._of_outcomes(dataset, as_outcomes(prior), propensities)

    @classmethod
    def _of_shape(cls, steps: LoggedSteps, shape: Constraint) -> KnownParts:
        shape.check_observation_shape(steps.observations.shape[1:])
        positions, domain = action_positions(steps, shape)
        values, known = steps.rewards, []
        cost = shape.known_cost
        if cost is not None:
            done = positions[steps.actions] if steps.numbers is None else steps.numbers
            charge = _Cost(cost)
            values = values - charge(steps.observations, done)
            known.append(charge)
        return cls(steps, positions, domain, [Part(values, shape.shape_set())], known)

    @classmethod
    def _of_outcomes(
        cls, dataset: Any, outcomes: list[Outcome], propensities: npt.ArrayLike | None
    ) -> KnownParts:
        names = [one.column for one in outcomes if one.column not in (None, REWARD)]
        steps = logged_steps(dataset, propensities, names)
        named = shared_actions(Constraint(), outcomes)
        positions, domain = action_positions(steps, Constraint(actions=named))
        done = positions[steps.actions] if steps.numbers is None else steps.numbers
        rows = np.arange(len(steps))
        observed = steps.observations
        block = Block(
            outcomes,
            lambda: observed,
            done,
            steps.rewards,
            lambda name: steps.rewards if name == REWARD else steps.columns[name],
            rows,
        )
        block.check()
        parts, known = [], []
        for i, one in enumerate(outcomes):
            chain = [outcomes[j] for j in conditions(outcomes, one)]
            weight = Weight(one.weight)
            if not one.learned and not chain:
                known.append(_Known(weight))
                continue
            values = block.values.get(i, np.ones(len(steps)))
            values = np.where(block.counts(i), values, 0.0)
            parts.append(Part(values, _shape_of_product(one, chain, values), weight))
        return cls(steps, positions, domain, parts, known)

    def weight(self, part: Part, rows: Any, targets: FloatArray) -> FloatArray:
        """What a part counts where rows' actions are targets, ``(M,)``."""
        if part.weight is None:
            return np.ones(len(targets))
        return _Known(part.weight)(self.steps.observations[rows], targets)

    def certain(self, rows: Any, targets: FloatArray) -> FloatArray:
        """What is known of the reward of targets, ``(M,)``."""
        found = np.zeros(len(targets))
        for one in self.known:
            found += one(self.steps.observations[rows], targets)
        return found


@dataclasses.dataclass(frozen=True)
class _Known:
    """A weight as a function of observations and actions."""

    weight: Weight

    def __call__(self, observations: Any, actions: FloatArray) -> FloatArray:
        found = self.weight(
            torch.as_tensor(observations), torch.as_tensor(actions)[:, None]
        )
        return np.broadcast_to(found[:, 0].numpy(), (len(actions),))


@dataclasses.dataclass(frozen=True)
class _Cost:
    """A known cost, which the reward has lost."""

    cost: Any

    def __call__(self, observations: Any, actions: FloatArray) -> FloatArray:
        x, a = torch.as_tensor(observations), torch.as_tensor(actions)[:, None]
        return np.asarray(-self.cost(x, a)[:, 0].numpy())


def action_positions(
    steps: LoggedSteps, shape: Constraint
) -> tuple[FloatArray, tuple[float, float]]:
    """Positions of a log's actions, ``(K,)``, and the lowest and highest action."""
    if steps.edges is None:
        positions = shape.positions(steps.action_size)
        return positions, (float(positions[0]), float(positions[-1]))
    ends = [steps.edges[0], steps.edges[-1], *(shape.actions or [])]
    middles = (steps.edges[1:] + steps.edges[:-1]) / 2.0
    return middles, (float(min(ends)), float(max(ends)))


def _shape_of_product(
    outcome: Outcome, chain: Sequence[Outcome], values: FloatArray
) -> ShapeSet:
    """Of the mean of an outcome that counts where others happened.

    A product of means that are at least 0 rises where all of them rise.  A mean is taken
    for at least 0 if its link says so or nothing less was logged.
    """
    sets = [
        (one.mean_set() or ShapeSet()) & _LINK_RANGES[one.link]
        for one in (outcome, *chain)
    ]
    if not outcome.learned:
        sets[0] = ShapeSet(0.0, 0.0, 1.0, 1.0)
    if not chain:
        return sets[0]
    if sets[0].lower < 0.0:
        if values.min() < 0.0:
            return ShapeSet()
        sets[0] = dataclasses.replace(sets[0], lower=0.0)
    return ShapeSet(
        slope_lower=0.0 if all(one.slope_lower >= 0.0 for one in sets) else -math.inf,
        slope_upper=0.0 if all(one.slope_upper <= 0.0 for one in sets) else math.inf,
        lower=math.prod(one.lower for one in sets),
        upper=math.prod(one.upper for one in sets),
    )
