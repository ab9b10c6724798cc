r"""Cross-validation: which penalty, or which shape, the log itself prefers.

A candidate is trained on the episodes outside a fold and scored on those inside,

.. math:: e_c = \bigl(Q_c(s, a) - y\bigr)^2, \qquad
    y = r + \gamma (1 - d) \bar V(s'), \qquad
    \bar V(s') = \frac1C \sum_c \max_{a'} Q_c(s', a'),

with one target for all.  No network in it has seen the episode, so the mean of
:math:`e_c` is

.. math:: \mathbb{E}\bigl[(Q_c - T \bar V)^2\bigr]
    + \mathbb{E}\bigl[\operatorname{Var}(y \mid s, a)\bigr],

and its second part is the same for every candidate.  Where each step ends its episode
the target is the reward, and candidates rank by their distance to the expected reward.
With a candidate's own target, :math:`\max_{a'} Q_c(s', a')` for :math:`\bar V(s')`, the
variance is its own too, and the flatter its values are, the less it is charged.

References:
    * `Antos, Szepesvari and Munos, Learning near-optimal policies with Bellman-residual
      minimization based fitted policy iteration and a single sample path (2008).
      <https://doi.org/10.1007/s10994-007-5038-2>`_
    * `Fujimoto et al., Why should I trust you, Bellman? (2022).
      <https://arxiv.org/abs/2201.12417>`_
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import d3rlpy
import numpy as np
import numpy.typing as npt
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import ReplayBufferBase

from .._util.checks import check_count, check_flag, check_number, check_seed
from ..data import FEWEST_NUMBERS, ColumnarReplayBuffer, logged_steps
from .candidates import (
    Answers,
    Transitions,
    as_columns,
    check_candidates,
    make_candidate,
    shape_of,
)
from .jackknife import FEWEST_EPISODES, Interval, Ratio, jackknife
from .outcome_checks import check_outcomes
from .prior_check import PriorWarning, check_prior
from .prior_report import PriorCheck

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Selection:
    """Held-out Bellman errors of C candidates on E episodes, in squared reward units.

    Args:
        names: of the candidates, as they were listed.
        squared: summed over each episode's steps, with the common target, ``(C, E)``.
        own_squared: the same with each candidate's own target, ``(C, E)``.
        steps: transitions of each episode, ``(E,)``.
        fold: in which each episode was held out, from 0, ``(E,)``.
        gamma: of the targets; ``None`` if every step ends its episode, and there is
            nothing but the reward.
        prior_checks: of candidates with a shape, where actions do not change later
            contexts; empty elsewhere, as the check is about rewards alone.
        level: confidence of the intervals.
    """

    names: tuple[str, ...]
    squared: FloatArray
    own_squared: FloatArray
    steps: IntArray
    fold: IntArray
    gamma: float | None
    prior_checks: Mapping[str, PriorCheck] = dataclasses.field(default_factory=dict)
    level: float = 0.95

    @property
    def errors(self) -> FloatArray:
        """Mean over all steps, ``(C,)``."""
        return np.asarray(self.squared.sum(axis=1) / self.steps.sum())

    @property
    def own_errors(self) -> FloatArray:
        """Mean over all steps with each candidate's own target, ``(C,)``."""
        return np.asarray(self.own_squared.sum(axis=1) / self.steps.sum())

    @property
    def fold_errors(self) -> FloatArray:
        """Mean over the steps of each fold, ``(C, F)``."""
        inside = self.fold[:, None] == np.arange(self.fold.max() + 1)
        return np.asarray(self.squared @ inside / (self.steps @ inside))

    @property
    def differences(self) -> FloatArray:
        """Error minus the lowest one, ``(C,)``."""
        errors = self.errors
        return np.asarray(errors - errors.min())

    @property
    def standard_errors(self) -> FloatArray:
        """Of the differences, paired over episodes, ``(C,)``.

        Episodes may be long and their steps hang together, so an episode is what counts
        as one observation.  It is the error of judging these networks; what another
        training would change is not in it.
        """
        return np.array([found.standard_error for found in self.intervals])

    @property
    def intervals(self) -> list[Interval]:
        """Of the differences, paired over episodes, C of them; NaN ends from too few."""
        steps = self.steps.astype(np.float64)
        # Of steps whose noise is independent, up to a factor.
        ratios = [Ratio(row, steps, np.sqrt(steps)) for row in self.squared]
        lowest = ratios[int(self.errors.argmin())]
        starts = np.arange(len(steps))
        return [jackknife(starts, ratio, self.level, lowest) for ratio in ratios]

    @property
    def lowest(self) -> str:
        """The candidate of the lowest error, significant or not."""
        return self.names[int(self.errors.argmin())]

    @property
    def tied(self) -> tuple[str, ...]:
        """Those that the log cannot tell from the lowest: the interval contains 0."""
        pairs = zip(self.names, self.intervals, strict=True)
        return tuple(name for name, found in pairs if not found.lower > 0.0)

    @property
    def rejected(self) -> tuple[str, ...]:
        """Candidates whose shape the log contradicts."""
        checks = self.prior_checks
        return tuple(n for n in self.names if n in checks and checks[n].rejected)

    @property
    def best(self) -> str:
        """The choice among those that the log cannot tell apart.

        Of ``tied`` those whose shape is not rejected, if there are any; of these the
        first listed within one standard error of their lowest error.  Candidates are
        listed from the most constrained to the freest.
        """
        kept = [name for name in self.tied if name not in self.rejected]
        found = self.among(kept or self.tied)
        near = found.differences <= found.standard_errors
        return found.names[int(near.argmax())]

    @property
    def explanation(self) -> str:
        """The choice in words, one paragraph."""
        said = [f"Chosen: {self.best}."]
        if len(self.tied) > 1:
            why = self.intervals[0].problem if len(self.steps) < FEWEST_EPISODES else ""
            why = why or f"{self.level:.0%} intervals of the differences contain 0"
            said.append(f"The log cannot tell apart {', '.join(self.tied)}: {why}.")
        if self.best in self.rejected:
            said.append("It is chosen although the log contradicts its shape.")
        if self.rejected:
            said.append(f"check_prior rejects {', '.join(self.rejected)}.")
        return " ".join(said)

    def among(self, names: Sequence[str]) -> Selection:
        """The same scores of some of the candidates, in the order of the list.

        The common target stays the one that all of them made.

        Raises:
            ValueError: there are none, or one is unknown.
        """
        unknown = [name for name in names if name not in self.names]
        if unknown or not len(names):
            raise ValueError(f"names must be some of {self.names}, got {list(names)}")
        kept = [i for i, name in enumerate(self.names) if name in names]
        return dataclasses.replace(
            self,
            names=tuple(self.names[i] for i in kept),
            squared=self.squared[kept],
            own_squared=self.own_squared[kept],
        )

    def __str__(self) -> str:
        return f"{self.explanation}\n\n{self.table()}"

    def table(self) -> str:
        """A Markdown table."""
        lines = [
            f"| candidate | error | above the lowest [{self.level:.0%}] | by fold | "
            "own target | prior check | chosen |",
            "| --- | ---: | --- | --- | ---: | --- | --- |",
        ]
        for i, (name, found) in enumerate(zip(self.names, self.intervals, strict=True)):
            folds = ", ".join(f"{value:.6g}" for value in self.fold_errors[i])
            ends = f" [{found.lower:.2g}, {found.upper:.2g}]"
            if np.isnan(found.lower):
                ends = "" if name == self.lowest else " [no interval]"
            check = self.prior_checks.get(name)
            lines.append(
                f"| {name} | {self.errors[i]:.6g} | {self.differences[i]:.3g}{ends} | "
                f"{folds} | {self.own_errors[i]:.6g} | "
                f"{check.verdict if check else ''} | "
                f"{'yes' if name == self.best else ''} |"
            )
        return "\n".join(lines)


def select_by_bellman_error(
    dataset: ReplayBufferBase,
    candidates: Mapping[str, Callable[[], Any]],
    n_steps: int,
    folds: int = 2,
    seed: int = 0,
    gamma: float | None = None,
    *,
    show_progress: bool = True,
) -> Selection:
    """Scores candidates by their held-out Bellman errors, from the log alone.

    .. code-block:: python

        candidates = {"rises and concave": make_shaped, "free": make_free}
        selection = select_by_bellman_error(dataset, candidates, n_steps=5_000)
        algo = candidates[selection.best]()
        algo.fit(dataset, n_steps=5_000)

    Folds hold whole episodes.  Each candidate is trained ``folds`` times from the same
    seed, on ``1 - 1 / folds`` of the episodes, so it is judged by what it makes of a log
    of that size.

    The error **with the common target** sees how far a candidate is from one step of
    lookahead on the reference, on logged states and actions.  It does not see actions
    that were not logged; nor whether the reference is right, for it is the mean of the
    candidates, and where most of them are wrong in the same way it draws the choice
    along; nor what a policy is worth, as an error that all actions of a state share
    counts as much as one that changes the decision, and small errors add up over an
    episode.  A candidate's error **with its own target** sees whether it agrees with
    itself, but charges the variance of the bootstrapped value as well.

    Where every step ends its episode, :func:`~icac_algo.evidence.check_prior` is asked
    about the candidates' shapes: of candidates that the log cannot tell apart one that it
    rejects is not chosen.

    Args:
        dataset: a replay buffer of at least ``folds`` episodes.
        candidates: name to a function that makes a d3rlpy algorithm with values, of the
            dataset's kind of actions, that is not built yet; the most constrained first.
        n_steps: gradient steps of each training.
        folds: at least 2.
        seed: of the folds and of every training.
        gamma: discount of the targets, in [0, 1]; by default the one that all candidates
            have.

    Warns:
        PriorWarning: the choice has a shape that the log contradicts.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: an argument is out of bounds, the log is too small for the folds or
            cannot be learned from, values are not finite, candidates have different
            discounts and ``gamma`` is not given, or a reward scaler cannot be undone.
            Where an episode has several steps, a shift of rewards adds up along it, so
            there all candidates must shift rewards by the same amount.
    """
    check_candidates(candidates)
    check_count("n_steps", n_steps)
    check_count("folds", folds)
    if folds < 2:
        raise ValueError(f"folds must be an integer >= 2, got {folds}")
    check_seed(seed)
    if gamma is not None:
        check_number("gamma", gamma, at_least=0.0, at_most=1.0)
    check_flag("show_progress", show_progress)
    log = as_columns(dataset)
    episodes = log.columns.index.episodes
    if episodes < folds:
        raise ValueError(
            f"dataset must have an episode for each of {folds} folds, has {episodes}"
        )
    space = log.dataset_info.action_space
    made = {name: make_candidate(name, make, space) for name, make in candidates.items()}
    # Every transition ends an episode.
    is_one_step = log.columns.index.terminals == log.transition_count
    discount = 0.0 if is_one_step else _discount(made, gamma)
    fold = np.random.default_rng(seed).permutation(episodes) % folds
    squared, own_squared = np.zeros((2, len(candidates), episodes))
    steps = np.zeros(episodes, np.int64)
    for number in range(folds):
        training = log.replace(episodes=np.flatnonzero(fold != number))
        numbers = np.flatnonzero(fold == number)
        held_out = Transitions.of(log.replace(episodes=numbers))
        if not training.transition_count or not len(held_out.rewards):
            raise ValueError(
                f"dataset must have transitions in and outside of each of {folds} folds, "
                f"fold {number} has {len(held_out.rewards)}, the others "
                f"{training.transition_count}"
            )
        answers = []
        for name, make in candidates.items():
            d3rlpy.seed(seed)
            algo = make_candidate(name, make, space)
            algo.fit(
                training,
                n_steps=n_steps,
                n_steps_per_epoch=n_steps,
                show_progress=show_progress,
                logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
            )
            answers.append(Answers.of(name, algo, held_out, is_one_step))
        if not is_one_step:
            _check_shifts(list(candidates), answers)
        reference = np.mean([answer.next_values for answer in answers], axis=0)
        steps[numbers] = held_out.per_episode(np.ones(len(held_out.rewards)))
        for i, answer in enumerate(answers):
            rewards = held_out.rewards - answer.shift
            for values, sums in ((reference, squared), (answer.next_values, own_squared)):
                errors = answer.values - (rewards + discount * values)
                sums[i, numbers] = held_out.per_episode(errors**2)
    selection = Selection(
        tuple(candidates),
        squared,
        own_squared,
        steps,
        np.asarray(fold, np.int64),
        None if is_one_step else discount,
        _prior_checks(log, made) if is_one_step else {},
    )
    if selection.best in selection.rejected:
        warnings.warn(selection.explanation, PriorWarning, stacklevel=2)
    return selection


def _prior_checks(
    log: ColumnarReplayBuffer, made: Mapping[str, Any]
) -> dict[str, PriorCheck]:
    if len(log.columns.observations[0].row_shape) != 1:
        return {}
    if log.dataset_info.action_space == ActionSpace.CONTINUOUS:
        numbers = log.columns.actions.take(log.columns.index.decisions())
        if numbers.shape[1] > 1 or len(np.unique(numbers)) < FEWEST_NUMBERS:
            return {}
    steps, checks = logged_steps(log), {}
    for name, algo in made.items():
        config: Any = getattr(algo, "config", None)
        if (shape := shape_of(algo)) is not None:
            checks[name] = check_prior(steps, shape)
        elif outcomes := getattr(config, "outcomes", None):
            actions = config.constraint.actions
            found = check_outcomes(log, outcomes, actions=actions).values()
            tested = [check for check in found if check is not None]
            if tested:
                # Each at its share of the level, so that one rejection counts for all.
                checks[name] = min(tested, key=_p_value)
    return checks


def _p_value(check: PriorCheck) -> float:
    return 1.0 if check.p_value is None else check.p_value


def _check_shifts(names: Sequence[str], answers: Sequence[Answers]) -> None:
    first = answers[0].shift
    for name, answer in zip(names, answers, strict=True):
        if abs(answer.shift - first) > 1e-6 * (1.0 + abs(first)):
            raise ValueError(
                "candidates must shift rewards by the same amount where episodes have "
                f"several steps, got reward scalers of {names[0]!r} and {name!r} that "
                f"subtract {first:g} and {answer.shift:g}"
            )


def _discount(made: Mapping[str, Any], gamma: float | None) -> float:
    if gamma is not None:
        return float(gamma)
    found = {name: getattr(algo, "gamma", None) for name, algo in made.items()}
    first = next(iter(found.values()))
    if first is None or any(value != first for value in found.values()):
        raise ValueError(
            f"gamma must be given where candidates differ in it, got {found}"
        )
    return float(first)
