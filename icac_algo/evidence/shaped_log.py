r"""A log whose rewards have a shape: bounds of policies by certificates.

A policy's value is :math:`V = E \sum_k \pi_k(s) f(s, k)` with mean rewards :math:`f`.  If
:math:`f(s, \cdot)` has a shape for every :math:`s`, a certificate bounds what the policy
chooses by what was logged, and

.. math:: V \ge E \sum_k \lambda_k(s) f(s, k) + \beta(s)

is the value of a policy with signed weights, which the log supports.  It is estimated
doubly robustly, with the episodes' jackknife for an interval.  The certificate of a row
is chosen by models of other rows: the highest predicted bound less what its variance adds
to the interval.  A bad choice widens the bounds and leaves them true (the argument is
that of Ji, Lei and Spector, "Model-agnostic covariate-assisted inference on partially
identified causal effects", 2023, whose dual variables are our certificates).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import ndtri, stdtrit
from tqdm.auto import tqdm

from ..data import LoggedSteps
from ..shapes.projection import project_onto_set
from .certificates import Certificates, Ranges, best_certificates, mirror
from .estimates import BanditLog
from .jackknife import Ratio
from .known_parts import KnownParts, Part
from .nuisance import RewardModel, done, smooth_rewards
from .support import action_numbers, action_probabilities

FloatArray = npt.NDArray[np.float64]
_ROWS_AT_ONCE = 1 << 15
# Rows that the price of variance is found on, and the variances that are tried, in units
# of what the model leaves.
_ROWS_OF_A_PRICE = 4096
_NOISES = tuple(float(noise) for noise in np.geomspace(0.3, 1000.0, 9))
# By so much fewer degrees of freedom has the noise of an episode; see `jackknife`.
_KURTOSIS = 2.5
# Of a range's own variance, as in regions; of more rows a model errs little.
_BELIEVED_ROWS, _PROJECTED_ROWS = 20.0, 20_000


@dataclasses.dataclass
class Scores:
    """What is estimated of a bound in each of N rows.

    Args:
        values: whose mean is the bound; infinite where there is none.
        pulls: how much each row's noise moves it.
        excess: weight of a row less what it is in expectation.
        own: share of decisions that are bounded by their own action alone.
    """

    values: FloatArray
    pulls: FloatArray
    excess: FloatArray
    own: float = 0.0

    @property
    def ratio(self) -> Ratio:
        """Their mean."""
        return Ratio(self.values, np.ones(len(self.values)), self.pulls)

    @property
    def problem(self) -> str:
        """Why they cannot be believed; empty if nothing is known."""
        mean, usual = float(self.excess.mean()), float(self.pulls.mean())
        error = float(self.excess.std()) / np.sqrt(len(self.excess))
        # Four standard errors, and more than estimated propensities are off.
        if not abs(mean) > max(4.0 * error, 0.1 * usual):
            return ""
        return (
            f"weights are off by {abs(mean):.3g} in the mean: propensities are not the "
            "logger's, or numbers are repeated"
        )


class ShapedLog:
    """Logged decisions whose rewards have a known shape, to bound policies by.

    Args:
        log: the decisions.
        known: what is known of their rewards.
    """

    def __init__(self, log: BanditLog, known: KnownParts):
        self.log, self._known, self._steps = log, known, log.steps
        self._ranges = Ranges.of(known.steps, known.positions)

    @property
    def limits(self) -> tuple[float, float]:
        """Between which any policy's value is, whatever was logged."""
        known = self._known
        if known.known or len(known.parts) > 1 or known.parts[0].weight is not None:
            return -np.inf, np.inf
        return known.parts[0].shape.lower, known.parts[0].shape.upper

    def scores(
        self, policy: Any, level: float, name: str = "policy"
    ) -> tuple[Scores, Scores]:
        """Lower and upper bounds of a policy, row by row, and what they rest on.

        Args:
            policy: as :func:`~icac_algo.evidence.estimate` takes it.
            level: of the interval that will be made of them.
            name: of the policy in error messages.
        """
        steps = self._steps
        choices = _choices(steps, self._known.positions, policy, name)
        return self._side(choices, 1.0, level), self._side(choices, -1.0, level)

    @functools.cached_property
    def _looked_at(self) -> list[_Modelled]:
        """The parts, with models of their values."""
        log, steps, known = self.log, self._steps, self._known
        chances = log.chances
        # Weights of logged propensities vary within a range of numbers, too.
        expected = np.take_along_axis(chances, steps.actions[:, None], axis=1)[:, 0]
        counts = np.bincount(steps.actions, minlength=steps.action_size)
        excess = self._by_range(expected / log.propensities, 0.0, counts)
        positions = None if steps.numbers is not None else known.positions
        found = []
        for part in known.parts:
            is_reward = part.values is steps.rewards
            if is_reward and (log.is_given or steps.numbers is not None):
                model = log.model
            else:
                of_part = steps.with_rewards(part.values)
                model = smooth_rewards(of_part, positions, log.seed, log.show_progress)
            surprises = part.values - model.at(done(steps))
            squares = self._by_range(surprises**2, float(np.mean(surprises**2)), counts)
            costs = np.full(chances.shape, np.inf)
            noise = np.maximum(excess, 1.0) * squares
            np.divide(noise, chances, out=costs, where=chances > 0.0)
            guesses = model.means
            seen = counts > 0
            if len(steps) <= _PROJECTED_ROWS and seen.sum() > 1:
                guesses = guesses.copy()
                guesses[:, seen] = project_onto_set(
                    torch.as_tensor(guesses[:, seen]),
                    part.shape,
                    self._ranges.centres[seen],
                ).numpy()
            found.append(_Modelled(part, model, surprises, guesses, costs))
        return found

    def _by_range(
        self, values: FloatArray, expected: float, counts: npt.NDArray[np.int64]
    ) -> FloatArray:
        """Means over ranges, ``(K,)``; of few rows near what is expected of all."""
        sums = np.bincount(self._steps.actions, values, len(counts))
        believed = _BELIEVED_ROWS if expected else 0.0
        total = np.maximum(counts + believed, 1.0)
        return np.asarray((sums + believed * expected) / total)

    def _side(self, choices: list[_Choice], sign: float, level: float) -> Scores:
        """Of the lower bound, or with sign -1 of the upper one."""
        steps, known = self._steps, self._known
        side = Scores(*np.zeros((3, len(steps))))
        bar = tqdm(
            total=len(choices) * len(known.parts),
            desc="bounds",
            delay=2.0,
            disable=not self.log.show_progress,
        )
        with bar:
            for choice in choices:
                certain = known.certain(choice.rows, choice.targets)
                side.values[choice.rows] += choice.probabilities * certain
                for one in self._looked_at:
                    self._add(side, choice, one, sign, level)
                    bar.update()
        side.own /= max(len(steps) * len(known.parts), 1)
        return side

    def _add(
        self, side: Scores, choice: _Choice, one: _Modelled, sign: float, level: float
    ) -> None:
        """A part's certificates for one choice."""
        steps = self._steps
        weights = self._known.weight(one.part, choice.rows, choice.targets)
        weights = weights * choice.probabilities
        for positive in (True, False):
            # A weight below 0 turns lower bounds into upper ones.
            chosen = np.flatnonzero(weights >= 0.0 if positive else weights < 0.0)
            if not len(chosen):
                continue
            up = sign if positive else -sign
            price = self._price(choice, chosen, weights, one, up, level)
            for first in range(0, len(chosen), _ROWS_AT_ONCE):
                some = chosen[first : first + _ROWS_AT_ONCE]
                rows, factor = choice.rows[some], weights[some]
                found = self._best(choice, some, one, up, price * np.abs(factor))
                own = found.of_range(steps.actions[rows]) / self.log.propensities[rows]
                scores = found.dot(one.model.means[rows]) + found.constants
                scores = scores + own * one.surprises[rows]
                # Nothing times an unknown is nothing.
                counts = factor != 0.0
                side.values[rows] += np.where(counts, factor * scores, 0.0)
                side.pulls[rows] += np.abs(factor * own)
                side.excess[rows] += factor * (own - found.weights.sum(axis=1))
                is_own = (found.weights[:, 0] == 1.0) & (found.constants == 0.0)
                is_own &= self._ranges_of(choice.targets[some]) == found.ranges[:, 0]
                side.own += float(choice.probabilities[some][is_own].sum())

    def _ranges_of(self, targets: FloatArray) -> npt.NDArray[np.int64]:
        if self._steps.numbers is not None:
            return self._steps.ranges_of(targets)
        return np.searchsorted(self._known.positions, targets)

    def _best(
        self,
        choice: _Choice,
        some: npt.NDArray[np.int64],
        one: _Modelled,
        sign: float,
        price: FloatArray,
    ) -> Certificates:
        rows = choice.rows[some]
        found = best_certificates(
            one.part.shape if sign > 0.0 else mirror(one.part.shape),
            self._ranges,
            self._known.domain,
            choice.targets[some],
            sign * one.guesses[rows],
            one.costs[rows],
            price,
        )
        return found if sign > 0.0 else found.mirrored()

    def _price(
        self,
        choice: _Choice,
        chosen: npt.NDArray[np.int64],
        weights: FloatArray,
        one: _Modelled,
        sign: float,
        level: float,
    ) -> float:
        r"""What a unit of variance costs: the end of the interval moves by so much.

        Of scores :math:`x` with variances :math:`b`, a mean less :math:`z` standard
        errors is highest where each row maximises :math:`x - p b`, with
        :math:`p = z / (2 \sqrt{n \bar b})`; which :math:`\bar b` is tried.
        """
        some = chosen
        if len(some) > _ROWS_OF_A_PRICE:
            draws = np.random.default_rng(self.log.seed)
            some = np.sort(draws.choice(some, _ROWS_OF_A_PRICE, replace=False))
        rows, factor = choice.rows[some], np.abs(weights[some])
        share = len(chosen) / len(self._steps)
        count = len(self._steps)
        unit = float(ndtri(0.5 + level / 2.0)) / np.sqrt(count)
        usual = float(np.square(one.surprises).mean())
        # In units of the reward, which has the part's weight.
        whole = usual * float(np.square(factor / choice.probabilities[some]).mean())
        best, highest = 0.0, -np.inf
        for times in _NOISES:
            price = unit / (2.0 * float(np.sqrt(max(times * whole, 1e-300))))
            found = self._best(choice, some, one, sign, price * factor)
            scores = sign * (found.dot(one.guesses[rows]) + found.constants)
            # Where nothing is proven, nothing depends on the price.
            scores = np.where(np.isfinite(scores), scores, 0.0)
            noise = share * float((factor**2 * found.noise(one.costs[rows])).mean())
            # A few rows of great weight have few degrees of freedom.
            powers = factor**4 * found.noise(one.costs[rows] ** 3, 4)
            fourth = share * float(powers.mean()) / max(usual, 1e-300)
            freedom = count * noise**2 / max(fourth, 1e-300)
            quantile = stdtrit(max(freedom / _KURTOSIS, 1.0), 0.5 + level / 2.0)
            reached = share * float((factor * scores).mean())
            reached -= float(quantile) * np.sqrt(noise / count)
            if reached > highest:
                best, highest = price, reached
        return best


@dataclasses.dataclass(frozen=True)
class _Modelled:
    """A part of the reward and what models say of it.

    Args:
        part: of the reward.
        model: of its values, from rows of other folds.
        surprises: values less what the model says of them, ``(N,)``.
        guesses: means of ranges by which certificates are chosen, ``(N, K)``.
        costs: variance of a row's score for a weight of 1, infinite where a range is
            never logged in such contexts, ``(N, K)``.
    """

    part: Part
    model: RewardModel
    surprises: FloatArray
    guesses: FloatArray
    costs: FloatArray


@dataclasses.dataclass(frozen=True)
class _Choice:
    """What a policy does in some rows, and with what probability, ``(M,)`` each."""

    rows: npt.NDArray[np.int64]
    targets: FloatArray
    probabilities: FloatArray


def _choices(
    steps: LoggedSteps, positions: FloatArray, policy: Any, name: str
) -> list[_Choice]:
    """One for all rows, if it chooses one action each; else one for each action."""
    rows = np.arange(len(steps))
    if steps.numbers is not None:
        return [_Choice(rows, action_numbers(steps, policy, name), np.ones(len(rows)))]
    probabilities = action_probabilities(steps, policy, name)
    if (probabilities.max(axis=1) == 1.0).all():
        targets = positions[probabilities.argmax(axis=1)]
        return [_Choice(rows, targets, np.ones(len(rows)))]
    found = []
    for k, position in enumerate(positions):
        some = np.flatnonzero(probabilities[:, k] > 0.0)
        if len(some):
            targets = np.full(len(some), position)
            found.append(_Choice(some, targets, probabilities[some, k]))
    return found
