"""Named logs: made and kept by Minari, read as columns or as a d3rlpy replay buffer."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from ._optional import import_icac_algo, import_minari
from .auction import Auction
from .logs import (
    CAMPAIGNS,
    HORIZON,
    Log,
    check_fraction,
    check_integer,
    nested_subsample,
    simulate_log,
    subsample_impressions,
)

if TYPE_CHECKING:
    from minari import MinariDataset

    from icac_algo import ColumnarReplayBuffer

__all__ = [
    "DATASETS",
    "LogSpec",
    "get_dataset",
    "get_log",
    "load_minari",
    "minari_id",
    "to_replay_buffer",
]

CODE_VERSION = 1


@dataclasses.dataclass(frozen=True)
class LogSpec:
    """What a named dataset is a log of.

    Args:
        env_id: the Gymnasium id of the logged environment.
        description: one sentence for ``minari show``.
    """

    env_id: str
    description: str


DATASETS: dict[str, LogSpec] = {
    "bidclick/logged-v0": LogSpec(
        "BidClick-v0",
        "The Bid-Click auction logged by a clipped Gaussian bidder: "
        "100 campaigns of 1,000 impressions, with propensities and clicks.",
    ),
    "bidclick/logged-monotone-v0": LogSpec(
        "BidClickMonotone-v0",
        "The Bid-Click auction at costs where the reward rises in the bid, logged by a "
        "clipped Gaussian bidder: 100 campaigns of 1,000 impressions.",
    ),
}


# -- Minari ----------------------------------------------------------------


def minari_id(name: str, log_seed: int = 0) -> str:
    """The Minari id of a named dataset: its own name for seed 0."""
    _spec(name)
    check_integer("log_seed", log_seed, 0)
    if log_seed == 0:
        return name
    stem, version = name.rsplit("-", 1)
    return f"{stem}-seed{log_seed}-{version}"


def load_minari(
    name: str, log_seed: int = 0, show_progress: bool = True
) -> MinariDataset:
    """The Minari dataset of that name, made on first use.

    Making it is deterministic and atomic: it is written to a hidden folder beside the
    others and renamed when complete.

    Raises:
        ValueError: the name is unknown, or a dataset of this name is there but holds
            something else.
    """
    minari = import_minari()
    from minari.storage.datasets_root_dir import get_dataset_path

    spec = _spec(name)
    dataset_id = minari_id(name, log_seed)
    path = pathlib.Path(get_dataset_path(dataset_id))
    if not (path / "data").exists():
        env = gym.make(spec.env_id, horizon=HORIZON)
        _write_minari(dataset_id, spec, env, log_seed, path, show_progress)
    dataset = minari.load_dataset(dataset_id)
    found = (dataset.total_steps, dataset.storage.metadata.get("bidclick_code_version"))
    expected = (CAMPAIGNS * HORIZON, CODE_VERSION)
    if found != expected:
        raise ValueError(
            f"the Minari dataset {dataset_id!r} at {path} holds {found[0]} steps of "
            f"version {found[1]}, expected {expected[0]} steps of version {expected[1]}; "
            f"remove it with `minari delete {dataset_id}` to have it made again"
        )
    return dataset


def _write_minari(
    dataset_id: str,
    spec: LogSpec,
    env: gym.Env[Any, Any],
    log_seed: int,
    path: pathlib.Path,
    show_progress: bool,
) -> None:
    from minari import __version__ as minari_version
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    auction: Auction = env.unwrapped.auction  # type: ignore[attr-defined]
    log = simulate_log(auction, seed=log_seed)
    with _renamed_when_complete(path) as folder:
        storage = MinariStorage.new(
            folder / "data",
            observation_space=env.observation_space,
            action_space=env.action_space,
            env_spec=env.spec,
            data_format="hdf5",
        )
        storage.update_metadata(
            {
                "dataset_id": dataset_id,
                "minari_version": minari_version,
                "algorithm_name": "clipped Gaussian bidder, mean 0.4, std 0.4",
                "author": {"bidclick-icac contributors"},
                "description": spec.description,
                "log_seed": log_seed,
                "bidclick_code_version": CODE_VERSION,
            }
        )
        truncations = np.zeros(HORIZON, dtype=bool)
        truncations[-1] = True
        episodes = (
            EpisodeBuffer(
                id=i,
                seed=int(log.seeds[i]),
                observations=log.observations[i],
                actions=log.actions[i],
                rewards=log.rewards[i],
                terminations=np.zeros(HORIZON, dtype=bool),
                truncations=truncations,
                infos={"propensity": log.propensities[i], "click": log.clicks[i]},
            )
            for i in range(CAMPAIGNS)
        )
        storage.update_episodes(_progress(episodes, dataset_id, show_progress))


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


def _progress(episodes: Any, title: str, show: bool) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return episodes
    return tqdm(
        episodes, total=CAMPAIGNS, desc=f"making {title}", disable=not show, leave=False
    )


def get_log(name: str, log_seed: int = 0, show_progress: bool = True) -> Log:
    """A named dataset as columns, read from Minari (made on first use)."""
    dataset = load_minari(name, log_seed, show_progress)
    env = gym.make(_spec(name).env_id)
    episodes = list(dataset.iterate_episodes())
    return Log(
        observations=np.stack([e.observations for e in episodes]),
        actions=np.stack([e.actions for e in episodes]),
        rewards=np.stack([e.rewards for e in episodes]),
        propensities=np.stack([e.infos["propensity"] for e in episodes]),
        clicks=np.stack([e.infos["click"] for e in episodes]),
        seeds=np.array(
            [
                e["seed"]
                for e in dataset.storage.get_episode_metadata(
                    range(dataset.total_episodes)
                )
            ],
            dtype=np.int64,
        ),
        bids=env.unwrapped.auction.bids,  # type: ignore[attr-defined]
    )


# -- d3rlpy ----------------------------------------------------------------


def get_dataset(
    name: str = "bidclick/logged-v0",
    fraction: float = 1.0,
    seed: int = 0,
    log_seed: int = 0,
    as_bandit: bool = True,
    continuous: bool = False,
    show_progress: bool = True,
) -> tuple[ColumnarReplayBuffer, gym.Env[Any, Any]]:
    """A logged dataset as a replay buffer for d3rlpy, and the environment of the log.

    The Minari dataset is made on first use (a few seconds) and read from disk after.

    Args:
        name: ``"bidclick/logged-v0"`` or ``"bidclick/logged-monotone-v0"``.
        fraction: share of the log to keep, in (0, 1].  Smaller fractions of one
            ``seed`` are part of larger ones.
        seed: which impressions (or campaigns) a fraction keeps.
        log_seed: which log; 0 is the published one, others are made the same way.
        as_bandit: every impression is an episode of its own that terminates, as in the
            paper's single-step task.  If false, campaigns of 1,000 impressions stay
            together and end by timeout, so that bootstrapping matters.
        continuous: actions are the bids themselves, float32 of shape ``(1,)``, for
            continuous-action algorithms.
        show_progress: show a progress bar while the dataset is made.

    Returns:
        ``(replay_buffer, environment)``; the environment has horizon 1 for
        ``as_bandit``, else 1,000.

    Raises:
        ValueError: an argument is out of bounds or the name is unknown.
        ImportError: d3rlpy or Minari is missing.
    """
    spec = _spec(name)
    check_fraction(fraction)
    check_integer("seed", seed, 0)
    log = get_log(name, log_seed, show_progress)
    buffer = to_replay_buffer(log, fraction, seed, as_bandit, continuous)
    horizon = 1 if as_bandit else HORIZON
    return buffer, gym.make(spec.env_id, horizon=horizon, continuous=continuous)


def to_replay_buffer(
    log: Log,
    fraction: float = 1.0,
    seed: int = 0,
    as_bandit: bool = True,
    continuous: bool = False,
) -> ColumnarReplayBuffer:
    """A log as a replay buffer for d3rlpy; arguments as in :func:`get_dataset`."""
    icac_algo = import_icac_algo()

    actions: npt.NDArray[Any]
    if continuous:
        actions = np.asarray(log.bids, dtype=np.float32)[log.actions][..., None]
    else:
        actions = log.actions[..., None]
    rewards = log.rewards.astype(np.float32)[..., None]
    # d3rlpy's episodes have no final observation: the last impression of a timed out
    # campaign serves only as the successor of the one before.
    columns = [log.observations[:, :-1], actions, rewards, log.propensities[..., None]]
    timeouts = None
    if as_bandit:
        kept = subsample_impressions(log, fraction, seed)
        columns = [c.reshape(log.impressions, c.shape[-1])[kept] for c in columns]
    else:
        kept = nested_subsample(len(log.actions), fraction, seed)
        timeouts = np.zeros((len(kept), log.actions.shape[1]), dtype=bool)
        timeouts[:, -1] = True
        columns = [c[kept].reshape(-1, c.shape[-1]) for c in columns]
    return icac_algo.ColumnarReplayBuffer.from_arrays(
        *columns[:3],
        timeouts=timeouts,
        extras={"propensity": columns[3][:, 0]},
        # Stated, not detected: a small log may lack the highest bid.
        action_size=1 if continuous else len(log.bids),
    )


# -- arguments -------------------------------------------------------------


def _spec(name: str) -> LogSpec:
    if name not in DATASETS:
        raise ValueError(f"dataset must be one of {sorted(DATASETS)}, got {name!r}")
    return DATASETS[name]
