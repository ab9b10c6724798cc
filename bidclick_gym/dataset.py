"""Logs of the auction: simulated, stored with Minari, read as a d3rlpy replay buffer."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from ._optional import import_d3rlpy, import_minari
from .auction import Auction, click_probability
from .behavior import ClippedGaussianPolicy

if TYPE_CHECKING:
    from d3rlpy.dataset import ReplayBuffer
    from minari import MinariDataset

__all__ = [
    "DATASETS",
    "Log",
    "LogSpec",
    "fingerprint",
    "get_dataset",
    "get_log",
    "load_minari",
    "minari_id",
    "simulate_campaign",
    "simulate_log",
    "subsample_impressions",
    "to_replay_buffer",
]

CAMPAIGNS = 100
HORIZON = 1000
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


@dataclasses.dataclass(frozen=True)
class Log:
    """Logged impressions as columns; ``M`` campaigns of ``H`` impressions.

    Args:
        observations: float32, shape ``(M, H + 1, 2)``; the last one of a campaign is
            what followed its last impression.
        actions: bid indices, int64, shape ``(M, H)``.
        rewards: float64, shape ``(M, H)``, in units of one click.
        propensities: the logger's probability of the action, float64, ``(M, H)``.
        clicks: 0 or 1, int64, ``(M, H)``.
        seeds: what each campaign's ``env.reset(seed=...)`` was given, ``(M,)``.
        bids: the allowed bids, shape ``(K,)``.
    """

    observations: npt.NDArray[np.float32]
    actions: npt.NDArray[np.int64]
    rewards: npt.NDArray[np.float64]
    propensities: npt.NDArray[np.float64]
    clicks: npt.NDArray[np.int64]
    seeds: npt.NDArray[np.int64]
    bids: tuple[float, ...]

    @property
    def impressions(self) -> int:
        """Number of logged impressions, ``M * H``."""
        return int(self.actions.size)


# -- simulation ------------------------------------------------------------


def simulate_campaign(
    auction: Auction, actions: npt.NDArray[np.int64], seed: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Plays bid indices through one episode of ``BidClickEnv``, all at once.

    The result equals, bit for bit, ``env.reset(seed=seed)`` followed by one
    ``env.step`` for each action: the environment draws the same uniforms in the same
    order.

    Args:
        auction: the auction of the environment.
        actions: bid indices, shape ``(H,)``.
        seed: the episode's seed.

    Returns:
        observations ``(H + 1, 2)``, rewards ``(H,)``, clicks ``(H,)``.
    """
    rng, _ = gym.utils.seeding.np_random(seed)
    steps = len(actions)
    u = rng.random(2 + 3 * steps)
    per_step = u[2:].reshape(steps, 3)
    context_uniforms = np.concatenate([u[None, :2], per_step[:, 1:]])
    observations = auction.context_from_uniform(context_uniforms)
    x, c = observations[:-1].astype(np.float64).T
    bids = auction.bid_array[actions]
    clicks = (per_step[:, 0] < click_probability(x, bids)).astype(np.int64)
    return observations, clicks - c * bids, clicks


def simulate_log(
    auction: Auction,
    policy: ClippedGaussianPolicy | None = None,
    campaigns: int = CAMPAIGNS,
    horizon: int = HORIZON,
    seed: int = 0,
) -> Log:
    """Logs ``campaigns * horizon`` impressions of a logging policy.

    Args:
        auction: the auction to log.
        policy: the logger; the paper's clipped Gaussian over the auction's bids if not
            given.
        campaigns: episodes, at least 1.
        horizon: impressions in each, at least 1.
        seed: of contexts, bids and clicks, at least 0.

    Raises:
        ValueError: a count or the seed is too small, or the policy's bids differ from
            the auction's.
    """
    _check_integer("campaigns", campaigns, 1)
    _check_integer("horizon", horizon, 1)
    _check_integer("log_seed", seed, 0)
    policy = policy or ClippedGaussianPolicy(bids=auction.bids)
    if policy.bids != auction.bids:
        raise ValueError(
            f"policy must bid on the auction's bids {auction.bids}, got {policy.bids}"
        )
    env_seeds, bid_seed = np.random.SeedSequence(seed).spawn(2)
    seeds = env_seeds.generate_state(campaigns).astype(np.int64)
    actions = policy.sample(np.random.default_rng(bid_seed), campaigns * horizon)
    actions = actions.reshape(campaigns, horizon)
    played = [
        simulate_campaign(auction, row, int(s))
        for row, s in zip(actions, seeds, strict=True)
    ]
    return Log(
        observations=np.stack([p[0] for p in played]),
        actions=actions,
        rewards=np.stack([p[1] for p in played]),
        propensities=policy.probabilities[actions],
        clicks=np.stack([p[2] for p in played]),
        seeds=seeds,
        bids=auction.bids,
    )


# -- Minari ----------------------------------------------------------------


def minari_id(name: str, log_seed: int = 0) -> str:
    """The Minari id of a named dataset: its own name for seed 0."""
    _spec(name)
    _check_integer("log_seed", log_seed, 0)
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
    if not path.exists():
        env = gym.make(spec.env_id, horizon=HORIZON)
        _write_minari(dataset_id, spec, env, log_seed, path, show_progress)
    dataset = minari.load_dataset(dataset_id)
    if dataset.total_steps != CAMPAIGNS * HORIZON:
        raise ValueError(
            f"the Minari dataset {dataset_id!r} at {path} holds {dataset.total_steps} "
            f"steps, expected {CAMPAIGNS * HORIZON}; remove it with "
            f"`minari delete {dataset_id}` to have it made again"
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
            if not path.exists():
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


def fingerprint(log: Log) -> str:
    """SHA-256 over every column's bytes, little-endian; equal logs, equal digests."""
    digest = hashlib.sha256()
    for field in dataclasses.fields(Log):
        column = np.ascontiguousarray(getattr(log, field.name))
        column = column.astype(column.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{field.name}{column.dtype.str}{column.shape}".encode())
        digest.update(column.tobytes())
    return digest.hexdigest()


# -- d3rlpy ----------------------------------------------------------------


def get_dataset(
    name: str = "bidclick/logged-v0",
    fraction: float = 1.0,
    seed: int = 0,
    log_seed: int = 0,
    as_bandit: bool = True,
    continuous: bool = False,
    show_progress: bool = True,
) -> tuple[ReplayBuffer, gym.Env[Any, Any]]:
    """A logged dataset as a d3rlpy replay buffer, and the environment it was logged in.

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
    _check_fraction(fraction)
    _check_integer("seed", seed, 0)
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
) -> ReplayBuffer:
    """A log as a d3rlpy replay buffer; arguments as in :func:`get_dataset`."""
    import_d3rlpy()
    from d3rlpy.constants import ActionSpace
    from d3rlpy.dataset import Episode, InfiniteBuffer, ReplayBuffer, Signature

    _check_fraction(fraction)
    actions: npt.NDArray[Any]
    if continuous:
        actions = np.asarray(log.bids, dtype=np.float32)[log.actions][..., None]
    else:
        actions = log.actions[..., None]
    rewards = log.rewards.astype(np.float32)[..., None]
    if as_bandit:
        count = log.impressions
        kept = subsample_impressions(log, fraction, seed)
        observations = log.observations[:, :-1].reshape(count, 1, -1)[kept]
        columns = (
            observations,
            actions.reshape(count, 1, -1)[kept],
            rewards.reshape(count, 1, 1)[kept],
        )
    else:
        kept = _nested_subsample(len(log.actions), fraction, seed)
        # d3rlpy's episodes have no final observation: the last impression of a timed
        # out campaign serves only as the successor of the one before.
        columns = (log.observations[kept, :-1], actions[kept], rewards[kept])
    episodes = [
        Episode(o, a, r, terminated=as_bandit) for o, a, r in zip(*columns, strict=True)
    ]
    buffer = ReplayBuffer(
        InfiniteBuffer(),
        observation_signature=Signature([np.dtype(np.float32)], [(2,)]),
        action_signature=Signature([actions.dtype], [(1,)]),
        reward_signature=Signature([np.dtype(np.float32)], [(1,)]),
        action_space=ActionSpace.CONTINUOUS if continuous else ActionSpace.DISCRETE,
        # Stated, not detected: a small log may lack the highest bid.
        action_size=1 if continuous else len(log.bids),
    )
    for episode in episodes:
        buffer.append_episode(episode)
    return buffer


def subsample_impressions(
    log: Log, fraction: float, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Flat indices of the impressions that a fraction keeps, in logged order."""
    return _nested_subsample(log.impressions, fraction, seed)


def _nested_subsample(count: int, fraction: float, seed: int) -> npt.NDArray[np.int64]:
    """Indices of a share of ``count`` items, in order; a prefix of one permutation."""
    size = round(fraction * count)
    if size < 1:
        raise ValueError(
            f"fraction={fraction!r} keeps none of {count} items; "
            f"it must be at least {1 / count:g}"
        )
    return np.sort(np.random.default_rng(seed).permutation(count)[:size])


# -- arguments -------------------------------------------------------------


def _spec(name: str) -> LogSpec:
    if name not in DATASETS:
        raise ValueError(f"dataset must be one of {sorted(DATASETS)}, got {name!r}")
    return DATASETS[name]


def _check_fraction(fraction: float) -> None:
    if not isinstance(fraction, (int, float)) or not (0.0 < fraction <= 1.0):
        raise ValueError(f"fraction must be in (0, 1], got {fraction!r}")


def _check_integer(name: str, value: int, low: int) -> None:
    integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not integer or value < low:
        raise ValueError(f"{name} must be an integer >= {low}, got {value!r}")
