"""Stable-Baselines3 replay buffers as columns, and back."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from d3rlpy.dataset import DatasetInfo

from ..._util.packages import required
from ..columns import Array, ArrayColumn, Columns
from ..door import FLAG, admitted, as_numbers, check_values, space_and_size, vectors
from ..episodes import EpisodeIndex
from .minari import box_of, space_of_actions


def read_sb3(source: Any) -> tuple[Columns, Any, int]:
    """A copy of all transitions; arguments and errors as in ``from_sb3``.

    Every environment's transitions follow each other in time.  Where one's successor is
    not the next one's observation an episode ends, and its last observation is kept.
    """
    # By what is read: Stable-Baselines3 need not be there.
    if not all(hasattr(source, name) for name in ("pos", "full", "dones", "timeouts")):
        raise TypeError(
            "source must be a ReplayBuffer or DictReplayBuffer of Stable-Baselines3, "
            f"got {type(source).__name__}"
        )
    space, size = space_and_size(source.action_space)
    order = np.arange(source.size())
    if source.full:
        order = np.roll(order, -source.pos)
    # SB3 then keeps successors only as the next row's observations.
    thrifty = bool(getattr(source, "optimize_memory_usage", False))
    if thrifty and source.full:
        # Over the oldest observation the newest successor was written.
        order = order[1:]
    steps = len(order)
    if steps == 0:
        raise ValueError("the Stable-Baselines3 buffer is empty")
    flags = {name: _flat(source, name, order) for name in ("dones", "timeouts")}
    for name, values in flags.items():
        check_values(name, values, FLAG, where=lambda step: _place(step, order))
    done = flags["dones"] > 0
    timeout = done & (flags["timeouts"] > 0)
    parts, successors = _observations(source, order, thrifty)
    # The last transition of each environment has no next one.
    broken = np.zeros(len(done), dtype=bool)
    broken[steps - 1 :: steps] = True
    for part, successor in zip(parts, successors, strict=True):
        moved = successor[:-1] != part[1:]
        broken[:-1] |= moved.any(axis=tuple(range(1, moved.ndim)))
    last = np.flatnonzero(done | broken)
    # After an end, a thrifty buffer holds the next episode's first observation instead.
    known = ~done[last] | (not thrifty) | (last % steps == steps - 1)
    # A row for what was observed after each episode, put in behind its last step.
    finals = last[known]
    steps_at = np.arange(len(done)) + np.searchsorted(finals, np.arange(len(done)))
    final_at = finals + 1 + np.arange(len(finals))
    rows = len(done) + len(finals)

    def spread(values: Array, after: Array | None = None) -> ArrayColumn:
        column = np.zeros((rows, *values.shape[1:]), dtype=values.dtype)
        column[steps_at] = values
        if after is not None:
            column[final_at] = after[finals]
        return ArrayColumn(vectors(column))

    def where(row: int) -> str:
        step = int(np.searchsorted(steps_at, row, side="right")) - 1
        after = "what follows " if row != steps_at[step] else ""
        return after + _place(step, order)

    columns = Columns(
        observations=list(map(spread, parts, successors)),
        actions=spread(_flat(source, "actions", order)),
        rewards=spread(_flat(source, "rewards", order)),
        index=EpisodeIndex(steps_at[last] + 1 + known, (done & ~timeout)[last], known),
        is_tuple=isinstance(source.observations, dict),
    )
    return admitted(columns, space, size, where)


def _place(step: int, order: Array) -> str:
    """A step by where the buffer keeps it."""
    environment, time = divmod(step, len(order))
    return f"row {order[time]} of environment {environment}"


def _flat(source: Any, name: str, order: Array, key: str | None = None) -> Array:
    """``(T, environments, ...)`` to one environment's rows after another's."""
    kept = getattr(source, name)
    values = as_numbers(name, kept if key is None else kept[key])
    values = values[order].swapaxes(0, 1)
    return values.reshape(values.shape[0] * values.shape[1], *values.shape[2:])


def _observations(
    source: Any, order: Array, thrifty: bool
) -> tuple[list[Array], list[Array]]:
    keys = source.observations if isinstance(source.observations, dict) else [None]
    before = [_flat(source, "observations", order, key) for key in keys]
    if thrifty:
        following = (order + 1) % source.buffer_size
        return before, [_flat(source, "observations", following)]
    return before, [_flat(source, "next_observations", order, key) for key in keys]


def write_sb3(columns: Columns, info: DatasetInfo, device: str) -> Any:
    """A full SB3 buffer of one environment; arguments and errors as in ``to_sb3``.

    The observation after a terminal step is zero where it is unknown; SB3 never uses it.
    """
    buffers = required(
        "stable_baselines3.common.buffers",
        "this needs Stable-Baselines3",
        "'bidclick-icac[sb3]'",
    )
    index = columns.index
    rows = index.rows_of(np.arange(index.transitions))
    ends, terminated, has_final = index.arrays()
    episode = np.asarray(index.episode_of(rows))
    # An episode that was cut off ends one row early unless its last observation is known.
    last = np.where(terminated, ends - 1 - has_final, ends - 2)
    is_last, ends_well = rows == last[episode], terminated[episode]
    terminal, timeout = is_last & ends_well, is_last & ~ends_well
    known = ~terminal | has_final[episode]
    successors = np.where(known, np.minimum(rows + 1, index.rows - 1), rows)

    before = [part.take(rows) for part in columns.observations]
    after = [part.take(successors) for part in columns.observations]
    for part in after:
        part[~known] = 0
    boxes = [box_of(part) for part in before]
    arguments: dict[str, Any] = {
        "action_space": space_of_actions(info, columns),
        "device": device,
        "n_envs": 1,
    }
    if columns.is_tuple:
        names = [str(i) for i in range(len(boxes))]
        spaces = gym.spaces.Dict(dict(zip(names, boxes, strict=True)))
        buffer = buffers.DictReplayBuffer(len(rows), spaces, **arguments)
        for name, old, new in zip(names, before, after, strict=True):
            buffer.observations[name][:, 0] = old
            buffer.next_observations[name][:, 0] = new
    else:
        buffer = buffers.ReplayBuffer(len(rows), boxes[0], **arguments)
        buffer.observations[:, 0] = before[0]
        buffer.next_observations[:, 0] = after[0]
    buffer.actions[:, 0] = columns.actions.take(rows)
    buffer.rewards[:] = columns.rewards.take(rows)
    buffer.dones[:, 0] = terminal | timeout
    buffer.timeouts[:, 0] = timeout
    buffer.pos, buffer.full = 0, True
    return buffer
