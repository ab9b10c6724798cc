"""What every dataset must be before anything is learned from it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import ReplayBufferBase

from .arrays import columns_of_episodes
from .buffer import ColumnarReplayBuffer
from .columns import Array, ArrayColumn, Columns
from .door import ROW, Rule, Where, admitted, check_values, row_of_episode

_EPISODES_AT_ONCE = 10_000


def blocks(dataset: ReplayBufferBase, name: str) -> Iterator[tuple[Array, int, Where]]:
    """All values of one kind, a piece at a time, whatever keeps them.

    ``name`` is ``"observations"``, ``"actions"`` or ``"rewards"``.

    Yields:
        the values, ``(B, ...)``, the number of rows before them in their piece, and what
        an error calls a row of the piece; the parts of a tuple observation come one
        after another.
    """
    for columns, where in _pieces(dataset):
        for full, column in columns.named().items():
            if full.split("[")[0] == name:
                for start, block in column.blocks():
                    yield block, start, where


def _pieces(dataset: ReplayBufferBase) -> Iterator[tuple[Columns, Where]]:
    """The columns of a dataset; those of a stock buffer, some episodes at a time."""
    if isinstance(dataset, ColumnarReplayBuffer):
        yield dataset.columns, ROW
        return
    episodes = dataset.episodes
    for start in range(0, len(episodes), _EPISODES_AT_ONCE):
        some = columns_of_episodes(episodes[start : start + _EPISODES_AT_ONCE], start)
        yield some, row_of_episode(some.index, start)


def action_range(dataset: ReplayBufferBase) -> tuple[float, float]:
    """The smallest and the largest action that was logged, of one number a row."""
    lowest, highest = math.inf, -math.inf
    for columns, _ in _pieces(dataset):
        index, actions = columns.index, columns.actions
        if not index.is_bandit and index.arrays()[2].any():
            # Rows that hold only a last observation have no action.
            actions = ArrayColumn(actions.take(index.decisions()))
        for _, block in actions.blocks():
            lowest = min(lowest, float(block.min()))
            highest = max(highest, float(block.max()))
    return lowest, highest


def check_dataset(
    algorithm: str, dataset: ReplayBufferBase, of_any_actions: bool = False
) -> None:
    """Checks that ``algorithm``, of discrete actions, can learn from the dataset."""
    is_discrete = dataset.dataset_info.action_space == ActionSpace.DISCRETE
    if not is_discrete and not of_any_actions:
        raise ValueError(
            f"{algorithm} needs discrete actions (indices), got continuous ones; "
            "if they are a few repeated numbers, log their index instead"
        )
    _check_values(algorithm, dataset)


def check_continuous_dataset(
    algorithm: str, dataset: ReplayBufferBase, lower: float, upper: float
) -> None:
    """Checks that ``algorithm``, of one bounded action, can learn from the dataset."""
    allowed = (
        f"from {lower:g} to {upper:g}, the ends of the constraint's actions "
        "(None: 0 and 1)"
    )
    # Logs are float32: an end of the range may come back a rounding error outside.
    slack = 1e-6 * max(abs(lower), abs(upper))
    rule = Rule(allowed, lower - slack, upper + slack)
    for block, start, where in blocks(dataset, "actions"):
        check_values("actions", block, rule, start, where)
    _check_values(algorithm, dataset)


def _check_values(algorithm: str, dataset: ReplayBufferBase) -> None:
    if dataset.transition_count == 0:
        raise ValueError(
            f"{algorithm} needs a dataset with transitions, got an empty one"
        )
    # Columns were checked when they came in.
    if not isinstance(dataset, ColumnarReplayBuffer):
        info = dataset.dataset_info
        for columns, where in _pieces(dataset):
            admitted(columns, info.action_space, info.action_size, where)
