r"""Greedy actions under risk, from critics that know quantiles of the return.

The conditional value at risk at a level :math:`\alpha` is the mean of the worst share
:math:`\alpha` of returns,

.. math:: \mathrm{CVaR}_\alpha = \frac{1}{\alpha} \int_0^\alpha F^{-1}(u)\, du,

with :math:`F^{-1}` the quantile function; at :math:`\alpha = 1` it is the mean.  It says
how good a *return* is for one who fears bad ones; acting greedily on it in every state
is not the policy whose own return has the best CVaR.

References:
    * `Rockafellar and Uryasev, Optimization of Conditional Value-at-Risk (2000).
      <https://doi.org/10.21314/JOR.2000.038>`_
    * `Dabney et al., Distributional Reinforcement Learning with Quantile Regression
      (2018). <https://arxiv.org/abs/1710.10044>`_
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from d3rlpy.algos import QLearningAlgoBase
from d3rlpy.algos.qlearning.torch.bcq_impl import DiscreteBCQImpl
from d3rlpy.constants import ActionSpace
from d3rlpy.models.torch import QFunctionOutput
from d3rlpy.serializable_config import SerializableConfig
from d3rlpy.torch_utility import convert_to_torch
from d3rlpy.types import TorchObservation

from .._util.checks import is_finite
from .greedy import best_actions, favours_last

#: Quantiles ``(..., N)`` to what they are worth, ``(...)``.
Risk = Callable[[torch.Tensor], torch.Tensor]


@dataclasses.dataclass()
class CVaR(SerializableConfig):
    r"""The mean of the worst returns, from quantiles at midpoints of N equal shares.

    Each quantile stands for a share :math:`1/N` of returns.  Of the sorted quantiles
    :math:`\theta_1 \le \dots \le \theta_N`

    .. math:: \mathrm{CVaR}_\alpha = \sum_i w_i \theta_i, \qquad
        w_i = \frac{\min(\max(\alpha N - (i - 1), 0), 1)}{\alpha N}:

    the lowest :math:`\alpha N` of them count, the last one in part.  Below
    :math:`\alpha = 1/N` it is the lowest quantile.

    Args:
        level: the share :math:`\alpha` of returns, 0 < level <= 1; 1 gives the mean.

    Raises:
        ValueError: ``level`` is not such a number.
    """

    level: float = 0.1

    def __post_init__(self) -> None:
        if not is_finite(self.level) or not 0.0 < self.level <= 1.0:
            raise ValueError(f"level must be in (0, 1], got {self.level!r}")

    def __call__(self, quantiles: torch.Tensor) -> torch.Tensor:
        """The value at risk of each action.

        Args:
            quantiles: ``(B, K, N)`` (or any ``(..., N)``), floating point; sorted here,
                for quantiles of an unconstrained critic may cross.

        Returns:
            ``(B, K)``, in the dtype of ``quantiles``, differentiable.

        Raises:
            ValueError: there are no quantiles, or they are not floating point.
        """
        if quantiles.dim() < 1 or quantiles.shape[-1] < 1:
            raise ValueError(
                "quantiles must have shape (batch, actions, quantiles), got "
                f"{tuple(quantiles.shape)}"
            )
        if not quantiles.is_floating_point():
            raise ValueError(f"quantiles must be floating point, got {quantiles.dtype}")
        ranked = quantiles.double().sort(dim=-1).values
        n = ranked.shape[-1]
        below = torch.arange(n, dtype=torch.float64, device=ranked.device)
        counted = self.level * n
        weights = (counted - below).clamp(0.0, 1.0) / counted
        return (ranked * weights).sum(dim=-1).to(quantiles.dtype)


def greedy_actions(
    algo: QLearningAlgoBase[Any, Any],
    observations: npt.NDArray[Any],
    risk: Risk,
    batch: int = 4096,
) -> npt.NDArray[np.int64]:
    """The actions whose return is best under a risk measure.

    For a built or fitted algorithm of discrete actions whose critics are
    :class:`~icac_algo.ShapedQFunctionFactory`'s with ``n_quantiles`` or d3rlpy's own
    ``QRQFunctionFactory``'s.  The risk of several critics is averaged, which for
    :class:`CVaR` is the risk of their averaged quantiles.  ``CVaR(1)`` reads the critic's
    mean itself and so decides as ``algo.predict`` of ``DQN``, ``DoubleDQN`` and
    ``DiscreteCQL`` does.  ``DiscreteBCQ`` chooses among the actions that its imitator
    allows; the policy of an actor-critic algorithm is not asked.

    Ties go to the end that ``algo.predict`` favours.  Critics stay in evaluation mode.

    Args:
        algo: the algorithm; its observation scaler is applied.
        observations: raw, ``(B, ...)``.
        risk: quantiles ``(B, K, N)`` to what they are worth, ``(B, K)``: ``CVaR(0.1)``.
        batch: how many observations pass through the critics at once.

    Returns:
        actions, int64, ``(B,)``.

    Raises:
        ValueError: the algorithm is not built, has continuous actions or no such
            critics, observations do not fit it or have no finite value, or ``batch`` is
            not an integer of at least 1.
    """
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise ValueError(f"batch must be an integer >= 1, got {batch!r}")
    impl = algo.impl
    if impl is None:
        raise ValueError(f"{type(algo).__name__} is not built yet: fit or build it first")
    if algo.get_action_type() != ActionSpace.DISCRETE:
        raise ValueError(f"{type(algo).__name__} has no discrete actions to choose from")
    shape = tuple(impl.observation_shape)
    fits = isinstance(observations, np.ndarray) and observations.ndim > 0
    if not fits or observations.shape[1:] != shape:
        raise ValueError(
            f"observations must be an array of shape (batch, *{shape}), got "
            f"{getattr(observations, 'shape', type(observations).__name__)}"
        )
    impl.modules.set_eval()
    actions = np.empty(len(observations), dtype=np.int64)
    for start in range(0, len(observations), batch):
        rows = slice(start, start + batch)
        x: Any = convert_to_torch(observations[rows], impl.device)
        with torch.no_grad():
            if algo.observation_scaler is not None:
                x = algo.observation_scaler.transform(x)
            worth = _worth(algo, x, risk)
            if isinstance(impl, DiscreteBCQImpl):
                worth = worth.masked_fill(~_imitated(impl, x), -math.inf)
        actions[rows] = best_actions(worth, favours_last(algo)).cpu().numpy()
    return actions


def _worth(
    algo: QLearningAlgoBase[Any, Any], x: TorchObservation, risk: Risk
) -> torch.Tensor:
    """What each action is worth, on average over critics, ``(B, K)``."""
    assert algo.impl is not None
    worth = []
    for q_func in algo.impl.q_function:
        output: QFunctionOutput = q_func(x)
        _check_quantiles(algo, output)
        # The mean of rounded quantiles would break the ties of a shaped mean.
        is_mean = isinstance(risk, CVaR) and risk.level == 1.0
        worth.append(output.q_value if is_mean else risk(output.quantiles))
    mean = torch.stack(worth).mean(dim=0)
    if not torch.isfinite(mean).all():
        raise ValueError("observations have values that are not finite")
    return mean


def _check_quantiles(algo: Any, output: QFunctionOutput) -> None:
    quantiles, taus = output.quantiles, output.taus
    fits = quantiles is not None and taus is not None
    if fits:
        n = quantiles.shape[-1]
        midpoints = (torch.arange(n, device=taus.device) + 0.5) / n
        fits = taus.shape == (1, n) and torch.allclose(taus, midpoints.to(taus.dtype))
    if not fits:
        raise ValueError(
            f"{type(algo).__name__} needs critics of quantiles at midpoints, as "
            "ShapedQFunctionFactory(n_quantiles=...) and d3rlpy's QRQFunctionFactory "
            f"make; got {_critic_of(algo)}"
        )


def _critic_of(algo: Any) -> str:
    factory = getattr(algo.config, "q_func_factory", None)
    return type(algo.config if factory is None else factory).__name__


def _imitated(impl: DiscreteBCQImpl, x: TorchObservation) -> torch.Tensor:
    """Which actions are likely enough to be the data's own, as d3rlpy decides it."""
    log_probs = F.log_softmax(impl.modules.imitator(x).logits, dim=1)
    ratio = log_probs - log_probs.amax(dim=1, keepdim=True)
    return ratio > math.log(impl._action_flexibility)
