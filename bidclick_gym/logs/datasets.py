"""Named logs: made and kept by Minari, read as columns or as a d3rlpy replay buffer."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from .._arrays import AnyArray
from .._checks import check_integer, check_number
from .._optional import needed
from ..campaigns import PacedPolicy, UnpacedPolicy
from .campaign_log import BUDGET_CAMPAIGNS, BudgetLog, simulate_budget_log
from .log import (
    CAMPAIGNS,
    HORIZON,
    Log,
    nested_subsample,
    simulate_log,
    subsample_impressions,
)
from .minari_files import read_columns, stored

if TYPE_CHECKING:
    from minari import MinariDataset

    from icac_algo import ColumnarReplayBuffer

GAUSSIAN_BIDDER = "clipped Gaussian bidder, mean 0.4, std 0.4"


@dataclasses.dataclass(frozen=True)
class LogSpec:
    """What a named dataset is a log of, and what ``minari show`` says of it.

    ``policy`` logged campaigns under a budget; None for the plain auction.
    """

    env_id: str
    description: str
    policy: type[UnpacedPolicy] | type[PacedPolicy] | None = None
    algorithm: str = GAUSSIAN_BIDDER


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

BUDGET_DATASETS: dict[str, LogSpec] = {
    "bidclick/budget-logged-v0": LogSpec(
        "BidClickBudget-v0",
        "Campaigns under a budget logged by a clipped Gaussian bidder that does not "
        "look at it: 2,000 of 50 impressions, with propensities, clicks and refusals.",
        UnpacedPolicy,
    ),
    "bidclick/budget-paced-v0": LogSpec(
        "BidClickBudget-v0",
        "Campaigns under a budget logged by a bidder that paces its spending: "
        "2,000 of 50 impressions, with propensities, clicks and refusals.",
        PacedPolicy,
        "pacing bidder, temperature 0.1, floor 0.02",
    ),
}


def minari_id(name: str, log_seed: int = 0) -> str:
    """The Minari id of a named dataset: its own name for seed 0."""
    _spec(name)
    if check_integer("log_seed", log_seed, 0) == 0:
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
    dataset_id, spec = minari_id(name, log_seed), _spec(name)
    policy, horizon = spec.policy, {} if spec.policy else {"horizon": HORIZON}
    env: Any = gym.make(spec.env_id, **horizon)  # type: ignore[arg-type]

    def simulate() -> Log:
        if policy is None:
            return simulate_log(env.unwrapped.auction, seed=log_seed)
        campaign = env.unwrapped.campaign
        return simulate_budget_log(campaign, policy(campaign), seed=log_seed)

    shape = BUDGET_CAMPAIGNS if policy else CAMPAIGNS, env.unwrapped.horizon
    described = {
        "algorithm_name": spec.algorithm,
        "description": spec.description,
        "log_seed": log_seed,
    }
    return stored(dataset_id, env, shape, simulate, described, show_progress)


def get_log(name: str, log_seed: int = 0, show_progress: bool = True) -> Log:
    """A named dataset as columns, read from Minari (made on first use).

    Those of campaigns under a budget are a
    :class:`~bidclick_gym.logs.BudgetLog`.
    """
    columns = read_columns(load_minari(name, log_seed, show_progress))
    env: Any = gym.make(_spec(name).env_id).unwrapped
    if name in BUDGET_DATASETS:
        return BudgetLog(**columns, bids=env.campaign.bids)
    return Log(**columns, bids=env.auction.bids)


def get_dataset(
    name: str = "bidclick/logged-v0",
    fraction: float = 1.0,
    seed: int = 0,
    log_seed: int = 0,
    as_bandit: bool | None = None,
    continuous: bool = False,
    show_progress: bool = True,
) -> tuple[ColumnarReplayBuffer, gym.Env[Any, Any]]:
    """A logged dataset as a replay buffer for d3rlpy, and the environment of the log.

    The buffer has the columns ``"propensity"`` (the logger's, of the logged bid) and
    ``"click"`` beside what d3rlpy asks for.

    The Minari dataset is made on first use (a few seconds) and read from disk after.

    Args:
        name: one of ``DATASETS``, or of ``BUDGET_DATASETS``: campaigns under a budget,
            which stay together and end as terminal.
        fraction: share of the log to keep, in (0, 1].  Smaller fractions of one
            ``seed`` are part of larger ones.
        seed: which impressions (or campaigns) a fraction keeps.
        log_seed: which log; 0 is the published one, others are made the same way.
        as_bandit: every impression is an episode of its own that terminates, as in the
            paper's single-step task, which is what is done if not given.  If false,
            campaigns of 1,000 impressions stay together and end by timeout, so that
            bootstrapping matters.  Not for campaigns under a budget.
        continuous: actions are the bids themselves, float32 of shape ``(1,)``, for
            continuous-action algorithms.  Not for campaigns under a budget.
        show_progress: show a progress bar while the dataset is made.

    Returns:
        ``(replay_buffer, environment)``; the environment has horizon 1 for
        ``as_bandit``, else 1,000, or is that of a campaign under a budget.

    Raises:
        ValueError: an argument is out of bounds or the name is unknown.
        ImportError: d3rlpy or Minari is missing.
    """
    spec = _spec(name)
    check_number("fraction", fraction, 0.0, 1.0, open=True)
    check_integer("seed", seed, 0)
    is_budgeted = name in BUDGET_DATASETS
    as_bandit = _is_bandit(is_budgeted, as_bandit, continuous)
    log = get_log(name, log_seed, show_progress)
    buffer = to_replay_buffer(log, fraction, seed, as_bandit, continuous)
    if is_budgeted:
        return buffer, gym.make(spec.env_id)
    horizon = 1 if as_bandit else HORIZON
    return buffer, gym.make(spec.env_id, horizon=horizon, continuous=continuous)


def to_replay_buffer(
    log: Log,
    fraction: float = 1.0,
    seed: int = 0,
    as_bandit: bool | None = None,
    continuous: bool = False,
) -> ColumnarReplayBuffer:
    """A log as a replay buffer for d3rlpy; arguments as in :func:`get_dataset`."""
    with needed("d3rlpy", "icac"):
        import icac_algo
    is_budgeted = isinstance(log, BudgetLog)
    as_bandit = _is_bandit(is_budgeted, as_bandit, continuous)

    actions: AnyArray
    if continuous:
        actions = np.asarray(log.bids, dtype=np.float32)[log.actions][..., None]
    else:
        actions = log.actions[..., None]
    rewards: AnyArray = log.rewards.astype(np.float32)[..., None]
    # d3rlpy's episodes have no final observation: the last impression of a timed out
    # campaign serves only as the successor of the one before.  A terminal one needs none.
    columns = [log.observations[:, :-1], actions, rewards]
    columns += [log.propensities[..., None], log.clicks[..., None]]
    ends: dict[str, Any] = {}
    if as_bandit:
        kept = subsample_impressions(log, fraction, seed)
        columns = [c.reshape(log.impressions, c.shape[-1])[kept] for c in columns]
    else:
        kept = nested_subsample(len(log.actions), fraction, seed)
        at_last = np.zeros((len(kept), log.actions.shape[1]), dtype=bool)
        at_last[:, -1] = True
        ends["terminals" if is_budgeted else "timeouts"] = at_last.reshape(-1)
        columns = [c[kept].reshape(-1, c.shape[-1]) for c in columns]
    observations, actions, rewards, propensities, clicks = columns
    return icac_algo.ColumnarReplayBuffer.from_arrays(
        observations,
        actions,
        rewards,
        **ends,
        extras={"propensity": propensities[:, 0], "click": clicks[:, 0]},
        # Stated, not detected: a small log may lack the highest bid.
        action_size=1 if continuous else len(log.bids),
    )


def _spec(name: str) -> LogSpec:
    known = {**DATASETS, **BUDGET_DATASETS}
    if name not in known:
        raise ValueError(f"dataset must be one of {sorted(known)}, got {name!r}")
    return known[name]


def _is_bandit(is_budgeted: bool, as_bandit: bool | None, continuous: bool) -> bool:
    if not is_budgeted:
        return as_bandit is None or as_bandit
    if as_bandit:
        raise ValueError(
            "as_bandit must be left out or False for campaigns under a budget, whose "
            f"impressions share it, got {as_bandit!r}"
        )
    if continuous:
        raise ValueError(
            "continuous must be False for campaigns under a budget, which bid by index, "
            f"got {continuous!r}"
        )
    return False
