"""``BidClickBudget-v0`` many times over, stepped by numpy instead of one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector.utils import batch_space

from ..auction import DEFAULT_BIDS, DEFAULT_COST_RANGE
from ..campaigns.campaign import DEFAULT_BUDGET, DEFAULT_IMPRESSIONS, BudgetedCampaign
from ..logs.log import check_integer
from ._autoreset import DISABLED, SAME_STEP
from ._lazy import LazyDict
from ._step_info import StepInfo
from .budget import RESET_OPTIONS, campaign_space
from .vector import BidClickVectorEnv

__all__ = ["BidClickBudgetVectorEnv"]

Mask = npt.NDArray[np.bool_]
Step = tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], Mask, Mask, dict[str, Any]]

_VALUES = (
    "bid",
    "asked_bid",
    "refused",
    "click",
    "click_probability",
    "payment",
    "expected_reward",
    "budget_left",
    "impressions_left",
)
_NAMES = tuple(name for value in _VALUES for name in (value, f"_{value}"))
_FINAL_NAMES = (*_NAMES, "final_obs", "_final_obs", "final_info", "_final_info")


class BidClickBudgetVectorEnv(BidClickVectorEnv):
    """``num_envs`` campaigns at once; ``gym.make_vec("BidClickBudget-v0", num_envs=N)``.

    Each sub-environment is a ``BidClickBudgetEnv`` in distribution: the same spaces,
    actions, rewards and information, and a budget of its own.  Not in stream: one
    generator draws for all of them, in float32 and for many steps ahead.

    Observations are float32 of shape ``(N, 4)``.  Everything else, the counting of
    impressions by ``infos["_click"]`` above all, is as in ``BidClickVectorEnv``.

    Args:
        num_envs: number of sub-environments ``N``, at least 1.
        budget: what the payments of one episode may not exceed, positive and finite.
        impressions: impressions in an episode, which then terminates.
        bids: allowed bids, strictly increasing in [0, 1]; the first must be 0.
        cost_range: lowest and highest cost.
        render_mode: ``None``; a batch is not drawn.
        autoreset_mode: ``"next_step"`` (Gymnasium's default, and all that its own vector
            environments know before 1.1), ``"same_step"`` or ``"disabled"``; or a member
            of ``gymnasium.vector.AutoresetMode``.

    Raises:
        ValueError: an argument is outside these bounds.
    """

    def __init__(
        self,
        num_envs: int = 1,
        budget: float = DEFAULT_BUDGET,
        impressions: int = DEFAULT_IMPRESSIONS,
        bids: Sequence[float] = DEFAULT_BIDS,
        cost_range: tuple[float, float] = DEFAULT_COST_RANGE,
        render_mode: str | None = None,
        autoreset_mode: Any = "next_step",
    ):
        check_integer("num_envs", num_envs, 1)
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
        )
        self.single_observation_space = campaign_space(self.campaign)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        # Replaced by each step and never written to: the information of past steps,
        # which is computed late, refers to them.
        self._budget_left = np.full(self.num_envs, self.campaign.budget)
        self._impressions_left = np.full(
            self.num_envs, self.campaign.impressions, dtype=np.int64
        )

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Starts an episode in every sub-environment.

        Args:
            seed: restarts ``np_random``; a sequence has one integer for each
                sub-environment, which together seed the one generator.
            options: ``"x"``, ``"c"``, ``"budget_left"`` and ``"impressions_left"``
                choose where campaigns start: a number, or an array of shape ``(N,)``,
                within the bounds of ``BidClickBudgetEnv.reset``.  ``"reset_mask"``, bool
                of shape ``(N,)``, leaves episodes where it is False as they are.

        Returns:
            Observations of shape ``(N, 4)`` and no information.

        Raises:
            ValueError: the seed or an option is unknown or out of bounds.
            gymnasium.error.ResetNeeded: only some are reset, before a reset of all.
        """
        options = dict(options or {})
        names = (*RESET_OPTIONS, "reset_mask")
        unknown = sorted(set(map(str, options)) - set(names))
        if unknown:
            raise ValueError(f"reset options must be among {names}, got {unknown}")
        mask = self._reset_mask(options.get("reset_mask"))
        campaign = self.campaign
        budget_left = self._chosen_rest(
            options, "budget_left", 0, campaign.budget, "fiu", mask
        )
        impressions_left = self._chosen_rest(
            options, "impressions_left", 1, campaign.impressions, "iu", mask
        )
        super().reset(seed=seed, options=options)
        self._budget_left = np.where(mask, budget_left, self._budget_left)
        self._impressions_left = np.where(mask, impressions_left, self._impressions_left)
        return self._observe(), {}

    def step(self, actions: Any) -> Step:
        """Bids on the current impression of every sub-environment.

        Args:
            actions: bid indices, shape ``(N,)``.  Those of slots that only reset are
                ignored.

        Raises:
            ValueError: actions are not in the action space.
            gymnasium.error.ResetNeeded: called before ``reset``, or, without autoreset,
                after an episode ended.
        """
        resetting = self._ended
        if self._clock < 0:
            raise gym.error.ResetNeeded("call reset() before step()")
        if resetting is not None and self._autoreset is DISABLED:
            raise gym.error.ResetNeeded(
                f"episodes {np.flatnonzero(resetting).tolist()} have ended; call "
                'reset(options={"reset_mask": terminations}) before step()'
            )
        stream = self._stream
        # A slot that only resets asks for the first bid, which is 0 and costs nothing.
        asked_bids = self._bids_of(actions, resetting)
        payments = stream.c * asked_bids
        refused = payments > self._budget_left
        bids = np.where(refused, 0.0, asked_bids)
        payments[refused] = 0.0
        clicks = bids >= stream.price
        rewards = np.subtract(clicks, payments)
        self._budget_left = self._budget_left - payments
        self._impressions_left = self._impressions_left - 1
        info = _CampaignStepInfo(
            stream.x.copy(),
            bids,
            clicks,
            payments,
            asked_bids=asked_bids,
            refused=refused,
            budget_left=self._budget_left,
            impressions_left=self._impressions_left,
        )
        stream.advance(self.np_random)
        if resetting is not None:
            rewards[resetting] = 0.0
            info.played = ~resetting
            self._start(resetting)
        terminations = self._impressions_left == 0
        truncations = np.zeros(self.num_envs, dtype=np.bool_)
        self._ended = terminations.copy() if terminations.any() else None
        if self._ended is not None and self._autoreset is SAME_STEP:
            self._restart_ended(info)
        return self._observe(), rewards, terminations, truncations, info.as_dict()

    def _restart_ended(self, info: StepInfo) -> None:
        last = self._observe()
        super()._restart_ended(info)
        info.final = last

    def _start(self, where: Mask) -> None:
        budget, impressions = self.campaign.budget, self.campaign.impressions
        self._budget_left = np.where(where, budget, self._budget_left)
        self._impressions_left = np.where(where, impressions, self._impressions_left)

    def _observe(self) -> npt.NDArray[np.float32]:
        return self.campaign.observe(
            self._stream.x, self._stream.c, self._budget_left, self._impressions_left
        )

    def _chosen_rest(
        self,
        options: dict[str, Any],
        name: str,
        low: int,
        high: float,
        kinds: str,
        mask: Mask,
    ) -> Any:
        """Takes an option out; what episodes start with anyway where it is not given."""
        given = options.pop(name, high)
        # A list of unequal lists is no array at all.
        try:
            values = np.asarray(given)
        except ValueError:
            values = np.asarray(None)
        fits = values.dtype.kind in kinds and values.shape in ((), (self.num_envs,))
        if fits:
            # Compared in float64: in float32 the budget's neighbour passes for it.
            exact = values.astype(np.float64 if "f" in kinds else np.int64)
            values = np.broadcast_to(exact, self.num_envs)
            fits = bool(((values >= low) & (values <= high))[mask].all())
        if not fits:
            numbers = "a number" if "f" in kinds else "an integer"
            raise ValueError(
                f"reset option {name!r} must be {numbers} in [{low}, {high:g}], or one "
                f"for each of {self.num_envs} sub-environments, got {given!r}"
            )
        return values


@dataclasses.dataclass
class _CampaignStepInfo(StepInfo):
    """What one step of ``N`` campaigns was made of.

    Args:
        asked_bids: bids before any was refused, float64, ``(N,)``.
        refused: where the rest of the budget could not pay, ``(N,)``.
        budget_left: after the payment, float64, ``(N,)``.
        impressions_left: after this one, int64, ``(N,)``.
    """

    asked_bids: npt.NDArray[np.float64] = dataclasses.field(kw_only=True)
    refused: Mask = dataclasses.field(kw_only=True)
    budget_left: npt.NDArray[np.float64] = dataclasses.field(kw_only=True)
    impressions_left: npt.NDArray[np.int64] = dataclasses.field(kw_only=True)

    def as_dict(self) -> LazyDict:
        if self.ended is None:
            return LazyDict(_NAMES, self._entry)
        return LazyDict(_FINAL_NAMES, self._final_entry)

    def _entry(self, name: str) -> Any:
        entry = super()._entry(name)
        # Zeros for slots without an impression make integers of flags.
        return entry.astype(np.bool_) if name == "refused" else entry

    def _value(self, name: str) -> npt.NDArray[Any]:
        if name == "asked_bid":
            return self.asked_bids.copy()
        if name in ("refused", "budget_left", "impressions_left"):
            return np.array(getattr(self, name))
        return super()._value(name)
