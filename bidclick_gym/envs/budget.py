"""``BidClickBudget-v0``: a campaign under a budget as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from .._arrays import Float32Array
from ..auction import DEFAULT_BIDS, DEFAULT_COST_RANGE
from ..campaigns import DEFAULT_BUDGET, DEFAULT_IMPRESSIONS, BudgetedCampaign
from .single import BidClickEnv
from .stepping import Bounds, context_bounds


class BidClickBudgetEnv(BidClickEnv):
    """
    ## Description
    One advertising slot, one bidder, one budget for a whole campaign.  Impressions
    arrive as in `BidClick-v0`; each bid is paid out of the same budget, click or no
    click, so a bid that earns now may cost a better one later.  A bid that the rest of
    the budget cannot pay is refused and counts as a bid of 0.  Contexts are i.i.d.: a
    bid changes the remaining budget and nothing else of what follows.

    ## Action Space
    `Discrete(K)`: an index into `bids`.

    ## Observation Space
    `Box` of four float32: `x` and `c` as in `BidClick-v0`, the share of the budget that
    is left and that of the impressions to come, this one included, both in [0, 1].
    The remaining budget itself is kept in float64; what is shown is rounded.

    ## Rewards
    `click - c * bid`, where `click ~ Bernoulli(sigmoid(2 * bid + x / 2))` and `bid` is
    the one that counts: 0 where the bid was refused.  Budget that is left at the end is
    worth nothing.

    ## Starting State
    `x ~ U[0, 1]`, `c ~ U[cost_range]`, the whole budget, all impressions.
    `reset(options=...)` chooses any of `"x"`, `"c"`, `"budget_left"` (in units of one
    click, from 0 to `budget`) and `"impressions_left"` (an integer from 1 to
    `impressions`).

    ## Episode End
    The episode *terminates* after its last impression: the observation holds the clock,
    so nothing is to be bootstrapped.  An empty budget does not end it; a bid of 0 costs
    nothing and is still clicked.  It never truncates.

    ## Information
    `step` returns `bid` (the one that counts), `asked_bid`, `refused` (a bool), `click`,
    `click_probability`, `payment`, `expected_reward`, and what is left after this
    impression: `budget_left` and `impressions_left`.  All are in units of one click,
    except `refused`, `click` (0 or 1) and `impressions_left`.  `reset` returns the same
    names, 0 where there was no impression.

    ## Arguments
    * `budget`: what all payments together may not exceed, positive and finite.
    * `impressions`: impressions in an episode, an integer of at least 1.
    * `bids`, `cost_range`, `render_mode`: as in `BidClick-v0`; the first bid must be 0.

    ## Version History
    * v0: initial release.
    """

    no_impression: ClassVar[dict[str, Any]] = {
        **BidClickEnv.no_impression,
        "asked_bid": 0.0,
        "refused": False,
    }

    def __init__(
        self,
        budget: float = DEFAULT_BUDGET,
        impressions: int = DEFAULT_IMPRESSIONS,
        bids: Sequence[float] = DEFAULT_BIDS,
        cost_range: tuple[float, float] = DEFAULT_COST_RANGE,
        render_mode: str | None = None,
    ):
        self.campaign = BudgetedCampaign(
            budget,
            impressions,
            bids,  # type: ignore[arg-type]
            cost_range,
        )
        super().__init__(
            self.campaign.impressions,
            self.campaign.bids,
            self.campaign.cost_range,
            render_mode=render_mode,
        )
        self.observation_space = campaign_space(self.campaign)
        self._budget_left = self.campaign.budget
        self._start_bounds = campaign_bounds(self.campaign)
        self._terminates = True

    def _begin(self, start: dict[str, Any]) -> None:
        self._budget_left = float(start.get("budget_left", self.campaign.budget))
        self._impressions = self.horizon - int(
            start.get("impressions_left", self.horizon)
        )

    def _impression(self, x: float, c: float, u: float, bid: float) -> dict[str, Any]:
        refused = c * bid > self._budget_left
        outcome = super()._impression(x, c, u, 0.0 if refused else bid)
        self._budget_left -= outcome["payment"]
        return {
            "bid": outcome["bid"],
            "asked_bid": bid,
            "refused": refused,
            **outcome,
            "budget_left": self._budget_left,
            "impressions_left": self.horizon - self._impressions - 1,
        }

    def _rest(self) -> dict[str, Any]:
        left = self.horizon - self._impressions
        return {"budget_left": self._budget_left, "impressions_left": left}

    def _observe(self) -> Float32Array:
        """``BudgetedCampaign.observe`` of the current impression, to the last bit."""
        assert self._observation is not None
        shares = (
            self._budget_left / self.campaign.budget,
            (self.horizon - self._impressions) / self.horizon,
        )
        return np.array((*self._observation.tolist(), *shares), dtype=np.float32)


def campaign_bounds(campaign: BudgetedCampaign) -> Bounds:
    """What the reset options may be."""
    return {
        **context_bounds(campaign.auction),
        "budget_left": (0.0, campaign.budget, np.float64),
        "impressions_left": (1, campaign.impressions, np.int64),
    }


def campaign_space(campaign: BudgetedCampaign) -> gym.spaces.Box:
    """The space of what ``campaign.observe`` returns for one impression."""
    low, high = campaign.cost_range
    return gym.spaces.Box(
        np.array([0.0, low, 0.0, 0.0], dtype=np.float32),
        np.array([1.0, high, 1.0, 1.0], dtype=np.float32),
    )
