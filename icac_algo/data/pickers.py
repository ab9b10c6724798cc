"""Budgets that a log has not seen: transitions under another budget than their own."""

from __future__ import annotations

import dataclasses
import math
import zlib
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from d3rlpy.dataset import (
    BasicTransitionPicker,
    EpisodeBase,
    Transition,
    TransitionMiniBatch,
)
from d3rlpy.dataset.transition_pickers import TransitionPickerProtocol

from .._util.checks import check_number

Observations = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class BudgetRelabellingTransitionPicker(TransitionPickerProtocol):
    r"""Picks transitions under budgets drawn anew, for algorithms that learn from them.

    A log in which each impression was met with nearly the same budget still says what
    more or less of it is worth, if the same would have been taken out of it.

    .. code-block:: python

        picker = BudgetRelabellingTransitionPicker(
            budget_feature=2, clock_feature=3, tick=1 / 50, largest_payment=0.1
        )
        dataset = dataset.replace(transition_picker=picker)  # a ColumnarReplayBuffer

    With a budget :math:`b`, :math:`o = b - b'` taken out of it and :math:`n` steps to
    come after this one, what is left is drawn as :math:`\tilde b' = u \min(l - o, n m)`,
    with :math:`u` in [0, 1], the highest budget :math:`l` and the largest payment
    :math:`m`, and :math:`\tilde b = \tilde b' + o`: budgets above :math:`n m` are worth
    no more.  What comes in, :math:`o < 0`, stays: then at least :math:`-o` is left.

    That is sound if

    1. neither rewards nor the rest of the next observation depend on the budget,
    2. what is taken out of it is known from the observation and the action; it is not
       where only clicks are paid for,
    3. an action that the budget could not pay stands in the log as the action that was
       taken instead.

    Next actions, and trajectories, stay as logged.

    A :class:`~icac_algo.ColumnarReplayBuffer` draws anew for each batch, from the random
    stream that its batches are drawn from.  d3rlpy's own buffers, scalers and evaluators
    call the picker, which gives a transition the same other budget each time and touches
    no random stream.

    Args:
        budget_feature: feature of the observation that holds the budget.
        clock_feature: feature that holds the steps to come, the present one included,
            times ``tick``, if there is one.
        tick: what a step takes out of the clock feature; needed beside it.
        largest_payment: the most that one step can take out of the budget feature, in
            its unit; bounds budgets where there is a clock, and needs one.
        limit: the highest budget, in units of the budget feature.
        share: of the transitions that are relabelled, in (0, 1]; the others stay as
            logged, and so do those that end in a terminal state, for d3rlpy does not
            know what they took out of the budget.
        ends: how often ``u`` is 0, and how often 1, each in [0, 0.5]; else it is uniform.
            What the budget is worth in between depends on what it is worth there.

    Raises:
        ValueError: an argument is out of bounds, or, when transitions are picked, an
            observation is no vector or lacks a feature.
    """

    budget_feature: int = 2
    clock_feature: int | None = None
    tick: float | None = None
    largest_payment: float = math.inf
    limit: float = 1.0
    share: float = 0.5
    ends: float = 0.25

    def __post_init__(self) -> None:
        _check_feature("budget_feature", self.budget_feature)
        if self.clock_feature is not None:
            _check_feature("clock_feature", self.clock_feature)
            if self.clock_feature == self.budget_feature:
                raise ValueError(
                    "clock_feature must be another feature than budget_feature, got "
                    f"{self.clock_feature} for both"
                )
        if self.tick is not None:
            check_number("tick", self.tick, above=0.0)
        if (self.tick is None) != (self.clock_feature is None):
            raise ValueError(
                "tick and clock_feature must be given both or not at all, got "
                f"{self.tick!r} and {self.clock_feature!r}"
            )
        if self.largest_payment != math.inf:
            check_number("largest_payment", self.largest_payment, above=0.0)
            if self.clock_feature is None:
                raise ValueError(
                    "largest_payment needs a clock_feature, which says how many steps "
                    f"are to come, got {self.largest_payment!r} and None"
                )
        check_number("limit", self.limit, above=0.0)
        check_number("share", self.share, above=0.0, at_most=1.0)
        check_number("ends", self.ends, at_least=0.0, at_most=0.5)

    def __call__(self, episode: EpisodeBase, index: int) -> Transition:
        return self.pick(episode, index, _stream_of(episode, index))

    def pick(
        self, episode: EpisodeBase, index: int, rng: np.random.Generator | ModuleType
    ) -> Transition:
        """One transition, as d3rlpy's pickers return it; ``rng`` draws the budget."""
        picked = BasicTransitionPicker()(episode, index)
        one = TransitionMiniBatch.from_transitions([picked])
        other = self.relabelled_batch(one, rng)
        return dataclasses.replace(
            picked,
            observation=other.observations[0],
            next_observation=other.next_observations[0],
        )

    def relabelled_batch(
        self, batch: TransitionMiniBatch, rng: np.random.Generator | ModuleType
    ) -> TransitionMiniBatch:
        """A batch of logged transitions under other budgets; the given one is kept."""
        terminals = batch.terminals[:, 0] != 0.0
        before, after = self.relabelled(
            batch.observations, batch.next_observations, terminals, rng
        )
        return dataclasses.replace(batch, observations=before, next_observations=after)

    def relabelled(
        self,
        observations: Any,
        next_observations: Any,
        terminals: npt.NDArray[np.bool_],
        rng: np.random.Generator | ModuleType,
    ) -> tuple[Observations, Observations]:
        """Copies of observations and next ones, ``(B, d)``, under other budgets.

        Rows that are ``terminals``, ``(B,)``, stay; two numbers are drawn for each row.
        """
        self._check(observations)
        # d3rlpy's batches are float32, whatever was logged.
        before, after = (
            np.array(part, dtype=np.float32) for part in (observations, next_observations)
        )
        chosen, drawn = rng.random((len(before), 2)).T
        budget = before[:, self.budget_feature].astype(np.float64)
        paid = budget - after[:, self.budget_feature]
        least = np.maximum(0.0, -paid)
        most = np.maximum(least, self._most(before, paid))
        left = least + self._place(drawn) * (most - least)
        moved = (chosen < self.share) & ~terminals
        # Rounded once, so that what is paid stays what was paid, to the last bits.
        after[moved, self.budget_feature] = left[moved]
        before[moved, self.budget_feature] = (left + paid)[moved]
        return before, after

    def _place(self, drawn: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """A uniform number, pulled to both ends: 0, between, or 1."""
        between = 1.0 - 2.0 * self.ends
        if between == 0.0:
            return (drawn >= 0.5).astype(np.float64)
        return np.clip((drawn - self.ends) / between, 0.0, 1.0)

    def _most(
        self, observations: Observations, paid: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """The most that can be left of a budget, and spent."""
        most = np.minimum(self.limit - paid, self.limit)
        if self.tick is not None and self.largest_payment != math.inf:
            clock = observations[:, self.clock_feature].astype(np.float64)
            to_come = np.rint(clock / self.tick) - 1.0
            most = np.minimum(most, to_come * self.largest_payment)
        return most

    def _check(self, observations: Any) -> None:
        is_tuple = _is_tuple(observations)
        if is_tuple or observations.ndim != 2:
            found = "a tuple" if is_tuple else f"shape {observations.shape[1:]}"
            raise ValueError(
                f"observations must be vectors to be relabelled, got {found}"
            )
        size = observations.shape[1]
        for name in ("budget_feature", "clock_feature"):
            feature = getattr(self, name)
            if feature is not None and feature >= size:
                raise ValueError(
                    f"{name} must be below the observation size {size}, got {feature}"
                )


def _stream_of(episode: EpisodeBase, index: int) -> np.random.Generator:
    """A stream that belongs to one transition, wherever and whenever it is picked."""
    parts = episode.observations
    columns = [*(parts if _is_tuple(parts) else [parts]), episode.actions]
    words = (zlib.crc32(np.asarray(column[index]).tobytes()) for column in columns)
    return np.random.default_rng([index, *words])


def _is_tuple(observation: Any) -> bool:
    return isinstance(observation, (list, tuple))


def _check_feature(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} must be an integer >= 0, got {value!r}")
