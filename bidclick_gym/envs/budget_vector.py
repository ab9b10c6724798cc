"""``BidClickBudget-v0`` many times over, stepped by numpy instead of one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium.vector.utils import batch_space

from .._arrays import BoolArray, Float32Array, FloatArray, IntArray
from ..auction import DEFAULT_BIDS, DEFAULT_COST_RANGE
from ..campaigns import DEFAULT_BUDGET, DEFAULT_IMPRESSIONS, BudgetedCampaign
from .budget import BidClickBudgetEnv, campaign_bounds, campaign_space
from .vector import NOTHING, BidClickVectorEnv, Values


class BidClickBudgetVectorEnv(BidClickVectorEnv):
    """``num_envs`` campaigns at once; ``gym.make_vec("BidClickBudget-v0", num_envs=N)``.

    Each sub-environment is a ``BidClickBudgetEnv`` in distribution, with a budget of its
    own.  Observations are float32 of shape ``(N, 4)``.  ``reset`` also takes the options
    ``"budget_left"`` and ``"impressions_left"``: a number, or an array of shape ``(N,)``,
    within the bounds of ``BidClickBudgetEnv``.  All else is as in ``BidClickVectorEnv``.

    Args:
        budget, impressions, bids, cost_range: as in ``BidClickBudgetEnv``.
        num_envs, render_mode, autoreset_mode, full_info: as in ``BidClickVectorEnv``.

    Raises:
        ValueError: an argument is outside these bounds.
    """

    _single_information: ClassVar[dict[str, Any]] = {
        **BidClickBudgetEnv.no_impression,
        "budget_left": 0.0,
        "impressions_left": 0,
    }

    def __init__(
        self,
        num_envs: int = 1,
        budget: float = DEFAULT_BUDGET,
        impressions: int = DEFAULT_IMPRESSIONS,
        bids: Sequence[float] = DEFAULT_BIDS,
        cost_range: tuple[float, float] = DEFAULT_COST_RANGE,
        render_mode: str | None = None,
        autoreset_mode: Any = "next_step",
        full_info: bool = True,
    ):
        self.campaign = BudgetedCampaign(
            budget,
            impressions,
            bids,  # type: ignore[arg-type]
            cost_range,
        )
        super().__init__(
            num_envs,
            self.campaign.impressions,
            self.campaign.bids,
            self.campaign.cost_range,
            render_mode=render_mode,
            autoreset_mode=autoreset_mode,
            full_info=full_info,
        )
        self.single_observation_space = campaign_space(self.campaign)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._start_bounds = campaign_bounds(self.campaign)
        self._terminates = True
        self._budget_left = np.full(self.num_envs, self.campaign.budget)

    def _impressions(self, bids: FloatArray) -> tuple[Any, Values]:
        stream = self._stream
        payments = stream.c * bids
        refused = payments > self._budget_left
        counted = np.where(refused, 0.0, bids)
        rewards, values = super()._impressions(counted)
        payments[refused] = 0.0
        self._budget_left = self._budget_left - payments
        if not values:
            return rewards, values
        return rewards, {
            "bid": counted,
            "asked_bid": bids,
            "refused": refused,
            **values,
            "budget_left": self._budget_left.copy(),
            "impressions_left": self._impressions_left(),
        }

    def _impressions_left(self) -> IntArray:
        return self._started + (self.horizon - self._clock)

    def _start(self, where: BoolArray, start: Mapping[str, Any] = NOTHING) -> None:
        budget = start.get("budget_left", self.campaign.budget)
        self._budget_left = np.where(where, budget, self._budget_left)
        super()._start(where)
        if "impressions_left" in start:
            # Fewer impressions to come are a campaign that started before.
            played = self.horizon - start["impressions_left"]
            self._started[where] -= played[where]
            self._next_end = int(self._started.min()) + self.horizon

    def _observe(self) -> Float32Array:
        return self.campaign.observe(
            self._stream.x, self._stream.c, self._budget_left, self._impressions_left()
        )
