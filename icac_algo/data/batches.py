"""Mini-batches from columns: d3rlpy's transition pickers, a batch at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from d3rlpy.dataset import (
    BasicTransitionPicker,
    MultiStepTransitionPicker,
    SparseRewardTransitionPicker,
    Transition,
    TransitionMiniBatch,
)

from .columns import Column, Columns
from .pickers import BudgetRelabellingTransitionPicker

__all__ = ["StepRule", "interleave", "pick_batch"]


@dataclasses.dataclass(frozen=True)
class StepRule:
    """How far a transition reaches.

    Args:
        n_steps: steps between observation and next observation, at most.
        gamma: discount of the rewards between.
    """

    n_steps: int = 1
    gamma: float = 1.0

    @classmethod
    def of_picker(cls, picker: Any) -> StepRule | None:
        """The rule of a d3rlpy picker; ``None`` for one that only itself can apply."""
        # Of a sparse-reward picker only the returns-to-go differ, which are always
        # computed by the picker itself; budgets are relabelled once a batch is picked.
        if type(picker) in (
            BasicTransitionPicker,
            SparseRewardTransitionPicker,
            BudgetRelabellingTransitionPicker,
        ):
            return cls()
        if type(picker) is MultiStepTransitionPicker:
            return cls(picker._n_steps, picker._gamma)
        return None


def pick_batch(
    columns: Columns,
    rows: npt.NDArray[np.int64],
    rule: StepRule,
    transitions: Sequence[Transition],
) -> TransitionMiniBatch:
    """The transitions that begin at ``rows``, as d3rlpy's algorithms take them.

    Args:
        columns: the log.
        rows: rows that begin a transition, shape ``(B,)``.
        rule: how far they reach.
        transitions: the same transitions one by one, kept for whoever asks.
    """
    after = columns.index.successors(rows, rule.n_steps)
    terminal = after.terminal
    actions = _take(columns.actions, rows)
    observations = [_take(part, rows) for part in columns.observations]
    if terminal.all():
        # A terminal transition has no successor; d3rlpy fills in zeros.
        next_observations = [np.zeros_like(part) for part in observations]
        next_actions = np.zeros_like(actions)
    else:
        next_observations = [_take(part, after.rows) for part in columns.observations]
        next_actions = _take(columns.actions, after.rows)
        if terminal.any():
            for part in (*next_observations, next_actions):
                part[terminal] = 0.0
    return TransitionMiniBatch(
        observations=_pack(observations, columns.is_tuple),
        actions=actions,
        rewards=_rewards(columns.rewards, rows, after.interval, rule),
        next_observations=_pack(next_observations, columns.is_tuple),
        next_actions=next_actions,
        terminals=terminal.astype(np.float32)[:, None],
        intervals=after.interval.astype(np.float32)[:, None],
        transitions=transitions,
    )


def interleave(
    first: TransitionMiniBatch,
    second: TransitionMiniBatch,
    is_first: npt.NDArray[np.bool_],
    transitions: Sequence[Transition],
) -> TransitionMiniBatch:
    """Two batches as one.

    Args:
        first: rows where ``is_first``, in order.
        second: the other rows, in order.
        is_first: ``(B,)``.
        transitions: the transitions of the whole.
    """

    def merge(a: Any, b: Any) -> Any:
        if isinstance(a, list):
            return [merge(x, y) for x, y in zip(a, b, strict=True)]
        merged = np.empty((len(is_first), *a.shape[1:]), dtype=a.dtype)
        merged[is_first], merged[~is_first] = a, b
        return merged

    fields = {
        field.name: merge(getattr(first, field.name), getattr(second, field.name))
        for field in dataclasses.fields(TransitionMiniBatch)
        if field.name != "transitions"
    }
    return TransitionMiniBatch(**fields, transitions=transitions)


def _rewards(
    column: Column,
    rows: npt.NDArray[np.int64],
    interval: npt.NDArray[np.int64],
    rule: StepRule,
) -> npt.NDArray[np.float32]:
    """Discounted sums of the rewards of ``interval`` steps, float32 ``(B, 1)``."""
    if rule.n_steps == 1:
        return _take(column, rows)
    total = np.zeros((len(rows), *column.row_shape), dtype=np.float64)
    for step in range(int(interval.max(initial=1))):
        counted = interval > step
        reward = _take(column, rows[counted] + step)
        total[counted] += rule.gamma**step * reward
    return total.astype(np.float32)


def _take(column: Column, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    return column.take(rows).astype(np.float32, copy=False)


def _pack(parts: list[npt.NDArray[np.float32]], is_tuple: bool) -> Any:
    return parts if is_tuple else parts[0]
