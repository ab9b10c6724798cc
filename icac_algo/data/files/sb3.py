"""Stable-Baselines3 replay buffers as columns, and back."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import DatasetInfo

from ..._util.packages import required
from ..columns import Array, ArrayColumn, Columns
from ..episodes import EpisodeIndex
from .minari import box_of, space_of_actions


def read_sb3(source: Any) -> tuple[Columns, ActionSpace, int]:
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
    if source.size() == 0:
        raise ValueError("the Stable-Baselines3 buffer is empty")
    order = np.arange(source.size())
    if source.full:
        order = np.roll(order, -source.pos)
    done = np.asarray(source.dones)[order].T.reshape(-1) > 0
    timeout = done & (np.asarray(source.timeouts)[order].T.reshape(-1) > 0)
    parts, successors = _observations(source, order)
    # The last transition of each environment has no next one.
    broken = np.zeros(len(done), dtype=bool)
    broken[len(order) - 1 :: len(order)] = True
    for part, successor in zip(parts, successors, strict=True):
        moved = (successor[:-1] != part[1:]).reshape(len(part) - 1, -1).any(axis=1)
        broken[:-1] |= moved
    last = np.flatnonzero(done | broken)
    # A row for the observation after each episode, put in behind its last step.
    steps_at = np.arange(len(done)) + np.searchsorted(last, np.arange(len(done)))
    final_at = last + 1 + np.arange(len(last))
    rows = len(done) + len(last)

    def spread(values: Array, finals: Array | None = None) -> ArrayColumn:
        column = np.zeros((rows, *values.shape[1:]), dtype=values.dtype)
        column[steps_at] = values
        if finals is not None:
            column[final_at] = finals
        return ArrayColumn(column)

    columns = Columns(
        observations=[
            spread(part, successor[last])
            for part, successor in zip(parts, successors, strict=True)
        ],
        actions=spread(_flat(source.actions, order)),
        rewards=spread(_flat(source.rewards[..., None], order)),
        index=EpisodeIndex(
            final_at + 1, (done & ~timeout)[last], np.ones(len(last), dtype=bool)
        ),
        is_tuple=isinstance(source.observations, dict),
    )
    if isinstance(source.action_space, gym.spaces.Discrete):
        return columns, ActionSpace.DISCRETE, int(source.action_space.n)
    return columns, ActionSpace.CONTINUOUS, int(source.action_dim)


def _flat(array: Any, order: Array) -> Array:
    """``(T, environments, ...)`` to one environment's rows after another's."""
    values = np.asarray(array)[order].swapaxes(0, 1)
    return values.reshape(-1, *values.shape[2:])


def _observations(source: Any, order: Array) -> tuple[list[Array], list[Array]]:
    before = source.observations
    if not isinstance(before, dict) and getattr(source, "optimize_memory_usage", False):
        # SB3 then keeps successors only as the next row's observations.
        following = before[(order + 1) % source.buffer_size]
        return [_flat(before, order)], [_flat(following, np.arange(len(order)))]
    found = []
    for kept in (before, source.next_observations):
        parts = kept.values() if isinstance(kept, dict) else [kept]
        found.append([_flat(part, order) for part in parts])
    return found[0], found[1]


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
