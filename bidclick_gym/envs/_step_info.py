"""The information of one step of many auctions, computed only where it is read."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from ..auction import click_probability
from ._lazy import LazyDict

__all__ = ["StepInfo"]

Mask = npt.NDArray[np.bool_]

_VALUES = ("bid", "click", "click_probability", "payment", "expected_reward")
_NAMES = tuple(name for value in _VALUES for name in (value, f"_{value}"))
_FINAL_NAMES = (*_NAMES, "final_obs", "_final_obs", "final_info", "_final_info")


@dataclasses.dataclass(slots=True)
class StepInfo:
    """What one step of ``N`` auctions was made of.

    Args:
        x: query descriptors, float32, ``(N,)``.
        bids, payments: float64, ``(N,)``.
        clicks: bool, ``(N,)``.
        played: where there was an impression; ``None`` for everywhere.
        ended: where an episode ended and its successor started within the step.
        final: what those episodes' last observations were, float32, ``(N, 2)``.
    """

    x: npt.NDArray[np.float32]
    bids: npt.NDArray[np.float64]
    clicks: Mask
    payments: npt.NDArray[np.float64]
    played: Mask | None = None
    ended: Mask | None = None
    final: npt.NDArray[np.float32] | None = None

    def as_dict(self) -> LazyDict:
        """Gymnasium's vector information: each key with a mask under ``_key``."""
        if self.ended is None:
            return LazyDict(_NAMES, self._entry)
        return LazyDict(_FINAL_NAMES, self._final_entry)

    def _entry(self, name: str) -> Any:
        if name.startswith("_"):
            return (
                np.ones(len(self.x), bool) if self.played is None else self.played.copy()
            )
        value = self._value(name)
        return value if self.played is None else np.where(self.played, value, 0)

    def _value(self, name: str) -> npt.NDArray[Any]:
        # Always new arrays: a caller may write into what it was given.
        if name == "bid":
            return self.bids.copy()
        if name == "click":
            return self.clicks.astype(np.int64)
        if name == "payment":
            return self.payments.copy()
        probability = click_probability(self.x, self.bids)
        return probability - self.payments if name == "expected_reward" else probability

    def _final_entry(self, name: str) -> Any:
        assert self.ended is not None
        assert self.final is not None
        if name in ("_final_obs", "_final_info"):
            return self.ended.copy()
        if name == "final_info":
            last = dataclasses.replace(self, played=self.ended, ended=None, final=None)
            return last.as_dict()
        if name == "final_obs":
            rows = np.full(len(self.ended), None, dtype=object)
            for i in np.flatnonzero(self.ended):
                rows[i] = self.final[i].copy()
            return rows
        return self._entry(name)
