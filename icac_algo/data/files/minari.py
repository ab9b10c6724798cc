"""Minari datasets as columns, and back."""

from __future__ import annotations

import contextlib
import errno
import math
import pathlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import DatasetInfo

from ..._util.checks import check_rows
from ..._util.files import replaced, require_space
from ..._util.packages import required
from ..columns import Array, ArrayColumn, Columns
from ..door import (
    FLAG,
    LogWarning,
    admitted,
    check_values,
    joined,
    row_of_episode,
    space_and_size,
    vectors,
)
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
    space, size = space_and_size(dataset.action_space)
    keys = _goal_keys(dataset.observation_space)
    steps = [len(np.atleast_1d(np.asarray(e.actions))) for e in episodes]
    for number, episode in enumerate(episodes):
        _check_ends(number, episode, steps[number])

    def observed(key: str | None) -> Array:
        pieces = [
            e.observations if key is None else e.observations[key] for e in episodes
        ]
        name = "observations" if key is None else f"observations[{key!r}]"
        return vectors(joined(name, pieces, [n + 1 for n in steps], before=0))

    def column(name: str) -> Array:
        pieces = [getattr(e, name) for e in episodes]
        return vectors(joined(name, pieces, steps, padded=1, before=0))

    extras: dict[str, Array] = {}
    parts = [observed(key) for key in keys or [None]]
    if keys is not None:
        if _ACHIEVED in episodes[0].observations:
            extras[_ACHIEVED] = observed(_ACHIEVED)
        if not tuple_observation:
            width = parts[1].shape[1]
            parts = [np.concatenate(parts, axis=1)]
            # Where the goal begins, for the way back.
            extras["goal_width"] = np.full(len(parts[0]), width)
    extras |= _infos(episodes, steps)
    index = EpisodeIndex(
        np.cumsum(steps) + np.arange(1, len(steps) + 1),
        np.array([bool(e.terminations[-1]) for e in episodes]),
        np.ones(len(episodes), dtype=bool),
    )
    columns = Columns(
        observations=[ArrayColumn(part) for part in parts],
        actions=ArrayColumn(column("actions")),
        rewards=ArrayColumn(column("rewards")),
        index=index,
        is_tuple=keys is not None and tuple_observation,
        extras={name: ArrayColumn(values) for name, values in extras.items()},
    )
    return admitted(columns, space, size, row_of_episode(index))


def _check_ends(number: int, episode: Any, steps: int) -> None:
    """Raises ``ValueError`` unless an episode ends with its last step, if it does."""
    if steps == 0:
        raise ValueError(f"episode {number} must have at least one step, got none")
    for name in ("terminations", "truncations"):
        flags = joined(name, [getattr(episode, name)], [steps], before=number)
        check_values(f"{name} of episode {number}", flags, FLAG)
        early = flags[:-1] != 0
        check_rows(f"{name} of episode {number} must be 0 before its end", flags, early)


def _goal_keys(space: gym.Space[Any]) -> tuple[str, ...] | None:
    """The parts of a goal dictionary; ``None`` for a plain observation."""
    spaces = gym.spaces
    if isinstance(
        space, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    ):
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


def _infos(episodes: Sequence[Any], steps: Sequence[int]) -> dict[str, Array]:
    """Infos that every episode has as arrays of T or T + 1 rows of numbers.

    What a step said stands in its row; what a reset said, in the row after the last step.
    """
    found: dict[str, Array] = {}
    for name in dict.fromkeys(name for e in episodes for name in e.infos or {}):
        values = [(e.infos or {}).get(name) for e in episodes]
        arrays = [np.asarray(v) for v in values if v is not None]
        if not all(a.dtype.kind in "fiub" and a.ndim for a in arrays):
            continue
        # Told apart on the way back by the name.
        of_steps = values[0] is not None and len(arrays[0]) == steps[0]
        rows = [n + 1 - of_steps for n in steps]
        key = _INFO + name + ("/steps" if of_steps else "")
        try:
            if len(arrays) < len(values):
                lacking = next(i for i, v in enumerate(values) if v is None)
                raise ValueError(f"episode {lacking} has none")
            pieces = [
                v if of_steps else np.roll(np.asarray(v), -1, axis=0) for v in values
            ]
            found[key] = joined(name, pieces, rows, padded=int(of_steps), before=0)
        except ValueError as error:
            warnings.warn(f"the info {name!r} is left out: {error}", LogWarning, 5)
    return found


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
    spaces = {
        "observation_space": space or box_of(sample),
        "action_space": space_of_actions(info, columns),
    }
    with _written_whole(dataset_id, _space_needed(columns)) as folder:
        environment = _spec_of(metadata.pop("env", None))
        storage = minari.dataset.minari_storage.MinariStorage.new(
            folder / "data",
            **{name: metadata.pop(name, None) or own for name, own in spaces.items()},
            env_spec=environment,
            data_format=metadata.pop("data_format", None) or "hdf5",
            # Minari's own default keeps pictures as JPEG, which loses something.
            jpeg_encoding=metadata.pop("jpeg_encoding", False),
        )
        for name in ("author", "author_email"):
            if isinstance(metadata.get(name), str):
                metadata[name] = {metadata[name]}
        if metadata.get("eval_env") is not None or environment is not None:
            judge = _spec_of(metadata.pop("eval_env", None)) or environment
            metadata["eval_env_spec"] = judge.to_json()
        known = {"dataset_id": dataset_id, "minari_version": minari.__version__}
        storage.update_metadata({**metadata, **known})
        storage.update_episodes(_episode_buffers(columns, info))
    return minari.load_dataset(dataset_id)


def _spec_of(env: Any) -> Any:
    return gym.spec(env) if isinstance(env, str) else getattr(env, "spec", env)


@contextlib.contextmanager
def _written_whole(dataset_id: str, size: int) -> Iterator[pathlib.Path]:
    """The folder that becomes the dataset if the block succeeds and is the first."""
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.namespace import create_namespace
    from minari.storage.datasets_root_dir import get_dataset_path

    namespace = parse_dataset_id(dataset_id)[0]
    path = pathlib.Path(get_dataset_path(dataset_id))
    taken = f"dataset_id must not be taken, got {dataset_id!r}, which is at {path}"
    if path.exists():
        raise ValueError(taken)
    namespaces = [folder for folder in path.parents if not folder.exists()]
    require_space(pathlib.Path(get_dataset_path()), size, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as new:
            new.mkdir()
            yield new
    except BaseException as error:
        for folder in namespaces:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise ValueError(taken) from error
        raise
    if namespace is not None:
        with contextlib.suppress(ValueError):  # It exists.
            create_namespace(namespace)


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
                name = name.removesuffix("/steps")
                infos[name] = values if of_steps else np.roll(values, 1, axis=0)
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
