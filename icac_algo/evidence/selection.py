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
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import d3rlpy
import numpy as np
import numpy.typing as npt
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import ReplayBufferBase

from .._util.checks import check_count, check_flag, check_number, check_seed
from ..critics import reward_slope
from ..data import ColumnarReplayBuffer, check_dataset
from ..decisions import MaskedGreedy
from .selection_result import Selection

__all__ = ["Selection", "select_by_bellman_error"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_ROWS_AT_ONCE = 1 << 15


def select_by_bellman_error(
    candidates: Mapping[str, Callable[[], Any]],
    dataset: ReplayBufferBase,
    n_steps: int,
    folds: int = 2,
    seed: int = 0,
    gamma: float | None = None,
    *,
    show_progress: bool = True,
) -> Selection:
    r"""Scores candidates by their held-out Bellman errors, from the log alone.

    .. code-block:: python

        selection = select_by_bellman_error(
            {"rises and concave": make_shaped, "free": make_free}, dataset, 5_000
        )
        algo = {"rises and concave": make_shaped, "free": make_free}[selection.best]()
        algo.fit(dataset, n_steps=5_000)

    Folds hold whole episodes.  Each candidate is trained ``folds`` times from the same
    seed, on ``1 - 1 / folds`` of the episodes, so it is judged by what it makes of a log
    of that size.

    What the error **with the common target** can see: how far a candidate is from one
    step of lookahead on the reference, on logged states and actions.  What it cannot:
    actions that were not logged; whether the reference itself is right, for it is the
    mean of the candidates, and where most of them are wrong in the same way it draws the
    choice along; and what a policy is worth, as an error that all actions of a state
    share counts as much as one that changes the decision, and small errors add up over
    an episode.

    What the error **with a candidate's own target** can see: whether a candidate agrees
    with itself, without the others' help.  What it cannot: that the variance of the
    bootstrapped value is charged as well, so that values which are too flat win.

    Where every step ends its episode both are the squared error of the reward, unbiased
    up to a constant that all candidates share.

    Args:
        candidates: name to a function that makes a discrete d3rlpy algorithm with values
            that is not built yet; the most constrained first.
        dataset: a replay buffer of discrete actions and at least ``folds`` episodes.
        n_steps: gradient steps of each training.
        folds: at least 2.
        seed: of the folds and of every training.
        gamma: discount of the targets, in [0, 1]; by default the one that all candidates
            have.
        show_progress: whether to show progress bars.

    Returns:
        the scores, and what they say.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: an argument is out of bounds, the log is too small for the folds or
            cannot be learned from, values are not finite, candidates have different
            discounts and ``gamma`` is not given, or a reward scaler cannot be undone.
            Where an episode has several steps, a shift of rewards adds up along it, so
            there all candidates must shift rewards by the same amount.
    """
    _check_candidates(candidates)
    check_count("n_steps", n_steps)
    check_count("folds", folds)
    if folds < 2:
        raise ValueError(f"folds must be an integer >= 2, got {folds}")
    check_seed(seed)
    if gamma is not None:
        check_number("gamma", gamma, at_least=0.0, at_most=1.0)
    check_flag("show_progress", show_progress)
    log = _as_columns(dataset)
    episodes = log.columns.index.episodes
    if episodes < folds:
        raise ValueError(
            f"dataset must have an episode for each of {folds} folds, has {episodes}"
        )
    made = {name: _make(name, make) for name, make in candidates.items()}
    # Every transition ends an episode.
    is_one_step = log.columns.index.terminals == log.transition_count
    discount = 0.0 if is_one_step else _discount(made, gamma)
    fold = np.random.default_rng(seed).permutation(episodes) % folds
    squared, own_squared = np.zeros((2, len(candidates), episodes))
    steps = np.zeros(episodes, np.int64)
    for number in range(folds):
        training, held_out = (
            log.replace(episodes=np.flatnonzero((fold == number) == inside))
            for inside in (False, True)
        )
        if not (training.transition_count and held_out.transition_count):
            raise ValueError(
                f"dataset must have transitions in and outside of each of {folds} folds, "
                f"fold {number} has {held_out.transition_count}, the others "
                f"{training.transition_count}"
            )
        numbers = np.flatnonzero(fold == number)
        read = _Transitions.of(held_out)
        answers = []
        for name, make in candidates.items():
            d3rlpy.seed(seed)
            algo = _make(name, make)
            _fit(algo, training, n_steps, show_progress)
            answers.append(_Answers.of(name, algo, read, is_one_step))
        _refuse_shifts(list(candidates), answers, is_one_step)
        reference = np.mean([answer.next_values for answer in answers], axis=0)
        steps[numbers] = read.per_episode(np.ones(len(read.rewards)))
        for i, answer in enumerate(answers):
            for values, sums in (
                (reference, squared),
                (answer.next_values, own_squared),
            ):
                target = read.rewards - answer.shift + discount * values
                sums[i, numbers] = read.per_episode((answer.values - target) ** 2)
    return Selection(
        tuple(candidates),
        squared,
        own_squared,
        steps,
        np.asarray(fold, np.int64),
        None if is_one_step else discount,
    )


# -- the log -----------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Transitions:
    """All N transitions of a fold of F episodes."""

    observations: npt.NDArray[Any]
    actions: IntArray
    rewards: FloatArray
    successors: npt.NDArray[Any]
    terminal: npt.NDArray[np.bool_]
    episode: IntArray
    episodes: int

    @classmethod
    def of(cls, log: ColumnarReplayBuffer) -> _Transitions:
        columns, index = log.columns, log.columns.index
        rows = index.rows_of(np.arange(index.transitions))
        after = index.successors(rows)
        observations = columns.observations[0]
        return cls(
            _floats(observations.take(rows)),
            np.asarray(columns.actions.take(rows), np.int64).reshape(-1),
            np.asarray(columns.rewards.take(rows), np.float64).reshape(-1),
            _floats(observations.take(after.rows)),
            np.asarray(after.terminal),
            np.asarray(index.episode_of(rows), np.int64),
            index.episodes,
        )

    def per_episode(self, values: FloatArray) -> FloatArray:
        """Sums over each episode's transitions, ``(N,)`` to ``(F,)``."""
        sums = np.bincount(self.episode, values, minlength=self.episodes)
        return np.asarray(sums, np.float64)


def _floats(observations: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # Pictures stay as they are: their scalers expect bytes.
    if observations.dtype == np.uint8:
        return observations
    return observations.astype(np.float32)


def _as_columns(dataset: Any) -> ColumnarReplayBuffer:
    if not isinstance(dataset, ReplayBufferBase):
        raise TypeError(
            f"dataset must be a d3rlpy replay buffer, got {type(dataset).__name__}"
        )
    check_dataset("select_by_bellman_error", dataset)
    if not isinstance(dataset, ColumnarReplayBuffer):
        dataset = ColumnarReplayBuffer.from_replay_buffer(dataset)
    if dataset.columns.is_tuple:
        raise ValueError("dataset must have one array of observations, got tuples")
    return dataset


# -- the candidates ----------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Answers:
    """What one trained candidate says of N transitions, of rewards less a shift."""

    values: FloatArray
    next_values: FloatArray
    shift: float

    @classmethod
    def of(cls, name: str, algo: Any, log: _Transitions, is_one_step: bool) -> _Answers:
        try:
            slope = reward_slope(algo.reward_scaler)
        except ValueError:
            raise ValueError(
                f"candidates[{name!r}] must have a reward_scaler that can be undone, "
                f"affine and rising, got {type(algo.reward_scaler).__name__}"
            ) from None
        shift = 0.0
        if algo.reward_scaler is not None:
            origin = algo.reward_scaler.transform_numpy(np.zeros(1, np.float64))
            # Adding zero turns -0.0 into 0.0.
            shift = -float(origin[0]) / slope + 0.0
        values = _values(algo, log.observations) / slope
        values = values[np.arange(len(values)), log.actions]
        next_values = np.zeros(len(values))
        if not is_one_step:
            # What follows a terminal step is worth nothing.
            goes_on = ~log.terminal
            following = _values(algo, log.successors[goes_on]) / slope
            next_values[goes_on] = following.max(axis=1, initial=-np.inf)
        if not (np.isfinite(values).all() and np.isfinite(next_values).all()):
            raise ValueError(
                f"candidates[{name!r}] must have finite values after training, got some "
                "that are not"
            )
        return cls(values, next_values, shift)


def _fit(algo: Any, log: ColumnarReplayBuffer, n_steps: int, show_progress: bool) -> None:
    algo.fit(
        log,
        n_steps=n_steps,
        n_steps_per_epoch=n_steps,
        show_progress=show_progress,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )


def _values(algo: Any, observations: npt.NDArray[Any]) -> FloatArray:
    greedy = MaskedGreedy(algo, lambda x: np.ones((len(x), algo.impl.action_size), bool))
    parts = [np.zeros((0, algo.impl.action_size))]
    for start in range(0, len(observations), _ROWS_AT_ONCE):
        parts.append(greedy.values(observations[start : start + _ROWS_AT_ONCE]))
    return np.concatenate(parts)


def _refuse_shifts(
    names: Sequence[str], answers: Sequence[_Answers], is_one_step: bool
) -> None:
    first = answers[0].shift
    for name, answer in zip(names, answers, strict=True):
        if not is_one_step and abs(answer.shift - first) > 1e-6 * (1.0 + abs(first)):
            raise ValueError(
                "candidates must shift rewards by the same amount where episodes have "
                f"several steps, got reward scalers of {names[0]!r} and {name!r} that "
                f"subtract {first:g} and {answer.shift:g}"
            )


def _check_candidates(candidates: Any) -> None:
    if not isinstance(candidates, Mapping):
        raise TypeError(
            "candidates must map names to functions that make an algorithm, got "
            f"{type(candidates).__name__}"
        )
    if len(candidates) < 2:
        raise ValueError(f"candidates must be at least two, got {list(candidates)}")
    for name, make in candidates.items():
        if not isinstance(name, str):
            raise TypeError(f"candidates must have names that are texts, got {name!r}")
        if not callable(make):
            raise TypeError(
                f"candidates[{name!r}] must be a function without arguments, got {make!r}"
            )


def _make(name: str, make: Callable[[], Any]) -> Any:
    algo = make()
    if not hasattr(algo, "impl") or not hasattr(algo, "fit"):
        raise TypeError(
            f"candidates[{name!r}] must make a d3rlpy algorithm, got "
            f"{type(algo).__name__}"
        )
    if algo.impl is not None:
        raise ValueError(
            f"candidates[{name!r}] must make a new algorithm each time, got one that is "
            "built already"
        )
    if algo.get_action_type() != ActionSpace.DISCRETE:
        raise ValueError(
            f"candidates[{name!r}] must have discrete actions, got continuous ones"
        )
    return algo


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
