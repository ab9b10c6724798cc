"""What all vector environments share: resets, clocks, autoreset, checks of actions."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space

from .._arrays import AnyArray, BoolArray, Float32Array, FloatArray
from .._checks import check_integer
from .stepping import (
    DISABLED,
    NEXT_STEP,
    SAME_STEP,
    Bounds,
    batch_info,
    chosen_values,
    final_info,
    parse_autoreset_mode,
)

Values = dict[str, AnyArray]
Step = tuple[Float32Array, FloatArray, BoolArray, BoolArray, dict[str, Any]]


class BatchedEnv(gym.vector.VectorEnv[Any, Any, Any], abc.ABC):
    """Sub-environments whose episodes all have ``horizon`` steps.

    A subclass sets, before it calls ``__init__``, what is declared below; ``_bids`` are
    allowed bids, ``(K,)``, or None if an action is the bid itself.
    """

    horizon: int
    #: The information of a reset, with the types of a step's.
    no_impression: Mapping[str, Any]
    start_bounds: Bounds
    _bids: FloatArray | None
    _terminates: bool

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": [],
        "autoreset_mode": NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int,
        spaces: tuple[gym.Space[Any], gym.Space[Any]],
        render_mode: str | None,
        autoreset_mode: Any,
        full_info: bool,
    ):
        self.num_envs = check_integer("num_envs", num_envs, 1)
        if render_mode is not None:
            raise ValueError(
                f"render_mode must be None for a vector environment, got {render_mode!r}"
            )
        self._autoreset = parse_autoreset_mode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self._autoreset}
        self.full_info = bool(full_info)
        self.single_observation_space: Any = spaces[0]
        self.single_action_space: Any = spaces[1]
        self.observation_space = batch_space(spaces[0], self.num_envs)
        self.action_space = batch_space(spaces[1], self.num_envs)
        # Episodes end when the clock reaches the step they started at plus the horizon.
        # Comparing it with the first of these ends spares counting impressions apart.
        self._clock = -1
        self._started = np.zeros(self.num_envs, dtype=np.int64)
        self._next_end = 0
        self._ended: BoolArray | None = None

    @abc.abstractmethod
    def _advance(self, keep: BoolArray | None = None) -> None:
        """Moves to the next impressions; those in ``keep`` stay as they are."""

    @abc.abstractmethod
    def _impressions(self, bids: FloatArray) -> tuple[Any, Values]:
        """What comes of bids on the current impressions: rewards and information."""

    @abc.abstractmethod
    def _observe(self) -> Float32Array:
        """Observations that nobody overwrites later."""

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Float32Array, dict[str, Any]]:
        """Starts an episode in every sub-environment.

        Args:
            seed: restarts ``np_random``; a sequence has one integer for each
                sub-environment, which together seed the one generator.
            options: choose where episodes start, as for one environment: a number, or an
                array of shape ``(N,)``.  ``"reset_mask"``, bool of shape ``(N,)``, leaves
                episodes where it is False as they are.

        Returns:
            Observations, and the information of a step in which nothing happened.

        Raises:
            ValueError: the seed or an option is unknown or out of bounds.
            gymnasium.error.ResetNeeded: only some are reset, before a reset of all.
        """
        options = dict(options or {})
        mask = self._reset_mask(options.pop("reset_mask", None))
        start = chosen_values(options, self.start_bounds, self.num_envs, mask)
        self._seed(seed)
        if mask.all():
            self._advance()
            self._clock, self._ended = 0, None
        else:
            self._advance(keep=~mask)
        self._start(mask, start)
        if self._ended is not None:
            self._ended = self._ended & ~mask if (self._ended & ~mask).any() else None
        nothing = np.zeros(self.num_envs, dtype=np.bool_)
        return self._observe(), batch_info(self._no_impression(), self.num_envs, nothing)

    def _no_impression(self) -> Values:
        """Zeros for all that a step says."""
        one = self.no_impression if self.full_info else {}
        return {name: np.full(self.num_envs, zero) for name, zero in one.items()}

    def step(self, actions: Any) -> Step:
        """Bids on the current impression of every sub-environment.

        Actions of slots that only reset are ignored.

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
                'reset(options={"reset_mask": terminations | truncations}) before step()'
            )
        bids = self._bids_of(actions, resetting)
        self._clock += 1
        rewards, values = self._impressions(bids)
        self._advance()
        played = None
        if resetting is not None:
            rewards[resetting] = 0.0
            played = ~resetting
            self._start(resetting)
        ends = np.zeros(self.num_envs, dtype=np.bool_)
        never, final, self._ended = ends.copy(), {}, None
        if self._clock >= self._next_end:
            np.greater_equal(self._clock - self._started, self.horizon, out=ends)
            self._ended = ends.copy()
            if self._autoreset is SAME_STEP:
                final = final_info(values, self._observe(), self._ended)
                played = ~ends
                # Contexts are independent: where no episode ended, another is as good.
                self._advance()
                self._start(self._ended)
                self._ended = None
        info = batch_info(values, self.num_envs, played) | final
        flags = (ends, never) if self._terminates else (never, ends)
        return self._observe(), rewards, *flags, info

    def _start(
        self, where: BoolArray, chosen: Mapping[str, AnyArray] | None = None
    ) -> None:
        """Starts the clocks of episodes, perhaps with chosen reset options."""
        self._started[where] = self._clock
        self._next_end = int(self._started.min()) + self.horizon

    def _bids_of(self, actions: Any, ignored: BoolArray | None) -> FloatArray:
        actions = np.asarray(actions)
        kinds = "fiu" if self._bids is None else "iu"
        if actions.shape != self.action_space.shape or actions.dtype.kind not in kinds:
            numbers = "numbers" if self._bids is None else "integers"
            raise ValueError(
                f"actions must be {numbers} of shape {self.action_space.shape}, got "
                f"{actions.dtype} of shape {actions.shape}"
            )
        actions = actions.reshape(-1)
        if ignored is not None:
            actions = np.where(ignored, actions.dtype.type(0), actions)
        if self._bids is None:
            bids = actions.astype(np.float64)
            high = float(self.single_action_space.high[0])
            # A NaN fails both comparisons.
            if not (bids.min() >= 0.0 and bids.max() <= high):
                allowed = (
                    f"bids in [0, {high:g}]; policies on [-1, 1] need an action scaler"
                )
                raise _bad_action(allowed, actions, ~((bids >= 0.0) & (bids <= high)))
            return bids
        count = len(self._bids)
        # Seen as unsigned, negative numbers are huge: one pass instead of two.
        unsigned = actions.view(f"u{actions.dtype.itemsize}")
        if unsigned.max() >= count:
            allowed = f"integers from 0 to {count - 1} (indices into bids)"
            raise _bad_action(allowed, actions, unsigned >= count)
        actions = actions.astype(np.intp, copy=False)
        return self._bids.take(actions)

    def _reset_mask(self, mask: Any) -> BoolArray:
        if mask is None:
            return np.ones(self.num_envs, dtype=np.bool_)
        given = np.asarray(mask)
        if given.shape != (self.num_envs,) or given.dtype != np.bool_ or not given.any():
            raise ValueError(
                f"reset option 'reset_mask' must be a bool array of shape "
                f"({self.num_envs},) with at least one True, got {mask!r}"
            )
        if self._clock < 0 and not given.all():
            raise gym.error.ResetNeeded("call reset() before resetting with a mask")
        return given.copy()

    def _seed(self, seed: Any) -> None:
        if seed is None:
            return
        many = isinstance(seed, (Sequence, np.ndarray)) and not isinstance(seed, str)
        seeds = [int(s) if _is_seed(s) else -1 for s in (seed if many else [seed])]
        if min(seeds, default=-1) < 0 or (many and len(seeds) != self.num_envs):
            raise ValueError(
                "seed must be None, an integer >= 0 or one for each of "
                f"{self.num_envs} sub-environments, got {seed!r}"
            )
        if not many:
            super().reset(seed=seeds[0])
            return
        self._np_random = np.random.default_rng(seeds)
        self._np_random_seed = tuple(seeds)  # type: ignore[assignment]


def _is_seed(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _bad_action(allowed: str, actions: AnyArray, bad: BoolArray) -> ValueError:
    first = int(np.flatnonzero(bad)[0])
    return ValueError(
        f"actions must be {allowed}, got {actions[first]} for sub-environment {first}"
    )
