"""Logs in Minari: written once, whole or not at all, and read back as columns."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from .._optional import needed, progress_bar
from .campaign_log import BudgetLog
from .log import Log

if TYPE_CHECKING:
    from minari import MinariDataset

CODE_VERSION = 1

#: What ``infos`` hold, and the columns they are of; not every log has all.
INFOS = {"propensity": "propensities", "click": "clicks", "refused": "refused"}


def stored(
    dataset_id: str,
    env: gym.Env[Any, Any],
    shape: tuple[int, int],
    simulate: Callable[[], Log],
    metadata: dict[str, Any],
    show_progress: bool,
) -> MinariDataset:
    """The Minari dataset of that id, campaigns and impressions, made on first use."""
    with needed("minari", "icac"):
        import minari
    from minari.storage.datasets_root_dir import get_dataset_path

    path = pathlib.Path(get_dataset_path(dataset_id))
    if not (path / "data").exists():
        metadata = {"dataset_id": dataset_id, **metadata}
        _write(simulate(), env, path, metadata, show_progress)
    _know_namespace(dataset_id)
    dataset = minari.load_dataset(dataset_id)
    found = (dataset.total_steps, dataset.storage.metadata.get("bidclick_code_version"))
    expected = (shape[0] * shape[1], CODE_VERSION)
    if found != expected:
        raise ValueError(
            f"the Minari dataset {dataset_id!r} at {path} holds {found[0]} steps of "
            f"version {found[1]}, expected {expected[0]} steps of version {expected[1]}; "
            f"remove it with `minari delete {dataset_id}` to have it made again"
        )
    return dataset


def _know_namespace(dataset_id: str) -> None:
    """Minari keeps a file for each namespace, which it makes for its own writers only."""
    from minari import namespace

    name = dataset_id.rpartition("/")[0]
    # Another process may be first.
    with contextlib.suppress(ValueError):
        namespace.create_namespace(name, "logs of the Bid-Click auction")


def read_columns(dataset: MinariDataset) -> dict[str, Any]:
    """Columns of a stored log by their names in it, all but ``bids``."""
    episodes = list(dataset.iterate_episodes())
    columns = {
        name: np.stack([getattr(e, name) for e in episodes])
        for name in ("observations", "actions", "rewards")
    }
    for info, name in INFOS.items():
        if info in episodes[0].infos:
            columns[name] = np.stack([e.infos[info] for e in episodes])
    described = dataset.storage.get_episode_metadata(range(dataset.total_episodes))
    columns["seeds"] = np.array([e["seed"] for e in described], dtype=np.int64)
    return columns


def _write(
    log: Log,
    env: gym.Env[Any, Any],
    path: pathlib.Path,
    metadata: dict[str, Any],
    show_progress: bool,
) -> None:
    from minari import __version__ as minari_version
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    with _renamed_when_complete(path) as folder:
        _require_space(_space_needed(log), path)
        storage = MinariStorage.new(
            folder / "data",
            observation_space=env.observation_space,
            action_space=env.action_space,
            env_spec=env.spec,
            data_format="hdf5",
        )
        storage.update_metadata(
            {
                **metadata,
                "minari_version": minari_version,
                "author": {"bidclick-icac contributors"},
                "bidclick_code_version": CODE_VERSION,
            }
        )
        # A budget that is left is part of the observation: the end is terminal.
        terminates = isinstance(log, BudgetLog)
        never = np.zeros(log.actions.shape[1], dtype=bool)
        at_last = never.copy()
        at_last[-1] = True
        infos = {
            info: getattr(log, name) for info, name in INFOS.items() if hasattr(log, name)
        }
        count = len(log.actions)
        bar = {"desc": f"making {metadata['dataset_id']}", "total": count, "leave": False}

        def episodes() -> Iterator[Any]:
            with progress_bar(show_progress, **bar) as advance:
                for i in range(count):
                    yield EpisodeBuffer(
                        id=i,
                        seed=int(log.seeds[i]),
                        observations=log.observations[i],
                        actions=log.actions[i],
                        rewards=log.rewards[i],
                        terminations=at_last if terminates else never,
                        truncations=never if terminates else at_last,
                        infos={info: column[i] for info, column in infos.items()},
                    )
                    advance(1)

        storage.update_episodes(episodes())


def _space_needed(log: Log) -> int:
    """Bytes of a log in Minari, rather too many: HDF5 takes some 20 kB an episode."""
    columns = [getattr(log, field.name) for field in dataclasses.fields(log)]
    values = sum(np.asarray(column).nbytes for column in columns)
    # Two more bytes an impression for the flags.
    values += 2 * log.actions.size
    return values + 24_000 * len(log.actions) + 100_000


def _require_space(size: int, path: pathlib.Path) -> None:
    """Raises ``OSError`` before HDF5, which ends the process on a full disk."""
    if shutil.disk_usage(path.parent).free < size:
        text = f"{os.strerror(errno.ENOSPC)} ({size / 1e6:.1f} MB are needed)"
        raise OSError(errno.ENOSPC, text, str(path))


@contextlib.contextmanager
def _renamed_when_complete(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A hidden sibling folder that becomes ``path`` if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Minari skips hidden folders when it lists datasets, so a killed writer leaves
    # nothing that looks like one.
    folder = pathlib.Path(tempfile.mkdtemp(prefix=".incomplete-", dir=path.parent))
    try:
        yield folder
        folder.chmod(0o755)
        try:
            os.rename(folder, path)
        except OSError:
            # Another process was first; both wrote the same bytes of content.
            if not (path / "data").exists():
                raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
