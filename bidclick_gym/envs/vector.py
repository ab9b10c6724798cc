"""``BidClick-v0`` many times over, stepped by numpy instead of one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._arrays import AnyArray, BoolArray, Float32Array, FloatArray
from ..auction import DEFAULT_BIDS, DEFAULT_COST_RANGE, click_probability
from ..context_stream import ContextStream
from .batch import BatchedEnv, Values
from .single import BidClickEnv
from .stepping import context_bounds


class BidClickVectorEnv(BatchedEnv):
    """``num_envs`` auctions at once; ``gym.make_vec("BidClick-v0", num_envs=N)``.

    Each sub-environment is a ``BidClickEnv`` in distribution: the same spaces, actions,
    rewards and information.  Not in stream: one generator draws for all of them, in
    float32 and for many steps ahead.

    Observations are float32 of shape ``(N, 2)``, rewards float64, flags bool and each
    entry of the information an array of shape ``(N,)`` with a mask under ``_key``, as in
    Gymnasium's own vector environments.  Nothing returned is overwritten later.

    **Counting impressions.**  With next-step autoreset, a sub-environment whose episode
    ended spends the next step on its reset: the action is ignored, the reward is 0 and
    no impression happens.  ``infos["_click"]``, which every step returns, is True for
    impressions and False for such slots.  With same-step autoreset every slot of every
    step is an impression, and those that ended an episode are described in
    ``infos["final_info"]``, with ``_click`` False outside it.

    Args:
        num_envs: number of sub-environments ``N``, at least 1.
        horizon, bids, cost_range: as in ``BidClickEnv``.
        continuous: whether an action is the bid itself, shape ``(N, 1)``, instead of an
            index into ``bids``, shape ``(N,)``.
        render_mode: ``None``; a batch is not drawn.
        autoreset_mode: ``"next_step"`` (Gymnasium's default, and all that its own vector
            environments know before 1.1), ``"same_step"`` or ``"disabled"``; or a member
            of ``gymnasium.vector.AutoresetMode``.
        full_info: whether steps return all information; if false only the mask
            ``_click``, also in ``final_info``, which makes steps about twice as fast.

    Raises:
        ValueError: an argument is outside these bounds.
    """

    def __init__(
        self,
        num_envs: int = 1,
        horizon: int = 1,
        bids: Sequence[float] = DEFAULT_BIDS,
        cost_range: tuple[float, float] = DEFAULT_COST_RANGE,
        continuous: bool = False,
        render_mode: str | None = None,
        autoreset_mode: Any = "next_step",
        full_info: bool = True,
    ):
        single = BidClickEnv(horizon, bids, cost_range, continuous)
        self.auction, self.continuous = single.auction, single.continuous
        self.horizon, self._terminates = single.horizon, single.horizon == 1
        self.start_bounds = context_bounds(self.auction)
        self.no_impression = single.no_impression
        self._bids = None if self.continuous else self.auction.bid_array
        spaces = single.observation_space, single.action_space
        super().__init__(num_envs, spaces, render_mode, autoreset_mode, full_info)
        self._stream = ContextStream(self.auction, self.num_envs)

    def _advance(self, keep: BoolArray | None = None) -> None:
        self._stream.advance(self.np_random, keep)

    def _start(
        self, where: BoolArray, chosen: Mapping[str, AnyArray] | None = None
    ) -> None:
        for name, values in (chosen or {}).items():
            self._stream.choose(name, where, values)
        super()._start(where)

    def _impressions(self, bids: FloatArray) -> tuple[Any, Values]:
        stream = self._stream
        clicks = bids >= stream.price
        payments = stream.c * bids
        rewards = np.subtract(clicks, payments)
        if not self.full_info:
            return rewards, {}
        probability = click_probability(stream.x, bids)
        return rewards, {
            "bid": bids,
            "click": clicks.astype(np.int64),
            "click_probability": probability,
            "payment": payments,
            "expected_reward": probability - payments,
        }

    def _observe(self) -> Float32Array:
        return self._stream.observations.copy()
