"""Minari datasets as columns, and back."""

from __future__ import annotations

import contextlib
import math
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import DatasetInfo

from ..._util.files import require_space
from ..._util.packages import required
from ..columns import Array, ArrayColumn, Column, Columns
from ..episodes import EpisodeIndex

_GOAL = ("observation", "desired_goal")
_ACHIEVED = "achieved_goal"
_INFO = "info/"


def _import_minari() -> Any:
    return required("minari", "this needs minari", "'bidclick-icac[icac]'")


def is_minari(dataset: Any) -> bool:
    """Whether it is a Minari dataset; Minari need not be installed."""
    return hasattr(dataset, "iterate_episodes")


def read_minari(
    dataset: Any, tuple_observation: bool
) -> tuple[Columns, ActionSpace, int]:
    """A Minari dataset whole; arguments and errors as in ``from_minari``.

    Each episode of T steps takes T + 1 rows, the last of which holds an observation only.
    """
    if isinstance(dataset, str):
        dataset = _import_minari().load_dataset(dataset)
    if not is_minari(dataset):
        raise TypeError(
            "dataset must be a Minari dataset or the id of a local one, "
            f"got {type(dataset).__name__}"
        )
    episodes = list(dataset.iterate_episodes())
    if not episodes:
        raise ValueError(f"the Minari dataset {dataset.spec.dataset_id} has no episodes")
    space, size = _action_space(dataset.action_space)
    keys = _goal_keys(dataset.observation_space)
    extras: dict[str, Column] = {}
    if keys is None:
        parts = [_padded([e.observations for e in episodes], 0)]
    else:
        parts = [_padded([e.observations[key] for e in episodes], 0) for key in keys]
        if _ACHIEVED in episodes[0].observations:
            achieved = _padded([e.observations[_ACHIEVED] for e in episodes], 0)
            extras[_ACHIEVED] = ArrayColumn(achieved)
        if not tuple_observation:
            widths = [part.shape[1] for part in parts]
            parts = [np.concatenate(parts, axis=1)]
            # Where the goal begins, for the way back.
            extras["goal_width"] = ArrayColumn(np.full(len(parts[0]), widths[1]))
    for name, values in _infos(episodes):
        extras[_INFO + name] = ArrayColumn(values)
    steps = np.array([len(e) for e in episodes])
    terminated = np.array([bool(e.terminations[-1]) for e in episodes])
    columns = Columns(
        observations=[ArrayColumn(part) for part in parts],
        actions=ArrayColumn(_padded([np.asarray(e.actions) for e in episodes], 1)),
        rewards=ArrayColumn(_padded([e.rewards for e in episodes], 1)),
        index=EpisodeIndex(
            np.cumsum(steps + 1), terminated, np.ones(len(episodes), dtype=bool)
        ),
        is_tuple=keys is not None and tuple_observation,
        extras=extras,
    )
    return columns, space, size


def _padded(arrays: Sequence[Any], missing: int) -> Array:
    """Episodes one after another, each with ``missing`` rows of zeros at its end."""
    first = np.asarray(arrays[0])
    # One number a row is a vector of one, as d3rlpy has it.
    shape = first.shape[1:] or (1,)
    joined = np.zeros((sum(len(a) + missing for a in arrays), *shape), first.dtype)
    row = 0
    for array in arrays:
        joined[row : row + len(array)] = np.reshape(array, (len(array), *shape))
        row += len(array) + missing
    return joined


def _action_space(space: gym.Space[Any]) -> tuple[ActionSpace, int]:
    if isinstance(space, gym.spaces.Discrete):
        if space.start != 0:
            raise ValueError(f"actions must start at 0, got {space}")
        return ActionSpace.DISCRETE, int(space.n)
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1:
        return ActionSpace.CONTINUOUS, int(space.shape[0])
    raise ValueError(f"actions must be Discrete or a Box of vectors, got {space}")


def _goal_keys(space: gym.Space[Any]) -> tuple[str, ...] | None:
    """The parts of a goal dictionary; ``None`` for a plain observation."""
    if isinstance(space, (gym.spaces.Box, gym.spaces.Discrete)):
        return None
    if isinstance(space, gym.spaces.Dict) and set(_GOAL) <= set(space) <= {
        *_GOAL,
        _ACHIEVED,
    }:
        boxes = [space[key] for key in space]
        if all(isinstance(box, gym.spaces.Box) and len(box.shape) == 1 for box in boxes):
            return _GOAL
    raise ValueError(
        "observations must be Box, Discrete, or a dictionary of vectors under "
        f"{_GOAL} and perhaps {_ACHIEVED!r}, got {space}"
    )


def _infos(episodes: Sequence[Any]) -> Iterator[tuple[str, Array]]:
    """Infos that every episode has as arrays of T or T + 1 rows of numbers."""
    for name in episodes[0].infos or {}:
        values = [np.asarray((e.infos or {}).get(name)) for e in episodes]
        short = [len(e) + 1 - (len(v) if v.ndim else 0) for e, v in zip(episodes, values)]  # noqa: B905
        if values[0].dtype.kind in "fiub" and short[0] in (0, 1) and len(set(short)) == 1:
            # Told apart on the way back by the name.
            yield name + ("/steps" if short[0] else ""), _padded(values, short[0])


def write_minari(
    columns: Columns, info: DatasetInfo, dataset_id: str, metadata: dict[str, Any]
) -> Any:
    """A new local Minari dataset; arguments and errors as in ``to_minari``."""
    minari = _import_minari()
    if not isinstance(dataset_id, str):
        raise TypeError(f"dataset_id must be a text, got {dataset_id!r}")
    ends, _, has_final = columns.index.arrays()
    if not has_final.all():
        number = int(np.flatnonzero(~has_final)[0])
        raise ValueError(
            "Minari keeps what was observed after an episode's last step, which is "
            f"unknown for episode {number}, rows up to {int(ends[number]) - 1}"
        )
    space: gym.Space[Any] | None = None
    sample = _observations(columns, 0, 1)
    if isinstance(sample, dict):
        space = gym.spaces.Dict({key: box_of(values) for key, values in sample.items()})
    defaults = {
        "observation_space": space or box_of(sample),
        "action_space": space_of_actions(info, columns),
        # Minari's own default keeps pictures as JPEG, which loses something.
        "jpeg_encoding": False,
    }
    buffers = list(_episode_buffers(columns, info))
    with _gone_if_it_fails(dataset_id, _space_needed(columns)):
        return minari.create_dataset_from_buffers(
            dataset_id, buffers, **{**defaults, **metadata}
        )


@contextlib.contextmanager
def _gone_if_it_fails(dataset_id: str, size: int) -> Iterator[None]:
    """Removes what Minari leaves of a dataset that it could not finish."""
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.namespace import NAMESPACE_METADATA_FILENAME
    from minari.storage.datasets_root_dir import get_dataset_path

    parse_dataset_id(dataset_id)
    path = pathlib.Path(get_dataset_path(dataset_id))
    if path.exists():
        yield  # Minari raises an error; what is there is not ours.
        return
    namespaces = [folder for folder in path.parents if not folder.exists()]
    require_space(pathlib.Path(get_dataset_path()), size, path)
    try:
        yield
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        for namespace in namespaces:
            (namespace / NAMESPACE_METADATA_FILENAME).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                namespace.rmdir()
        raise


def _space_needed(columns: Columns) -> int:
    """Bytes in Minari, rather too many: HDF5 takes some 14 kB an episode."""
    parts = [columns.actions, columns.rewards]
    parts += [*columns.observations, *columns.extras.values()]
    # Two more bytes a row for the flags.
    width = 2 + sum(part.dtype.itemsize * math.prod(part.row_shape) for part in parts)
    overhead = columns.index.episodes * (16_000 + 4_000 * len(columns.extras))
    return columns.index.rows * width + overhead + 100_000


def _episode_buffers(columns: Columns, info: DatasetInfo) -> Iterator[Any]:
    from minari.data_collector import EpisodeBuffer

    for number in range(columns.index.episodes):
        start, stop, terminated, _ = columns.index.episode(number)
        steps = stop - 1 - start
        terminations = np.zeros(steps, dtype=bool)
        truncations = np.zeros(steps, dtype=bool)
        (terminations if terminated else truncations)[-1] = True
        actions = columns.actions.read(start, stop - 1)
        if info.action_space == ActionSpace.DISCRETE:
            actions = actions[:, 0]
        infos = {}
        for name, column in columns.extras.items():
            if name.startswith(_INFO):
                name = name.removeprefix(_INFO)
                of_steps = name.endswith("/steps")
                values = column.read(start, stop - of_steps)
                values = values[:, 0] if values.shape[1:] == (1,) else values
                infos[name.removesuffix("/steps")] = values
        yield EpisodeBuffer(
            id=number,
            observations=_observations(columns, start, stop),
            actions=actions,
            rewards=columns.rewards.read(start, stop - 1)[:, 0],
            terminations=terminations,
            truncations=truncations,
            infos=infos or None,
        )


def _observations(columns: Columns, start: int, stop: int) -> Any:
    parts = [part.read(start, stop) for part in columns.observations]
    if "goal_width" in columns.extras:
        width = int(columns.extras["goal_width"].read(0, 1)[0])
        parts = [parts[0][:, :-width], parts[0][:, -width:]]
    elif not columns.is_tuple:
        return parts[0]
    observations = dict(zip(_GOAL, parts, strict=True))
    if _ACHIEVED in columns.extras:
        observations[_ACHIEVED] = columns.extras[_ACHIEVED].read(start, stop)
    return observations


def box_of(values: Array) -> gym.spaces.Box:
    """The space of rows like these, without bounds where there can be none."""
    low, high = -np.inf, np.inf
    if values.dtype.kind != "f":
        limits = np.iinfo(values.dtype)
        low, high = int(limits.min), int(limits.max)
    return gym.spaces.Box(low, high, values.shape[1:], values.dtype.type)


def space_of_actions(info: DatasetInfo, columns: Columns) -> gym.Space[Any]:
    """The space of a log's actions."""
    if info.action_space == ActionSpace.DISCRETE:
        return gym.spaces.Discrete(info.action_size)
    return box_of(columns.actions.read(0, 1))
