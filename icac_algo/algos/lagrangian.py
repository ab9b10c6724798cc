r"""A bound on what a learned policy costs in expectation.

A bound on the expected cost of an episode,

.. math:: \max_\pi \mathbb{E}_\pi \sum_t r_t \quad \text{such that} \quad
    \mathbb{E}_\pi \sum_t g_t \le d,

becomes a task without constraint at a multiplier :math:`\mu \ge 0`: learn from the
rewards :math:`r_t - \mu g_t`.  The multiplier follows projected dual ascent,

.. math:: \mu \leftarrow \min(\max(\mu + \eta (\hat G_\mu - d), 0), \mu_{\max}),

from 0 on, with :math:`\hat G_\mu` the cost of the learned policy as fitted Q evaluation
estimates it from the log.  A cost per click of at most :math:`\kappa` is the bound 0 on
:math:`g_t = \text{payment}_t - \kappa\, \text{click}_t`.

References:
    * `Le, Voloshin and Yue, Batch Policy Learning under Constraints (2019).
      <https://arxiv.org/abs/1903.08738>`_
    * `Altman, Constrained Markov Decision Processes (1999).
      <https://doi.org/10.1201/9781315140223>`_
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import d3rlpy
import numpy as np
import numpy.typing as npt
from d3rlpy.dataset import ReplayBufferBase
from d3rlpy.ope import FQEConfig

from .._util.checks import check_count, check_flag, check_number, check_seed
from ..data import ColumnarReplayBuffer
from ..evidence import fitted_q_estimate

FloatArray = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class LagrangianFit:
    """What dual ascent came to.

    Args:
        algo: of the round that keeps the bound by its estimate at the least multiplier;
            of the last round if none does.
        round: its place in the paths.
        is_feasible: whether its estimated cost keeps the bound.
        multipliers: ``mu`` of every round, ``(rounds,)``.
        costs: estimated cost of an episode of every round's policy, ``(rounds,)``.
    """

    algo: Any
    round: int
    is_feasible: bool
    multipliers: FloatArray
    costs: FloatArray


def fit_lagrangian(
    make_algo: Callable[[], Any],
    dataset: ReplayBufferBase,
    cost: npt.ArrayLike,
    bound: float = 0.0,
    *,
    n_steps: int,
    gamma: float,
    rounds: int = 10,
    step_size: float = 1.0,
    max_multiplier: float = 100.0,
    estimate_steps: int = 10_000,
    estimate_config: FQEConfig | None = None,
    seed: int = 0,
    show_progress: bool = True,
) -> LagrangianFit:
    """Learns a policy whose expected cost keeps a bound, by projected dual ascent.

    Every round trains a new algorithm from the same seed, so rounds differ by ``mu``
    alone.  The estimate errs as fitted Q evaluation does: it extrapolates where the log
    is thin, its errors add up over an episode, and the chosen round is the one that it
    flatters most.  Nothing here bounds that error: check the policy before it is
    deployed, or add a margin to the bound.

    Args:
        make_algo: makes a discrete d3rlpy algorithm that is not built yet.
        dataset: a replay buffer of discrete actions; its transition picker stays.
        cost: of every logged step in its order, ``(N,)``; steps, not final observations.
        bound: the most that an episode may cost in expectation.
        n_steps: gradient steps of each round.
        gamma: discount of the estimated cost, in [0, 1]; 1 where every episode
            terminates.
        rounds: how many multipliers are tried, at least 1.
        step_size: ``eta``, what a unit of excess adds to ``mu``, positive.  Too
            large where the path leaps back and forth over the bound.
        max_multiplier: the largest ``mu``, positive.
        estimate_steps: gradient steps of each estimate.  Fitted Q evaluation sees as many
            steps ahead as its target was renewed: ``estimate_steps`` over the config's
            ``target_update_interval``.
        estimate_config: of the estimate; its ``gamma`` is replaced.
        seed: of torch, numpy and the estimates.
        show_progress: whether to show progress bars.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: an argument is out of bounds, ``cost`` has another length or values
            that are not finite, or an algorithm does not fit the log.
    """
    if not callable(make_algo):
        raise TypeError(
            f"make_algo must be a function without arguments, got {make_algo!r}"
        )
    if not isinstance(dataset, ReplayBufferBase):
        raise TypeError(
            f"dataset must be a d3rlpy replay buffer, got {type(dataset).__name__}"
        )
    if estimate_config is not None and not isinstance(estimate_config, FQEConfig):
        raise TypeError(
            f"estimate_config must be an FQEConfig, got {type(estimate_config).__name__}"
        )
    check_number("bound", bound)
    check_number("gamma", gamma, at_least=0.0, at_most=1.0)
    check_number("step_size", step_size, above=0.0)
    check_number("max_multiplier", max_multiplier, above=0.0)
    for name, count in (
        ("n_steps", n_steps),
        ("rounds", rounds),
        ("estimate_steps", estimate_steps),
    ):
        check_count(name, count)
    check_seed(seed)
    check_flag("show_progress", show_progress)
    if not isinstance(dataset, ColumnarReplayBuffer):
        dataset = ColumnarReplayBuffer.from_replay_buffer(dataset)
    rewards, costs = _rewards_and_costs(dataset, cost)
    priced = dataset.replace(rewards=costs.astype(np.float32))
    algos, multipliers, estimates = [], [], []
    mu = 0.0
    for _ in range(rounds):
        d3rlpy.seed(seed)
        algo = make_algo()
        algo.fit(
            dataset.replace(rewards=(rewards - mu * costs).astype(np.float32)),
            n_steps=n_steps,
            n_steps_per_epoch=n_steps,
            show_progress=show_progress,
            logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        )
        estimate = fitted_q_estimate(
            priced,
            algo,
            gamma=gamma,
            n_steps=estimate_steps,
            config=estimate_config,
            seed=seed,
            show_progress=show_progress,
        ).value
        algos.append(algo)
        multipliers.append(mu)
        estimates.append(estimate)
        mu = min(max(mu + step_size * (estimate - bound), 0.0), float(max_multiplier))
    kept = [i for i, estimate in enumerate(estimates) if estimate <= bound]
    best = min(kept, key=multipliers.__getitem__) if kept else rounds - 1
    return LagrangianFit(
        algos[best], best, bool(kept), np.array(multipliers), np.array(estimates)
    )


def _rewards_and_costs(
    log: ColumnarReplayBuffer, cost: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Rewards and costs of every row, ``(R,)``; final observations cost nothing."""
    arrays = log.to_arrays()
    is_step = ~arrays["final"]
    given, steps = np.asarray(cost), int(is_step.sum())
    if given.dtype.kind not in "fiub" or given.shape not in ((steps,), (steps, 1)):
        raise ValueError(
            f"cost must be one number for each of {steps} logged steps, got an array of "
            f"{given.dtype} of shape {given.shape}"
        )
    if not np.isfinite(given).all():
        row = int(np.flatnonzero(~np.isfinite(given.reshape(-1)))[0])
        raise ValueError(f"cost must be finite, step {row} has {given.reshape(-1)[row]}")
    costs = np.zeros(len(is_step))
    costs[is_step] = given.reshape(-1)
    return np.asarray(arrays["rewards"], np.float64).reshape(-1), costs
