"""``BidClick-v0``: the auction as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from .._arrays import Float32Array
from .._checks import check_integer
from ..auction import BID_WEIGHT, DEFAULT_BIDS, DEFAULT_COST_RANGE, QUERY_WEIGHT, Auction
from .stepping import (
    RENDER_MODES,
    Bounds,
    check_render_mode,
    chosen_values,
    context_bounds,
    may_render,
    one_bid,
)


class BidClickEnv(gym.Env[Float32Array, Any]):
    """
    ## Description
    One advertising slot, one bidder.  An impression arrives with a query descriptor
    and a cost; the agent answers with a bid; the bid may be clicked.  A higher bid is
    clicked more often and costs more, so the best bid depends on the context
    (section IV of Baheri, "Implicit Constraint-Aware Off-Policy Correction for Offline
    Reinforcement Learning", 2025).  Contexts are i.i.d.: no bid changes the next one.

    ## Action Space
    `Discrete(K)`: an index into `bids`.  With `continuous=True` a `Box(0, 1, (1,))`
    that holds the bid itself.

    ## Observation Space
    `Box` of two float32: the query descriptor `x` in [0, 1] and the cost per unit of
    bid `c` in `cost_range`.

    ## Rewards
    `click - c * bid`, where `click ~ Bernoulli(sigmoid(2 * bid + x / 2))`.

    ## Starting State
    `x ~ U[0, 1]`, `c ~ U[cost_range]`.  `reset(options={"x": ..., "c": ...})` chooses
    either or both.

    ## Episode End
    With `horizon=1` (default) the episode *terminates* after its one impression.  With
    `horizon=H > 1` it *truncates* after H impressions: the observation holds no clock,
    so an end by timeout is not a terminal state and bootstrapping goes on.

    ## Information
    `step` returns `bid`, `click`, `click_probability`, `payment` and
    `expected_reward` (all in units of one click, except `click`, 0 or 1); `reset` the
    same names, all 0.

    ## Arguments
    * `horizon`: impressions in an episode, an integer of at least 1.
    * `bids`: allowed bids, strictly increasing in [0, 1].
    * `cost_range`: lowest and highest cost.  Below 0.1402 the reward rises in the bid
      in every context, which is what `BidClickMonotone-v0` (0.05 to 0.10) is for.
    * `continuous`: whether the action is the bid itself.
    * `render_mode`: `"ansi"` or `"rgb_array"` (the latter needs matplotlib).

    ## Version History
    * v0: initial release.
    """

    metadata: dict[str, Any] = {"render_modes": RENDER_MODES, "render_fps": 4}  # noqa: RUF012
    #: The information of a reset, with the names and types of a step's.
    no_impression: ClassVar[dict[str, Any]] = {
        "bid": 0.0,
        "click": 0,
        "click_probability": 0.0,
        "payment": 0.0,
        "expected_reward": 0.0,
    }

    def __init__(
        self,
        horizon: int = 1,
        bids: Sequence[float] = DEFAULT_BIDS,
        cost_range: tuple[float, float] = DEFAULT_COST_RANGE,
        continuous: bool = False,
        render_mode: str | None = None,
    ):
        self.horizon = check_integer("horizon", horizon, 1)
        check_render_mode(render_mode)
        self.auction = Auction(bids, cost_range)  # type: ignore[arg-type]
        # An observation that holds no clock makes the end of a campaign a timeout.
        self._terminates = self.horizon == 1
        self.continuous = bool(continuous)
        self.render_mode = render_mode
        low, high = self.auction.cost_range
        self.observation_space = gym.spaces.Box(
            np.array([0.0, low], dtype=np.float32),
            np.array([1.0, high], dtype=np.float32),
        )
        self.action_space: gym.Space[Any]
        if self.continuous:
            self.action_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
        else:
            self.action_space = gym.spaces.Discrete(len(self.auction.bids))
        self._observation: Float32Array | None = None
        self._impressions = 0
        self._last: dict[str, Any] | None = None
        self._start_bounds: Bounds = context_bounds(self.auction)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float32Array, dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: restarts ``np_random``.
            options: choose where the episode starts, any of those named under "Starting
                State"; each within its bounds.

        Raises:
            ValueError: an option is unknown, not a number or out of bounds.
        """
        # Looked at before anything is drawn: a refused reset changes nothing.
        start = chosen_values(options or {}, self._start_bounds)
        super().reset(seed=seed)
        # The context is drawn even if overwritten, so that options never shift the
        # random stream of what follows.
        self._observation = self._context(*self.np_random.random(2).tolist())
        for index, name in enumerate(("x", "c")):
            if name in start:
                self._observation[index] = start[name]
        self._impressions = 0
        self._last = None
        self._begin(start)
        return self._observe(), {**self.no_impression, **self._rest()}

    def step(self, action: Any) -> tuple[Float32Array, float, bool, bool, dict[str, Any]]:
        """Bids on the current impression.

        Raises:
            ValueError: the action is not in the action space.
            gymnasium.error.ResetNeeded: called before ``reset``, or after the episode's
                last impression.
        """
        if self._observation is None:
            raise gym.error.ResetNeeded("call reset() before step()")
        if self._impressions >= self.horizon:
            raise gym.error.ResetNeeded(
                f"all {self.horizon} impressions are over; call reset() before step()"
            )
        bids = None if self.continuous else self.auction.bids
        bid = one_bid(action, self.action_space, bids)
        # Three draws in one call, whatever the bid is worth: the stream is the same as
        # drawing one by one, so that `simulate_log` can replay whole campaigns at once.
        u, next_x, next_c = self.np_random.random(3).tolist()
        x, c = self._observation.tolist()
        info = self._impression(x, c, u, bid)
        self._last = {"x": x, "c": c, **info}
        self._observation = self._context(next_x, next_c)
        self._impressions += 1
        done = self._impressions >= self.horizon
        terminated = done and self._terminates
        truncated = done and not terminated
        reward = info["click"] - info["payment"]
        return self._observe(), reward, terminated, truncated, info

    def render(self) -> Any:
        """The last impression as text (``"ansi"``) or a picture (``"rgb_array"``)."""
        if not may_render(self.render_mode, self._observation is not None):
            return None
        assert self._observation is not None
        from ..render import render_ansi, render_rgb_array

        x, c = (float(v) for v in self._observation)
        shown = self._last or {"x": x, "c": c, **self._rest()}
        if self.render_mode == "ansi":
            return render_ansi(self.auction, shown)
        return render_rgb_array(self.auction, shown)

    def _begin(self, start: dict[str, Any]) -> None:
        """What an episode starts with besides its context."""

    def _rest(self) -> dict[str, Any]:
        """What is left of the episode, for information and pictures."""
        return {}

    def _observe(self) -> Float32Array:
        assert self._observation is not None
        return self._observation.copy()

    def _impression(self, x: float, c: float, u: float, bid: float) -> dict[str, Any]:
        """What comes of a bid, clicked if the uniform ``u`` is low enough."""
        # What `click_probability` and `expected_reward` compute, to the last bit, without
        # making arrays of single numbers; numpy's tanh and math's differ in that bit.
        t = BID_WEIGHT * bid + QUERY_WEIGHT * x
        probability = 0.5 * (1.0 + float(np.tanh(0.5 * t)))
        payment = c * bid
        return {
            "bid": bid,
            "click": int(u < probability),
            "click_probability": probability,
            "payment": payment,
            "expected_reward": probability - payment,
        }

    def _context(self, u: float, v: float) -> Float32Array:
        """``Auction.context_from_uniform`` of one pair, to the last bit."""
        low, high = self.auction.cost_range
        return np.array((u, low + (high - low) * v), dtype=np.float32)
