"""``BidClickBudget-v0``: a campaign under a budget as a Gymnasium environment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from ..auction import BID_WEIGHT, DEFAULT_BIDS, DEFAULT_COST_RANGE, QUERY_WEIGHT
from ..campaigns.campaign import DEFAULT_BUDGET, DEFAULT_IMPRESSIONS, BudgetedCampaign
from .single import BidClickEnv

__all__ = ["RESET_OPTIONS", "BidClickBudgetEnv", "campaign_space"]

Observation = npt.NDArray[np.float32]

RESET_OPTIONS = ("x", "c", "budget_left", "impressions_left")


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
    `Box` of four float32: the query descriptor `x` in [0, 1], the cost per unit of bid
    `c` in `cost_range`, the share of the budget that is left in [0, 1] and the share of
    the impressions that are to come, this one included, in [0, 1].  The remaining budget
    itself is kept in float64; what is shown is rounded.

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
    except `refused`, `click` (0 or 1) and `impressions_left`.

    ## Arguments
    * `budget`: what all payments together may not exceed, positive and finite.
    * `impressions`: impressions in an episode, an integer of at least 1.
    * `bids`: allowed bids, strictly increasing in [0, 1]; the first must be 0.
    * `cost_range`: lowest and highest cost.
    * `render_mode`: `"ansi"` or `"rgb_array"` (the latter needs matplotlib).

    ## Version History
    * v0: initial release.
    """

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
        self._impressions_left = self.campaign.impressions

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: restarts ``np_random``.
            options: any of ``"x"``, ``"c"``, ``"budget_left"`` and
                ``"impressions_left"``, to choose where the campaign starts.

        Raises:
            ValueError: an option is unknown, not a number or out of bounds.
        """
        options = options or {}
        unknown = sorted(set(map(str, options)) - set(RESET_OPTIONS))
        if unknown:
            raise ValueError(
                f"reset options must be among {RESET_OPTIONS}, got {unknown}"
            )
        budget_left, impressions_left = self._chosen_rest(options)
        chosen = {name: options[name] for name in RESET_OPTIONS[:2] if name in options}
        # Looked at before anything is drawn: a reset that is refused changes nothing.
        self._apply_options(np.zeros(2, dtype=np.float32), chosen)
        super().reset(seed=seed, options=chosen)
        self._budget_left, self._impressions_left = budget_left, impressions_left
        assert self._observation is not None
        x, c = self._observation.tolist()
        self._last = {"x": x, "c": c, **self._rest()}
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Bids on the current impression.

        Raises:
            ValueError: the action is not in the action space.
            gymnasium.error.ResetNeeded: called before ``reset`` or after the last
                impression.
        """
        if self._observation is None:
            raise gym.error.ResetNeeded("call reset() before step()")
        if self._impressions_left == 0:
            raise gym.error.ResetNeeded(
                f"all {self.campaign.impressions} impressions are over; call reset() "
                "before step()"
            )
        asked_bid = self._bid(action)
        # Drawn whatever the bid is worth: no bid shifts the stream of what follows.
        u, next_x, next_c = self.np_random.random(3).tolist()
        x, c = self._observation.tolist()
        refused = c * asked_bid > self._budget_left
        bid = 0.0 if refused else asked_bid
        payment = c * bid
        t = BID_WEIGHT * bid + QUERY_WEIGHT * x
        probability = 0.5 * (1.0 + float(np.tanh(0.5 * t)))
        click = int(u < probability)
        self._budget_left -= payment
        self._impressions_left -= 1
        info = {
            "bid": bid,
            "asked_bid": asked_bid,
            "refused": refused,
            "click": click,
            "click_probability": probability,
            "payment": payment,
            "expected_reward": probability - payment,
            **self._rest(),
        }
        self._last = {"x": x, "c": c, **info}
        self._observation = self._context(next_x, next_c)
        terminated = self._impressions_left == 0
        return self._observe(), click - payment, terminated, False, info

    def _rest(self) -> dict[str, Any]:
        return {
            "budget_left": self._budget_left,
            "impressions_left": self._impressions_left,
        }

    def _observe(self) -> Observation:
        """``BudgetedCampaign.observe`` of the current impression, to the last bit."""
        assert self._observation is not None
        shares = (
            self._budget_left / self.campaign.budget,
            self._impressions_left / self.campaign.impressions,
        )
        return np.array((*self._observation.tolist(), *shares), dtype=np.float32)

    def _chosen_rest(self, options: dict[str, Any]) -> tuple[float, int]:
        """Remaining budget and impressions that an episode starts with."""
        campaign = self.campaign
        budget_left = options.get("budget_left", campaign.budget)
        number = isinstance(budget_left, (int, float, np.integer, np.floating))
        if isinstance(budget_left, bool) or not number:
            budget_left = math.nan
        if not 0.0 <= float(budget_left) <= campaign.budget:
            raise ValueError(
                f"reset option 'budget_left' must be a number in [0, {campaign.budget:g}]"
                f", got {options['budget_left']!r}"
            )
        impressions_left = options.get("impressions_left", campaign.impressions)
        integer = isinstance(impressions_left, (int, np.integer))
        if (
            isinstance(impressions_left, bool)
            or not integer
            or not 1 <= impressions_left <= campaign.impressions
        ):
            raise ValueError(
                "reset option 'impressions_left' must be an integer from 1 to "
                f"{campaign.impressions}, got {impressions_left!r}"
            )
        return float(budget_left), int(impressions_left)


def campaign_space(campaign: BudgetedCampaign) -> gym.spaces.Box:
    """The space of what ``campaign.observe`` returns for one impression."""
    low, high = campaign.cost_range
    return gym.spaces.Box(
        np.array([0.0, low, 0.0, 0.0], dtype=np.float32),
        np.array([1.0, high, 1.0, 1.0], dtype=np.float32),
    )
