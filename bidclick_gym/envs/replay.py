"""``BidReplay-v0``: auctions of a file, bid on again under a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from .._arrays import AnyArray, BoolArray, Float32Array, FloatArray
from .._checks import check_choice, check_integer, check_number
from ..auction import check_bids
from ..campaigns import Auctions
from .batch import BatchedEnv, Values
from .stepping import (
    RENDER_MODES,
    check_render_mode,
    chosen_values,
    may_render,
    one_bid,
)


class BidReplayVectorEnv(BatchedEnv):
    """``num_envs`` replays at once; ``gym.make_vec("BidReplay-v0", num_envs=N, ...)``.

    Each sub-environment is a ``BidReplayEnv``, which see for what is not said here.  One
    generator draws where all of them start.  With ``order="file"`` they share the file:
    whichever starts an episode takes the next one, so that ``N`` sub-environments begin
    with its first ``N`` episodes.

    Autoreset and masks of the information are as in ``BidClickVectorEnv``: ``_click`` is
    True for slots in which an auction was bid on, clicks known or not.

    Args:
        num_envs: number of sub-environments ``N``, at least 1.
        auctions, budget, impressions, pricing, reward, bids, highest_bid, order: as in
            ``BidReplayEnv``.
        render_mode, autoreset_mode, full_info: as in ``BidClickVectorEnv``.

    Raises:
        ValueError: an argument is out of bounds.
        TypeError: ``auctions`` are no ``Auctions``.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        auctions: Auctions,
        budget: float,
        impressions: int = 1000,
        pricing: str = "second",
        reward: str = "value",
        bids: Sequence[float] | None = None,
        highest_bid: float | None = None,
        order: str = "random",
        render_mode: str | None = None,
        autoreset_mode: Any = "next_step",
        full_info: bool = True,
    ):
        if not isinstance(auctions, Auctions):
            raise TypeError(
                f"auctions must be Auctions, got {type(auctions).__name__}; "
                "read_auctions reads them from a file"
            )
        check_choice("pricing", pricing, ("second", "first"))
        check_choice("reward", reward, ("value", "click"))
        check_choice("order", order, ("random", "file", "shuffled"))
        if reward == "click" and auctions.click is None:
            raise ValueError("reward must be 'value': the auctions have no clicks")
        self.auctions, self.pricing = auctions, pricing
        self.reward, self.order = reward, order
        self.budget = check_number("budget", budget, 0.0, open=True)
        self.horizon = check_integer("impressions", impressions, 1)
        if self.horizon > len(auctions):
            raise ValueError(
                f"impressions must be at most {len(auctions)}, the number of auctions, "
                f"got {self.horizon}"
            )
        self.start_bounds = {
            **(
                {} if order == "shuffled" else {"start": (0, len(auctions) - 1, np.int64)}
            ),
            "budget_left": (0.0, self.budget, np.float64),
            "impressions_left": (1, self.horizon, np.int64),
        }
        self.no_impression = {
            **{"bid": 0.0, "asked_bid": 0.0, "won": 0},
            **({} if auctions.click is None else {"click": 0}),
            **{"payment": 0.0, "budget_left": 0.0, "impressions_left": 0},
        }
        self._terminates = True
        action_space: gym.Space[Any]
        if bids is None:
            self.bids = self._bids = None
            action_space = gym.spaces.Box(0.0, _highest(auctions, highest_bid), (1,))
        else:
            if highest_bid is not None:
                raise ValueError(
                    f"highest_bid must be None beside bids, got {highest_bid!r}"
                )
            self.bids = check_bids(bids, float(np.finfo(np.float32).max))
            if self.bids[0] != 0.0:
                raise ValueError(
                    f"bids must begin with 0, which can always be paid, got {bids!r}"
                )
            self._bids = np.array(self.bids)
            action_space = gym.spaces.Discrete(len(self.bids))
        self._seen = np.column_stack([auctions.value, auctions.features])  # type: ignore[list-item]
        self._seen = self._seen.astype(np.float32)
        # A space whose ends are equal makes Gymnasium warn.
        low, high = self._seen.min(axis=0), self._seen.max(axis=0)
        high = np.maximum(high, np.nextafter(low, np.float32(np.inf)))
        shares = np.array([[0.0, 0.0], [1.0, 1.0]], dtype=np.float32)
        bounds = np.concatenate([shares, [low, high]], axis=1)
        spaces = gym.spaces.Box(bounds[0], bounds[1]), action_space
        super().__init__(num_envs, spaces, render_mode, autoreset_mode, full_info)
        self._slots = np.arange(self.num_envs)
        self._rows = np.zeros((self.num_envs, self.horizon + 1), dtype=np.int64)
        self._left = np.zeros(self.num_envs)
        self._episode = 0

    def _seed(self, seed: Any) -> None:
        super()._seed(seed)
        if seed is not None:
            self._episode = 0

    def _advance(self, keep: BoolArray | None = None) -> None:
        """The clock says which auction is next."""

    def _start(
        self, where: BoolArray, chosen: Mapping[str, AnyArray] | None = None
    ) -> None:
        super()._start(where)
        chosen, steps = chosen or {}, np.arange(self.horizon + 1)
        passed = np.zeros(self.num_envs, dtype=np.int64)
        if "impressions_left" in chosen:
            passed[where] = self.horizon - chosen["impressions_left"][where]
            self._started -= passed
            self._next_end = int(self._started.min()) + self.horizon
        count, size = int(where.sum()), len(self.auctions)
        if self.order == "shuffled":
            for slot in np.flatnonzero(where):
                rows = self.np_random.choice(size, self.horizon, replace=False)
                self._rows[slot] = np.append(rows, rows[0])
        else:
            if self.order == "file":
                episodes = np.arange(self._episode, self._episode + count)
                starts = episodes % (size // self.horizon) * self.horizon
                self._episode += count
            else:
                starts = self.np_random.integers(size - self.horizon + 1, size=count)
            if "start" in chosen:
                starts = chosen["start"][where] - passed[where]
            self._rows[where] = (starts[:, None] + steps) % size
        fresh = chosen.get("budget_left", np.full(self.num_envs, self.budget))
        self._left = np.where(where, fresh, self._left)

    def _impressions(self, bids: FloatArray) -> tuple[Any, Values]:
        played = self._clock - 1 - self._started
        rows, left = self._rows[self._slots, played], self._left
        bid = np.minimum(bids, left)
        if self._bids is not None:
            bid = self._bids[np.searchsorted(self._bids, bid, side="right") - 1]
        price = self.auctions.market_price[rows]
        won = bid >= price
        payment = won * (price if self.pricing == "second" else bid)
        self._left = left - payment
        found = {"bid": bid, "asked_bid": bids, "won": won.astype(np.int64)}
        if self.auctions.click is not None:
            found["click"] = (won * self.auctions.click[rows]).astype(np.int64)
        values = won * self.auctions.value[rows]
        rewards = values if self.reward == "value" else found["click"].astype(np.float64)
        found["payment"], found["budget_left"] = payment, self._left.copy()
        found["impressions_left"] = self.horizon - 1 - played
        return rewards, found if self.full_info else {}

    def _observe(self) -> Float32Array:
        played = self._clock - self._started
        shares = np.stack(
            [self._left / self.budget, (self.horizon - played) / self.horizon], axis=1
        )
        seen = self._seen[self._rows[self._slots, played]]
        return np.concatenate([shares.astype(np.float32), seen], axis=1)


class BidReplayEnv(gym.Env[Float32Array, Any]):
    """
    ## Description
    Auctions that happened, one after the other, under one budget for an episode.  Their
    market price, the highest competing bid, is in the file; so what any bid would have
    led to is known.  The bidder sees neither it nor whether there would be a click.
    What he does changes the remaining budget and nothing else of what follows.

    ## Action Space
    A `Box(0, highest_bid, (1,))` that holds the bid, in the unit of market prices; with
    `bids=[...]` a `Discrete(K)`, an index into them.

    A bid of at least the market price wins, a tie too, so a bid of 0 wins what is free.
    A bid above what is left of the budget is capped at it; a bid of a list, at the
    highest of the list that can be paid.  Nothing can be overspent.

    ## Observation Space
    `Box` of `3 + F` float32: the share of the budget that is left and that of the
    impressions to come, this one included, both in [0, 1]; the value of this auction;
    its `F` further features.  The remaining budget itself is kept in float64.

    ## Rewards
    What was won: the auction's value (`reward="value"`), or 1 if it was clicked
    (`reward="click"`); 0 where the auction was lost.  Payments count only in the budget,
    and what is left of it at the end is worth nothing.

    ## Starting State
    The whole budget, all impressions, and auctions by `order`:

    * `"random"`: consecutive ones from a place that is drawn for each episode;
    * `"file"`: nothing is drawn.  Episodes follow each other through the file, from its
      first auction after a seeded reset; a rest too short for one is left out, and then
      the file begins again;
    * `"shuffled"`: drawn from the whole file, each at most once in an episode.

    `reset(options=...)` chooses any of `"start"` (the row of the first auction, from 0;
    past the end, the file goes on at its beginning; not for shuffled ones),
    `"budget_left"` (from 0 to `budget`) and `"impressions_left"` (an integer from 1 to
    `impressions`).

    ## Episode End
    The episode *terminates* after its last impression: the observation holds the clock.
    An empty budget does not end it.  It never truncates.

    ## Information
    `step` returns `bid` (the one that counts), `asked_bid`, `won`, `click` (only of
    auctions that have clicks, 0 where lost), `payment`, and what is left after this
    impression: `budget_left` and `impressions_left`.  Market prices of lost auctions are
    not told.  `reset` returns the same names, 0 where there was no impression.

    ## Arguments
    * `auctions`: what is replayed, `Auctions`; `read_auctions` reads them from a file.
    * `budget`: what all payments of an episode together may not exceed, positive and
      finite, in the unit of market prices.
    * `impressions`: auctions in an episode, from 1 to the number of all.
    * `pricing`: the winner pays the market price (`"second"`) or its bid (`"first"`).
    * `reward`: `"value"` or `"click"`.
    * `bids`: allowed bids, strictly increasing from 0; any bid if not given.
    * `highest_bid`: upper end of the box, the highest market price if not given.
    * `order`: `"random"`, `"file"` or `"shuffled"`, as above.
    * `render_mode`: `"ansi"` or `"rgb_array"` (the latter needs matplotlib).

    ## Version History
    * v0: initial release.
    """

    metadata: dict[str, Any] = {"render_modes": RENDER_MODES, "render_fps": 4}  # noqa: RUF012

    def __init__(
        self,
        auctions: Auctions,
        budget: float,
        impressions: int = 1000,
        *,
        render_mode: str | None = None,
        **options: Any,
    ):
        check_render_mode(render_mode)
        self.render_mode = render_mode
        self._arguments = {"auctions": auctions, "budget": budget, **options}
        self._arguments["impressions"] = impressions
        # A batch of one: its rules are those of many.
        self.batch = self.many(1, autoreset_mode="disabled")
        self.auctions, self.budget = self.batch.auctions, self.batch.budget
        self.bids, self.horizon = self.batch.bids, self.batch.horizon
        self.observation_space = self.batch.single_observation_space
        self.action_space = self.batch.single_action_space
        self._shown: list[dict[str, Any]] = []

    def many(self, num_envs: int, **more: Any) -> BidReplayVectorEnv:
        """As many of this environment, stepped together."""
        return BidReplayVectorEnv(num_envs, **self._arguments, **more)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float32Array, dict[str, Any]]:
        """Starts an episode; options and errors as in ``BidClickEnv``."""
        start = chosen_values(options or {}, self.batch.start_bounds)
        observations, _ = self.batch.reset(seed=seed, options=options)
        self._np_random = self.batch.np_random
        self._np_random_seed = self.batch.np_random_seed
        self._shown = [
            {
                **self.batch.no_impression,
                "budget_left": float(start.get("budget_left", self.budget)),
                "impressions_left": int(start.get("impressions_left", self.horizon)),
            }
        ]
        return observations[0], dict(self._shown[0])

    def step(self, action: Any) -> tuple[Float32Array, float, bool, bool, dict[str, Any]]:
        """Bids in the current auction; errors as in ``BidClickEnv``."""
        if not self._shown:
            raise gym.error.ResetNeeded("call reset() before step()")
        if self._shown[-1]["impressions_left"] == 0:
            raise gym.error.ResetNeeded(
                f"all {self.horizon} impressions are over; call reset() before step()"
            )
        one_bid(action, self.action_space, self.bids)
        actions = np.asarray(action).reshape(self.batch.action_space.shape)
        observations, rewards, *flags, told = self.batch.step(actions)
        info = {name: told[name][0].item() for name in self._shown[0]}
        self._shown.append(info)
        return observations[0], float(rewards[0]), bool(flags[0]), False, dict(info)

    def render(self) -> Any:
        """The last impression as text (``"ansi"``), the episode as a picture."""
        if not may_render(self.render_mode, bool(self._shown)):
            return None
        from ..render import render_replay

        return render_replay(self.budget, self._shown, self.render_mode == "ansi")


def _highest(auctions: Auctions, highest_bid: Any) -> float:
    """The upper end of a box, in its own type not below the highest market price."""
    if highest_bid is not None:
        return check_number("highest_bid", highest_bid, 0.0, open=True)
    highest = float(auctions.market_price.max())
    high = np.float32(highest)
    is_short = float(high) < highest or high == 0.0
    return float(np.nextafter(high, np.float32(np.inf)) if is_short else high)
